"""How a tensor gets from one rank to another: over torch.distributed, or through mailboxes inside one process.

A collective is written once, on top of `send`, `receive` and `exchange`, and runs over both.
"""

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Deadlock(RuntimeError):
    """Every rank waits for another one."""


class Link:
    """One rank's connection to the others; `sent` counts the bytes that it has sent."""

    rank: int
    world: int
    sent: int = 0

    def send(self, x: Tensor, to: int) -> None:
        """Give `x` to the rank `to`, and wait until it is taken."""
        self.exchange(x, to, None, None)

    def receive(self, like: Tensor, source: int) -> Tensor:
        """A tensor of the shape and dtype of `like`, from the rank `source`."""
        return self.exchange(None, None, like, source)

    def exchange(self, x: Tensor | None, to: int | None, like: Tensor | None, source: int | None) -> Tensor | None:
        """Send `x` and receive something like `like` at the same time: a ring of ranks that all do so cannot hang."""
        raise NotImplementedError


class Wires(Link):
    """The link of this process over torch.distributed (gloo or nccl).

    Args:
        ranks: the global ranks that take part, in their order; all of them if left out.
        group: the process group of the messages; the default one if left out.
    """

    def __init__(self, ranks: Sequence[int] | None = None, group: Any = None):
        from torch import distributed

        self.distributed, self.group = distributed, group
        self.ranks = list(range(distributed.get_world_size())) if ranks is None else list(ranks)
        if distributed.get_rank() not in self.ranks:
            raise ValueError(f"rank {distributed.get_rank()} is not one of the ranks {self.ranks} of this link")
        self.rank, self.world = self.ranks.index(distributed.get_rank()), len(self.ranks)

    def exchange(self, x: Tensor | None, to: int | None, like: Tensor | None, source: int | None) -> Tensor | None:
        """See `Link`. Tensors without elements are not sent: both sides know that there is nothing."""
        into = None if like is None else torch.empty_like(like, memory_format=torch.contiguous_format)
        work = []
        if x is not None and x.numel():
            work.append(self._operation("isend", x.detach().contiguous(), to))
            self.sent += x.numel() * x.element_size()
        if into is not None and into.numel():
            work.append(self._operation("irecv", into, source))
        for request in self.distributed.batch_isend_irecv(work) if work else ():
            request.wait()
        return into

    def _operation(self, name: str, x: Tensor, other: int) -> Any:
        return self.distributed.P2POp(getattr(self.distributed, name), x, self.ranks[other], self.group)


class Simulated(NamedTuple):
    """What every rank returned, the messages (sender, receiver, bytes) in each sender's order, bytes sent by rank."""

    results: list[Any]
    messages: list[tuple[int, int, int]]
    sent: list[int]


def simulate(collective: Callable, inputs: Sequence[Any], *args: Any, **options: Any) -> Simulated:
    """Run `collective(inputs[rank], rank, world, link, …)` for every rank, as threads of this process.

    >>> simulate(lambda x, rank, world, link: link.exchange(x, 1 - rank, x, 1 - rank), [torch.ones(1), torch.zeros(1)])
    Simulated(results=[tensor([0.]), tensor([1.])], messages=[(0, 1, 4), (1, 0, 4)], sent=[4, 4])

    Raises:
        Deadlock: if every rank waits for another one; who waits for whom is named.
        ValueError: if a rank expects another shape or dtype than it is sent. Whatever a rank raises is raised here.
    """
    office = _Office(len(inputs))
    results, errors = [None] * office.world, [None] * office.world

    def run(rank: int) -> None:
        try:
            results[rank] = collective(inputs[rank], rank, office.world, _Mailbox(office, rank), *args, **options)
        except BaseException as error:  # it is raised again, in the thread that asked
            errors[rank] = error
        finally:
            office.leave(rank)

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(office.world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    raised = [error for error in errors if error is not None]
    if raised:  # a deadlock may be what another rank's error led to
        raise next((error for error in raised if not isinstance(error, Deadlock)), raised[0])
    messages = sorted(office.messages, key=lambda message: message[0])
    sent = [sum(size for sender, _, size in messages if sender == rank) for rank in range(office.world)]
    return Simulated(results, messages, sent)


class _Office:
    """The mailboxes between all ranks; a sender waits until its message is taken, as with large messages for real."""

    def __init__(self, world: int):
        self.world, self.condition = world, threading.Condition()
        self.boxes: dict[tuple[int, int], deque] = defaultdict(deque)
        self.put, self.taken = Counter(), Counter()
        self.messages: list[tuple[int, int, int]] = []
        self.present, self.waiting, self.deadlock = set(range(world)), {}, ""

    def leave(self, rank: int) -> None:
        with self.condition:
            self.present.discard(rank)
            self.condition.notify_all()

    def wait(self, rank: int, other: int, ready: Callable[[], bool]) -> None:
        self.waiting[rank] = (other, ready)
        while not ready():
            if not self.deadlock and self._stuck():
                self.deadlock = ", ".join(f"rank {r} waits for rank {self.waiting[r][0]}" for r in sorted(self.present))
                self.condition.notify_all()
            if self.deadlock:
                raise Deadlock(f"nobody can go on: {self.deadlock}; use exchange, or let one side receive first")
            self.condition.wait()
        del self.waiting[rank]

    def _stuck(self) -> bool:
        return self.present <= self.waiting.keys() and not any(self.waiting[rank][1]() for rank in self.present)


class _Mailbox(Link):
    """The simulated link of one rank."""

    def __init__(self, office: _Office, rank: int):
        self.office, self.rank, self.world = office, rank, office.world

    def exchange(self, x: Tensor | None, to: int | None, like: Tensor | None, source: int | None) -> Tensor | None:
        office, got = self.office, None
        with office.condition:
            number = self._post(x, to) if x is not None and x.numel() else None
            if like is not None and not like.numel():
                got = torch.empty_like(like)
            elif like is not None:
                way = (source, self.rank)
                office.wait(self.rank, source, lambda: bool(office.boxes[way]))
                got = office.boxes[way].popleft()
                office.taken[way] += 1
                office.condition.notify_all()
                self._refuse_other_shape(got, like, source)
            if number is not None:
                way_out = (self.rank, to)
                office.wait(self.rank, to, lambda: office.taken[way_out] >= number)
        return got

    def _post(self, x: Tensor, to: int) -> int:
        way, size = (self.rank, to), x.numel() * x.element_size()
        self.office.boxes[way].append(x.detach().clone())
        self.office.messages.append((*way, size))
        self.office.put[way] += 1
        self.sent += size
        self.office.condition.notify_all()
        return self.office.put[way]

    def _refuse_other_shape(self, got: Tensor, like: Tensor, source: int) -> None:
        if (got.shape, got.dtype) != (like.shape, like.dtype):
            raise ValueError(
                f"rank {self.rank} expects {tuple(like.shape)} of {like.dtype}, but rank {source} sent "
                f"{tuple(got.shape)} of {got.dtype}: all ranks must bring tensors of one shape and dtype"
            )
