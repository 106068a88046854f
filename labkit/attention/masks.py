"""Masks: which query may look at which key. True means "may attend" everywhere here; libraries disagree about it."""

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from labkit.attention.values import holds

POLARITIES = ("attend", "ignore")


def causal_mask(queries: int, keys: int | None = None, device: Any = None) -> Bool[Tensor, "queries keys"]:
    """True where a query may look: at itself and at what came before.

    With fewer queries than keys the two are aligned at their ends: the last query sees every key, as a key-value cache
    needs and as FlashAttention does since 2.1. Torch's `is_causal` aligns their beginnings instead.

    >>> causal_mask(2, 3)
    tensor([[ True,  True, False],
            [ True,  True,  True]])

    Raises:
        ValueError: with more queries than keys, since the first ones could look nowhere.
    Source: Vaswani et al., Attention Is All You Need (2017), section 3.2.3.
    """
    keys = queries if keys is None else keys
    if queries > keys:
        blind = f"the first {queries - keys} could look at nothing"
        raise ValueError(f"a causal mask of {queries} queries and {keys} keys: {blind}; give at least as many keys")
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def padding_mask(lengths: Int[Tensor, " batch"], keys: int) -> Bool[Tensor, "batch 1 1 keys"]:
    """True where a key is text and not padding behind it; it broadcasts over heads and queries.

    The lengths are looked at on the CPU only (an accelerator would have to wait for the answer).

    >>> padding_mask(torch.tensor([1, 3]), keys=3)[:, 0, 0]
    tensor([[ True, False, False],
            [ True,  True,  True]])

    Raises:
        ValueError: for a length of 0 or below, or above `keys`.
    """
    if not holds(lengths, lambda lengths: ((lengths > 0) & (lengths <= keys)).all()):
        raise ValueError(f"lengths must be between 1 and the number of keys, {keys}; got {lengths.tolist()}")
    return (torch.arange(keys, device=lengths.device) < lengths[:, None])[:, None, None, :]


def may_attend(mask: Bool[Tensor, "*shape"] | Any, true_means: str = "attend") -> Bool[Tensor, "*shape"]:
    """The mask in the sense of this course: True where a query may look, whatever True meant before.

    `true_means="attend"` is the sense of torch's `scaled_dot_product_attention`, `"ignore"` that of the masks of
    torch's `nn.MultiheadAttention` and `nn.Transformer`.

    >>> may_attend(torch.tensor([False, True]), true_means="ignore")
    tensor([ True, False])

    Raises:
        ValueError: for a mask that is not boolean, or another polarity.
    """
    if true_means not in POLARITIES:
        raise ValueError(f"true_means must be 'attend' or 'ignore', got {true_means!r}")
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(
            f"a mask must be boolean, got {got}: use mask.bool(), or bias= for numbers added to the scores"
        )
    return mask if true_means == "attend" else ~mask


def refuse_blind(mask: Bool[Tensor, "*leading queries keys"]) -> None:
    """Nothing, when every query may look somewhere; otherwise an error with the first one that may not.

    Softmax over nothing is 0 / 0: one such query turns the whole model into NaN. Looked at on the CPU only (an
    accelerator would have to wait for the answer).

    Raises:
        ValueError: naming the query, and its batch and head if the mask has them.
    """
    if holds(mask, lambda mask: mask.any(dim=-1).all()):
        return
    place = (~mask.any(dim=-1)).nonzero()[0].tolist()
    names = [*(f"axis {i}" for i in range(len(place) - 3)), *["batch", "head", "query"][-len(place) :]]
    where = ", ".join(f"{name} {index}" for name, index in zip(names, place, strict=True))
    advice = "let it look at one key at least (padding at itself) and leave its output out of the loss"
    raise ValueError(f"{where} may look at no key (mask {tuple(mask.shape)}, True = may attend): {advice}")


def allowed_keys(
    queries: int, keys: int, mask: Tensor | Any = None, *, causal: bool = False, true_means: str = "attend", device=None
) -> Bool[Tensor, "*leading queries keys"] | None:
    """A mask and causality together as one mask in which every query sees something, or None when all is allowed.

    Raises:
        ValueError: as `may_attend`, `causal_mask` and `refuse_blind`, and for a mask that does not fit.
    """
    if mask is None:
        return causal_mask(queries, keys, device=device) if causal else None
    mask = may_attend(mask, true_means)
    if mask.ndim < 1 or mask.shape[-1] not in (1, keys) or (mask.ndim > 1 and mask.shape[-2] not in (1, queries)):
        wanted = f"a mask for {queries} queries and {keys} keys must end in (queries, keys) or ones"
        raise ValueError(f"{wanted}, got {tuple(mask.shape)}; (batch, keys) needs mask[:, None, None]")
    mask = mask.expand(*mask.shape[:-2], mask.shape[-2] if mask.ndim > 1 else 1, keys)
    if causal:
        mask = mask & causal_mask(queries, keys, device=mask.device)
    refuse_blind(mask)
    return mask
