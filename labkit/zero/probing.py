"""Whether an optimizer can work on shards: it must treat every element by itself."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

_LESSON = (
    "ZeRO cuts parameters by elements, so an optimizer must treat every element by itself, as SGD, Adam and Lion do"
)


def refuse_whole(optimizer_class: Callable[..., Any], settings: dict[str, Any]) -> None:
    """Try the optimizer on a matrix and on its halves as vectors, and refuse it if they do not move alike.

    Raises:
        ValueError: if it needs whole parameters (Muon, Adafactor, LARS), or another kind of step (L-BFGS, sparse Adam).
    """
    optimizer_class = getattr(optimizer_class, "inner", optimizer_class)  # of `offloaded`: what does the work
    name = getattr(optimizer_class, "__name__", type(optimizer_class).__name__)
    draw = torch.Generator().manual_seed(0)
    matrix, slope = (torch.randn(4, 6, generator=draw) for _ in range(2))
    whole, halves = nn.Parameter(matrix.clone()), [nn.Parameter(half.clone()) for half in matrix.view(-1).chunk(2)]
    try:
        _two_steps(optimizer_class([whole], **settings), [whole], [slope])
        _two_steps(optimizer_class(halves, **settings), halves, slope.view(-1).chunk(2))
    except TypeError as error:
        if "closure" not in str(error):  # a wrong setting is best said by the optimizer itself
            raise
        raise ValueError(f"{name} asks for a closure, so it cannot be sharded: {_LESSON}") from error
    except (ValueError, RuntimeError) as error:
        optimizer_class([nn.Parameter(matrix.clone())], **settings)  # settings that are wrong for everybody
        raise ValueError(f"{name} does not work on shards ({error}): {_LESSON}") from error
    if not torch.allclose(whole.detach().view(-1), torch.cat([half.detach() for half in halves]), rtol=1e-5, atol=1e-7):
        raise ValueError(
            f"{name} needs whole parameters: halves of a matrix moved otherwise than the matrix. {_LESSON}"
        )


def _two_steps(optimizer: Any, parameters: Any, slopes: Any) -> None:
    for parameter, slope in zip(parameters, slopes, strict=True):
        parameter.grad = slope.clone()
    optimizer.step()
    optimizer.step()
