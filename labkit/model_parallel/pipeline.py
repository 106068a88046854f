"""The executor: any pipeline schedule on real processes, with sends and receives between the ranks of stages."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from labkit.model_parallel.schedules import Operation, check_schedule, owners
from labkit.ranks import device
from labkit.ranks.timeline import Event, Recorder

Group = dist.ProcessGroup | None


class Later:
    """What a stage has put off: gradients of weights, to be computed when the schedule says W."""

    def __init__(self) -> None:
        self.put_off: list[Callable[[], None]] = []

    def take(self) -> list[Callable[[], None]]:
        """All that was put off since the last time."""
        taken, self.put_off = self.put_off, []
        return taken


class Wires:
    """Activations and gradients between the ranks of a pipeline, in whatever order its schedule makes them.

    A message is taken in the order in which it was sent, which the receiver reads off the sender's row of the schedule.
    Messages to higher ranks and to lower ones have a channel each, so that two neighbours who both send first do not
    wait for each other, not even where sends of one channel are performed one after the other (nccl).
    """

    def __init__(self, schedule: Sequence[Sequence[Operation]], group: Group = None):
        self.rank, ranks = dist.get_rank(group), dist.get_world_size(group)
        self.peers = [r if group is None else dist.get_global_rank(group, r) for r in range(ranks)]
        # Every member of the group makes both channels, and nobody else has to.
        self.up, self.down = (dist.new_group(self.peers, use_local_synchronization=True) for _ in range(2))
        self.owner = owners(schedule)
        self.expected = {r: [x for x in map(self.message, schedule[r]) if self.goes(r, x)] for r in range(ranks)}
        self.sending: list[tuple[dist.Work, Tensor]] = []

    def message(self, operation: Operation) -> Operation:
        """The operation that needs the result of this one in another stage: the name of a message."""
        step = {"F": 1, "B": -1}.get(operation.kind, 0)
        return Operation(operation.kind, operation.stage + step, operation.micro_batch)

    def goes(self, sender: int, message: Operation) -> bool:
        """Does the rank `sender` send this message here? What stays on a rank is no message."""
        inside = message.kind != "W" and 0 <= message.stage < len(self.owner)
        return inside and self.owner[message.stage] == self.rank != sender

    def begin(self) -> None:
        """A new step: the same messages will come again."""
        self.waiting = {sender: deque(messages) for sender, messages in self.expected.items()}
        self.here: dict[Operation, Tensor] = {}

    def send(self, message: Operation, x: Tensor) -> None:
        """Hand over to the rank that needs it, without waiting for it."""
        to = self.owner[message.stage]
        if to == self.rank:
            self.here[message] = x
        else:
            channel = self.up if to > self.rank else self.down
            x = x.contiguous()
            self.sending.append((dist.isend(x, self.peers[to], channel), x))  # kept alive until it is gone

    def receive(self, message: Operation, like: Callable[[], Tensor]) -> Tensor:
        """What `message` names; `like()` makes room for it. Waits until it is here."""
        step = {"F": -1, "B": 1}[message.kind]
        sender = self.owner[message.stage + step]
        while message not in self.here:
            room = like()
            channel = self.down if sender > self.rank else self.up
            dist.irecv(room, self.peers[sender], channel).wait()
            self.here[self.waiting[sender].popleft()] = room
        return self.here.pop(message)

    def end(self) -> None:
        """Wait until everything that was sent has left."""
        for work, _ in self.sending:
            work.wait()
        self.sending.clear()


class Pipeline:
    """Stages of a model on the ranks of a group, trained after a schedule: gradients are those of the whole batch.

    Args:
        stages: this rank's stages by number. The first takes rows of the inputs, the last also rows of the targets and
            gives a mean loss; what passes between them is (rows, *shape) of the dtype of the weights.
        schedule: of all ranks, from `labkit.model_parallel.schedules` or your own.
        later: what each stage puts off, for schedules with W.
        weigh: from targets to the number of them that count, by which the losses of micro-batches are averaged.
        record: note what this rank does when, for `events()`.

    Raises:
        ValueError: for a schedule of another number of ranks or one that never ends, and for stages it puts elsewhere.
    """

    def __init__(
        self,
        stages: Mapping[int, nn.Module],
        schedule: Sequence[Sequence[Sequence]],
        shape: Sequence[int],
        *,
        group: Group = None,
        later: Mapping[int, Later] | None = None,
        weigh: Callable[[Tensor], Tensor] | None = None,
        record: bool = False,
    ):
        self.rank, ranks = dist.get_rank(group), dist.get_world_size(group)
        check_world(schedule, ranks)
        stages_in_all, self.micro_batches = check_schedule(schedule)
        self.last = stages_in_all - 1
        self.row = [Operation(*operation) for operation in schedule[self.rank]]
        self.stages, self.shape, self.group = dict(stages), tuple(shape), group
        check_stages(self.stages, [stage for stage, rank in enumerate(owners(schedule)) if rank == self.rank])
        self.later, self.weigh = later or {}, weigh or len
        self.splits = any(operation.kind == "W" for operation in self.row)
        self.wires = Wires([[Operation(*x) for x in row] for row in schedule], group)
        self.recorder = Recorder() if record else None
        first = next(self.parameters(), torch.empty(0, device=device()))  # a stage may have no weights
        self.device, self.dtype = first.device, first.dtype

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of the whole batch, on every rank; the gradients are added to those that are there.

        Args:
            inputs, targets: the whole batch, on every rank the same; what a rank does not need it does not look at.

        Raises:
            ValueError: if the micro-batches do not divide the batch.
        """
        check_batch(inputs, targets, self.micro_batches)
        inputs, targets = inputs.to(self.device), targets.to(self.device)
        self.inputs, self.targets = (x.chunk(self.micro_batches) for x in (inputs, targets))
        # In double precision: a third of a batch is no number of single precision, in which counts would be divided.
        asked = [torch.as_tensor(self.weigh(part)).double() for part in (*self.targets, targets)]
        self.shares = [each / asked[-1] for each in asked[:-1]]
        self.loss = torch.zeros((), dtype=self.dtype, device=self.device)
        self.kept: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self.put_off: dict[tuple[int, int], list[Callable[[], None]]] = {}
        self.wires.begin()
        for operation in self.row:
            {"F": self.forward, "B": self.backward, "W": self.weights}[operation.kind](operation)
        self.wires.end()
        dist.broadcast(self.loss, self.wires.peers[self.wires.owner[self.last]], group=self.group)
        return self.loss

    def train(self, batches: Iterable[tuple[Tensor, Tensor]], optimizer: torch.optim.Optimizer) -> list[float]:
        """A step for each batch; the losses, on every rank. Give an optimizer of this rank's `parameters()`."""
        losses = []
        for inputs, targets in batches:
            optimizer.zero_grad()
            losses.append(self.step(inputs, targets))
            optimizer.step()
        return [float(loss) for loss in losses]

    def forward(self, operation: Operation) -> None:
        """One stage on one micro-batch: take the activations, compute, pass on."""
        _, stage, i = operation
        x = self.received(operation).requires_grad_() if stage else self.inputs[i]
        with self.noting("compute", operation):
            if stage < self.last:
                result = self.stages[stage](x)
            else:
                result = self.stages[stage](x, self.targets[i]) * self.shares[i]
                self.loss += result.detach()
        self.kept[stage, i] = (x, result)
        if stage < self.last:
            self.wires.send(self.wires.message(operation), result.detach())

    def backward(self, operation: Operation) -> None:
        """The gradients of one stage on one micro-batch; with W in the schedule, those of its weights are put off."""
        _, stage, i = operation
        grad = self.received(operation) if stage < self.last else None
        x, result = self.kept.pop((stage, i))
        with self.noting("compute", operation):
            if result.requires_grad:  # it does not where all is frozen, up to here
                result.backward(grad)
            put_off = self.later[stage].take() if stage in self.later else []
            if self.splits:
                self.put_off[stage, i] = put_off
            else:
                run(put_off)
        if stage:
            self.wires.send(self.wires.message(operation), torch.zeros_like(x) if x.grad is None else x.grad)

    def weights(self, operation: Operation) -> None:
        """The gradients of weights that were put off."""
        with self.noting("compute", operation):
            run(self.put_off.pop(operation[1:]))

    def received(self, message: Operation) -> Tensor:
        """What another stage sent; a rank that waits for it has nothing to do."""
        rows = len(self.inputs[message.micro_batch])
        with self.noting("idle", message):
            return self.wires.receive(
                message, lambda: torch.empty(rows, *self.shape, dtype=self.dtype, device=self.device)
            )

    def noting(self, kind: str, operation: Operation) -> AbstractContextManager:
        """Note the block that follows in the timeline, if there is one."""
        return self.recorder(kind, str(operation)) if self.recorder else nullcontext()

    def events(self) -> list[Event]:
        """What this rank did since it was asked last: operations by name, as "F0.3", and waiting as "idle"."""
        if not self.recorder:
            raise ValueError("nothing was noted: make the Pipeline with record=True")
        events = self.recorder.events()
        self.recorder.clear()
        return events

    def parameters(self) -> Iterator[nn.Parameter]:
        """The weights of this rank's stages, each once."""
        yield from nn.ModuleList(self.stages.values()).parameters()


def run(work: Sequence[Callable[[], None]]) -> None:
    """Do what was put off."""
    for one in work:
        one()


def check_world(schedule: Sequence[Any], ranks: int) -> None:
    """Refuse a schedule for another number of ranks."""
    if len(schedule) != ranks:
        raise ValueError(f"the schedule is for {len(schedule)} ranks and there are {ranks}: make one for {ranks}")


def check_stages(stages: Mapping[int, nn.Module], wanted: Sequence[int]) -> None:
    """Refuse stages that are not those which the schedule puts on this rank."""
    if sorted(stages) != list(wanted):
        raise ValueError(f"the schedule puts the stages {list(wanted)} on this rank, which has {sorted(stages)}")


def check_batch(inputs: Tensor, targets: Tensor, micro_batches: int) -> None:
    """Refuse a batch that micro-batches do not divide: their losses could be averaged, but not their speed."""
    if len(inputs) != len(targets):
        raise ValueError(f"{len(inputs)} rows of inputs and {len(targets)} of targets: give one for each")
    if len(inputs) % micro_batches or not len(inputs):
        raise ValueError(
            f"{len(inputs)} rows do not divide into {micro_batches} micro-batches: give a multiple of {micro_batches}"
        )
