"""A weight as whole numbers on an even grid: symmetric or affine, with a step per tensor, per channel or per group.

A number x becomes the code round(x / step) + zero, and is read back as step · (code − zero).
"""

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Float, Float32, Int32, Shaped
from torch import Tensor

GRANULARITIES = ("tensor", "channel", "group")
Number = float | int | Shaped[Tensor, "..."]


@dataclass(frozen=True)
class Quantized:
    """A weight (out × in) as whole numbers, with what is needed to read them back.

    Attributes:
        codes: int8 (symmetric: −2^(b−1) + 1 … 2^(b−1) − 1) or uint8 (affine: 0 … 2^b − 1), out × in.
        scale: the step of the grid, float32, out × groups (1 × 1 per tensor, out × 1 per channel).
        zero: the code that means 0, int32 of the same shape; None when symmetric, where 0 means 0.
        bits: 2 to 8.
        group: how many neighbours in a row share a step; None per tensor and per channel.
    """

    codes: Shaped[Tensor, "out in"]
    scale: Float32[Tensor, "rows groups"]
    zero: Int32[Tensor, "rows groups"] | None
    bits: int
    group: int | None = None


def code_range(bits: Any, signed: bool = True) -> tuple[int, int]:
    """Return the lowest and the highest whole number that so many bits can hold, signed in two's complement.

    Raises:
        ValueError: for bits outside 2 to 8.

    >>> code_range(4), code_range(4, signed=False)
    ((-8, 7), (0, 15))
    """
    if isinstance(bits, bool) or not isinstance(bits, Integral) or not 2 <= bits <= 8:
        raise ValueError(f"bits = {bits!r}; give a whole number from 2 to 8")
    bits = int(bits)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def grid_of(low: Number, high: Number, bits: int, symmetric: bool = True) -> tuple[Tensor, Tensor | None]:
    """Return the step and the zero point of a grid that covers low … high, elementwise; 0 always lies on the grid.

    A symmetric grid uses codes −m … m with m = 2^(b−1) − 1 and no zero point (None). An affine grid uses 0 … 2^b − 1,
    over a range stretched to contain 0. Where both limits are 0 the step is 1, so that 0 stays exactly 0.

    Raises:
        ValueError: if a limit is not finite or low > high.
    Source: Jacob et al. (2018), "Quantization and training of neural networks for efficient integer-arithmetic-only
        inference", equation 1 and section 2.1.

    >>> step, zero = grid_of(-1.0, 2.0, 8, symmetric=False)
    >>> round(float(step), 6), int(zero)
    (0.011765, 85)
    """
    top = code_range(bits, signed=symmetric)[1]
    low, high = (torch.as_tensor(limit).float() for limit in (low, high))
    if not (torch.isfinite(low).all() and torch.isfinite(high).all() and (low <= high).all()):
        raise ValueError("limits must be finite numbers with low <= high; calibrate on finite data")
    if symmetric:
        return _not_zero(torch.maximum(low.abs(), high.abs()) / top), None
    low, high = low.clamp_max(0), high.clamp_min(0)
    step = _not_zero(high / top - low / top)
    return step, (-low / step).round().clamp(0, top).to(torch.int32)


def _not_zero(step: Tensor) -> Tensor:
    return torch.where(step >= torch.finfo(torch.float32).tiny, step, torch.ones_like(step))


def to_codes(x: Float[Tensor, "..."], step: Tensor, zero: Tensor | None, bits: int) -> Tensor:
    """Round numbers to codes of a grid, clipping what lies outside: int8 when symmetric (zero None), else uint8.

    >>> to_codes(torch.tensor([0.9, -0.26, 7.0]), torch.tensor(0.5), None, 3)
    tensor([ 2, -1,  3], dtype=torch.int8)
    """
    low, high = code_range(bits, signed=zero is None)
    if zero is None:
        return (x / step).round_().clamp_(low + 1, high).to(torch.int8)
    return (x / step).round_().add_(zero).clamp_(low, high).to(torch.uint8)


def from_codes(codes: Shaped[Tensor, "..."], step: Tensor, zero: Tensor | None) -> Tensor:
    """Read codes back as float32: step · (code − zero)."""
    return step * (codes.float() if zero is None else codes.float() - zero)


def quantize(
    weight: Float[Tensor, "..."],
    bits: Any,
    *,
    symmetric: bool = True,
    per: str = "channel",
    group: Any = None,
    limits: tuple[Number, Number] | None = None,
) -> Quantized:
    """Return the weight (out × in) rounded to the nearest code of its grid.

    Args:
        per: "tensor", "channel" (one step for each row) or "group" (one for each `group` neighbours of a row; giving
            `group` is enough).
        limits: (low, high), numbers or tensors of the shape of `scale`; None takes the smallest and the largest weight.

    Raises:
        ValueError: for bits outside 2 to 8, a weight that is no matrix, is empty or holds NaN or infinity, a group that
            does not divide the width, or limits of another shape.

    >>> q = quantize(torch.tensor([[0.7, -0.2, 0.0], [14.0, 6.0, -3.9]]), 4)
    >>> q.codes.tolist(), [round(step, 6) for step in q.scale.flatten().tolist()]
    ([[7, -2, 0], [7, 3, -2]], [0.1, 2.0])
    """
    code_range(bits)  # refuses what is no number of bits
    bits, group = int(bits), _check(weight, per, group)
    blocks = by_group(weight.detach().float().contiguous(), group)
    dims = (0, 1, 2) if per == "tensor" else 2
    low, high = limits or (blocks.amin(dims, keepdim=True), blocks.amax(dims, keepdim=True))
    shape = (1, 1, 1) if per == "tensor" else (*blocks.shape[:2], 1)
    step, zero = grid_of(_shaped(low, shape, weight), _shaped(high, shape, weight), bits, symmetric)
    codes = to_codes(blocks, step, zero, bits).view(weight.shape)
    return Quantized(codes, step.squeeze(-1), None if zero is None else zero.squeeze(-1), bits, group)


def dequantize(q: Quantized) -> Float32[Tensor, "out in"]:
    """Read a quantized weight back as float32.

    >>> dequantize(quantize(torch.tensor([[1.5, -0.5, 0.2]]), 3))
    tensor([[ 1.5000, -0.5000,  0.0000]])
    """
    zero = None if q.zero is None else q.zero.unsqueeze(-1)
    return from_codes(by_group(q.codes, q.group), q.scale.unsqueeze(-1), zero).view(q.codes.shape)


def by_group(weight: Shaped[Tensor, "out in"], group: int | None) -> Shaped[Tensor, "out groups inside"]:
    """View a matrix as out × groups × numbers in a group, whole rows when group is None."""
    return weight.reshape(weight.shape[0], -1, group or weight.shape[1])


def _check(weight: Tensor, per: str, group: Any) -> int | None:
    if weight.ndim != 2 or not weight.numel():
        raise ValueError(f"weight has shape {tuple(weight.shape)}; give a matrix, out × in, that is not empty")
    if not torch.isfinite(weight).all():
        count = int((~torch.isfinite(weight)).sum())
        raise ValueError(f"{count} of {weight.numel()} weights are NaN or infinite; find out why before quantizing")
    if per not in GRANULARITIES or (per == "tensor" and group is not None):
        raise ValueError(f"per = {per!r} with group = {group!r}; per is 'tensor', 'channel', or 'group' with a group")
    if per != "group" and group is None:
        return None
    if isinstance(group, bool) or not isinstance(group, Integral) or group < 1 or weight.shape[1] % group:
        raise ValueError(f"group = {group!r} does not divide the width {weight.shape[1]}; choose one that does")
    return int(group)


def _shaped(limit: Number, shape: tuple[int, ...], weight: Tensor) -> Tensor:
    limit = torch.as_tensor(limit, dtype=torch.float32, device=weight.device).detach()
    if limit.ndim and limit.numel() != shape[0] * shape[1]:
        raise ValueError(f"limits of shape {tuple(limit.shape)}; give one number, or as many as {shape[:2]}")
    return limit.expand(shape) if not limit.ndim else limit.reshape(shape)
