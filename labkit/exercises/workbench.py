"""Exercises of notebook 00: how exercises work, on two questions that are easy to get wrong."""

from collections import Counter
from itertools import pairwise

import numpy as np

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "00_start_here"


def possible_sequences():
    """Every place can hold every word."""
    return 10_000**3


SEQUENCES = Exercise(
    id="workbench.sequences",
    notebook=NOTEBOOK,
    statement="A language has 10,000 words. How many different sequences of three words are there?",
    difficulty=1,
    minutes=1,
    hints=(
        "After each of the 10,000 first words every one of the 10,000 words can follow.",
        "Multiply once for each place: 10_000 ** 3, and not three times 10,000.",
    ),
    solution=possible_sequences,
    wrong=(
        WrongAnswer("sum", 30_000, "You added the choices. They multiply: each first word goes with each second word."),
        WrongAnswer(
            "swapped", 3**10_000, "Base and exponent are swapped: there are 10,000 choices for each of 3 places."
        ),
        WrongAnswer("pairs", 10_000**2, "That is the number of sequences of two words. There is one place more."),
        WrongAnswer(
            "no repetition",
            10_000 * 9_999 * 9_998,
            "You did not allow a word to come twice, but it may: 'that that is', 'very very good'.",
        ),
    ),
    kind="value",
)


def next_word(text, word):
    """The word that follows most often; in a tie, the alphabetically first."""
    followers = Counter(b for a, b in pairwise(text) if a == word)
    return min(followers, key=lambda w: (-followers[w], w)) if followers else None


def _most_frequent(text, word):
    counts = Counter(text)
    return min(counts, key=lambda w: (-counts[w], w)) if counts else None


def _first_seen(text, word):
    return next((b for a, b in pairwise(text) if a == word), None)


def _in_front(text, word):
    return next_word(text[::-1], word)


def _texts(draw: np.random.Generator) -> list[tuple]:
    words = ["red", "green", "blue", "sea", "sky"]
    return [([words[i] for i in draw.integers(0, 5, 40)], str(draw.choice(words))) for _ in range(4)]


NEXT_WORD = Exercise(
    id="workbench.next_word",
    notebook=NOTEBOOK,
    statement=(
        "Return the word that most often follows `word` in the list `text` (in a tie the alphabetically first; None if "
        "nothing ever follows `word`)."
    ),
    difficulty=1,
    minutes=3,
    hints=(
        "zip(text, text[1:]) gives all pairs of neighbours; keep the second word where the first is `word`.",
        "Count them with collections.Counter, then take min(..., key=lambda w: (-counts[w], w)).",
    ),
    solution=next_word,
    wrong=(
        WrongAnswer(
            "most frequent word",
            _most_frequent,
            "You returned the most frequent word of the whole text. Count only what stands right behind `word`.",
        ),
        WrongAnswer(
            "first follower",
            _first_seen,
            "You returned the first follower that you met. Look at all of them and take the most frequent.",
        ),
        WrongAnswer(
            "word in front",
            _in_front,
            "You looked in front of `word`. In zip(text, text[1:]) the second word of a pair is the follower.",
        ),
        WrongAnswer(
            "first word",
            lambda text, word: text[0],
            "You returned the first word of the text, whatever `word` is. Count what stands right behind `word`.",
        ),
    ),
    cases=lambda draw: [
        (["a", "b", "a", "c", "a", "c"], "a"),
        (["a"], "a"),
        (["x", "b", "x", "a"], "x"),
        (["c", "x", "b", "x", "a", "c", "x", "a"], "x"),
        *_texts(draw),
    ],
)

EXERCISES = (SEQUENCES, NEXT_WORD)
