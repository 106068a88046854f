"""The optimal brain surgeon: take out the weight that costs least, and move the others so that it costs less still.

All of it follows from the squared error of one layer, ½ δ H δᵀ with H = 2 X Xᵀ, which is the same for each of its rows.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from labkit.compression.gptq import obq_update
from labkit.compression.pruning.magnitude import check_weight, keep_largest
from labkit.compression.pruning.patterns import n_of_m

Row = Float[Tensor, " inputs"]
Square = Float[Tensor, "inputs inputs"]


def saliency(weights: Float[Tensor, "*out inputs"], inverse: Square) -> Float[Tensor, "*out inputs"]:
    """w² / (2 [H⁻¹]qq): by how much the loss rises when weight q goes and the others are moved as well as can be.

    Source: Hassibi & Stork (1993), "Second order derivatives for network pruning", equation 5.
    """
    return weights.square() / (2 * inverse.diagonal())


def remove_weight(weights: Row | Any, inverse: Square, q: int) -> tuple[Row, Square]:
    """The row without weight q and with the others moved, and the inverse of H without row and column q.

    δ = −w_q / [H⁻¹]qq · H⁻¹[q, :], the step that rounds weight q, to 0. The inverse keeps its shape; in row and column
    q stand zeros, so that weight q stays where it is when others go later.

    Source: Hassibi & Stork (1993), equation 5; Frantar & Alistarh (2022), "Optimal brain compression", lemma 1.
    """
    return obq_update(weights, inverse, q, 0.0)


def prune_row(weights: Row | Any, hessian: Square | Any, count: int | Any) -> Row:
    """A row with `count` weights taken out one after another, each the cheapest of its moment.

    Raises:
        ValueError: for more weights than there are, or a Hessian that is not positive definite.
    Source: Frantar & Alistarh (2022), algorithm 1.
    """
    check_weight(weights)
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= len(weights):
        raise ValueError(f"a row of {len(weights)} weights cannot lose {count!r}")
    weights = weights.detach()
    inverse, left = _inverse(hessian), torch.ones_like(weights, dtype=torch.bool)
    for _ in range(count):
        cost = torch.where(left, saliency(weights, inverse), torch.inf)
        q = int(cost.argmin())
        weights, inverse = remove_weight(weights, inverse, q)
        left[q] = False
    return weights


def damped(gram: Square | Any, damping: float | int = 0.01) -> Square:
    """The gram with a hundredth of its mean diagonal added to the diagonal, so that it can be inverted.

    Raises:
        ValueError: if it is not finite or all zero, as when no calibration data came.
    Source: Frantar & Alistarh (2023), "SparseGPT", section 4 (1 % of the average diagonal).
    """
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
        raise ValueError(f"the gram of the inputs must be square, got {tuple(gram.shape)}")
    if not gram.isfinite().all() or not gram.diagonal().any():
        raise ValueError("the gram of the inputs is zero or not finite: did calibration data come through?")
    return gram + damping * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)


def sparsegpt(
    weight: Float[Tensor, "out inputs"] | Any,
    gram: Square | Any,
    sparsity: float | int | Any = 0.5,
    *,
    pattern: tuple[int, int] | None = None,
    block: int | Any = 16,
    damping: float | int = 0.01,
) -> Float[Tensor, "out inputs"]:
    """The weight with zeros, and with what is right of a zero moved to repair it: all rows at once, column by column.

    Columns go from left to right, so that all rows share the inverse of what is left: rows of the upper Cholesky
    factor U of H⁻¹ hold it. The mask of `block` columns is chosen when they are reached, by w² / U²qq.

    Args:
        gram: 2 Σ x xᵀ / count of the layer's inputs; the factor before it does not matter.
        pattern: (n, m) to keep n of every m neighbours; `sparsity` says nothing then.
        block: columns of one mask; 128 in the paper, whose matrices are thousands wide: at most a quarter of the
            width is best.

    Raises:
        ValueError: for a share outside 0 to 1, weights or a gram that are all zero or not all finite, another width,
            an m that does not divide it, or blocks of less than one column.
    Source: Frantar & Alistarh (2023), "SparseGPT", algorithm 1.
    """
    check_weight(weight)
    if gram.shape[-1] != weight.shape[1]:
        raise ValueError(f"a weight with {weight.shape[1]} inputs needs a gram of as many, got {tuple(gram.shape)}")
    if not isinstance(block, int) or block < 1:
        raise ValueError(f"block = {block!r}: a mask is chosen for at least one column at a time")
    step = pattern[1] if pattern else block
    wide = torch.promote_types(weight.dtype, torch.float32)  # there is no Cholesky factor in 16 bits
    weights, upper = weight.detach().to(wide, copy=True), _upper_factor(damped(gram.to(wide), damping))
    for start in range(0, weights.shape[1], step):
        now = slice(start, min(start + step, weights.shape[1]))
        part, factor = weights[:, now], upper[now, now]
        scores = (part / factor.diagonal()).square()
        kept = n_of_m(scores, *pattern) if pattern else keep_largest(scores, sparsity)
        errors = prune_columns(part, factor, kept)
        weights[:, now.stop :] -= errors @ upper[now, now.stop :]
    return weights.to(weight.dtype)


def prune_columns(part: Tensor, factor: Tensor, kept: Tensor) -> Tensor:
    """Put zeros into a block of columns, repair the block in place, and give the errors that the rest still owes.

    Args:
        factor: the block of U that belongs to these columns.
        kept: True for the weights that stay.
    """
    errors = torch.zeros_like(part)
    for j in range(part.shape[1]):
        errors[:, j] = torch.where(kept[:, j], 0.0, part[:, j]) / factor[j, j]
        part[:, j:] -= errors[:, j : j + 1] * factor[j, j:]
        part[:, j] *= kept[:, j]  # what was subtracted from itself is zero but for rounding
    return errors


def _upper_factor(hessian: Tensor) -> Tensor:
    """U, upper triangular with positive diagonal, such that Uᵀ U = H⁻¹."""
    return torch.linalg.cholesky(_inverse(hessian), upper=True)


def _inverse(hessian: Tensor) -> Tensor:
    factor, trouble = torch.linalg.cholesky_ex(hessian)
    if int(trouble):
        raise ValueError("this Hessian is not positive definite: some input is never seen; add damping to its diagonal")
    return torch.cholesky_inverse(factor)
