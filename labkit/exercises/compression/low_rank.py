"""Exercises on low rank: how much of it fits into a file, and what LoRA leaves behind when it is merged."""

from labkit.exercises.attention.softmax import random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "20_smaller_models"


def rank_that_fits(out, inputs, budget, each):
    """r (m + n) numbers; full rank is the most, and None if not even one direction fits."""
    rank = min(budget // (each * (out + inputs)), out, inputs)
    return rank if rank else None


def _fits(out, inputs, one, budget, never=None):
    """The rank if a direction takes `one` bytes."""
    return min(int(budget // one), out, inputs) or never


RANK_FOR_BYTES = Exercise(
    id="compression.rank_for_bytes",
    notebook=NOTEBOOK,
    statement=(
        "The largest rank r at which the two factors of an `out` × `inputs` matrix fit into `budget` bytes, of numbers "
        "of `each` bytes. A rank is at most min(out, inputs). Return an int, or None if not even rank 1 fits."
    ),
    difficulty=1,
    minutes=6,
    hints=(
        "The factors are out × r and r × inputs. How many numbers does one more direction cost?",
        "r · (out + inputs) · each ≤ budget: divide and round down; at most min(out, inputs), None for 0.",
    ),
    solution=rank_that_fits,
    wrong=(
        WrongAnswer(
            "bytes forgotten",
            lambda out, inputs, budget, each: _fits(out, inputs, out + inputs, budget),
            "You counted numbers as if each took one byte. A direction takes each · (out + inputs) bytes.",
        ),
        WrongAnswer(
            "one factor only",
            lambda out, inputs, budget, each: _fits(out, inputs, each * out, budget),
            "You paid for out × r only. The other factor, r × inputs, lies in the file as well.",
        ),
        WrongAnswer(
            "more than full rank",
            lambda out, inputs, budget, each: budget // (each * (out + inputs)) or None,
            "With a large budget you go beyond min(out, inputs), the rank that the matrix has: more directions than "
            "there are hold nothing.",
        ),
        WrongAnswer(
            "rank zero",
            lambda out, inputs, budget, each: _fits(out, inputs, each * (out + inputs), budget, never=0),
            "Where nothing fits you return 0. A layer of rank 0 forgets its input: the answer is None.",
        ),
        WrongAnswer(
            "share of the matrix",
            lambda out, inputs, budget, each: (
                min(int(min(out, inputs) * budget / (each * out * inputs)), out, inputs) or None
            ),
            "You took that share of the rank which the budget is of the whole matrix. But a direction costs "
            "out + inputs numbers: half the rank of a square matrix saves nothing at all.",
        ),
    ),
    cases=lambda draw: [
        (384, 1536, 384 * 1536 * 2, 4),
        (4, 6, 9, 1),
        (4, 6, 10, 1),
        (5, 5, 10**6, 2),
        (3, 8, 10**6, 2),
        (8, 3, 10**6, 2),
        *(
            (int(draw.integers(20, 90)), int(draw.integers(20, 90)), int(draw.integers(900, 3000)), int(size))
            for size in (1, 2, 4)
        ),
    ],
)


def merge_lora(weight, up, down, alpha):
    """W + (α / r) · B A."""
    return weight + (alpha / up.shape[1]) * up @ down


def _merge_case(draw, out, inputs, rank, alpha):
    return random_tensor(draw, out, inputs), random_tensor(draw, out, rank), random_tensor(draw, rank, inputs), alpha


LORA_MERGE = Exercise(
    id="compression.lora_merge",
    notebook=NOTEBOOK,
    statement=(
        "Merge LoRA into its layer: one matrix (out, inputs) that answers as W x + (α / r) · B A x did. `weight` is W, "
        "`up` is B (out, r), `down` is A (r, inputs), `alpha` is α."
    ),
    difficulty=1,
    minutes=5,
    hints=(
        "B A has the shape of W. What is r? It is written nowhere but in the shapes.",
        "`weight + (alpha / up.shape[1]) * up @ down`, as a new tensor.",
    ),
    solution=merge_lora,
    wrong=(
        WrongAnswer(
            "without the scale",
            lambda weight, up, down, alpha: weight + up @ down,
            "You left α / r out. It was there in every step of the training, and the factors have grown to fit it.",
        ),
        WrongAnswer(
            "scaled by α",
            lambda weight, up, down, alpha: weight + alpha * up @ down,
            "You multiplied by α, not by α / r: the change is r times too large.",
        ),
        WrongAnswer(
            "divided by the width",
            lambda weight, up, down, alpha: weight + (alpha / down.shape[1]) * up @ down,
            "You divided by the number of inputs. r is the rank, the length that B and A share.",
        ),
        WrongAnswer(
            "the change alone",
            lambda weight, up, down, alpha: (alpha / up.shape[1]) * up @ down,
            "That is the change, not the layer: add the frozen weight.",
        ),
        WrongAnswer(
            "scaled twice",
            lambda weight, up, down, alpha: weight + (alpha / up.shape[1] * up) @ (alpha / up.shape[1] * down),
            "You scaled B and A, each by α / r: their product is scaled twice.",
        ),
    ),
    cases=lambda draw: [
        _merge_case(draw, 4, 6, 2, 8.0),
        _merge_case(draw, 3, 5, 1, 0.5),
        _merge_case(draw, 7, 3, 3, float(draw.uniform(4, 20))),
    ],
)
