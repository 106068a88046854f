"""The two collectives that ZeRO is made of, by messages from rank to rank, and the bytes that this rank sent.

An all-reduce is a reduce-scatter and an all-gather. ZeRO keeps the two apart, and works on shards in between.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

Vector = Float[Tensor, " elements"]
_HALVES = (torch.float16, torch.bfloat16)


class Exchange:
    """Messages between the ranks of a group; `sent` counts the bytes that this one has sent, by collective.

    Without a process group it is a world of 1, in which nothing is sent.
    """

    def __init__(self, group: Any = None):
        self.launched = dist.is_available() and dist.is_initialized()
        self.group = group
        self.rank, self.ranks = (dist.get_rank(group), dist.get_world_size(group)) if self.launched else (0, 1)
        self.sent = {"reduce_scatter": 0, "all_gather": 0}

    def reduce_scatter(self, full: Vector) -> Callable[[], Vector]:
        """Begin to give every rank the mean of its shard; the function that is returned waits for ours.

        That returns it in its place in the vector, the rest of which is then of no use.

        Each rank sends every other one the part which that one owns: (n − 1) / n of the vector.
        """
        parts = full.chunk(self.ranks)
        own = parts[self.rank]
        if self.ranks == 1:
            return lambda: own
        self.sent["reduce_scatter"] += full.nbytes - own.nbytes
        if not self._by_messages(full):
            work = _single("reduce_scatter")(own, full, group=self.group, async_op=True)
            return lambda: (work.wait(), own.div_(self.ranks))[1]
        received = [own if other == self.rank else torch.empty_like(own) for other in range(self.ranks)]
        works = self._swap(parts, received)

        def finish() -> Vector:
            for work in works:
                work.wait()
            return _mean(own, [part for part in received if part is not own])

        return finish

    def all_gather(self, full: Vector, own: Vector) -> None:
        """Put the shards of all ranks into the full vector, in place; each sends its own to n − 1 others."""
        parts = full.chunk(self.ranks)
        if own.data_ptr() != parts[self.rank].data_ptr():
            parts[self.rank].copy_(own)
        if self.ranks == 1:
            return
        self.sent["all_gather"] += full.nbytes - own.nbytes
        if not self._by_messages(full):
            _single("all_gather")(full, own, group=self.group)
            return
        for work in self._swap([own] * self.ranks, parts):
            work.wait()

    def broadcast(self, tensor: Tensor) -> None:
        """Give every rank what rank 0 has, in place."""
        if self.ranks > 1:
            dist.broadcast(tensor, self._name(0), group=self.group)

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks, in place."""
        if self.ranks > 1:
            dist.all_reduce(tensor, group=self.group)
        return tensor

    def everybodys(self, thing: Any) -> list[Any]:
        """What each rank has, in order; small things only, they are pickled."""
        found = [thing] * self.ranks
        if self.ranks > 1:
            dist.all_gather_object(found, thing, group=self.group)
        return found

    def wait_for_all(self) -> None:
        """Go on when every rank has come here."""
        if self.ranks > 1:
            dist.barrier(group=self.group)

    def _by_messages(self, full: Tensor) -> bool:
        """On the CPU, messages take a third of the time of gloo's own collectives; nccl has its own for both."""
        return full.device.type == "cpu"

    def _swap(self, sent: Any, received: Any) -> list[Any]:
        """Exchange a tensor with every other rank, all of them at the same time."""
        works = []
        for step in range(1, self.ranks):
            to, source = (self.rank + step) % self.ranks, (self.rank - step) % self.ranks
            works.append(dist.isend(sent[to], self._name(to), group=self.group))
            works.append(dist.irecv(received[source], self._name(source), group=self.group))
        return works

    def _name(self, rank: int) -> int:
        return rank if self.group is None else dist.get_global_rank(self.group, rank)


def _mean(own: Vector, others: list[Vector]) -> Vector:
    """The mean, in place; half precision is added in float32. Only the owner adds, so nobody gets other numbers."""
    if own.dtype in _HALVES:
        return own.copy_(torch.stack([own, *others]).float().mean(0))
    for other in others:
        own += other
    return own.div_(1 + len(others))


def _single(name: str) -> Any:
    """The collective on one tensor: it was renamed in torch 2.13."""
    old = {"reduce_scatter": "reduce_scatter_tensor", "all_gather": "all_gather_into_tensor"}[name]
    return getattr(dist, f"{name}_single", None) or getattr(dist, old)
