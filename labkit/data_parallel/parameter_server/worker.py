"""The other ranks of a parameter server."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, distributed, nn

from labkit.data_parallel.parameter_server.messages import (
    BEAT,
    BODY,
    HEADER,
    PULL,
    PUSH,
    flat_gradient,
    put_weights,
    size_of,
)


def work(model: nn.Module, loss_of: Callable[[int], Tensor], *, beat: float | int = 1.0) -> int:
    """A worker's part: pull, compute the gradient of `loss_of(turn)`, push, until the server says stop.

    Gives how many gradients it pushed. A thread tells the server every `beat` seconds that this process lives, also
    while it computes or waits for the others; let the server's patience be several beats.
    """
    turn, line = 0, threading.Lock()
    with _heartbeat(line, beat):
        while (version := _pull(model, line)) is not None:
            model.zero_grad()
            loss = loss_of(turn)
            loss.backward()
            body = torch.cat([flat_gradient(model), loss.detach().view(1)]).float().cpu()
            with line:
                distributed.send(torch.tensor([PUSH, version]), 0, tag=HEADER)
                distributed.send(body, 0, tag=BODY)
            turn += 1
    return turn


def _pull(model: nn.Module, line: Any) -> int | None:
    """Ask for weights and take them; their version, or None when it is over."""
    with line:
        distributed.send(torch.tensor([PULL, 0]), 0, tag=HEADER)
    answer, weights = torch.zeros(2, dtype=torch.int64), torch.empty(size_of(model))
    distributed.recv(answer, 0, tag=HEADER)
    version, go_on = answer.tolist()
    if not go_on:
        return None
    distributed.recv(weights, 0, tag=BODY)
    put_weights(model, weights)
    return version


@contextlib.contextmanager
def _heartbeat(line: Any, beat: float | int) -> Iterator[None]:
    """A thread that says every `beat` seconds that this worker lives; a message of its own never falls into another."""
    over = threading.Event()

    def say() -> None:
        with contextlib.suppress(RuntimeError):  # the server is gone: the worker will notice
            while not over.wait(beat):
                with line:
                    if not over.is_set():
                        distributed.send(torch.tensor([BEAT, 0]), 0, tag=HEADER)

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
