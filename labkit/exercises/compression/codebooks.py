"""Exercises on levels that are not evenly spaced: given ones, and ones that are learned."""

from labkit.exercises.attention.softmax import double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "20_compression"


def level_codes(values, levels):
    """Divide by the largest size, take the nearest level; a group of zeros is not divided."""
    scale = float(values.abs().max())
    divided = values / scale if scale else values
    return (divided[:, None] - levels).abs().argmin(dim=1).tolist(), scale


def _codes(values, levels, by=None, choose=None):
    scale = float(values.abs().max())
    divided = values / ((scale or 1.0) if by is None else by)
    choose = choose or (lambda x: _distances(x, levels).argmin(dim=1))
    return [int(code) for code in choose(divided)], scale


def _distances(values, levels):
    return (values[:, None] - levels).abs()


def _levels(draw, count):
    """Like NormalFloat's: from −1 to 1, ascending, 0 among them."""
    inside = draw.uniform(0.05, 0.95, size=count - 3) * draw.choice([-1, 1], size=count - 3)
    return double(sorted([-1.0, 0.0, 1.0, *inside]))


NF4_CODES = Exercise(
    id="compression.nf4_codes",
    notebook=NOTEBOOK,
    statement=(
        "Write a group of weights in NormalFloat. `levels` ascend from −1 to 1, and 0 is one of them. The scale of the "
        "group is the largest size among `values`; each value, divided by it, gets the number of the level nearest to "
        "it, from 0. Return (list of codes, scale). A group of zeros has scale 0, and every code is that of level 0."
    ),
    difficulty=1,
    minutes=8,
    hints=(
        "Divide first, so that the group lies in −1 … 1 and touches an end. Then compare each value with all levels.",
        "`(divided[:, None] - levels).abs().argmin(dim=1)`; divide only if the scale is not 0.",
    ),
    solution=level_codes,
    wrong=(
        WrongAnswer(
            "largest, not largest in size",
            lambda values, levels: (_codes(values, levels, float(values.max()) or 1.0)[0], float(values.max())),
            "The scale is the largest *size*: a group whose farthest weight is negative must be divided by that.",
        ),
        WrongAnswer(
            "not divided",
            lambda values, levels: _codes(values, levels, 1.0),
            "You looked for levels before dividing by the scale; the levels end at −1 and 1.",
        ),
        WrongAnswer(
            "the level below",
            lambda values, levels: _codes(
                values, levels, choose=lambda x: torch.searchsorted(levels, x, right=True) - 1
            ),
            "You took the level below each value. The nearest may be the one above: compare distances, or put the "
            "borders half-way between levels.",
        ),
        WrongAnswer(
            "nothing divided by nothing",
            lambda values, levels: _codes(values, levels, values.abs().max()),
            "A group of zeros: 0/0 is NaN, and `argmin` of NaN is 0, the level −1. It does no harm while the scale is "
            "0; after the scales have been rounded it may.",
        ),
        WrongAnswer(
            "evenly spaced",
            lambda values, levels: _codes(
                values, levels, choose=lambda x: torch.round((x + 1) / 2 * (len(levels) - 1))
            ),
            "You computed the code as if the levels were evenly spaced. They are close together near 0, where most "
            "weights are: look them up.",
        ),
    ),
    cases=lambda draw: [
        (double([0.0] * 4), double([-1.0, -0.4, 0.0, 0.3, 1.0])),
        (double([0.5, -2.0, 0.1, 1.5]), double([-1.0, -0.4, 0.0, 0.3, 1.0])),
        (double([3.0]), double([-1.0, 0.0, 1.0])),
        *((random_tensor(draw, 12) * draw.uniform(1.5, 9), _levels(draw, 16)) for _ in range(3)),
        (-random_tensor(draw, 9).abs(), _levels(draw, 8)),
    ],
)


def kmeans_step(values, levels):
    """Everyone to the nearest level, every level to the mean of its own; a level without values stays."""
    nearest = (values[:, None] - levels).abs().argmin(dim=1)
    moved = [values[nearest == k].mean() if (nearest == k).any() else level for k, level in enumerate(levels)]
    return torch.stack(moved)


def _step(values, levels, centre=lambda own, level: own.mean(), empty=lambda level: level):
    nearest = _distances(values, levels).argmin(dim=1)
    own = [values[nearest == k] for k in range(len(levels))]
    both = zip(own, levels, strict=True)
    return double([float(centre(some, level) if len(some) else empty(level)) for some, level in both])


def _evenly(draw, count):
    """Values, and levels evenly over them, as the clustering begins."""
    values = random_tensor(draw, 40)
    return values, torch.linspace(float(values.min()), float(values.max()), count, dtype=torch.float64)


KMEANS_STEP = Exercise(
    id="compression.kmeans_step",
    notebook=NOTEBOOK,
    statement=(
        "One round of k-means on weights. Each of `values` belongs to the nearest of `levels`; each level moves to the "
        "mean of the values that belong to it. A level that has none stays where it is. Return the new levels as a "
        "tensor in the same order."
    ),
    difficulty=1,
    minutes=7,
    hints=(
        "First who belongs where: a table of distances, values × levels, and the smallest of each row.",
        "`nearest = (values[:, None] - levels).abs().argmin(dim=1)`, then `values[nearest == k].mean()` for each k, "
        "unless there is none.",
    ),
    solution=kmeans_step,
    wrong=(
        WrongAnswer(
            "an empty level becomes NaN",
            lambda values, levels: _step(values, levels, empty=lambda level: float("nan")),
            "A level without values became NaN, the mean of nothing, and will spoil all that compares with it. "
            "It stays where it is.",
        ),
        WrongAnswer(
            "an empty level becomes 0",
            lambda values, levels: _step(values, levels, empty=lambda level: 0.0),
            "A level without values went to 0. It stays where it is.",
        ),
        WrongAnswer(
            "the median",
            lambda values, levels: _step(values, levels, centre=lambda own, level: own.quantile(0.5)),
            "You took the median. The mean is what makes the sum of squared distances least.",
        ),
        WrongAnswer(
            "half-way between its ends",
            lambda values, levels: _step(values, levels, centre=lambda own, level: (own.min() + own.max()) / 2),
            "You took the middle between the least and the largest of its values: the mean asks how many lie where.",
        ),
        WrongAnswer(
            "the level counts as a value",
            lambda values, levels: _step(
                values, levels, centre=lambda own, level: (own.sum() + level) / (len(own) + 1)
            ),
            "You counted the old level among its values. It forgets where it was.",
        ),
    ),
    cases=lambda draw: [
        (double([0.0, 1.0, 2.0, 9.0]), double([1.0, 5.4, 8.0])),
        (double([2.0, 2.0, 3.5]), double([-4.0, 2.5])),
        *(_evenly(draw, count) for count in (4, 8, 16)),
    ],
)
