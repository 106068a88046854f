"""Text out of a decoder, one token at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from labkit.attention import holds
from labkit.transformer.embedding import check_ids
from labkit.transformer.models import Decoder, EncoderDecoder
from labkit.transformer.state import refuse_broken


@torch.no_grad()
def generate(
    model: Decoder,
    ids: Int[Tensor, "batch prompt"] | Any,
    tokens: int,
    *,
    use_cache: bool = True,
    temperature: float | int = 0.0,
    top_k: int | None = None,
    top_p: float | int | None = None,
    stop: int | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "batch length"]:
    """The prompts with up to `tokens` more tokens each, drawn one after the other.

    Args:
        ids: prompts of one length.
        use_cache: keep the keys and values of past tokens; without, every step runs over the whole sequence again.
        temperature: 0 takes the likeliest token, 1 draws from the model's distribution.
        top_k: draw among the k likeliest only.
        top_p: draw among the likeliest only, as many as have this share of the probability together; of those that
            `top_k` left, if both are given.
        stop: a token that ends a sequence; the rest of its row is filled with it.
        generator: where chance comes from.

    Raises:
        ValueError: if the sequence would outgrow the context, on an impossible `temperature`, `top_k` or `top_p`, or if
            the model's logits are no numbers (seen on the CPU only).
    """
    _check(model, ids, tokens)
    _check_chances(model, temperature, top_k, top_p)
    length = ids.shape[1]
    cache = model.new_cache(len(ids), length + tokens) if use_cache else None
    result = torch.cat([ids, ids.new_zeros(len(ids), tokens)], dim=1)
    seen = 0
    with evaluating(model):
        for end in range(length, length + tokens):
            logits = model.head(model.hidden(result[:, seen:end], cache=cache)[:, -1])
            result[:, end] = choose(logits, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
            seen = end if use_cache else 0
            if stop is not None and _all_stopped(result[:, length : end + 1], stop):
                return result[:, : end + 1]
    return result


@torch.no_grad()
def translate(
    model: EncoderDecoder,
    source: Int[Tensor, "batch source"],
    *,
    start: int,
    tokens: int,
    stop: int | None = None,
    source_mask: Bool[Tensor, "batch source"] | None = None,
) -> Int[Tensor, "batch length"]:
    """The likeliest target, token by token, for each source, without the token `start` that it begins from.

    Args:
        stop: a token that ends a target; the rest of its row is filled with it.

    Raises:
        ValueError: if the target would outgrow the context, or if the model's logits are no numbers.
    """
    if tokens + 1 > model.config.context:
        raise ValueError(f"start and {tokens} tokens more must fit the context of {model.config.context}")
    refuse_broken(model)
    result = source.new_full((len(source), 1), start)
    with evaluating(model):
        memory = model.encode(source, source_mask)
        for _ in range(tokens):
            logits = model.decode(result, memory, source_mask)[:, -1]
            result = torch.cat([result, choose(logits)[:, None]], dim=1)
            if stop is not None and _all_stopped(result[:, 1:], stop):
                break
    return result[:, 1:]


def choose(
    logits: Float[Tensor, "batch vocabulary"],
    *,
    temperature: float | int = 0.0,
    top_k: int | None = None,
    top_p: float | int | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, " batch"]:
    """One token for each row of logits: the likeliest at temperature 0, else drawn from softmax(logits / temperature).

    `top_k` and then `top_p` leave only likely ones to draw from, in the order of transformers.

    Raises:
        ValueError: if a row is not finite (on the CPU).
    """
    if not holds(logits, lambda logits: logits.isfinite().all()):
        raise ValueError("the model's logits are NaN or infinite: one of its weights is, or they have overflowed")
    if temperature == 0:
        return logits.argmax(dim=-1)
    where = None
    if top_k is not None:
        logits, where = logits.topk(top_k, dim=-1)
    logits = with_temperature(logits, temperature)
    if top_p is not None:
        logits = nucleus(logits, top_p)
    drawn = _draw(torch.softmax(logits, dim=-1), generator)
    return (drawn if where is None else where.gather(1, drawn))[:, 0]


def with_temperature(
    logits: Float[Tensor, "*batch vocabulary"], temperature: float | int
) -> Float[Tensor, "*batch vocabulary"]:
    """The logits divided by a temperature: below 1 likely tokens become likelier still, above 1 less so.

    Raises:
        ValueError: if the temperature is not positive; at 0 there is no chance, take the likeliest.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature must be positive, got {temperature}: for none take the likeliest token")
    return logits / temperature


def truncate(logits: Float[Tensor, "*batch vocabulary"], k: int) -> Float[Tensor, "*batch vocabulary"]:
    """The k largest logits of each row (more, if the last of them is there twice), −∞ in the place of the others.

    Raises:
        ValueError: if k is not between 1 and the vocabulary.

    Source: Fan et al. (2018), "Hierarchical neural story generation".

    >>> truncate(torch.tensor([1.0, 3.0, 2.0]), 2)
    tensor([-inf, 3., 2.])
    """
    if not 1 <= k <= logits.shape[-1]:
        raise ValueError(f"top_k must lie between 1 and the vocabulary of {logits.shape[-1]}, got {k}")
    least = logits.topk(k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < least, -torch.inf)


def nucleus(logits: Float[Tensor, "*batch vocabulary"], p: float | int) -> Float[Tensor, "*batch vocabulary"]:
    """The logits of the fewest tokens that have the probability p together, −∞ in the place of the others.

    Raises:
        ValueError: if p is not above 0 and at most 1.

    Source: Holtzman et al. (2020), "The curious case of neural text degeneration", section 3.1.

    >>> nucleus(torch.tensor([0.5, 0.1, 0.4]).log(), 0.7).exp()
    tensor([0.5000, 0.0000, 0.4000])
    """
    _check_share(p)
    if p == 1:  # rounding could take away the last ones
        return logits
    probability, order = torch.softmax(logits, dim=-1).sort(dim=-1, descending=True, stable=True)
    before = probability.cumsum(dim=-1) - probability  # what the likelier tokens have together
    return logits.masked_fill((before >= p).gather(-1, order.argsort(dim=-1)), -torch.inf)


def _draw(probabilities: Float[Tensor, "batch choices"], generator: torch.Generator | None) -> Int[Tensor, "batch 1"]:
    """One choice for each row, drawn where the generator lives: one on the CPU serves a model anywhere."""
    home = probabilities.device if generator is None else generator.device
    return torch.multinomial(probabilities.to(home), 1, generator=generator).to(probabilities.device)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model without dropout, for a while; afterwards each part is in the mode that it was in."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in before.items():
            module.training = mode


def _all_stopped(new: Tensor, stop: int) -> bool:
    """Fill what follows a stop token with it, in place, and say whether every row has stopped."""
    stopped = (new == stop).cumsum(dim=1) > 0
    new[stopped] = stop
    return bool(stopped[:, -1].all())


def _check(model: Decoder, ids: Any, tokens: int) -> None:
    check_ids(ids, model.config)
    prompt, context = ids.shape[1], model.config.context
    if tokens < 0 or prompt + tokens > context:
        raise ValueError(f"{prompt} tokens of prompt and {tokens} more must fit the context of {context} tokens")
    refuse_broken(model)


def _check_chances(model: Decoder, temperature: float | int, top_k: int | None, top_p: float | int | None) -> None:
    if temperature < 0:
        raise ValueError(f"temperature must not be negative, got {temperature}")
    if top_k is not None and not 1 <= top_k <= model.config.vocabulary:
        raise ValueError(f"top_k must lie between 1 and the vocabulary of {model.config.vocabulary}, got {top_k}")
    if top_p is not None:
        _check_share(top_p)


def _check_share(p: float | int) -> None:
    if not 0 < p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {p}")
