"""A whole model pruned without training: block by block, with the inputs that the pruned blocks before it make."""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from labkit.compression.layers import inputs_of
from labkit.compression.pruning.magnitude import check_sparsity, check_weight, chosen_layers, element
from labkit.compression.pruning.patterns import check_pattern, n_of_m
from labkit.compression.pruning.surgeon import sparsegpt
from labkit.compression.pruning.wanda import norms_of, wanda_mask

METHODS = ("magnitude", "wanda", "sparsegpt")


@torch.no_grad()
def prune_model(
    model: nn.Module,
    run: Callable[[], Any] | None,
    method: str,
    sparsity: float | int | Any = 0.5,
    *,
    pattern: tuple[int, ...] | None = None,
    names: Iterable[str] | None = None,
) -> dict[str, Tensor]:
    """Prune the linear layers of a model in place, each by the same share, and give the masks.

    Args:
        run: sends calibration text through the model; magnitudes need none.
        method: "magnitude" (|w|), "wanda" (|w| · ‖x‖ within a row) or "sparsegpt" (and the rest repaired).
        pattern: (n, m) to keep n of every m neighbours; `sparsity` says nothing then.
        names: of the layers; all of `linears` if left out.

    Raises:
        ValueError: for another method or layer, a share outside 0 to 1, no calibration text, broken weights, or a
            width that m does not divide. Whatever goes wrong, the weights are as they were.
    Source: Frantar & Alistarh (2023), section 4 and Sun et al. (2023), section 4: block after block, the same share.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    check_sparsity(sparsity)
    if pattern is not None and len(pattern) != 2:
        raise ValueError(f"pattern must be (n, m), n kept of every m neighbours, got {pattern!r}")
    if method != "magnitude" and run is None:
        raise ValueError(f"{method} looks at inputs: give run, a function that sends text through the model")
    layers = chosen_layers(model, names)
    before = {name: layer.weight.clone() for name, layer in layers.items()}
    for weight in before.values():
        check_weight(weight)
        if pattern is not None:
            check_pattern(*pattern, weight.shape[1])
    try:
        for _, block in groupby(layers, key=_block_of):
            _prune_block(model, run, {name: layers[name] for name in block}, method, sparsity, pattern)
    except BaseException:
        for name, weight in before.items():
            layers[name].weight.copy_(weight)
        raise
    return {name: layer.weight != 0 for name, layer in layers.items()}


def _prune_block(model: nn.Module, run: Any, layers: dict[str, nn.Linear], method: str, *how: Any) -> None:
    seen = {} if method == "magnitude" else inputs_of(model, run, list(layers), gram=True)
    for name, layer in layers.items():
        layer.weight.copy_(_pruned(layer.weight, seen.get(name), method, *how))


def _pruned(weight: Tensor, inputs: Any, method: str, sparsity: Any, pattern: tuple[int, int] | None) -> Tensor:
    if method == "sparsegpt":
        return sparsegpt(weight, inputs.gram, sparsity, pattern=pattern)
    if method == "wanda":
        return weight * wanda_mask(weight, norms_of(inputs), sparsity, pattern=pattern)
    return weight * (n_of_m(weight.abs(), *pattern) if pattern else element(weight, sparsity))


def _block_of(name: str) -> str:
    """The block that a layer belongs to: `blocks.3` for `blocks.3.attention.qkv`."""
    parts = name.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[0] + 1]) if numbers else name
