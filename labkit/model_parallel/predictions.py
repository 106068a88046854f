"""Schedules and plans played second by second: compute, tensor parallel's sums, messages between stages, waiting."""

from collections.abc import Mapping, Sequence
from numbers import Real

from labkit.model_parallel.schedules import one_f_one_b, owners
from labkit.ranks.simulation import Cluster, Link, Plan, Prediction, Transformer, simulate_pipeline
from labkit.ranks.timeline import Event

MOST_OPERATIONS = 100_000


def thin_seconds(schedule: Sequence[Sequence[Sequence]], seconds: Mapping[str, Real]) -> dict[str, float]:
    """The seconds of one stage, from those of all that a rank has: stages are as thin as there are more than ranks.

    >>> thin_seconds([[("F", 0, 0), ("F", 1, 0)]], {"F": 1.0})
    {'F': 0.5}
    """
    return {kind: time * len(schedule) / len(owners(schedule)) for kind, time in seconds.items()}


def predict(
    schedule: Sequence[Sequence[Sequence]], seconds: Mapping[str, Real], link: Link | None = None, nbytes: Real = 0
) -> Prediction:
    """When each operation of a schedule runs, where all stages of a rank take `seconds` of F, B and W together.

    Where a schedule has no W, its B takes as long as both. Messages of `nbytes` bytes travel over `link`.

    >>> predict([[("F", 0, 0), ("B", 0, 0)]], {"F": 1.0, "B": 1.0, "W": 0.5}).seconds
    2.5

    Raises:
        ValueError: as `simulate_pipeline`.
    """
    thin = thin_seconds(schedule, seconds)
    if not any(kind == "W" for row in schedule for kind, *_ in row):
        thin = {"F": thin["F"], "B": thin["B"] + thin["W"]}
    return simulate_pipeline(schedule, thin, link, nbytes)


def plan_timeline(
    model: Transformer, cluster: Cluster, plan: Plan, micro_batch: int = 1, recompute: bool = False
) -> Prediction:
    """The predicted step of one rank of each stage under 1F1B, without the averaging of gradients at its end.

    An operation begins with its compute and ends with its collectives, which nothing hides. F has a third of the
    compute and half of the collectives; if activations are computed again, B does F once more. The closed form of
    `labkit.ranks.simulation.plans` adds up the same, but for messages, which may hide here.

    Raises:
        ValueError: for more than 100,000 operations.
    """
    count = 2 * plan.pipeline * plan.micro_batches
    if count > MOST_OPERATIONS:
        raise ValueError(f"{count:,} operations are too many to follow; {MOST_OPERATIONS:,} are the most")
    work, talk = (plan.parts[part] / plan.micro_batches for part in ("compute", "tensor"))
    forward = (1 / 4, 1 / 3) if recompute else (1 / 3, 1 / 2)
    cost = {"F": (work * forward[0], talk * forward[1]), "B": (work * (1 - forward[0]), talk * (1 - forward[1]))}
    link = cluster.inner if plan.tensor * plan.pipeline <= cluster.per_node else cluster.outer
    nbytes = micro_batch * model.context * model.width * model.bytes_each / plan.tensor
    schedule = one_f_one_b(plan.pipeline, plan.micro_batches)
    told = simulate_pipeline(schedule, {kind: sum(parts) for kind, parts in cost.items()}, link, nbytes)
    rows = [[part for event in row for part in _split(event, cost)] for row in told.timeline]
    return Prediction(rows, told.seconds, told.ranks, told.bubble, told.overlap)


def _split(event: Event, cost: Mapping[str, tuple[float, float]]) -> list[Event]:
    """An operation as its compute and its collectives; messages stay as they are."""
    if event.kind != "compute":
        return [event]
    work, talk = cost[event.name[0]]
    middle = event.begin + (event.end - event.begin) * work / (work + talk)
    said = [event._replace(kind="communication", name="", begin=middle)] if talk else []
    return [event._replace(end=middle), *said]
