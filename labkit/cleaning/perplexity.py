"""Filter by perplexity: how surprised is a model of clean text by a document?

model = PerplexityFilter().fit(clean).calibrate(crawl)
model.bits_per_character(crawl)      # low: like the clean text; high: unlike it
model.parts(crawl)                   # "head", "middle" or "tail" for every document
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from labkit.cleaning.limits import refuse_no_text
from labkit.ngrams import NGramModel

PARTS = ("head", "middle", "tail")


def characters(text: str | Any) -> list[str]:
    """What the model reads: the characters in small letters, every digit a 0, blanks and line ends one blank.

    Raises:
        ValueError: if the text is no string.
    Source: Wenzek et al. (2020), the normalisation before perplexity in CCNet's code.
    """
    refuse_no_text(text)
    return list(" ".join(_digit().sub("0", text.lower()).split()))


class PerplexityFilter:
    """A character n-gram model of clean text, and the two limits that cut documents into head, middle and tail.

    CCNet takes 5-grams of SentencePiece tokens of Wikipedia; characters do the same for any language without a
    vocabulary. Perplexity per character is 2 to the power of `bits_per_character`.

    Args:
        order: the next character depends on the `order - 1` before it.

    Source: Wenzek et al. (2020), CCNet, section 3.4 ("head", "middle" and "tail" are three even parts).
    """

    def __init__(self, order: int | Any = 5):
        self.model = NGramModel(order)
        self.limits: tuple[float, float] | None = None

    def fit(self, texts: Sequence[str] | Any) -> "PerplexityFilter":
        """Learn from clean texts, each one document; called again it learns from more.

        Raises:
            ValueError: if `texts` is a single string or holds no character.
        """
        self.model.fit([characters(text) for text in _checked(texts)])
        return self

    def bits_per_character(self, texts: Sequence[str] | Any) -> Float[np.ndarray, " texts"]:
        """The bits that a document costs, divided by its characters and its end; infinite for an empty one."""
        read = [characters(text) for text in _checked(texts)]
        filled = [sentence for sentence in read if sentence]
        bits = np.full(len(read), np.inf)
        if filled:
            costs = -self.model.full_scores(filled).log_probability / np.log(2)
            lengths = np.array([len(sentence) + 1 for sentence in filled])
            sums = np.add.reduceat(costs, np.cumsum(lengths) - lengths)
            bits[[bool(sentence) for sentence in read]] = sums / lengths
        return bits

    def calibrate(self, texts: Sequence[str] | Any) -> "PerplexityFilter":
        """Set the limits so that these texts fall into three even parts; use texts of one language.

        Raises:
            ValueError: if fewer than three of them have a character.
        """
        bits = self.bits_per_character(texts)
        bits = bits[np.isfinite(bits)]
        if len(bits) < 3:
            raise ValueError(f"three parts need at least 3 texts that are not empty, got {len(bits)}")
        low, high = np.quantile(bits, [1 / 3, 2 / 3])
        self.limits = (float(low), float(high))
        return self

    def parts(self, texts: Sequence[str] | Any) -> list[str]:
        """ "head", "middle" or "tail" for every text.

        Raises:
            ValueError: before `calibrate`.
        """
        if self.limits is None:
            raise ValueError("there are no limits yet: call calibrate(texts) with texts of the crawl first")
        return [PARTS[i] for i in np.searchsorted(self.limits, self.bits_per_character(texts)).tolist()]

    def part(self, text: str | Any) -> str:
        """ "head", "middle" or "tail" for one text."""
        return self.parts([text])[0]


@dataclass(frozen=True)
class Price:
    """What is left of held-out text after a step, and what it costs a model that was trained on such text.

    `left` is the share of its characters, `own` the bits for each of these, `original` the same bits shared among all
    characters that stood there before, `writable` the share of the original words that the step would let through.
    """

    left: float
    own: float
    original: float
    writable: float
    sample: str = field(compare=False)

    def __str__(self) -> str:
        return (
            f"{self.left:.2f} of the characters left; bits per character {self.own:.3f} (per original one "
            f"{self.original:.3f}); can write {self.writable:.2f} of the words"
        )


def price_of(
    train: Sequence[Sequence[str]],
    held: Sequence[Sequence[str]],
    step: Callable[[list[str]], list[str]],
    *,
    order: int = 6,
) -> Price:
    """Train a character model on what a step leaves of sentences, and judge it on what the step leaves of others.

    A model of characters has no unknown words, so texts of different vocabularies can be compared. The bits that are
    missing per original character are no gain: they are what nobody can restore.

    Args:
        train: sentences as lists of tokens; `held` are others.
        step: what is done to each sentence, as `tokens.reduced`.

    Raises:
        ValueError: if nothing is left of one of the two.
    """
    kept = [" ".join(step(list(sentence))) for sentence in held]
    model = NGramModel(order).fit([list(" ".join(step(list(sentence)))) for sentence in train])
    length, before = (sum(len(text) + 1 for text in texts) for texts in (kept, [" ".join(words) for words in held]))
    bits = model.entropy([list(text) for text in kept]) * length
    through = [word in step([word]) for sentence in held for word in sentence]
    sample = max(("".join(model.generate(most=90, seed=seed)) for seed in range(8)), key=len)
    return Price(length / before, bits / length, bits / before, sum(through) / len(through), sample)


def _checked(texts: Any) -> list:
    if isinstance(texts, str | bytes):
        raise ValueError(f"give a list of texts, got one {type(texts).__name__}: put it into brackets")
    return list(texts)


@cache
def _digit() -> re.Pattern:
    return re.compile(r"\d")
