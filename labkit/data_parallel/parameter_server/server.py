"""Rank 0 of a parameter server."""

import contextlib
import time
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn

from labkit.data_parallel.parameter_server.messages import (
    BODY,
    HEADER,
    PULL,
    PUSH,
    Flat,
    Push,
    Served,
    flat_weights,
    size_of,
    step_with,
)

MODES = ("synchronous", "asynchronous")
_LAST_WORDS: list[Any] = []  # a message whose handle is forgotten is not sent, and these may be read much later


def serve(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | Any,
    updates: int,
    mode: str = "synchronous",
    *,
    damping: bool = False,
    patience: float | int = 10.0,
) -> Served:
    """Rank 0's part: answer the workers until so many updates are made or none is left, then tell them to stop.

    Args:
        damping: divide a gradient by 1 + its staleness (with SGD: a smaller step for old news).
        patience: seconds without a sign of life after which a worker counts as lost; the others go on.

    Raises:
        ValueError: for another mode.

    Source: Zhang et al. (2016), Staleness-aware async-SGD, section 3, for the damping.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {' or '.join(MODES)}, got {mode!r}")
    server = _Server(model, optimizer, updates, mode == "synchronous", damping, patience)
    return server.run()


class _Server:
    """The state of the server: who is there, who waits for weights, and gradients that wait for the others'."""

    def __init__(self, model: nn.Module, optimizer: Any, updates: int, together: bool, damping: bool, patience: float):
        self.model, self.optimizer, self.updates = model, optimizer, updates
        self.together, self.damping, self.patience = together, damping, patience
        self.begin = time.monotonic()
        self.first = time.time_ns()  # versions count from a number that no other server has
        self.heard = dict.fromkeys(range(1, distributed.get_world_size()), self.begin)
        self.waiting: list[int] = []
        self.pushed: dict[int, tuple[Flat, int]] = {}
        self.seen = Served()

    def run(self) -> Served:
        while self.seen.updates < self.updates and self.heard:
            self._listen()
            self._forget_the_silent()
            if self.together and self.heard and self.pushed.keys() >= self.heard.keys():
                self._step({worker: self.pushed[worker] for worker in sorted(self.pushed)})
            self._answer()
        self._dismiss()
        return self.seen

    def _listen(self) -> None:
        """One message, from whoever comes first: a sign of life in any case. Without any, all are lost."""
        header = torch.zeros(2, dtype=torch.int64)
        request = distributed.irecv(header, tag=HEADER)
        try:
            request.wait(timedelta(seconds=self.patience))
        except RuntimeError:
            return self._lose(list(self.heard))
        worker, (kind, number) = request._source_rank(), header.tolist()
        version = number - self.first  # under 0: of an earlier server, which has told it to stop, or will
        self.heard[worker] = time.monotonic()
        if worker in self.seen.lost:
            self.seen.lost.remove(worker)
        if kind == PULL and (version >= 0 or not number):
            self.waiting.append(worker)
        if kind == PUSH:
            self._receive(worker, version)

    def _receive(self, worker: int, version: int) -> None:
        """The gradient that was announced, and the loss behind it."""
        body = torch.empty(size_of(self.model) + 1)
        try:
            distributed.irecv(body, worker, tag=BODY).wait(timedelta(seconds=self.patience))
        except RuntimeError:  # it died in the middle of a message
            return self._lose([worker])
        if version >= 0 and self.seen.updates < self.updates:
            self._take(worker, version, body)

    def _take(self, worker: int, version: int, body: Flat) -> None:
        if not self.together:
            self._step({worker: (body, version)})
        elif version == self.seen.updates:  # one that comes too late for its round is dropped
            self.pushed[worker] = (body, version)

    def _step(self, pushed: dict[int, tuple[Flat, int]]) -> None:
        """One update with the mean of these gradients, added in the order of the workers."""
        total = torch.zeros(size_of(self.model))
        for worker, (body, version) in pushed.items():
            staleness = self.seen.updates - version
            total += body[:-1] / (1 + staleness) if self.damping else body[:-1]
            second = time.monotonic() - self.begin
            self.seen.pushes.append(Push(worker, staleness, float(body[-1]), second))
        step_with(self.model, self.optimizer, total / len(pushed))
        self.seen.updates += 1
        self.pushed = {}

    def _answer(self) -> None:
        """Give weights to all who wait, but for those whose gradient of this round is here already."""
        if self.seen.updates == self.updates:
            return
        weights = flat_weights(self.model).float().cpu()
        for worker in [one for one in self.waiting if one in self.heard and one not in self.pushed]:
            self.waiting.remove(worker)
            with contextlib.suppress(RuntimeError):  # it died waiting
                distributed.send(torch.tensor([self.first + self.seen.updates, 1]), worker, tag=HEADER)
                distributed.send(weights, worker, tag=BODY)

    def _forget_the_silent(self) -> None:
        limit = time.monotonic() - self.patience
        self._lose([worker for worker, when in self.heard.items() if when < limit])

    def _lose(self, workers: list[int]) -> None:
        """They are not waited for. What they asked for is kept: one that comes back does not ask again."""
        for worker in workers:
            del self.heard[worker]
            self.pushed.pop(worker, None)
            self.seen.lost.append(worker)

    def _dismiss(self) -> None:
        """Tell all to stop, the lost too: they hear it when they come back.

        Nobody is told before all who live have asked: who is told may serve another server next, and what it asks then
        must not be heard here.
        """
        while self.heard.keys() - set(self.waiting):
            self._listen()
            self._forget_the_silent()
        stop = torch.tensor([self.seen.updates, 0])
        for worker in self.seen.lost:
            with contextlib.suppress(RuntimeError):
                _LAST_WORDS.append(distributed.isend(stop, worker, tag=HEADER))
        for worker in self.heard:
            with contextlib.suppress(RuntimeError):  # it died waiting
                distributed.send(stop, worker, tag=HEADER)
