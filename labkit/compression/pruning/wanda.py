"""Wanda: a small weight matters when much comes in there, so weights are judged together with their inputs."""

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from labkit.compression.pruning.magnitude import check_weight, keep_largest
from labkit.compression.pruning.patterns import n_of_m


def norms_of(inputs: Any) -> Float[Tensor, " inputs"]:
    """The size of each input over the calibration data: its root mean square, ‖X‖₂ / √count.

    Args:
        inputs: what `inputs_of(model, run, gram=True)` has seen of one layer; its gram is 2 Σ x xᵀ / count.

    Raises:
        ValueError: without the gram.
    """
    if inputs.gram is None:
        raise ValueError("the size of the inputs is the diagonal of their gram: call inputs_of(…, gram=True)")
    return (inputs.gram.diagonal() / 2).sqrt()


def wanda_scores(
    weight: Float[Tensor, "out inputs"] | Any, norms: Float[Tensor, " inputs"] | Any
) -> Float[Tensor, "out inputs"]:
    """|W| · ‖X‖₂: the weight's size times the size of what it is multiplied with.

    Raises:
        ValueError: for weights that are all zero or not all finite; for norms that are negative, not finite, all zero
            (no calibration data), or not one for each input.
    Source: Sun, Liu, Bair & Kolter (2023), "A simple and effective pruning approach for LLMs", equation 1.

    >>> wanda_scores(Tensor([[4.0, -1.0]]), Tensor([1.0, 8.0]))
    tensor([[4., 8.]])
    """
    check_weight(weight)
    if norms.shape != weight.shape[1:]:
        raise ValueError(f"{weight.shape[1]} inputs need as many norms, got a shape of {tuple(norms.shape)}")
    if not norms.isfinite().all() or (norms < 0).any() or not norms.any():
        raise ValueError("norms must be finite, not negative and not all zero: did calibration data come through?")
    return weight.detach().abs() * norms


def wanda_mask(
    weight: Float[Tensor, "out inputs"] | Any,
    norms: Float[Tensor, " inputs"] | Any,
    sparsity: float | int | Any = 0.5,
    *,
    pattern: tuple[int, int] | None = None,
    per: str = "row",
) -> Bool[Tensor, "out inputs"]:
    """True for the weights that stay: scores are compared within the row of one output, or n of m neighbours.

    Raises:
        ValueError: as `wanda_scores`, for a share outside 0 to 1, or when m does not divide the width.
    Source: Sun et al. (2023), section 3 and algorithm 1.
    """
    scores = wanda_scores(weight, norms)
    return n_of_m(scores, *pattern) if pattern else keep_largest(scores, sparsity, per)
