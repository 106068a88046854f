"""The feed-forward layer of a block: two matrices around a bend, or three with a gate."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.transformer.config import Config


def gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x · Φ(x), with Φ the distribution function of the normal distribution.

    Source: Hendrycks & Gimpel (2016), "Gaussian error linear units", section 2.

    >>> gelu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])
    """
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def gelu_tanh(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The approximation of `gelu` that GPT-2 was trained with; it differs by less than 0.0005.

    Source: Hendrycks & Gimpel (2016), section 2.
    """
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def swish(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x · sigmoid(x), also called SiLU.

    Source: Ramachandran, Zoph & Le (2017), "Searching for activation functions", with β = 1.
    """
    return x * torch.sigmoid(x)


class FeedForward(nn.Module):
    """Each token by itself: up to the hidden width, a bend, and down again; with SwiGLU the bend is a gate.

    One kernel of torch computes each bend; `gelu`, `gelu_tanh` and `swish` above say which numbers come out.
    Source: Vaswani et al. (2017), section 3.3; Shazeer (2020), "GLU variants improve transformer", eq. 6.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.activation = config.activation
        self.up = nn.Linear(config.width, config.hidden, bias=config.bias)
        if self.activation == "swiglu":
            self.gate = nn.Linear(config.width, config.hidden, bias=config.bias)
        self.down = nn.Linear(config.hidden, config.width, bias=config.bias)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """What the layer adds to the residual stream, of the same shape."""
        if self.activation == "swiglu":
            return self.down(F.silu(self.gate(x)) * self.up(x))
        if self.activation == "relu":
            return self.down(F.relu(self.up(x)))
        return self.down(F.gelu(self.up(x), approximate="tanh" if self.activation == "gelu_tanh" else "none"))
