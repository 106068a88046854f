"""What a rank does in a step of ZeRO, as events for a timeline, and the measured numbers that predict such a step.

    watch = Trace(zero, Recorder())              # inside a rank
    with watch("forward"):
        loss = zero.model.loss(ids, targets)
    with watch("backward"):
        loss.backward()
    with watch("step"):
        zero.step()
    return watch.recorder.events()

Messages that are waited for stop the compute: these seconds are communication only. Others travel while the rank
computes, and are in both lanes.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from labkit.ranks.simulation import Link, fit_link
from labkit.ranks.timeline import Event, Recorder, merge, span
from labkit.zero.exchanging import Exchange
from labkit.zero.predicting import Work
from labkit.zero.stages import Zero


class Trace:
    """Notes the phases of a `Zero`'s steps, and every message of its shards, under the name of block or bucket.

    A message lasts from the moment it is sent until somebody has waited for it, so an early one may be drawn too long.
    """

    def __init__(self, zero: Zero, recorder: Recorder):
        self.recorder = recorder
        self._phase, self._since = "", 0.0
        blocks = {id(shard): unit.name for unit in zero.units for shard in unit.shards}
        for i, shard in enumerate(zero.shards):
            shard.exchange = _Noted(shard.exchange, self, blocks.get(id(shard), f"bucket {i}"))

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Note as compute what the block does, but for the time in which it waits for messages."""
        self._phase, self._since = phase, self.recorder.now()
        try:
            yield
        finally:
            self._pause()
            self._phase = ""

    @contextmanager
    def waiting(self, name: str, begin: float | None = None) -> Iterator[None]:
        """Note that the rank waits for a message, which was sent at `begin`, or now."""
        self._pause()
        begin = self.recorder.now() if begin is None else begin
        try:
            yield
        finally:
            self.recorder.mark("communication", name, begin)
            self._since = self.recorder.now()

    def _pause(self) -> None:
        """The compute so far is an event of its own."""
        if self._phase:
            self.recorder.mark("compute", self._phase, self._since)


class _Noted:
    """An `Exchange` of which every message is noted."""

    def __init__(self, exchange: Exchange, trace: Trace, name: str):
        self._exchange, self._trace, self._name = exchange, trace, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)

    def reduce_scatter(self, full: Tensor) -> Callable[[], Tensor]:
        begin = self._trace.recorder.now()
        finish = self._exchange.reduce_scatter(full)

        def noted() -> Tensor:
            with self._trace.waiting(f"reduce {self._name}", begin):
                return finish()

        return noted

    def all_gather(self, full: Tensor, own: Tensor) -> None:
        with self._trace.waiting(f"gather {self._name}"):
            self._exchange.all_gather(full, own)


def traced_steps(zero: Zero, loss: Callable[[], Tensor], steps: int = 5) -> list[list[Event]]:
    """The events of this rank in each of so many steps, after one that only warms up; all ranks begin a step together.

    Raises:
        ValueError: if there is no step.
    """
    if steps < 1:
        raise ValueError(f"steps = {steps}; trace one at least")
    watch, found = Trace(zero, Recorder(wait=_waits())), []
    for _ in range(steps + 1):
        zero.zero_grad()
        watch.recorder.clear()
        zero.exchange.wait_for_all()
        with watch("forward"):
            value = loss()
        with watch("backward"):
            value.backward()
        with watch("step"):
            zero.step()
        found.append(watch.recorder.events())
    return found[1:]


def quickest_step(steps_of_ranks: Sequence[Sequence[Sequence[Event]]]) -> list[list[Event]]:
    """Of what `traced_steps` gave on each rank, the timeline of the step that others on the machine disturbed least."""
    timelines = [merge(step) for step in zip(*steps_of_ranks, strict=True)]
    return min(timelines, key=lambda timeline: span(timeline)[1])


def measured_work(
    model: nn.Module, optimizer_class: Callable[..., Any], loss: Callable[[], Tensor], blocks: int, rounds: int = 5
) -> Work:
    """The least seconds of forward, backward and a step of the optimizer that were seen without any messages.

    Raises:
        ValueError: if there is no round.
    """
    if rounds < 1:
        raise ValueError(f"rounds = {rounds}; measure one at least")
    optimizer, wait = optimizer_class(list(model.parameters())), _waits()
    seconds: list[list[float]] = []
    for _ in range(rounds + 1):
        optimizer.zero_grad()
        marks = [time.perf_counter()]
        value = loss()
        for work in (lambda: None, value.backward, optimizer.step):
            work()
            wait()
            marks.append(time.perf_counter())
        seconds.append([b - a for a, b in pairwise(marks)])
    optimizer.zero_grad()
    forward, backward, step = (min(column) for column in zip(*seconds[1:], strict=True))
    sizes = [(parameter.numel(), parameter.element_size()) for parameter in model.parameters()]
    return Work(blocks, forward, backward, step, sum(count for count, _ in sizes), max(each for _, each in sizes))


def measured_link(exchange: Exchange, numbers: Sequence[int], rounds: int = 9) -> Link:
    """The latency and bandwidth by which all-gathers of so many float32 numbers take the median time that they took.

    Raises:
        ValueError: if there are fewer than two ranks, or two sizes.
    """
    wait, medians = _waits(), []
    for count in numbers:
        full, seconds = torch.zeros(count // exchange.ranks * exchange.ranks), []
        own = full.chunk(exchange.ranks)[exchange.rank].clone()
        for _ in range(rounds):
            exchange.wait_for_all()
            begin = time.perf_counter()
            exchange.all_gather(full, own)
            wait()
            seconds.append(time.perf_counter() - begin)
        medians.append(2 * statistics.median(seconds))  # an all-reduce, which is what is fitted, is two of these
    return fit_link([4 * count for count in numbers], medians, exchange.ranks)


def _waits() -> Callable[[], object]:
    return torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
