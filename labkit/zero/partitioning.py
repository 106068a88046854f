"""Parameters laid end to end in one vector, padded, and cut into shards of the same length for every rank.

    weight 2 × 3 | bias 2 | padding          8 numbers + 1 of padding on 3 ranks
    0 0 0 1 1 1    2 2      ·                rank 0 owns the first three, rank 1 the next three, rank 2 the rest

To cut by elements, not by parameters, makes shards equal whatever the shapes; the price is that a matrix may lie in two
of them, so only optimizers that treat every element by itself can work on a shard.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

LAST_MB = 1.0  # of the vector that leaves last: no backward pass goes on behind which it could travel

Vector = Shaped[Tensor, " elements"]
Named = Sequence[tuple[str, nn.Parameter]]


def padded(size: int, ranks: int) -> int:
    """The least multiple of the number of ranks that is no less than the size.

    >>> padded(8, 3), padded(9, 3), padded(0, 4)
    (9, 9, 0)
    """
    return -(-size // ranks) * ranks


def owned(size: int, ranks: int, rank: int) -> tuple[int, int]:
    """Where the shard of a rank begins and ends in the padded vector.

    >>> [owned(8, 3, rank) for rank in range(3)]
    [(0, 3), (3, 6), (6, 9)]
    """
    length = padded(size, ranks) // ranks
    return rank * length, (rank + 1) * length


@dataclass(frozen=True)
class Piece:
    """The part of one parameter that lies in one shard: elements start to stop of it, from `place` on in the shard."""

    name: str
    start: int
    stop: int
    place: int


class Flat:
    """Where each of some parameters lies in one vector, and which elements each rank owns.

    Args:
        named: names and parameters, all of one dtype on one device.
        group: the number of the optimizer's group to which they belong; None if they are frozen.

    Raises:
        ValueError: if there are none, or of different dtypes or devices.

    >>> flat = Flat([("weight", nn.Parameter(torch.ones(2, 3))), ("bias", nn.Parameter(torch.zeros(2)))], ranks=3)
    >>> flat.padded, flat.pieces(1)
    (9, [Piece(name='weight', start=3, stop=6, place=0)])
    >>> flat.pieces(2)
    [Piece(name='bias', start=0, stop=2, place=0)]
    """

    def __init__(self, named: Named, ranks: int, group: int | None = 0):
        kinds = {(parameter.dtype, parameter.device) for _, parameter in named}
        if len(kinds) != 1:
            raise ValueError(f"one vector holds one dtype on one device, got {sorted(map(str, kinds)) or 'nothing'}")
        self.names = [name for name, _ in named]
        self.parameters = [parameter for _, parameter in named]
        self.shapes = [parameter.shape for parameter in self.parameters]
        self.sizes = [parameter.numel() for parameter in self.parameters]
        self.ranks, self.group = ranks, group
        self.size, self.padded = sum(self.sizes), padded(sum(self.sizes), ranks)

    def views(self, vector: Vector) -> list[Tensor]:
        """The parameters as views of the vector, each in its own shape."""
        parts = vector[: self.size].split(self.sizes)
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def join(self, tensors: Sequence[Tensor]) -> Vector:
        """One vector with the elements of all, and zeros as padding."""
        end = tensors[0].new_zeros(self.padded - self.size)
        return torch.cat([*(tensor.detach().reshape(-1) for tensor in tensors), end])

    def bounds(self, rank: int) -> tuple[int, int]:
        """Where the shard of a rank begins and ends."""
        return owned(self.size, self.ranks, rank)

    def pieces(self, rank: int) -> list[Piece]:
        """What of which parameter lies in the shard of a rank."""
        begin, end = self.bounds(rank)
        found, offset = [], 0
        for name, size in zip(self.names, self.sizes, strict=True):
            first, last = max(begin, offset), min(end, offset + size)
            if first < last:
                found.append(Piece(name, first - offset, last - offset, first - begin))
            offset += size
        return found


def buckets(named: Named, groups: Sequence[Sequence[Any]], ranks: int, megabytes: float | int | None) -> list[Flat]:
    """Trainable parameters in vectors of so many megabytes each, in the order in which a backward pass fills them.

    A vector holds parameters of one optimizer's group and dtype. None for megabytes: one vector for each of these. The
    one that leaves last has 1 MB at most, or one parameter.
    """
    most = float("inf") if megabytes is None else megabytes * 2**20
    group_of = {id(parameter): i for i, group in enumerate(groups) for parameter in group}
    place = {id(parameter): i for i, (_, parameter) in enumerate(named)}
    open_: dict[Any, list[tuple[str, nn.Parameter]]] = {}
    flats, filled = [], dict[Any, float]()
    for name, parameter in reversed(named):
        kind = (group_of.get(id(parameter)), parameter.dtype, parameter.device)
        size = parameter.numel() * parameter.element_size()
        if kind in open_ and filled[kind] + size > most:
            flats.append(Flat(open_.pop(kind)[::-1], ranks, kind[0]))
        if kind not in open_:
            open_[kind], filled[kind] = [], 0
        open_[kind].append((name, parameter))
        filled[kind] += size
    flats += [Flat(rest[::-1], ranks, kind[0]) for kind, rest in open_.items()]
    flats = sorted(flats, key=lambda flat: -place[id(flat.parameters[0])])
    return flats if megabytes is None or not flats else [*flats[:-1], *_last_small(flats[-1])]


def _last_small(flat: Flat) -> list[Flat]:
    """The vector in two, of which the second holds first parameters of 1 MB at most, or one."""
    sizes = itertools.accumulate(parameter.nbytes for parameter in flat.parameters)
    few = max(1, sum(size <= LAST_MB * 2**20 for size in sizes))
    named = list(zip(flat.names, flat.parameters, strict=True))
    return [Flat(part, flat.ranks, flat.group) for part in (named[few:], named[:few]) if part]
