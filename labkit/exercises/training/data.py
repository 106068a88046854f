"""Exercises on counting data: the bytes of a token file, the steps of an epoch."""

import math

from labkit.exercises.training.schedules import NOTEBOOK
from labkit.workbench.checking import Exercise, WrongAnswer


def token_file_bytes(vocabulary, tokens):
    """The largest id is vocabulary − 1; it must fit."""
    width = next(width for width in (1, 2, 4, 8) if vocabulary - 1 < 256**width)
    return width * tokens


def _file_bytes(fits):
    """The size in the first width for which `fits(vocabulary, width)` holds."""
    return lambda vocabulary, tokens: next((w for w in (1, 2, 4) if fits(vocabulary, w)), 8) * tokens


def _sizes(draw):
    for low, high in ((2, 128), (130, 256), (300, 30_000), (33_000, 65_000), (70_000, 300_000)):
        yield int(draw.integers(low, high)), int(draw.integers(10, 10**9))


TOKEN_FILE_BYTES = Exercise(
    id="training.token_file_bytes",
    notebook=NOTEBOOK,
    statement=(
        "Return how many bytes a file of `tokens` token ids has, each in the smallest of uint8, uint16, uint32 and "
        "uint64 that holds every id of a vocabulary of `vocabulary` tokens."
    ),
    difficulty=1,
    minutes=4,
    hints=(
        "The ids of a vocabulary of V tokens go from 0 to V − 1. What is the largest number in one unsigned byte?",
        "One byte holds 256 different ids, two 65,536, four 4,294,967,296: take the first that is at least "
        "`vocabulary`.",
    ),
    solution=token_file_bytes,
    wrong=(
        WrongAnswer(
            "largest id",
            _file_bytes(lambda vocabulary, width: vocabulary < 256**width),
            "At a vocabulary of exactly 256 (or 65,536) you took a type that is too large. The largest id is "
            "vocabulary − 1, and 255 fits into a byte.",
        ),
        WrongAnswer(
            "one too many",
            _file_bytes(lambda vocabulary, width: vocabulary <= 256**width + 1),
            "With 257 tokens the largest id is 256, which does not fit into a byte: it would be stored as 0 without a "
            "word.",
        ),
        WrongAnswer(
            "signed",
            _file_bytes(lambda vocabulary, width: vocabulary <= 256**width // 2),
            "You counted with signed types, which give half of their range to negative numbers. No id is negative.",
        ),
        WrongAnswer(
            "always two bytes",
            lambda vocabulary, tokens: 2 * tokens,
            "Two bytes are not for every vocabulary: beyond 65,536 tokens the ids wrap round without a word, and for "
            "bytes as tokens half the file is zeros.",
        ),
        WrongAnswer(
            "as torch wants them",
            lambda vocabulary, tokens: 8 * tokens,
            "int64 is what an embedding wants to be given, and up to eight times what the file needs. A batch is "
            "converted when it is read.",
        ),
        WrongAnswer(
            "three bytes",
            lambda vocabulary, tokens: math.ceil((vocabulary - 1).bit_length() / 8) * tokens,
            "Your id has a number of bytes for which there is no type: 1, 2, 4 or 8.",
        ),
        WrongAnswer(
            "bits",
            lambda vocabulary, tokens: math.ceil((vocabulary - 1).bit_length() * tokens / 8),
            "You packed the ids bit by bit. A memory-mapped array has whole bytes for each: uint8, uint16, uint32 or "
            "uint64.",
        ),
        WrongAnswer(
            "one id",
            lambda vocabulary, tokens: token_file_bytes(vocabulary, 1),
            "Those are the bytes of one id. The file holds `tokens` of them.",
        ),
    ),
    cases=lambda draw: [
        (256, 10),
        (257, 10),
        (65_536, 10),
        (65_537, 10),
        (2**32 + 1, 10),
        (50_257, 9_000_000_000),
        (151_936, 1_000),
        *_sizes(draw),
    ],
)


def optimizer_steps(examples, batch, accumulate, drop_last):
    """Batches first, whole ones only or the short one too; then groups of them, the last one maybe incomplete."""
    batches = examples // batch if drop_last else math.ceil(examples / batch)
    return math.ceil(batches / accumulate)


def _steps(batches, groups=math.ceil):
    """Steps of an epoch with another number of batches, or another rounding of the groups."""
    return lambda examples, batch, accumulate, drop_last: groups(batches(examples, batch, drop_last) / accumulate)


def _batches(examples, batch, drop_last):
    return examples // batch if drop_last else math.ceil(examples / batch)


def _epochs(draw):
    for drop_last in (True, False, True, False):
        batch, accumulate, groups = (int(n) for n in draw.integers(3, 9, 3))
        short = int(draw.integers(1, batch))
        yield batch * accumulate * groups + short, batch, accumulate, drop_last
        yield batch * (accumulate * groups + int(draw.integers(1, accumulate))) + short, batch, accumulate, drop_last


OPTIMIZER_STEPS = Exercise(
    id="training.optimizer_steps",
    notebook=NOTEBOOK,
    statement=(
        "How many optimizer steps has one epoch? `examples` are cut into batches of `batch`; the last, shorter one is "
        "left out if `drop_last`. The gradients of `accumulate` batches are added up for one step, and batches left "
        "over at the end of the epoch make a step of their own."
    ),
    difficulty=1,
    minutes=4,
    hints=(
        "Two divisions, one after the other, and each has its own rounding.",
        "Batches: `examples // batch` if drop_last, else `math.ceil(examples / batch)`. Steps: `math.ceil(batches / "
        "accumulate)`.",
    ),
    solution=optimizer_steps,
    wrong=(
        WrongAnswer(
            "always dropped",
            _steps(lambda examples, batch, drop_last: examples // batch),
            "You always left out the short batch. Without drop_last it is trained on: round up.",
        ),
        WrongAnswer(
            "never dropped",
            _steps(lambda examples, batch, drop_last: math.ceil(examples / batch)),
            "You always kept the short batch. With drop_last only whole ones count: round down.",
        ),
        WrongAnswer(
            "the other way round",
            _steps(lambda examples, batch, drop_last: _batches(examples, batch, not drop_last)),
            "drop_last is used the other way round: when it is True, the short batch is left out.",
        ),
        WrongAnswer(
            "left over batches lost",
            _steps(_batches, math.floor),
            "You lost the batches that do not fill a group: their gradients would wait in `.grad` for the next epoch. "
            "They make a step of their own: round up.",
        ),
        WrongAnswer(
            "batches",
            lambda examples, batch, accumulate, drop_last: _batches(examples, batch, drop_last),
            "Those are the batches. The optimizer steps once for `accumulate` of them; a schedule that counts batches "
            "ends too early or never.",
        ),
        WrongAnswer(
            "multiplied",
            lambda examples, batch, accumulate, drop_last: _batches(examples, batch, drop_last) * accumulate,
            "You multiplied by `accumulate`. Several batches share one step, so there are fewer steps: divide.",
        ),
        WrongAnswer(
            "large batches dropped",
            lambda examples, batch, accumulate, drop_last: _batches(examples, batch * accumulate, drop_last),
            "You cut the epoch into batches of batch · accumulate at once. Then drop_last throws away a whole "
            "incomplete group, not only the last short batch.",
        ),
    ),
    cases=lambda draw: [
        (10, 5, 1, True),
        (11, 5, 1, True),
        (11, 5, 1, False),
        (16, 5, 2, True),
        (16, 5, 2, False),
        (21, 5, 2, True),
        (21, 5, 2, False),
        *_epochs(draw),
    ],
)
