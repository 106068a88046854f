"""What a collective costs: bytes by rank, and seconds on a network of given latency and bandwidth."""

import numpy as np
from jaxtyping import Int

from labkit.data_parallel.schedules import Schedule


def bytes_sent(schedule: Schedule, size: int) -> Int[np.ndarray, " ranks"]:
    """Bytes that each rank sends, if all chunks together have `size` bytes (or elements, then in elements).

    >>> from labkit.data_parallel.schedules import schedule
    >>> bytes_sent(schedule("naive_all_reduce", 4), 1000), bytes_sent(schedule("ring_all_reduce", 4), 1000)
    (array([3000, 1000, 1000, 1000]), array([1500, 1500, 1500, 1500]))
    """
    return _by_rank(schedule, size, "sender")


def bytes_received(schedule: Schedule, size: int) -> Int[np.ndarray, " ranks"]:
    """Bytes that each rank receives, if all chunks together have `size` bytes."""
    return _by_rank(schedule, size, "receiver")


def busiest(schedule: Schedule, size: int) -> int:
    """The most bytes that any one rank has to send or to receive."""
    return int(max(bytes_sent(schedule, size).max(), bytes_received(schedule, size).max()))


def seconds(schedule: Schedule, size: int, latency: float | int, bandwidth: float | int) -> float:
    """How long it takes when every message waits `latency` seconds and then passes at `bandwidth` bytes per second.

    Messages of one time pass at the same time, and the next ones start when the largest has arrived.

    Raises:
        ValueError: for a negative latency, or a bandwidth that is not positive.
    """
    if latency < 0 or bandwidth <= 0:
        raise ValueError(f"need a latency of 0 s or more and a positive bandwidth, got {latency} s, {bandwidth} B/s")
    parts, largest = _parts(schedule, size), np.zeros(schedule.times)
    for move in schedule.moves:
        largest[move.time] = max(largest[move.time], parts[move.chunk])
    return float(schedule.times * latency + largest.sum() / bandwidth)


def ring_bytes(world: int, size: float | int) -> float:
    """Bytes that each of `world` ranks sends in a ring all-reduce of `size` bytes: 2 (n − 1) / n of them.

    No algorithm can do with less.
    Source: Patarasuk and Yuan (2009), Bandwidth optimal all-reduce algorithms for clusters of workstations.

    >>> ring_bytes(4, 1000), ring_bytes(1, 1000)
    (1500.0, 0.0)
    """
    return 2 * (world - 1) / world * size


def _parts(schedule: Schedule, size: int) -> list[int]:
    """The sizes of the chunks, which differ by one at most."""
    return [len(range(chunk, size, schedule.chunks)) for chunk in range(schedule.chunks)]


def _by_rank(schedule: Schedule, size: int, side: str) -> Int[np.ndarray, " ranks"]:
    total, parts = np.zeros(schedule.world, dtype=int), _parts(schedule, size)
    for move in schedule.moves:
        total[getattr(move, side)] += parts[move.chunk]
    return total
