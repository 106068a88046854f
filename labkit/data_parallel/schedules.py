"""The collectives as data: who sends which chunk to whom at what time, to be drawn, counted and simulated.

They are the moves that the functions of `labkit.data_parallel.collectives` make; tests hold both against each other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int


class Move(NamedTuple):
    """At `time`, `sender` gives `chunk` to `receiver`, who adds it to its own if `adds`, and else keeps it as it is."""

    time: int
    sender: int
    receiver: int
    chunk: int
    adds: bool


@dataclass(frozen=True)
class Schedule:
    """All moves of a collective; `holds[rank]` are the chunks that a rank brings.

    At one time a rank sends at most one message and receives at most one.
    """

    name: str
    world: int
    chunks: int
    holds: tuple[tuple[int, ...], ...] = field(repr=False)
    moves: tuple[Move, ...] = field(repr=False)

    @property
    def times(self) -> int:
        """How many steps it takes."""
        return 1 + max((move.time for move in self.moves), default=-1)


def schedule(name: str, world: int, root: int = 0) -> Schedule:
    """The moves of a collective among `world` ranks.

    >>> schedule("ring_all_reduce", 4)
    Schedule(name='ring_all_reduce', world=4, chunks=4)
    >>> schedule("tree_broadcast", 4).moves[-1]
    Move(time=1, sender=1, receiver=3, chunk=0, adds=False)

    Raises:
        ValueError: for another name, fewer than one rank, or a root that is no rank.
    """
    if name not in _MOVES:
        raise ValueError(f"the collective must be one of {', '.join(_MOVES)}, got {name!r}")
    if world < 1 or not 0 <= root < world:
        raise ValueError(f"there must be at least one rank, and the root one of them; got {world} ranks, root {root}")
    world, root = int(world), int(root)  # also those of NumPy
    moves = tuple(sorted(_MOVES[name](world, root)))
    whole, everyone = (0,), range(world)
    if name.endswith("to_all"):
        return Schedule(name, world, world**2, tuple(tuple(r * world + c for c in everyone) for r in everyone), moves)
    if "gather" in name:
        return Schedule(name, world, world, tuple((r,) for r in everyone), moves)
    cut = name == "scatter" or "reduce_scatter" in name or name == "ring_all_reduce"
    brought = tuple(everyone) if cut else whole
    only_root = "broadcast" in name or name == "scatter"
    holds = tuple(brought if rank == root or not only_root else () for rank in everyone)
    return Schedule(name, world, len(brought), holds, moves)


def progress(schedule: Schedule) -> Int[np.ndarray, "frames ranks chunks"]:
    """How many ranks' numbers each chunk contains on each rank, before the first step and after every step.

    >>> progress(schedule("ring_all_reduce", 2))[:, 0].tolist()  # rank 0: its chunks 0 and 1, frame by frame
    [[1, 1], [2, 1], [2, 2]]
    """
    frames = np.zeros((schedule.times + 1, schedule.world, schedule.chunks), dtype=int)
    for rank, held in enumerate(schedule.holds):
        frames[0, rank, list(held)] = 1
    for time in range(schedule.times):
        before, after = frames[time], frames[time + 1]
        after[:] = before
        for _, sender, receiver, chunk, adds in (move for move in schedule.moves if move.time == time):
            after[receiver, chunk] = before[sender, chunk] + adds * before[receiver, chunk]
    return frames


def play(schedule: Schedule, brought: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """What every rank has of every chunk at the end, None for nothing, when rank r brings the chunks `brought[r]`.

    Chunks can be tensors, arrays or numbers; `brought[r]` are those of `schedule.holds[r]`, in that order.

    >>> play(schedule("ring_all_reduce", 2), [[1, 2], [10, 20]])
    [[11, 22], [11, 22]]
    """
    now = [[None] * schedule.chunks for _ in range(schedule.world)]
    for rank, held in enumerate(schedule.holds):
        for chunk, value in zip(held, brought[rank], strict=True):
            now[rank][chunk] = value
    for time in range(schedule.times):
        flying = [(move, now[move.sender][move.chunk]) for move in schedule.moves if move.time == time]
        for (_, _, receiver, chunk, adds), value in flying:
            now[receiver][chunk] = now[receiver][chunk] + value if adds else value
    return now


def _star(world: int, root: int, out: bool, adds: bool, chunk: Callable[[int], int]) -> Iterator[Move]:
    others = [rank for rank in range(world) if rank != root]
    for time, other in enumerate(others):
        sender, receiver = (root, other) if out else (other, root)
        yield Move(time, sender, receiver, chunk(other), adds)


def _tree_out(world: int, root: int) -> Iterator[Move]:
    for time, distance in enumerate(_powers(world)):
        for place in range(min(distance, world - distance)):
            yield Move(time, (place + root) % world, (place + distance + root) % world, 0, False)


def _tree_in(world: int, root: int) -> Iterator[Move]:
    for time, distance in enumerate(_powers(world)):
        for place in range(distance, world, 2 * distance):
            yield Move(time, (place + root) % world, (place - distance + root) % world, 0, True)


def _powers(world: int) -> list[int]:
    return [2**k for k in range((world - 1).bit_length())]


def _shifts(world: int, chunk: Callable[[int, int], int]) -> Iterator[Move]:
    for distance in range(1, world):
        for rank in range(world):
            other = (rank + distance) % world
            yield Move(distance - 1, rank, other, chunk(rank, other), False)


def _ring(world: int, first: int, adds: bool) -> Iterator[Move]:
    """Every rank sends to its right, first chunk `rank + first`, and in the next step the one before."""
    for time in range(world - 1):
        for rank in range(world):
            yield Move(time, rank, (rank + 1) % world, (rank + first - time) % world, adds)


def _to_every_owner(world: int) -> Iterator[Move]:
    for owner in range(world):
        yield from _later(owner * (world - 1), _star(world, owner, False, True, lambda _, owner=owner: owner))


def _later(time: int, moves: Iterator[Move]) -> Iterator[Move]:
    return (move._replace(time=move.time + time) for move in moves)


def _then(first: Iterator[Move], second: Iterator[Move]) -> Iterator[Move]:
    moves = list(first)
    yield from moves
    yield from _later(1 + max((move.time for move in moves), default=-1), second)


_MOVES: dict[str, Callable[[int, int], Iterator[Move]]] = {
    "broadcast": lambda n, root: _star(n, root, True, False, lambda other: 0),
    "tree_broadcast": _tree_out,
    "reduce": lambda n, root: _star(n, root, False, True, lambda other: 0),
    "tree_reduce": _tree_in,
    "scatter": lambda n, root: _star(n, root, True, False, lambda other: other),
    "gather": lambda n, root: _star(n, root, False, False, lambda other: other),
    "all_gather": lambda n, _: _shifts(n, lambda rank, other: rank),
    "ring_all_gather": lambda n, _: _ring(n, 0, False),
    "reduce_scatter": lambda n, _: _to_every_owner(n),
    "ring_reduce_scatter": lambda n, _: _ring(n, -1, True),
    "all_to_all": lambda n, _: _shifts(n, lambda rank, other: rank * n + other),
    "naive_all_reduce": lambda n, _: _then(_MOVES["reduce"](n, 0), _MOVES["broadcast"](n, 0)),
    "tree_all_reduce": lambda n, _: _then(_tree_in(n, 0), _tree_out(n, 0)),
    "ring_all_reduce": lambda n, _: _then(_ring(n, -1, True), _ring(n, 0, False)),
}
