"""Exercises on the grid: the step and zero point of a range, and the bits that an error allows."""

import math

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "20_compression"


def affine_grid(low, high, bits):
    """Stretch the range to contain 0, divide it by the number of steps, and round the code of 0."""
    low, high = min(low, 0), max(high, 0)
    if low == high:
        return 1.0, 0
    step = (high - low) / (2**bits - 1)
    return step, round(-low / step)


def _affine(low, high, steps, stretch=True):
    if stretch:
        low, high = min(low, 0), max(high, 0)
    if low == high:
        return 1.0, 0
    step = (high - low) / steps
    return step, round(-low / step)


def _with_zero(place):
    """The right step, and another way from the exact place of 0 to its code."""

    def answer(low, high, bits):
        low, high = min(low, 0), max(high, 0)
        if low == high:
            return 1.0, 0
        step = (high - low) / (2**bits - 1)
        return step, place(-low / step)

    return answer


def _zero_step(low, high, bits):
    return (0.0, 0) if max(high, 0) == min(low, 0) else affine_grid(low, high, bits)


def _value_of_low(low, high, bits):
    step, zero = affine_grid(low, high, bits)
    return step, min(low, 0) if zero else 0


AFFINE_GRID = Exercise(
    id="compression.affine_grid",
    notebook=NOTEBOOK,
    statement=(
        "Numbers lie between `low` and `high`. Return (step, zero) of the affine grid with codes 0 … 2^bits − 1 that "
        "covers them, where `zero` is the whole number whose code means 0: a number x gets the code round(x / step) + "
        "zero. Zero must lie on the grid exactly, so a range that does not contain 0 is stretched until it does. If "
        "there is nothing but 0, return (1.0, 0)."
    ),
    difficulty=1,
    minutes=7,
    hints=(
        "So many codes have one step fewer between them. After stretching, `low` gets the code 0: then which code has "
        "the number 0?",
        "`low, high = min(low, 0), max(high, 0)`; `step = (high - low) / (2**bits - 1)`; `zero = round(-low / step)`.",
    ),
    solution=affine_grid,
    wrong=(
        WrongAnswer(
            "as many steps as codes",
            lambda low, high, bits: _affine(low, high, 2**bits),
            "You divided the range by 2^bits. That is the number of codes; between them lie 2^bits − 1 steps (a fence "
            "of four posts has three gaps), so your highest number would need a code too many.",
        ),
        WrongAnswer(
            "zero outside the grid",
            lambda low, high, bits: _affine(low, high, 2**bits - 1, stretch=False),
            "A range without 0 was not stretched, so your zero point is no code. Padding and dropped units are "
            "exactly 0, and there are many: they must not be rounded.",
        ),
        WrongAnswer(
            "symmetric",
            lambda low, high, bits: (max(abs(low), abs(high)) / (2 ** (bits - 1) - 1) or 1.0, 0),
            "That is the symmetric grid, from −m to m with its zero in the middle. Here codes run from 0 to "
            "2^bits − 1, and the grid need not reach as far down as up.",
        ),
        WrongAnswer(
            "a step of nothing",
            _zero_step,
            "Where all numbers are 0 your step is 0, and x / step is not a number. Any step will do there; return 1.",
        ),
        WrongAnswer(
            "cut off",
            _with_zero(int),
            "You cut −low / step off where it should be rounded: for −1.4 … 2.1 in 3 bits it is 2.8, so the zero point "
            "is 3. `int` drops what is behind the point; `round` takes the nearest.",
        ),
        WrongAnswer(
            "between two codes",
            _with_zero(float),
            "Your zero point is no whole number, so no code means exactly 0. Round −low / step.",
        ),
        WrongAnswer(
            "the sign of the zero point",
            _with_zero(lambda place: -round(place)),
            "Your zero point has the wrong sign: 0 lies above `low`, so many steps after code 0. `zero = round(-low / "
            "step)`.",
        ),
        WrongAnswer(
            "the number instead of its code",
            _value_of_low,
            "Your zero point is `low` itself. It should be a code: how many steps above `low` does 0 lie?",
        ),
    ),
    cases=lambda draw: [
        (-1.0, 2.0, 2),
        (0.0, 0.0, 4),
        (1.5, 6.0, 4),
        (-6.0, -1.5, 3),
        (-1.4, 2.1, 3),
        *((-float(draw.uniform(0.5, 3)), float(draw.uniform(0.5, 3)), bits) for bits in (2, 4, 8)),
        (float(draw.uniform(1, 2)), float(draw.uniform(3, 4)), 8),
    ],
)


def bits_needed(limit, error):
    """Try the widths: the step is limit / (2^(b−1) − 1), the error step / √12."""
    for bits in range(2, 9):
        if limit / (2 ** (bits - 1) - 1) / math.sqrt(12) <= error:
            return bits
    return None


def _first(enough):
    return next((bits for bits in range(2, 9) if enough(bits)), None)


BITS_NEEDED = Exercise(
    id="compression.bits_needed",
    notebook=NOTEBOOK,
    statement=(
        "Weights lie between −`limit` and `limit`. Return the least number of bits, 2 to 8, with which rounding to a "
        "symmetric grid (codes −m … m, m = 2^(bits−1) − 1) has a root mean square error of at most `error`; None if 8 "
        "are too few. Take the error from the formula: its mean square is step²/12."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "Write the step first: `limit` is m steps away from 0. Then the error is the root of step²/12.",
        "`limit / (2 ** (bits - 1) - 1) / math.sqrt(12) <= error` for bits = 2, 3, … 8; the first that fits.",
    ),
    solution=bits_needed,
    wrong=(
        WrongAnswer(
            "the largest error",
            lambda limit, error: _first(lambda bits: limit / (2 ** (bits - 1) - 1) / 2 <= error),
            "You asked that no error be larger than `error`: half a step. The root mean square is smaller, step/√12, "
            "because most numbers lie nearer to their level.",
        ),
        WrongAnswer(
            "the code that symmetric grids leave out",
            lambda limit, error: _first(lambda bits: 2 * limit / (2**bits - 1) / math.sqrt(12) <= error),
            "You took all 2^bits codes, with 2^bits − 1 steps between them. A symmetric grid leaves one out: its codes "
            "are −m … m, so `limit` is m = 2^(bits−1) − 1 steps away from 0.",
        ),
        WrongAnswer(
            "as many steps as codes",
            lambda limit, error: _first(lambda bits: 2 * limit / 2**bits / math.sqrt(12) <= error),
            "You divided the whole range by 2^bits. A symmetric grid has the codes −m … m, that is 2m steps: "
            "`limit / m` is one, with m = 2^(bits−1) − 1.",
        ),
        WrongAnswer(
            "a step twice as long",
            lambda limit, error: _first(lambda bits: 2 * limit / (2 ** (bits - 1) - 1) / math.sqrt(12) <= error),
            "Your step is twice too long: from 0 to `limit` there are m steps, and as many on the other side.",
        ),
        WrongAnswer(
            "without the root",
            lambda limit, error: _first(lambda bits: (limit / (2 ** (bits - 1) - 1)) ** 2 / 12 <= error),
            "You compared the mean square, step²/12, with a root mean square. Take the root first.",
        ),
        WrongAnswer(
            "all bits on each side",
            lambda limit, error: _first(lambda bits: limit / (2**bits - 1) / math.sqrt(12) <= error),
            "You gave each side 2^bits − 1 steps. One bit is the sign: m = 2^(bits−1) − 1.",
        ),
        WrongAnswer(
            "eight at most means eight",
            lambda limit, error: bits_needed(limit, error) or 8,
            "You return 8 where 8 bits are too few. Then the answer is None; nobody would notice a broken promise.",
        ),
    ),
    cases=lambda draw: [
        (1.0, 1.0),
        (100.0, 0.01),
        (0.5, 0.5 / 3 / math.sqrt(12) * 1.001),
        *((limit, limit / 2 ** float(draw.uniform(2, 8))) for limit in draw.uniform(0.1, 0.9, 5).tolist()),
        (1.0, 1 / 127 / math.sqrt(12) / 1.01),
        (0.2, 0.2 / 40),
        (1.0, 0.54 / 7),
        (1.0, 2 / 14.5 / math.sqrt(12)),
        (1.0, 2 / 15.5 / math.sqrt(12)),
    ],
)
