"""Levels that are not evenly spaced: learned from the weights by k-means, or a normal distribution's (NF4).

A codebook lists 2^b levels; a weight is the number of its level, and there may be a scale for each group of weights.
"""

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Any

import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from labkit.compression.grid import by_group, code_range, quantize

# Dettmers et al. (2023), QLoRA, appendix E: the sixteen levels of 4-bit NormalFloat.
NF4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)


@dataclass(frozen=True)
class Codebook:
    """A weight as numbers of levels.

    Attributes:
        codes: which level, out × in.
        levels: 2^bits of them, ascending, float32; one row for all, or one for each row or each group of the weight.
        scale: what the levels of a group are multiplied by, out × groups; None for 1.
        bits: 2 to 8.
        group: how many neighbours in a row share levels or a scale; None for a whole row or matrix.
        scale_bits: what a scale costs in a file, counted per scale.
    """

    codes: UInt8[Tensor, "out in"]
    levels: Float32[Tensor, "rows levels"]
    scale: Float32[Tensor, "out groups"] | None
    bits: int
    group: int | None = None
    scale_bits: float = 32.0


def nearest(values: Float[Tensor, "rows n"], levels: Float[Tensor, "rows levels"]) -> Int64[Tensor, "rows n"]:
    """For each value the number of the level nearest to it; exactly between two it is the lower.

    >>> nearest(torch.tensor([[-9.0, 0.4, 0.6]]), torch.tensor([[0.0, 1.0]]))
    tensor([[0, 0, 1]])
    """
    between = (levels[:, 1:] + levels[:, :-1]) / 2
    return torch.searchsorted(between.contiguous(), values.contiguous())


def kmeans(
    values: Float[Tensor, "rows n"], count: int, rounds: int = 50
) -> tuple[Float[Tensor, "rows levels"], Int64[Tensor, "rows n"]]:
    """For each row `count` levels, each the mean of the values nearest to it, and which level each value has.

    The levels begin evenly spaced from the least value to the largest, and Lloyd's two steps are repeated until they
    rest. A level that has no value stays where it is.

    Source: Han, Mao & Dally (2016), "Deep Compression", sections 3.1 and 3.2 (linear initialisation).

    >>> kmeans(torch.tensor([[0.0, 1.0, 9.0, 10.0]]), 2)
    (tensor([[0.5000, 9.5000]]), tensor([[0, 0, 1, 1]]))
    """
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    levels = low + (high - low) * torch.linspace(0, 1, count, dtype=values.dtype, device=values.device)
    codes = nearest(values, levels)
    for _ in range(rounds):
        sums, sizes = (torch.zeros_like(levels).scatter_add_(1, codes, x) for x in (values, torch.ones_like(values)))
        levels = torch.where(sizes > 0, sums / sizes.clamp_min(1), levels)
        before, codes = codes, nearest(values, levels)
        if torch.equal(before, codes):
            break
    return levels, codes


def cluster(
    weight: Float[Tensor, "..."], bits: Any, *, per: str = "channel", group: Any = None, rounds: int = 50
) -> Codebook:
    """Return the weight (out × in) with levels found by k-means.

    Args:
        per: one list of levels for the whole "tensor", for each "channel" (row), or for each "group" of neighbours.

    Raises:
        ValueError: as `quantize` does: bits outside 2 to 8, NaN, a group that does not divide the width.
    """
    group = quantize(weight, bits, per=per, group=group).group  # refuses what is no weight
    values = by_group(weight.detach().float(), group)
    values = values.reshape(1, -1) if per == "tensor" else values.flatten(0, 1)
    levels, codes = kmeans(values, code_range(bits, signed=False)[1] + 1, rounds)
    return Codebook(codes.to(torch.uint8).view(weight.shape), levels, None, bits, group)


@cache
def normal_float(bits: int = 4) -> tuple[float, ...]:
    """2^bits levels that a normally distributed number, divided by the largest of its group, takes equally often.

    Quantiles of N(0, 1) at evenly spaced probabilities, 2^(b−1) of them above 0 and one fewer below, 0 itself, all
    divided by the largest. The outermost probability, 1 − ½(1/32 + 1/30)  for 4 bits, is between those that 2^b + 1 and
    2^b − 1 equal slices would have; without it the largest quantile would be infinite.

    Source: Dettmers et al. (2023), "QLoRA", section 3, equation 4; the offset is that of their published code.

    >>> [round(level, 4) for level in normal_float()[8:]]
    [0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.723, 1.0]
    """
    half = code_range(bits)[1] + 1
    end = 1 - (1 / (4 * half) + 1 / (4 * half - 2)) / 2
    above, below = ([NormalDist().inv_cdf(end + (0.5 - end) * i / n) for i in range(n)] for n in (half, half - 1))
    return tuple(sorted(level / above[0] for level in (*above, 0.0, *(-q for q in below))))


def nf4(weight: Float[Tensor, "..."], group: Any = 64, *, double: bool = False) -> Codebook:
    """Return the weight in 4-bit NormalFloat: each group divided by its largest size, then the nearest of 16 levels.

    Args:
        double: the scales, less their mean, are themselves kept in 8 bits with a float32 step for every 256 of them.

    Raises:
        ValueError: for a weight that holds NaN, or a group that does not divide its width.
    Source: Dettmers et al. (2023), "QLoRA", section 3.
    """
    group = quantize(weight, 4, per="group", group=group).group
    values = by_group(weight.detach().float(), group)
    scale = values.abs().amax(2)
    scale, scale_bits = _scales_in_bytes(scale) if double else (scale, 32.0)
    levels = torch.tensor([normal_float()], device=weight.device)
    divided = values / torch.where(scale > 0, scale, torch.ones_like(scale)).unsqueeze(2)
    codes = nearest(divided.view(1, -1), levels).to(torch.uint8).view(weight.shape)
    return Codebook(codes, levels, scale, 4, group, scale_bits)


def _scales_in_bytes(scale: Tensor, size: int = 256) -> tuple[Tensor, float]:
    """The scales after 8-bit quantization in blocks of 256, and what each costs: 8 bits, a share of a step and mean."""
    mean = scale.mean()
    flat = torch.nn.functional.pad((scale - mean).flatten(), (0, -scale.numel() % size)).view(-1, size)
    step = flat.abs().amax(1, keepdim=True) / 127
    step = torch.where(step > 0, step, torch.ones_like(step))
    rounded = ((flat / step).round() * step).flatten()[: scale.numel()].view(scale.shape) + mean
    return rounded.clamp_min(0), 8 + 32 * (len(flat) + 1) / scale.numel()


def decode(book: Codebook) -> Float32[Tensor, "out in"]:
    """Read a weight of codes back as float32.

    >>> decode(nf4(torch.tensor([[0.5, -2.0, 0.0, 2.0]]), 2))
    tensor([[ 0.4922, -2.0000,  0.0000,  2.0000]])
    """
    rows = len(book.levels)
    values = book.levels.gather(1, book.codes.long().reshape(rows, -1)).view(book.codes.shape)
    if book.scale is None:
        return values
    return (by_group(values, book.group) * book.scale.unsqueeze(2)).view(book.codes.shape)


def bits_per_weight(book: Codebook) -> float:
    """What a weight costs, levels and scales included; NF4's levels are known to everybody and cost nothing."""
    learned = 0 if book.scale is not None else 32 * book.levels.numel()
    scales = 0.0 if book.scale is None else book.scale_bits * book.scale.numel()
    return book.bits + (learned + scales) / book.codes.numel()
