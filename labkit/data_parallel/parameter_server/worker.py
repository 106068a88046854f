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
    turn, line, version, ear = 0, threading.Lock(), 0, _listen()
    with _heartbeat(line, beat):
        while (version := _pull(model, line, version, *ear)) is not None:
            ear = _listen()
            model.zero_grad()
            loss = loss_of(turn)
            loss.backward()
            body = torch.cat([flat_gradient(model), loss.detach().view(1)]).float().cpu()
            if _over(ear[0]):  # taken for lost, and nobody is left to whom it could be pushed
                ear[1].wait()
                break
            with line:
                distributed.send(torch.tensor([PUSH, version]), 0, tag=HEADER)
                distributed.send(body, 0, tag=BODY)
            turn += 1
    return turn


def _listen() -> tuple[Tensor, Any]:
    """Be ready for the server's next word, which may be that it is over, also before it is asked."""
    answer = torch.tensor([0, -1])
    return answer, distributed.irecv(answer, 0, tag=HEADER)


def _over(answer: Tensor) -> bool:
    """Whether the word is there, and is to stop."""
    return answer[1].item() == 0


def _pull(model: nn.Module, line: Any, version: int, answer: Tensor, coming: Any) -> int | None:
    """Ask for weights newer than `version` and take them; their version, or None when it is over."""
    if not _over(answer):
        with line:
            distributed.send(torch.tensor([PULL, version]), 0, tag=HEADER)
    coming.wait()
    if _over(answer):
        return None
    weights = torch.empty(size_of(model))
    distributed.recv(weights, 0, tag=BODY)
    put_weights(model, weights)
    return int(answer[0])


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
