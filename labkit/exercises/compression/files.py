"""Exercises on what a compressed model costs: bytes in its file, and the least time of a step."""

import math

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "20_compression"


def file_bytes(shapes, bits, group):
    """Codes of each matrix packed to its last byte, and a float32 step for each group of each row."""
    total = 0
    for out, inputs in shapes:
        steps = out * (inputs // group if group else 1)
        total += math.ceil(out * inputs * bits / 8) + 4 * steps
    return total


def _file(shapes, bits, group, steps=lambda out, inputs, group: out * (inputs // group if group else 1), each=4):
    return sum(math.ceil(a * b * bits / 8) + each * steps(a, b, group) for a, b in shapes)


FILE_BYTES = Exercise(
    id="compression.file_bytes",
    notebook=NOTEBOOK,
    statement=(
        "How many bytes do quantized matrices take in a file? `shapes` is a list of (rows, columns); each number is a "
        "code of `bits` bits, packed without gaps, and the last byte of each matrix is filled up. Every `group` "
        "neighbours of a row share one float32 step; `group` None means one step for each row. There are no zero "
        "points. Return an int."
    ),
    difficulty=1,
    minutes=6,
    hints=(
        "Two sums for each matrix: its codes, `rows * columns * bits / 8` rounded up, and its steps, 4 bytes each.",
        "A row has `columns // group` steps, or one when `group` is None; there are `rows` times as many.",
    ),
    solution=file_bytes,
    wrong=(
        WrongAnswer(
            "no steps",
            lambda shapes, bits, group: _file(shapes, bits, group, lambda out, inputs, group: 0),
            "You counted the codes only. Without their steps they mean nothing: 4 bytes more for each group.",
        ),
        WrongAnswer(
            "a byte for each code",
            lambda shapes, bits, group: _file(shapes, 8, group),
            "You gave every code a byte. In the file they are packed: `bits` bits each.",
        ),
        WrongAnswer(
            "one step for a matrix",
            lambda shapes, bits, group: _file(shapes, bits, group, lambda out, inputs, group: 1),
            "You gave each matrix one step. Here each group of each row has its own.",
        ),
        WrongAnswer(
            "groups run down a column",
            lambda shapes, bits, group: _file(
                shapes, bits, group, lambda out, inputs, group: max(1, out // group) * inputs if group else inputs
            ),
            "You grouped the numbers of a column. A group is `group` neighbours in a row: `columns // group` for "
            "each row.",
        ),
        WrongAnswer(
            "steps of two bytes",
            lambda shapes, bits, group: _file(shapes, bits, group, each=2),
            "Your steps have two bytes, as float16 would. They are float32: four.",
        ),
        WrongAnswer(
            "filled up once for all",
            lambda shapes, bits, group: math.ceil(sum(a * b for a, b in shapes) * bits / 8) + _file(shapes, 0, group),
            "You packed all matrices into one stream and rounded up once. Each matrix begins at a byte of its own: "
            "round up for each of them.",
        ),
        WrongAnswer(
            "last byte left out",
            lambda shapes, bits, group: sum(
                a * b * bits // 8 + 4 * a * (b // group if group else 1) for a, b in shapes
            ),
            "You rounded the codes down to whole bytes, and the last of them are lost. Round up, for each matrix.",
        ),
    ),
    cases=lambda draw: [
        ([(3, 3)], 3, None),
        ([(1, 5), (1, 5)], 3, 5),
        ([(1, 3), (1, 3), (1, 3)], 3, None),
        ([], 4, 64),
        *(
            (
                [(int(draw.integers(2, 40)), size * int(draw.integers(1, 6))) for _ in range(int(draw.integers(1, 5)))],
                int(draw.integers(2, 8)),
                group,
            )
            for size, group in ((16, 16), (7, None), (32, 32), (5, 5))
        ),
    ],
)


def least_seconds(weights, bits, rows, bandwidth, operations):
    """The weights are read once, whatever the number of rows; every row uses each of them for two operations."""
    reading = weights * bits / 8 / bandwidth
    computing = 2 * weights * rows / operations
    return max(reading, computing)


LEAST_SECONDS = Exercise(
    id="compression.least_seconds",
    notebook=NOTEBOOK,
    statement=(
        "The least seconds that a matrix of `weights` numbers of `bits` bits needs for `rows` rows of input: it has to "
        "be read once, at `bandwidth` bytes a second, and each row takes a multiplication and an addition for every "
        "weight, of which the machine does `operations` a second. Both go on at the same time. Return a float."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "How long would reading take alone, and how long computing alone? When both go on together, which of them "
        "do you wait for?",
        "`max(weights * bits / 8 / bandwidth, 2 * weights * rows / operations)`",
    ),
    solution=least_seconds,
    wrong=(
        WrongAnswer(
            "one after the other",
            lambda weights, bits, rows, bandwidth, operations: (
                weights * bits / 8 / bandwidth + 2 * weights * rows / operations
            ),
            "You added the two. While one weight is multiplied the next one is on its way: the longer of them counts.",
        ),
        WrongAnswer(
            "the shorter of both",
            lambda weights, bits, rows, bandwidth, operations: min(
                weights * bits / 8 / bandwidth, 2 * weights * rows / operations
            ),
            "You took the shorter one. When both go on together, nothing is done before the longer one ends.",
        ),
        WrongAnswer(
            "computing only",
            lambda weights, bits, rows, bandwidth, operations: 2 * weights * rows / operations,
            "You counted computing only. With few rows the machine waits for the weights to arrive.",
        ),
        WrongAnswer(
            "rows forgotten",
            lambda weights, bits, rows, bandwidth, operations: max(
                weights * bits / 8 / bandwidth, 2 * weights / operations
            ),
            "Your time does not grow with the rows. Each row uses every weight: 2 · weights · rows operations.",
        ),
        WrongAnswer(
            "read for each row",
            lambda weights, bits, rows, bandwidth, operations: max(
                rows * weights * bits / 8 / bandwidth, 2 * weights * rows / operations
            ),
            "You read the weights anew for each row. They are read once and used for all rows: that is why a prompt "
            "costs less for each token than writing does.",
        ),
        WrongAnswer(
            "bits for bytes",
            lambda weights, bits, rows, bandwidth, operations: max(
                weights * bits / bandwidth, 2 * weights * rows / operations
            ),
            "You divided bits by bytes a second: 8 bits are a byte.",
        ),
        WrongAnswer(
            "reading only",
            lambda weights, bits, rows, bandwidth, operations: weights * bits / 8 / bandwidth,
            "You counted reading only. With many rows the machine has more to compute than to read.",
        ),
        WrongAnswer(
            "one operation",
            lambda weights, bits, rows, bandwidth, operations: max(
                weights * bits / 8 / bandwidth, weights * rows / operations
            ),
            "You took one operation for each weight and row. A multiplication and an addition are two.",
        ),
    ),
    cases=lambda draw: [
        (1000, 8, 1, 1000.0, 1e9),
        (1000, 32, 100, 1e9, 1e6),
        *(
            (int(draw.integers(1000, 9999)), int(draw.integers(2, 33)), int(draw.integers(2, 9)), 1e3, 10.0**power)
            for power in (4, 8, 3, 9)
        ),
    ],
)
