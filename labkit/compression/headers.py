"""What a file's header says of one layer, held against its tensors before anything is computed or made room for."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def type_name(dtype: torch.dtype) -> str:
    """How a header writes a type of floats.

    >>> type_name(torch.float32)
    'float32'
    """
    return str(dtype).removeprefix("torch.")


TYPES = {type_name(kind): kind for kind in FLOATS}


def type_said(said: Mapping[str, Any]) -> torch.dtype:
    """The type of what comes out of a layer.

    Raises:
        ValueError: if that is no type of floats.
    """
    if said.get("dtype") not in list(TYPES):
        raise ValueError(f"dtype = {said.get('dtype')!r}: it must be one of {', '.join(TYPES)}")
    return TYPES[said["dtype"]]


def shape_said(said: Mapping[str, Any], key: str = "shape", count: int = 2) -> tuple[int, ...]:
    """So many sizes, whole numbers of at least 1.

    Raises:
        ValueError: if the header says anything else.

    >>> shape_said({"shape": [64, 32]})
    (64, 32)
    """
    sizes = said.get(key)
    whole = isinstance(sizes, list) and all(type(size) is int and size > 0 for size in sizes)
    if not whole or len(sizes) != count:
        raise ValueError(f"{key} = {sizes!r}: it must be {count} whole numbers of at least 1")
    return tuple(sizes)


def taken(tensors: Mapping[str, Tensor], key: str, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """The tensor of that name.

    Raises:
        ValueError: if there is none, or if it is of another type or shape, or not finite.
    """
    if key not in tensors:
        raise ValueError(f"there are no {key}")
    found = tensors[key]
    if found.dtype != dtype or found.shape != shape:
        raise ValueError(f"{key} are {found.dtype} of shape {tuple(found.shape)}, expected {dtype} of {shape}")
    if not found.isfinite().all():
        raise ValueError(f"{key} are not all finite")
    return found


def steps_said(tensors: Mapping[str, Tensor], shape: tuple[int, int], group: Any, key: str = "scale") -> Tensor:
    """The steps of a weight: one for the whole, one for each row, or for each group of a row.

    Raises:
        ValueError: if the group does not divide the width, or the steps are not so many finite float32 numbers.
    """
    out, inputs = shape
    if group is not None and (type(group) is not int or group < 1 or inputs % group):
        raise ValueError(f"group = {group!r} does not divide a width of {inputs}")
    whole = group is None and key in tensors and tensors[key].shape == (1, 1)
    return taken(tensors, key, torch.float32, (1, 1) if whole else (out, inputs // (group or inputs)))


def bias_said(tensors: Mapping[str, Tensor], out: int, dtype: torch.dtype) -> Tensor | None:
    """The bias, if there is one.

    Raises:
        ValueError: unless it is a finite number of that type for each row.
    """
    return taken(tensors, "bias", dtype, (out,)) if "bias" in tensors else None
