"""Steps of several small batches, and of parts of different size: each target of each rank counts the same."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed

from labkit.data_parallel.replicas import DataParallel
from labkit.training.loop import targets_in

Batch = tuple[Any, ...]


def share(
    count: int | Tensor, group: Any = None, device: Any = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, ""]:
    """What to multiply a rank's mean loss by, so that the mean over ranks is the mean over all of their targets.

    That is n · count / (sum of all counts): 1 if all n ranks have as many. One number travels.
    """
    total = torch.as_tensor(count, dtype=torch.float64, device=device).clone()
    mine = total.clone()
    distributed.all_reduce(total, group=group)
    return (distributed.get_world_size(group) * mine / total.clamp(min=1)).to(dtype)


def accumulate(
    model: DataParallel, batches: Sequence[Batch], counts: Sequence[int | Tensor] | None = None
) -> Float[Tensor, ""]:
    """Leave the gradient of one big batch, of all these batches on all ranks, and return this rank's part of its loss.

    The mean of the returned numbers over the ranks is the loss of the big batch. Only the last backward pass reduces.
    A rank may have fewer batches than the others, or none.

    Args:
        counts: how many targets each batch has; counted if left out (see `labkit.training.loop.targets_in`).
    """
    counts = [targets_in(model.module, batch) for batch in batches] if counts is None else list(counts)
    weight = next(model.parameters())
    wide = torch.promote_types(weight.dtype, torch.float32)
    factor = share(sum(counts), model.group, weight.device, wide)
    some = [pair for pair in zip(batches, counts, strict=True) if not (isinstance(pair[1], int) and pair[1] == 0)]
    loss = torch.zeros((), device=weight.device)
    for number, (batch, count) in enumerate(some):
        with nullcontext() if number == len(some) - 1 else model.no_sync():
            part = _weighed(model.loss(*batch), factor * count / sum(counts))
            part.backward()
        loss = loss + part.detach()
    if not some:
        model.join()
    return loss


def _weighed(loss: Float[Tensor, ""], weight: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The loss times its weight; nothing for a batch without targets, whose mean loss is no number."""
    return torch.where(weight > 0, loss * weight, torch.zeros_like(loss))
