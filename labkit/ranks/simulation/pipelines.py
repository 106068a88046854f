"""Pipeline schedules, given as data, on ranks that take the time they take: when each operation runs, and the bubble.

A schedule is a list for each rank of operations (kind, stage, micro_batch) in the order in which the rank performs
them: "F" forward, "B" backward, "W" the gradient of the weights where a schedule has it apart from "B".
"""

from collections.abc import Mapping, Sequence
from numbers import Real

from labkit.ranks.simulation.collectives import Link
from labkit.ranks.simulation.engine import Prediction, Task, predicted, run

Seconds = Real | Sequence[Real]
Operation = tuple[str, int, int]


def simulate_pipeline(
    schedule: Sequence[Sequence[Sequence]],
    seconds: Mapping[str, Seconds],
    link: Link | None = None,
    nbytes: Real = 0,
) -> Prediction:
    """When each operation of a schedule runs; `seconds` of each kind are one number, or one for each stage.

    F of a stage waits for F of the stage before it, B for B of the stage behind it and for its own F, W for its own B.
    Between stages on different ranks an activation of `nbytes` bytes travels over `link`, in the communication lane of
    the rank that sends it; without a link that takes no time.

    Source: Narayanan et al., 2021, arXiv:2104.04473, section 2.2 (the schedules and their bubbles).

    Raises:
        ValueError: if ranks wait for each other in a circle, an operation occurs twice or what it waits for nowhere,
            or a kind has no seconds.

    >>> both = [[("F", 0, 0), ("B", 0, 0)], [("F", 1, 0), ("B", 1, 0)]]
    >>> simulate_pipeline(both, {"F": 1, "B": 2}).seconds
    6.0
    """
    owner = _owners(schedule)
    stages = 1 + max((stage for _, stage, _ in owner), default=0)
    tasks, number = [], {}
    for operation in owner:
        number[operation] = len(tasks)
        tasks.append(operation)
        if link and _receiver(operation, owner) not in (None, owner[operation]):
            number["send", *operation] = len(tasks)
            tasks.append(("send", *operation))
    listed = [
        _send(item[1:], owner, number, link.seconds(nbytes))
        if item[0] == "send"
        else _compute(item, owner, number, seconds, stages)
        for item in tasks
    ]
    return predicted(run(listed, ranks=len(schedule)))


def _owners(schedule: Sequence[Sequence[Sequence]]) -> dict[Operation, int]:
    owner: dict[Operation, int] = {}
    for rank, row in enumerate(schedule):
        for kind, stage, micro_batch in row:
            operation = (str(kind), int(stage), int(micro_batch))
            if operation in owner:
                raise ValueError(f"{_name(operation)} is on rank {owner[operation]} and again on rank {rank}")
            owner[operation] = rank
    return owner


def _receiver(operation: Operation, owner: Mapping[Operation, int]) -> int | None:
    """The rank that needs the result of an operation in another stage; None if nobody does."""
    kind, stage, micro_batch = operation
    return owner.get((kind, stage + {"F": 1, "B": -1}.get(kind, 0), micro_batch))


def needed(operation: Sequence, stages: int) -> list[Operation]:
    """What an operation waits for.

    >>> needed(("B", 1, 0), 4), needed(("B", 3, 0), 4), needed(("F", 0, 5), 4)
    ([('F', 1, 0), ('B', 2, 0)], [('F', 3, 0)], [])
    """
    kind, stage, micro_batch = operation
    if kind == "F":
        return [("F", stage - 1, micro_batch)] if stage else []
    if kind == "B":
        return [("F", stage, micro_batch)] + [("B", stage + 1, micro_batch)] * (stage + 1 < stages)
    return [("B", stage, micro_batch)]


def _send(sent: Operation, owner: Mapping[Operation, int], number: Mapping[tuple, int], seconds: float) -> Task:
    return Task((owner[sent],), "communication", f"send {_name(sent)}", seconds, (number[sent],))


def _compute(
    item: Operation,
    owner: Mapping[Operation, int],
    number: Mapping[tuple, int],
    seconds: Mapping[str, Seconds],
    stages: int,
) -> Task:
    after = []
    for other in needed(item, stages):
        if other not in owner:
            raise ValueError(f"{_name(item)} on rank {owner[item]} waits for {_name(other)}, which no rank performs")
        after.append(number.get(("send", *other), number[other]) if owner[other] != owner[item] else number[other])
    return Task((owner[item],), "compute", _name(item), _seconds(seconds, item), tuple(after))


def _seconds(seconds: Mapping[str, Seconds], operation: Operation) -> float:
    kind, stage, _ = operation
    if kind not in seconds:
        raise ValueError(f"no seconds for {kind!r}; give one number, or one for each stage, as in {{{kind!r}: 1.0}}")
    each = seconds[kind]
    return float(each if isinstance(each, Real) else each[stage])


def _name(operation: Sequence) -> str:
    return f"{operation[0]}{operation[1]}.{operation[2]}"


def gpipe_bubble(stages: int, micro_batches: int, chunks: int = 1) -> float:
    """The share of idle time of GPipe and 1F1B, and of 1F1B interleaved over `chunks` stages a rank.

    (p − 1) / (v·m + p − 1) of p ranks, m micro-batches and v chunks.

    Source: Huang et al., 2019, arXiv:1811.06965, section 2.3; Narayanan et al., 2021, arXiv:2104.04473, section 2.2
    (there relative to the ideal time: (p − 1)/(v·m)).

    >>> gpipe_bubble(4, 8), round(gpipe_bubble(4, 8, chunks=2), 4)
    (0.2727272727272727, 0.1579)
    """
    return (stages - 1) / (chunks * micro_batches + stages - 1)


def in_flight(schedule: Sequence[Sequence[Sequence]]) -> list[int]:
    """The most micro-batches (of all its stages together) whose activations each rank holds at once.

    An activation is held from F to the last of B and W.

    >>> in_flight([[("F", 0, 0), ("F", 0, 1), ("B", 0, 0), ("B", 0, 1)]])
    [2]
    """
    most = []
    for row in schedule:
        weights = any(kind == "W" for kind, _, _ in row)
        held = peak = 0
        for kind, _, _ in row:
            held += {"F": 1, "W" if weights else "B": -1}.get(kind, 0)
            peak = max(peak, held)
        most.append(peak)
    return most
