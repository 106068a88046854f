"""Heads, hidden units and layers really taken out: what is left is an ordinary model with smaller tensors.

Where all blocks lose as much, the config says the new sizes and the model can be built from it, saved and loaded.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from labkit.attention import KeyValueCache, MultiHeadAttention
from labkit.transformer import Decoder, Encoder

Chosen = Mapping[int, Iterable[int]]


class PrunedDecoder(Decoder):
    """A decoder whose blocks may have different numbers of heads: each gets a cache of its own size."""

    def new_cache(self, batch: int, capacity: int | None = None) -> list[KeyValueCache]:
        """Room for the keys and values of `capacity` tokens (the context if left out), one cache per layer."""
        weight, length = self.tokens.weight, capacity or self.config.context
        shapes = [(batch, block.attention.kv_heads, length, block.attention.head_dim) for block in self.blocks]
        return [KeyValueCache(*shape, dtype=weight.dtype, device=weight.device) for shape in shapes]


def remove_heads(model: Decoder | Encoder | Any, heads: Chosen | Any) -> Decoder | Encoder:
    """A new model without some heads of attention: narrower matrices, the outputs of a model that silences them.

    Args:
        heads: {layer: heads to take out}. Where several heads of queries share one of keys and values, it is that one
            that is counted, and it goes with all of them.

    Raises:
        ValueError: for a layer or a head that is not there, or when a layer would have no head left.
    Source: Michel, Levy & Neubig (2019), "Are sixteen heads really better than one?", section 2.3.
    """
    small = _copied(model)
    for layer, gone in _checked(small, heads, lambda block: block.attention.kv_heads, "head").items():
        attention = small.blocks[layer].attention
        _shrink_attention(attention, [head for head in range(attention.kv_heads) if head not in gone])
    return _settled(small)


def silence_heads(model: Decoder | Encoder | Any, heads: Chosen | Any) -> Decoder | Encoder:
    """A new model of the old size that multiplies what some heads say by zero.

    Raises:
        ValueError: as `remove_heads`.
    """
    quiet = _copied(model)
    for layer, gone in _checked(quiet, heads, lambda block: block.attention.kv_heads, "head").items():
        attention = quiet.blocks[layer].attention
        columns = _query_rows(attention, gone)
        with torch.no_grad():
            attention.output.weight[:, columns] = 0.0
    return quiet


def remove_hidden(model: Decoder | Encoder | Any, units: Chosen | Any) -> Decoder | Encoder:
    """A new model without some hidden units of feed-forward layers: rows of up (and gate) and columns of down.

    Raises:
        ValueError: for a layer or a unit that is not there, or when a layer would have none left.
    """
    small = _copied(model)
    for layer, gone in _checked(small, units, lambda block: block.feedforward.up.out_features, "unit").items():
        part = small.blocks[layer].feedforward
        kept = torch.tensor([unit for unit in range(part.up.out_features) if unit not in gone])
        part.up, part.down = _cut(part.up, kept, 0), _cut(part.down, kept, 1)
        if hasattr(part, "gate"):
            part.gate = _cut(part.gate, kept, 0)
    return _settled(small)


def remove_layers(model: Decoder | Encoder | Any, layers: Iterable[int] | Any) -> Decoder | Encoder:
    """A new model without some blocks: the residual stream goes past where they stood.

    Raises:
        ValueError: for a layer that is not there, or when none would be left.
    Source: Fan, Grave & Joulin (2020), "Reducing transformer depth on demand", section 3; Men et al. (2024),
        "ShortGPT", section 3.
    """
    small, count = _copied(model), len(model.blocks)
    gone = set(layers)
    if gone - set(range(count)) or len(gone) == count:
        raise ValueError(
            f"a model of {count} layers cannot lose {sorted(gone)}: numbers are 0 to {count - 1}, one stays"
        )
    small.blocks = nn.ModuleList(block for number, block in enumerate(small.blocks) if number not in gone)
    small.config = replace(small.config, layers=len(small.blocks))
    return _settled(small)


def block_influence(model: Decoder | Encoder, ids: Tensor) -> list[float]:
    """How much each block turns the stream: 1 − the mean cosine between what comes in and what goes out.

    Source: Men et al. (2024), "ShortGPT", equation 1.
    """
    with torch.no_grad():
        stream = model.stream(ids)
    cosines = [torch.cosine_similarity(before, after, dim=-1).mean() for before, after in pairwise(stream)]
    return [1 - float(cosine) for cosine in cosines]


def _copied(model: Any) -> Decoder | Encoder:
    """The same weights in new tensors."""
    if not isinstance(model, Decoder | Encoder):
        raise ValueError(f"parts can be removed from our Decoder or Encoder, got {type(model).__name__}")
    return copy.deepcopy(model)


def _settled(model: Any) -> Decoder | Encoder:
    """With blocks that are all alike the config says their sizes; otherwise each of a decoder's gets its own cache."""
    if isinstance(model, PrunedDecoder):
        model.__class__ = Decoder
    shapes = {(b.attention.heads, b.attention.kv_heads, b.feedforward.up.out_features) for b in model.blocks}
    if len(shapes) == 1:
        # Plain numbers: those that Config has filled in itself it would fill in anew.
        sizes = map(int, (*shapes.pop(), model.blocks[0].attention.head_dim))
        named = zip(("heads", "kv_heads", "hidden", "head_dim"), sizes, strict=True)
        model.config = replace(model.config, **dict(named))
    elif isinstance(model, Decoder):
        model.__class__ = PrunedDecoder
    return model


def _checked(model: Any, chosen: Any, count: Any, what: str) -> dict[int, set[int]]:
    found = {}
    for layer, parts in chosen.items():
        if layer not in range(len(model.blocks)):
            raise ValueError(f"there is no layer {layer!r}: numbers are 0 to {len(model.blocks) - 1}")
        gone, there = set(parts), count(model.blocks[layer])
        if gone - set(range(there)):
            raise ValueError(f"layer {layer} has {what}s 0 to {there - 1}, got {sorted(gone)}")
        if len(gone) == there:
            raise ValueError(f"layer {layer} would lose its last {what}: leave one, or use remove_layers")
        found[layer] = gone
    return found


def _query_rows(attention: MultiHeadAttention, groups: Iterable[int]) -> Tensor:
    """Which outputs of the queries belong to these heads of keys and values."""
    size = attention.heads // attention.kv_heads * attention.head_dim
    return torch.cat([torch.arange(size) + group * size for group in sorted(groups)] or [torch.arange(0)])


def _shrink_attention(attention: MultiHeadAttention, kept: list[int]) -> None:
    queries, size = _query_rows(attention, kept), attention.head_dim
    keys = torch.cat([torch.arange(size) + head * size for head in kept])
    ours, theirs = attention.heads * size, attention.kv_heads * size
    attention.qkv = _cut(attention.qkv, torch.cat([queries, ours + keys, ours + theirs + keys]), 0)
    attention.output = _cut(attention.output, queries, 1)
    attention.heads, attention.kv_heads = attention.heads // attention.kv_heads * len(kept), len(kept)


def _cut(layer: nn.Linear, kept: Tensor, dim: int) -> nn.Linear:
    """A linear layer with some of the outputs (`dim` 0) or inputs (1); a bias follows the outputs."""
    weight, kept = layer.weight.detach(), kept.to(layer.weight.device)
    small = nn.utils.skip_init(nn.Linear, 1, 1, bias=layer.bias is not None)  # draws no random numbers
    small.weight = nn.Parameter(weight.index_select(dim, kept), layer.weight.requires_grad)
    small.out_features, small.in_features = small.weight.shape
    if layer.bias is not None:
        bias = layer.bias.detach()
        small.bias = nn.Parameter(bias[kept] if dim == 0 else bias.clone(), layer.bias.requires_grad)
    return small.train(layer.training)
