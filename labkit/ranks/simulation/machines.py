"""A transformer and a cluster by the numbers that matter for a plan: operations, bytes, and seconds on the wire."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

from labkit.ranks.simulation.collectives import Link


@dataclass(frozen=True)
class Transformer:
    """A GPT: layers, width, heads, context in tokens, vocabulary; numbers take `bytes_each` bytes in compute."""

    layers: int
    width: int
    heads: int
    context: int
    vocabulary: int
    bytes_each: int = 2

    @property
    def parameters(self) -> float:
        """12·l·h²·(1 + 13/(12h) + (V + s)/(12lh)). Source: Narayanan et al., 2021, arXiv:2104.04473, equation 2."""
        own = 1 + 13 / (12 * self.width) + (self.vocabulary + self.context) / (12 * self.layers * self.width)
        return 12 * self.layers * self.width**2 * own

    def flops(self, batch: Real) -> float:
        """Operations of forward and backward for `batch` sequences, activations not computed again.

        72·B·s·l·h²·(1 + s/(6h) + V/(12lh)): three quarters of equation 3 there, which computes them again.
        """
        inner = 1 + self.context / (6 * self.width) + self.vocabulary / (12 * self.layers * self.width)
        return 72 * batch * self.context * self.layers * self.width**2 * inner


@dataclass(frozen=True)
class Cluster:
    """`nodes` of `per_node` devices, each with `flops` a second in practice and `memory` bytes.

    `inner` links the devices of a node, `outer` gives each device its share of the network between nodes.
    """

    nodes: int
    per_node: int
    flops: Real
    memory: Real
    inner: Link
    outer: Link

    @property
    def devices(self) -> int:
        """All devices."""
        return self.nodes * self.per_node


def zero_passes(stage: int, micro_batches: int = 1) -> int:
    """How often the parameters' bytes pass each rank of a ring in a step with ZeRO.

    Stages 0 and 1 reduce-scatter and all-gather once. Stage 2 keeps no whole gradient, so that each micro-batch is
    reduced; stage 3 keeps no parameters either, and gathers them for the forward and the backward of each.

    Source: Rajbhandari et al., 2020, arXiv:1910.02054, section 7 (2Ψ, 2Ψ and 3Ψ of one micro-batch).

    Raises:
        ValueError: if the stage is not 0, 1, 2 or 3.

    >>> [zero_passes(stage) for stage in range(4)], zero_passes(3, micro_batches=4)
    ([2, 2, 2, 3], 12)
    """
    if stage not in (0, 1, 2, 3):
        raise ValueError(f"stage = {stage} of ZeRO; there are 0 (none), 1, 2 and 3")
    return {2: micro_batches + 1, 3: 3 * micro_batches}.get(stage, 2)


def zero_bytes_sent(parameters: Real, ranks: int, stage: int, bytes_each: int = 2) -> float:
    """The bytes each rank sends in a step: 2Ψ, and 3Ψ in stage 3, of numbers of `bytes_each`, times (n−1)/n.

    >>> zero_bytes_sent(1000, 4, 2), zero_bytes_sent(1000, 4, 3)
    (3000.0, 4500.0)
    """
    return float(zero_passes(stage) * parameters * bytes_each * (ranks - 1) / ranks)


def state_parts(
    parameters: Real, ranks: int, stage: int, each: Sequence[Real] = (2, 2, 12)
) -> tuple[float, float, float]:
    """Bytes on a rank of weights, gradients and optimizer, `each` bytes a parameter, as ZeRO shares them out.

    By default 2 a parameter, 2 a gradient and 12 of Adam in mixed precision.

    Source: Rajbhandari et al., 2020, arXiv:1910.02054, section 3.1 and figure 1.

    Raises:
        ValueError: if the stage is not 0, 1, 2 or 3.

    >>> state_parts(100, 4, 2)
    (200.0, 50.0, 300.0)
    """
    zero_passes(stage)
    weights, gradients, optimizer = (float(parameters) * float(size) for size in each)
    return (
        weights / (ranks if stage >= 3 else 1),
        gradients / (ranks if stage >= 2 else 1),
        optimizer / (ranks if stage >= 1 else 1),
    )


def state_bytes(parameters: Real, ranks: int, stage: int) -> float:
    """Bytes on a rank of all its state, the sum of `state_parts`.

    Source: Rajbhandari et al., 2020, arXiv:1910.02054, section 3.1 and figure 1.

    >>> [round(state_bytes(7.5e9, 64, stage) / 1e9, 1) for stage in range(4)]
    [120.0, 31.4, 16.6, 1.9]
    """
    return sum(state_parts(parameters, ranks, stage))


def activation_bytes(
    batch: Real, tokens: int, width: int, heads: int, ranks: int = 1, sequence: bool = False, recompute: str = "none"
) -> float:
    """Bytes of activations that one layer keeps: s·b·h·(10 + 24/t + 5·a·s/(h·t)), with `sequence` parallel all over t.

    To `recompute` "selective" leaves out the scores 5·a·s/h, "full" all but the layer's input, 2·s·b·h.

    Source: Korthikanti et al., 2022, arXiv:2205.05198, table 2.

    Raises:
        ValueError: for another way to recompute.

    >>> [activation_bytes(1, 8, 4, 2, recompute=how) for how in ("none", "selective", "full")]
    [1728.0, 1088.0, 64.0]
    """
    if recompute not in ("none", "selective", "full"):
        raise ValueError(f"recompute = {recompute!r}; there are none, selective and full")
    scores = 0.0 if recompute == "selective" else 5 * heads * tokens / width
    kept = 2.0 if recompute == "full" else (10 / ranks if sequence else 10) + (24 + scores) / ranks
    return float(tokens * batch * width * kept)


def layer_bytes(model: Transformer, micro_batch: int, tensor: int = 1, recompute: bool = False) -> float:
    """Bytes of activations that one layer keeps of a micro-batch, see `activation_bytes`.

    Source: Korthikanti et al., 2022, arXiv:2205.05198, equation 2 and table 2.
    """
    how = "full" if recompute else "none"
    return activation_bytes(micro_batch, model.context, model.width, model.heads, tensor, recompute=how)
