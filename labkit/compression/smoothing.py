"""Outliers: the few channels with huge activations that ruin eight bits, and SmoothQuant, which moves them away."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from numbers import Integral
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.compression.integer import Int8Linear, affine_range
from labkit.compression.layers import Inputs, watched


class Outlier(NamedTuple):
    """A channel of what comes into a layer: the largest number seen in it, over that of the median channel."""

    layer: str
    channel: int
    largest: float
    ratio: float


class Seam(NamedTuple):
    """A place where a factor can be moved: out of the rows of `source` and into the columns of `targets`."""

    source: nn.Module
    targets: dict[str, nn.Linear]


def largest_of(inputs: Inputs) -> Float[Tensor, " inputs"]:
    """The largest size of each channel of what came into a layer."""
    return torch.maximum(inputs.low.abs(), inputs.high.abs())


def outlier_channels(inputs: Mapping[str, Inputs], times: float | int = 10) -> list[Outlier]:
    """The channels that are at least so many times as large as the median channel of their layer, worst first.

    Raises:
        ValueError: without inputs, or if `times` is not above 1.
    Source: Dettmers et al. (2022), "LLM.int8()", section 4, has an absolute limit of 6 instead.
    """
    if not inputs or not times > 1:
        raise ValueError(
            f"give the inputs of a layer, from inputs_of, and times above 1; got {len(inputs)} and {times}"
        )
    found = []
    for layer, seen in inputs.items():
        largest = largest_of(seen)
        ratio = largest / largest.median().clamp_min(torch.finfo(torch.float32).tiny)
        for channel in (ratio >= times).nonzero().flatten().tolist():
            found.append(Outlier(layer, channel, float(largest[channel]), float(ratio[channel])))
    return sorted(found, key=lambda one: -one.ratio)


def smooth_scales(
    activation_max: Float[Tensor, " inputs"], weight_max: Float[Tensor, " inputs"], alpha: float | int = 0.5
) -> Float[Tensor, " inputs"]:
    """The factor of each channel: |x|^α / |w|^(1−α); a channel that is zero on one side, or so nearly that no float
    holds its factor, keeps 1.

    α = 0 makes all weights alike, α = 1 all activations; ½ leaves both with √(|x| |w|).

    Args:
        activation_max, weight_max: the largest size in each channel, of what comes in and of the weight's column.

    Raises:
        ValueError: unless α is between 0 and 1 and both are finite and not negative.
    Source: Xiao et al. (2023), "SmoothQuant", equation 4.

    >>> smooth_scales(torch.tensor([16.0, 1.0]), torch.tensor([1.0, 1.0]))
    tensor([4., 1.])
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be between 0 (weights alike) and 1 (activations alike), got {alpha}")
    for name, size in (("activation_max", activation_max), ("weight_max", weight_max)):
        if not (size.isfinite() & (size >= 0)).all():
            raise ValueError(f"{name} must be sizes, finite and not negative: calibrate on finite data")
    both = (activation_max > 0) & (weight_max > 0)
    scales = activation_max.pow(alpha) / weight_max.pow(1 - alpha)
    return torch.where(both & scales.isfinite(), scales, torch.ones_like(scales))


def smooth(model: nn.Module, inputs: Mapping[str, Inputs], alpha: float | int = 0.5, gated: bool = False) -> nn.Module:
    """A copy of a pre-norm model that computes the same, with easier activations and harder weights.

    Each norm's weight (and bias) is divided by s, the columns of the layers that read it are multiplied by s:
    nothing is left to do at run time. `gated` also moves factors from the columns of SwiGLU's `down` into the rows of
    `up`; the paper does not, and where one token alone is huge it does harm.

    Raises:
        ValueError: for a post-norm model, or if there are no inputs for a layer, or ones of another width.
    Source: Xiao et al. (2023), "SmoothQuant", equations 3 and 4 and section 4.
    """
    model = copy.deepcopy(model)
    for seam in seams(model, gated):
        first = next(iter(seam.targets))
        activation = _known(inputs, first, seam.targets[first])
        columns = torch.stack([layer.weight.detach().abs().amax(dim=0) for layer in seam.targets.values()])
        move(seam, smooth_scales(activation.to(columns.device), columns.amax(dim=0), alpha))
    return model


@torch.no_grad()
def smoothed_error(
    weight: Float[Tensor, "out inputs"],
    calibration: Float[Tensor, "rows inputs"],
    held_out: Float[Tensor, "others inputs"],
    alpha: float | int | None = 0.5,
    static: bool = False,
) -> float:
    """|y in 8 bits − y| / |y| of one layer on held-out rows, with factors from the calibration rows (None: without).

    >>> x = torch.tensor([[100.0, 1.0], [-100.0, 0.3]])
    >>> smoothed_error(torch.eye(2), x, x, 1.0) < smoothed_error(torch.eye(2), x, x, None)
    True
    """
    scales = torch.ones_like(weight[0])
    if alpha is not None:
        scales = smooth_scales(calibration.abs().amax(dim=0), weight.abs().amax(dim=0), alpha)
    easier = calibration / scales
    inputs = affine_range(easier.min(), easier.max()) if static else None
    exact = held_out @ weight.T
    return float((Int8Linear(weight * scales, None, inputs)(held_out / scales) - exact).norm() / exact.norm())


@torch.no_grad()
def rows_into(model: nn.Module, run: Callable[[], Any], name: str) -> Float[Tensor, "rows inputs"]:
    """Every row that comes into one linear layer while `run()` sends data through the model, without dropout.

    Raises:
        ValueError: if there is no such layer, or nothing came to it.
    """
    rows: list[Tensor] = []
    watched(model, run, {name: lambda layer, given: rows.append(given[0].detach().flatten(0, -2))})
    if not rows:
        raise ValueError(f"no calibration data came to {name}: run() must call the model on some")
    return torch.cat(rows)


def plant_outliers(model: nn.Module, channels: Any, times: float | int = 100) -> nn.Module:
    """A copy of a pre-norm model that computes the same, with these channels so many times as large after each norm.

    The opposite of SmoothQuant, to make a small model ill in the way that large ones are.

    Raises:
        ValueError: for a channel that there is not, or times that are not positive.
    """
    model, channels = copy.deepcopy(model), list(channels)
    for seam in seams(model):
        width = len(seam.source.weight)
        known = all(isinstance(channel, Integral) and 0 <= channel < width for channel in channels)
        if not known or not 0 < times < math.inf:
            raise ValueError(
                f"channels must lie in 0 … {width - 1} and times be positive and finite, got {channels} and {times}"
            )
        scales = torch.ones_like(seam.source.weight)
        scales[channels] = 1 / times
        move(seam, scales)
    return model


def seams(model: nn.Module, gated: bool = False) -> Iterator[Seam]:
    """The places of a pre-norm model where a factor can be moved without changing what it computes.

    Raises:
        ValueError: if the model has no blocks, or is post-norm.
    """
    if not getattr(model, "blocks", None):
        raise ValueError(f"a {type(model).__name__} has no blocks: give a Decoder or another pre-norm transformer")
    for number, block in enumerate(model.blocks):
        if not block.norm_first:
            raise ValueError(
                f"block {number} is post-norm: what leaves its norm also goes into the residual stream, so that "
                "a factor cannot be divided out there; smooth a pre-norm model"
            )
        at, feedforward = f"blocks.{number}", block.feedforward
        yield Seam(block.norm1, {f"{at}.attention.qkv": block.attention.qkv})
        readers = ("up", "gate") if hasattr(feedforward, "gate") else ("up",)
        yield Seam(block.norm2, {f"{at}.feedforward.{name}": getattr(feedforward, name) for name in readers})
        if gated and hasattr(feedforward, "gate"):
            yield Seam(feedforward.up, {f"{at}.feedforward.down": feedforward.down})


@torch.no_grad()
def move(seam: Seam, scales: Float[Tensor, " inputs"]) -> None:
    """Divide what leaves the source by the scales and multiply what it meets by them, in place."""
    source = seam.source
    source.weight.div_(scales[:, None] if source.weight.ndim == 2 else scales)
    if getattr(source, "bias", None) is not None:
        source.bias.div_(scales)
    for layer in seam.targets.values():
        layer.weight.mul_(scales)


def _known(inputs: Mapping[str, Inputs], name: str, layer: nn.Linear) -> Tensor:
    if name not in inputs:
        raise ValueError(f"there are no inputs of {name}: give inputs_of(model, run) of this model")
    if len(inputs[name].low) != layer.in_features:
        widths = f"{len(inputs[name].low)} wide, the layer {layer.in_features}"
        raise ValueError(f"the inputs of {name} are {widths}: they are those of another model")
    return largest_of(inputs[name])
