"""A quality classifier: hashed words and word pairs, logistic regression, and GPT-3's rule for what to keep.

    judge = QualityClassifier().fit(good, bad)
    judge.score(["a text"])                       # P(good), one for each text
    kept = keep(judge.score(texts), seed=0)       # nearly all good ones, and a few of the others

The features are those of fastText and of Spark's HashingTF: no vocabulary is stored, a word's number is its hash.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
from jaxtyping import Bool, Float, Int

from labkit.cleaning.limits import refuse_no_text
from labkit.corpora.extras import need

# One character of Chinese or Japanese, a run of other letters and digits, or one mark.
_PIECE = r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+|[^\w\s]"
NEWTON_STEPS = 50
ROUGHLY = 1e-3  # how well each step is solved: the next one repairs the rest
SOLVED = 1e-11  # the largest slope that is left, per text
Weights = Float[np.ndarray, " weights"]  # one for each bucket, the last one for the constant


def pieces(text: str | Any) -> list[str]:
    """Words in small letters, single Chinese characters and marks, and after them all pairs of neighbours.

    >>> pieces("Buy now!")
    ['buy', 'now', '!', 'buy now', 'now !']

    Raises:
        ValueError: if the text is no string.
    """
    refuse_no_text(text)
    found = _pattern().findall(text.lower())
    return found + [f"{a} {b}" for a, b in pairwise(found)]


def bucket(piece: str, buckets: int) -> int:
    """The number of a word or pair: the same in every process, which Python's `hash` is not."""
    return crc32(piece.encode("utf-8", "surrogatepass")) % buckets


@dataclass(frozen=True, eq=False)
class Bags:
    """Texts as a sparse matrix of texts × buckets: value k stands in row `rows[k]` and column `columns[k]`."""

    rows: Int[np.ndarray, " values"]
    columns: Int[np.ndarray, " values"]
    values: Float[np.ndarray, " values"]
    shape: tuple[int, int]

    def times(self, weights: Weights) -> Float[np.ndarray, " texts"]:
        """The score of every text: the sum of its values, each times its weight, and the constant."""
        products = self.values * weights[self.columns]
        return np.bincount(self.rows, products, minlength=self.shape[0]) + weights[-1]

    def transposed_times(self, errors: Float[np.ndarray, " texts"]) -> Weights:
        """What every bucket receives when each text hands its number down to its buckets."""
        products = self.values * errors[self.rows]
        return np.append(np.bincount(self.columns, products, minlength=self.shape[1]), errors.sum())

    def dense(self) -> Float[np.ndarray, "texts buckets"]:
        """The same as a full matrix, for other libraries."""
        matrix = np.zeros(self.shape)
        matrix[self.rows, self.columns] = self.values
        return matrix

    def sparse(self) -> Any:
        """The same as a sparse matrix of SciPy, for scikit-learn."""
        matrix = need("scipy.sparse", extra="training", why="for sparse matrices of other libraries")
        return matrix.csr_matrix((self.values, (self.rows, self.columns)), self.shape)


def hashed(texts: Iterable[str] | Any, buckets: int | Any = 4096) -> Bags:
    """Texts as bags of hashed words and pairs: 1 + log(count) for each bucket, scaled to length 1 for each text.

    Raises:
        ValueError: if `texts` is a single string or `buckets` is below 1.
    Source: Weinberger et al. (2009), Feature hashing for large scale multitask learning, without their signs.
    """
    if isinstance(texts, str | bytes):
        raise ValueError(f"give a list of texts, got one {type(texts).__name__}: put it into brackets")
    if not isinstance(buckets, int) or buckets < 1:
        raise ValueError(f"buckets must be a whole number from 1 on, got {buckets!r}")
    counted = [Counter(bucket(piece, buckets) for piece in pieces(text)) for text in texts]
    lengths = [len(counts) for counts in counted]
    rows = np.repeat(np.arange(len(counted)), lengths)
    columns = np.fromiter((c for counts in counted for c in counts), dtype=np.int64, count=sum(lengths))
    values = 1 + np.log(np.fromiter((n for counts in counted for n in counts.values()), float, count=sum(lengths)))
    norm = np.sqrt(np.bincount(rows, values**2, minlength=len(counted)))
    return Bags(rows, columns, values / norm[rows], (len(counted), buckets))


def loss_and_gradient(
    weights: Weights, bags: Bags, good: Float[np.ndarray, " texts"], penalty: float | int
) -> tuple[float, Weights]:
    """The logistic loss of all texts with half the penalty times the squared weights, and its slope.

    `good` is 1 for good texts and 0 for bad ones; the constant (the last weight) costs nothing.
    """
    scores = bags.times(weights)
    costly = np.append(weights[:-1], 0.0)
    loss = (np.logaddexp(0, scores) - good * scores).sum() + penalty / 2 * costly @ costly
    return float(loss), bags.transposed_times(sigmoid(scores) - good) + penalty * costly


def newton(bags: Bags, good: Float[np.ndarray, " texts"], penalty: float | int) -> Weights:
    """The weights of smallest loss by Newton's method: each step solves the quadratic that fits the loss here."""
    weights = np.zeros(bags.shape[1] + 1)
    costs = penalty * np.append(np.ones(bags.shape[1]), 0.0)
    loss, slope = loss_and_gradient(weights, bags, good, penalty)
    for _ in range(NEWTON_STEPS):
        if np.abs(slope).max() <= SOLVED * len(good):
            break
        chances = sigmoid(bags.times(weights))
        spread = chances * (1 - chances)
        step = conjugate_gradients(partial(_bent, bags, spread, costs), -slope, accuracy=ROUGHLY)
        size = 1.0
        while loss_and_gradient(weights + size * step, bags, good, penalty)[0] > loss and size > 1e-8:
            size /= 2
        weights = weights + size * step
        loss, slope = loss_and_gradient(weights, bags, good, penalty)
    return weights


def _bent(bags: Bags, spread: Float[np.ndarray, " texts"], costs: Weights, step: Weights) -> Weights:
    """How the slope changes along a step: the matrix of second derivatives times the step."""
    return bags.transposed_times(spread * bags.times(step)) + costs * step


def conjugate_gradients(
    product: Callable[[Weights], Weights], wanted: Weights, *, most: int = 200, accuracy: float = 1e-10
) -> Weights:
    """The x with product(x) = wanted, for a symmetric positive matrix that is only known by its products."""
    x, rest = np.zeros_like(wanted), wanted.copy()
    direction, size = rest.copy(), rest @ rest
    goal = accuracy**2 * size
    for _ in range(most):
        if size <= goal:
            break
        moved = product(direction)
        step = size / (direction @ moved)
        x, rest = x + step * direction, rest - step * moved
        size, before = rest @ rest, size
        direction = rest + size / before * direction
    return x


def sigmoid(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """1 / (1 + exp(-score)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * scores))


class QualityClassifier:
    """Logistic regression on hashed words and word pairs, trained to tell good texts from bad ones.

    Args:
        buckets: how many numbers the words share; words that collide share a weight.
        penalty: of the squared weights; scikit-learn's C is 1 / penalty.

    Source: Brown et al. (2020), Language models are few-shot learners, appendix A.
    """

    def __init__(self, buckets: int | Any = 4096, penalty: float | Any = 0.1):
        if not isinstance(buckets, int) or buckets < 1 or not penalty > 0:
            raise ValueError(f"buckets must be from 1 on and penalty above 0, got {buckets!r} and {penalty!r}")
        self.buckets, self.penalty = buckets, penalty
        self.weights: Weights | None = None

    def fit(self, good: Sequence[str] | Any, bad: Sequence[str] | Any) -> "QualityClassifier":
        """Learn from texts of either kind.

        Raises:
            ValueError: if one kind is missing, or is a single string.
        """
        good, bad = (kind if isinstance(kind, str | bytes) else list(kind) for kind in (good, bad))
        if isinstance(good, str | bytes) or isinstance(bad, str | bytes):
            raise ValueError("give a list of good texts and a list of bad ones, got a single text: put it in brackets")
        if not good or not bad:
            raise ValueError(f"give texts of both kinds, got {len(good)} good and {len(bad)} bad ones")
        labels = np.repeat([1.0, 0.0], [len(good), len(bad)])
        self.weights = newton(hashed(good + bad, self.buckets), labels, self.penalty)
        return self

    def score(self, texts: Sequence[str] | Any) -> Float[np.ndarray, " texts"]:
        """P(good) of every text, from 0 to 1.

        Raises:
            ValueError: before `fit`, or if `texts` is a single string.
        """
        if self.weights is None:
            raise ValueError("the classifier has not learned anything yet: call fit(good, bad) first")
        return sigmoid(hashed(texts, self.buckets).times(self.weights))

    def reasons(self, text: str, *, most: int = 5) -> list[tuple[str, float]]:
        """The words and pairs of a text whose buckets weigh most, for it (above 0) or against it."""
        if self.weights is None:
            raise ValueError("the classifier has not learned anything yet: call fit(good, bad) first")
        weighed = {piece: float(self.weights[bucket(piece, self.buckets)]) for piece in pieces(text)}
        return sorted(weighed.items(), key=lambda pair: -abs(pair[1]))[:most]


def keep_probability(scores: Float[np.ndarray, " texts"], *, alpha: float | int = 9.0) -> Float[np.ndarray, " texts"]:
    """The share of texts of each score that `keep` keeps: (2 - score) to the power -alpha.

    >>> keep_probability(np.array([0.0, 1.0])).tolist()
    [0.001953125, 1.0]

    Raises:
        ValueError: if a score is no probability.
    """
    _check_scores(scores)
    return (2.0 - np.asarray(scores)) ** -alpha


def keep(scores: Float[np.ndarray, " texts"], *, alpha: float | int = 9.0, seed: int = 0) -> Bool[np.ndarray, " texts"]:
    """Which texts to keep: those whose draw from a Pareto distribution is above 1 - score.

    A good text nearly always stays, a bad one rarely, so what the classifier does not know is not lost altogether.

    Raises:
        ValueError: if a score is no probability.
    Source: Brown et al. (2020), appendix A: `np.random.pareto(9) > 1 - document_score`.
    """
    _check_scores(scores)
    return np.random.default_rng(seed).pareto(alpha, len(scores)) > 1 - np.asarray(scores)


def _check_scores(scores: Any) -> None:
    outside = [s for s in np.asarray(scores).ravel().tolist() if not 0 <= s <= 1]
    if outside:
        raise ValueError(f"scores must be probabilities from 0 to 1, got {outside[0]}: use QualityClassifier.score")


@cache
def _pattern() -> re.Pattern:
    return re.compile(_PIECE)
