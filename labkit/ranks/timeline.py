"""Who did what when: events of compute and communication on every rank, on one clock, and what they add up to.

    recorder = Recorder()                                   # inside a rank
    with recorder("compute", "forward"): …
    return recorder.events()                                # pickles
    timeline = merge(run_ranks(step, 2))                    # in the notebook: one list of events per rank

A timeline is a list with the events of each rank; `labkit.ranks.simulation` predicts timelines of the same form.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from statistics import median
from typing import NamedTuple

__all__ = [
    "KINDS",
    "Event",
    "Recorder",
    "Share",
    "bubble",
    "clock_offset",
    "in_turn",
    "merge",
    "overlap",
    "shares",
    "span",
]

KINDS = ("compute", "communication", "idle")


class Event(NamedTuple):
    """What a rank did from `begin` to `end` (seconds): `kind` is one of `KINDS`, `name` is free."""

    rank: int
    kind: str
    name: str
    begin: float
    end: float


class Recorder:
    """Notes what a rank does, at the cost of two readings of the clock and an append: about a microsecond.

    All ranks of one machine read the same clock (`time.perf_counter` counts from the start of the machine). On several
    machines give `offset`, see `clock_offset`. A GPU works behind the back of Python: `wait=torch.cuda.synchronize` is
    called at both ends of a block. Hooks may record from the threads of autograd.
    """

    def __init__(self, rank: int | None = None, offset: Real = 0.0, wait: Callable[[], object] | None = None) -> None:
        self.rank = int(os.environ.get("RANK", "0")) if rank is None else rank
        self.offset = float(offset)
        self._wait = wait or (lambda: None)
        self._events: list[Event] = []

    def now(self) -> float:
        """The time in seconds, on the clock of rank 0."""
        return time.perf_counter() + self.offset

    @contextmanager
    def __call__(self, kind: str, name: str = "") -> Iterator[None]:
        """Note the block that follows, also if it raises."""
        _check_kind(kind)
        self._wait()
        begin = self.now()
        try:
            yield
        finally:
            self._wait()
            self._events.append(Event(self.rank, kind, name, begin, self.now()))

    def mark(self, kind: str, name: str, begin: Real, end: Real | None = None) -> None:
        """Note what began at `begin`, a reading of `now()`, and ends at `end`, or now.

        Raises:
            ValueError: if the kind is not one of `KINDS`, or the end is before the beginning.
        """
        _check_kind(kind)
        end = self.now() if end is None else end
        if end < begin:
            raise ValueError(f"{name or kind} ends at {end} before it begins at {begin}; give readings of now()")
        self._events.append(Event(self.rank, kind, name, float(begin), float(end)))

    def events(self) -> list[Event]:
        """All events so far in the order in which they began; plain tuples, so that they pickle."""
        return sorted(self._events, key=lambda event: (event.begin, event.end))

    def clear(self) -> None:
        """Forget all events, as after steps that only warm up."""
        self._events.clear()


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind = {kind!r}; a rank does one of {', '.join(KINDS)}")


def clock_offset(ask: Callable[[], Real], rounds: int = 16, now: Callable[[], Real] = time.perf_counter) -> float:
    """The seconds to add to our clock to read that of rank 0; `ask()` sends to rank 0 and gives the time it answers.

    Of all rounds the quickest counts: the answer was given half its way ago, wrong by at most half that round.

    Source: Cristian, 1989, "Probabilistic clock synchronization", section 4.

    Raises:
        ValueError: if there is no round.

    >>> clock_offset(lambda: 107.5, rounds=2, now=iter([0.0, 9.0, 100.0, 101.0]).__next__)
    7.0
    """
    if rounds < 1:
        raise ValueError(f"rounds = {rounds}; one answer is needed at least")
    answers = []
    for _ in range(rounds):
        sent, answer, received = now(), ask(), now()
        answers.append((received - sent, answer - (sent + received) / 2))
    return float(min(answers)[1])


def in_turn(
    works: Mapping[str, Callable[[], object]],
    rounds: int = 9,
    before: Callable[[], object] = lambda: None,
    now: Callable[[], Real] = time.perf_counter,
) -> dict[str, float]:
    """The median seconds of each work; in each round all are done in turn, so that a busy machine slows all alike.

    A round before the first only warms up. `before` is called before each work, as a barrier is.

    Raises:
        ValueError: if there is no round.

    >>> in_turn({"a": lambda: None}, rounds=3, now=iter([0.0, 0.0, 1.0, 2.0, 3.0, 6.0, 7.0, 9.0]).__next__)
    {'a': 2.0}
    """
    if rounds < 1:
        raise ValueError(f"rounds = {rounds}; at least one is needed")
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(1 + rounds):
        for name, work in works.items():
            before()
            begin = now()
            work()
            found[name].append(float(now() - begin))
    return {name: median(seconds[1:]) for name, seconds in found.items()}


def merge(events: Iterable[Iterable[Sequence]]) -> list[list[Event]]:
    """The events of all ranks as one timeline: a list per rank, sorted, with time 0 where the first event begins.

    The rank of an event is the place of its list; what `run_ranks` returns is in that order.

    >>> merge([[("", "compute", "step", 5.0, 6.0)], [(1, "communication", "send", 4.5, 5.0)]])[0]
    [Event(rank=0, kind='compute', name='step', begin=0.5, end=1.5)]

    Raises:
        ValueError: if an event ends before it begins, or its kind is not one of `KINDS`.
    """
    rows = [[Event(rank, *event[1:]) for event in each] for rank, each in enumerate(events)]
    start = min((event.begin for row in rows for event in row), default=0.0)
    for event in (event for row in rows for event in row):
        _check_kind(event.kind)
        if not event.end >= event.begin:
            raise ValueError(f"{event} ends before it begins; were the clocks of the ranks aligned?")
    moved = [[event._replace(begin=event.begin - start, end=event.end - start) for event in row] for row in rows]
    return [sorted(row, key=lambda event: (event.begin, event.end)) for row in moved]


class Share(NamedTuple):
    """Seconds that a rank computes, communicates, does both at once and neither, of `total` seconds of the timeline.

    compute + communication − overlap + idle = total.
    """

    compute: float
    communication: float
    overlap: float
    idle: float
    total: float


def shares(timeline: Sequence[Sequence[Event]]) -> list[Share]:
    """What each rank did with the time from the first event of any rank to the last; a second counts once per kind.

    >>> shares(merge([[(0, "compute", "", 0, 3), (0, "communication", "", 2, 4)], [(1, "compute", "", 0, 5)]]))[0]
    Share(compute=3.0, communication=2.0, overlap=1.0, idle=1.0, total=5.0)
    """
    begin, end = span(timeline)
    result = []
    for events in timeline:
        compute, communication, both = (
            covered((event.begin, event.end) for event in events if event.kind in kinds)
            for kinds in (("compute",), ("communication",), ("compute", "communication"))
        )
        overlapping = max(0.0, compute + communication - both)
        result.append(Share(compute, communication, overlapping, max(0.0, end - begin - both), end - begin))
    return result


def span(timeline: Sequence[Sequence[Event]]) -> tuple[float, float]:
    """When the first event of any rank begins and the last one ends; (0, 0) where nothing happened."""
    times = [(event.begin, event.end) for events in timeline for event in events]
    return (float(min(times)[0]), float(max(end for _, end in times))) if times else (0.0, 0.0)


def covered(intervals: Iterable[tuple[Real, Real]]) -> float:
    """The length of the union of intervals.

    >>> covered([(0, 2), (1, 3), (5, 6)])
    4.0
    """
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return float(total)


def bubble(timeline: Sequence[Sequence[Event]]) -> float:
    """The share of the ranks' time in which they do not compute: 1 − compute / (ranks × span); 0 of an empty timeline.

    >>> bubble(merge([[(0, "compute", "", 0, 4)], [(1, "compute", "", 2, 4)]]))
    0.25
    """
    each = shares(timeline)
    available = sum(share.total for share in each)
    return 1 - sum(share.compute for share in each) / available if available else 0.0


def overlap(timeline: Sequence[Sequence[Event]]) -> float:
    """The share of the communication that is hidden behind compute on the same rank; 0 if nobody communicates."""
    each = shares(timeline)
    communication = sum(share.communication for share in each)
    return sum(share.overlap for share in each) / communication if communication else 0.0
