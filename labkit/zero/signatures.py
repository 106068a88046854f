"""Whether ranks have the same model, and whether a model is still the one that was split."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from labkit.zero.exchanging import Exchange
from labkit.zero.shards import Shard


def sorted_into_groups(model: nn.Module, groups: Sequence[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """The optimizer's groups with lists of trainable parameters; all of them in one group if none are given.

    Raises:
        ValueError: if there is nothing to train, a trainable parameter is in no group or in two, or one is in a Zero
            already.
    """
    for name, parameter in model.named_parameters():
        if getattr(parameter, "in_zero", False):
            raise ValueError(f"{name} is in another Zero already, which would take its gradients: build the model anew")
    trainable = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise ValueError("nothing to train: every parameter of the model is frozen")
    if groups is None:
        return [{"params": [p for p in model.parameters() if p.requires_grad]}]
    found = [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in groups]
    seen: set[int] = set()
    for parameter in (p for group in found for p in group["params"]):
        if id(parameter) in seen or id(parameter) not in trainable:
            raise ValueError(f"{trainable.get(id(parameter), 'a parameter')} is in two groups, or not in the model")
        seen.add(id(parameter))
    for each in trainable.keys() - seen:
        raise ValueError(f"{trainable[each]} is trainable and in no group: add it to one, or freeze it")
    return found


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that can be compared: numbers, texts, and tuples of them."""
    kinds = (bool, int, float, str, tuple)
    return {name: value for name, value in settings.items() if isinstance(value, kinds)}


def refuse_uneven(
    exchange: Exchange, model: nn.Module, groups: Sequence[dict[str, Any]], settings: Mapping[str, Any]
) -> None:
    """Compare the ranks' parameters, buffers and settings, on every rank.

    Raises:
        ValueError: naming the rank, and the parameter or the setting that differs from rank 0.
    """
    group_of = {id(p): i for i, group in enumerate(groups) for p in group["params"]}
    mine = [(n, tuple(p.shape), str(p.dtype), group_of.get(id(p))) for n, p in model.named_parameters()]
    mine += [(n, tuple(b.shape), str(b.dtype), "buffer") for n, b in model.named_buffers()]
    said = {**settings, **{f"{n} of group {i}": v for i, each in enumerate(groups) for n, v in plain(each).items()}}
    every = exchange.everybodys((mine, said))
    for rank, (_, theirs) in enumerate(every):
        for name in {**said, **theirs}:
            here, there = every[0][1].get(name), theirs.get(name)
            if here != there:
                raise ValueError(f"all ranks must build Zero alike: {name} is {here} on rank 0, {there} on rank {rank}")
    first, *others = (model for model, _ in every)
    for rank, theirs in enumerate(others, start=1):
        if theirs != first:
            pairs = zip(first + [None] * len(theirs), theirs + [None] * len(first), strict=False)
            ours, other = next((a, b) for a, b in pairs if a != b)
            raise ValueError(
                f"all ranks must build the same model: rank 0 has {_said(ours)}, rank {rank} has {_said(other)}"
            )


def _said(entry: Any) -> str:
    if entry is None:
        return "no such parameter"
    name, shape, dtype, group = entry
    where = {None: "frozen", "buffer": "a buffer"}.get(group, f"in group {group}")
    return f"{name} {shape} {dtype} {where}"


def refuse_changed(model: nn.Module, names: Sequence[Any], shards: Sequence[Shard]) -> None:
    """Compare the model with what was split.

    Raises:
        ValueError: if parameters came, went, were frozen, unfrozen or moved since.
    """
    now = [(name, parameter, parameter.requires_grad) for name, parameter in model.named_parameters()]
    for (name, parameter, trained), before in zip(now, names, strict=False):
        if parameter is not before[1] or name != before[0]:
            raise ValueError(
                f"{name} is not the parameter {before[0]} that was split: build Zero after changing a model"
            )
        if trained != before[2]:
            raise ValueError(f"{name} was {'un' if trained else ''}frozen after it was split: build Zero anew")
    if len(now) != len(names):
        raise ValueError(f"the model had {len(names)} parameters when it was split and has {len(now)}: build Zero anew")
    for shard in shards:
        first = shard.flat.parameters[0]
        if shard.present and first.data_ptr() != shard.full.data_ptr():
            raise ValueError(
                f"{shard.flat.names[0]} was moved or replaced after it was split: build Zero after model.to(…)"
            )
