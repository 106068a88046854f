"""Buckets: gradients side by side in one buffer, so that one message carries many of them."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

MODES = ("flat", "per_parameter", "buckets")
MB = 2**20
DEFAULT_MB = 25.0  # as in torch
LAST_MB = 1.0  # of the bucket that leaves last: no backward pass goes on behind which it could travel


def partition(
    parameters: Iterable[nn.Parameter], mode: str = "buckets", bucket_mb: float | int | Any = DEFAULT_MB
) -> list[list[nn.Parameter]]:
    """Which parameters' gradients travel together, in the order in which the backward pass makes them: last ones first.

    "flat" puts all into one bucket, "per_parameter" each into its own, "buckets" as many as fit into `bucket_mb` MB,
    but the one that leaves last at most 1 MB: nothing is left to compute behind which it could travel. A bucket
    has one dtype and one device; a parameter that is larger than a bucket has one for itself.

    >>> [len(bucket) for bucket in partition(nn.Linear(512, 512).parameters(), bucket_mb=1)]
    [1, 1]

    Raises:
        ValueError: for another mode, or a size that is not positive.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if not bucket_mb > 0:
        raise ValueError(f"bucket_mb must be positive, got {bucket_mb!r}; for a bucket each take mode='per_parameter'")
    limit = {"flat": float("inf"), "per_parameter": 0, "buckets": bucket_mb * MB}[mode]
    alike: dict[Any, list[nn.Parameter]] = {}
    for parameter in reversed(list(parameters)):
        alike.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    cut = [bucket for group in alike.values() for bucket in _filled(group, limit)]
    return [*cut[:-1], *_last_small(cut[-1], LAST_MB * MB)] if mode == "buckets" and cut else cut


def _last_small(bucket: list[nn.Parameter], limit: float) -> list[list[nn.Parameter]]:
    """The last bucket in two, of which the second holds what fits into the limit, one parameter at least."""
    tail = len(_filled(bucket[::-1], limit)[0])
    return [part for part in (bucket[:-tail], bucket[-tail:]) if part]


def _filled(parameters: list[nn.Parameter], limit: float | int) -> list[list[nn.Parameter]]:
    buckets, room = [], 0.0
    for parameter in parameters:
        size = parameter.numel() * parameter.element_size()
        if not buckets or size > room:
            buckets.append([])
            room = limit
        buckets[-1].append(parameter)
        room -= size
    return buckets


class Bucket:
    """A buffer with the gradients of some parameters, and for each whether this backward pass has made it.

    Behind the gradients the buffer has one number for each parameter: 1 where a rank used it. The sum over the ranks
    tells whether anybody did, without a message of its own.
    """

    def __init__(self, parameters: list[nn.Parameter]):
        self.parameters = parameters
        sizes = [parameter.numel() for parameter in parameters]
        first = parameters[0]
        self.buffer = torch.zeros(sum(sizes) + len(sizes), dtype=first.dtype, device=first.device)
        *pieces, self.used = self.buffer.split([*sizes, len(sizes)])
        self.gradients = [piece.view_as(p) for piece, p in zip(pieces, parameters, strict=True)]
        self.missing, self.work = set(range(len(parameters))), None

    @property
    def bytes(self) -> int:
        """The size of what is sent."""
        return self.buffer.numel() * self.buffer.element_size()

    def open(self) -> None:
        """Wait for the gradients of the next backward pass; what is still on its way, after an error, comes first."""
        if self.work is not None:
            self.work.wait()
        self.missing, self.work = set(range(len(self.parameters))), None

    def put(self, place: int, scale: float) -> None:
        """Copy the gradient of parameter `place`, times `scale`, into the buffer; from now on it lives there.

        Scaled before the sum and not after it: sums of half precision would overflow.
        """
        parameter, own = self.parameters[place], self.gradients[place]
        if parameter.grad is own:  # it was added up in the buffer already
            own.mul_(scale)
        else:
            torch.mul(parameter.grad.detach(), scale, out=own)  # a graph behind it ends here (create_graph)
            parameter.grad = own
        self.missing.discard(place)

    def close(self, scale: float) -> None:
        """Make the buffer fit to be sent: what this backward pass did not make is an older gradient, or zero."""
        self.used.fill_(1)
        for place in sorted(self.missing):
            if self.parameters[place].grad is not None:  # from a pass without reduction
                self.put(place, scale)
            else:
                self.gradients[place].zero_()
                self.used[place] = 0

    def adopt(self) -> None:
        """Wait for the sum. Parameters that this rank did not use get what others found; None where nobody did."""
        self.work.wait()
        self.work = None
        for place in self.missing:
            if self.used[place] != 0:  # an accelerator waits here, but only for parameters left out
                self.parameters[place].grad = self.gradients[place]


def flatten(tensors: Iterable[Tensor]) -> list[tuple[Float[Tensor, " numbers"] | Tensor, list[Tensor]]]:
    """The tensors of each dtype and device end to end, and beside them the tensors that they came from."""
    alike: dict[Any, list[Tensor]] = {}
    for x in tensors:
        alike.setdefault((x.dtype, x.device), []).append(x)
    return [(torch.cat([x.detach().reshape(-1) for x in group]), group) for group in alike.values()]
