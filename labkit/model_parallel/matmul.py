"""One matrix product on many ranks, four ways, and the bytes that each rank receives.

In all of them a rank begins with 1/n of A and 1/n of B and ends with 1/n of C = A B. What differs is what travels: B,
A, the sums, or blocks of both. One primitive is enough: pass a block on, take one in, count its bytes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Num
from torch import Tensor

from labkit.model_parallel.tensor import Group, share

PARTS = ("rows", "columns", "blocks_left", "blocks_right")


@dataclass
class Moved:
    """What a rank has received so far."""

    bytes: int = 0
    times: int = 0


def pass_on(
    x: Num[Tensor, "*shape"], to: int, source: int, group: Group = None, moved: Moved | None = None
) -> Num[Tensor, "*shape"]:
    """What rank `source` of the group sends here, while x goes to rank `to`. To itself a rank sends nothing."""
    if to == source == dist.get_rank(group):
        return x
    received = torch.empty_like(x)
    peers = [rank if group is None else dist.get_global_rank(group, rank) for rank in (to, source)]
    ways = [
        dist.P2POp(dist.isend, x.contiguous(), peers[0], group),
        dist.P2POp(dist.irecv, received, peers[1], group),
    ]
    for work in dist.batch_isend_irecv(ways):
        work.wait()
    if moved is not None:
        moved.bytes += received.numel() * received.element_size()
        moved.times += 1
    return received


def by_rows(
    a: Num[Tensor, "own_m k"], b: Num[Tensor, "own_k n"], group: Group = None, moved: Moved | None = None
) -> Num[Tensor, "own_m n"]:
    """This rank's rows of A B from its rows of A and its rows of B, which go once round the ring.

    The block of B that is here meets the columns of A that belong to it; then it goes to the next rank.
    """
    rank, ranks = dist.get_rank(group), dist.get_world_size(group)
    columns = a.split(len(b), dim=1)
    product = columns[rank] @ b
    for step in range(1, ranks):
        b = pass_on(b, (rank + 1) % ranks, (rank - 1) % ranks, group, moved)
        product += columns[(rank - step) % ranks] @ b
    return product


def by_columns(
    a: Num[Tensor, "m own_k"], b: Num[Tensor, "k own_n"], group: Group = None, moved: Moved | None = None
) -> Num[Tensor, "m own_n"]:
    """This rank's columns of A B from its columns of A, which go round the ring, and its columns of B.

    What a `ColumnLinear` does whose input lies apart.
    """
    return by_rows(b.T.contiguous(), a.T.contiguous(), group, moved).T


def by_sums(
    a: Num[Tensor, "m own_k"], b: Num[Tensor, "own_k n"], group: Group = None, moved: Moved | None = None
) -> Num[Tensor, "own_m n"]:
    """This rank's rows of A B from its columns of A and its rows of B: every rank has a partial product of all of C.

    A sum goes round the ring and each rank adds its part (a reduce-scatter). What a `RowLinear` does.
    """
    rank, ranks = dist.get_rank(group), dist.get_world_size(group)
    rows = a.split(share(len(a), ranks, "rows"))
    total = rows[(rank - 1) % ranks] @ b
    for step in range(2, ranks + 1):
        total = pass_on(total, (rank + 1) % ranks, (rank - 1) % ranks, group, moved)
        total += rows[(rank - step) % ranks] @ b
    return total


def by_blocks(
    a: Num[Tensor, "m k"], b: Num[Tensor, "k n"], group: Group = None, moved: Moved | None = None
) -> Num[Tensor, "m n"]:
    """This rank's block of A B from a block of each, on a square grid of ranks: Cannon's algorithm.

    Blocks of A go left and blocks of B go up, √n − 1 times. They have to be dealt out skewed, so that those which meet
    belong together: see `deal`.

    Raises:
        ValueError: if the ranks are no square.
    Source: Cannon (1969), "A cellular computer to implement the Kalman filter algorithm", thesis, Montana State.
    """
    side = grid_side(dist.get_world_size(group))
    row, column = divmod(dist.get_rank(group), side)
    product = a @ b
    for _ in range(side - 1):
        left, right = row * side + (column - 1) % side, row * side + (column + 1) % side
        above, below = (row - 1) % side * side + column, (row + 1) % side * side + column
        a = pass_on(a, left, right, group, moved)
        b = pass_on(b, above, below, group, moved)
        product += a @ b
    return product


def deal(matrix: Num[Tensor, "rows columns"], rank: int, ranks: int, by: str) -> Num[Tensor, "own_rows own_columns"]:
    """The part of a matrix that a rank begins with: rows, columns, or the block of Cannon's left or right factor.

    On a grid the rank in row i and column j has block (i, j + i) of A and (i + j, j) of B.

    Raises:
        ValueError: if the ranks do not divide the matrix, or are no square where it needs one.

    >>> deal(torch.arange(8).view(2, 4), rank=1, ranks=2, by="columns")
    tensor([[2, 3],
            [6, 7]])
    """
    if by not in PARTS:
        raise ValueError(f"by must be one of {', '.join(PARTS)}, got {by!r}")
    if by in ("rows", "columns"):
        axis = PARTS.index(by)
        return matrix.split(share(matrix.shape[axis], ranks, by), dim=axis)[rank].contiguous()
    side = grid_side(ranks)
    i, j = divmod(rank, side)
    i, j = (i, (j + i) % side) if by == "blocks_left" else ((i + j) % side, j)
    row = matrix.split(share(len(matrix), side, "rows"))[i]
    return row.split(share(matrix.shape[1], side, "columns"), dim=1)[j].contiguous()


def bytes_received(scheme: str, m: int, k: int, n: int, ranks: int, size: int = 4) -> int:
    """The bytes each rank receives for (m × k) times (k × n), with numbers of `size` bytes.

    (n − 1)/n of B, of A or of C in one dimension; (√n − 1)/n of A and of B in two. With many ranks and square matrices
    that is 1 against 2/√n of a matrix.

    Raises:
        ValueError: for another scheme, or a grid that is no square.

    >>> [bytes_received(s, 8, 8, 8, ranks=4) for s in ("rows", "columns", "sums", "blocks")]
    [192, 192, 192, 128]
    """
    travels = {"rows": k * n, "columns": m * k, "sums": m * n, "blocks": m * k + k * n}
    if scheme not in travels:
        raise ValueError(f"scheme must be one of {', '.join(travels)}, got {scheme!r}")
    times = (grid_side(ranks) if scheme == "blocks" else ranks) - 1
    return travels[scheme] * times * size // ranks


def grid_side(ranks: int) -> int:
    """How many ranks stand in a row of the square grid.

    Raises:
        ValueError: if they make no square.
    """
    side = math.isqrt(ranks)
    if side * side != ranks:
        raise ValueError(f"blocks in two dimensions need a square of ranks, such as 4 or 9, got {ranks}")
    return side


# How each scheme's factors are dealt out, and which part of C a rank ends with.
SCHEMES: dict[str, tuple[Callable[..., Any], str, str]] = {
    "rows": (by_rows, "rows", "rows"),
    "columns": (by_columns, "columns", "columns"),
    "sums": (by_sums, "columns", "rows"),
    "blocks": (by_blocks, "blocks_left", "blocks_right"),
}


def multiply(
    scheme: str, a: Num[Tensor, "m k"], b: Num[Tensor, "k n"], group: Group = None, moved: Moved | None = None
) -> Num[Tensor, "own_m own_n"]:
    """This rank's part of A B by the scheme named, from whole matrices, of which it takes only its parts."""
    product, left, right = SCHEMES[scheme]
    rank, ranks = dist.get_rank(group), dist.get_world_size(group)
    return product(deal(a, rank, ranks, left), deal(b, rank, ranks, right), group, moved)
