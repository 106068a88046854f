"""Exercises on judging a text by its words: Bayes' rule for its language, the slope of a quality classifier."""

import numpy as np

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "13_data_cleaning"


def language_posterior(table, prior, seen):
    """Add logarithms, take the largest away, and only then leave the logarithms."""
    scores = np.log(prior) + table[:, seen].sum(axis=1)
    chances = np.exp(scores - scores.max())
    return chances / chances.sum()


def _out_of_logarithms(table, prior, seen):
    with np.errstate(invalid="ignore"):
        chances = prior * np.exp(table[:, seen].sum(axis=1))
        return chances / chances.sum()


def _of_scores(scores):
    chances = np.exp(scores - scores.max())
    return chances / chances.sum()


def _language_case(draw, languages, grams, length):
    table = np.log(draw.dirichlet(np.ones(grams), languages))
    prior = draw.dirichlet(np.ones(languages) * 3)
    return table, prior, draw.integers(0, grams, length)


LANGUAGE_POSTERIOR = Exercise(
    id="cleaning.language_posterior",
    notebook=NOTEBOOK,
    statement=(
        "Naive Bayes for languages. `table` (languages, n-grams) holds log P(n-gram | language), `prior` (languages,) "
        "the probabilities before reading, `seen` (length,) the numbers of the n-grams of a text, repeats included. "
        "Return P(language | text), shape (languages,), adding up to 1. A text may have thousands of n-grams."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "The product of P(n-gram | language) is a sum in logarithms: which columns of the table does the text need, "
        "and how often? The prior is one factor more.",
        "`scores = np.log(prior) + table[:, seen].sum(axis=1)`. Thousands of factors are too small for a float: take "
        "`scores.max()` away before `np.exp`, then divide by the sum.",
    ),
    solution=language_posterior,
    wrong=(
        WrongAnswer(
            "underflow",
            _out_of_logarithms,
            "The product of thousands of probabilities is 0 in a float, and 0 / 0 is nan. Stay in logarithms and take "
            "the largest score away before np.exp.",
        ),
        WrongAnswer(
            "no prior",
            lambda table, prior, seen: _of_scores(table[:, seen].sum(axis=1)),
            "The prior is missing: for a text of no n-grams the answer must be the prior itself.",
        ),
        WrongAnswer(
            "each once",
            lambda table, prior, seen: _of_scores(np.log(prior) + table[:, np.unique(seen)].sum(axis=1)),
            "You counted every n-gram once. In the multinomial model an n-gram that occurs three times is three "
            "factors.",
        ),
        WrongAnswer(
            "mean",
            lambda table, prior, seen: _of_scores(np.log(prior) + table[:, seen].sum(axis=1) / max(1, len(seen))),
            "You took the mean of the logarithms. A long text then tells no more than a short one; the product of the "
            "probabilities is the sum of their logarithms.",
        ),
        WrongAnswer(
            "not scaled",
            lambda table, prior, seen: prior * np.exp(table[:, seen].sum(axis=1)),
            "That is P(language and text). Bayes' rule divides it by P(text), the sum over the languages.",
        ),
    ),
    cases=lambda draw: [
        (np.log([[0.5, 0.5], [0.9, 0.1]]), np.array([0.5, 0.5]), np.array([0])),
        (np.log([[0.5, 0.5], [0.9, 0.1]]), np.array([0.8, 0.2]), np.array([1, 1, 0])),
        (np.log([[0.5, 0.5], [0.9, 0.1]]), np.array([0.7, 0.3]), np.array([], dtype=np.int64)),
        (np.log([[0.5, 0.5], [0.49, 0.51]]), np.array([0.5, 0.5]), np.tile([0, 1], 1500)),
        (np.log([[0.5, 0.5], [0.9, 0.1]]), np.array([0.5, 0.5]), np.tile([1, 1], 1500)),
        *(_language_case(draw, *sizes) for sizes in ((2, 3, 4), (3, 5, 6), (4, 4, 9))),
    ],
)


def quality_gradient(features, good, weights, constant, penalty):
    """How far each chance is off, handed down to the features; only the weights pay the penalty."""
    errors = 1 / (1 + np.exp(-(features @ weights + constant))) - good
    return features.T @ errors + penalty * weights, errors.sum()


def _with(features, good, weights, constant, penalty, *, chances=None, scale=1.0, on_constant=0.0, most=1.0):
    scores = features @ weights + constant
    errors = (1 / (1 + np.exp(-scores)) if chances is None else chances(scores)) - good
    slope = scale * (features.T @ errors) + most * penalty * weights
    return slope, scale * errors.sum() + on_constant * penalty * constant


def _texts(draw, texts, words):
    features = np.round(draw.random((texts, words)) * (draw.random((texts, words)) < 0.6), 2)
    good = (draw.random(texts) < 0.5).astype(float)
    return features, good, draw.normal(size=words), float(np.round(draw.normal() + 1.5, 2)), 0.5


QUALITY_GRADIENT = Exercise(
    id="cleaning.quality_gradient",
    notebook=NOTEBOOK,
    statement=(
        "The slope of a quality classifier's loss. `features` (texts, words), `good` (texts,) of 1 and 0, `weights` "
        "(words,), a `constant`, a `penalty`: the loss is the sum over texts of −log P(its label) plus penalty / 2 "
        "times the squared weights. Return (slope for the weights, slope for the constant); the constant costs nothing."
    ),
    difficulty=2,
    minutes=8,
    hints=(
        "For one text with P(good) = p the loss changes by p − y when its score grows by 1. How does the score depend "
        "on a weight? And on the constant?",
        "`errors = 1 / (1 + np.exp(-scores)) - good`; the weights get `features.T @ errors + penalty * weights`, the "
        "constant `errors.sum()`.",
    ),
    solution=quality_gradient,
    wrong=(
        WrongAnswer(
            "uphill",
            lambda *arguments: tuple(-part for part in quality_gradient(*arguments)),
            "The sign is the other way round. A bad text (0) with P(good) = 0.9 has the error +0.9: its words' weights "
            "must fall, so their slope is positive.",
        ),
        WrongAnswer(
            "no penalty",
            lambda *arguments: _with(*arguments, most=0.0),
            "The penalty is missing: penalty / 2 · w² has the slope penalty · w, which pulls every weight towards 0.",
        ),
        WrongAnswer(
            "penalty twice",
            lambda *arguments: _with(*arguments, most=2.0),
            "The penalty counts twice as much as it should: the half in penalty / 2 cancels the 2 of the derivative.",
        ),
        WrongAnswer(
            "constant pays",
            lambda *arguments: _with(*arguments, on_constant=1.0),
            "You charge the constant too. It only says how frequent good texts are; pulling it to 0 would claim that "
            "they are half of all.",
        ),
        WrongAnswer(
            "no chances",
            lambda *arguments: _with(*arguments, chances=lambda scores: scores),
            "You compared the scores with the labels: that is linear regression. A score becomes a probability by "
            "1 / (1 + exp(−score)).",
        ),
        WrongAnswer(
            "mean",
            lambda *arguments: _with(*arguments, scale=1 / len(arguments[0])),
            "You averaged over the texts. Here the loss is their sum; the penalty would weigh as much more as there "
            "are texts.",
        ),
    ),
    cases=lambda draw: [
        (np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, 0.0]), np.zeros(2), 0.0, 1.0),
        (np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, 0.0]), np.array([1.0, -2.0]), 0.5, 1.0),
        (np.array([[2.0]]), np.array([0.0]), np.array([-1.0]), 1.0, 0.0),
        *(_texts(draw, *sizes) for sizes in ((3, 2), (4, 3), (6, 4))),
    ],
)

EXERCISES = (LANGUAGE_POSTERIOR, QUALITY_GRADIENT)
