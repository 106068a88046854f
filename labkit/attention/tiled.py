"""Attention without its matrix: softmax from tiles, attention from tiles (FlashAttention), and what autograd keeps.

The names are those of the field: S scores, P weights, L log-sum-exp of a row of scores, dX the gradient with respect to
X. Scores are in units of log 2, so that 2ˢ is what the formulas call eˢ: on a CPU `exp2` takes a third of the time of
`exp`.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.attention.values import refuse_not_finite

TILE = 256
SCORES_AT_ONCE = 2**18  # for each thread: 1 MiB in float32, about what a core has as a cache of its own


def online_softmax(
    scores: Float[Tensor, "*batch n"], tile: int | Any
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """The largest score m and Σ exp(s − m), from tiles of the last axis that are each read once.

    softmax is then exp(s − m) / Σ, and log-sum-exp m + log Σ. Where all scores are −∞, Σ is 0.

    >>> online_softmax(torch.tensor([1.0, 3.0, 3.0, -torch.inf]), tile=2)
    (tensor(3.), tensor(2.1353))

    Raises:
        ValueError: for a tile below 1.
    Source: Milakov & Gimelshein, Online normalizer calculation for softmax (2018), algorithm 3.
    """
    _check_tile(tile)
    # The lowest number in place of −∞, because the difference of two of those is NaN.
    maximum = torch.full_like(scores.sum(dim=-1), torch.finfo(scores.dtype).min)
    total = torch.zeros_like(maximum)
    for part in scores.split(tile, dim=-1):
        new = torch.maximum(maximum, part.amax(dim=-1))
        total = total * torch.exp(maximum - new) + torch.exp(part - new[..., None]).sum(dim=-1)
        maximum = new
    return maximum, total


def tiled_attention(
    query: Float[Tensor, "*batch queries dim"] | Any,
    key: Float[Tensor, "..."] | Any,
    value: Float[Tensor, "..."] | Any,
    causal: bool = False,
    scale: float | int | None = None,
    tile: int | Any = None,
) -> Float[Tensor, "*batch queries value_dim"]:
    """What `attention` computes, tile by tile: memory grows with the number of tokens, not with its square.

    `causal` is aligned at the ends: the last query sees every key. `scale` takes the place of 1 / √d. `tile`, the
    edge of a tile, changes the speed and nothing else. float16 and bfloat16 are summed in float32. Second derivatives
    are refused.

    >>> tiled_attention(torch.zeros(1, 4), torch.zeros(2, 4), torch.tensor([[0.0, 2.0], [4.0, 6.0]]), tile=1)
    tensor([[2., 4.]])

    Raises:
        ValueError: for shapes that do not fit, a query that may look nowhere, and, on the CPU, for an input that holds
            NaN or infinity.
    Source: Dao et al., FlashAttention (2022), algorithms 1 and 4.
    """
    _check(query, key, value, causal)
    tile = TILE if tile is None else tile
    _check_tile(tile)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    if query.ndim == 2:
        return TiledAttention.apply(query[None], key[None], value[None], causal, scale, tile)[0]
    return TiledAttention.apply(query, key, value, causal, scale, tile)


class TiledAttention(torch.autograd.Function):
    """Attention that keeps its inputs, its output and one number for each query; the rest is computed again."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, *how: Any) -> Tensor:
        """The output, some heads at a time."""
        tiles = Tiles(query, key, *how)
        output = _empty_like(query, value.shape[-1])
        log_sum_exp = query.new_empty(query.shape[:-1], dtype=tiles.dtype)
        for heads in tiles.heads():
            Q, K, V = (x[heads].to(tiles.dtype) for x in (query, key, value))
            output[heads], log_sum_exp[heads] = forward_tiles(Q, K, V, tiles)
        ctx.save_for_backward(query, key, value, output, log_sum_exp)
        ctx.how = how
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of query, key and value, some heads at a time."""
        if torch.is_grad_enabled():  # that is create_graph=True
            raise RuntimeError("tiled attention has no second derivative: use attention() where you need one")
        kept = ctx.saved_tensors
        tiles = Tiles(*kept[:2], *ctx.how)
        gradients = [torch.zeros_like(x, dtype=tiles.dtype) for x in kept[:3]]
        for heads in tiles.heads():
            known = (x[heads].to(tiles.dtype) for x in (*kept, grad))
            backward_tiles(*known, *(dX[heads] for dX in gradients), tiles)
        return *(dX.to(grad.dtype) for dX in gradients), *(None for _ in ctx.how)


def forward_tiles(
    Q: Float[Tensor, "heads queries dim"],
    K: Float[Tensor, "heads keys dim"],
    V: Float[Tensor, "heads keys value_dim"],
    tiles: "Tiles",
) -> tuple[Float[Tensor, "heads queries value_dim"], Float[Tensor, "heads queries"]]:
    """Output and log-sum-exp (to the base 2): each block of queries meets the keys tile by tile.

    The largest score, the sum of exponentials and the weighted sum of values so far are all that it carries from tile
    to tile; when the largest score grows, the sums shrink with it.

    Source: Dao et al., FlashAttention (2022), algorithm 1; Dao, FlashAttention-2 (2023), section 3.1, for the order.
    """
    output, L = Q.new_empty(*Q.shape[:-1], V.shape[-1]), Q.new_empty(*Q.shape[:-1], 1)
    for rows in tiles.rows():
        total, weighted = 0, torch.zeros_like(output[:, rows])
        maximum = torch.full_like(L[:, rows], -math.inf)
        for columns in tiles.columns(rows):
            S = tiles.scores(Q, K, rows, columns)
            new = torch.maximum(maximum, S.amax(dim=-1, keepdim=True))
            P = S.sub_(new).exp2_()
            shrink = torch.exp2(maximum - new)
            total = shrink * total + P.sum(dim=-1, keepdim=True)
            weighted.mul_(shrink).baddbmm_(P, V[:, columns])
            maximum = new
        output[:, rows] = weighted / total
        L[:, rows] = maximum + total.log2()
    return output, L[..., 0]


def backward_tiles(
    Q: Float[Tensor, "heads queries dim"],
    K: Float[Tensor, "heads keys dim"],
    V: Float[Tensor, "heads keys value_dim"],
    output: Float[Tensor, "heads queries value_dim"],
    L: Float[Tensor, "heads queries"],
    dO: Float[Tensor, "heads queries value_dim"],
    dQ: Float[Tensor, "heads queries dim"],
    dK: Float[Tensor, "heads keys dim"],
    dV: Float[Tensor, "heads keys value_dim"],
    tiles: "Tiles",
) -> None:
    """Adds to dQ, dK and dV: the weights of each tile come back from its scores and the log-sum-exp, P = exp(S − L).

    The formulas are those of `attention_backward`. What softmax needs of a whole row, Σ dP ∘ P, is Σ dO ∘ O.

    Source: Dao et al., FlashAttention (2022), algorithm 4.
    """
    for rows in tiles.rows():
        D = (dO[:, rows] * output[:, rows]).sum(dim=-1, keepdim=True)
        for columns in tiles.columns(rows):
            P = tiles.scores(Q, K, rows, columns).sub_(L[:, rows, None]).exp2_()
            dV[:, columns].baddbmm_(P.mT, dO[:, rows])
            dP = tiles.product(dO[:, rows], V[:, columns], room=1)
            dS = dP.sub_(D).mul_(P)
            dQ[:, rows].baddbmm_(dS, K[:, columns], alpha=tiles.scale)
            dK[:, columns].baddbmm_(dS.mT, Q[:, rows], alpha=tiles.scale)


class Tiles:
    """Where the tiles of one attention lie, and the memory in which one after the other is computed."""

    def __init__(self, query: Tensor, key: Tensor, causal: bool, scale: float | int, tile: int):
        *self.outer, self.all_heads, self.queries, _ = query.shape
        self.keys, self.causal, self.scale = key.shape[-2], causal, scale
        self.tile, size = tile, min(tile, self.queries) * min(tile, self.keys)
        fit = torch.get_num_threads() * SCORES_AT_ONCE // max(1, size) if query.device.type == "cpu" else self.all_heads
        self.group = max(1, min(fit, self.all_heads))
        self.dtype = torch.promote_types(query.dtype, torch.float32)  # of everything that is summed
        # New memory for each tile would cost as much as its product: the system hands it out page by page.
        self.memory = query.new_empty(2, self.group * size, dtype=self.dtype)

    def heads(self) -> Iterator[tuple[int | slice, ...]]:
        """Indices of some heads each, as many as keep the threads busy and their scores in the cache."""
        groups = _cut(self.all_heads, self.group)
        yield from itertools.product(*map(range, self.outer), groups)

    def rows(self) -> Iterator[slice]:
        """The queries, block by block."""
        yield from _cut(self.queries, self.tile)

    def columns(self, rows: slice) -> Iterator[slice]:
        """The keys that some of these queries may see, block by block: tiles in the future are never computed."""
        last = rows.stop + self.keys - self.queries if self.causal else self.keys
        yield from _cut(last, self.tile)

    def scores(self, Q: Tensor, K: Tensor, rows: slice, columns: slice) -> Tensor:
        """S of one tile in units of log 2, −∞ in the future."""
        S = self.product(Q[:, rows], K[:, columns], self.scale * math.log2(math.e))
        first = rows.start + self.keys - self.queries  # the last key that the first of these queries sees
        if self.causal and columns.stop > first + 1:
            row = torch.arange(first, first + S.shape[-2], device=S.device)
            column = torch.arange(columns.start, columns.stop, device=S.device)
            S.masked_fill_(column > row[:, None], -math.inf)
        return S

    def product(self, A: Tensor, B: Tensor, factor: float = 1.0, room: int = 0) -> Tensor:
        """factor · A Bᵀ, in memory that is used again and again."""
        shape = *A.shape[:-1], B.shape[-2]
        place = self.memory[room, : math.prod(shape)].view(shape)
        return place.baddbmm_(A, B.mT, beta=0, alpha=factor)


def saved_bytes(function: Callable[..., Any], *inputs: Any) -> int:
    """How many bytes autograd keeps for the backward pass when `function(*inputs)` is called.

    Inputs count if they are kept; parameters of modules do not, since they are there anyway. A tensor that is kept
    twice, or is a part of another, counts once; a part counts as the whole memory that it keeps alive.

    >>> x = torch.ones(10, requires_grad=True)
    >>> saved_bytes(torch.exp, x), saved_bytes(lambda x: 2 * x, x)
    (40, 0)
    """
    kept = {}

    def keep(x: Tensor) -> Tensor:
        if not isinstance(x if x._base is None else x._base, nn.Parameter):
            storage = x.untyped_storage()
            kept[storage.data_ptr()] = storage
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        result = function(*inputs)
    size = sum(storage.nbytes() for storage in kept.values())
    del result  # until here it kept everything alive
    return size


def _cut(length: int, size: int) -> Iterator[slice]:
    """Slices of `size` that cover a length, the last one as long as is left."""
    return (slice(start, min(start + size, length)) for start in range(0, length, max(1, size)))


def _empty_like(query: Tensor, dim: int) -> Tensor:
    """Room for the output, in memory ordered as the queries are: what was split into heads is merged without a copy."""
    return torch.empty_like(query) if dim == query.shape[-1] else query.new_empty(*query.shape[:-1], dim)


def _check_tile(tile: Any) -> None:
    if not isinstance(tile, int) or isinstance(tile, bool) or tile < 1:
        raise ValueError(f"a tile needs an edge of at least 1, a whole number, got {tile!r}")


def _check(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> None:
    """Errors that say what does not fit; torch's own would name neither queries nor keys."""
    fit = query.shape[:-2] == key.shape[:-2] and key.shape[:-1] == value.shape[:-1] and query.shape[-1] == key.shape[-1]
    if query.ndim < 2 or not fit:
        shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}"
        wanted = "(…, queries, dim), (…, keys, dim) and (…, keys, value_dim) with the same leading axes"
        raise ValueError(f"got {shapes}; expected {wanted} (see repeat_heads for grouped queries)")
    if not query.dtype == key.dtype == value.dtype:
        raise ValueError(f"query, key and value must have one type, got {query.dtype}, {key.dtype}, {value.dtype}")
    queries, keys = query.shape[-2], key.shape[-2]
    if keys == 0 or (causal and keys < queries):
        blind = f"the first {queries - keys} may look nowhere" if keys else "they may look nowhere"
        raise ValueError(f"{queries} {'causal ' * causal}queries and {keys} keys: {blind}; give at least as many keys")
    refuse_not_finite(query=query, key=key, value=value)
