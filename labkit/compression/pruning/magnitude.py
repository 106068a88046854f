"""The smallest weights left out: one by one, whole rows or columns, or the smallest of all layers together."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from labkit.compression.layers import linears

Matrix = Float[Tensor, "out inputs"]
Mask = Bool[Tensor, "out inputs"]


def check_sparsity(sparsity: Any) -> float:
    """The share of weights to leave out, as a float.

    Raises:
        ValueError: if it is no number from 0 to 1.
    """
    number = isinstance(sparsity, float | int) and not isinstance(sparsity, bool)
    if not number or not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity is the share of zeros, from 0 to 1, got {sparsity!r}: for 50 percent give 0.5")
    return float(sparsity)


def check_weight(weight: Any) -> None:
    """Refuse what has no smallest weights.

    Raises:
        ValueError: if it is empty, holds NaN or infinity, or nothing but zeros.
    """
    if not isinstance(weight, Tensor) or not weight.numel():
        raise ValueError(f"a weight must be a tensor with numbers in it, got {type(weight).__name__} with none")
    if not weight.isfinite().all():
        raise ValueError("the weights hold NaN or infinity, so none is the smallest: look for where training broke")
    if not weight.any():
        raise ValueError("all weights are zero already: there is nothing to choose from")


def check_scores(scores: Tensor) -> None:
    """Refuse scores of which none is the smallest.

    Raises:
        ValueError: if there are none, or some are NaN.
    """
    if not scores.numel() or scores.isnan().any():
        raise ValueError(f"scores of shape {tuple(scores.shape)} are none or NaN: which are the smallest?")


def keep_largest(scores: Float[Tensor, "..."], sparsity: float | int | Any, per: str = "layer") -> Bool[Tensor, "..."]:
    """True for the scores that stay, after the given share of them, the smallest, has gone; so many as round() says.

    Args:
        per: "layer" compares all scores with each other, "row" (one output's weights) only those of the same row.

    Raises:
        ValueError: for a share outside 0 to 1, another `per`, or no scores or some that are NaN.

    >>> keep_largest(torch.tensor([[3.0, 1.0], [4.0, 5.0]]), 0.5).tolist()
    [[False, False], [True, True]]
    >>> keep_largest(torch.tensor([[3.0, 1.0], [4.0, 5.0]]), 0.5, per="row").tolist()
    [[True, False], [False, True]]
    """
    if per not in ("layer", "row"):
        raise ValueError(f'per must be "layer" or "row", got {per!r}')
    check_scores(scores)
    rows = scores.reshape(1 if per == "layer" else len(scores), -1)
    out = rows.topk(round(check_sparsity(sparsity) * rows.shape[1]), dim=1, largest=False).indices
    return torch.ones_like(rows, dtype=torch.bool).scatter_(1, out, False).reshape(scores.shape)


def element(weight: Matrix | Any, sparsity: float | int | Any, per: str = "layer") -> Mask:
    """True for the weights that are not among the smallest, whatever their place.

    Raises:
        ValueError: for a share outside 0 to 1; for weights that are all zero, or not all finite.
    Source: Han, Pool, Tran & Dally (2015), "Learning both weights and connections", section 3.
    """
    check_weight(weight)
    return keep_largest(weight.detach().abs(), sparsity, per)


def structured(weight: Matrix | Any, sparsity: float | int | Any, dim: int = 0, norm: float | int = 2) -> Mask:
    """True in the rows (`dim` 0: outputs) or columns (`dim` 1: inputs) whose norm is not among the smallest.

    Raises:
        ValueError: as `element`, and for another `dim`.
    Source: Li et al. (2017), "Pruning filters for efficient ConvNets", section 3.1 (with the norm 1).
    """
    check_weight(weight)
    if dim not in (0, 1):
        raise ValueError(f"dim must be 0 (rows, outputs) or 1 (columns, inputs), got {dim!r}")
    kept = keep_largest(torch.linalg.vector_norm(weight.detach(), norm, dim=1 - dim), sparsity)
    return kept.unsqueeze(1 - dim).expand_as(weight).clone()


def global_masks(weights: Mapping[str, Tensor] | Any, sparsity: float | int | Any) -> dict[str, Bool[Tensor, "..."]]:
    """Masks for several layers whose weights compete with each other: a layer of small weights loses more.

    Raises:
        ValueError: as `element`, and without any weights.
    """
    if not weights:
        raise ValueError('there are no weights to compare: give them by name, {"up": layer.weight, …}')
    for weight in weights.values():
        check_weight(weight)
    flat = torch.cat([weight.detach().abs().flatten() for weight in weights.values()])
    parts = keep_largest(flat, sparsity).split([weight.numel() for weight in weights.values()])
    return {name: part.view_as(weights[name]) for name, part in zip(weights, parts, strict=True)}


def chosen_layers(model: nn.Module, names: Iterable[str] | None = None) -> dict[str, nn.Linear]:
    """The linear layers of these names in the order of the model, all of `linears` without names.

    Raises:
        ValueError: for no layer, or one that is not there.
    """
    layers, wanted = linears(model), None if names is None else set(names)
    if wanted is None:
        return layers
    if not wanted or wanted - set(layers):
        raise ValueError(f"there are no linear layers {sorted(wanted)}: take names of linears(model)")
    return {name: layer for name, layer in layers.items() if name in wanted}


@torch.no_grad()
def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """The same model, with zeros where the mask of a linear layer, given by its name, is False.

    Raises:
        ValueError: for a layer that is not there, or a mask of another shape; the model is as it was then.
    """
    layers = dict(model.named_modules())
    weights = {name: getattr(layers.get(name), "weight", None) for name in masks}
    for name, mask in masks.items():
        if weights[name] is None or weights[name].shape != mask.shape:
            found = "no such layer" if weights[name] is None else f"weights of {tuple(weights[name].shape)}"
            raise ValueError(f"a mask of {tuple(mask.shape)} for {name!r}, where there is {found}")
    for name, mask in masks.items():
        weights[name].masked_fill_(mask.to(weights[name].device) == 0, 0)  # a product would keep NaN
    return model


def zeros_in(what: nn.Module | Tensor) -> float:
    """The share of zeros in a tensor, or in all linear weights of a model (without embeddings and a tied head).

    >>> zeros_in(torch.tensor([0.0, 2.0, 0.0, 1.0]))
    0.5
    """
    tensors = [what] if isinstance(what, Tensor) else [layer.weight for layer in linears(what).values()]
    count = sum(math.prod(tensor.shape) for tensor in tensors)
    return sum(int((tensor == 0).sum()) for tensor in tensors) / max(1, count)
