"""The kinds of layers that a compressed file holds besides those of one grid, and how each is written and read."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from labkit.compression.codebook_linear import CodebookLinear
from labkit.compression.grid import Quantized
from labkit.compression.headers import bias_said, shape_said, taken, type_name, type_said
from labkit.compression.integer import HIGH, LOW, Affine, Int8Linear
from labkit.compression.sparse import SparseLinear

Written = tuple[dict[str, Any], dict[str, Tensor]]  # what the header says of a layer, and its tensors


class Kind(NamedTuple):
    """How a layer of one class becomes words and tensors, and a layer again."""

    layer: type[nn.Module]
    keys: tuple[str, ...]
    write: Callable[[Any], Written]
    read: Callable[[Mapping[str, Any], Mapping[str, Tensor]], nn.Module]


def _write_int8(layer: Int8Linear) -> Written:
    said = {"shape": list(layer.codes.shape), "bits": 8, "group": None}
    said["inputs"] = layer.inputs and list(layer.inputs)  # the step and zero point of a range; None: of each token
    said["dtype"] = type_name(layer.scale.dtype)
    tensors = {"codes": layer.codes, "scale": layer.scale, "bias": layer.bias}
    return said, {key: tensor for key, tensor in tensors.items() if tensor is not None}


def _read_int8(said: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Int8Linear:
    shape, inputs, dtype = shape_said(said), said.get("inputs"), type_said(said)
    if said.get("bits") != 8 or said.get("group") is not None:
        raise ValueError(f"{said.get('bits')} bits in groups of {said.get('group')}: it has 8 and a step for each row")
    if inputs is not None:
        scale, zero = inputs
        if not (type(zero) is int and LOW <= zero <= HIGH and isinstance(scale, float) and 0 < scale < float("inf")):
            raise ValueError(f"inputs = {inputs}: a step above 0 and a zero point from {LOW} to {HIGH}")
        inputs = Affine(scale, zero)
    codes, scale = taken(tensors, "codes", torch.int8, shape), taken(tensors, "scale", dtype, shape[:1])
    weight = Quantized(codes, scale.float()[:, None], None, 8)
    return Int8Linear(weight, bias_said(tensors, shape[0], dtype), inputs).to(dtype)


ALL = (
    Kind(SparseLinear, ("places", "values", "scale", "bias"), SparseLinear.written, SparseLinear.read),
    Kind(CodebookLinear, ("codes", "levels", "scale", "bias"), CodebookLinear.written, CodebookLinear.read),
    Kind(Int8Linear, ("codes", "scale", "bias"), _write_int8, _read_int8),
)
KINDS = {kind.layer.__name__: kind for kind in ALL}
CLASSES = tuple(kind.layer for kind in ALL)


def modules_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules of a model by name, but for those inside a layer that is written as a whole."""
    inside: tuple[str, ...] = ()
    for name, part in model.named_modules():
        if not name.startswith(inside):
            yield name, part
        if isinstance(part, CLASSES):
            inside += (f"{name}.",)


def written(name: str, layer: nn.Module) -> Written | None:
    """What a file says of a layer, with its kind, and its tensors; None for a layer of no such kind.

    Raises:
        ValueError: for a layer without a name.
    """
    kind = KINDS.get(type(layer).__name__)
    if kind is None or type(layer) is not kind.layer:
        return None
    if not name:
        raise ValueError("a single layer is no model with names: put it into one, nn.Sequential(layer)")
    said, tensors = kind.write(layer)
    return {"kind": type(layer).__name__, **said}, tensors


def read_layer(file: str, name: str, said: Mapping[str, Any] | Any, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The layer that the header describes, if its tensors (of a whole file) agree.

    Raises:
        ValueError: if they do not, and in what.
    """
    kind = said.get("kind") if isinstance(said, dict) else said
    if kind not in list(KINDS):
        raise ValueError(f"{file} has a header in which {name} is a {kind!r}: the kinds are {', '.join(KINDS)}")
    inside = {key[len(name) + 1 :]: tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
    try:
        if set(inside) - set(KINDS[kind].keys):
            raise ValueError(f"it has no {min(set(inside) - set(KINDS[kind].keys))}")
        return KINDS[kind].read(said, inside)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        why = f"there is no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{file} does not hold the {kind} that its header says {name} is: {why}") from error
