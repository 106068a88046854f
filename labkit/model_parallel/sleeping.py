"""Pipelines that sleep instead of computing: many ranks can sleep on one core, so their bubbles are true ones."""

import time
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from labkit.model_parallel.pipeline import Later, Pipeline
from labkit.model_parallel.schedules import check_schedule, owners
from labkit.ranks import device
from labkit.ranks.timeline import Event, merge, span


class _Sleep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, seconds, later):
        time.sleep(seconds["F"])
        ctx.known = seconds, later
        return x + weight

    @staticmethod
    def backward(ctx, grad):
        seconds, later = ctx.known
        time.sleep(seconds["B"])
        later.put_off.append(lambda: time.sleep(seconds["W"]))
        return grad, grad.sum(), None, None


class SleepingStage(nn.Module):
    """A stage whose computation is sleep.

    Args:
        seconds: how long F, B and W take; where a schedule has no W, B takes as long as both.
    """

    def __init__(self, seconds: Mapping[str, float]):
        super().__init__()
        self.weight, self.later = nn.Parameter(torch.zeros(())), Later()
        self.seconds = dict(seconds)

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Tensor:
        """x, later; of the last stage its mean."""
        result = _Sleep.apply(x, self.weight, self.seconds, self.later)
        return result if targets is None else result.mean()


def asleep(
    schedules: Mapping[str, Sequence[Sequence[Sequence]]], seconds: Mapping[str, float], rounds: int = 3
) -> dict[str, list[list[Event]]]:
    """In a rank: perform each schedule `rounds` times, and give what this rank did when, round by round.

    Stages are as thin as there are more of them than ranks; what happens in a first round, which warms up, is left out.
    """
    noted = {}
    for name, schedule in schedules.items():
        owner, (count, micro_batches) = owners(schedule), check_schedule(schedule)
        thin = {kind: time * len(schedule) / count for kind, time in seconds.items()}
        stages = {
            stage: SleepingStage(thin).to(device()) for stage, rank in enumerate(owner) if rank == dist.get_rank()
        }
        later = {stage: module.later for stage, module in stages.items()}
        pipe = Pipeline(stages, schedule, (1,), later=later, record=True)
        batch = torch.ones(micro_batches, 1, device=device())
        noted[name] = [_noted(pipe, batch) for _ in range(rounds + 1)][1:]
    return noted


def quietest(every: Sequence[Mapping[str, list[list[Event]]]], name: str) -> list[list[Event]]:
    """From what all ranks give, the timeline of the round of a schedule that was disturbed least: the shortest one."""
    rounds = (merge(one) for one in zip(*(noted[name] for noted in every), strict=True))
    return min(rounds, key=lambda timeline: span(timeline)[1] - span(timeline)[0])


def _noted(pipe: Pipeline, batch: Tensor) -> list[Event]:
    dist.barrier()
    pipe.step(batch, batch)
    return pipe.events()
