"""Sums of 32 bits become codes again: a factor between 0 and 1 as a whole number and a shift, without any float."""

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from labkit.attention import holds


def fixed_point(ratio: Float[Tensor, "*shape"] | float) -> tuple[Int32[Tensor, "*shape"], Int32[Tensor, "*shape"]]:
    """A multiplier of 31 bits, in [2^30, 2^31), and a shift with ratio ≈ multiplier · 2^(−31 − shift).

    Raises:
        ValueError: unless 0 < ratio < 1; the outputs have a finer step than the products, so give them a wider range.
    Source: Jacob et al. (2018), equations 5 and 6.

    >>> fixed_point(0.375)
    (tensor(1610612736, dtype=torch.int32), tensor(1, dtype=torch.int32))
    """
    ratio = torch.as_tensor(ratio, dtype=torch.float64)
    if not holds(ratio, lambda r: ((r > 0) & (r < 1 - 2**-32)).all()):
        raise ValueError(f"a ratio of steps must lie between 0 and 1, got {ratio.min():g} … {ratio.max():g}")
    mantissa, exponent = torch.frexp(ratio)
    whole = (mantissa * 2**31).round().long()
    full = whole == 2**31  # 0.9999999999 is rounded to 1, which is ½ · 2
    return torch.where(full, 2**30, whole).to(torch.int32), -(exponent + full).clamp_min(-62).to(torch.int32)


def requantize(
    sums: Int32[Tensor, "*batch out"], multiplier: Int32[Tensor, "*out"], shift: Int32[Tensor, "*out"]
) -> Int32[Tensor, "*batch out"]:
    """sums · multiplier · 2^(−31 − shift), rounded, by one product of whole numbers and one shift.

    The upper half of the doubled product is rounded with halves up, what the shift drops with halves away from zero: so
    gemmlowp does it, and TensorFlow Lite. Rounding twice is at most one code away from rounding once.

    Source: Jacob et al. (2018), section 2.2; gemmlowp, fixedpoint.h (SaturatingRoundingDoublingHighMul,
        RoundingDivideByPOT).

    >>> requantize(torch.tensor([100], dtype=torch.int32), *fixed_point(0.375))  # 37.5
    tensor([38], dtype=torch.int32)
    """
    upper = (sums.long() * multiplier + 2**30) >> 31
    dropped = upper & ((1 << shift.long()) - 1)
    half = ((1 << shift.long()) - 1) >> 1
    return ((upper >> shift) + (dropped > half + (upper < 0))).to(torch.int32)
