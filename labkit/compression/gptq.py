"""GPTQ: each weight is rounded in turn, and those not yet rounded make up for what it did to the layer's output.

The objective is ‖WX − ŴX‖², a quadratic form of the error with the Hessian H = 2XXᵀ (`gram`, here a mean over inputs),
the same for every row of W. Solved for the rest of a row, with one weight fixed, it gives the update of `obq_update`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.compression.grid import Quantized, dequantize, from_codes, grid_of, quantize, to_codes
from labkit.compression.layers import Inputs, inputs_of, linears
from labkit.transformer.generation import evaluating

Gram = Float[Tensor, "width width"]


def layer_error(weight: Float[Tensor, "out in"], other: Float[Tensor, "out in"], gram: Tensor) -> Float[Tensor, ""]:
    """The squared length by which the two layers' outputs differ, a mean over the inputs of `gram`: ½ tr(Δ H Δᵀ).

    Source: Frantar et al. (2022), "GPTQ", equation 1.

    >>> float(layer_error(torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0, 1.0]]), 2 * torch.eye(2)))
    1.0
    """
    change = (weight - other).to(gram.dtype)
    return ((change @ gram) * change).sum() / 2


def obq_update(
    row: Float[Tensor, " width"], inverse: Gram, column: int, rounded: Any
) -> tuple[Float[Tensor, " width"], Gram]:
    """One step of Optimal Brain Quantization: fix one weight, move all others to where the error is least.

    Args:
        row: the weights of one output.
        inverse: H⁻¹ of the weights that may still move; rows and columns of those fixed before are zero.
        column: the weight that is fixed now, at the value `rounded`.

    Returns:
        the row, and H⁻¹ without the row and the column of that weight (they are zero).

    Source: Frantar et al. (2022), "GPTQ", equations 2 and 3.

    >>> half = torch.tensor([[1.0, 0.5], [0.5, 1.0]])  # two inputs that say nearly the same
    >>> obq_update(torch.tensor([0.4, 0.4]), half.inverse(), 0, 0.0)[0]  # the second takes over half of the first
    tensor([0.0000, 0.6000])
    """
    pivot = inverse[column, column]
    row = row - (row[column] - rounded) / pivot * inverse[column]
    inverse = inverse - torch.outer(inverse[:, column], inverse[column]) / pivot
    row[column] = rounded
    inverse[column], inverse[:, column] = 0, 0
    return row, inverse


def one_by_one(weight: Float[Tensor, "out in"], gram: Gram, grid: Quantized) -> tuple[Float[Tensor, "out in"], float]:
    """The weight rounded row by row with `obq_update`, columns from left to right, and the sum of what the steps cost.

    This is what `gptq` computes, slowly: it eliminates every weight of every row. Steps and bits are those of `grid`,
    symmetric and one per row.
    """
    top, rows, cost = 2 ** (grid.bits - 1) - 1, [], 0.0
    for row, step in zip(weight, grid.scale[:, 0], strict=True):
        inverse = gram.inverse()
        for column in range(len(row)):
            rounded = (row[column] / step).round().clamp(-top, top) * step
            cost += float((row[column] - rounded) ** 2 / (2 * inverse[column, column]))
            row, inverse = obq_update(row, inverse, column, rounded)
        rows.append(row)
    return torch.stack(rows), cost


def inverse_factor(gram: Gram, damping: float | int = 0.01) -> Gram:
    """Upper triangular U with UᵀU = H⁻¹. Row i, over U_ii, is the first row of H⁻¹ of the weights from i on.

    So one factorisation holds every inverse that eliminating one weight after the other would visit. An input that was
    never other than 0 gets 1 on the diagonal, and `damping` times the mean of the diagonal is added to all of it.

    Raises:
        ValueError: if H, damped, is not positive definite in this precision.
    Source: Frantar et al. (2022), "GPTQ", section 3.3, step 3.
    """
    diagonal = gram.diagonal()
    dead = torch.where(diagonal == 0, torch.ones_like(diagonal), torch.zeros_like(diagonal))
    damped = gram + torch.diag(dead + damping * diagonal.mean())
    # Turned round, H = RRᵀ with R upper triangular, so U = R⁻¹: no inverse is formed to be factorised again.
    lower, failed = torch.linalg.cholesky_ex(damped.flip(0, 1))
    if failed:
        raise ValueError(f"the Gram matrix is singular with damping = {damping}: raise damping, or use more inputs")
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.linalg.solve_triangular(lower.flip(0, 1), eye, upper=True)


def gptq(
    weight: Float[Tensor, "..."],
    gram: Float[Tensor, "..."] | None,
    bits: Any,
    *,
    group: Any = None,
    symmetric: bool = True,
    order: bool = False,
    damping: float | int | Any = 0.01,
    block: int | Any = 128,
) -> Quantized:
    """Return the weight (out × in) rounded column by column, each error made up for by the columns after it.

    Args:
        gram: 2 Σ x xᵀ / count over the layer's inputs (`Inputs.gram`).
        group: how many neighbours in a row share a step, chosen when the first of them is reached; else one per row.
        order: begin with the inputs that are largest ("act-order"); the steps of groups are then chosen beforehand.
        damping: share of the mean of H's diagonal that is added to it.
        block: columns that are finished before the rest of the matrix hears of their errors; a matter of speed alone.

    Raises:
        ValueError: as `quantize` does, and for a Gram matrix that is missing, of another width, not finite or all zero.
    Source: Frantar et al. (2022), "GPTQ", algorithm 1; order and groups as in its published code.
    """
    start = quantize(weight, bits, symmetric=symmetric, group=group)
    refuse_gram(gram, weight.shape[1])
    if not gram.any():
        raise ValueError("the Gram matrix is all zero: the calibration data never reached this layer")
    _refuse_settings(damping, block)
    gram = gram.detach().to(torch.promote_types(gram.dtype, torch.float32))  # no factorisation in half precision
    at = gram.diagonal().argsort(descending=True) if order else torch.arange(len(gram), device=gram.device)
    grids = _Grids(start, fixed=at if order else None)
    factor = inverse_factor(gram[at][:, at], damping)
    rest = weight.detach().to(gram.dtype)[:, at].T.contiguous()  # in × out: what is rounded together lies together
    codes = torch.empty_like(rest, dtype=start.codes.dtype)
    block = block if start.group is None else max(start.group, block // start.group * start.group)
    for first in range(0, len(rest), block):
        part = slice(first, first + block)
        errors = _round_block(rest[part], factor[part, part], grids, first, codes[part])
        rest[first + block :] -= factor[part, first + block :].T @ errors
    return Quantized(codes[at.argsort()].T.contiguous(), grids.scale, grids.zero, bits, start.group)


def _round_block(rest: Tensor, factor: Tensor, grids: "_Grids", first: int, codes: Tensor) -> Tensor:
    """Round columns of W (rows here) one by one, move those after them in the block; each one's error over U_ii."""
    errors, pivots = torch.empty_like(rest), factor.diagonal()
    for i, column in enumerate(rest):
        step, zero = grids.at(first + i, rest[i:])
        codes[i] = to_codes(column, step, zero, grids.bits)
        errors[i] = (column - from_codes(codes[i], step, zero)) / pivots[i]
        rest[i + 1 :].addr_(factor[i, i + 1 :], errors[i], alpha=-1)
    return errors


class _Grids:
    """Steps and zero points by column; those of a group are chosen anew when its first column comes, unless fixed."""

    def __init__(self, start: Quantized, fixed: Tensor | None):
        self.scale, self.zero = start.scale.clone(), None if start.zero is None else start.zero.clone()
        self.bits, self.group = start.bits, start.group
        self.places = None if fixed is None else fixed.tolist()

    def at(self, column: int, rest: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.group is None:
            number = 0
        elif self.places is not None:
            number = self.places[column] // self.group
        else:
            number = column // self.group
            if column % self.group == 0:
                self._choose(number, rest[: self.group])
        return self.scale[:, number], None if self.zero is None else self.zero[:, number]

    def _choose(self, number: int, columns: Tensor) -> None:
        step, zero = grid_of(columns.amin(0), columns.amax(0), self.bits, self.zero is None)
        self.scale[:, number] = step
        if zero is not None:
            self.zero[:, number] = zero


def gptq_model(
    model: nn.Module, run: Callable[[], Any], bits: Any, group: Any = None, **how: Any
) -> dict[str, Quantized]:
    """Every linear layer of a model by `gptq`, each block with the inputs that the quantized blocks before it make.

    Args:
        run: sends calibration data through the model, without a key-value cache.
        how: `symmetric`, `order`, `damping` and `block` of `gptq`.

    Returns:
        what each layer becomes, by name; the model itself is left as it was.

    Raises:
        ValueError: when `run` sends nothing through a layer, and whatever `gptq` refuses.
    Source: Frantar et al. (2022), "GPTQ", section 4, setup.
    """

    def compress(weight: Tensor, inputs: Inputs) -> Quantized:
        return gptq(weight, inputs.gram, bits, group=group, **how)

    return by_block(model, run, compress, dequantize)


@torch.no_grad()
def by_block(
    model: nn.Module, run: Callable[[], Any], compress: Callable[[Tensor, Inputs], Any], read: Callable[[Any], Tensor]
) -> dict[str, Any]:
    """Compress the linear layers of one block after the other, then those outside blocks; the model is left as it was.

    Args:
        compress: from a weight and its inputs to what it becomes; `read` gives back the weight that this stands for.

    Raises:
        ValueError: when `run` sends nothing through the linear layers, or has a key-value cache.
    """
    found, blocks = {}, getattr(model, "blocks", ())

    def compress_these(names: list[str], again: Callable[[], Any]) -> None:
        inputs = inputs_of(model, again, names, gram=True)
        for name in names:
            found[name] = compress(own[name], inputs[name])  # its own weight: two layers may share one
            layers[name].weight.data = read(found[name]).to(own[name])

    with evaluating(model), _calls(blocks) as calls:
        layers = {name: linears(model)[name] for name in inputs_of(model, run)}  # those that the data reaches
        own = {name: layer.weight.data for name, layer in layers.items()}
    with evaluating(model), replaced(model, own):
        for number, block in enumerate(blocks):
            replay = partial(_replay, block, calls)
            if inside := [name for name in layers if name.startswith(f"blocks.{number}.")]:
                compress_these(inside, replay)
            calls = [((out, *given[1:]), named) for out, (given, named) in zip(replay(), calls, strict=True)]
        if rest := [name for name in layers if name not in found]:
            compress_these(rest, run)
    return {name: found[name] for name in layers}


def _replay(block: nn.Module, calls: list[tuple[tuple, dict[str, Any]]]) -> list[Tensor]:
    """One block by itself, called as it was called inside the model."""
    return [block(*given, **named) for given, named in calls]


@contextmanager
def _calls(blocks: nn.ModuleList | tuple) -> Iterator[list[tuple[tuple, dict[str, Any]]]]:
    """A list to which every call of the first block is added inside a `with`."""
    calls: list[tuple[tuple, dict[str, Any]]] = []

    def note(_: nn.Module, given: tuple, named: dict[str, Any]) -> None:
        if named.get("cache") is not None:
            raise ValueError("run() calls the model with a key-value cache, and each block runs again: leave it out")
        calls.append((given, named))

    hooks = [block.register_forward_pre_hook(note, with_kwargs=True) for block in blocks[:1]]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def replaced(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """Let these linear layers compute with other weights inside a `with`; afterwards they have their own again.

    Raises:
        ValueError: for a weight of another shape than the layer's.
    """
    layers = {name: model.get_submodule(name) for name in weights}
    own = {name: layer.weight.data for name, layer in layers.items()}
    for name, weight in weights.items():
        if weight.shape != own[name].shape:
            shapes = f"{tuple(weight.shape)} for {tuple(own[name].shape)}"
            raise ValueError(f"the new weight of {name} has another shape: {shapes}")
    try:
        for name, layer in layers.items():
            layer.weight.data = weights[name].detach().to(own[name])
        yield model
    finally:
        for name, layer in layers.items():
            layer.weight.data = own[name]


def refuse_gram(gram: Any, width: int) -> None:
    """Refuse what is no Gram matrix of a layer with so many inputs."""
    if gram is None:
        raise ValueError("no Gram matrix: collect the layer's inputs with inputs_of(model, run, gram=True)")
    if tuple(gram.shape) != (width, width):
        raise ValueError(
            f"a Gram matrix of shape {tuple(gram.shape)} for a layer with {width} inputs: another layer's?"
        )
    if not torch.isfinite(gram).all():
        raise ValueError("the Gram matrix holds NaN or infinity: an input of this layer was not finite")


def _refuse_settings(damping: Any, block: Any) -> None:
    numbers = isinstance(damping, float | int) and isinstance(block, int)
    if not numbers or not (math.isfinite(damping) and damping >= 0) or block < 1:
        raise ValueError(f"damping must be at least 0 and block a whole number from 1, got {damping!r} and {block!r}")
