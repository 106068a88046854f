"""Layers cut across ranks: two conjugate operators, and the linear layers they make of a small matrix on each rank.

A matrix cut by the columns of what it makes needs all of its input and gives a part of its output; one cut by the rows
of what it is given takes such a part and gives a sum that still has to be completed. One after the other they need one
all-reduce forward and one backward. `group` is a process group of torch; None means all ranks.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

Group = Any  # dist.ProcessGroup or None; torch builds without distributed have no such class


class CopyToRanks(torch.autograd.Function):
    """What autograd calls for `copy_to_ranks`."""

    @staticmethod
    def forward(ctx, x, group):
        """Nothing happens."""
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        """The gradients of all ranks are added up."""
        grad = grad.contiguous().clone()
        dist.all_reduce(grad, group=ctx.group)
        return grad, None


class SumOverRanks(torch.autograd.Function):
    """What autograd calls for `sum_over_ranks`."""

    @staticmethod
    def forward(ctx, x, group):
        """The parts of all ranks are added up."""
        total = x.contiguous().clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx, grad):
        """Nothing happens."""
        return grad, None


class _GatherLast(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, group):
        ctx.group = group
        return gathered(x, -1, group)

    @staticmethod
    def backward(ctx, grad):
        return own_part(grad, -1, ctx.group), None


def copy_to_ranks(x: Float[Tensor, "*shape"], group: Group = None) -> Float[Tensor, "*shape"]:
    """x itself; backward the gradients of all ranks are added up. Stands where every rank begins to use the same x.

    What several functions use has the sum of their gradients as its gradient, also when they live in other processes.

    Source: Shoeybi et al. (2019), "Megatron-LM", section 3 and figure 3, operator f.
    """
    return CopyToRanks.apply(x, group)


def sum_over_ranks(x: Float[Tensor, "*shape"], group: Group = None) -> Float[Tensor, "*shape"]:
    """The sum of every rank's x, on every rank; backward the gradient goes to each as it is.

    It is the conjugate of `copy_to_ranks`. Each rank holds the same sum and computes the same loss from it, which
    counts once: so nothing is added up backward.

    Source: Shoeybi et al. (2019), "Megatron-LM", section 3 and code 1, operator g.
    """
    return SumOverRanks.apply(x, group)


def gather_last(x: Float[Tensor, "*shape part"], group: Group = None) -> Float[Tensor, "*shape whole"]:
    """The last axis of all ranks side by side, on every rank; backward each takes its own part of the gradient."""
    return _GatherLast.apply(x, group)


class ColumnLinear(nn.Module):
    """A linear layer of which this rank makes outputs/n of the outputs: its rows of the weight, its part of the bias.

    (The columns are those of the papers' A in X A; torch stores Aᵀ.) Each rank needs all of x. With `gather` the
    outputs of all ranks are put side by side; without it they stay apart, as `RowLinear` likes them.

    Raises:
        ValueError: if the ranks do not divide the outputs.
    Source: Shoeybi et al. (2019), section 3.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True, group: Group = None, gather: bool = False):
        super().__init__()
        self.group, self.gather = group, gather
        own = share(outputs, dist.get_world_size(group), "outputs")
        self.weight = nn.Parameter(torch.empty(own, inputs))
        self.bias = nn.Parameter(torch.zeros(own)) if bias else None
        _draw(self.weight, inputs)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """This rank's outputs, or with `gather` all of them."""
        return self.product(x, self.weight, self.bias)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """This rank's outputs for any weight, such as two matrices in one."""
        y = F.linear(copy_to_ranks(x, self.group), weight, bias)
        return gather_last(y, self.group) if self.gather else y


class RowLinear(nn.Module):
    """A linear layer of which this rank is given inputs/n of the inputs; the partial products of all ranks are added.

    The bias is on every rank, and is added after the sum: once, not n times.

    Raises:
        ValueError: if the ranks do not divide the inputs.
    Source: Shoeybi et al. (2019), section 3.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True, group: Group = None):
        super().__init__()
        self.group = group
        self.weight = nn.Parameter(torch.empty(outputs, share(inputs, dist.get_world_size(group), "inputs")))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        _draw(self.weight, inputs)

    def forward(self, x: Float[Tensor, "*batch part"]) -> Float[Tensor, "*batch outputs"]:
        """All outputs, on every rank, from this rank's part of the inputs."""
        y = self.complete(F.linear(x, self.weight))
        return y if self.bias is None else y + self.bias

    def complete(self, partial: Tensor) -> Tensor:
        """The sum of the partial products."""
        return sum_over_ranks(partial, self.group)


def share(size: int, ranks: int, what: str) -> int:
    """The part of each rank: size / ranks.

    Raises:
        ValueError: if it does not divide, naming what.

    >>> share(12, 4, "heads")
    3
    """
    if size % ranks or size < ranks:
        more = f"{ranks} ranks cannot each have one" if size < ranks else f"{ranks} ranks do not divide them evenly"
        raise ValueError(f"{size} {what}: {more}. Use {_divisors(size)} ranks, or change the model's {what}")
    return size // ranks


def refuse_disagreement(ids: Int[Tensor, "batch tokens"] | Any, group: Group = None) -> None:
    """Nothing, when every rank came with the same ids; costs one exchange of five numbers.

    The ranks of one model read the same batch. With other shapes their sums would hang or mix; with other tokens
    nothing would fail at all, and the model would learn from noise.

    Raises:
        ValueError: on every rank, saying what each came with.
    """
    ids = ids if isinstance(ids, Tensor) else torch.as_tensor(ids)
    shape = [*ids.shape, -1, -1, -1][:3]
    weights = torch.arange(1, ids.numel() + 1, device=ids.device) % 9973
    sums = torch.stack([ids.sum(), (ids.reshape(-1) * weights).sum()]).long()
    mine = torch.cat([torch.tensor(shape, device=ids.device), sums])
    every = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(every, mine, group=group)
    rows = [one.tolist() for one in every]
    if any(row[:3] != rows[0][:3] for row in rows):
        shapes = {rank: tuple(size for size in row[:3] if size >= 0) for rank, row in enumerate(rows)}
        raise ValueError(f"ranks disagree on the shape of ids, by rank: {shapes}; give all of them the same batch")
    if any(row != rows[0] for row in rows):
        others = [rank for rank, row in enumerate(rows) if row != rows[0]]
        raise ValueError(
            f"ranks {others} of this group have other tokens than its rank 0: ranks that share one model must read the "
            "same batch (seed the sampler by the data rank, not by the global rank)"
        )


def refuse_other_chances(device: Any, group: Group = None) -> None:
    """Nothing, when the random numbers of every rank are the same ones.

    Where a stream is whole on every rank, its dropout must be, too. With other masks the ranks would go on with other
    numbers each, and add up what does not belong together.

    Raises:
        ValueError: on every rank, saying which ranks differ.
    """
    state = torch.get_rng_state() if torch.device(device).type == "cpu" else torch.cuda.get_rng_state(device)
    mine = (state.long() * (torch.arange(len(state)) % 9973 + 1)).sum().to(device).view(1)
    every = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(every, mine, group=group)
    others = [rank for rank, one in enumerate(every) if int(one) != int(every[0])]
    if others:
        raise ValueError(
            f"ranks {others} of this group would draw other dropout masks than its rank 0: call torch.manual_seed with "
            "the same seed on all ranks that share one model"
        )


def gathered(x: Tensor, axis: int, group: Group = None) -> Tensor:
    """The parts of all ranks side by side along an axis (all-gather), without gradient."""
    x = x.contiguous()
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, x, group=group)
    return torch.cat(parts, dim=axis)


def own_part(x: Tensor, axis: int, group: Group = None) -> Tensor:
    """This rank's part of what all ranks have whole; a copy, so that the whole can be forgotten.

    Raises:
        ValueError: if the ranks do not divide the axis.
    """
    ranks = dist.get_world_size(group)
    size = share(x.shape[axis], ranks, f"entries of axis {axis}")
    return x.narrow(axis, dist.get_rank(group) * size, size).clone()


def _draw(weight: Tensor, inputs: int) -> None:
    """Like `nn.Linear` by the number of inputs of the whole layer. What ranks hold apart must be drawn apart."""
    nn.init.uniform_(weight, -(inputs**-0.5), inputs**-0.5)


def _divisors(size: int) -> str:
    found = [str(n) for n in range(1, min(size, 64) + 1) if size % n == 0]
    return ", ".join(found[:-1]) + " or " + found[-1] if len(found) > 1 else found[0]
