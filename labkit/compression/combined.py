"""Every method on the same tiny GPT and the same text, three of them in a row, and the few that nothing beats."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from labkit import corpora
from labkit.compression.codebook_linear import CodebookLinear
from labkit.compression.codebooks import nf4
from labkit.compression.distillation import soft_loss
from labkit.compression.embeddings import embeddings
from labkit.compression.gptq import gptq_model
from labkit.compression.integer import to_int8
from labkit.compression.layers import inputs_of, linears, swap
from labkit.compression.low_rank import LowRankLinear, rank_for_bytes
from labkit.compression.measuring import Documents, Measured, measure
from labkit.compression.pruning.blocks import prune_model
from labkit.compression.pruning.structure import remove_layers
from labkit.compression.sparse import leave_zeros_out
from labkit.compression.whole import compressed, fastest, round_model
from labkit.corpora.cache import read_or_make, sha256_of
from labkit.optimizers import AdamW
from labkit.pretraining import Trained, batches, prepare
from labkit.training.files import extra
from labkit.transformer import Decoder, load_state

FORMAT = 1  # of the student in the cache: count on when it would be trained otherwise
GROUP = 64


@dataclass(frozen=True)
class StudentRecipe:
    """How a GPT of some of the teacher's layers learns what the teacher says of the next token."""

    kept: tuple[int, ...] = (0,)
    steps: int = 150
    lr: float = 5e-3
    temperature: float = 2.0


def texts(tiny: Trained, held_out: int = 200, calibration: int = 32) -> tuple[list[Tensor], Tensor]:
    """A window of each of some held-out documents, to judge on; windows of training text, to calibrate on."""
    train, judge = corpora.load(tiny.recipe.corpus, quiet=True).split()
    size = tiny.recipe.context + 1
    documents = [tiny.tokenizer.encode(text)[:size] for text in judge.documents[:held_out]]
    ids = tiny.tokenizer.encode("\n\n".join(train.documents[: 4 * calibration]))
    return documents, ids[: calibration * (size - 1)].view(calibration, size - 1)


def variants(
    tiny: Trained, calibration: Int[Tensor, "windows tokens"], student: Decoder | None = None
) -> dict[str, nn.Module]:
    """The tiny GPT by every method of this course, each on a copy of its own, and methods in a row on a student.

    Quantized variants have their embedding in 8 bits; the others keep it in float32.

    Args:
        student: what `student_gpt` gives; without, it is not among them.

    Raises:
        ValueError: if there is nothing to calibrate on.
    """
    if not calibration.numel():
        raise ValueError("no calibration text: give windows of training text, as texts() does")
    model = tiny.model
    run = partial(model, calibration)
    found = {"float32": copy.deepcopy(model)} | quantized(model, run)
    for name, how, pattern in (
        ("half, magnitude", "magnitude", None),
        ("half, Wanda", "wanda", None),
        ("2:4, SparseGPT", "sparsegpt", (2, 4)),
    ):
        found[name] = pruned(model, calibration, how, pattern)
    found["low rank, half"] = low_rank(model, run)
    found["1 layer removed"] = remove_layers(model, [1])
    return found | (in_a_row(student, calibration) if student is not None else {})


def quantized(model: nn.Module, run: Callable[[], Any]) -> dict[str, nn.Module]:
    """Linear layers in 8, 4 and 3 bits, by rounding or GPTQ; levels of NF4; and inputs in 8 bits as well."""
    rounded = {"int8": round_model(model, 8)}
    table = {name: rounded["int8"][name] for name in embeddings(model)}
    for bits in (4, 3):
        rounded[f"int{bits}"] = round_model(model, bits, GROUP)
        rounded[f"int{bits}, GPTQ"] = gptq_model(model, run, bits, GROUP) | table
    found = {name: compressed(model, codes, fastest) for name, codes in rounded.items()}
    by_book = compressed(model, table)
    for name, layer in linears(by_book).items():
        swap(by_book, name, CodebookLinear(nf4(layer.weight, GROUP), layer.bias))
    return found | {"NF4": by_book, "W8A8": to_int8(compressed(model, table))}


def pruned(
    model: nn.Module, calibration: Int[Tensor, "windows tokens"], how: str, pattern: tuple[int, int] | None = None
) -> nn.Module:
    """Half of the weights of every linear layer gone; its file keeps the rest and a bitmap, or n of m places."""
    small = copy.deepcopy(model)
    prune_model(small, partial(small, calibration), how, 0.5, pattern=pattern)
    leave_zeros_out(small, pattern)
    return small


def low_rank(model: nn.Module, run: Callable[[], Any], share: float = 0.5) -> nn.Module:
    """Every linear layer as two thin ones of `share` of its bytes, nearest in what comes out on calibration text."""
    small, layers, found = copy.deepcopy(model), linears(model), inputs_of(model, run, gram=True)
    for name, layer in layers.items():
        rank = rank_for_bytes(*layer.weight.shape, int(share * layer.weight.nbytes))
        swap(small, name, LowRankLinear.from_linear(layer, rank, found[name].gram))
    return small


def in_a_row(student: Decoder, calibration: Int[Tensor, "windows tokens"]) -> dict[str, nn.Module]:
    """A student; the student with half of its weights; and what is left of them in 4 bits."""
    half = pruned(student, calibration, "sparsegpt")
    last = compressed(half, round_model(half, 4, GROUP), fastest)
    return {
        "distilled": copy.deepcopy(student),
        "distilled, int4": compressed(student, round_model(student, 4, GROUP), fastest),
        "distilled, half": half,
        "distilled, half, int4": last,
    }


def student_gpt(tiny: Trained, recipe: StudentRecipe | None = None, progress: str | None = None) -> Decoder:
    """Some layers of a trained GPT, taught by all of them on the text that it learned from; kept for the next time.

    Raises:
        ValueError: for layers that the teacher does not have.
    """
    recipe, tensors = recipe or StudentRecipe(), extra("safetensors.torch")
    gone = [layer for layer in range(len(tiny.model.blocks)) if layer not in recipe.kept]
    student = remove_layers(tiny.model, gone)

    def make() -> bytes:
        _teach(student, tiny, recipe)
        return tensors.save({name: x.detach().cpu().contiguous() for name, x in student.named_parameters()})

    weights = b"".join(x.detach().cpu().numpy().tobytes() for x in tiny.model.parameters())
    key = sha256_of(json.dumps({"format": FORMAT, "teacher": sha256_of(weights), **asdict(recipe)}, sort_keys=True))
    load_state(student, tensors.load(read_or_make(f"student-gpt-{key[:20]}.safetensors", make)))
    return student.eval()


def _teach(student: Decoder, tiny: Trained, recipe: StudentRecipe) -> None:
    data = prepare(tiny.recipe, tiny.tokenizer)
    optimizer = AdamW(student.parameters(), lr=recipe.lr, betas=(0.9, 0.95), weight_decay=0.1)
    stream = islice(batches(tiny.recipe, data.train, tiny.tokenizer), recipe.steps)
    for step, (inputs, _) in enumerate(stream):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * (1 - 0.9 * step / recipe.steps)
        with torch.no_grad():
            wanted = tiny.model(inputs)
        optimizer.zero_grad()
        soft_loss(student(inputs), wanted, recipe.temperature).backward()
        optimizer.step()


def measured(made: Mapping[str, nn.Module], documents: Documents, *, rounds: int = 9, seed: int = 0) -> list[Measured]:
    """All variants measured on the same documents, as `measure` does it: every one is written to a file."""
    return measure(made, documents, rounds=rounds, seed=seed)


def pareto_front(points: Sequence[tuple[float | int, float | int]]) -> list[int]:
    """Which points (cost, loss) no other one beats: none is as good in both and better in one. Cheapest first.

    Raises:
        ValueError: for a cost or a loss that is no number.

    >>> pareto_front([(4, 1.0), (1, 9.0), (2, 5.0), (3, 6.0)])
    [1, 2, 0]
    """
    if any(cost != cost or loss != loss for cost, loss in points):
        raise ValueError(f"a cost or a loss is NaN in {list(points)}: leave that variant out")
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: points[i]):
        if not front or points[index][1] < points[front[-1]][1] or points[index] == points[front[-1]]:
            front.append(index)
    return front


def best_within(measured: Sequence[Measured], budget: float | int) -> Measured | None:
    """The variant with the least perplexity whose file has at most `budget` bytes; None if none is so small."""
    small = [one for one in measured if one.file_bytes <= budget]
    return min(small, key=lambda one: one.score, default=None)
