"""What a model's config does not say of it: blocks of different sizes, and layers of two thin ones."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from labkit.compression.headers import shape_said
from labkit.compression.integer import Int8Linear
from labkit.compression.layers import swap
from labkit.compression.low_rank import LowRankLinear
from labkit.transformer import Decoder, Encoder


def skeleton_of(model: nn.Module) -> dict[str, Any]:
    """The sizes that a file must hold besides the config; empty where the config says them all.

    Returns:
        `blocks`: heads, heads of keys and values, and hidden units of each, where not all are alike; `thin`: outputs,
        rank and inputs of each `LowRankLinear`, by name.
    """
    found: dict[str, Any] = {}
    blocks = [_sizes(block) for block in model.blocks] if isinstance(model, Decoder | Encoder) else []
    if any(sizes != blocks[0] for sizes in blocks):
        found["blocks"] = blocks
    thin = {name: part for name, part in model.named_modules() if isinstance(part, LowRankLinear)}
    if thin:
        found["thin"] = {name: [sizes_of(part)[0], part.rank, sizes_of(part)[1]] for name, part in thin.items()}
    return found


def fit_skeleton(file: str, model: nn.Module, skeleton: Mapping[str, Any]) -> None:
    """Give an empty model those sizes, in place; what is new has no memory for its weights yet.

    Raises:
        ValueError: if the model has no such parts.
    """
    try:
        if "blocks" in skeleton:
            _fit_blocks(model, skeleton["blocks"])
        for name in skeleton.get("thin", {}):
            _make_thin(model, name, shape_said(skeleton["thin"], name, 3))
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is of another model, or its header lies: {error}") from error


def sizes_of(layer: nn.Module) -> tuple[int, int]:
    """Outputs and inputs of a linear layer, whatever it was made into."""
    if isinstance(layer, LowRankLinear):
        return sizes_of(layer.up)[0], sizes_of(layer.down)[1]
    if isinstance(layer, Int8Linear):
        return tuple(layer.codes.shape)
    return layer.out_features, layer.in_features


def _sizes(block: nn.Module) -> list[int]:
    attention, down = block.attention, block.feedforward.down
    return [attention.heads, attention.kv_heads, sizes_of(down)[1]]


def _fit_blocks(model: nn.Module, sizes: Any) -> None:
    if len(sizes) != len(model.blocks):
        raise ValueError(f"{len(sizes)} blocks are described, but the model has {len(model.blocks)}")
    for number, block in enumerate(model.blocks):
        heads, kv_heads, hidden = shape_said({f"block {number}": sizes[number]}, f"block {number}", 3)
        attention, part = block.attention, block.feedforward
        if heads % kv_heads:
            raise ValueError(f"block {number} has {heads} heads for {kv_heads} of keys and values")
        attention.heads, attention.kv_heads = heads, kv_heads
        attention.qkv = _empty(attention.qkv, out=(heads + 2 * kv_heads) * attention.head_dim)
        attention.output = _empty(attention.output, inputs=heads * attention.head_dim)
        for name in ("up", "gate"):
            if hasattr(part, name):
                setattr(part, name, _empty(getattr(part, name), out=hidden))
        part.down = _empty(part.down, inputs=hidden)


def _make_thin(model: nn.Module, name: str, sizes: tuple[int, ...]) -> None:
    out, rank, inputs = sizes
    old = dict(model.named_modules()).get(name)
    if isinstance(old, LowRankLinear) and (*sizes_of(old), old.rank) == (out, inputs, rank):
        return  # whoever builds the model knew
    if not isinstance(old, nn.Linear) or old.weight.shape != (out, inputs):
        raise ValueError(f"the model has no linear layer {name} of {out} × {inputs}")
    up, down = (torch.empty(shape, device="meta") for shape in ((out, rank), (rank, inputs)))
    swap(model, name, LowRankLinear(up, down, None if old.bias is None else torch.empty(out, device="meta")))


def _empty(layer: nn.Linear, *, out: int | None = None, inputs: int | None = None) -> nn.Linear:
    sizes = inputs or layer.in_features, out or layer.out_features
    return nn.Linear(*sizes, bias=layer.bias is not None, device="meta")
