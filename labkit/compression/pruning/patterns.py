"""n of every m weights kept: a pattern that hardware can follow, and that packs into fewer bytes."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from labkit.compression.packing import pack_row, unpack_row
from labkit.compression.pruning.magnitude import check_scores, check_weight

FORMATS = ("dense", "coordinates", "csr", "bsr", "bitmap", "n of m")


def n_of_m(scores: Float[Tensor, "out inputs"] | Any, n: int | Any = 2, m: int | Any = 4) -> Bool[Tensor, "out inputs"]:
    """True for the n largest scores in every m neighbours of a row; of equal ones the first.

    Raises:
        ValueError: when n is not from 1 to m, m does not divide the width, or scores are none or NaN.
    Source: Mishra et al. (2021), "Accelerating sparse deep neural networks", section 3 (2:4).

    >>> n_of_m(torch.tensor([[1.0, -9.0, 3.0, 2.0]])).int().tolist()
    [[0, 0, 1, 1]]
    """
    check_pattern(n, m, scores.shape[-1])
    check_scores(scores)
    groups = scores.unflatten(-1, (-1, m))
    best = groups.argsort(dim=-1, descending=True, stable=True)[..., :n]
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, best, True).flatten(-2)


@dataclass(frozen=True)
class PackedNM:
    """A weight of which n in every m neighbours may differ from zero: their values, and where each stands.

    A place takes 1, 2 or 4 bits for m up to 2, 4 or 16, and several places share a byte.
    """

    values: Float[Tensor, "out kept"]
    places: UInt8[Tensor, " bytes"]
    n: int
    m: int

    @classmethod
    def from_weight(cls, weight: Float[Tensor, "out inputs"] | Any, n: int = 2, m: int = 4) -> "PackedNM":
        """Pack a pruned weight.

        Raises:
            ValueError: when m neighbours somewhere hold more than n weights: that is not pruned n of m.
        """
        check_weight(weight)
        mask = n_of_m(weight.detach().abs(), n, m)
        if weight.masked_select(~mask).any():
            raise ValueError(f"more than {n} of {m} neighbours differ from zero: use weight * n_of_m(weight.abs())")
        at = mask.unflatten(-1, (-1, m)).nonzero()[:, -1]  # in order of rows, then groups, then places
        return cls(weight.detach()[mask].view(len(weight), -1), pack_row(at.to(torch.uint8), _bits(m)), n, m)

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs of the whole weight."""
        return len(self.values), self.values.shape[1] // self.n * self.m

    @property
    def nbytes(self) -> int:
        """Bytes of the values and of their places."""
        return self.values.nbytes + self.places.nbytes

    def columns(self) -> Tensor:
        """The input that each value belongs to."""
        at = unpack_row(self.places, _bits(self.m))[: self.values.numel()].view_as(self.values).long()
        group = torch.arange(self.values.shape[1], device=at.device) // self.n
        return at + group * self.m

    def unpacked(self) -> Float[Tensor, "out inputs"]:
        """The weight with its zeros."""
        return self.values.new_zeros(self.shape).scatter_(1, self.columns(), self.values)


def stored_bytes(
    shape: tuple[int, int], kept: int, how: str, *, value: int = 4, index: int = 4, m: int = 4
) -> float | int:
    """Bytes that a matrix with so many weights left takes, their places included.

    Args:
        how: "dense"; "coordinates" (row and column of each); "csr" (a column for each and where every row begins);
            "bsr" (the same for full blocks of m × m); "bitmap" (one bit for every place);
            "n of m" (1, 2 or 4 bits each).
        value, index: bytes of a weight and of an index.

    Raises:
        ValueError: for another format, more weights than places, or an m that `PackedNM` does not have.

    >>> [stored_bytes((4, 8), 16, how) for how in ("dense", "coordinates", "csr", "bitmap", "n of m")]
    [128, 192, 148, 68.0, 68.0]
    """
    rows, columns = shape
    if how not in FORMATS or not 0 <= kept <= rows * columns:
        raise ValueError(f"{kept} weights as {how!r}: at most {rows * columns} fit, and formats are {FORMATS}")
    if m < 1 or (how == "n of m" and m > 16):
        raise ValueError(f"m = {m}: blocks and groups have a side of at least 1, and groups of at most 16")
    return {
        "dense": rows * columns * value,
        "coordinates": kept * (value + 2 * index),
        "csr": kept * (value + index) + (rows + 1) * index,
        "bsr": kept * value + math.ceil(kept / m**2) * index + (math.ceil(rows / m) + 1) * index,
        "bitmap": kept * value + rows * columns / 8,
        "n of m": kept * (value + _bits(m) / 8),
    }[how]


def check_pattern(n: Any, m: Any, width: int) -> None:
    """Refuse a pattern that there is not, or that does not fit into a row.

    Raises:
        ValueError: when n is not from 1 to m, m is above 16, or m does not divide the width.
    """
    whole = all(isinstance(k, int) and not isinstance(k, bool) for k in (n, m))
    if not whole or not 1 <= n <= m <= 16:
        raise ValueError(f"keep n of m with 1 ≤ n ≤ m ≤ 16, got {n!r} of {m!r}")
    if width % m:
        raise ValueError(f"groups of {m} do not divide a row of {width} weights: choose an m that does")


def _bits(m: int) -> int:
    return 1 if m <= 2 else 2 if m <= 4 else 4
