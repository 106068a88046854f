"""Multi-head attention as one batched product: self- and cross-attention, grouped queries, rotation, a cache."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from labkit.attention.cache import KeyValueCache
from labkit.attention.dot_product import attention, attention_weights, repeat_heads
from labkit.attention.masks import allowed_keys
from labkit.attention.positions import LAYOUTS, rotary_angles, rotate
from labkit.attention.tiled import tiled_attention
from labkit.attention.values import refuse_not_finite

KERNELS = ("fused", "plain", "tiled")
Kernel = str | Callable[..., Tensor]


def split_heads(x: Float[Tensor, "batch tokens width"], heads: int) -> Float[Tensor, "batch heads tokens dim"]:
    """The width cut into heads, which become a batch axis. A view: nothing is copied.

    >>> split_heads(torch.zeros(2, 5, 12), heads=3).shape
    torch.Size([2, 3, 5, 4])

    Raises:
        ValueError: when the heads do not divide the width.
    """
    if heads < 1 or x.shape[-1] % heads:
        raise ValueError(f"{heads} heads do not divide a width of {x.shape[-1]}")
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Float[Tensor, "batch heads tokens dim"]) -> Float[Tensor, "batch tokens width"]:
    """The way back from `split_heads`: the heads of each token side by side.

    >>> merge_heads(torch.zeros(2, 3, 5, 4)).shape
    torch.Size([2, 5, 12])
    """
    return x.transpose(1, 2).flatten(-2)


class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each with its own view of the tokens, mixed by one more projection.

    One product makes the queries, keys and values of all heads. `kv_heads` below `heads` shares keys and values among
    groups of heads. `rotary_theta` turns queries and keys by their position. `kernel` says who computes the attention:
    "fused" torch's, "plain" `attention`, "tiled" `tiled_attention`, or any function of (query, key, value, mask,
    causal) with True = may attend. `dropout` falls on the attention weights while training ("fused" and "plain").

    Source: Vaswani et al., Attention Is All You Need (2017), section 3.2.2; Ainslie et al., GQA (2023).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        bias: bool = True,
        rotary_theta: float | int | None = None,
        rotary_layout: str = "half",
        kernel: Kernel = "fused",
        dropout: float | int = 0.0,
    ):
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        _check_heads(width, heads, kv_heads, head_dim)
        _check_kernel(kernel, dropout)
        self.width, self.heads, self.kv_heads = width, heads, kv_heads
        self.head_dim = width // heads if head_dim is None else head_dim
        if rotary_theta is not None:
            _check_rotary(self.head_dim, rotary_layout)
        self.rotary_theta, self.rotary_layout = rotary_theta, rotary_layout
        self.kernel, self.dropout = kernel, dropout
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * self.head_dim, bias=bias)
        self.output = nn.Linear(heads * self.head_dim, width, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"] | Any,
        memory: Float[Tensor, "batch memory_tokens width"] | Any = None,
        mask: Bool[Tensor, "..."] | Any = None,
        *,
        causal: bool = False,
        positions: Int[Tensor, "*batch tokens"] | None = None,
        cache: KeyValueCache | None = None,
        true_means: str = "attend",
    ) -> Float[Tensor, "batch tokens width"]:
        """Each token mixed with those it looks at: among themselves, or in `memory` (cross-attention).

        With a `cache` the tokens follow those already in it, and their keys and values are added. `positions` (for
        rotation only) are otherwise 0, 1, 2 … or where the cache ends. Values are looked at on the CPU only.

        Raises:
            ValueError: for another width, NaN in an input (not looked for with a cache), a blind query, a full cache.
        """
        query, key, value = self._project(x, memory, positions, cache)
        if cache is not None:
            key, value = cache.append(key, value)
        if mask is not None:  # kernels are fastest without one
            mask, causal = self._allowed(query, key, mask, causal, true_means), False
        return self.output(merge_heads(self._attend(query, key, value, mask, causal)))

    def weights(
        self,
        x: Float[Tensor, "batch tokens width"] | Any,
        memory: Float[Tensor, "batch memory_tokens width"] | Any = None,
        mask: Bool[Tensor, "..."] | Any = None,
        *,
        causal: bool = False,
        positions: Int[Tensor, "*batch tokens"] | None = None,
        true_means: str = "attend",
    ) -> Float[Tensor, "batch heads queries keys"]:
        """How much each query of each head looks at each key, as `forward` with the same arguments uses it.

        Raises:
            ValueError: as `forward`.
        """
        query, key, _ = self._project(x, memory, positions, None)
        if mask is not None:
            mask, causal = self._allowed(query, key, mask, causal, true_means), False
        return attention_weights(query, repeat_heads(key, self.heads // self.kv_heads), mask, causal=causal)

    def extra_repr(self) -> str:
        """What `print(model)` shows of this module besides its projections."""
        return f"heads={self.heads}, kv_heads={self.kv_heads}, head_dim={self.head_dim}, kernel={self.kernel!r}"

    def _project(self, x, memory, positions, cache) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, cut into heads and, where wanted, rotated."""
        self._check_input(x, memory, cache)
        ours, theirs = self.heads * self.head_dim, self.kv_heads * self.head_dim
        if memory is None:
            query, key, value = self.qkv(x).split([ours, theirs, theirs], dim=-1)
        else:
            weight, bias = self.qkv.weight, self.qkv.bias
            query = functional.linear(x, weight[:ours], None if bias is None else bias[:ours])
            both = functional.linear(memory, weight[ours:], None if bias is None else bias[ours:])
            key, value = both.split([theirs, theirs], dim=-1)
        query, key = split_heads(query, self.heads), split_heads(key, self.kv_heads)
        if self.rotary_theta is not None:
            past = 0 if cache is None else cache.length
            angles = self._angles(query, positions, past)
            query = rotate(query, angles, self.rotary_layout)
            angles = angles if memory is None else self._angles(key, None, 0)
            key = rotate(key, angles, self.rotary_layout)
        return query, key, split_heads(value, self.kv_heads)

    def _angles(self, x: Tensor, positions: Tensor | None, past: int) -> Tensor:
        if positions is None:
            positions = torch.arange(past, past + x.shape[2], device=x.device)
        if positions.shape[-1] != x.shape[2]:
            raise ValueError(f"{x.shape[2]} tokens need {x.shape[2]} positions, got {positions.shape[-1]}")
        # At least float32: bfloat16 cannot tell position 257 from 256.
        positions = positions.to(torch.promote_types(x.dtype, torch.float32))
        angles = rotary_angles(positions, self.head_dim, self.rotary_theta)
        return angles if positions.ndim == 1 else angles[:, None]

    def _allowed(self, query, key, mask, causal, true_means) -> Tensor:
        """The mask and causality as one mask, of a shape that can mean one thing only."""
        allowed = allowed_keys(query.shape[2], key.shape[2], mask, causal=causal, true_means=true_means)
        batch, heads = query.shape[:2]
        fits = allowed.ndim == 4 and allowed.shape[0] in (1, batch) and allowed.shape[1] in (1, heads)
        if allowed.ndim != 2 and not fits:
            wanted = f"(queries, keys) or (batch 1 or {batch}, heads 1 or {heads}, queries, keys)"
            advice = "mask[:, None] is one mask for each text, mask[None] one for each head"
            raise ValueError(f"a mask must be {wanted}, got {tuple(mask.shape)}: {advice}")
        return allowed

    def _attend(self, query, key, value, mask, causal) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        if self.kernel == "fused":
            return fused_attention(query, key, value, mask, causal, dropout)
        _check_kernel(self.kernel, dropout)  # it may have been changed since
        times = self.heads // self.kv_heads
        key, value = repeat_heads(key, times), repeat_heads(value, times)
        if self.kernel == "plain" and dropout:
            return functional.dropout(attention_weights(query, key, mask, causal=causal), dropout) @ value
        if self.kernel == "plain":
            return attention(query, key, value, mask, causal=causal)
        if self.kernel != "tiled":
            return self.kernel(query, key, value, mask, causal)
        if mask is not None:
            raise ValueError("kernel 'tiled' takes causal=True but no mask: use kernel 'fused' or 'plain'")
        return tiled_attention(query, key, value, causal=causal)

    def _check_input(self, x: Tensor, memory: Tensor | None, cache: KeyValueCache | None) -> None:
        for name, tensor in {"x": x, "memory": memory}.items():
            if tensor is None:
                continue
            if tensor.ndim != 3 or tensor.shape[-1] != self.width:
                raise ValueError(f"{name} must be (batch, tokens, {self.width}), got {tuple(tensor.shape)}")
            if cache is None:  # a token at a time the looking would cost a twentieth; `generate` looks at the logits
                refuse_not_finite(**{name: tensor})
        if memory is not None and memory.shape[0] != x.shape[0]:
            raise ValueError(f"x has a batch of {x.shape[0]}, memory of {memory.shape[0]}: they must be equal")
        if memory is not None and cache is not None:
            raise ValueError("a cache keeps a text's own keys and values: give memory or cache, not both")


def fused_attention(
    query: Float[Tensor, "batch heads queries dim"],
    key: Float[Tensor, "batch kv_heads keys dim"],
    value: Float[Tensor, "batch kv_heads keys dim"],
    mask: Bool[Tensor, "..."] | None = None,
    causal: bool = False,
    dropout: float | int = 0.0,
) -> Float[Tensor, "batch heads queries dim"]:
    """What `attention` computes, by torch's fused kernel: the n × n weights are never in memory.

    Heads of queries may share heads of keys. Causal means aligned at the ends, also with fewer queries than keys.

    Source: Dao et al., FlashAttention (2022).
    """
    shared = _group_size(query.shape[1], key.shape[1]) > 1
    queries, keys = query.shape[2], key.shape[2]
    causal = causal and queries > 1  # a single query is the last one, and sees every key
    if causal and (mask is not None or queries != keys):  # torch's own causal mask is aligned at the beginnings
        mask, causal = allowed_keys(queries, keys, mask, causal=True, device=query.device), False
    return functional.scaled_dot_product_attention(query, key, value, mask, dropout, causal, enable_gqa=shared)


def _check_heads(width: int, heads: int, kv_heads: int, head_dim: int | None) -> None:
    if heads < 1 or kv_heads < 1:
        raise ValueError(f"heads must be at least 1, got heads={heads}, kv_heads={kv_heads}")
    if head_dim is None and width % heads:
        raise ValueError(f"{heads} heads do not divide a width of {width}: choose a divisor, or give head_dim")
    if head_dim is not None and head_dim < 1:
        raise ValueError(f"head_dim must be at least 1, got {head_dim}")
    _group_size(heads, kv_heads)


def _group_size(heads: int, kv_heads: int) -> int:
    """How many heads of queries share a head of keys."""
    if heads % kv_heads:
        raise ValueError(f"{kv_heads} heads of keys and values do not divide {heads} heads of queries")
    return heads // kv_heads


def _check_kernel(kernel: Any, dropout: float) -> None:
    if not callable(kernel) and kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(KERNELS)} or a function, got {kernel!r}")
    if not 0 <= dropout <= 1:
        raise ValueError(f"dropout must be between 0 and 1, got {dropout}")
    if dropout and kernel not in ("fused", "plain"):
        raise ValueError(f"kernel {kernel!r} has no dropout, got {dropout}: use 'fused', 'plain' or dropout=0")


def _check_rotary(head_dim: int, layout: str) -> None:
    if head_dim % 2:
        raise ValueError(f"rotary positions turn pairs: the dimension of a head must be even, got {head_dim}")
    if layout not in LAYOUTS:
        raise ValueError(f"rotary_layout must be 'half' or 'interleaved', got {layout!r}")
