"""Exercises on layers in whole numbers: the zero point in the bias, and a float made of a multiplier and a shift."""

import math

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "20_compression"


def fold_zero_point(codes, zero, bias):
    """Each row's bias loses zero times the sum of the row."""
    return [b - zero * sum(row) for row, b in zip(codes, bias, strict=True)]


def _numbers(draw, *shape):
    return draw.integers(-127, 128, shape).tolist()


FOLD_ZERO_POINT = Exercise(
    id="compression.fold_zero_point",
    notebook=NOTEBOOK,
    statement=(
        "A row of `codes` (a list of rows) should give Σ_j row[j] · (x[j] − zero) + bias of the row, where x are the "
        "codes of the activations and `zero` is their zero point. The processor only multiplies codes: it computes "
        "Σ_j row[j] · x[j] + b. Return the list of b, one whole number for each row."
    ),
    difficulty=1,
    minutes=5,
    hints=(
        "Multiply out the bracket: one part of the sum does not depend on x, so that it can be computed before any x "
        "comes.",
        "Σ w (x − z) = Σ w x − z · Σ w. The last part joins the bias: `b - zero * sum(row)`, for each row.",
    ),
    solution=fold_zero_point,
    wrong=(
        WrongAnswer(
            "added",
            lambda codes, zero, bias: [b + zero * sum(row) for row, b in zip(codes, bias, strict=True)],
            "You added zero · Σ w. The zero point is subtracted from each code, so its part of the sum is subtracted.",
        ),
        WrongAnswer(
            "without the weights",
            lambda codes, zero, bias: [b - zero for b in bias],
            "You took the zero point off the bias once. It is taken off every x, and each x is multiplied by its "
            "weight: what comes off is zero times the sum of the row.",
        ),
        WrongAnswer(
            "times the width",
            lambda codes, zero, bias: [b - zero * len(row) for row, b in zip(codes, bias, strict=True)],
            "You took zero off once for each input, as if all weights were 1. Weigh it: zero times the sum of the row.",
        ),
        WrongAnswer(
            "columns",
            lambda codes, zero, bias: (
                [b - zero * sum(column) for column, b in zip(zip(*codes, strict=True), bias, strict=False)]
            ),
            "You summed the columns. An output is made by a row of weights, so its correction is the sum of its row.",
        ),
        WrongAnswer(
            "without the bias",
            lambda codes, zero, bias: [-zero * sum(row) for row in codes],
            "The correction is right, but the bias that was there before is lost. Add both: that is the point of it.",
        ),
    ),
    cases=lambda draw: [
        ([[1, -3]], 10, [0]),
        ([[5, 4], [3, 2]], 0, [7, -7]),
        *((_numbers(draw, 3, 4), int(draw.integers(1, 100)) * sign, _numbers(draw, 3)) for sign in (1, -1, 1)),
        (_numbers(draw, 4, 2), int(draw.integers(2, 100)), [0, 0, 0, 0]),
    ],
)


def fixed_point(ratio):
    """Split off the power of two; what is left, between ½ and 1, times 2^31 is the multiplier."""
    mantissa, exponent = math.frexp(ratio)
    multiplier = round(mantissa * 2**31)
    if multiplier == 2**31:
        return 2**30, -exponent - 1
    return multiplier, -exponent


def _other(ratio, bits=31, shift=0, whole=round):
    mantissa, exponent = math.frexp(ratio)
    return whole(mantissa * 2**bits), shift - exponent


FIXED_POINT = Exercise(
    id="compression.fixed_point",
    notebook=NOTEBOOK,
    statement=(
        "A processor without floats multiplies by `ratio` (0 < ratio < 1) with a whole number and a shift: ratio ≈ "
        "multiplier · 2^(−31 − shift). Return (multiplier, shift), with a multiplier from 2^30 to 2^31 − 1, so that it "
        "has as many digits as 32 bits can hold, rounded to the nearest."
    ),
    difficulty=2,
    minutes=8,
    hints=(
        "`math.frexp(ratio)` gives (mantissa, exponent) with ratio = mantissa · 2^exponent and the mantissa from ½ to "
        "1. What must the mantissa be multiplied by?",
        "`round(mantissa * 2**31)`, and the shift is −exponent. One ratio in a billion is rounded up to 2^31, one more "
        "than fits: then it is 2^30 and a shift one smaller.",
    ),
    solution=fixed_point,
    wrong=(
        WrongAnswer(
            "no normalisation",
            lambda ratio: (round(ratio * 2**31), 0),
            "Your multiplier is right, but small ratios keep few digits: 0.001 has 21 bits left, and 10^−10 none. Take "
            "out the power of two first, and shift by it afterwards.",
        ),
        WrongAnswer(
            "2^31 itself",
            _other,
            "For a ratio just below a power of two your multiplier is rounded up to 2^31, which 32 bits with a sign "
            "cannot hold: it would wrap round to −2^31. Give 2^30 and a shift one smaller there.",
        ),
        WrongAnswer(
            "the sign of the shift",
            lambda ratio: (fixed_point(ratio)[0], -fixed_point(ratio)[1]),
            "Your shift has the other sign. It goes to the right, and a smaller ratio needs a larger shift.",
        ),
        WrongAnswer(
            "one bit lost",
            lambda ratio: _other(ratio, bits=30, shift=-1),
            "Your multipliers lie from 2^29 to 2^30: there is room for one bit more, since the sign takes only one.",
        ),
        WrongAnswer(
            "cut off",
            lambda ratio: _other(ratio, whole=int),
            "You cut the multiplier off instead of rounding it: every product comes out a little too small.",
        ),
    ),
    cases=lambda draw: [
        (0.5,),
        (0.375,),
        (1 - 2**-40,),
        (0.25 - 2**-40,),
        *((float(draw.uniform(0.5, 1)) * 2.0**-power,) for power in (0, 1, 5, 9, 14)),
    ],
)
