"""The engine: tasks on the lanes of ranks, each begun as soon as what it waits for is done and its lane is free."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real

from labkit.ranks.timeline import Event, bubble, overlap, span

DRAWN = 16  # a prediction of many like ranks keeps the events of so many


@dataclass(frozen=True, slots=True)
class Task:
    """Work of `seconds` in the lane `kind` of all `ranks` at once, after the tasks with the numbers in `after`."""

    ranks: tuple[int, ...]
    kind: str
    name: str
    seconds: Real
    after: tuple[int, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """A predicted timeline of `ranks` ranks (events of the first ones only, if they are many) and its length.

    `bubble` is the share of the time in which a rank does not compute, `overlap` the share of the communication that
    is hidden behind compute.
    """

    timeline: list[list[Event]]
    seconds: float
    ranks: int
    bubble: float
    overlap: float


def predicted(timeline: list[list[Event]], ranks: int | None = None, seconds: Real | None = None) -> Prediction:
    """Sum up a timeline; `ranks` and `seconds` where it shows only some of the ranks."""
    end = span(timeline)[1] if seconds is None else float(seconds)
    return Prediction(timeline, end, len(timeline) if ranks is None else ranks, bubble(timeline), overlap(timeline))


def run(tasks: Sequence[Task], ranks: int | None = None) -> list[list[Event]]:
    """The timeline of the tasks: a lane works on one at a time, in the order in which they are listed.

    >>> run([Task((0,), "compute", "a", 2.0), Task((1,), "compute", "b", 1.0, after=(0,))])[1]
    [Event(rank=1, kind='compute', name='b', begin=2.0, end=3.0)]

    Raises:
        ValueError: if tasks wait for each other in a circle (a deadlock), with the first task of each lane that waits.
    """
    waits_for, followers = _dependencies(tasks)
    missing = [len(each) for each in waits_for]
    ready = deque(number for number, count in enumerate(missing) if not count)
    ends: list[float] = [-1.0] * len(tasks)
    rows: list[list[Event]] = [[] for _ in range(_count(tasks) if ranks is None else ranks)]
    done = 0
    while ready:
        number = ready.popleft()
        task, done = tasks[number], done + 1
        begin = max((ends[other] for other in waits_for[number]), default=0.0)
        ends[number] = begin + float(task.seconds)
        for rank in task.ranks:
            rows[rank].append(Event(rank, task.kind, task.name, begin, ends[number]))
        for other in followers[number]:
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
    if done < len(tasks):
        raise ValueError(_circle(tasks, [number for number, end in enumerate(ends) if end < 0]))
    return [sorted(row, key=lambda event: (event.begin, event.end)) for row in rows]


def _dependencies(tasks: Sequence[Task]) -> tuple[list[set[int]], list[list[int]]]:
    """For each task those it waits for, the one before it in each of its lanes included, and those that wait for it."""
    last: dict[tuple[int, str], int] = {}
    waits_for: list[set[int]] = []
    followers: list[list[int]] = [[] for _ in tasks]
    for number, task in enumerate(tasks):
        lanes = [(rank, task.kind) for rank in task.ranks]
        waits_for.append({*task.after, *(last[lane] for lane in lanes if lane in last)})
        last |= dict.fromkeys(lanes, number)
        for other in waits_for[-1]:
            followers[other].append(number)
    return waits_for, followers


def _count(tasks: Iterable[Task]) -> int:
    return 1 + max((rank for task in tasks for rank in task.ranks), default=-1)


def _circle(tasks: Sequence[Task], stuck: Sequence[int]) -> str:
    first: dict[tuple[int, str], int] = {}
    for number in stuck:
        for rank in tasks[number].ranks:
            first.setdefault((rank, tasks[number].kind), number)
    waiting = set(stuck)
    words = []
    for (rank, _), number in sorted(first.items())[:4]:
        others = [tasks[other].name for other in tasks[number].after if other in waiting]
        words.append(f"rank {rank} waits in {tasks[number].name} for {', '.join(others) or 'another rank'}")
    return f"{len(stuck)} of {len(tasks)} tasks never begin, the ranks wait in a circle: {'; '.join(words)}"
