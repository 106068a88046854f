"""Exercises on tiles: attention that never holds the whole matrix of weights."""

import math

from labkit.exercises.attention.softmax import NOTEBOOK, double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")


def merge_partials(first, second):
    """Bring both tiles to the larger maximum, then add."""
    maximum = torch.maximum(first[0], second[0])
    a, b = torch.exp(first[0] - maximum), torch.exp(second[0] - maximum)
    total = a * first[1] + b * second[1]
    output = a[:, None] * first[2] + b[:, None] * second[2]
    return maximum, total, output


def _weighted(first, second, a, b):
    totals = a * first[1] + b * second[1]
    return torch.maximum(first[0], second[0]), totals, a[:, None] * first[2] + b[:, None] * second[2]


def _output_not_rescaled(first, second):
    maximum, total, _ = merge_partials(first, second)
    return maximum, total, first[2] + second[2]


def _upside_down(first, second):
    maximum = torch.maximum(first[0], second[0])
    return _weighted(first, second, torch.exp(maximum - first[0]), torch.exp(maximum - second[0]))


def _divided(first, second):
    maximum, total, output = merge_partials(first, second)
    return maximum, total, output / total[:, None]


def _partial(scores, values):
    maximum = scores.amax(dim=-1)
    exponentials = torch.exp(scores - maximum[:, None])
    return maximum, exponentials.sum(dim=-1), exponentials @ values


def _two_tiles(draw, queries, keys, dim, shift=0.0):
    return tuple(
        _partial(random_tensor(draw, queries, keys) + more, random_tensor(draw, keys, dim)) for more in (0.0, shift)
    )


MERGE_PARTIALS = Exercise(
    id="attention.merge_partials",
    notebook=NOTEBOOK,
    statement=(
        "Each argument describes one tile of keys as a tuple (m, l, o): the largest score m (queries,), l = Σ exp(s − "
        "m) (queries,) and o = Σ exp(s − m) v (queries, dim), not divided by l. Return the same tuple for the keys of "
        "both tiles together."
    ),
    difficulty=3,
    minutes=10,
    hints=(
        "The two sums are relative to different maxima, so they cannot be added yet. By which factor does a sum change "
        "when m is replaced by a larger maximum?",
        "Multiply l and o of each tile with exp(m − new maximum), a number of at most 1, then add. The new maximum is "
        "`torch.maximum(first[0], second[0])`; for o the factor needs `[:, None]`.",
    ),
    solution=merge_partials,
    wrong=(
        WrongAnswer(
            "not rescaled",
            lambda first, second: (torch.maximum(first[0], second[0]), first[1] + second[1], first[2] + second[2]),
            "You added sums that are relative to different maxima. First bring both to the common maximum, with the "
            "factor exp(m − new maximum).",
        ),
        WrongAnswer(
            "output not rescaled",
            _output_not_rescaled,
            "Maximum and total are right, but the outputs were added as they came. They hold the same exponentials as "
            "the totals and need the same factors.",
        ),
        WrongAnswer(
            "upside down",
            _upside_down,
            "Your factor is exp(new maximum − m), at least 1, and it can overflow. The sum was relative to m and shall "
            "be relative to something larger, so it gets smaller: exp(m − new maximum).",
        ),
        WrongAnswer(
            "absolute",
            lambda first, second: _weighted(first, second, torch.exp(first[0]), torch.exp(second[0])),
            "With the factors exp(m) the sums are relative to 0 and no longer to the maximum that you return; a score "
            "of 1000 would overflow. The factor is exp(m − new maximum).",
        ),
        WrongAnswer(
            "divided",
            _divided,
            "Your output is divided by the total already. Divide once, after the last tile: a further tile could not "
            "be merged with this one.",
        ),
    ),
    cases=lambda draw: [
        _one_query((2.0, 1.0, 5.0), (3.0, 2.0, 1.0)),
        _one_query((0.0, 1.0, 4.0), (0.0, 1.0, 6.0)),
        _one_query((1000.0, 2.0, 3.0), (-1000.0, 1.0, 7.0)),
        _one_query((-math.inf, 0.0, 0.0), (1.0, 2.0, 3.0)),
        _two_tiles(draw, 1, 2, 2),
        _two_tiles(draw, 2, 3, 1),
        _two_tiles(draw, 3, 4, 2, shift=5.0),
    ],
)


def _one_query(*tiles):
    return tuple((double([m]), double([total]), double([[output]])) for m, total, output in tiles)


def causal_tiles(n, tile):
    """The tiles on and below the diagonal of a square of tiles."""
    side = math.ceil(n / tile)
    return side * (side + 1) // 2


CAUSAL_TILES = Exercise(
    id="attention.causal_tiles",
    notebook=NOTEBOOK,
    statement=(
        "Causal attention of `n` tokens is computed in tiles of `tile` × `tile` scores (the last ones may be smaller). "
        "How many tiles must be computed, if those that are masked completely are skipped?"
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "Draw 6 × 6 scores, cut them into tiles of 2, shade what the mask forbids. Which tiles are shaded completely?",
        "With side = ceil(n / tile) tiles in a row, row r of tiles needs r + 1 of them: 1 + 2 + … + side.",
    ),
    solution=causal_tiles,
    wrong=(
        WrongAnswer(
            "all",
            lambda n, tile: math.ceil(n / tile) ** 2,
            "These are all tiles. Those above the diagonal are masked completely and need no work.",
        ),
        WrongAnswer(
            "half",
            lambda n, tile: math.ceil(n / tile) ** 2 // 2,
            "Half of the tiles is a little too few: tiles on the diagonal are masked in part only and must be computed "
            "whole. Count 1 + 2 + … + side.",
        ),
        WrongAnswer(
            "without the diagonal",
            lambda n, tile: math.ceil(n / tile) * (math.ceil(n / tile) - 1) // 2,
            "The tiles on the diagonal are missing. They are masked in part, but each token looks at itself there.",
        ),
        WrongAnswer(
            "rounded down",
            lambda n, tile: (n // tile) * (n // tile + 1) // 2,
            "n need not be a multiple of the tile: the last, smaller tiles have to be computed, too. Round up.",
        ),
    ),
    cases=lambda draw: [
        (4, 4),
        (3, 4),
        (5, 2),
        (6, 2),
        (8, 1),
        *((int(n), int(tile)) for n, tile in zip(draw.integers(9, 200, 4), draw.integers(2, 17, 4), strict=True)),
    ],
)
