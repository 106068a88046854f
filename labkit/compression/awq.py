"""AWQ: inputs that are large on average get finer weights, by a scale that the layer before it can take back.

W x = (W diag(s)) (x / s). Rounding W diag(s) instead of W divides the error of column j by s_j, as long as the column
is not what decides the step; so the columns whose inputs are large are scaled up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.compression.gptq import by_block, layer_error, refuse_gram
from labkit.compression.grid import Quantized, dequantize, quantize
from labkit.compression.layers import Inputs

LEAST = 1e-4  # of a mean size, so that an input that was always 0 does not get a scale of 0


@dataclass(frozen=True)
class Scaled:
    """A quantized weight for inputs divided by `scale` first, the exponent found, and the error of the output."""

    quantized: Quantized
    scale: Float[Tensor, " inputs"]
    alpha: float
    error: float


def awq_scale(mean_abs: Float[Tensor, " inputs"], alpha: float | int) -> Float[Tensor, " inputs"]:
    """The mean size of each input to the power α, with 1 half-way (in logarithms) between the least and the largest.

    Source: Lin et al. (2023), "AWQ", equation 5; the middle of 1 is that of their published code.

    >>> awq_scale(torch.tensor([1.0, 4.0]), 0.5)
    tensor([0.7071, 1.4142])
    """
    scale = mean_abs.clamp_min(LEAST) ** alpha
    return scale / (scale.max() * scale.min()).sqrt()


def awq(
    weight: Float[Tensor, "..."],
    inputs: Inputs,
    bits: Any,
    *,
    group: Any = None,
    symmetric: bool = True,
    steps: int | Any = 20,
) -> Scaled:
    """Return the weight (out × in) rounded under the scale, of `steps` + 1 exponents from 0 to 1, that serves it best.

    α = 0 scales nothing, so the result is never worse than rounding to nearest on the inputs it was chosen by.
    Layers that read the same inputs get one scale when their weights are stacked: `torch.cat([up, gate])`.

    Args:
        inputs: what comes into the layer, with its Gram matrix.

    Raises:
        ValueError: as `quantize` does, and for inputs of another width or without a Gram matrix.
    Source: Lin et al. (2023), "AWQ", section 3.2, equations 4 and 5.
    """
    quantize(weight, bits, symmetric=symmetric, group=group)  # refuses what is no weight
    refuse_gram(inputs.gram, weight.shape[1])
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a whole number from 1, got {steps!r}")
    tried = [_try(weight.detach(), inputs, step / steps, bits, group, symmetric) for step in range(steps + 1)]
    return min(tried, key=lambda one: one.error)


def _try(weight: Tensor, inputs: Inputs, alpha: float, bits: Any, group: Any, symmetric: bool) -> Scaled:
    scale = awq_scale(inputs.mean_abs, alpha)
    quantized = quantize(weight * scale, bits, symmetric=symmetric, group=group)
    return Scaled(quantized, scale, alpha, float(layer_error(weight, dequantize(quantized) / scale, inputs.gram)))


def effective(scaled: Scaled) -> Float[Tensor, "out in"]:
    """The weight that the layer computes with, for inputs as they come: rounded, then divided by the scale."""
    return dequantize(scaled.quantized) / scaled.scale


def awq_model(model: nn.Module, run: Callable[[], Any], bits: Any, group: Any = None, **how: Any) -> dict[str, Scaled]:
    """Every linear layer of a model by `awq`, block by block; the model itself is left as it was.

    Args:
        run: sends calibration data through the model, without a key-value cache.
        how: `symmetric` and `steps` of `awq`.
    """
    return by_block(model, run, lambda weight, inputs: awq(weight, inputs, bits, group=group, **how), effective)


@torch.no_grad()
def fold(norm: nn.Module, layers: Sequence[nn.Linear], scale: Float[Tensor, " inputs"]) -> None:
    """Let a norm divide by the scale and the layers that read it multiply, in place; no output changes.

    All that reads the norm must be named, or it reads the wrong numbers.

    Raises:
        ValueError: if the norm has no weight, or a size is another than the scale's.
    """
    sizes = {getattr(norm, "weight", torch.empty(0)).numel(), *(layer.in_features for layer in layers)}
    if sizes != {len(scale)} or not (scale > 0).all():
        raise ValueError(f"a positive scale of {len(scale)} numbers for a norm and layers of {sorted(sizes)} inputs")
    norm.weight /= scale
    if getattr(norm, "bias", None) is not None:
        norm.bias /= scale
    for layer in layers:
        layer.weight *= scale
