"""Asynchronous training by a clock of its own, and how stale a gradient may be."""

import heapq
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from labkit.data_parallel.parameter_server.messages import (
    Push,
    Served,
    flat_gradient,
    flat_weights,
    put_weights,
    step_with,
)


def stable_step(staleness: int) -> float:
    """The largest step, in units of 1 / curvature, with which descent on gradients this stale does not grow.

    >>> [round(stable_step(tau), 3) for tau in (0, 1, 2, 10)]
    [2.0, 1.0, 0.618, 0.149]

    Source: Yang et al. (2021), PipeMare, lemma 1, for x ← x − α λ x delayed by τ: α λ < 2 sin(π / (4 τ + 2)).
    """
    return 2 * math.sin(math.pi / (4 * staleness + 2))


def by_the_clock(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | Any,
    loss_of: Callable[[int, int], Tensor],
    seconds: list[float] | list[int],
    updates: int,
    *,
    damping: bool = False,
) -> Served:
    """Asynchronous training in one process: the gradients are real, only the clock is not, so each run is the same.

    Worker w needs `seconds[w]` for a gradient of `loss_of(w, turn)`; messages take no time.
    """
    seen, fresh = Served(), flat_weights(model)
    events = [(duration, worker, 0, 0, fresh) for worker, duration in enumerate(seconds)]
    heapq.heapify(events)
    while seen.updates < updates:
        now, worker, turn, version, pulled = heapq.heappop(events)
        put_weights(model, pulled)
        model.zero_grad()
        loss = loss_of(worker, turn)
        loss.backward()
        staleness = seen.updates - version
        gradient = flat_gradient(model) / (1 + staleness * damping)
        put_weights(model, fresh)
        step_with(model, optimizer, gradient)
        fresh = flat_weights(model)
        seen.updates += 1
        seen.pushes.append(Push(worker, staleness, float(loss.detach()), float(now)))
        heapq.heappush(events, (now + seconds[worker], worker, turn + 1, seen.updates, fresh))
    return seen
