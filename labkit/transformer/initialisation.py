"""The weights a model starts from, and why depth matters to them."""

import math

import torch
from torch import nn

from labkit.transformer.config import Config

DEVIATION = 0.02
INTO_THE_STREAM = ("attention.output.weight", "cross.output.weight", "feedforward.down.weight")


@torch.no_grad()
def initialise(
    model: nn.Module,
    config: Config,
    generator: torch.Generator | None = None,
    depth_scaled: bool = True,
    deviation: float = DEVIATION,
) -> None:
    """Draw every matrix from a normal distribution of this deviation and set the biases to 0; norms keep 1 and 0.

    A stream to which 2·layers sublayers add has 2·layers times the variance of one. With `depth_scaled` the matrices
    that write into it are therefore divided by √(2·layers), and the stream keeps its size at any depth.
    The same generator gives the same weights on every device: it draws where it lives, the CPU unless you say
    otherwise. Parameters on the meta device have no values and are left alone. The usual deviation suits widths from
    some hundreds on; a narrow model starts faster with more, about 1/√width.

    Source: Radford et al. (2019), GPT-2, section 2.3; Radford et al. (2018), GPT, section 4.1 (0.02).
    """
    generator = generator or torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.is_meta or "norm" in name:
            continue
        if name.endswith("bias"):
            parameter.zero_()
            continue
        scaled = depth_scaled and name.endswith(INTO_THE_STREAM)
        size = deviation / math.sqrt(2 * config.layers) if scaled else deviation
        drawn = torch.empty(parameter.shape, dtype=parameter.dtype, device=generator.device)
        parameter.copy_(drawn.normal_(0, size, generator=generator))


def initialise_from_seed(model: nn.Module, config: Config, seed: int | None) -> None:
    """`initialise` with a generator of this seed; None leaves what torch drew, for weights that come from a file."""
    if seed is not None:
        initialise(model, config, torch.Generator().manual_seed(seed))
