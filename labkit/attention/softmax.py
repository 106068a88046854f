"""Softmax and cross entropy with their derivatives: what turns scores into attention, and logits into a loss."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from labkit.attention.values import holds


def softmax(scores: Float[Tensor, "*shape"], dim: int = -1) -> Float[Tensor, "*shape"]:
    """Scores as probabilities along `dim`: exp(s) / Σ exp(s), of any size without overflow.

    A constant added to all scores changes nothing, so the largest is subtracted first and no exponent is above zero.
    Scores of -inf get probability 0; where all of them are -inf there is no distribution, and the answer is NaN.

    >>> softmax(torch.tensor([1000.0, 1000.0]))
    tensor([0.5000, 0.5000])

    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), section 4.1.
    """
    # Detached: the shift does not change the result, so no gradient belongs to it.
    exponentials = (scores - scores.detach().amax(dim, keepdim=True)).exp()
    return exponentials / exponentials.sum(dim, keepdim=True)


def softmax_jacobian(probabilities: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n n"]:
    """All derivatives ∂pᵢ / ∂sⱼ = pᵢ (δᵢⱼ - pⱼ): the matrix diag(p) - p pᵀ.

    >>> softmax_jacobian(torch.tensor([0.5, 0.5]))
    tensor([[ 0.2500, -0.2500],
            [-0.2500,  0.2500]])

    Source: Dao et al., FlashAttention (2022), appendix B.2.
    """
    outer = probabilities[..., :, None] * probabilities[..., None, :]
    return torch.diag_embed(probabilities) - outer


def softmax_backward(
    grad: Float[Tensor, "*batch n"], probabilities: Float[Tensor, "*batch n"]
) -> Float[Tensor, "*batch n"]:
    """The gradient of the scores from the gradient of the probabilities: p ∘ (g - Σ g ∘ p).

    The Jacobian times `grad` without ever building the n × n matrix: n numbers of memory in place of n².

    >>> softmax_backward(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))
    tensor([ 0.2500, -0.2500])

    Source: Dao et al., FlashAttention (2022), appendix B.2.
    """
    along = (grad * probabilities).sum(dim=-1, keepdim=True)
    return probabilities * (grad - along)


def log_sum_exp(scores: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """log Σ exp(s) over the last axis, of any size without overflow: the logarithm of softmax's denominator.

    >>> log_sum_exp(torch.tensor([1000.0, 1000.0]))
    tensor(1000.6932)

    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), section 4.1.
    """
    largest = scores.detach().amax(dim=-1, keepdim=True)
    return (scores - largest).exp().sum(dim=-1).log() + largest[..., 0]


def cross_entropy(logits: Float[Tensor, "*batch classes"], targets: Int[Tensor, "*batch"] | Any) -> Float[Tensor, ""]:
    """The mean of -log p(target), in nats, straight from the logits: log Σ exp(s) - s(target).

    The probabilities themselves are never made, so one that rounds to zero does not become an infinite loss.
    Whether targets are classes is looked at on the CPU only (an accelerator would have to wait for the answer).

    >>> cross_entropy(torch.zeros(1, 8), torch.tensor([3])) / torch.log(torch.tensor(2.0))
    tensor(3.)

    Raises:
        ValueError: when targets do not fit the logits, or are not classes.
    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), section 6.2.2.3.
    """
    _check_targets(logits, targets)
    chosen = logits.gather(-1, targets.long()[..., None])[..., 0]
    return (log_sum_exp(logits) - chosen).mean()


def cross_entropy_gradient(
    logits: Float[Tensor, "*batch classes"], targets: Int[Tensor, "*batch"] | Any
) -> Float[Tensor, "*batch classes"]:
    """The gradient of `cross_entropy` to the logits: (p - y) / N, y one at the target and zero elsewhere.

    >>> cross_entropy_gradient(torch.zeros(1, 2), torch.tensor([0]))
    tensor([[-0.5000,  0.5000]])

    Raises:
        ValueError: when targets do not fit the logits, or are not classes.
    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), section 6.2.2.3.
    """
    _check_targets(logits, targets)
    wanted = torch.zeros_like(logits).scatter_(-1, targets.long()[..., None], 1.0)
    return (softmax(logits) - wanted) / targets.numel()


def _check_targets(logits: Tensor, targets: Tensor) -> None:
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise ValueError(f"targets must be the numbers of classes (torch.long), got {targets.dtype}")
    if targets.shape != logits.shape[:-1]:
        wanted = f"{tuple(logits.shape[:-1])}, one class for each row of logits {tuple(logits.shape)}"
        raise ValueError(f"targets must have the shape {wanted}, got {tuple(targets.shape)}")
    classes = logits.shape[-1]
    if not holds(targets, lambda targets: ((targets >= 0) & (targets < classes)).all()):
        found = f"from {int(targets.min())} to {int(targets.max())}"
        raise ValueError(f"targets must be between 0 and {classes - 1} for {classes} classes, got {found}")
