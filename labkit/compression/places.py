"""Where the weights that are left stand: a bit for every place, or 1, 2 or 4 bits for each of n of m."""

import math

import torch
from jaxtyping import Bool, Shaped, UInt8
from torch import Tensor

from labkit.compression.packing import pack_row, unpack_row
from labkit.compression.pruning.patterns import PackedNM, stored_bytes

Pattern = tuple[int, int] | None


def to_bitmap(mask: Bool[Tensor, "..."]) -> UInt8[Tensor, " bytes"]:
    """One bit for every place, eight to a byte, the first in the lowest bit.

    >>> to_bitmap(torch.tensor([True, False, True, False, False, False, False, False, True])).tolist()
    [5, 1]
    """
    return pack_row(mask.flatten().to(torch.uint8), 1)


def from_bitmap(bitmap: UInt8[Tensor, " bytes"], shape: tuple[int, ...]) -> Bool[Tensor, "..."]:
    """The mask that `to_bitmap` was given.

    Raises:
        ValueError: if there are more or fewer bytes than the shape needs, or ones behind its last place.
    """
    count = math.prod(shape)
    if bitmap.numel() != -(-count // 8):
        raise ValueError(f"a bitmap of {tuple(shape)} takes {-(-count // 8):,} bytes, but {bitmap.numel():,} are there")
    bits = unpack_row(bitmap, 1)
    if bits[count:].any():
        raise ValueError(f"the bitmap has ones behind the last of {count} places")
    return bits[:count].bool().view(shape)


def take_apart(numbers: Shaped[Tensor, "out inputs"], pattern: Pattern) -> tuple[Tensor, Tensor]:
    """Where the kept weights stand, as bytes, and what they are, row after row.

    Raises:
        ValueError: if the weights are not n of m.

    >>> take_apart(torch.tensor([[0.0, 5.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0]]), None)
    (tensor([18], dtype=torch.uint8), tensor([5., 7.]))
    """
    if pattern is None:
        return to_bitmap(numbers != 0), numbers[numbers != 0]
    packed = PackedNM.from_weight(numbers if numbers.is_floating_point() else numbers.float(), *pattern)
    return packed.places, packed.values.flatten().to(numbers.dtype)


def mask_of(places: Tensor, shape: tuple[int, int], pattern: Pattern) -> Bool[Tensor, "out inputs"]:
    """Which places of a weight are kept, read from bytes.

    Raises:
        ValueError: if they are no bitmap of this shape, or no n different places of every m.
    """
    if places.dtype != torch.uint8 or places.ndim != 1:
        raise ValueError(f"the places are {places.dtype} of shape {tuple(places.shape)}, not bytes")
    if pattern is None:
        return from_bitmap(places, shape)
    (n, m), (out, inputs) = pattern, shape
    if not 1 <= n <= m <= 16 or inputs % m:
        raise ValueError(f"{n} of {m} is no pattern of rows of {inputs}")
    kept = inputs // m * n
    wanted = math.ceil(stored_bytes(shape, out * kept, "n of m", value=0, m=m))
    if places.numel() != wanted:
        raise ValueError(f"places of {n} of {m} take {wanted:,} bytes, but {places.numel():,} are there")
    columns = PackedNM(torch.empty(1).expand(out, kept), places, n, m).columns()
    at = columns.unflatten(1, (-1, n)) - m * torch.arange(inputs // m, device=places.device)[:, None]
    if (at >= m).any() or (at.diff(dim=2) <= 0).any():
        raise ValueError(f"the places of {n} of {m} are not different ones in order, 0 to {m - 1}")
    return torch.zeros(shape, dtype=torch.bool, device=places.device).scatter_(1, columns, True)


def put_back(values: Shaped[Tensor, " kept"], mask: Bool[Tensor, "out inputs"]) -> Shaped[Tensor, "out inputs"]:
    """The weight with its zeros.

    Raises:
        ValueError: if there are more or fewer values than places.
    """
    kept = int(mask.count_nonzero())
    if values.shape != (kept,):
        raise ValueError(f"{kept:,} places are marked as kept, but there are {values.numel():,} values")
    return values.new_zeros(mask.shape).masked_scatter_(mask, values)
