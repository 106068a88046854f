"""Reading digits in every way of this part: compressed, seldom, with stale gradients, with a server, after a death."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from labkit.data_parallel import elastic
from labkit.data_parallel.compression import Reducer
from labkit.data_parallel.links import Link, Wires
from labkit.data_parallel.local_sgd import LocalSGD
from labkit.data_parallel.parameter_server import Served, by_the_clock, serve, work
from labkit.data_parallel.practice import DigitsNet, digits
from labkit.ranks import rank
from labkit.training.sampling import ResumableSampler


class Trial(NamedTuple):
    """The loss over all pictures every twentieth step, bytes sent, drifts, and the longest gradient of this rank."""

    losses: list[float]
    sent: int
    drifts: list[float]
    longest: float


def train_digits(
    press: Any = None, period: int | None = None, *, steps: int = 120, lr: float = 0.5, link: Link | None = None
) -> Trial:
    """On each rank: steps of plain SGD with 32 pictures, through a compressor or with an average every `period` steps.

    The loss is that of this rank's weights; all ranks share them after an average.
    """
    net, data, link = DigitsNet(8), digits(), link or Wires()
    optimizer, losses, longest = torch.optim.SGD(net.parameters(), lr), [], 0.0
    local = LocalSGD(net, period, link) if period else None
    reducer = Reducer(net.parameters(), press, link) if press else None
    for step in range(steps):
        mine = pictures_of(step, link.rank, link.world)
        optimizer.zero_grad()
        net.loss(data.images[mine], data.labels[mine]).backward()
        longest = max(longest, torch.cat([p.grad.reshape(-1) for p in net.parameters()]).norm().item())
        if reducer:
            reducer.reduce()
        optimizer.step()
        if local:
            local.step()
        if step % 20 == 19:
            losses.append(net.loss(data.images, data.labels).item())
    return Trial(losses, link.sent, local.drifts if local else [], longest)


def pictures_of(step: int, part: int, parts: int, size: int = 32) -> Tensor:
    """The indices of the pictures that one of so many parts looks at in a step, in the order of the data."""
    return (torch.arange(size) + size * (parts * step + part)) % 1437


def stale_digits(seconds: list[float], lr: float, updates: int, damping: bool = False) -> Served:
    """Asynchronous training by the clock, with a worker for each of `seconds`."""
    net, data = DigitsNet(8), digits()

    def loss_of(worker: int, turn: int) -> Tensor:
        mine = pictures_of(turn, worker, len(seconds))
        return net.loss(data.images[mine], data.labels[mine])

    return by_the_clock(net, torch.optim.SGD(net.parameters(), lr), loss_of, seconds, updates, damping=damping)


def serve_digits(mode: str, trouble: str = "", updates: int = 40) -> tuple[Served, dict[str, Tensor]] | int:
    """On each rank, 0 being the server: what it saw and its weights, or how many gradients a worker pushed.

    With trouble, rank 2 is "slow", or falls "silent" after five gradients.
    """
    net, data, last = DigitsNet(8), digits(), rank() == 2

    def loss_of(turn: int) -> Tensor:
        if last and trouble == "slow":
            time.sleep(0.03)
        if last and trouble == "silent" and turn == 5:
            raise ConnectionAbortedError("this worker falls silent")
        mine = pictures_of(turn, rank() - 1, 2)
        return net.loss(data.images[mine], data.labels[mine])

    if rank() == 0:
        return serve(net, torch.optim.SGD(net.parameters(), 0.5), updates, mode, patience=4), net.state_dict()
    try:
        return work(net, loss_of, beat=0.3)
    except ConnectionAbortedError:
        return 5


def big_batch_digits(updates: int = 40) -> dict[str, Tensor]:
    """The weights that one process reaches with the pictures of both workers in each step."""
    net, data = DigitsNet(8), digits()
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    for step in range(updates):
        both = pictures_of(step, 0, 1, size=64)
        optimizer.zero_grad()
        net.loss(data.images[both], data.labels[both]).backward()
        optimizer.step()
    return net.state_dict()


def elastic_digits(folder: str | Path, dies: int | None = 25, steps: int = 40) -> elastic.Progress:
    """On each rank: training with Adam and a checkpoint every tenth step; rank 1 is killed once, before step `dies`."""
    data = digits()

    def build() -> tuple[DigitsNet, torch.optim.Adam]:
        net = DigitsNet(8)
        return net, torch.optim.Adam(net.parameters(), lr=0.01)

    def loss_of(net: DigitsNet, mine: Tensor) -> Tensor:
        return net.loss(data.images[mine], data.labels[mine])

    strike = None if dies is None else elastic.die_once(folder, dies, 1)
    return elastic.train(folder, build, loss_of, 1437, batch=32, steps=steps, every=10, before_step=strike)


def undisturbed_digits(steps: int = 40) -> list[float]:
    """The losses of the same training in one process, without checkpoints, ranks or deaths."""
    net, data, losses = DigitsNet(8), digits(), []
    optimizer, draws = torch.optim.Adam(net.parameters(), lr=0.01), iter(ResumableSampler(1437, 32, 0))
    for _ in range(steps):
        mine = next(draws)
        optimizer.zero_grad()
        loss = net.loss(data.images[mine], data.labels[mine])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
