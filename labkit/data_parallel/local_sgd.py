"""Local SGD: every rank trains by itself for some steps, then all take the mean of their weights.

local = LocalSGD(model, period=8)      # on every rank; from here on all have the weights of rank 0
for batch in my_batches:
    model.loss(*batch).backward()
    optimizer.step()
    local.step()                       # every eighth time: the mean of all ranks' weights
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.data_parallel.collectives import broadcast, ring_all_reduce
from labkit.data_parallel.links import Link, Wires


def local_updates(examples: int, clients: int, epochs: int, batch: int | None = None) -> float:
    """How many steps a client of FedAvg makes between two averages: `epochs` times its examples over its batch.

    >>> local_updates(60_000, clients=100, epochs=5, batch=10)
    300.0

    Args:
        batch: examples in a step; None for all that the client has.

    Source: McMahan et al. (2017), Communication-efficient learning of deep networks from decentralized data, u in
        section 3 (u = E n / (K B)).
    """
    return float(epochs) if batch is None else epochs * examples / (clients * batch)


class LocalSGD:
    """Averages the weights of all ranks every `period`-th step; in between nothing is sent.

    With period 1 and plain SGD this is synchronous training exactly; the optimizer's state (momentum, Adam's) stays
    each rank's own. Running averages, as of batch norm, are averaged too.

    Attributes:
        drifts: before each average, how far the ranks' weights lay from their mean (root mean square over the ranks
            of the distance). Stich (2019) bounds its square by 4 (period · lr)² times the gradients' mean square.
        averages: how often it averaged.

    Raises:
        ValueError: for a period that is not a whole number from 1.
    """

    def __init__(self, module: nn.Module, period: Any, link: Link | None = None):
        if isinstance(period, bool) or not isinstance(period, Integral) or period < 1:
            raise ValueError(f"period is the number of steps between two averages, from 1; got {period!r}")
        self.module, self.period, self.link = module, period, link or Wires()
        self.steps = self.averages = 0
        self.drifts: list[float] = []
        flat = broadcast(_flat(self._tensors()), self.link.rank, self.link.world, self.link)
        _put(flat, self._tensors())

    def step(self) -> bool:
        """Count a step of the optimizer, and average when it is time; whether it was."""
        self.steps += 1
        due = self.steps % self.period == 0
        if due:
            self.average()
        return due

    def average(self) -> None:
        """Give all ranks the mean of their weights; one more number travels, for the drift."""
        link, mine = self.link, _flat(self._tensors())
        mean = ring_all_reduce(mine, link.rank, link.world, link) / link.world
        apart = (mine - mean).square().sum().view(1)
        drift = (ring_all_reduce(apart, link.rank, link.world, link) / link.world).sqrt()
        _put(mean, self._tensors())
        self.drifts.append(float(drift))
        self.averages += 1

    def _tensors(self) -> list[Tensor]:
        buffers = [x for x in self.module.buffers() if x.is_floating_point()]
        return [x.detach() for x in (*self.module.parameters(), *buffers)]


def _flat(tensors: Sequence[Any]) -> Float[Tensor, " numbers"]:
    return torch.cat([x.reshape(-1) for x in tensors])


def _put(flat: Float[Tensor, " numbers"], tensors: Sequence[Any]) -> None:
    for x, piece in zip(tensors, flat.split([x.numel() for x in tensors]), strict=True):
        x.copy_(piece.view_as(x))
