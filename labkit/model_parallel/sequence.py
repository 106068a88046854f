"""Sequence parallel: between the matrices each rank keeps a slice of the tokens, so that nothing is held twice.

An all-reduce is a reduce-scatter and an all-gather. Megatron does both at once and then every rank normalises and drops
out the same numbers; here norms, dropout and sums happen between the two, on tokens/n tokens. Tokens are axis 1.
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.model_parallel.tensor import ColumnLinear, Group, RowLinear, gathered, own_part, share

TOKENS = 1  # the axis


class _GatherTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, group):
        ctx.group = group
        return gathered(x, TOKENS, group)

    @staticmethod
    def backward(ctx, grad):
        return reduce_scattered(grad, TOKENS, ctx.group), None


class _ScatterTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, group):
        ctx.group = group
        return reduce_scattered(x, TOKENS, group)

    @staticmethod
    def backward(ctx, grad):
        return gathered(grad, TOKENS, ctx.group), None


class _SliceTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, group):
        ctx.group = group
        return own_part(x, TOKENS, group)

    @staticmethod
    def backward(ctx, grad):
        return gathered(grad, TOKENS, ctx.group), None


def gather_tokens(x: Float[Tensor, "batch slice width"], group: Group = None) -> Float[Tensor, "batch tokens width"]:
    """All tokens from every rank's slice; backward the gradients are added up, and each rank keeps its own slice.

    Source: Korthikanti et al. (2022), "Reducing activation recomputation", section 4.2.2, operator g.
    """
    return _GatherTokens.apply(x, group)


def scatter_tokens(x: Float[Tensor, "batch tokens width"], group: Group = None) -> Float[Tensor, "batch slice width"]:
    """This rank's slice of the tokens of the sum of every rank's x; backward the slices are put together again.

    Source: Korthikanti et al. (2022), section 4.2.2, operator g-bar.
    """
    return _ScatterTokens.apply(x, group)


def slice_tokens(x: Float[Tensor, "batch tokens width"], group: Group = None) -> Float[Tensor, "batch slice width"]:
    """This rank's slice of what all ranks have whole; backward the slices are put together again."""
    return _SliceTokens.apply(x, group)


class _GatheredLinear(torch.autograd.Function):
    """`F.linear` of all tokens that keeps only the slice it was given, and gathers again when the gradient asks."""

    @staticmethod
    def forward(ctx, x, weight, bias, group):
        ctx.save_for_backward(x, weight)
        ctx.group, ctx.has_bias = group, bias is not None
        return F.linear(gathered(x, TOKENS, group), weight, bias)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad_x = reduce_scattered(grad @ weight, TOKENS, ctx.group)
        whole, rows = gathered(x, TOKENS, ctx.group).flatten(0, 1), grad.flatten(0, 1)
        return grad_x, rows.T @ whole, rows.sum(dim=0) if ctx.has_bias else None, None


class SequenceColumnLinear(ColumnLinear):
    """`ColumnLinear` that is given a slice of the tokens: gathers them, and forgets them again until backward.

    That costs a second all-gather, and saves the whole input on every rank.
    Source: Korthikanti et al. (2022), section 4.2.2 (the end: only a rank's own part of Y is stored).
    """

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """This rank's outputs for all tokens."""
        return _GatheredLinear.apply(x, weight, bias, self.group)


class SequenceRowLinear(RowLinear):
    """`RowLinear` that gives a slice of the tokens. Its bias meets only these: see `sum_gradients`."""

    def complete(self, partial: Tensor) -> Tensor:
        """The sum of the partial products, for this rank's tokens."""
        return scatter_tokens(partial, self.group)


class SlicedDropout(nn.Module):
    """Dropout of a slice with the mask that one process would have drawn for the whole.

    Every rank draws the whole mask from the same seed and takes its part of `axis`; without an axis the whole. The
    numbers are those of `nn.Dropout` after the same `torch.manual_seed`.
    """

    def __init__(self, rate: float | int, axis: int | None = TOKENS, group: Group = None):
        super().__init__()
        self.rate, self.axis, self.group = rate, axis, group

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """x with zeros, what is left being scaled up, while training; x itself otherwise."""
        if not self.training or not self.rate:
            return x
        shape = list(x.shape)
        if self.axis is not None:
            shape[self.axis] *= dist.get_world_size(self.group)
        if self.rate == 1:
            return x * 0
        factors = F.dropout(torch.ones(shape, dtype=x.dtype, device=x.device), self.rate)
        if self.axis is not None:
            factors = own_part(factors, self.axis, self.group)
        kept, scale = factors != 0, 1 / (1 - self.rate)
        return _Masked.apply(x, kept, scale)


class _Masked(torch.autograd.Function):
    """x · kept · scale, keeping one byte per number: the mask."""

    @staticmethod
    def forward(ctx, x, kept, scale):
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return x * kept * scale

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0] * ctx.scale, None, None


@torch.no_grad()
def sum_gradients(parameters: Iterable[nn.Parameter], group: Group = None) -> None:
    """Add up the gradients that the ranks found for the same parameters, by one all-reduce of all in a row.

    With sequence parallel a norm, and a bias added to a slice, has met the tokens of this rank only. Without this sum
    nothing fails: the copies on the ranks just drift apart.

    Raises:
        ValueError: if a parameter has no gradient yet.
    """
    parameters = list(parameters)
    if any(p.grad is None for p in parameters):
        raise ValueError("a parameter has no gradient: call backward before the gradients are added up")
    if not parameters:
        return
    flat = torch.cat([p.grad.flatten() for p in parameters])
    dist.all_reduce(flat, group=group)
    for p, total in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        p.grad.copy_(total.view_as(p.grad))


def reduce_scattered(x: Tensor, axis: int, group: Group = None) -> Tensor:
    """This rank's part along an axis of the sum of every rank's x (reduce-scatter), without gradient.

    Raises:
        ValueError: if the ranks do not divide the axis.
    """
    ranks = dist.get_world_size(group)
    size = share(x.shape[axis], ranks, "tokens" if axis == TOKENS else f"entries of axis {axis}")
    parts = [part.contiguous() for part in x.split(size, dim=axis)]
    own = torch.empty_like(parts[0])
    dist.reduce_scatter(own, parts, group=group)
    return own
