"""How much to trust each order: the weights of linear interpolation, fitted by expectation maximisation."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from labkit.ngrams.encoding import pad_numbers
from labkit.ngrams.model import NGramModel
from labkit.ngrams.smoothing import MaximumLikelihood
from labkit.ngrams.tables import Tables, depths
from labkit.ngrams.vocabulary import Text, checked


@dataclass(frozen=True)
class FittedWeights:
    """λ1 … λn for `LinearInterpolation`, and the entropy of the held-out text (bits per token) before each step."""

    weights: tuple[float, ...]
    entropy: tuple[float, ...]


def fit_weights(model: NGramModel, held_out: Text, *, steps: int = 50, tolerance: float = 1e-7) -> FittedWeights:
    """The weights under which a held-out text is most probable, given the counts of `model`.

    Expectation: with what probability did each order produce each token? Maximisation: the share of the tokens that an
    order produced among those it could have. No step makes the held-out text less probable.

    Args:
        model: any fitted model; only its counts are used.
        held_out: sentences that the model was not fitted on (on its own training text the highest order takes all).

    Source: Jelinek & Mercer (1980); Dempster, Laird & Rubin (1977).
    """
    frequency, possible = relative_frequencies(model, held_out)
    if not len(frequency):
        raise ValueError("there is no held-out token to fit the weights on: give at least one sentence")
    weights = np.full(model.order, 0.5)
    history: list[float] = []
    for _ in range(steps):
        total, share = _responsibilities(frequency, possible, weights, events=model.levels[0].events)
        history.append(float(-np.log2(total).mean()))
        if len(history) > 1 and history[-2] - history[-1] < tolerance:
            break
        reached = np.cumsum(share, axis=1)[:, 1:] * possible  # produced by this order or a lower one
        weights = (share[:, 1:] * possible).sum(axis=0) / np.maximum(reached.sum(axis=0), 1e-300)
    return FittedWeights(tuple(float(w) for w in weights), tuple(history))


def relative_frequencies(
    model: NGramModel, sentences: Text
) -> tuple[Float[np.ndarray, "tokens order"], Bool[np.ndarray, "tokens order"]]:
    """For every token and every order its relative frequency after its context, and whether that context was seen."""
    sentences = list(checked(sentences))
    lengths = np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences))
    left = model.padding.left
    tokens, padded = pad_numbers(model.vocabulary.encode_all(sentences), lengths, left=left, right=model.padding.right)
    plain = Tables.estimate(model.levels, MaximumLikelihood())
    frequency = np.zeros((len(tokens), model.order))
    possible = np.zeros((len(tokens), model.order), dtype=bool)
    frequency[:, 0], possible[:, 0] = plain.orders[0].probability[tokens], True
    depth = depths(padded)
    for n, place, before, number in plain.walk(tokens, depth):
        possible[place, n - 1] = np.diff(model.levels[n - 1].start)[before] > 0
        hit = number >= 0
        frequency[place[hit], n - 1] = plain.orders[n - 1].probability[number[hit]]
    chosen = depth >= left
    return frequency[chosen], possible[chosen]


def _responsibilities(
    frequency: Float[np.ndarray, "tokens order"],
    possible: Bool[np.ndarray, "tokens order"],
    weights: Float[np.ndarray, " order"],
    *,
    events: int,
) -> tuple[Float[np.ndarray, " tokens"], Float[np.ndarray, "tokens parts"]]:
    """The probability of every token, and the share that the uniform distribution and each order have in it."""
    own = np.where(possible, weights, 0.0)
    passed = np.cumprod(1.0 - own[:, ::-1], axis=1)[:, ::-1]  # not taken by this order or a higher one
    above = np.concatenate([passed[:, 1:], np.ones((len(own), 1))], axis=1)
    parts = np.concatenate([passed[:, :1] / events, above * own * frequency], axis=1)
    total = parts.sum(axis=1)
    return total, parts / total[:, None]
