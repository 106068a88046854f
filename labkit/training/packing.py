"""The state of a run as tensors and JSON, and back: what a safetensors file can hold, and nothing that can run code."""

import hashlib
import json
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A value as JSON can hold it; its tensors go into `tensors`, named by the way to them.

    >>> found = {}
    >>> pack({"lr": 0.1, "betas": (0.9, 0.99), 0: torch.ones(2)}, "optimizer", found)
    {'dict': [['lr', 0.1], ['betas', {'tuple': [0.9, 0.99]}], [0, {'tensor': 'optimizer.0'}]]}
    >>> found
    {'optimizer.0': tensor([1., 1.])}

    Raises:
        ValueError: for anything but numbers, texts, tensors, and lists, tuples and dictionaries of them.
    """
    if isinstance(value, Tensor):
        tensors[name] = value.detach()
        return {"tensor": name}
    if isinstance(value, np.ndarray):
        return {"array": pack(torch.from_numpy(value), name, tensors)}
    if isinstance(value, Mapping):
        return {"dict": [[key, pack(each, f"{name}.{key}", tensors)] for key, each in value.items()]}
    if isinstance(value, list | tuple):
        packed = [pack(each, f"{name}.{i}", tensors) for i, each in enumerate(value)]
        return {"tuple": packed} if isinstance(value, tuple) else packed
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(
        f"{name} is a {type(value).__name__}, which a checkpoint cannot hold: give numbers, texts, tensors, and "
        "lists, tuples or dictionaries of them"
    )


def unpack(packed: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `pack` was given."""
    if isinstance(packed, list):
        return [unpack(each, tensors) for each in packed]
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "array":
        return unpack(content, tensors).numpy()
    if kind == "tuple":
        return tuple(unpack(each, tensors) for each in content)
    return {key: unpack(each, tensors) for key, each in content}


def digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """The sha256 of all names, types, shapes and bytes, whatever the order, and of a text.

    >>> digest({"a": torch.zeros(2)}) == digest({"a": torch.zeros(2)}), digest({"a": -torch.zeros(2)})[:8]
    (True, 'dbe7402c')
    """
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def random_state() -> dict[str, Any]:
    """The state of the generators that dropout and shuffling use: torch's, on every device, NumPy's and Python's."""
    name, keys, *rest = np.random.get_state()
    state = {"torch": torch.get_rng_state(), "numpy": (name, keys, *rest), "python": random.getstate()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Make the next random numbers those that followed when `random_state` was called."""
    torch.set_rng_state(state["torch"])
    np.random.set_state(state["numpy"])
    random.setstate(state["python"])
    if "cuda" in state and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
