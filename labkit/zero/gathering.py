"""Stage 3: a block's parameters are gathered just before they are used, forward and backward, and given back after.

Four moments of a block, each a hook:

    forward begins → gather        forward ends → release
    gradient of its output is there → gather        its own gradients have all arrived → release
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from labkit.zero.shards import Shard


class Unit:
    """Parameters that are gathered and released together: those of a block, or what no block has (the root)."""

    def __init__(self, name: str, shards: Sequence[Shard], begin_pass: Callable[[], None]):
        self.name, self.shards, self._begin_pass = name, list(shards), begin_pass
        self.trained = [shard for shard in self.shards if shard.flat.group is not None]
        self.in_backward = self.entered = False

    def before(self, inputs: Any = ()) -> None:
        """Forward begins."""
        for shard in self.shards:
            shard.gather()
        if torch.is_grad_enabled() and len(self.trained) < len(self.shards):
            # Frozen parameters get no gradient that could tell that they are needed no more: those of all inputs tell.
            waiting = [tensor for tensor in _tensors(inputs) if tensor.requires_grad]
            done = itertools.count(1)

            def gone(gradient: Tensor) -> None:
                if next(done) % len(waiting) == 0:
                    self.leave()

            for tensor in waiting:
                tensor.register_hook(gone)

    def after(self, output: Any) -> None:
        """Forward ends; in a backward pass it is a recomputation, and the parameters are still needed."""
        if torch.is_grad_enabled():
            for tensor in _tensors(output):
                if tensor.requires_grad:
                    tensor.register_hook(lambda gradient: self.before_backward())
        if not self.in_backward:
            self.release()

    def before_backward(self) -> None:
        """The gradient of the output is there: the backward pass enters this block now."""
        self._begin_pass()
        self.in_backward = True
        for shard in self.shards:
            shard.gather()

    def note_arrival(self) -> None:
        """A gradient has arrived; when none is missing, nothing here is needed any more."""
        if len(self.trained) == len(self.shards) and all(shard.complete for shard in self.trained):
            self.leave()

    def leave(self) -> None:
        """The backward pass leaves this block."""
        self.in_backward = False
        self.release()

    def release(self) -> None:
        """Give the parameters back."""
        for shard in self.shards:
            shard.release()


def hook_block(unit: Unit, block: nn.Module) -> list[Any]:
    """Call the unit when the block's forward pass begins and ends."""
    begin = block.register_forward_pre_hook(lambda module, args, kwargs: unit.before((args, kwargs)), with_kwargs=True)
    end = block.register_forward_hook(lambda module, args, output: unit.after(output), always_call=True)
    return [begin, end]


def hook_entries(unit: Unit, model: nn.Module, entries: Sequence[str]) -> None:
    """Call the unit when one of the model's methods begins and ends: `loss` may be called without `forward`."""
    for name in entries:
        if callable(getattr(model, name, None)):
            setattr(model, name, _entered(unit, getattr(model, name)))


def _entered(unit: Unit, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if unit.entered:  # from another method of the model: it is all there
            return method(*args, **kwargs)
        unit.before((args, kwargs))
        unit.entered, output = True, None
        try:
            output = method(*args, **kwargs)
        finally:
            unit.entered = False
            unit.after(output)
        return output

    return call


def find_blocks(model: nn.Module, blocks: Any = None) -> list[tuple[str, nn.Module]]:
    """The blocks to gather one at a time: those given, or the members of the model's outermost ModuleLists.

    Raises:
        ValueError: if one is no module of the model, or lies within another.
    """
    names = {id(module): name for name, module in model.named_modules()}
    if blocks is None:
        lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
        inner = {id(deep) for each in lists for member in each for deep in member.modules()}
        blocks = [member for each in lists if id(each) not in inner for member in each]
    for block in blocks:
        if id(block) not in names:
            raise ValueError(f"blocks must be modules of the model; a {type(block).__name__} is not one of its modules")
        if any(block is not other and block in other.modules() for other in blocks):
            raise ValueError(f"the block {names[id(block)]} lies within another: give either the one or the other")
    return [(names[id(block)], block) for block in blocks]


def homes(model: nn.Module, blocks: Sequence[tuple[str, nn.Module]]) -> Iterator[tuple[str, Any, list[Any]]]:
    """For each block, and at last the root: its name, its module and its named parameters.

    A parameter that several blocks use, or a block and something outside (tied weights), lives in the root, which is
    there all the time.
    """
    users: dict[int, set[str]] = {}
    inside = [(name, list(block.modules())) for name, block in blocks]
    home_of_module = {id(module): name for name, modules in inside for module in modules}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            users.setdefault(id(parameter), set()).add(home_of_module.get(id(module), ""))
    named = list(model.named_parameters())
    for name, block in [*blocks, ("", model)]:
        here = [(n, p) for n, p in named if (users[id(p)] == {name} or (name == "" and len(users[id(p)]) > 1))]
        yield name or "root", block, here


def _tensors(thing: Any) -> Iterator[Tensor]:
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, Mapping):
        for each in thing.values():
            yield from _tensors(each)
    elif dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        for field in dataclasses.fields(thing):
            yield from _tensors(getattr(thing, field.name))
    elif isinstance(thing, list | tuple):
        for each in thing:
            yield from _tensors(each)
