"""Smoothing: from counts to probabilities. Every method is one short `estimate`.

`estimate(level, lower)` gets the n-grams of one order and, for each of them, the probability of its last word after the
shorter context. It returns the probability of every n-gram that was seen, and for every context a back-off weight: the
factor on the shorter context's probability for words that were not seen there. At order 1 `lower` is uniform.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Num

from labkit.ngrams.counting import Level
from labkit.ngrams.good_turing import katz_ratios, simple_good_turing

Estimate = tuple[Float[np.ndarray, " ngrams"], Float[np.ndarray, " contexts"]]


def ratio(part: Num[np.ndarray, " n"], whole: Num[np.ndarray, " n"], *, empty: float) -> Float[np.ndarray, " n"]:
    """`part / whole`, and `empty` where the whole is zero."""
    return np.divide(part, whole, out=np.full(len(part), empty), where=whole > 0)


@dataclass(frozen=True)
class Smoothing:
    """What all methods share. Subclasses are values: two with equal parameters are equal."""

    normalised: ClassVar[bool] = True  # do the probabilities after a context add up to one?
    to_uniform: ClassVar[bool] = False  # do unseen words share the rest equally, whatever the shorter context says?

    @property
    def unseen_context(self) -> float:
        """The factor for a context that was never seen: 1, the shorter context decides alone."""
        return 1.0

    def estimate(self, level: Level, lower: Float[np.ndarray, " ngrams"]) -> Estimate:
        """Probabilities of the n-grams of a level and back-off weights of their contexts."""
        raise TypeError(f"{type(self).__name__} has no estimate: choose one of its subclasses")


@dataclass(frozen=True)
class MaximumLikelihood(Smoothing):
    """Relative frequency: what was not seen is impossible.

    Source: Jurafsky & Martin, Speech and Language Processing, 3rd ed. draft, eq. 3.11.
    """

    def estimate(self, level: Level, lower: Float[np.ndarray, " ngrams"]) -> Estimate:
        """c(h, w) / c(h)."""
        total = level.sum(level.count)
        return ratio(level.count, level.spread(total), empty=0.0), np.where(total > 0, 0.0, 1.0)


@dataclass(frozen=True)
class AddK(Smoothing):
    """Pretend that every word was seen `k` times more; the posterior mean under a symmetric Dirichlet prior.

    A context that was never seen falls to its shorter end, as with every method here (`nltk.lm` gives 1 / V).
    Source: Lidstone (1920); with k = 1 Laplace's rule.
    """

    k: float | int = 1.0
    to_uniform: ClassVar[bool] = True

    def __post_init__(self):
        _check(self, "k", 0 < self.k < np.inf, "positive and finite (k = 0 is MaximumLikelihood())")

    def estimate(self, level: Level, lower: Float[np.ndarray, " ngrams"]) -> Estimate:
        """(c(h, w) + k) / (c(h) + k V)."""
        seen = level.sum(level.count)
        total = seen + self.k * level.events
        probability = (level.count + self.k) / level.spread(total)
        # NaN: a context that nothing was seen to follow falls to its shorter end like one that was never seen.
        backoff = np.where(seen > 0, self.k * level.events / total, np.nan)
        possible = (lower > 0) if level.order == 1 else (level.count > 0)
        return np.where(possible, probability, 0.0), backoff


@dataclass(frozen=True)
class WittenBell(Smoothing):
    """The more different words followed a context, the likelier a new one.

    Source: Witten & Bell (1991), method C, interpolated as in Chen & Goodman (1998), section 2.5.
    """

    uniform: bool = True  # mix unigrams with the uniform distribution, so that unknown words are possible

    def estimate(self, level: Level, lower: Float[np.ndarray, " ngrams"]) -> Estimate:
        """(c(h, w) + T(h) p(w | shorter)) / (c(h) + T(h)), T(h) different words."""
        total = level.sum(level.count)
        types = level.sum(level.count > 0)
        if level.order == 1 and not self.uniform:
            types = np.zeros_like(types)
        backoff = ratio(types, total + types, empty=1.0)
        seen = ratio(level.count, level.spread(total + types), empty=0.0)
        return seen + level.spread(backoff) * lower, backoff


@dataclass(frozen=True)
class AbsoluteDiscounting(Smoothing):
    """Take a fixed `discount` off every count and give what was taken to the shorter context.

    Source: Ney, Essen & Kneser (1994).
    """

    discount: float | int = 0.75
    uniform: bool = True

    def __post_init__(self):
        _check(self, "discount", 0 < self.discount < 1, "between 0 and 1")

    def estimate(self, level: Level, lower: Float[np.ndarray, " ngrams"]) -> Estimate:
        """max(c - d, 0) / c(h) + d T(h) / c(h) · p(w | shorter)."""
        return _discounted(level, lower, level.count, self._discounts(level))

    def _discounts(self, level: Level) -> Float[np.ndarray, " 4"]:
        amount = self.discount if level.order > 1 or self.uniform else 0.0
        return np.array([0, amount, amount, amount])


@dataclass(frozen=True)
class KneserNey(AbsoluteDiscounting):
    """Absolute discounting, with lower orders that ask in how many contexts a word is found, not how often.

    Source: Kneser & Ney (1995), interpolated as in Chen & Goodman (1998), section 2.7.
    """

    def estimate(self, level: Level, lower: Float[np.ndarray, " ngrams"]) -> Estimate:
        """Absolute discounting of the adjusted counts."""
        return _discounted(level, lower, level.adjusted, self._discounts(level))


@dataclass(frozen=True)
class ModifiedKneserNey(Smoothing):
    """Kneser-Ney with three discounts for each order, estimated from counts of counts: for 1, 2 and 3 or more.

    Where the counts of counts give no usable discount (a small or artificial text), `fallback` is used instead.
    Source: Chen & Goodman (1998), section 3; counts as in Heafield et al. (2013).
    """

    fallback: tuple[float, float, float] = (0.5, 1.0, 1.5)

    def __post_init__(self):
        good = len(self.fallback) == 3 and all(0 <= d <= k for k, d in enumerate(self.fallback, start=1))
        _check(self, "fallback", good, "three discounts, the k-th between 0 and k")

    def estimate(self, level: Level, lower: Float[np.ndarray, " ngrams"]) -> Estimate:
        """(a(h, w) - D(a)) / a(h) + γ(h) p(w | shorter), a the adjusted counts."""
        return _discounted(level, lower, level.adjusted, self.discounts(level))

    def discounts(self, level: Level) -> Float[np.ndarray, " 4"]:
        """D(0) = 0, D(1), D(2) and D(3+) of a level: k - (k + 1) Y n(k+1) / n(k), Y = n1 / (n1 + 2 n2)."""
        n = level.counts_of_counts(4, adjusted=True).astype(float)
        if (n[1:4] == 0).any():
            return np.array([0, *self.fallback])
        k = np.arange(1, 4)
        found = k - (k + 1) * n[1] / (n[1] + 2 * n[2]) * n[2:] / n[1:4]
        usable = ((found >= 0) & (found <= k)).all()
        return np.array([0, *(found if usable else self.fallback)])


@dataclass(frozen=True)
class LinearInterpolation(Smoothing):
    """A fixed mixture: order n trusts its own relative frequency with weight λn, the shorter context with the rest.

    `weights` are λ1 … λn, those beyond the model's order unused; `fit_weights` finds them on held-out text.
    Source: Jelinek & Mercer (1980).
    """

    weights: tuple[float, ...]

    def __post_init__(self):
        good = len(self.weights) > 0 and all(0 <= w <= 1 for w in self.weights)
        _check(self, "weights", good, "one number between 0 and 1 for each order")

    def estimate(self, level: Level, lower: Float[np.ndarray, " ngrams"]) -> Estimate:
        """λ c(h, w) / c(h) + (1 - λ) p(w | shorter)."""
        if level.order > len(self.weights):
            wanted = f"a model of order {level.order} or more needs as many weights"
            raise ValueError(f"{wanted}, got {len(self.weights)}: fit_weights finds them")
        weight = self.weights[level.order - 1]
        total = level.sum(level.count)
        backoff = np.where(total > 0, 1.0 - weight, 1.0)
        return weight * ratio(level.count, level.spread(total), empty=0.0) + level.spread(backoff) * lower, backoff


@dataclass(frozen=True)
class Katz(Smoothing):
    """Back off to the shorter context only where a word was not seen; Good-Turing says how much is left for that.

    Counts above `k` are trusted as they are.
    Source: Katz (1987); Chen & Goodman (1998), section 2.4.
    """

    k: int = 5

    def __post_init__(self):
        _check(self, "k", self.k >= 2, "at least 2: with 1 the formula takes counts of 1 away altogether")

    def estimate(self, level: Level, lower: Float[np.ndarray, " ngrams"]) -> Estimate:
        """d(c) c(h, w) / c(h), and α(h) p(w | shorter) for the rest."""
        kept = katz_ratios(level.counts_of_counts(self.k + 1))
        return _backed_off(level, lower, level.count * kept[np.minimum(level.count, self.k + 1)])


@dataclass(frozen=True)
class GoodTuring(Smoothing):
    """Every count replaced by its simple Good-Turing estimate; the mass set free goes to the shorter context.

    Source: Gale & Sampson (1995).
    """

    def estimate(self, level: Level, lower: Float[np.ndarray, " ngrams"]) -> Estimate:
        """r*(c(h, w)) / c(h), and α(h) p(w | shorter) for the rest."""
        values, numbers = np.unique(level.count[level.count > 0], return_counts=True)
        reduced = simple_good_turing(values, numbers)
        place = np.searchsorted(values, level.count).clip(0, len(values) - 1)
        return _backed_off(level, lower, np.where(level.count > 0, reduced[place], 0.0))


@dataclass(frozen=True)
class StupidBackoff(Smoothing):
    """Relative frequency, or `alpha` times the score after the shorter context. Scores, not probabilities.

    Source: Brants et al. (2007), section 4.
    """

    alpha: float | int = 0.4
    normalised: ClassVar[bool] = False

    def __post_init__(self):
        _check(self, "alpha", 0 < self.alpha <= 1, "above 0 and at most 1")

    @property
    def unseen_context(self) -> float:
        """`alpha`: an unseen context costs as much as an unseen word."""
        return self.alpha

    def estimate(self, level: Level, lower: Float[np.ndarray, " ngrams"]) -> Estimate:
        """c(h, w) / c(h), otherwise α times the score of the shorter context."""
        total = level.sum(level.count)
        return ratio(level.count, level.spread(total), empty=0.0), np.full(len(total), self.alpha)


def _discounted(
    level: Level,
    lower: Float[np.ndarray, " ngrams"],
    count: Num[np.ndarray, " ngrams"],
    discounts: Float[np.ndarray, " 4"],
) -> Estimate:
    taken = discounts.take(np.minimum(count, 3))
    total = level.sum(count)
    backoff = ratio(level.sum(taken), total, empty=1.0)
    inverse = ratio(np.ones(len(total)), total, empty=0.0)
    probability = np.subtract(count, taken, out=taken)  # in place: memory is what this costs
    probability *= level.spread(inverse)
    probability += level.spread(backoff) * lower
    return probability, backoff


def _backed_off(level: Level, lower: Float[np.ndarray, " ngrams"], reduced: Float[np.ndarray, " ngrams"]) -> Estimate:
    """Reduced counts as probabilities, and the weights that make each context add up to one."""
    total = level.sum(level.count)
    seen = level.count > 0
    probability = ratio(reduced, level.spread(total), empty=0.0)
    left = np.where(total > 0, 1.0 - level.sum(probability), 1.0)
    open_mass = np.where(total > 0, 1.0 - level.sum(np.where(seen, lower, 0.0)), 1.0)
    # Where no count was reduced, one more is added to the total for the unseen words, as SRILM does; where every word
    # was seen there is nobody to give to, and the words seen share everything.
    wanted = np.where(open_mass <= 1e-12, 0.0, np.where(left <= 1e-12, 1.0 / (total + 1.0), left))
    probability *= level.spread(ratio(1.0 - wanted, 1.0 - left, empty=1.0))
    backoff = ratio(wanted, open_mass, empty=0.0)
    return np.where(seen, probability, level.spread(backoff) * lower), backoff


def _check(method: Smoothing, name: str, good: bool, wanted: str) -> None:
    if not good:
        raise ValueError(f"{type(method).__name__}: {name} must be {wanted}, got {getattr(method, name)}")
