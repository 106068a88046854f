"""Where a grid should end: at the farthest number, at a percentile, or where the squared error is least."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from labkit.compression.grid import by_group, code_range, from_codes, grid_of, quantize, to_codes

METHODS = ("min-max", "percentile", "mse")
Limits = tuple[Tensor, Tensor]


def limits(
    x: Float[Tensor, "*rows count"],
    bits: int,
    method: str = "mse",
    *,
    symmetric: bool = True,
    percent: float | int = 99.9,
    counts: Tensor | None = None,
) -> Limits:
    """Return (low, high) for each row of the last dimension.

    "min-max" clips nothing; "percentile" leaves `percent` of the numbers inside; "mse" takes what rounds with the least
    squared error. Symmetric limits are −high and high. `counts` says how often each number is meant, None: once.

    Raises:
        ValueError: for another method, numbers that are not finite, or none.
    Source: Nagel et al. (2021), "A white paper on neural network quantization", section 3.1.

    >>> low, high = limits(torch.tensor([[-1.0, 0.5, 3.0]]), 8, "min-max")
    >>> low.tolist(), high.tolist()
    ([-3.0], [3.0])
    """
    code_range(bits)
    if method not in METHODS:
        raise ValueError(f"method = {method!r}; choose one of {', '.join(METHODS)}")
    if not x.numel():
        raise ValueError("there are no numbers to calibrate on; send data through the model first")
    if not torch.isfinite(x).all():
        raise ValueError("calibration met NaN or infinity; find out where they come from before quantizing")
    x = x.detach().float()
    if method == "percentile":
        return percentile(x, percent, symmetric, counts)
    low, high = _outermost(x, symmetric)
    return least_error(x, low, high, bits, symmetric, counts=counts) if method == "mse" else (low, high)


def _outermost(x: Tensor, symmetric: bool) -> Limits:
    high = x.abs().amax(-1) if symmetric else x.amax(-1)
    return (-high, high) if symmetric else (x.amin(-1), high)


def percentile(
    x: Float[Tensor, "*rows count"], percent: float | int, symmetric: bool = True, counts: Tensor | None = None
) -> Limits:
    """Return limits with `percent` of each row inside; of what is left out, half is on each side.

    Raises:
        ValueError: for a percent outside 0 to 100.
    """
    if not 0 < percent <= 100:
        raise ValueError(f"percent = {percent!r}; give more than 0 and at most 100")
    if symmetric:
        high = _at(x.abs(), percent / 100, counts)
        return -high, high
    return _at(x, 0.5 - percent / 200, counts), _at(x, 0.5 + percent / 200, counts)


def _at(x: Tensor, share: float, counts: Tensor | None) -> Tensor:
    """Give the number below which this share of a row lies, between neighbours in proportion."""
    ordered, order = x.sort(dim=-1)
    upto = torch.ones_like(order).cumsum(-1) if counts is None else counts[order].cumsum(-1)
    place = share * (upto[..., -1:] - 1).double()
    below = torch.searchsorted(upto, place.floor().long(), right=True)
    above = torch.searchsorted(upto, place.ceil().long(), right=True)
    part = (place - place.floor()).to(x.dtype)
    return torch.lerp(ordered.gather(-1, below), ordered.gather(-1, above), part).squeeze(-1)


def least_error(
    x: Float[Tensor, "*rows count"],
    low: Tensor,
    high: Tensor,
    bits: int,
    symmetric: bool = True,
    tries: int = 40,
    counts: Tensor | None = None,
) -> Limits:
    """Return limits whose grid reads each row back with the least squared error, found in `tries` steps for each end.

    A narrower grid has a finer step and clips more: the error has a minimum between the two. Both ends are drawn in
    together. Those of an affine grid are also drawn in one by one (behind a ReLU or a GELU they have little in
    common), in two orders, of which the better is kept.
    """
    low, high = low.clamp_max(0), high.clamp_min(0)  # where every grid ends at the latest: 0 lies on it
    both, first, second = (True, True), (True, False), (False, True)
    orders = ((both,),) if symmetric else ((both, second, first), (second, first, both))
    best, kept = None, (low, high)
    for order in orders:
        ends = low, high
        for moving in order:
            ends, error = _drawn_in(x, ends, moving, tries, bits, symmetric, counts)
        better = torch.ones_like(error, dtype=torch.bool) if best is None else error < best
        best = error if best is None else torch.minimum(error, best)
        kept = tuple(torch.where(better, new, old) for new, old in zip(ends, kept, strict=True))
    return kept


def _drawn_in(
    x: Tensor, ends: Limits, moving: tuple[bool, bool], tries: int, bits: int, symmetric: bool, counts: Tensor | None
) -> tuple[Limits, Tensor]:
    """Draw the moving ends in, step by step towards 0; give for each row the best limits and their squared error."""
    best, kept = torch.full_like(ends[1], torch.inf), ends
    for part in torch.linspace(1, 1 / tries, tries).tolist():
        tried = tuple(part * end if moves else end for end, moves in zip(ends, moving, strict=True))
        error = squared_error(x, *tried, bits, symmetric=symmetric, counts=counts)
        better = error < best
        best = torch.where(better, error, best)
        kept = tuple(torch.where(better, new, old) for new, old in zip(tried, kept, strict=True))
    return kept, best


def squared_error(
    x: Float[Tensor, "*rows count"],
    low: Tensor,
    high: Tensor,
    bits: int,
    *,
    symmetric: bool = True,
    counts: Tensor | None = None,
) -> Float[Tensor, "*rows"]:
    """Return the sum of squared errors of each row when it is rounded to a grid with these limits.

    >>> float(squared_error(torch.tensor([0.5, 1.25, 4.0]), torch.tensor(-1.5), torch.tensor(1.5), 3))
    6.3125
    """
    step, zero = grid_of(low, high, bits, symmetric)
    step, zero = step.unsqueeze(-1), None if zero is None else zero.unsqueeze(-1)
    errors = (from_codes(to_codes(x, step, zero, bits), step, zero) - x).square_()
    return errors.sum(-1) if counts is None else (errors * counts).sum(-1)


def weight_limits(
    weight: Float[Tensor, "out in"],
    bits: int,
    method: str = "mse",
    *,
    symmetric: bool = True,
    per: str = "channel",
    group: Any = None,
) -> Limits:
    """Return limits of the shape of `scale`, for `quantize(weight, …, limits=…)`.

    Raises:
        ValueError: for what `quantize` refuses, or another method.

    >>> weight = torch.linspace(-1, 1, 65)[None] ** 5  # most of it near 0
    >>> [round(float(weight_limits(weight, 3, method)[1]), 2) for method in METHODS]
    [1.0, 1.0, 0.82]
    """
    grid = quantize(weight, bits, symmetric=symmetric, per=per, group=group)  # refuses what cannot be quantized
    rows = weight.reshape(1, 1, -1) if per == "tensor" else by_group(weight, grid.group)
    return limits(rows, bits, method, symmetric=symmetric)


class Observed:
    """What calibration data has sent through one place of a model: its range, and how often each number came.

    Numbers are counted with 12 significant bits, more than a grid can tell apart, so that millions of them fit into a
    short table, and the few far ones, which a sample would miss, are all there.

    >>> seen = Observed()
    >>> seen.add(torch.tensor([0.0, 6.0]))
    >>> [float(limit) for limit in seen.limits(8, "min-max")]
    [0.0, 6.0]
    """

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.count, self._numbers, self._counts = 0, None, None

    def add(self, x: Float[Tensor, "..."]) -> None:
        """Count the numbers of a tensor.

        Raises:
            ValueError: if it is empty, or holds NaN or infinity.
        """
        flat = x.detach().float().reshape(-1)
        if not flat.numel() or not torch.isfinite(flat).all():
            raise ValueError("calibration data is empty, NaN or infinite; look at the batch that was sent in")
        ends = torch.stack(flat.aminmax())
        numbers, counts = _rounded(flat).clamp(*ends).unique(return_counts=True)
        self.count += flat.numel()
        if self.count > flat.numel():
            numbers, places = torch.cat([self._numbers, numbers]).unique(return_inverse=True)
            counts = torch.zeros_like(numbers, dtype=torch.long).index_add(0, places, torch.cat([self._counts, counts]))
        self._numbers, self._counts = numbers, counts

    def limits(self, bits: int, method: str = "min-max", *, symmetric: bool = False) -> Limits:
        """Return (low, high), two tensors without dimensions, good to the 12 bits of the counted numbers.

        Raises:
            ValueError: if nothing was added.
        """
        self._seen()
        return limits(self._numbers, bits, method, symmetric=symmetric, counts=self._counts)

    def error(self, low: Tensor, high: Tensor, bits: int, *, symmetric: bool = False) -> float:
        """Return the mean square error of rounding all that was seen to a grid with these limits.

        Raises:
            ValueError: if nothing was added.
        """
        self._seen()
        total = squared_error(self._numbers, low, high, bits, symmetric=symmetric, counts=self._counts)
        return float(total) / self.count

    def _seen(self) -> None:
        if not self.count:
            raise ValueError("nothing was observed; send calibration data through the model first")


def _rounded(x: Float[Tensor, "numbers"]) -> Float[Tensor, "numbers"]:  # noqa: F821
    """Round float32 to 12 significant bits: half of the 12 last bits is added, then they are cleared."""
    return ((x.view(torch.int32) + 2048) & -4096).view(torch.float32)
