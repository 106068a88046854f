"""Where the memory goes: 16 bytes for each parameter, what ZeRO leaves of them on one rank, and activations.

Mixed precision with Adam keeps of each parameter a half-precision weight (2 bytes) and gradient (2), and in float32
a precise weight (4), the average of gradients (4) and of their squares (4): 2 + 2 + 12.
"""

from dataclasses import astuple, dataclass

from labkit.ranks.simulation import activation_bytes, state_parts, zero_passes


@dataclass(frozen=True)
class Bytes:
    """Bytes for each parameter: its weight, its gradient, and what the optimizer keeps."""

    parameters: float | int = 2
    gradients: float | int = 2
    optimizer: float | int = 12


MIXED_ADAM = Bytes(2, 2, 12)
PLAIN_ADAM = Bytes(4, 4, 8)

# Table 1 of Rajbhandari et al. (2020): GB on each rank with stages 1, 2 and 3, by parameters and ranks.
PUBLISHED = {
    (7.5e9, 1): (120, 120, 120),
    (7.5e9, 4): (52.5, 41.3, 30),
    (7.5e9, 16): (35.6, 21.6, 7.5),
    (7.5e9, 64): (31.4, 16.6, 1.88),
    (7.5e9, 256): (30.4, 15.4, 0.47),
    (7.5e9, 1024): (30.1, 15.1, 0.12),
    (128e9, 1): (2048, 2048, 2048),
    (128e9, 4): (896, 704, 512),
    (128e9, 16): (608, 368, 128),
    (128e9, 64): (536, 284, 32),
    (128e9, 256): (518, 263, 8),
    (128e9, 1024): (513, 257, 2),
    (1e12, 1): (16_000, 16_000, 16_000),
    (1e12, 4): (7000, 5500, 4000),
    (1e12, 16): (4750, 2875, 1000),
    (1e12, 64): (4187, 2218, 250),
    (1e12, 256): (4046, 2054, 62.5),
    (1e12, 1024): (4011, 2013, 15.6),
}


def model_states(parameters: float | int, ranks: int, stage: int, each: Bytes = MIXED_ADAM) -> dict[str, float]:
    """Bytes on one rank for weights, gradients and the optimizer, without padding; stage 0 splits nothing.

    Raises:
        ValueError: for another stage than 0 to 3, or less than one rank.
    Source: Rajbhandari et al. (2020), section 5.1 to 5.3 and figure 1.

    >>> [sum(model_states(7.5e9, 64, stage).values()) / 1e9 for stage in range(4)]
    [120.0, 31.40625, 16.640625, 1.875]
    """
    _check(ranks, stage)
    parts = state_parts(parameters, ranks, stage, astuple(each))
    return dict(zip(("parameters", "gradients", "optimizer"), parts, strict=True))


def largest_model(memory: float | int, ranks: int, stage: int, each: Bytes = MIXED_ADAM) -> float:
    """How many parameters fit into so many bytes on each rank, when nothing else has to.

    Source: Rajbhandari et al. (2020), table 2, the theoretical half: 32 GB on 64 ranks.

    >>> [round(largest_model(32e9, 64, stage) / 1e9, 1) for stage in range(4)]
    [2.0, 7.6, 14.4, 128.0]
    """
    return memory / sum(model_states(1.0, ranks, stage, each).values())


def volume(parameters: float | int, ranks: int, stage: int) -> dict[str, float]:
    """How many numbers one rank sends in a step, by collective.

    A ring sends (n − 1) / n of the vector for each. Plain data parallelism reduces gradients by both together; stages 1
    and 2 by the first, and gather new weights by the second; stage 3 gathers twice, forward and backward.

    Source: Rajbhandari et al. (2020), section 7.

    >>> sum(volume(100, 2, 3).values()) / sum(volume(100, 2, 0).values())
    1.5
    """
    _check(ranks, stage)
    once = parameters * (ranks - 1) / ranks
    return {"reduce_scatter": once, "all_gather": once * (zero_passes(stage) - 1)}


def layer_activations(tokens: int, batch: int, width: int, heads: int, recompute: str = "none") -> float:
    """Bytes that one layer of a transformer keeps for its backward pass in 16-bit precision, with dropout.

    Args:
        recompute: "none"; "selective": attention's scores are computed again; "full": all but the layer's input.

    Raises:
        ValueError: for another kind of recomputation.
    Source: Korthikanti et al. (2022), "Reducing activation recomputation in large transformer models", equation 1.

    >>> layer_activations(2048, 1, 12288, 96) / (2048 * 12288)  # GPT-3: 34 + 80
    114.0
    """
    return activation_bytes(batch, tokens, width, heads, recompute=recompute)


def _check(ranks: int, stage: int) -> None:
    if stage not in (0, 1, 2, 3) or ranks < 1:
        raise ValueError(f"stage must be 0 to 3 and ranks at least 1, got stage {stage!r} and {ranks!r} ranks")
