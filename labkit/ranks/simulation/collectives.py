"""What a collective costs by latency and bandwidth: closed forms, message by message, and a ring with stragglers.

A message of S bytes takes α + S/β seconds: the latency of the link and S bytes at its bandwidth. A rank sends one
message and receives one at the same time.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from labkit.ranks.simulation.engine import DRAWN, Prediction, predicted
from labkit.ranks.timeline import Event

ALGORITHMS = ("naive", "tree", "ring", "two-level")


@dataclass(frozen=True)
class Link:
    """What connects two ranks: `latency` in seconds and `bandwidth` in bytes per second."""

    latency: Real
    bandwidth: Real

    def __post_init__(self) -> None:
        if not (self.latency >= 0 and self.bandwidth > 0):
            raise ValueError(f"{self}: the latency cannot be negative, and the bandwidth must be positive")

    def seconds(self, nbytes: Real) -> float:
        """The time of one message: α + S/β."""
        return float(self.latency + nbytes / self.bandwidth)


def all_reduce_seconds(
    nbytes: Real, ranks: int, link: Link, algorithm: str = "ring", inner: Link | None = None, per_node: int = 1
) -> float:
    """Seconds until every rank has the sum of `nbytes` bytes of all ranks.

    naive: all send to rank 0 in turn, which sends the sum to each, 2(n−1)(α + S/β); tree: 2⌈log₂ n⌉(α + S/β);
    ring: 2(n−1)(α + S/(nβ)); two-level: reduce-scatter in each node over `inner`, one ring for each of its `per_node`
    ranks across the nodes over `link`, which they share, and all-gather in the node.

    Source: Thakur, Rabenseifner and Gropp, 2005, "Optimization of collective communication operations in MPICH", §4.

    Raises:
        ValueError: for an unknown algorithm, fewer than one rank, or ranks that do not fill the nodes.

    >>> all_reduce_seconds(8e6, 4, Link(0.5, 1e6)), all_reduce_seconds(8e6, 4, Link(0.5, 1e6), "tree")
    (15.0, 34.0)
    """
    _check(ranks, algorithm)
    if ranks == 1:
        return 0.0
    if algorithm == "naive":
        return 2 * (ranks - 1) * link.seconds(nbytes)
    if algorithm == "tree":
        return 2 * math.ceil(math.log2(ranks)) * link.seconds(nbytes)
    if algorithm == "ring":
        return 2 * scatter_seconds(nbytes, ranks, link)
    if inner is None or per_node < 1 or ranks % per_node:
        raise ValueError(f"two-level needs inner=Link(…) and per_node, a divisor of {ranks}; got {inner}, {per_node}")
    across = all_reduce_seconds(nbytes, ranks // per_node, link)  # the ranks of a node share its cable
    return 2 * scatter_seconds(nbytes, per_node, inner) + across


def scatter_seconds(nbytes: Real, ranks: int, link: Link) -> float:
    """Seconds of a reduce-scatter, an all-gather or an all-to-all on `nbytes` bytes per rank: (n−1)(α + S/(nβ))."""
    _check(ranks)
    return (ranks - 1) * link.seconds(nbytes / ranks)


def simulate_moves(moves: Iterable[Sequence], ranks: int, chunk_bytes: Real, link: Link) -> Prediction:
    """When each message of a collective travels: `moves` are (time, sender, receiver, chunk, …), of one chunk each.

    A rank sends one message at a time and receives one at a time; a message leaves once its sender has received all
    that was sent to it at earlier times of the schedule.

    Raises:
        ValueError: if a move names a rank that does not exist.

    >>> simulate_moves([(0, 0, 1, 0), (0, 1, 0, 1)], 2, 100, Link(1.0, 100)).seconds
    2.0
    """
    _check(ranks)
    rows: list[list[Event]] = [[] for _ in range(ranks)]
    sends, receives, arrived, before, time = [0.0] * ranks, [0.0] * ranks, [0.0] * ranks, [0.0] * ranks, None
    for moment, sender, receiver, chunk, *_ in sorted(moves, key=lambda move: move[0]):
        if not (0 <= sender < ranks and 0 <= receiver < ranks):
            raise ValueError(f"a move from rank {sender} to rank {receiver}; there are ranks 0 … {ranks - 1}")
        if moment != time:
            before, time = list(arrived), moment
        begin = max(sends[sender], receives[receiver], before[sender])
        end = begin + link.seconds(chunk_bytes)
        sends[sender] = receives[receiver] = end
        arrived[receiver] = max(arrived[receiver], end)
        rows[sender].append(Event(sender, "communication", f"chunk {chunk} to {receiver}", begin, end))
        rows[receiver].append(Event(receiver, "communication", f"chunk {chunk} from {sender}", begin, end))
    return predicted([sorted(row, key=lambda event: (event.begin, event.end)) for row in rows])


def simulate_ring(nbytes: Real, ready: Sequence[Real] | Any, link: Link) -> Prediction:
    """A ring all-reduce on ranks that are ready at the given seconds: a rank waits in each step for the one before it.

    Ten thousand ranks, 20,000 steps, take about a second. The timeline has one event for each rank.

    Raises:
        ValueError: if there is no rank.
    """
    import numpy as np

    begin = np.asarray(ready, dtype=float).ravel()
    _check(len(begin))
    cost, now = link.seconds(nbytes / len(begin)), begin.copy()
    for _ in range(2 * (len(begin) - 1)):
        np.maximum(now, np.roll(now, 1), out=now)
        now += cost
    rows = [
        [Event(rank, "compute", "before", 0.0, float(at))] * bool(at > 0)
        + [Event(rank, "communication", "all-reduce", float(at), float(end))]
        for rank, (at, end) in enumerate(zip(begin[:DRAWN], now[:DRAWN], strict=True))
    ]
    return predicted(rows, ranks=len(begin), seconds=now.max())


def fit_link(nbytes: Sequence[Real], seconds: Sequence[Real], ranks: int) -> Link:
    """The latency and bandwidth with which a ring all-reduce would take the seconds that were measured.

    Least squares of the relative errors, so that small messages count as much as large ones.

    Raises:
        ValueError: if there are fewer than two sizes, or fewer than two ranks.
    """
    import numpy as np

    sizes, times = np.asarray(nbytes, dtype=float), np.asarray(seconds, dtype=float)
    if len(sizes) != len(times) or len(np.unique(sizes)) < 2 or ranks < 2 or not (times > 0).all():
        raise ValueError("give the seconds of at least two different sizes on at least two ranks, all positive")
    columns = 2 * (ranks - 1) * np.stack([np.ones_like(sizes), sizes / ranks], axis=1) / times[:, None]
    latency, slope = np.linalg.lstsq(columns, np.ones_like(times), rcond=None)[0]
    if latency < 0:
        latency, slope = 0.0, 1 / columns[:, 1].mean()
    return Link(float(latency), float(1 / slope) if slope > 0 else 1e15)


def _check(ranks: int, algorithm: str = "ring") -> None:
    if ranks < 1:
        raise ValueError(f"ranks = {ranks}; there must be one at least")
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm = {algorithm!r}; there are {', '.join(ALGORITHMS)}")
