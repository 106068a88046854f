"""What server and workers tell each other, and a model's weights as one long vector."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

PULL, PUSH, BEAT = 0, 1, 2  # kinds of messages
HEADER, BODY = 11, 12  # the tags of their two parts
Flat = Float[Tensor, " numbers"]


class Push(NamedTuple):
    """A gradient that was used: whose, how many updates happened since its weights were pulled, its loss, when."""

    worker: int
    staleness: int
    loss: float
    second: float


@dataclass
class Served:
    """What the server saw: the gradients it used in their order, workers that fell silent, and how many updates."""

    pushes: list[Push] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    updates: int = 0

    def staleness(self, worker: int | None = None) -> list[int]:
        """How stale each gradient was, of one worker or of all."""
        return [push.staleness for push in self.pushes if worker in (None, push.worker)]


def flat_weights(model: nn.Module) -> Flat:
    """A copy of all weights, end to end."""
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def flat_gradient(model: nn.Module) -> Flat:
    """All gradients, end to end; zeros where there is none."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in model.parameters()])


@torch.no_grad()
def put_weights(model: nn.Module, flat: Flat) -> None:
    """Set all weights from one vector."""
    for p, piece in zip(model.parameters(), flat.split([p.numel() for p in model.parameters()]), strict=True):
        p.copy_(piece.view_as(p))


def step_with(model: nn.Module, optimizer: Any, flat: Flat) -> None:
    """One step of the optimizer with this gradient."""
    for p, piece in zip(model.parameters(), flat.split([p.numel() for p in model.parameters()]), strict=True):
        p.grad = piece.view_as(p).to(p, copy=True)
    optimizer.step()


def size_of(model: nn.Module) -> int:
    """How many numbers the weights are."""
    return sum(p.numel() for p in model.parameters())
