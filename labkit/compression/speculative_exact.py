"""Speculative decoding without chance, and with very much of it: every text's probability, and many tokens to count.

What is proven here is the sentence "nobody sees a difference": by a sum over all that can happen, and by a test.
"""

from collections import Counter
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from labkit.compression.speculative import Rule, acceptance, draw, refuse_drafts, residual, uniform

Prefix = tuple[int, ...]
LEAST_EXPECTED = 5  # counts of less are put together: there the chi-square distribution is not what counts follow


def exact_distribution(
    p: Callable[[Prefix], Tensor],
    q: Callable[[Prefix], Tensor],
    tokens: int,
    drafts: int,
    *,
    accept: Rule = acceptance,
    again: Rule = residual,
    prefix: Prefix = (),
) -> dict[Prefix, float]:
    """The probability of every text of `tokens` tokens, summed over all drafts and all that can happen to them.

    Args:
        p, q: from the tokens so far to the probabilities of the next one, of the large model and of the draft.

    Raises:
        ValueError: for fewer than one draft, or a negative number of tokens.
    """
    refuse_drafts(drafts)
    if tokens < 1:
        if tokens:
            raise ValueError(f"a text has 0 tokens or more, got {tokens}")
        return {prefix: 1.0}
    result: Counter[Prefix] = Counter()
    for said, chance in _round(p, q, prefix, min(drafts, tokens - 1), accept, again).items():
        rules = {"accept": accept, "again": again, "prefix": said}
        for text, more in exact_distribution(p, q, tokens - len(said) + len(prefix), drafts, **rules).items():
            result[text] += chance * more
    return dict(result)


def _round(p: Callable, q: Callable, prefix: Prefix, drafts: int, accept: Rule, again: Rule) -> dict[Prefix, float]:
    """The chance of each text that a round can leave behind."""
    large = p(prefix)
    if not drafts:
        return {(*prefix, token): float(chance) for token, chance in enumerate(large)}
    kept = q(prefix) * accept(large, q(prefix))
    refused = (1 - kept.sum()) * again(large, q(prefix))
    result = Counter({(*prefix, token): float(chance) for token, chance in enumerate(refused)})
    for token, chance in enumerate(kept.tolist()):
        for text, more in _round(p, q, (*prefix, token), drafts - 1, accept, again).items():
            result[text] += chance * more
    return dict(result)


def draw_tokens(
    p: Float[Tensor, " vocabulary"],
    q: Float[Tensor, " vocabulary"],
    count: int,
    *,
    generator: torch.Generator | None = None,
    accept: Rule = acceptance,
    again: Rule = residual,
) -> Int[Tensor, " count"]:
    """So many single tokens, each drafted from q and then kept or replaced: for counting."""
    drafted = draw(q, generator, count)
    chances = accept(p, q)[drafted]
    instead = draw(again(p, q), generator, count)
    return torch.where(uniform(chances, generator) < chances, drafted, instead)


def chance_of_counts(counts: Int[Tensor, " kinds"], probabilities: Float[Tensor, " kinds"]) -> float:
    """How likely counts differ this much or more from what the probabilities expect: the p-value of a chi-square test.

    Kinds of which fewer than 5 are expected are put together; one that cannot come and did leaves a chance of 0.

    Raises:
        ValueError: if nothing was counted, counts and probabilities are not of the same kinds, or no probabilities.
    Source: Pearson (1900); Cochran (1954), section 3 (at least 5 expected).

    >>> round(chance_of_counts(torch.tensor([60, 40]), torch.tensor([0.5, 0.5])), 4)
    0.0455
    """
    total = int(counts.sum())
    if counts.shape != probabilities.shape or not total:
        raise ValueError(f"{total} counts of {len(counts)} kinds, and {len(probabilities)} probabilities")
    if not (probabilities.isfinite() & (probabilities >= 0)).all() or not probabilities.any():
        raise ValueError(f"probabilities must be finite, not negative and not all 0, got {probabilities.tolist()[:9]}")
    if counts[probabilities == 0].any():
        return 0.0
    expected = probabilities.double() * (total / probabilities.double().sum())
    common = expected >= LEAST_EXPECTED
    group = common.long().cumsum(0) - 1
    rare = max(0, int(common.sum()) - int(expected[~common].sum() < LEAST_EXPECTED))
    group[~common] = rare  # a group of their own if they are enough, else with the last common kind
    seen, wanted = (torch.bincount(group, weights) for weights in (counts.double(), expected))
    far = ((seen - wanted).square() / wanted).sum()
    freedom = torch.tensor(float(len(wanted) - 1)).double()
    return float(torch.special.gammaincc(freedom / 2, far / 2)) if freedom > 0 else 1.0
