"""Checks that look at the numbers inside a tensor, and only where looking is cheap."""

from collections.abc import Callable

import torch
from torch import Tensor


def holds(x: Tensor, condition: Callable[[Tensor], Tensor]) -> bool:
    """Whether `condition(x)` is true, or True where nobody can look without harm.

    That is on an accelerator, which would have to finish all its work first, while torch compiles, inside
    `torch.func.vmap` and on fake tensors, whose numbers nobody knows.

    >>> holds(torch.tensor([1.0, 2.0]), lambda x: (x > 1).all())
    False
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return True
    try:
        return bool(condition(x.detach()))
    except RuntimeError:  # vmap and fake tensors refuse to become a bool
        return True


def refuse_not_finite(**inputs: Tensor) -> None:
    """Nothing, when all numbers are finite; otherwise an error that names the input and the place of the first bad one.

    A sum is finite only if every number in it is, and costs a single pass. Looked at where `holds` looks.

    >>> refuse_not_finite(query=torch.tensor([[0.0, float("nan")]]))
    Traceback (most recent call last):
    ...
    ValueError: query holds nan at (0, 1), 1 such number in all: it would spread to everything that looks at it

    Raises:
        ValueError: naming the input, the value and its index.
    """
    for name, x in inputs.items():
        if holds(x, lambda x: x.sum().isfinite()) or holds(x, lambda x: x.isfinite().all()):
            continue
        x = x.detach()
        bad = ~x.isfinite()
        place, count = tuple(bad.nonzero()[0].tolist()), int(bad.sum())
        numbers = f"{count} such number{'s' if count > 1 else ''} in all"
        raise ValueError(
            f"{name} holds {float(x[place])} at {place}, {numbers}: it would spread to everything that looks at it"
        )
