"""Stages of a pipeline: a decoder cut between its blocks, and linear layers that put half of their backward off."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.attention import holds
from labkit.model_parallel.pipeline import Group, Later, Pipeline, check_batch, check_world
from labkit.model_parallel.schedules import check_schedule, owners
from labkit.model_parallel.tensor import refuse_disagreement
from labkit.ranks import device
from labkit.transformer import Config, Decoder
from labkit.transformer.embedding import check_ids, embed
from labkit.transformer.loss import IGNORED, next_token_loss


def blocks_of(layers: int, stages: int) -> list[range]:
    """Which blocks each stage has: as equal as possible, longer ones first.

    >>> blocks_of(5, 2)
    [range(0, 3), range(3, 5)]

    Raises:
        ValueError: for more stages than layers.
    """
    if not 1 <= stages <= layers:
        raise ValueError(f"{stages} stages for {layers} layers: every stage needs a block, so at most {layers} stages")
    ends = [0]
    for stage in range(stages):
        ends.append(ends[-1] + layers // stages + (stage < layers % stages))
    return [range(first, end) for first, end in itertools.pairwise(ends)]


class DecoderStage(nn.Module):
    """Some blocks of a `Decoder`; the first stage has the embedding too, the last the norm, the head and the loss.

    Names of weights are those of the `Decoder`.
    """

    def __init__(self, whole: Decoder, blocks: range, first: bool, last: bool):
        super().__init__()
        self.config, self.first, self.last = whole.config, first, last
        if first:
            self.tokens, self.positions, self.dropout = whole.tokens, whole.positions, whole.dropout
        self.blocks = nn.ModuleDict({str(i): whole.blocks[i] for i in blocks})
        if last:
            self.norm, self.head = whole.norm, whole.head

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Tensor:
        """The residual stream behind these blocks, (rows, tokens, width); of the last stage logits or the mean loss."""
        if self.first:
            check_ids(x, self.config)
            x = self.dropout(embed(self, x))
        for block in self.blocks.values():
            x = block(x, causal=True)
        if not self.last:
            return x
        x = self.norm(x)
        return self.head(x) if targets is None else next_token_loss(x, self.head.weight, targets)


class DecoderPipeline(Pipeline):
    """This rank's stages of a `Decoder`; see `pipeline_decoder`."""

    config: Config

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of the whole batch, on every rank; the gradients are added to those that are there.

        Raises:
            ValueError: as `Pipeline.step`; for ids that no `Decoder` takes, or not the same on all ranks; for a
                micro-batch without any target (looked at on the CPU only).
        """
        check_ids(inputs, self.config)
        refuse_disagreement(inputs, self.group)
        check_batch(inputs, targets, self.micro_batches)
        for i, part in enumerate(targets.chunk(self.micro_batches)):
            if not holds(part, lambda part: (part != IGNORED).any()):
                raise ValueError(f"every target of micro-batch {i} is {IGNORED}: give each some that count")
        self.shape = (inputs.shape[1], self.config.width)
        tied = self.tied_copy()
        before = None if tied is None else tied.grad
        if tied is not None:
            tied.grad = None
        loss = super().step(inputs, targets)
        if tied is not None:
            tied.grad += self.other_copy(tied.grad)
            tied.grad += 0 if before is None else before
        return loss

    def tied_copy(self) -> nn.Parameter | None:
        """This rank's copy of a weight that embedding and head share, if the other copy is on another rank."""
        ends = self.wires.owner[0], self.wires.owner[-1]
        if not self.config.tied or self.rank not in ends or ends[0] == ends[1]:
            return None
        copy = self.stages[0].tokens.weight if self.rank == ends[0] else self.stages[self.last].head.weight
        return copy if copy.requires_grad else None

    def other_copy(self, grad: Tensor) -> Tensor:
        """The gradient of the other copy: the sum of both is that of the weight, and equal on both ranks."""
        first, last = self.wires.owner[0], self.wires.owner[-1]
        peer, other = self.wires.peers[last if self.rank == first else first], torch.empty_like(grad)
        ways = [dist.P2POp(dist.isend, grad, peer, self.group), dist.P2POp(dist.irecv, other, peer, self.group)]
        for work in dist.batch_isend_irecv(ways):
            work.wait()
        return other

    @torch.no_grad()
    def gradient_norm(self) -> Float[Tensor, ""]:
        """The norm of the whole model's gradient, the same on every rank: what clipping must divide by.

        A tied weight counts once, though two ranks have a copy.
        """
        twice = self.tied_copy() if self.last in self.stages else None
        exact = torch.promote_types(self.dtype, torch.float32)
        square = torch.zeros((), dtype=exact, device=self.device)
        for parameter in self.parameters():
            if parameter.grad is not None and parameter is not twice:
                square += torch.linalg.vector_norm(parameter.grad, dtype=exact).square()
        dist.all_reduce(square, group=self.group)
        return square.sqrt()

    def serial_state(self) -> dict[str, Tensor]:
        """The weights of the whole `Decoder`, on every rank: for a checkpoint that any number of ranks can load."""
        own = {name: x.cpu() for stage in self.stages.values() for name, x in stage.state_dict().items()}
        parts: list[Any] = [None] * dist.get_world_size(self.group)
        dist.all_gather_object(parts, own, group=self.group)
        return {name: x for part in parts for name, x in part.items()}


def pipeline_decoder(
    config: Config,
    schedule: Sequence[Sequence[Sequence]],
    *,
    group: Group = None,
    seed: int = 0,
    state: Mapping[str, Tensor] | None = None,
    record: bool = False,
) -> DecoderPipeline:
    """A `Decoder` of this config cut into the stages of a schedule, of which this rank keeps its own.

    The embedding goes to the first stage, the head to the last. Where they are tied, each has a copy.

    Args:
        seed: of the weights, those of `Decoder(config, seed=seed)`; or give them as `state`.

    Raises:
        ValueError: as `Pipeline`, and for more stages than layers.
    """
    check_world(schedule, dist.get_world_size(group))
    cuts = blocks_of(config.layers, check_schedule(schedule)[0])
    whole = Decoder(config, seed=None if state else seed).to(device())
    if state:
        whole.load_state_dict(dict(state))
    mine = [stage for stage, rank in enumerate(owners(schedule)) if rank == dist.get_rank(group)]
    stages = {stage: DecoderStage(whole, cuts[stage], stage == 0, stage == len(cuts) - 1) for stage in mine}
    later = {}
    if any(kind == "W" for row in schedule for kind, *_ in row):
        later = {stage: put_off_weights(module) for stage, module in stages.items()}
    shape = (config.context, config.width)
    pipe = DecoderPipeline(stages, schedule, shape, group=group, later=later, weigh=_asked, record=record)
    pipe.config = config
    return pipe


def _asked(targets: Tensor) -> Tensor:
    return (targets != IGNORED).sum()


class _SplitLinear(torch.autograd.Function):
    """x Wᵀ + b whose backward pass gives the gradient of x and leaves those of W and b for later."""

    @staticmethod
    def forward(ctx, x, weight, bias, later):
        ctx.save_for_backward(x)
        ctx.known = weight, bias, later
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        (x,), (weight, bias, later) = ctx.saved_tensors, ctx.known

        def gradients() -> None:
            rows, errors = x.flatten(end_dim=-2), grad.flatten(end_dim=-2)
            if weight.requires_grad:
                _add(weight, errors.T @ rows)
            if bias is not None and bias.requires_grad:
                _add(bias, errors.sum(dim=0))

        later.put_off.append(gradients)
        return grad @ weight, None, None, None


def _add(parameter: nn.Parameter, grad: Tensor) -> None:
    parameter.grad = grad if parameter.grad is None else parameter.grad + grad


class SplitLinear(nn.Module):
    """A linear layer with the weights of another one, whose backward pass puts the gradients of its weights off.

    Source: Qi et al. (2023), "Zero bubble pipeline parallelism", figure 1.
    """

    def __init__(self, linear: nn.Linear, later: Later):
        super().__init__()
        self.weight, self.bias, self.later = linear.weight, linear.bias, later

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """x Wᵀ + b."""
        return _SplitLinear.apply(x, self.weight, self.bias, self.later)


def put_off_weights(stage: nn.Module) -> Later:
    """Let every linear layer of the blocks of a stage put the gradients of its weights off.

    Norms, embeddings and the head, whose loss finds its gradient in the forward pass, stay as they are.
    """
    later = Later()
    for module in list(stage.blocks.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, SplitLinear(child, later))
    return later
