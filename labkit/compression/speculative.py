"""Speculative decoding: a cheap model drafts, the large one checks many tokens at once, and nobody sees a difference.

The large model has the distribution p of the next token, the draft has q. A token x drawn from q is kept with the
probability min(1, p(x) / q(x)); if it is not, one is drawn from what p has more than q. What comes out is drawn from p.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import starmap
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.attention import holds
from labkit.transformer import Decoder
from labkit.transformer.config import Config
from labkit.transformer.generation import evaluating

Probabilities = Float[Tensor, "*places vocabulary"]
Rule = Callable[[Tensor, Tensor], Tensor]


def acceptance(p: Probabilities, q: Probabilities) -> Probabilities:
    """How likely each token is kept when the draft proposes it: min(1, p / q).

    Source: Leviathan, Kalman and Matias (2023), "Fast inference from transformers via speculative decoding", section
    2.3 and algorithm 1.

    >>> acceptance(torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.25, 0.6, 0.15]))
    tensor([1.0000, 0.5000, 1.0000])
    """
    return (p / q.clamp_min(torch.finfo(q.dtype).tiny)).clamp_max(1)


def residual(p: Probabilities, q: Probabilities) -> Probabilities:
    """What a refused token is drawn from instead: what p has more than q, divided by its sum; p itself where p = q.

    Source: Leviathan et al. (2023), section 2.3 and algorithm 1.

    >>> residual(torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.25, 0.6, 0.15]))
    tensor([0.8333, 0.0000, 0.1667])
    """
    more = (p - q).clamp_min(0)
    total = more.sum(-1, keepdim=True)
    return torch.where(total > 0, more / total.clamp_min(torch.finfo(p.dtype).tiny), p)


def overlap(p: Probabilities, q: Probabilities) -> Float[Tensor, "*places"]:
    """How likely a token of the draft is kept: Σ min(p, q), 1 for equal distributions, 0 for foreign ones.

    Source: Leviathan et al. (2023), theorem 3.5.
    """
    return torch.minimum(p, q).sum(-1)


def emitted(
    p: Probabilities, q: Probabilities, accept: Rule = acceptance, again: Rule = residual
) -> Float[Tensor, "*places vocabulary"]:
    """The distribution of the token that comes out, computed and not drawn; with the right rules it is p.

    Source: Leviathan et al. (2023), appendix A.1.
    """
    kept = q * accept(p, q)
    return kept + (1 - kept.sum(-1, keepdim=True)) * again(p, q)


def expected_tokens(alpha: float | int, drafts: int) -> float:
    """Tokens that a round of so many drafts brings, if each is kept with the probability `alpha`: 1 + α + … + α^γ.

    Raises:
        ValueError: for an alpha outside 0 to 1, or fewer than one draft.
    Source: Leviathan et al. (2023), equation 1.

    >>> expected_tokens(0.5, 2), expected_tokens(1, 4)
    (1.75, 5.0)
    """
    refuse_drafts(drafts)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is the share of drafts that are kept, from 0 to 1, got {alpha}")
    return float(drafts + 1) if alpha == 1 else (1 - alpha ** (drafts + 1)) / (1 - alpha)


def expected_speedup(alpha: float | int, drafts: int, cost: float | int) -> float:
    """How many times faster text comes, if a run of the draft takes `cost` of a run of the large model.

    It supposes that the large model checks all drafts in the time of one token.

    Raises:
        ValueError: as `expected_tokens`, and for a negative cost.
    Source: Leviathan et al. (2023), theorem 3.8.

    >>> round(expected_speedup(0.8, 5, 0.02), 2), expected_speedup(0, 1, 1)
    (3.35, 0.5)
    """
    if cost < 0:
        raise ValueError(f"cost is a share of the large model's time, so it is not negative, got {cost}")
    return expected_tokens(alpha, drafts) / (drafts * cost + 1)


def verify(
    drafted: Int[Tensor, " drafts"],
    q: Float[Tensor, "drafts vocabulary"],
    p: Float[Tensor, "drafts_and_one vocabulary"],
    *,
    generator: torch.Generator | None = None,
    accept: Rule = acceptance,
    again: Rule = residual,
) -> tuple[int, Int[Tensor, " one"]]:
    """How many of the drafted tokens are kept, and the token that follows them: the large model's own, in any case.

    Args:
        q: the draft's probabilities at each drafted token.
        p: the large model's at the same places, and at one more.

    Source: Leviathan et al. (2023), algorithm 1.
    """
    kept = 0
    if len(drafted):
        chances = accept(p[:-1], q).gather(1, drafted[:, None])[:, 0]
        kept = int((uniform(chances, generator) < chances).long().cumprod(0).sum())
    last = p[kept] if kept == len(drafted) else again(p[kept], q[kept])
    return kept, draw(last, generator)


@dataclass(frozen=True)
class Spoken:
    """A text, and for each round how many tokens were drafted and how many of them kept; one more came each time."""

    ids: Int[Tensor, "one length"] = field(repr=False)
    rounds: tuple[tuple[int, int], ...]
    seconds: float = field(compare=False)

    @property
    def acceptance_rate(self) -> float:
        """The share of the tokens looked at that were kept; what stands behind a refused one was not looked at."""
        kept = sum(kept for _, kept in self.rounds)
        looked_at = sum(starmap(lambda drafted, kept: min(drafted, kept + 1), self.rounds))
        return kept / looked_at if looked_at else 0.0

    @property
    def tokens_per_round(self) -> float:
        """Tokens that one run of the large model brought."""
        return sum(kept + 1 for _, kept in self.rounds) / len(self.rounds) if self.rounds else 0.0


class Bigram(nn.Module):
    """The cheapest draft there is: how often each token followed each other one in a text.

    Args:
        ids: the text to count in.
        weight: of the share that a token has in the whole text, counted as so many tokens after each.

    Source: Leviathan et al. (2023), section 4.2, drafts for which c is almost 0.
    """

    def __init__(self, ids: Int[Tensor, " tokens"], vocabulary: int, weight: float | int = 1.0):
        super().__init__()
        if len(ids) < 2 or not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
            raise ValueError(f"counting needs two tokens or more, all below the vocabulary of {vocabulary}")
        if not 0 <= weight < math.inf:
            raise ValueError(f"weight counts as so many tokens after each, so give 0 or more, got {weight}")
        pairs = torch.bincount(ids[:-1] * vocabulary + ids[1:], minlength=vocabulary**2).view(vocabulary, vocabulary)
        overall = (torch.bincount(ids, minlength=vocabulary) + 1.0) / (len(ids) + vocabulary)
        seen = pairs.sum(1, keepdim=True) + weight
        table = torch.where(seen > 0, (pairs + weight * overall) / seen.clamp_min(1e-30), overall)
        self.register_buffer("table", table.log())
        self.config = Config(vocabulary, context=2**31, layers=1, heads=1, width=1)

    def forward(self, ids: Int[Tensor, "batch tokens"], *, cache: Any = None) -> Float[Tensor, "batch tokens words"]:
        """The logits of the token after each: they depend on it alone, so there is nothing to keep in a cache."""
        return self.table[ids]

    def new_cache(self, batch: int, capacity: int | None = None) -> list:
        """Nothing."""
        return []


@torch.no_grad()
def speculative_generate(
    target: Decoder | nn.Module,
    draft: Decoder | nn.Module,
    ids: Int[Tensor, "one prompt"] | Any,
    tokens: int | Any,
    *,
    drafts: int | Any = 4,
    temperature: float | int = 0.0,
    stop: int | None = None,
    generator: torch.Generator | None = None,
    accept: Rule = acceptance,
    again: Rule = residual,
) -> Spoken:
    """What `generate(target, ids, tokens)` writes, or at a temperature could as well, with fewer runs of the target.

    Args:
        target, draft: models of one vocabulary; each keeps its own cache, cut back to what was kept.
        drafts: tokens that the draft proposes in a round (γ in the paper).
        temperature: 0 takes the likeliest token, else both models' logits are divided by it.
        stop: a token that ends the text; what its round has brought behind it is dropped.

    Raises:
        ValueError: for models with different vocabularies, drafts below 1, a prompt that is empty or not one, a text
            longer than one of the contexts, or (seen on the CPU only) logits that are no numbers.
    Source: Leviathan et al. (2023), algorithm 1.
    """
    _check(target, draft, ids, tokens, drafts, temperature)
    began, length = time.perf_counter(), ids.shape[1] + tokens
    large, small = (_Reader(model, length, temperature) for model in (target, draft))
    rounds = []
    with evaluating(target), evaluating(draft):
        while ids.shape[1] < length:
            count = min(drafts, length - ids.shape[1] - 1)
            proposed, q = small.propose(ids, count, generator)
            p = large.read(proposed)[-count - 1 :]
            kept, last = verify(proposed[0, ids.shape[1] :], q, p, generator=generator, accept=accept, again=again)
            before, ids = ids.shape[1], torch.cat([proposed[:, : ids.shape[1] + kept], last[None]], dim=1)
            rounds.append((count, kept))
            if stop is not None and stop in (new := ids[0, before:].tolist()):
                ids = ids[:, : before + new.index(stop) + 1]
                break
            for reader in (large, small):
                reader.forget(ids.shape[1] - 1)
    return Spoken(ids, tuple(rounds), time.perf_counter() - began)


class _Reader:
    """A model on its way through one text, with a cache from which the end can be taken back."""

    def __init__(self, model: nn.Module, capacity: int, temperature: float | int):
        self.model, self.temperature, self.length = model, temperature, 0
        self.cache = model.new_cache(1, capacity)

    def read(self, ids: Tensor) -> Tensor:
        """The probabilities of the token after each of those not read before."""
        logits = self.model(ids[:, self.length :], cache=self.cache)[0]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # chances in half precision are too coarse
        if not holds(logits, lambda logits: (logits.amax(-1).isfinite() & ~logits.isnan().any(-1)).all()):
            raise ValueError("the logits of the target or the draft are NaN or infinite: one of its weights is")
        self.length = ids.shape[1]
        if self.temperature == 0:
            return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
        return torch.softmax(logits / self.temperature, dim=-1)

    def propose(self, ids: Tensor, count: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """The text with so many more tokens of this model, and the probabilities that each was drawn from."""
        chances = []
        for _ in range(count):
            chances.append(self.read(ids)[-1])
            ids = torch.cat([ids, draw(chances[-1], generator)[None]], dim=1)
        return ids, torch.stack(chances) if chances else torch.zeros(0, self.model.config.vocabulary)

    def forget(self, length: int) -> None:
        """Keep what was computed for the first tokens only."""
        self.length = min(self.length, length)
        for layer in self.cache:
            layer.length = self.length


def uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Numbers from 0 to 1 of the shape of `like`, drawn where the generator lives."""
    home = like.device if generator is None else generator.device
    return torch.rand(like.shape, generator=generator, device=home, dtype=like.dtype).to(like.device)


def draw(probabilities: Tensor, generator: torch.Generator | None, count: int = 1) -> Tensor:
    """So many independent tokens, drawn where the generator lives."""
    home = probabilities.device if generator is None else generator.device
    drawn = torch.multinomial(probabilities.to(home), count, replacement=True, generator=generator)
    return drawn.to(probabilities.device)


def refuse_drafts(drafts: Any) -> None:
    """Refuse a number of drafts that is no whole number from 1 on."""
    if not isinstance(drafts, int) or isinstance(drafts, bool) or drafts < 1:
        raise ValueError(f"a round drafts at least 1 token, a whole number, got {drafts!r}")


def _check(target: Any, draft: Any, ids: Any, tokens: Any, drafts: Any, temperature: float | int) -> None:
    refuse_drafts(drafts)
    sizes = target.config.vocabulary, draft.config.vocabulary
    if sizes[0] != sizes[1]:
        raise ValueError(f"the target has {sizes[0]} tokens and the draft {sizes[1]}: both need the same tokenizer")
    if not isinstance(ids, Tensor) or ids.ndim != 2 or len(ids) != 1 or not ids.shape[1]:
        shape = tuple(getattr(ids, "shape", [type(ids).__name__]))
        raise ValueError(f"one prompt of at least one token is needed, as a tensor (1, tokens), got {shape}")
    room = min(target.config.context, draft.config.context)
    if not isinstance(tokens, int) or tokens < 0 or ids.shape[1] + tokens > room:
        raise ValueError(f"{ids.shape[1]} tokens of prompt and {tokens} more must fit the context of {room} tokens")
    if not temperature >= 0:
        raise ValueError(f"temperature must not be negative, got {temperature}")
