"""Which part of a serial model's weights belongs to which rank, and the way back; no process is needed for either."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from labkit.model_parallel.tensor import share
from labkit.transformer import Config

# Where a weight is cut: its first axis (what it makes), its second (what it is given). All others are on every rank.
MADE = ("tokens.weight", "head.weight", "qkv.weight", "qkv.bias", "up.weight", "up.bias", "gate.weight", "gate.bias")
GIVEN = ("output.weight", "down.weight")


def shard_config(config: Config, ranks: int) -> Config:
    """The shape of one rank's part of a `Decoder`: a narrower one, with its share of heads, hidden width and words.

    Raises:
        ValueError: naming what the ranks do not divide.

    >>> part = shard_config(Config(vocabulary=100, context=8, layers=2, heads=4, width=32), ranks=2)
    >>> part.heads, part.head_dim, part.hidden, part.vocabulary, part.width
    (2, 8, 64, 50, 32)
    """
    return replace(
        config,
        heads=share(config.heads, ranks, "heads"),
        kv_heads=share(config.kv_heads, ranks, "heads of keys and values"),
        head_dim=int(config.head_dim),
        hidden=share(config.hidden, ranks, "hidden units"),
        vocabulary=share(config.vocabulary, ranks, "words"),
    )


def is_cut(name: str) -> bool:
    """Whether each rank holds its own part of this weight; otherwise all hold the same.

    >>> is_cut("blocks.0.feedforward.down.weight"), is_cut("blocks.0.feedforward.down.bias")
    (True, False)
    """
    return name.endswith(MADE + GIVEN)


def shard_state(state: Mapping[str, Tensor], config: Config, rank: int, ranks: int) -> dict[str, Tensor]:
    """The weights of one rank, from those of a serial `Decoder`, under the same names.

    The fused matrix of queries, keys and values is cut as three: each rank gets the queries, keys and values of its own
    heads. Cut in one piece, the first rank would have queries only.

    Raises:
        ValueError: if the ranks do not divide the model, or a rank is none of them.
    """
    shard_config(config, ranks)
    if not 0 <= rank < ranks:
        raise ValueError(f"rank must lie between 0 and {ranks - 1}, got {rank}")
    return {name: _cut(name, weight, config, ranks)[rank] for name, weight in state.items()}


def merge_states(states: Sequence[Mapping[str, Tensor]] | Any, config: Config) -> dict[str, Tensor]:
    """The weights of the serial `Decoder`, from those of all ranks in order: the way back from `shard_state`.

    Raises:
        ValueError: if copies of a weight that all ranks hold have drifted apart.
    """
    return {name: _join(name, [state[name] for state in states], config) for name in states[0]}


def _cut(name: str, weight: Tensor, config: Config, ranks: int) -> list[Tensor]:
    if not is_cut(name):
        return [weight] * ranks
    axis = 1 if name.endswith(GIVEN) else 0
    pieces = [piece.chunk(ranks, dim=axis) for piece in weight.split(_pieces(name, weight, config, axis), dim=axis)]
    return [torch.cat(parts, dim=axis) for parts in zip(*pieces, strict=True)]


def _join(name: str, parts: list[Tensor], config: Config) -> Tensor:
    if not is_cut(name):
        _refuse_drift(name, parts)
        return parts[0]
    axis = 1 if name.endswith(GIVEN) else 0
    whole = torch.cat(parts, dim=axis)
    sizes = [size // len(parts) for size in _pieces(name, whole, config, axis)]
    split = [part.split(sizes, dim=axis) for part in parts]
    return torch.cat([piece for pieces in zip(*split, strict=True) for piece in pieces], dim=axis)


def _pieces(name: str, weight: Tensor, config: Config, axis: int) -> list[int]:
    """The sizes of what must be cut each for itself: queries, keys and values; else the whole."""
    if ".qkv." in name:
        theirs = config.kv_heads * config.head_dim
        return [config.heads * config.head_dim, theirs, theirs]
    return [weight.shape[axis]]


def _refuse_drift(name: str, parts: list[Tensor]) -> None:
    for rank, part in enumerate(parts):
        if part.shape != parts[0].shape or not torch.allclose(part, parts[0], rtol=1e-4, atol=1e-6):
            raise ValueError(
                f"{name} should be the same on every rank, but rank {rank} differs from rank 0: with sequence "
                "parallel, call finish_gradients() between backward and the optimizer's step"
            )
