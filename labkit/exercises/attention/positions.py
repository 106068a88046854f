"""Exercises on positions: sines and cosines added to the tokens, and rotations of queries and keys."""

from labkit.exercises.attention.softmax import NOTEBOOK, double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")


def sinusoidal(positions, dim):
    """Sine and cosine of position / 10000^(2i / dim), side by side."""
    frequencies = 10_000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    angles = torch.arange(positions)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def _waves(angles):
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def _angles(positions, dim, exponent=1.0, first=0):
    steps = torch.arange(0, dim, 2, dtype=torch.float64) / dim
    return torch.arange(first, first + positions)[:, None] * 10_000.0 ** (-exponent * steps)


def _halves(positions, dim):
    angles = _angles(positions, dim)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


SINUSOIDAL = Exercise(
    id="attention.sinusoidal",
    notebook=NOTEBOOK,
    statement=(
        "Return the position matrix (positions, dim) of the original transformer: for position p and i = 0 … dim/2 − "
        "1, column 2i holds sin(p / 10000^(2i/dim)), column 2i + 1 the cosine of the same angle. Positions start at 0."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "Make the angles first, a (positions, dim/2) table: `torch.arange(positions)[:, None]` times a row of "
        "frequencies. `torch.arange(0, dim, 2)` are the numbers 2i.",
        "Interleave sine and cosine: `torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)`, or fill "
        "`table[:, 0::2]` and `table[:, 1::2]`.",
    ),
    solution=sinusoidal,
    wrong=(
        WrongAnswer(
            "halves",
            _halves,
            "All sines come first, then all cosines. Some libraries do that, but here column 2i is a sine and column "
            "2i + 1 the cosine of the same angle.",
        ),
        WrongAnswer(
            "i instead of 2i",
            lambda positions, dim: _waves(_angles(positions, dim, exponent=0.5)),
            "Your exponent is i/dim with i = 0, 1, 2 …; it is 2i/dim. In a wide model the slowest wave divides the "
            "position by nearly 10000; yours by 100 at most.",
        ),
        WrongAnswer(
            "cosine first",
            lambda positions, dim: _waves(_angles(positions, dim)).unflatten(-1, (-1, 2)).flip(-1).flatten(-2),
            "Sine and cosine are exchanged: the even columns, 0, 2, 4 …, hold sines. Position 0 is 0, 1, 0, 1 …",
        ),
        WrongAnswer(
            "from one",
            lambda positions, dim: _waves(_angles(positions, dim, first=1)),
            "Your positions start at 1. The first row is position 0: all sines 0, all cosines 1.",
        ),
        WrongAnswer(
            "multiplied",
            lambda positions, dim: _waves(_angles(positions, dim, exponent=-1.0)),
            "You multiply the position with 10000^(2i/dim) where it is divided: the waves get faster with i instead of "
            "slower. Mind the minus in the exponent.",
        ),
    ),
    cases=lambda draw: [
        (1, 2),
        (2, 2),
        (2, 4),
        *((int(n), 2 * int(half)) for n, half in zip(draw.integers(2, 9, 3), draw.integers(2, 5, 3), strict=True)),
    ],
)


def rotate(x, angles):
    """Turn each pair (i, i + dim/2) by its angle."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def _neighbours(x, angles):
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = angles.cos(), angles.sin()
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def _mixed(x, angles):
    first, second = x.chunk(2, dim=-1)
    angles = angles.repeat_interleave(2, dim=-1)
    return x * angles.cos() + torch.cat([-second, first], dim=-1) * angles.sin()


def _no_minus(x, angles):
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos + second * sin, first * sin + second * cos], dim=-1)


def _tokens_and_angles(draw, tokens, dim, leading=()):
    return random_tensor(draw, *leading, tokens, dim), random_tensor(draw, tokens, dim // 2)


ROTATE = Exercise(
    id="attention.rotate",
    notebook=NOTEBOOK,
    statement=(
        "Rotary positions in the half layout: rotate `x` (..., tokens, dim) by `angles` (tokens, dim/2), where entry i "
        "and entry i + dim/2 are the two coordinates of a point, turned by angle i. Return the shape of `x`."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "A point (a, b) turned by t is (a cos t − b sin t, a sin t + b cos t). Which slices of x are a and b?",
        "`a, b = x.chunk(2, dim=-1)`; make the two new halves and join them with `torch.cat([…, …], dim=-1)`.",
    ),
    solution=rotate,
    wrong=(
        WrongAnswer(
            "neighbours",
            _neighbours,
            "You paired neighbours, entry 2i with 2i + 1: the interleaved layout. Here entry i pairs with i + dim/2. "
            "Weights trained in one layout are nonsense in the other, and no shape tells you.",
        ),
        WrongAnswer(
            "mixed layouts",
            _mixed,
            "You pair the halves, but the angles are repeated for the other layout: t0, t0, t1, t1. For halves they go "
            "t0, t1, t0, t1 (`torch.cat([angles, angles], dim=-1)`). Lengths are no longer kept: compare the norms.",
        ),
        WrongAnswer(
            "other way round",
            lambda x, angles: rotate(x, -angles),
            "You turned clockwise. The minus belongs to the new first half: a cos t − b sin t, then a sin t + b cos t.",
        ),
        WrongAnswer(
            "no minus",
            _no_minus,
            "Without a minus this is no rotation: lengths change (compare `x.norm()` before and after). It is "
            "a cos t − b sin t.",
        ),
    ),
    cases=lambda draw: [
        (double([[1.0, 0.0]]), double([[0.5]])),
        (double([[1.0, 2.0, 3.0, 4.0]]), double([[0.0, 0.5]])),
        (double([[1.0, 1.0, 0.0, 1.0]]), double([[1.0, 0.5]])),
        (double([[3.0, 4.0]]), double([[0.0]])),
        _tokens_and_angles(draw, 1, 4),
        _tokens_and_angles(draw, 3, 4),
        _tokens_and_angles(draw, 2, 6, leading=(2, 2)),
    ],
)
