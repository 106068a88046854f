"""Exercises on rounding with the inputs in view: one step of Optimal Brain Quantization, and what a choice costs."""

import itertools

from labkit.exercises.attention.softmax import double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "20_compression"


def obq_step(row, hessian, column, step):
    """Round one weight; the others move along that column of H⁻¹, in proportion to what the rounding took away."""
    inverse = torch.linalg.inv(hessian)
    rounded = torch.round(row[column] / step) * step
    moved = row - (row[column] - rounded) / inverse[column, column] * inverse[column]
    moved[column] = rounded
    return moved


def _inverse(hessian):
    return torch.linalg.inv(hessian)


def _obq(row, hessian, column, step, sign=-1.0, matrix=_inverse, pivot=lambda h, i: _inverse(h)[i, i], others=True):
    lost = row[column] - torch.round(row[column] / step) * step
    moved = row + sign * lost / pivot(hessian, column) * matrix(hessian)[column] * others
    moved[column] = row[column] - lost
    return moved


def _correlated(draw, width):
    """A weight, the Hessian of inputs that say partly the same, and a column."""
    x = random_tensor(draw, 6 * width, width) @ random_tensor(draw, width, width)
    hessian = 2 * x.T @ x / len(x) + 0.1 * torch.eye(width, dtype=x.dtype)
    return random_tensor(draw, width), hessian, int(draw.integers(width))


OBQ_STEP = Exercise(
    id="compression.obq_step",
    notebook=NOTEBOOK,
    statement=(
        "One step of Optimal Brain Quantization. `row` holds the weights of one output, `hessian` is H = 2XXᵀ of their "
        "inputs (symmetric, invertible). Round the weight number `column` to the nearest multiple of `step`, and move "
        "all other weights to where the squared error of the output is least. Return the new row, a tensor."
    ),
    difficulty=2,
    minutes=12,
    hints=(
        "The move of all weights is proportional to one column of H⁻¹. It must move weight number `column` by exactly "
        "what rounding does to it: that fixes the factor.",
        "`inverse = torch.linalg.inv(hessian)`, and the row less (row[column] − rounded) / inverse[column, column] "
        "times inverse[column]. Put `rounded` in its place at the end.",
    ),
    solution=obq_step,
    wrong=(
        WrongAnswer(
            "the others stay",
            lambda row, hessian, column, step: _obq(row, hessian, column, step, others=False),
            "That is rounding to nearest: only one weight has changed. (The diagonal of H alone gives that, too.) "
            "Where inputs go together, the others can make up for part of the error.",
        ),
        WrongAnswer(
            "the wrong way",
            lambda row, hessian, column, step: _obq(row, hessian, column, step, sign=1.0),
            "The others move the wrong way and double the error. Check: the formula must move weight number `column` "
            "itself from its value to the rounded one.",
        ),
        WrongAnswer(
            "not divided",
            lambda row, hessian, column, step: _obq(row, hessian, column, step, pivot=lambda h, i: 1.0),
            "You left out the division by [H⁻¹] at (column, column). With it, the move of weight number `column` is "
            "just its rounding error.",
        ),
        WrongAnswer(
            "H instead of its inverse",
            lambda row, hessian, column, step: _obq(
                row, hessian, column, step, matrix=lambda h: h, pivot=lambda h, i: h[i, i]
            ),
            "You moved along a column of H. That is the direction in which the error grows; along that of H⁻¹ the "
            "others stand still at their optimum.",
        ),
        WrongAnswer(
            "1 / H instead of its inverse",
            lambda row, hessian, column, step: _obq(row, hessian, column, step, pivot=lambda h, i: 1 / h[i, i]),
            "You divided by 1 / H at (column, column). The diagonal of the inverse is not the inverse of the diagonal: "
            "where inputs go together it is larger.",
        ),
    ),
    cases=lambda draw: [
        (double([0.4, 0.4]), double([[6.0, 4.0], [4.0, 6.0]]), 0, 1.0),
        (double([0.4, -1.3, 0.2]), double([[2.0, 0.5, 0.0], [0.5, 2.0, 0.0], [0.0, 0.0, 1.0]]), 1, 0.5),
        (double([1.0, 0.3]), double([[6.0, 4.0], [4.0, 6.0]]), 0, 1.0),
        *((*_correlated(draw, width), float(draw.uniform(0.2, 1.0))) for width in (2, 3, 5, 8)),
    ],
)


def best_codes(row, hessian, step, top):
    """Try all (2·top + 1)^n rows of codes, and keep the one whose ½ Δ H Δᵀ is least."""
    tried = torch.cartesian_prod(*[torch.arange(-top, top + 1)] * len(row))
    change = row - step * tried.to(row.dtype)
    errors = ((change @ hessian) * change).sum(dim=1) / 2
    return tried[errors.argmin()].tolist(), float(errors.min())


def _best(row, hessian, step, top, codes=None, weigh=lambda h: h, half=0.5):
    codes = range(-top, top + 1) if codes is None else codes
    tried = torch.tensor([*itertools.product(codes, repeat=len(row))])
    change = row - step * tried.to(row.dtype)
    errors = half * ((change @ weigh(hessian)) * change).sum(dim=1)
    return tried[errors.argmin()].tolist(), float(errors.min())


def _nearest(row, hessian, step, top):
    codes = torch.round(row / step).clamp(-top, top)
    change = row - step * codes
    return [int(code) for code in codes], float(change @ hessian @ change / 2)


BEST_CODES = Exercise(
    id="compression.best_codes",
    notebook=NOTEBOOK,
    statement=(
        "Which whole numbers are best? Try them all: every code of `row` may be −top … top, and stands for code · "
        "`step`. Return (list of codes, error) with the least error ½ Δ H Δᵀ, where Δ is `row` less what the codes "
        "stand for and H = `hessian`. Rows have at most 4 weights."
    ),
    difficulty=2,
    minutes=10,
    hints=(
        "`itertools.product(range(-top, top + 1), repeat=len(row))` gives all rows of codes. How large is the error of "
        "one of them?",
        "`change = row - step * torch.tensor(codes).double()`, `change @ hessian @ change / 2`; the least of all.",
    ),
    solution=best_codes,
    wrong=(
        WrongAnswer(
            "each to its nearest",
            _nearest,
            "You rounded each weight by itself. Two errors of one sign add up where the inputs go together; the best "
            "codes often round one of them the other way.",
        ),
        WrongAnswer(
            "one code too many",
            lambda row, hessian, step, top: _best(row, hessian, step, top, range(-top - 1, top + 1)),
            "You allowed the code −top − 1. A symmetric grid leaves it out, so that −x has a code where x has one.",
        ),
        WrongAnswer(
            "the top left out",
            lambda row, hessian, step, top: _best(row, hessian, step, top, range(-top, top)),
            "`range(-top, top)` ends before `top`.",
        ),
        WrongAnswer(
            "weights, not outputs",
            lambda row, hessian, step, top: _best(
                row, hessian, step, top, weigh=lambda h: torch.eye(len(h), dtype=h.dtype)
            ),
            "You measured how far the weights move, ½ |Δ|². What counts is how far the output moves: H between.",
        ),
        WrongAnswer(
            "not halved",
            lambda row, hessian, step, top: _best(row, hessian, step, top, half=1.0),
            "The codes are right, the error is twice what it is: H = 2XXᵀ, so it is ½ Δ H Δᵀ.",
        ),
    ),
    cases=lambda draw: [
        (double([0.4, 0.45]), double([[6.0, 4.0], [4.0, 6.0]]), 1.0, 1),
        (double([0.4, 0.45]), double([[6.0, -4.0], [-4.0, 6.0]]), 1.0, 1),
        (double([-5.0, 5.0]), double([[1.0, 0.0], [0.0, 1.0]]), 1.0, 2),
        *((*_correlated(draw, width)[:2], float(draw.uniform(0.5, 1.0)), 2) for width in (2, 3, 3, 4)),
    ],
)
