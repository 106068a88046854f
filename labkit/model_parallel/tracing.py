"""When a rank computes and when it talks, from a real training step of any model whose collectives are blocking."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch.distributed as dist

from labkit.ranks.timeline import Event, Recorder

TRACED = ("all_reduce", "all_gather_into_tensor", "all_gather", "reduce_scatter_tensor", "reduce_scatter")


@contextmanager
def talk_noted(recorder: Recorder) -> Iterator[None]:
    """Note every collective of torch.distributed that is called in this block, also from a backward pass."""
    before = {name: getattr(dist, name) for name in TRACED}

    def noted(name: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            with recorder("communication", name):
                return before[name](*given, **named)

        return call

    for name in TRACED:
        setattr(dist, name, noted(name))
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(dist, name, function)


def trace_step(step: Callable[[], Any], rounds: int = 6) -> list[Event]:
    """What this rank did when, in the shortest of some rounds of `step`, which all ranks begin together.

    Communication is the time in collectives, waiting for the others included; compute is the rest.

    Raises:
        ValueError: without a round.
    """
    if rounds < 1:
        raise ValueError(f"rounds = {rounds}; one is needed at least")
    recorder, kept = Recorder(), []
    for _ in range(rounds + 1):  # the first warms up
        dist.barrier()
        recorder.clear()
        begin = recorder.now()
        with talk_noted(recorder):
            step()
        kept.append(_with_compute(recorder.events(), recorder.rank, begin, recorder.now()))
    lengths = [None] * dist.get_world_size()
    dist.all_gather_object(lengths, [events[-1].end - events[0].begin for events in kept[1:]])
    slowest = [max(each) for each in zip(*lengths, strict=True)]
    return kept[1 + slowest.index(min(slowest))]


def _with_compute(talk: list[Event], rank: int, begin: float, end: float) -> list[Event]:
    """The collectives, and between them compute."""
    edges = [begin, *(time for event in talk for time in (event.begin, event.end)), end]
    between = [Event(rank, "compute", "", a, b) for a, b in list(pairwise(edges))[::2] if b > a]
    return sorted([*talk, *between], key=lambda event: event.begin)
