"""Layer normalisation and root-mean-square normalisation: the formulas, their gradients by hand, and the modules."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.transformer.config import Config


def layer_norm(
    x: Float[Tensor, "*batch width"],
    weight: Float[Tensor, " width"],
    bias: Float[Tensor, " width"] | None = None,
    eps: float = 1e-5,
) -> Float[Tensor, "*batch width"]:
    """(x − mean) / √(variance + eps) · weight + bias, mean and variance taken over the width of each token.

    Source: Ba, Kiros & Hinton (2016), "Layer normalization", eqs. 3–4.
    """
    mean = x.mean(dim=-1, keepdim=True)
    variance = x.var(dim=-1, keepdim=True, correction=0)
    normal = (x - mean) / torch.sqrt(variance + eps)
    return normal * weight if bias is None else normal * weight + bias


def layer_norm_backward(
    grad: Float[Tensor, "*batch width"],
    x: Float[Tensor, "*batch width"],
    weight: Float[Tensor, " width"],
    eps: float = 1e-5,
) -> tuple[Float[Tensor, "*batch width"], Float[Tensor, " width"], Float[Tensor, " width"]]:
    """The gradients of `layer_norm` for x, weight and bias, given the gradient of its result.

    With n the normalised x, g = grad · weight and s = √(variance + eps): dx = (g − mean(g) − n · mean(g · n)) / s.
    Taking the mean off removes from g the direction 1, dividing by the deviation removes the direction n: what moves
    x along either does not change the result.
    """
    centred = x - x.mean(dim=-1, keepdim=True)
    deviation = torch.sqrt(centred.square().mean(dim=-1, keepdim=True) + eps)
    normal = centred / deviation
    inner = grad * weight
    along = (inner * normal).mean(dim=-1, keepdim=True)
    dx = (inner - inner.mean(dim=-1, keepdim=True) - normal * along) / deviation
    return dx, _over_tokens(grad * normal), _over_tokens(grad)


def rms_norm(
    x: Float[Tensor, "*batch width"], weight: Float[Tensor, " width"], eps: float = 1e-5
) -> Float[Tensor, "*batch width"]:
    """x / √(mean(x²) + eps) · weight: layer norm without taking off the mean.

    Source: Zhang & Sennrich (2019), "Root mean square layer normalization", eq. 4.
    """
    return x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight


def rms_norm_backward(
    grad: Float[Tensor, "*batch width"],
    x: Float[Tensor, "*batch width"],
    weight: Float[Tensor, " width"],
    eps: float = 1e-5,
) -> tuple[Float[Tensor, "*batch width"], Float[Tensor, " width"]]:
    """The gradients of `rms_norm` for x and weight: those of layer norm without the term of the mean."""
    size = torch.sqrt(x.square().mean(dim=-1, keepdim=True) + eps)
    normal = x / size
    inner = grad * weight
    along = (inner * normal).mean(dim=-1, keepdim=True)
    return (inner - normal * along) / size, _over_tokens(grad * normal)


def _over_tokens(x: Float[Tensor, "*batch width"]) -> Float[Tensor, " width"]:
    return x.reshape(-1, x.shape[-1]).sum(dim=0)


class LayerNorm(nn.Module):
    """`layer_norm` with a learned weight, one at the start, and bias, zero at the start, by torch's fused kernel."""

    def __init__(self, width: int, eps: float = 1e-5, bias: bool = True):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The normalised tokens, of the same shape."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """`rms_norm` with a learned weight, one at the start, by torch's fused kernel."""

    def __init__(self, width: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The normalised tokens, of the same shape."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def new_norm(config: Config) -> LayerNorm | RMSNorm:
    """The norm that a config asks for."""
    if config.norm == "rms":
        return RMSNorm(config.width, config.norm_eps)
    return LayerNorm(config.width, config.norm_eps, bias=config.bias)
