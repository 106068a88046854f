"""Ranks in a grid: one direction shares a model, the other shares the batch."""

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from labkit.model_parallel.tensor import Group, own_part
from labkit.ranks import device


def new_mesh(**sizes: int) -> DeviceMesh:
    """The ranks in a grid with a named direction for each size: `new_mesh(data=2, tensor=2)` for four.

    The last direction changes fastest: its ranks are neighbours, so put there what talks most, which is tensor
    parallel; the first may cross from machine to machine. A group is `mesh.get_group("tensor")`.

    Raises:
        ValueError: if the sizes do not multiply to the number of ranks.
    Source: Narayanan et al. (2021), "Efficient large-scale language model training on GPU clusters", section 3.2.
    """
    check_sizes(sizes, dist.get_world_size())
    return init_device_mesh(device().type, tuple(sizes.values()), mesh_dim_names=tuple(sizes))


def check_sizes(sizes: dict[str, Any], ranks: int) -> None:
    """Refuse a grid that does not have a place for each rank.

    Raises:
        ValueError: saying what the sizes make.
    """
    bad = {name: size for name, size in sizes.items() if not isinstance(size, int) or size < 1}
    if bad or not sizes:
        raise ValueError(f"sizes of a mesh are whole numbers from 1 on, such as data=2, tensor=2; got {bad or sizes}")
    if math.prod(sizes.values()) != ranks:
        made = " × ".join(f"{name}={size}" for name, size in sizes.items())
        raise ValueError(f"{made} is a mesh of {math.prod(sizes.values())} ranks, but there are {ranks}")


def coordinates(**sizes: int) -> list[dict[str, int]]:
    """Where each rank stands in such a mesh; needs no processes.

    >>> coordinates(data=2, tensor=2)[2]
    {'data': 1, 'tensor': 0}
    """
    places = torch.cartesian_prod(*(torch.arange(size) for size in sizes.values())).view(-1, len(sizes))
    return [dict(zip(sizes, place.tolist(), strict=True)) for place in places]


def own_rows(batch: Tensor, group: Group = None) -> Tensor:
    """This rank's rows of a batch, in a group that shares it.

    Raises:
        ValueError: if the ranks do not divide it.
    """
    return own_part(batch, 0, group)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter], group: Group = None) -> None:
    """Make every gradient the mean over the group, by one all-reduce of all in a row.

    The group is that of ranks which hold the same weights, here the same part of the model. The mean is that of the
    whole batch where every rank's part has the same number of targets.

    Raises:
        ValueError: if a parameter that is trained has no gradient yet.
    """
    found = [p.grad for p in parameters if p.requires_grad]
    if any(grad is None for grad in found):
        raise ValueError("a parameter has no gradient: call backward before the gradients are averaged")
    if not found:
        return
    flat = torch.cat([grad.flatten() for grad in found])
    dist.all_reduce(flat, group=group)
    flat /= dist.get_world_size(group)
    for grad, mean in zip(found, flat.split([grad.numel() for grad in found]), strict=True):
        grad.copy_(mean.view_as(grad))
