"""Gradients that travel small: 16-bit numbers, the largest few, or a product of two thin matrices.

Each compressor is called with this rank's gradients and a link, and gives the mean over the ranks, or nearly; every
rank gets the same bits. What it left out it keeps and adds to the next gradients (error feedback).

    reducer = Reducer(model.parameters(), PowerSGD(rank=2)).attach()     # on every rank, with the same weights
    model.loss(*my_part).backward()                                      # ends with the compressed mean
"""

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn

from labkit.data_parallel.collectives import all_gather, ring_all_gather, ring_all_reduce
from labkit.data_parallel.links import Link, Wires

Flat = Float[Tensor, " numbers"]
Matrix = Float[Tensor, "rows columns"]
Gradients = list[Tensor]


def mean(x: Tensor, link: Link) -> Tensor:
    """The mean over the ranks, uncompressed: each sends 2 (n − 1) / n of the bytes of x."""
    return ring_all_reduce(x, link.rank, link.world, link) / link.world


def half_mean(x: Flat, link: Link, dtype: torch.dtype = torch.bfloat16) -> Flat:
    """The mean over the ranks of which 16-bit numbers travel, while sums are made of 32-bit ones.

    Each rank adds up one chunk, in the order of the ranks, and rounds it once: in 16 bits on the way, a sum of many
    small numbers would stop growing, and one of large float16 would overflow.
    """
    rank, world, size = link.rank, link.world, -(-len(x) // link.world)
    parcels = nn.functional.pad(x, (0, size * world - len(x))).view(world, size).to(dtype)
    found = [parcels[rank]] * world
    for distance in range(1, world):
        left, right = (rank - distance) % world, (rank + distance) % world
        found[left] = link.exchange(parcels[right], right, parcels[left], left)
    mine = (torch.stack(found).float().sum(dim=0) / world).to(dtype)
    return ring_all_gather(mine, rank, world, link).view(-1)[: len(x)].to(x.dtype)


class Sparse(NamedTuple):
    """A few numbers of a long vector, and where they stood: what top-k sends."""

    values: Float[Tensor, " count"]
    places: Int32[Tensor, " count"]

    @property
    def bytes(self) -> int:
        """8 for each number: half of them say where it belongs."""
        return sum(x.numel() * x.element_size() for x in self)


def top_k(x: Flat, count: int) -> Sparse:
    """The `count` numbers farthest from zero.

    >>> top_k(torch.tensor([1.0, -5, 0, 2]), 2)
    Sparse(values=tensor([-5.,  2.]), places=tensor([1, 3], dtype=torch.int32))
    """
    places = x.abs().topk(count).indices.sort().values
    return Sparse(x[places], places.int())


def dense(sparse: Sparse, size: int) -> Flat:
    """The long vector again, zero where nothing came."""
    return sparse.values.new_zeros(size).index_copy(0, sparse.places.long(), sparse.values)


def orthogonalise(matrix: Matrix) -> Matrix:
    """Columns of length 1 at right angles that span the same space: each minus its part along those before it.

    A column that is nothing but what those before it span (but for rounding) becomes zero.
    Source: Gram and Schmidt; `ORTHOGONALIZE` in algorithm 1 of Vogels et al. (2019).
    """
    done = torch.zeros_like(matrix)
    tiny = 1e-6 * matrix.norm(dim=0)
    for i, column in enumerate(matrix.unbind(dim=1)):
        for _ in range(2):  # once more: rounding leaves a part of those before it
            column = column - done @ (done.T @ column)
        length = column.norm()
        done[:, i] = torch.where(length > tiny[i], column / length.clamp(min=1e-30), torch.zeros_like(column))
    return done


class Factors(NamedTuple):
    """`p @ q.T` is nearly the mean of the ranks' matrices."""

    p: Float[Tensor, "rows rank"]
    q: Float[Tensor, "columns rank"]


def low_rank_mean(matrix: Matrix, q: Float[Tensor, "columns rank"], link: Link) -> Factors:
    """Two thin matrices whose product is the ranks' mean matrix, projected: one step of power iteration from `q`.

    Sums of thin matrices are thin, so unlike top-k this passes through an all-reduce, whatever the number of ranks.
    Source: Vogels, Karimireddy, Jaggi (2019), PowerSGD, algorithm 1.
    """
    p = orthogonalise(mean(matrix @ q, link))
    return Factors(p, mean(matrix.T @ p, link))


class Plain:
    """The exact mean, as all others are compared with."""

    def __call__(self, gradients: Gradients, link: Link) -> Gradients:
        """The mean of all ranks' gradients, in one message."""
        return _flatwise(gradients, lambda flat: mean(flat, link))


class Half:
    """16 bits for each number on the way: half of the bytes.

    bfloat16 has float32's range and 3 digits; float16 has 4 digits, but numbers under 6e-8 vanish and none is over
    65,504.
    """

    def __init__(self, dtype: torch.dtype = torch.bfloat16):
        self.dtype = dtype

    def __call__(self, gradients: Gradients, link: Link) -> Gradients:
        """The mean, each number rounded twice."""
        return _flatwise(gradients, lambda flat: half_mean(flat, link, self.dtype))


class TopK:
    """Of all gradients together the `share` that is largest; the rest waits in `residual` until it is large enough.

    Every rank chooses other places, so all of it goes to all: each sends (n − 1) · 8 bytes for each number. That is
    less than an all-reduce only while `share` is under 1 / n.

    Raises:
        ValueError: for a share that is not between 0 and 1.
    """

    def __init__(self, share: float | int = 0.01, feedback: bool = True):
        if not 0 < share <= 1:
            raise ValueError(f"share is the part of the numbers that is sent, over 0 and up to 1; got {share!r}")
        self.share, self.feedback, self.residual = share, feedback, None

    def __call__(self, gradients: Gradients, link: Link) -> Gradients:
        """The mean of what the ranks sent."""
        return _flatwise(gradients, lambda flat: self._mean(flat, link))

    def count(self, size: int) -> int:
        """How many of `size` numbers are sent, at least one."""
        return max(1, math.ceil(self.share * size))

    def _mean(self, flat: Flat, link: Link) -> Flat:
        if self.residual is not None:
            flat = flat + self.residual
        mine = top_k(flat, self.count(len(flat)))
        if self.feedback:
            self.residual = flat - dense(mine, len(flat))
        values, places = (all_gather(x, link.rank, link.world, link) for x in mine)
        total = torch.zeros_like(flat)
        for sparse in zip(values, places, strict=True):  # in the order of the ranks: the same bits everywhere
            total += dense(Sparse(*sparse), len(flat))
        return total / link.world


class PowerSGD:
    """Each gradient as a product of two thin matrices with `rank` columns; vectors as they are.

    A tensor of more than two dimensions is a matrix with a row for each output. What would not get smaller is sent
    as it is. `warm`: a step begins where the one before ended, which comes nearer to the best product step by step.

    Raises:
        ValueError: for a rank that is not a whole number from 1.
    """

    def __init__(self, rank: Any = 2, feedback: bool = True, warm: bool = True, seed: int = 0):
        if isinstance(rank, bool) or not isinstance(rank, Integral) or rank < 1:
            raise ValueError(f"rank is the number of columns of the thin matrices, from 1; got {rank!r}")
        self.rank, self.feedback, self.warm = rank, feedback, warm
        self.generator = torch.Generator().manual_seed(seed)  # the same on every rank
        self.residuals: dict[int, Tensor] = {}
        self.q: dict[int, Tensor] = {}

    def __call__(self, gradients: Gradients, link: Link) -> Gradients:
        """The mean, projected; all that is not compressed travels in one message."""
        whole = [number for number, g in enumerate(gradients) if not self.smaller(g.shape)]
        found = dict(zip(whole, Plain()([gradients[i] for i in whole], link), strict=True)) if whole else {}
        return [found[i] if i in found else self._mean(i, g, link) for i, g in enumerate(gradients)]

    def smaller(self, shape: Sequence[int]) -> bool:
        """Whether a gradient of this shape is less as two thin matrices."""
        rows, columns = _as_matrix(shape)
        return self.rank * (rows + columns) < rows * columns

    def numbers(self, shapes: Iterable[Sequence[int]]) -> int:
        """How many numbers stand for gradients of these shapes."""
        thin = [self.rank * sum(_as_matrix(s)) if self.smaller(s) else math.prod(s) for s in shapes]
        return sum(thin)

    def _mean(self, number: int, gradient: Tensor, link: Link) -> Tensor:
        matrix = gradient.reshape(_as_matrix(gradient.shape))
        if number in self.residuals:
            matrix = matrix + self.residuals[number]
        if number not in self.q or not self.warm:
            drawn = torch.randn(matrix.shape[1], self.rank, generator=self.generator)
            self.q[number] = drawn.to(matrix)
        p, self.q[number] = low_rank_mean(matrix, self.q[number], link)
        product = p @ self.q[number].T
        if self.feedback:
            self.residuals[number] = matrix - product
        return product.view_as(gradient)


Compressor = Callable[[Gradients, Link], Gradients]


def bytes_of(compressor: Any, shapes: Sequence[Sequence[int]], world: int) -> float:
    """The bytes that a rank sends for float32 gradients of these shapes, where `world` divides what is cut in chunks.

    >>> [bytes_of(one, [(64, 32), (64,)], world=2) for one in (Plain(), Half(), TopK(0.01), PowerSGD(rank=2))]
    [8448.0, 4224.0, 176.0, 1024.0]
    """
    size, around = sum(math.prod(shape) for shape in shapes), 2 * (world - 1) / world
    if isinstance(compressor, TopK):
        return float((world - 1) * 8 * compressor.count(size))
    if isinstance(compressor, PowerSGD):
        return around * 4 * compressor.numbers(shapes)
    return around * size * (2 if isinstance(compressor, Half) else 4)


class Reducer:
    """Replaces the gradients of some parameters by their compressed mean over the ranks.

    The ranks must begin with the same weights and give the parameters in the same order. With `DataParallel` of this
    course: run the backward pass inside of its `no_sync()`, then call `reduce()`.

    Args:
        link: how to reach the other ranks; all of torch.distributed's if left out.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], compressor: Compressor, link: Link | None = None):
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.compressor, self.link, self._pass = compressor, link or Wires(), None

    @torch.no_grad()
    def reduce(self) -> None:
        """Leave the mean in every `.grad`; a parameter that this rank did not use counts as zero."""
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        for parameter, found in zip(self.parameters, self.compressor(gradients, self.link), strict=True):
            parameter.grad = found
        self._pass = None

    def attach(self) -> "Reducer":
        """From now on every backward pass ends with `reduce()`, and gives this reducer."""
        for parameter in self.parameters:
            parameter.register_post_accumulate_grad_hook(self._made)
        return self

    def _made(self, _: nn.Parameter) -> None:
        task = torch._C._current_graph_task_id()
        if task != self._pass:  # the first gradient of this pass
            self._pass = task
            torch.autograd.Variable._execution_engine.queue_callback(self.reduce)


def _as_matrix(shape: Sequence[int]) -> tuple[int, int]:
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (1, math.prod(shape))


def _flatwise(gradients: Gradients, function: Callable[[Flat], Flat]) -> Gradients:
    """All gradients end to end through a function, and cut apart again, each with its own dtype."""
    if not any(g.numel() for g in gradients):
        return [g.clone() for g in gradients]
    flat = function(torch.cat([g.reshape(-1) for g in gradients]))
    pieces = flat.split([g.numel() for g in gradients])
    return [piece.view_as(g).to(g.dtype) for piece, g in zip(pieces, gradients, strict=True)]
