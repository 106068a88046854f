"""A data-parallel step: buckets of gradients are reduced while the backward pass still computes earlier layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from numbers import Real
from typing import Any

from labkit.ranks.simulation.collectives import Link, all_reduce_seconds
from labkit.ranks.simulation.engine import DRAWN, Prediction, predicted
from labkit.ranks.timeline import Event


def fill_buckets(nbytes: Sequence[Real], bucket: Real) -> list[list[int]]:
    """The layers of each bucket, in the order given; a bucket is full as soon as it holds `bucket` bytes.

    >>> fill_buckets([3, 3, 3, 3, 3], 5), fill_buckets([3, 3], 0)
    ([[0, 1], [2, 3], [4]], [[0], [1]])
    """
    buckets: list[list[int]] = []
    held = float("inf")
    for layer, size in enumerate(nbytes):
        if held >= bucket:
            buckets.append([])
            held = 0.0
        buckets[-1].append(layer)
        held += float(size)
    return buckets


def simulate_data_parallel(
    backward: Sequence[Real],
    nbytes: Sequence[Real],
    *,
    ranks: int,
    link: Link,
    bucket: Real = 25e6,
    forward: Real = 0.0,
    optimizer: Real = 0.0,
    overlap: bool = True,
    algorithm: str = "ring",
    inner: Link | None = None,
    per_node: int = 1,
    slowness: Sequence[Real] | Any = 1.0,
    contention: Real = 0.0,
    micro_batches: int = 1,
) -> Prediction:
    """One step on `ranks` ranks: forward, backward layer by layer, a reduction for each full bucket, the optimizer.

    Of several `micro_batches`, each with a forward and a backward pass of the given seconds, only the last one sends.

    `backward` has the seconds and `nbytes` the gradient's bytes of each layer in the order of the backward pass, last
    layer first. Without `overlap` the reductions begin after the backward pass. `slowness` multiplies the compute, one
    number for all or one for each rank: a reduction begins when the slowest rank has its bucket. `contention` is the
    share of its speed that compute loses while a reduction runs, as on a CPU, which also adds up what arrives. Ten
    thousand ranks take milliseconds; the timeline keeps the first 16.

    Source: Li et al., 2020, "PyTorch Distributed", VLDB, section 3.2 (bucketing, overlapping, accumulation).

    Raises:
        ValueError: if there are not as many bytes as layers, not one slowness for each rank, no micro-batch, or
            compute would stop.
    """
    import numpy as np

    slow = np.asarray(slowness, dtype=float).ravel()
    _check(backward, nbytes, ranks, len(slow), contention, micro_batches)
    last = {members[-1]: members for members in fill_buckets(nbytes, bucket)}
    before = [("forward", float(forward)), ("backward", sum(map(float, backward)))] * (micro_batches - 1)
    before.append(("forward", float(forward)))
    names = [name for name, _ in before] + [f"backward {layer}" for layer in range(len(backward))]
    times, wire = [slow * done for done in accumulate([0.0, *(seconds for _, seconds in before)])], Wire()
    for layer, seconds in enumerate(backward):
        times.append(_advance(times[-1], slow * float(seconds), wire, float(contention)))
        if overlap and layer in last:
            wire.carry(last[layer], nbytes, times[-1].max(), ranks, link, algorithm, inner, per_node)
    for members in () if overlap else last.values():
        wire.carry(members, nbytes, times[-1].max(), ranks, link, algorithm, inner, per_node)
    shown = np.broadcast_to(np.stack(times, axis=1), (ranks if len(slow) == 1 else len(slow), len(times)))[:DRAWN]
    ends = np.broadcast_to(slow * float(optimizer), ranks)
    timeline = [_events(rank, names, row, wire, float(ends[rank])) for rank, row in enumerate(shown.tolist())]
    done = max(float(times[-1].max()), wire.free) + float(ends.max())
    return predicted(timeline, ranks=ranks, seconds=done)


def _check(
    backward: Sequence[Real], nbytes: Sequence[Real], ranks: int, factors: int, contention: Real, micro_batches: int
) -> None:
    if len(backward) != len(nbytes) or not len(backward):
        raise ValueError(f"{len(backward)} times and {len(nbytes)} sizes of layers; give one of each for every layer")
    if factors not in (1, ranks):
        raise ValueError(f"{factors} slowness factors for {ranks} ranks; give one for all or one for each")
    if not 0 <= contention < 1:
        raise ValueError(f"contention = {contention}; compute loses a share of its speed, from 0 to less than 1")
    if micro_batches < 1:
        raise ValueError(f"micro_batches = {micro_batches}; a step has one at least")


class Wire:
    """The lane of communication: busy from `since` to `free`, one reduction after the other."""

    def __init__(self) -> None:
        self.since = self.free = 0.0
        self.carried: list[tuple[str, float, float]] = []

    def carry(self, layers: Sequence[int], nbytes: Sequence[Real], ready: Real, *how: Any) -> None:
        """Reduce the gradients of the layers as soon as they are ready and the wire is free."""
        begin = max(self.free, float(ready))
        if begin > self.free or not self.carried:
            self.since = begin
        self.free = begin + all_reduce_seconds(sum(float(nbytes[layer]) for layer in layers), *how)
        self.carried.append((f"bucket {len(self.carried)}", begin, self.free))


def _advance(begin: Any, work: Any, wire: Wire, contention: float) -> Any:
    """When each rank has done `work` seconds of compute begun at `begin`, slower while the wire is busy."""
    import numpy as np

    alone = np.clip(wire.since - begin, 0, work)  # a rank ahead of the others computes before the wire is busy
    now, left = begin + alone, work - alone
    slowed = np.minimum(left / (1 - contention), np.clip(wire.free - now, 0, None))
    return now + slowed + left - slowed * (1 - contention)


def _events(rank: int, names: Sequence[str], times: Sequence[float], wire: Wire, optimizer: float) -> list[Event]:
    spans = zip(names, pairwise(times), strict=True)
    found = [Event(rank, "compute", name, begin, end) for name, (begin, end) in spans if end > begin]
    found += [Event(rank, "communication", *each) for each in wire.carried if each[2] > each[1]]
    done = max(times[-1], wire.free)
    if optimizer:
        found.append(Event(rank, "compute", "optimizer", done, done + optimizer))
    return sorted(found, key=lambda event: (event.begin, event.end))


@dataclass(frozen=True)
class ReplicaPlan:
    """Buckets of `bucket` bytes and so many micro-batches in a step, and what is predicted of them."""

    bucket: Real
    micro_batches: int
    step: Prediction

    @property
    def compute(self) -> float:
        """The share of its time in which a rank computes."""
        return 1 - self.step.bubble


def plan_replicas(
    buckets: Sequence[Real], micro_batches: Sequence[int] = (1, 2, 4, 8, 16, 32, 64), wanted: Real = 0.95, **layers: Any
) -> ReplicaPlan:
    """The fewest micro-batches with which ranks compute the `wanted` share of the time, in their best size of bucket.

    Fewest, because a larger batch needs more examples for the same progress. Where no plan reaches the share, the one
    that comes nearest. `layers` is what `simulate_data_parallel` takes.

    Raises:
        ValueError: if there is no size of bucket, or no number of micro-batches.
    """
    if not len(buckets) or not len(micro_batches):
        raise ValueError(f"{len(buckets)} sizes of buckets and {len(micro_batches)} micro-batches; give one of each")
    found = []
    for count in sorted(micro_batches):
        steps = {size: simulate_data_parallel(**layers, bucket=size, micro_batches=count) for size in buckets}
        size = min(steps, key=lambda each: (steps[each].seconds, each))
        found.append(ReplicaPlan(size, count, steps[size]))
        if found[-1].compute >= wanted:
            return found[-1]
    return max(found, key=lambda plan: plan.compute)


def hidden_step_seconds(backward: Real, reduction: Real, buckets: int) -> float:
    """The closed form for `buckets` equal buckets, each reduced in `reduction` seconds behind a `backward` pass.

    If a reduction takes no longer than the compute of a bucket, only the last one shows: B + c. If it takes longer, the
    wire never rests once it has begun: B/k + k·c.

    >>> hidden_step_seconds(1.0, 0.1, 4), hidden_step_seconds(1.0, 0.5, 4)
    (1.1, 2.25)
    """
    return float(max(backward + reduction, backward / buckets + buckets * reduction))


def best_bucket_count(backward: Real, latency: Real, ranks: int) -> float:
    """Into how many equal buckets to cut where the wire never rests: √(B / (2 (n − 1) α)), from B/k + k·2(n − 1)·α.

    A bucket more lets the wire begin earlier, and costs a tour of the ring in latency.

    Raises:
        ValueError: if there are fewer than two ranks, or no latency.

    >>> best_bucket_count(0.24, 0.001, 5), best_bucket_count(0.24, 2e-5, 10_000) < 1
    (5.477225575051661, True)
    """
    if ranks < 2 or not latency > 0:
        raise ValueError(f"ranks = {ranks}, latency = {latency}; at least two ranks and a positive latency are needed")
    return float((backward / (2 * (ranks - 1) * latency)) ** 0.5)
