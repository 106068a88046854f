"""Bubbles measured on a machine that has other things to do: rounds are repeated until one was not disturbed."""

from collections.abc import Mapping, Sequence
from numbers import Real

import torch
import torch.distributed as dist

from labkit.model_parallel.pipeline import Pipeline
from labkit.model_parallel.predictions import predict, thin_seconds
from labkit.model_parallel.schedules import check_schedule, owners
from labkit.model_parallel.sleeping import SleepingStage
from labkit.ranks import device
from labkit.ranks.timeline import Event, span

QUIET = 1.1  # a round that takes at most so much longer than predicted was not disturbed


def sleep_quietly(
    schedules: Mapping[str, Sequence[Sequence[Sequence]]], seconds: Mapping[str, Real], most: int = 8
) -> dict[str, list[Event]]:
    """In a rank: perform each schedule, asleep, until a round took little longer than predicted, at most `most` times.

    What this rank did when, in the shortest round of each schedule; all ranks choose the same round.

    Raises:
        ValueError: without a round, and as `Pipeline`.
    """
    if most < 1:
        raise ValueError(f"most = {most} rounds; one is needed at least")
    return {name: _shortest(schedule, seconds, most) for name, schedule in schedules.items()}


def _shortest(schedule: Sequence[Sequence[Sequence]], seconds: Mapping[str, Real], most: int) -> list[Event]:
    thin, enough = thin_seconds(schedule, seconds), QUIET * predict(schedule, seconds).seconds
    mine = [stage for stage, rank in enumerate(owners(schedule)) if rank == dist.get_rank()]
    stages = {stage: SleepingStage(thin).to(device()) for stage in mine}
    later = {stage: module.later for stage, module in stages.items()}
    pipe = Pipeline(stages, schedule, (1,), later=later, record=True)
    batch = torch.ones(check_schedule(schedule)[1], 1, device=device())
    best, events = float("inf"), []
    for _ in range(most):
        dist.barrier()
        pipe.step(batch, batch)
        noted = pipe.events()
        took = _slowest(noted)
        if took < best:
            best, events = took, noted
        if best <= enough:
            break
    return events


def _slowest(noted: Sequence[Event]) -> float:
    """The seconds from the first event on any rank to the last, of ranks with one clock; the same on every rank."""
    first, last = span([list(noted)])
    ends = torch.tensor([-first, last], dtype=torch.float64, device=device())
    dist.all_reduce(ends, op=dist.ReduceOp.MAX)
    return float(ends.sum())


def idle_share(timeline: Sequence[Sequence[Event]], work: Real) -> float:
    """The share of the time from the first event to the last in which a rank has nothing to do, if its work takes
    `work` seconds. An operation that was held up by other programs does not count as more work.

    >>> idle_share([[Event(0, "compute", "F0.0", 0.0, 3.0)], [Event(1, "compute", "F1.0", 3.0, 8.0)]], 3.0)
    0.625

    Raises:
        ValueError: if nothing happened.
    """
    begin, end = span(timeline)
    if end <= begin:
        raise ValueError("the timeline is empty: record a step first")
    return 1 - work / (end - begin)
