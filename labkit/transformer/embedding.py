"""From ids to the residual stream: the checks of what comes in, and the positions that are added."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from labkit.attention import LearnedPositions, holds, may_attend, sinusoidal
from labkit.transformer.config import Config


def check_ids(ids: Any, config: Config, *, start: int = 0, what: str = "ids") -> None:
    """Refuse ids that are no integers, not (batch, tokens), too many for the context or outside the vocabulary.

    Which ids they are is looked at on the CPU only: an accelerator would have to wait for the answer.

    Raises:
        ValueError: with what came and what was expected.
    """
    if not isinstance(ids, Tensor) or ids.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"{what} must be a tensor of int64, got {getattr(ids, 'dtype', type(ids).__name__)}")
    if ids.ndim != 2 or not ids.numel():
        raise ValueError(f"{what} must be (batch, tokens), at least one of each, got the shape {tuple(ids.shape)}")
    if start + ids.shape[1] > config.context:
        already = f" after {start} in the cache" if start else ""
        raise ValueError(
            f"{ids.shape[1]} tokens{already} are more than the context of {config.context}: "
            "shorten the sequence or build the model with a longer context"
        )
    refuse_outside(ids, config.vocabulary, what)


def refuse_outside(ids: Int[Tensor, "..."], number: int, what: str) -> None:
    """Refuse ids that are not among the first `number`, where looking is cheap (see `labkit.attention.holds`).

    Raises:
        ValueError: naming the first that is outside.
    """
    if not holds(ids, lambda ids: ((ids >= 0) & (ids < number)).all()):
        wrong = ids[(ids < 0) | (ids >= number)][0]
        raise ValueError(
            f"{what} must lie between 0 and {number - 1}, got {int(wrong)}: check tokenizer and vocabulary"
        )


def position_table(config: Config) -> LearnedPositions | None:
    """The learned positions, where the config asks for them; all others have no parameters."""
    return LearnedPositions(config.context, config.width) if config.positions == "learned" else None


def embed(model: nn.Module, ids: Int[Tensor, "batch tokens"], *, start: int = 0) -> Float[Tensor, "batch tokens width"]:
    """The embeddings of the tokens plus, where they are added to the stream, their positions from `start` on.

    Source: Vaswani et al. (2017), section 3.4 (embeddings times √width where sinusoids are added) and 3.5.
    """
    x = model.tokens(ids)
    if model.config.positions in ("rotary", "none"):
        return x
    places = torch.arange(start, start + ids.shape[1], device=ids.device)
    if model.config.positions == "learned":
        return x + model.positions(places)
    return x * math.sqrt(model.config.width) + sinusoidal(places, model.config.width).to(x.dtype)


def key_mask(mask: Bool[Tensor, "..."] | None, true_means: str = "attend") -> Bool[Tensor, "..."] | None:
    """A mask of the keys, (batch, keys), as attention takes it: (batch, 1, 1, keys), True meaning "may attend".

    A mask with more dimensions already says it for each query and is only turned to the one meaning.
    """
    if mask is None:
        return None
    mask = may_attend(mask, true_means)
    return mask[:, None, None, :] if mask.ndim == 2 else mask


def keep_tied(model: nn.Module) -> None:
    """Make the head of a model its embedding, if its config says so, now and whenever weights are loaded."""
    _tie(model)
    model.register_load_state_dict_post_hook(_tie)


def apply_and_tie(model: nn.Module, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """`nn.Module._apply`, through which every `.to(…)` goes, for a model with a tied head.

    A move may make new parameters, one for each name: they are tied again.
    """
    nn.Module._apply(model, fn, recurse)
    _tie(model)
    return model


def _tie(model: nn.Module, *_: Any) -> None:
    if model.config.tied:
        model.head.weight = model.tokens.weight
