"""Exercises on counting and on judging a model."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "02_ngram_models"
WORDS = ["the", "cat", "dog", "sat", "ran", "a", "mat"]


def random_sentence(draw: np.random.Generator, length: int) -> list[str]:
    """A sentence of `length` words of a small vocabulary, for the cases of an exercise."""
    return [WORDS[i] for i in draw.integers(0, len(WORDS), length)]


def bigrams(sentence):
    """All pairs of neighbours, boundaries included."""
    padded = ["<s>", *sentence, "</s>"]
    return list(pairwise(padded))


BIGRAMS = Exercise(
    id="ngrams.bigrams",
    notebook=NOTEBOOK,
    statement="Return the list of all pairs of neighbouring tokens of a sentence, with <s> before it and </s> behind.",
    difficulty=1,
    minutes=4,
    hints=(
        "Add the boundaries first: a sentence of n words then has n + 2 tokens and n + 1 pairs.",
        "zip(padded, padded[1:]) or itertools.pairwise(padded) walks over the neighbours; make it a list.",
    ),
    solution=bigrams,
    wrong=(
        WrongAnswer(
            "no boundaries",
            lambda sentence: list(pairwise(sentence)),
            "The boundaries are missing: without <s> and </s> the model cannot know how sentences begin and end.",
        ),
        WrongAnswer(
            "no end",
            lambda sentence: list(zip(["<s>", *sentence], sentence, strict=False)),
            "The pair with </s> is missing. Without it the model never learns when to stop.",
        ),
        WrongAnswer(
            "no overlap",
            lambda sentence: list(zip(["<s>", *sentence][::2], [*sentence, "</s>"][::2], strict=False)),
            "You step by two. Pairs overlap: the second word of one pair is the first of the next.",
        ),
    ),
    cases=lambda draw: [([],), (["cat"],), *((random_sentence(draw, int(draw.integers(2, 8))),) for _ in range(4))],
)


def relative_frequency(pairs, before, word):
    """The share of the pairs that begin with `before` which end with `word`."""
    total = sum(count for (first, _), count in pairs.items() if first == before)
    return pairs.get((before, word), 0) / total if total else 0.0


def _pairs(draw: np.random.Generator) -> dict:
    return dict(Counter(bigrams(random_sentence(draw, 12)) + bigrams(random_sentence(draw, 9))))


RELATIVE_FREQUENCY = Exercise(
    id="ngrams.relative_frequency",
    notebook=NOTEBOOK,
    statement=(
        "From a dictionary {(first, second): count} return the maximum-likelihood P(word | before); 0.0 if "
        "`before` was never seen."
    ),
    difficulty=1,
    minutes=5,
    hints=(
        "Equation (3): divide the count of the pair by the count of everything that followed `before`.",
        "total = sum(count for (first, _), count in pairs.items() if first == before), and mind total == 0.",
    ),
    solution=relative_frequency,
    wrong=(
        WrongAnswer(
            "joint",
            lambda pairs, before, word: pairs.get((before, word), 0) / sum(pairs.values()),
            "You divided by all pairs. That is P(before, word), the joint probability, not the conditional one.",
        ),
        WrongAnswer(
            "reversed",
            lambda pairs, before, word: (
                pairs.get((before, word), 0)
                / max(1, sum(count for (_, second), count in pairs.items() if second == word))
            ),
            "You divided by the count of `word`. That answers: how often did `before` stand in front of it?",
        ),
        WrongAnswer(
            "types",
            lambda pairs, before, word: (
                pairs.get((before, word), 0) / max(1, sum(first == before for first, _ in pairs))
            ),
            "You divided by the number of different followers. Each counts as often as it was seen.",
        ),
    ),
    cases=lambda draw: [
        ({("a", "b"): 3, ("a", "c"): 1, ("x", "b"): 4}, "a", "b"),
        ({("a", "b"): 1}, "zebra", "b"),
        *((_pairs(draw), str(draw.choice(["the", "cat", "<s>"])), str(draw.choice(WORDS))) for _ in range(5)),
    ],
)


def perplexity(probabilities):
    """Two to the power of the average surprise in bits."""
    if min(probabilities) == 0:
        return math.inf
    return 2 ** (-sum(math.log2(p) for p in probabilities) / len(probabilities))


PERPLEXITY = Exercise(
    id="ngrams.perplexity",
    notebook=NOTEBOOK,
    statement=(
        "Return the perplexity of a text from the list of its tokens' probabilities; math.inf if one of them is 0."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "Perplexity is the inverse of the geometric mean: work with logarithms, then undo them.",
        "2 ** (-average of log2 p); check for a zero before you take logarithms.",
    ),
    solution=perplexity,
    wrong=(
        WrongAnswer(
            "entropy",
            lambda probabilities: (
                math.inf if min(probabilities) == 0 else -sum(map(math.log2, probabilities)) / len(probabilities)
            ),
            "That is the entropy in bits. Raise 2 to that power.",
        ),
        WrongAnswer(
            "minus",
            lambda probabilities: (
                math.inf if min(probabilities) == 0 else 2 ** (sum(map(math.log2, probabilities)) / len(probabilities))
            ),
            "The minus is missing: logarithms of probabilities are negative, and perplexity is never below 1.",
        ),
        WrongAnswer(
            "arithmetic mean",
            lambda probabilities: math.inf if min(probabilities) == 0 else len(probabilities) / sum(probabilities),
            "You averaged the probabilities. Probabilities of a text multiply, so average their logarithms.",
        ),
        WrongAnswer(
            "mixed bases",
            lambda probabilities: (
                math.inf if min(probabilities) == 0 else 2 ** (-sum(map(math.log, probabilities)) / len(probabilities))
            ),
            "The logarithm has base e and the power base 2. Use one base for both.",
        ),
        WrongAnswer(
            "not per token",
            lambda probabilities: math.inf if min(probabilities) == 0 else 1 / math.prod(probabilities),
            "You forgot to divide by the number of tokens: a longer text would always look worse.",
        ),
    ),
    cases=lambda draw: [
        ([0.5, 0.5, 0.5, 0.5],),
        ([0.25, 0.0],),
        ([1.0],),
        *((draw.uniform(0.05, 1, int(draw.integers(2, 9))).tolist(),) for _ in range(4)),
    ],
)
