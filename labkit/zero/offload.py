"""States of an optimizer in files instead of memory: the system reads and writes pages of them as they are needed.

    Zero(model, offloaded(torch.optim.AdamW, "scratch"), stage=2, lr=1e-3)

Steps go through the shard a piece at a time, so that memory holds one piece's states. Any optimizer class will do: it
is given pieces as parameters, of which only one has a gradient, and optimizers leave alone what has none.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labkit.training.files import _explained as explained
from labkit.training.files import make_writable


def offloaded(
    optimizer_class: Callable[..., Any], folder: Path | str | None = None, piece: int = 2**20
) -> Callable[..., "Offloaded"]:
    """An optimizer class that keeps its states in the CPU's memory, or in files of a folder.

    Args:
        piece: elements that are worked on at a time.

    Raises:
        ValueError: if a piece has no elements.
        OSError: from what is built, if the folder cannot be written; from a step, if the disk has no room for states.
    Source: Ren et al. (2021), "ZeRO-Offload"; Rajbhandari et al. (2021), "ZeRO-Infinity", section 5.2.
    """
    if piece < 1:
        raise ValueError(f"a piece must have at least 1 element, got {piece}")

    def build(params: Any, **settings: Any) -> Offloaded:
        return Offloaded(params, optimizer_class, folder, piece, settings)

    build.inner = optimizer_class
    return build


class Offloaded:
    """An optimizer over pieces of what it is given; `state` and `step()` as torch has them."""

    def __init__(self, params: Any, optimizer_class: Any, folder: Any, piece: int, settings: dict[str, Any]):
        if folder is not None:
            make_writable(Path(folder))
        groups = list(params)
        groups = groups if isinstance(groups[0], dict) else [{"params": groups}]
        self.folder, self.mapped_bytes = folder, 0
        self.state: dict[Tensor, dict[str, Any]] = {}
        self._home, self._pieces = {}, {}
        for weights in (each for group in groups for each in group["params"]):
            home = weights.data if weights.device.type == "cpu" else weights.data.cpu()
            self._home[weights] = home.view(-1)
            self._pieces[weights] = [nn.Parameter(part) for part in home.view(-1).split(piece)]
        cut = [{**group, "params": [p for w in group["params"] for p in self._pieces[w]]} for group in groups]
        self.inner = optimizer_class(cut, **settings)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The inner optimizer's groups: change a learning rate there."""
        return self.inner.param_groups

    @torch.no_grad()
    def step(self) -> None:
        """Change all weights that have a gradient, a piece at a time."""
        for weights, pieces in self._pieces.items():
            if weights.grad is None:
                continue
            size = pieces[0].numel()
            for part, gradient in zip(pieces, weights.grad.view(-1).split(size), strict=True):
                part.grad = gradient.to(part.device)
                self.inner.step()
                part.grad = None
                self._put_away(weights, part)
            if weights.device.type != "cpu":
                weights.data.view(-1).copy_(self._home[weights])

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for weights in self._pieces:
            weights.grad = None

    def set_state(self, weights: Tensor, state: dict[str, Any]) -> None:
        """Take over a state of the whole shard, from a checkpoint."""
        for name, value in state.items():
            for part, own in zip(self._pieces[weights], self._parts(weights, value), strict=True):
                self.inner.state[part][name] = own.clone() if isinstance(own, Tensor) else own
        for part in self._pieces[weights]:
            self._put_away(weights, part)

    def _parts(self, weights: Tensor, value: Any) -> list[Any]:
        pieces = self._pieces[weights]
        whole = isinstance(value, Tensor) and value.numel() == weights.numel() and value.dim() > 0
        return list(value.view(-1).split(pieces[0].numel())) if whole else [value] * len(pieces)

    def _put_away(self, weights: Tensor, part: Tensor) -> None:
        """Move what the optimizer has just remembered of a piece to where the shard's states lie."""
        begin = part.storage_offset() - self._home[weights].storage_offset()
        kept, state = self.state.setdefault(weights, {}), self.inner.state[part]
        for name, value in state.items():
            if not isinstance(value, Tensor) or value.shape != part.shape:
                kept[name] = value
                continue
            if name not in kept:
                kept[name] = self._room(weights.numel(), value.dtype)
            place = kept[name][begin : begin + part.numel()]
            if value.data_ptr() != place.data_ptr():
                state[name] = place.copy_(value)

    def _room(self, size: int, dtype: torch.dtype) -> Tensor:
        """Memory for a state of the whole shard; a file's, if there is a folder."""
        if self.folder is None:
            return torch.zeros(size, dtype=dtype)
        handle, path = tempfile.mkstemp(prefix="state-", suffix=".bin", dir=self.folder)
        nbytes = max(size, 1) * dtype.itemsize
        try:  # now, since a page without room is no error later but the end of the process
            os.posix_fallocate(handle, 0, nbytes) if hasattr(os, "posix_fallocate") else os.truncate(handle, nbytes)
        except OSError as error:
            os.unlink(path)
            raise explained(error, Path(path), nbytes) from error
        finally:
            os.close(handle)
        room = torch.from_file(path, shared=True, size=size, dtype=dtype)
        self.mapped_bytes += room.nbytes
        if os.name == "posix":  # the memory stays mapped, and no file is left however the process ends
            os.unlink(path)
        return room
