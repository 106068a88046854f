"""A step of ZeRO predicted on any number of ranks: who waits for whom, how long it takes, and which stage is fastest.

work = Work(blocks=32, forward=0.5, backward=1.0, optimizer=0.05, parameters=7e9)
plans = stage_plans(work, ranks=64, link=Link(5e-6, 25e9), memory=80e9)
print(fastest(plans))
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

from labkit.ranks.simulation import Link, Prediction, Task, run, scatter_seconds, zero_passes
from labkit.ranks.simulation.engine import predicted
from labkit.zero.memory import model_states

SHOWN = 2  # all ranks do the same, so a predicted timeline has only two of them


@dataclass(frozen=True)
class Work:
    """What one rank computes in a step: seconds of all `blocks`, which are alike, and of an optimizer with no shards.

    `bytes_each` are those of a weight and of a gradient on the wire.
    """

    blocks: int
    forward: Real
    backward: Real
    optimizer: Real
    parameters: Real
    bytes_each: int = 2

    def __post_init__(self) -> None:
        if self.blocks < 1 or min(self.forward, self.backward, self.optimizer) < 0 or self.parameters <= 0:
            raise ValueError(f"{self}: give one block at least, some parameters, and no negative seconds")


@dataclass(frozen=True)
class StagePlan:
    """A stage with its bytes on a rank by what they are for, and its predicted step."""

    stage: int
    parts: dict[str, float]
    step: Prediction
    fits: bool

    @property
    def name(self) -> str:
        """The stage in words."""
        return f"stage {self.stage}"

    def __str__(self) -> str:
        size = f"{sum(self.parts.values()) / 1e9:.3g} GB" + ("" if self.fits else ", does not fit")
        return f"{self.name}: {size}; {self.step.seconds:.3g} s a step"


def simulate_step(work: Work, stage: int, ranks: int, link: Link, prefetch: bool = True) -> Prediction:
    """One step with one micro-batch: gathers before blocks, reductions behind the backward pass, the optimizer.

    Stages 0 to 2 reduce a block's gradients while earlier blocks compute. Stage 0 gathers these sums at once (an
    all-reduce), stages 1 and 2 gather new weights after the optimizer. Stage 3 gathers each block before its forward
    and its backward pass; with `prefetch` while the block before it computes, as FSDP and DeepSpeed do.

    Source: Rajbhandari et al. (2020), section 7.2.

    Raises:
        ValueError: for another stage than 0 to 3, or no rank.
    """
    zero_passes(stage)
    each = scatter_seconds(work.parameters * work.bytes_each / work.blocks, ranks, link)
    plan = _Tasks(tuple(range(min(ranks, SHOWN))))
    ahead = 2 if prefetch else 1
    forward = plan.pass_through("forward", range(work.blocks), work.forward / work.blocks, stage, each, ahead)
    back = range(work.blocks - 1, -1, -1)
    done = plan.pass_through("backward", back, work.backward / work.blocks, stage, each, ahead, forward)
    share = ranks if stage else 1
    last = plan.add("compute", "optimizer", work.optimizer / share, done)
    if stage in (1, 2):
        for block in range(work.blocks):
            plan.add("communication", f"gather {block}", each, [last])
    return predicted(run(plan.tasks, len(plan.ranks)), ranks=ranks)


class _Tasks:
    """The tasks so far, each of which all ranks do at once."""

    def __init__(self, ranks: tuple[int, ...]):
        self.ranks, self.tasks = ranks, list[Task]()

    def add(self, kind: str, name: str, seconds: Real, after: Sequence[int]) -> int:
        """Append a task; its number."""
        self.tasks.append(Task(self.ranks, kind, name, float(seconds), tuple(after)))
        return len(self.tasks) - 1

    def pass_through(
        self,
        name: str,
        order: Sequence[int],
        seconds: Real,
        stage: int,
        each: Real,
        ahead: int,
        after: Sequence[int] = (),
    ) -> list[int]:
        """A pass through the blocks in this order; the numbers of the tasks after which it is over."""
        gathered, done = list[int](), list[int]()
        computed = -1

        def gather(place: int, needs: Sequence[int]) -> None:
            if stage == 3 and place < len(order):
                gathered.append(self.add("communication", f"gather {order[place]}", each, needs))

        for place in range(ahead):
            gather(place, after)
        for place, block in enumerate(order):
            computed = self.add("compute", f"{name} {block}", seconds, [*after, *gathered[place : place + 1]])
            gather(place + ahead, [computed])
            if name == "backward":  # stage 0 also gathers the sums: an all-reduce
                cost = each if stage else 2 * each
                done.append(self.add("communication", f"reduce {block}", cost, [computed]))
        return [computed, *done]


def stage_plans(work: Work, ranks: int, link: Link, memory: Real, prefetch: bool = True) -> list[StagePlan]:
    """Stages 0 to 3 with mixed-precision Adam, activations not counted."""
    plans = []
    for stage in range(4):
        parts = model_states(float(work.parameters), ranks, stage)
        step = simulate_step(work, stage, ranks, link, prefetch)
        plans.append(StagePlan(stage, parts, step, sum(parts.values()) <= memory))
    return plans


def fastest(plans: Sequence[StagePlan]) -> StagePlan | None:
    """The fastest of those that fit, the lowest stage of equals; None if none fits."""
    return min(
        (plan for plan in plans if plan.fits), key=lambda plan: (round(plan.step.seconds, 9), plan.stage), default=None
    )
