"""Context parallel: a sequence too long for one rank. Each has a slice of queries, keys and values; keys and values
travel round a ring, and every query has met every key when they are home again (ring attention)."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor

from labkit.attention import saved_bytes
from labkit.model_parallel.matmul import Moved
from labkit.model_parallel.tensor import Group, gathered

ORDERS = ("contiguous", "striped", "zigzag")
TILE = 256  # queries at a time: scores need memory for these and not for all


def positions(tokens: int, rank: int, ranks: int, order: str | Any = "zigzag") -> Int[Tensor, " own"]:
    """Where in the sequence the tokens of a rank stand, in ascending order.

    Under a causal mask the last tokens of a sequence look at everything and the first at nearly nothing. "contiguous"
    gives one rank all of the last; "striped" deals tokens like cards; "zigzag" gives rank i of n the pieces i and
    2n − 1 − i of 2n, one from each end.

    >>> [positions(8, rank, 2, "zigzag").tolist() for rank in (0, 1)]
    [[0, 1, 6, 7], [2, 3, 4, 5]]

    Raises:
        ValueError: for another order, or tokens that do not divide.
    Source: Brandon et al. (2023), "Striped attention", section 3 (striped); Dubey et al. (2024), "The Llama 3 herd of
        models", section 3.3.2 (zigzag).
    """
    if order not in ORDERS:
        raise ValueError(f"order is one of {', '.join(ORDERS)}, got {order!r}")
    parts = 2 * ranks if order == "zigzag" else ranks
    if tokens % parts or not tokens:
        raise ValueError(f"{tokens} tokens do not divide into {parts} equal parts ({order}): pad to a multiple")
    each = torch.arange(tokens)
    if order == "striped":
        return each[rank::ranks].clone()
    pieces = each.view(parts, -1)
    return pieces[[rank, parts - 1 - rank]].flatten() if order == "zigzag" else pieces[rank].clone()


def own_tokens(x: Tensor, group: Group = None, order: str = "zigzag", axis: int = -2) -> Tensor:
    """This rank's tokens of a whole sequence, along `axis`."""
    where = positions(x.shape[axis], dist.get_rank(group), dist.get_world_size(group), order)
    return x.index_select(axis, where.to(x.device))


def all_tokens(x: Tensor, group: Group = None, order: str = "zigzag", axis: int = -2) -> Tensor:
    """The whole sequence on every rank, from the tokens that each has; without gradient."""
    ranks = dist.get_world_size(group)
    whole = gathered(x.detach(), axis, group)
    where = torch.cat([positions(whole.shape[axis], rank, ranks, order) for rank in range(ranks)])
    return whole.index_select(axis, where.argsort().to(x.device))


def ring_attention(
    query: Float[Tensor, "*batch own dim"],
    key: Float[Tensor, "*batch own dim"] | Any,
    value: Float[Tensor, "*batch own value_dim"] | Any,
    group: Group = None,
    *,
    causal: bool = False,
    order: str = "zigzag",
    scale: float | int | None = None,
    moved: Moved | None = None,
) -> Float[Tensor, "*batch own value_dim"]:
    """What `labkit.attention.attention` gives for this rank's queries and the keys of all ranks.

    Memory and traffic of a rank grow with its own tokens. While a block of keys is at work, the next is on its way.

    Args:
        order: which positions of the sequence this rank has, see `positions`.
        moved: counts what this rank receives, forward and backward.

    Raises:
        ValueError: for shapes that do not fit each other, and for an order that does not divide the tokens.
    Source: Liu, Zaharia & Abbeel (2023), "Ring attention with blockwise transformers", algorithm 1.
    """
    if query.shape[:-1] != key.shape[:-1] or key.shape[:-1] != value.shape[:-1] or query.shape[-1] != key.shape[-1]:
        shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}"
        raise ValueError(f"got {shapes}; each is (…, own tokens, dim) with the same tokens on this rank")
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    ring = Ring(query.shape[-2], group, causal, order, scale, moved)
    return RingAttention.apply(query, key, value, ring)


class Ring:
    """Who sends to whom, who holds which keys when, and which of them a query may see."""

    def __init__(self, own: int, group: Group, causal: bool, order: str, scale: float | int, moved: Moved | None):
        self.rank, self.ranks, self.group = dist.get_rank(group), dist.get_world_size(group), group
        self.causal, self.scale, self.moved = causal, scale, moved
        self.where = [positions(own * self.ranks, rank, self.ranks, order) for rank in range(self.ranks)]
        self.piece = own // 2 if order == "zigzag" else own  # runs of neighbours: a whole one may be out of sight

    def send(self, x: Tensor) -> tuple[list[dist.Work], Tensor]:
        """Let x leave for the next rank, and begin to take in what the rank before sends."""
        room = torch.empty_like(x)
        if self.ranks == 1:
            return [], x
        peers = ((self.rank + 1) % self.ranks, (self.rank - 1) % self.ranks)
        after, before = (p if self.group is None else dist.get_global_rank(self.group, p) for p in peers)
        ways = [
            dist.P2POp(dist.isend, x, after, self.group),
            dist.P2POp(dist.irecv, room, before, self.group),
        ]
        return dist.batch_isend_irecv(ways), room

    def receive(self, sent: tuple[list[dist.Work], Tensor]) -> Tensor:
        """What the rank before sent, when it is here."""
        works, room = sent
        for work in works:
            work.wait()
        if works and self.moved is not None:
            self.moved.bytes += room.numel() * room.element_size()
            self.moved.times += 1
        return room

    def blocks(self, key: Tensor, value: Tensor, exact: torch.dtype) -> Iterator[tuple[int, Tensor, Tensor]]:
        """The keys and values of every rank, our own first, with the rank that they belong to; they travel as given."""
        both = torch.cat([key, value], dim=-1)
        for step in range(self.ranks):
            last = step == self.ranks - 1
            sent = None if last else self.send(both)  # it travels while we compute
            K, V = both.to(exact).split((key.shape[-1], value.shape[-1]), dim=-1)
            yield (self.rank - step) % self.ranks, K, V
            both = both if last else self.receive(sent)

    def tiles(self, source: int) -> Iterator[tuple[slice, slice, Tensor | None]]:
        """Queries and keys that meet, some at a time, with a mask where only some may: True means "may"."""
        ours, theirs = self.where[self.rank], self.where[source]
        for rows in _cut(len(ours), self.piece, TILE):
            for columns in _cut(len(ours), self.piece, self.piece):
                if not self.causal or theirs[columns][-1] <= ours[rows][0]:
                    yield rows, columns, None
                elif theirs[columns][0] <= ours[rows][-1]:
                    yield rows, columns, ours[rows][:, None] >= theirs[columns]

    def scores(self, query: Tensor, key: Tensor, seen: Tensor | None) -> Tensor:
        """How well queries and keys match, −∞ where a query may not look."""
        scores = self.scale * (query @ key.mT)
        return scores if seen is None else scores.masked_fill(~seen.to(scores.device), -math.inf)


class RingAttention(torch.autograd.Function):
    """Attention whose keys and values come by; it keeps its inputs, its output and one number for each query."""

    @staticmethod
    def forward(ctx, query, key, value, ring):
        """The output, block by block: when the largest score grows, the sums so far shrink with it."""
        exact = torch.promote_types(query.dtype, torch.float32)  # a sum of many in half precision stops growing
        weighted = query.new_zeros(*query.shape[:-1], value.shape[-1], dtype=exact)
        total = query.new_zeros(*query.shape[:-1], 1, dtype=exact)
        maximum = torch.full_like(total, torch.finfo(exact).min)  # −∞ − −∞ would be NaN
        for source, K, V in ring.blocks(key, value, exact):
            for rows, columns, seen in ring.tiles(source):
                S = ring.scores(query[..., rows, :].to(exact), K[..., columns, :], seen)
                new = torch.maximum(maximum[..., rows, :], S.amax(dim=-1, keepdim=True))
                P, shrink = torch.exp(S - new), torch.exp(maximum[..., rows, :] - new)
                total[..., rows, :] = shrink * total[..., rows, :] + P.sum(dim=-1, keepdim=True)
                weighted[..., rows, :] = shrink * weighted[..., rows, :] + P @ V[..., columns, :]
                maximum[..., rows, :] = new
        output, log_sum_exp = (weighted / total).to(query.dtype), maximum + total.log()
        ctx.save_for_backward(query, key, value, output, log_sum_exp)
        ctx.ring = ring
        return output

    @staticmethod
    def backward(ctx, dO):
        """dQ, dK and dV: weights come back from scores and log-sum-exp; dK and dV travel with the keys they are for."""
        (query, key, value, output, log_sum_exp), ring = ctx.saved_tensors, ctx.ring
        exact, dim = log_sum_exp.dtype, key.shape[-1]
        D = (dO.to(exact) * output).sum(dim=-1, keepdim=True)
        dQ = torch.zeros_like(query, dtype=exact)
        home = torch.cat([torch.zeros_like(key), torch.zeros_like(value)], dim=-1)
        for source, K, V in ring.blocks(key, value, exact):
            part = torch.zeros_like(home, dtype=exact)
            for rows, columns, seen in ring.tiles(source):
                Q, G = query[..., rows, :].to(exact), dO[..., rows, :].to(exact)
                P = torch.exp(ring.scores(Q, K[..., columns, :], seen) - log_sum_exp[..., rows, :])
                dS = ring.scale * P * (G @ V[..., columns, :].mT - D[..., rows, :])
                dQ[..., rows, :] += dS @ K[..., columns, :]
                part[..., columns, :dim] += dS.mT @ Q
                part[..., columns, dim:] += P.mT @ G
            home = ring.receive(ring.send(home.add_(part)))
        return dQ.to(query.dtype), home[..., :dim], home[..., dim:], None


def _cut(length: int, piece: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover a length and cross no border of pieces."""
    for first in range(0, length, piece):
        for start in range(first, first + piece, size):
            yield slice(start, min(start + size, first + piece))


def around_the_ring(inputs: Sequence[Tensor], upstream: Tensor, order: str = "zigzag") -> tuple[list[Tensor], int, int]:
    """In a rank: causal attention of whole queries, keys and values by ring, and its gradients, put together again.

    Returns:
        Output, dQ, dK and dV of the whole sequence; the bytes that came here; those that autograd kept on this rank.
    """
    own, moved = [own_tokens(x.detach(), order=order).requires_grad_() for x in inputs], Moved()
    kept = saved_bytes(lambda *own: ring_attention(*own, causal=True, order=order), *own)
    result = ring_attention(*own, causal=True, order=order, moved=moved)
    result.backward(own_tokens(upstream, order=order))
    return [all_tokens(x, order=order) for x in (result, *(x.grad for x in own))], moved.bytes, kept


def pairs(tokens: int, ranks: int, order: str = "zigzag") -> np.ndarray:
    """How many (query, key) pairs a causal mask leaves each rank at each step of the ring, (steps, ranks).

    A step ends when the slowest rank is done.

    >>> pairs(8, 2, "contiguous").tolist(), pairs(8, 2, "zigzag").tolist()
    ([[10, 10], [0, 16]], [[10, 10], [8, 8]])

    Raises:
        ValueError: as `positions`.
    """
    where = [positions(tokens, rank, ranks, order).numpy() for rank in range(ranks)]

    def seen(rank: int, source: int) -> int:
        return int(np.searchsorted(where[source], where[rank], side="right").sum())

    return np.array([[seen(rank, (rank - step) % ranks) for rank in range(ranks)] for step in range(ranks)])


def ring_bytes(tokens: int, width: int, ranks: int, size: int = 4, backward: bool = False) -> int:
    """The bytes a rank receives for one attention: keys and values of all other ranks; backward their gradients too.

    Args:
        tokens: of the whole sequence. width: of keys and of values, all heads together. size: bytes of a number.

    Source: Liu, Zaharia & Abbeel (2023), section 3: each block of keys and values is sent on once a step.
    """
    block = 2 * (tokens // ranks) * width * size
    return (ranks - 1) * block + (ranks * block if backward and ranks > 1 else 0)
