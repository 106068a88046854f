"""Pipeline schedules as data: for each rank the operations it performs, in their order.

F is the forward pass of a stage on a micro-batch, B its backward pass. Where a schedule has W, B finds the gradient of
the stage's input alone, which the stage before waits for, and W that of its weights, for which nobody waits.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from labkit.ranks.simulation import in_flight, needed

__all__ = [
    "SCHEDULES",
    "Operation",
    "bubble_share",
    "check_schedule",
    "gpipe",
    "in_flight",
    "interleaved",
    "one_f_one_b",
    "owners",
    "zero_bubble",
    "zero_bubble_share",
]


class Operation(NamedTuple):
    """One box of a schedule: what (`kind` "F", "B" or "W") is done, in which stage, with which micro-batch."""

    kind: str
    stage: int
    micro_batch: int

    def __str__(self) -> str:
        return f"{self.kind}{self.stage}.{self.micro_batch}"


Schedule = list[list[Operation]]


def gpipe(ranks: int, micro_batches: int) -> Schedule:
    """All forward passes, then all backward passes: every rank holds the activations of all micro-batches.

    >>> [str(operation) for operation in gpipe(2, 2)[1]]
    ['F1.0', 'F1.1', 'B1.0', 'B1.1']

    Raises:
        ValueError: without ranks or micro-batches.
    Source: Huang et al. (2019), GPipe, figure 2c; here the backward passes come in the order of the forward passes.
    """
    _check(ranks=ranks, micro_batches=micro_batches)
    return [
        [Operation(kind, rank, i) for kind in "FB" for i in range(micro_batches)]  # one rank after the other
        for rank in range(ranks)
    ]


def one_f_one_b(ranks: int, micro_batches: int) -> Schedule:
    """As few forward passes as the rank has stages behind it, then forward and backward in turn: as long a bubble as
    GPipe's, but never more than `ranks` micro-batches held.

    >>> [str(operation) for operation in one_f_one_b(2, 3)[0]]
    ['F0.0', 'F0.1', 'B0.0', 'F0.2', 'B0.1', 'B0.2']

    Raises:
        ValueError: without ranks or micro-batches.
    Source: Narayanan et al. (2021), arXiv:2104.04473, section 2.2.1 and figure 4 (top).
    """
    _check(ranks=ranks, micro_batches=micro_batches)
    schedule = []
    for rank in range(ranks):
        forward = [Operation("F", rank, i) for i in range(micro_batches)]
        backward = [Operation("B", rank, i) for i in range(micro_batches)]
        schedule.append(_in_turn(forward, backward, warmup=ranks - rank - 1))
    return schedule


def interleaved(ranks: int, micro_batches: int, chunks: int = 2) -> Schedule:
    """1F1B where rank r has `chunks` thin stages r, r + ranks, …: the bubble is that many times shorter, at the price
    of as many times the messages.

    Raises:
        ValueError: without ranks, micro-batches or chunks, and for micro-batches that do not come in full rounds.
    Source: Narayanan et al. (2021), arXiv:2104.04473, section 2.2.2 and figure 4 (bottom).
    """
    _check(ranks=ranks, micro_batches=micro_batches, chunks=chunks)
    if chunks > 1 and micro_batches % ranks:
        raise ValueError(
            f"{micro_batches} micro-batches on {ranks} ranks: interleaved stages take turns in rounds of {ranks}; "
            f"give {micro_batches // ranks * ranks or ranks} or {(micro_batches // ranks + 1) * ranks} micro-batches"
        )
    if chunks == 1:
        return one_f_one_b(ranks, micro_batches)
    # A round: `ranks` micro-batches through the first chunk, the same ones through the next, and so on.
    turns = [
        (chunk, first + i) for first in range(0, micro_batches, ranks) for chunk in range(chunks) for i in range(ranks)
    ]
    schedule = []
    for rank in range(ranks):
        forward = [Operation("F", chunk * ranks + rank, i) for chunk, i in turns]
        backward = [Operation("B", (chunks - 1 - chunk) * ranks + rank, i) for chunk, i in turns]
        warmup = 2 * (ranks - rank - 1) + (chunks - 1) * ranks
        schedule.append(_in_turn(forward, backward, warmup))
    return schedule


def zero_bubble(ranks: int, micro_batches: int) -> Schedule:
    """1F1B whose backward pass is cut in two: the gradients of weights wait until there is nothing better to do.

    Rank r leaves out W for its first r micro-batches and does as much at the end, where the others drain. The bubble
    is a third of 1F1B's when F, B and W take equally long, with no more micro-batches held ("ZB-H1").

    >>> [str(operation) for operation in zero_bubble(2, 2)[1]]
    ['F1.0', 'B1.0', 'F1.1', 'B1.1', 'W1.0', 'W1.1']

    Raises:
        ValueError: without ranks or micro-batches.
    Source: Qi et al. (2023), "Zero bubble pipeline parallelism", arXiv:2401.10241, section 2.1 and figure 3 (top).
    """
    schedule = []
    for rank, row in enumerate(one_f_one_b(ranks, micro_batches)):
        operations, backward = [], 0
        for operation in row:
            operations.append(operation)
            if operation.kind == "B":
                backward += 1
                if backward > rank:
                    operations.append(Operation("W", rank, backward - 1 - rank))
        late = range(max(0, micro_batches - rank), micro_batches)
        schedule.append(operations + [Operation("W", rank, i) for i in late])
    return schedule


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "GPipe": gpipe,
    "1F1B": one_f_one_b,
    "interleaved": interleaved,
    "zero bubble": zero_bubble,
}


def _in_turn(forward: list[Operation], backward: list[Operation], warmup: int) -> list[Operation]:
    """`warmup` forward passes, then one of each as long as there are both, then the backward passes that are left."""
    warmup = min(warmup, len(forward))
    pairs = zip(forward[warmup:], backward, strict=False)
    return forward[:warmup] + [x for pair in pairs for x in pair] + backward[len(forward) - warmup :]


def owners(schedule: Sequence[Sequence[Sequence]]) -> list[int]:
    """The rank of each stage.

    >>> owners(interleaved(2, 2, chunks=2))
    [0, 1, 0, 1]

    Raises:
        ValueError: if a stage is on two ranks, or a number is left out.
    """
    found: dict[int, int] = {}
    for rank, row in enumerate(schedule):
        for _, stage, _ in row:
            if found.setdefault(stage, rank) != rank:
                raise ValueError(f"stage {stage} is on rank {found[stage]} and on rank {rank}; its weights are on one")
    if not found or sorted(found) != list(range(len(found))):
        raise ValueError(f"stages are numbered 0, 1, … without a gap, got {sorted(found)}")
    return [found[stage] for stage in range(len(found))]


def check_schedule(schedule: Sequence[Sequence[Sequence]] | Any) -> tuple[int, int]:
    """The number of stages and of micro-batches of a schedule that can be performed.

    Raises:
        ValueError: if an operation is missing, occurs twice or is none, if a stage is on two ranks, or if the ranks
            wait for each other in a circle: it names who waits for what.
    """
    for rank, row in enumerate(schedule):
        for operation in row:
            _check_form(rank, operation)
    stages, done = len(owners(schedule)), set()
    rows = [[Operation(*operation) for operation in row] for row in schedule]
    if not all(rows):
        raise ValueError(f"rank {rows.index([])} has nothing to do: give every rank a stage, or take fewer ranks")
    every = [operation for row in rows for operation in row]
    micro_batches = 1 + max(operation.micro_batch for operation in every)
    _check_complete(every, stages, micro_batches)
    at = [0] * len(rows)
    moved = True
    while moved:  # let every rank go as far as it can, until nobody can go any further
        moved = False
        for rank, row in enumerate(rows):
            while at[rank] < len(row) and done.issuperset(needed(row[at[rank]], stages)):
                done.add(row[at[rank]])
                at[rank] += 1
                moved = True
    if len(done) < len(every):
        stuck = [(rank, row[at[rank]]) for rank, row in enumerate(rows) if at[rank] < len(row)]
        raise ValueError(f"this schedule never ends: {'; '.join(_waits(rank, x, stages, done) for rank, x in stuck)}")
    return stages, micro_batches


def _check_form(rank: int, operation: Any) -> None:
    """An operation is a kind and two whole numbers."""
    fits = isinstance(operation, tuple | list) and len(operation) == 3
    if not fits or not all(isinstance(number, int) for number in operation[1:]):
        raise ValueError(
            f"{operation!r} of rank {rank} is no operation, which is (kind, stage, micro-batch): ('F', 0, 0)"
        )


def _check_complete(every: list[Operation], stages: int, micro_batches: int) -> None:
    """Each stage performs F and B once with each micro-batch; W everywhere or nowhere."""
    kinds = "FBW" if any(operation.kind == "W" for operation in every) else "FB"
    wanted = {Operation(kind, stage, i) for kind in kinds for stage in range(stages) for i in range(micro_batches)}
    seen: set[Operation] = set()
    for operation in every:
        if operation not in wanted:
            raise ValueError(f"{operation} is no operation: kinds are F, B and W, micro-batches are numbered from 0")
        if operation in seen:
            raise ValueError(f"{operation} occurs twice: every stage meets every micro-batch once")
        seen.add(operation)
    if wanted > seen:
        missing = min(wanted - seen, key=lambda x: (x.micro_batch, x.stage, x.kind))
        raise ValueError(f"{missing} is missing: every stage meets every micro-batch once, forward and backward")


def _waits(rank: int, operation: Operation, stages: int, done: set[Operation]) -> str:
    missing = next(Operation(*x) for x in needed(operation, stages) if x not in done)
    return f"rank {rank} waits for {missing} before {operation}"


def bubble_share(ranks: int, micro_batches: int, chunks: int = 1) -> float:
    """The share of time in which a rank has nothing to do, under GPipe and 1F1B, interleaved over `chunks` stages.

    (p − 1) / (v·m + p − 1): the p − 1 steps of filling and draining, 1/v as long when the stages are, against m steps
    of work.

    >>> bubble_share(4, 8)
    0.2727272727272727

    Source: Huang et al. (2019), GPipe, section 2.3; Narayanan et al. (2021), section 2.2, who divide by the time of
    work alone and so have (p − 1) / m and 1/v of it.
    """
    _check(ranks=ranks, micro_batches=micro_batches, chunks=chunks)
    return (ranks - 1) / (chunks * micro_batches + ranks - 1)


def zero_bubble_share(
    ranks: int, micro_batches: int, forward: float | int = 1, backward: float | int = 1, weights: float | int = 1
) -> float:
    """The same for ZB-H1, given how long F, B and W take: (p − 1)(F + B − W) of idle time beside m (F + B + W) of work.

    >>> zero_bubble_share(4, 8)
    0.1111111111111111

    Raises:
        ValueError: for fewer micro-batches than ranks, which have too little W to fill the end with.
    Source: Qi et al. (2023), arXiv:2401.10241, table 2.
    """
    _check(ranks=ranks, micro_batches=micro_batches)
    if micro_batches < ranks:
        raise ValueError(f"{micro_batches} micro-batches on {ranks} ranks: the formula needs at least {ranks}")
    idle = (ranks - 1) * (forward + backward - weights)
    return idle / (micro_batches * (forward + backward + weights) + idle)


def _check(**counts: Any) -> None:
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"{name} is a whole number from 1 on, got {count!r}")
