"""What lies in the memory of one rank, counted from the tensors that are there."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Report:
    """Bytes on one rank: what stays between two steps, and the most that was there for a moment.

    `optimizer` counts states and, with mixed precision, the precise copy of the weights; `mapped` what lies in files.
    `peak_parameters` and `peak_gradients` are vectors that were gathered, or not yet reduced, at the same time.
    """

    stage: int
    rank: int
    ranks: int
    parameters: int
    gradients: int
    optimizer: int
    mapped: int
    peak_parameters: int
    peak_gradients: int

    @property
    def total(self) -> int:
        """What stays in memory between two steps."""
        return self.parameters + self.gradients + self.optimizer

    @property
    def parts(self) -> dict[str, int]:
        """The same by what it is for."""
        return {"parameters": self.parameters, "gradients": self.gradients, "optimizer": self.optimizer}

    def __str__(self) -> str:
        lone = ", so nothing is split" if self.ranks == 1 else ""
        parts = f"parameters {self.parameters:,} + gradients {self.gradients:,} + optimizer {self.optimizer:,}"
        return f"ZeRO-{self.stage}, rank {self.rank} of {self.ranks}{lone}: {parts} = {self.total:,} bytes"


def measured(zero: Any) -> Report:
    """The report of a `Zero`, now."""
    trained, (held, arriving) = zero.trained, zero._meters
    kept = [*zero.model.parameters(), *(shard.own for shard in zero.shards)]
    gradients = [each for s in trained for each in (s.gradient, s.gradients, *(p.grad for p in s.flat.parameters))]
    states = state_tensors(zero.optimizer)
    masters = [shard.weights for shard in trained if shard.weights.data_ptr() != shard.own.data_ptr()]
    mapped = getattr(zero.optimizer, "mapped_bytes", 0)
    return Report(
        zero.stage,
        zero.exchange.rank,
        zero.exchange.ranks,
        bytes_of(kept),
        bytes_of(gradients),
        bytes_of([*states, *masters]) - mapped,
        mapped,
        held.most,
        arriving.most,
    )


def bytes_of(tensors: Iterable[Any]) -> int:
    """The bytes of memory behind tensors, each storage once; views of one storage are one."""
    storages = {}
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            storage = tensor.untyped_storage()
            storages[storage._cdata] = storage.nbytes()
    return sum(storages.values())


def state_tensors(optimizer: Any) -> list[Tensor]:
    """All tensors that an optimizer remembers."""
    return [each for state in optimizer.state.values() for each in state.values() if isinstance(each, Tensor)]
