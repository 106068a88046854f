"""Scaled dot-product attention for any leading axes, and its whole backward pass by hand."""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from labkit.attention.masks import allowed_keys, refuse_blind
from labkit.attention.softmax import softmax, softmax_backward
from labkit.attention.values import refuse_not_finite


class Gradients(NamedTuple):
    """What `attention_backward` finds: the gradient of the loss to each matrix on the way, last first."""

    value: Tensor  # dV
    weights: Tensor  # dP, of the probabilities
    scores: Tensor  # dS, of what softmax was taken of; the gradient of a bias, too
    query: Tensor  # dQ
    key: Tensor  # dK


def attention_weights(
    query: Float[Tensor, "*#batch queries dim"],
    key: Float[Tensor, "*#batch keys dim"] | Any,
    mask: Tensor | Any = None,
    *,
    causal: bool = False,
    scale: float | int | None = None,
    bias: Float[Tensor, "..."] | None = None,
    true_means: str = "attend",
) -> Float[Tensor, "*#batch queries keys"]:
    """How much each query looks at each key: softmax(Q Kᵀ / √d + bias), one distribution for each query.

    `scale` takes the place of 1 / √d; `bias` is added to the scores. `mask` is boolean, True (or, with
    `true_means="ignore"`, False) where a query may look; `causal` keeps it from looking ahead.

    >>> attention_weights(torch.zeros(2, 4), torch.zeros(2, 4), causal=True)
    tensor([[1.0000, 0.0000],
            [0.5000, 0.5000]])

    Raises:
        ValueError: for shapes that do not fit, a mask that is not boolean, a query that may look nowhere, and, on the
            CPU, for an input that holds NaN or infinity.
    Source: Vaswani et al., Attention Is All You Need (2017), section 3.2.1, equation 1.
    """
    _check_shapes(query, key)
    refuse_not_finite(query=query, key=key)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = scale * (query @ key.transpose(-2, -1))
    if bias is not None:
        scores = scores + bias
    allowed = allowed_keys(*scores.shape[-2:], mask, causal=causal, true_means=true_means, device=query.device)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -math.inf)
    if bias is not None:
        _check_bias(bias, scores)
    return softmax(scores)


def attention(
    query: Float[Tensor, "*#batch queries dim"],
    key: Float[Tensor, "*#batch keys dim"] | Any,
    value: Float[Tensor, "*#batch keys value_dim"] | Any,
    mask: Tensor | Any = None,
    *,
    causal: bool = False,
    scale: float | int | None = None,
    bias: Float[Tensor, "..."] | None = None,
    true_means: str = "attend",
) -> Float[Tensor, "*#batch queries value_dim"]:
    """For each query the mean of the values, weighted by how much it looks at their keys.

    Axes before the last two are batches of any number; they broadcast. See `attention_weights` for the rest.

    >>> attention(torch.zeros(1, 4), torch.zeros(2, 4), torch.tensor([[0.0, 2.0], [4.0, 6.0]]))
    tensor([[2., 4.]])

    Raises:
        ValueError: as `attention_weights`.
    Source: Vaswani et al., Attention Is All You Need (2017), section 3.2.1, equation 1.
    """
    _check_shapes(query, key, value)
    refuse_not_finite(value=value)
    weights = attention_weights(query, key, mask, causal=causal, scale=scale, bias=bias, true_means=true_means)
    return weights @ value


def attention_backward(
    grad: Float[Tensor, "*#batch queries value_dim"],
    query: Float[Tensor, "*#batch queries dim"],
    key: Float[Tensor, "*#batch keys dim"] | Any,
    value: Float[Tensor, "*#batch keys value_dim"] | Any,
    mask: Tensor | Any = None,
    *,
    causal: bool = False,
    scale: float | int | None = None,
    bias: Float[Tensor, "..."] | None = None,
    true_means: str = "attend",
) -> Gradients:
    """The gradients of `attention` from the gradient of its output: dV, dP, dS, dQ and dK.

    With O = P V, P = softmax(S) and S = Q Kᵀ / √d: each product hands its gradient back to both factors, and softmax
    lies between them. A key that a query may not see has P = 0, therefore dS = 0: the mask needs no line of its own.

    Raises:
        ValueError: as `attention`.
    Source: Dao et al., FlashAttention (2022), appendix B.2.
    """
    _check_shapes(query, key, value)
    refuse_not_finite(value=value, grad=grad)
    weights = attention_weights(query, key, mask, causal=causal, scale=scale, bias=bias, true_means=true_means)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    d_value = weights.transpose(-2, -1) @ grad
    d_weights = grad @ value.transpose(-2, -1)
    d_scores = softmax_backward(d_weights, weights)
    d_query = scale * (d_scores @ key)
    d_key = scale * (d_scores.transpose(-2, -1) @ query)
    # What was broadcast in the forward pass was used several times: its gradients add up.
    return Gradients(
        value=d_value.sum_to_size(value.shape),
        weights=d_weights,
        scores=d_scores,
        query=d_query.sum_to_size(query.shape),
        key=d_key.sum_to_size(key.shape),
    )


def repeat_heads(x: Float[Tensor, "*batch kv_heads keys dim"], times: int) -> Float[Tensor, "*batch heads keys dim"]:
    """Each head of keys or values `times` times in a row, so that groups of query heads share it.

    >>> repeat_heads(torch.tensor([[[1.0]], [[2.0]]]), 2).flatten()
    tensor([1., 1., 2., 2.])

    Source: Ainslie et al., GQA (2023), section 2.2.
    """
    return x if times == 1 else x.repeat_interleave(times, dim=-3)


def _check_bias(bias: Tensor, scores: Tensor) -> None:
    """A bias of -inf is another way to forbid a key; a query that is left none, or any other infinity, is an error."""
    refuse_not_finite(bias=bias.nan_to_num(nan=math.nan, posinf=math.inf, neginf=0.0))
    refuse_blind(scores > -math.inf)


def _check_shapes(query: Tensor, key: Tensor, value: Tensor | None = None) -> None:
    """Errors that say what does not fit; torch's own name neither heads nor keys."""
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"query and key must have the same last axis, got {query.shape[-1]} and {key.shape[-1]}")
    if value is not None and key.shape[-2] != value.shape[-2]:
        raise ValueError(f"each key needs one value: got {key.shape[-2]} keys and {value.shape[-2]} values")
    for name, other in {"key": key, "value": key if value is None else value}.items():
        try:
            torch.broadcast_shapes(query.shape[:-2], other.shape[:-2])
        except RuntimeError:
            ours, theirs = tuple(query.shape[:-2]), tuple(other.shape[:-2])
            advice = "use repeat_heads when several query heads share one"
            raise ValueError(f"query has leading axes {ours}, {name} {theirs}: {advice}") from None
