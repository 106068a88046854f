"""How much of a document repeats itself: lines, paragraphs and word n-grams, by count and by characters.

    duplicate_lines("buy now\\nbuy now\\nread on")      # Shares(count=0.33, characters=0.29)
    top_ngram("to be or not to be", 2)                 # characters in the most frequent pair of words
    duplicate_ngrams(text, 5)                          # characters in 5-grams that had come before

The n-grams are numbered exactly, order after order, so that no two different ones are ever taken for the same.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

__all__ = ["NGrams", "Repeated", "Shares", "duplicate_lines", "duplicate_ngrams", "duplicate_paragraphs", "top_ngram"]

COUNTED = ("later", "all")


class Shares(NamedTuple):
    """The share of pieces that had come before, and the share of all characters of the text that stand in them."""

    count: float
    characters: float


def duplicate_lines(text: str) -> Shares:
    """The shares of lines, and of characters in lines, that repeat an earlier line; runs of line ends count as one.

    >>> duplicate_lines("buy now\\nbuy now\\nread on").count == 1 / 3
    True

    Source: Rae et al. (2021), "Scaling language models" (Gopher), table A1; line ends as in datatrove, where a line
    end at the beginning or the end of the text leaves one empty line there.
    """
    lines = [line for line in text.split("\n") if line]
    return _shares(lines + [""] * (text.startswith("\n") + text.endswith("\n")), text)


def duplicate_paragraphs(text: str) -> Shares:
    """The shares of paragraphs, and of characters in paragraphs, that repeat an earlier one; empty lines part them.

    Source: Rae et al. (2021), table A1.
    """
    pieces = (piece.lstrip("\n") for piece in text.strip().split("\n\n"))  # of three line ends, one is left over
    return _shares([piece for piece in pieces if piece], text)


def _shares(pieces: list[str], text: str) -> Shares:
    if not text:
        return Shares(0.0, 0.0)
    different = set(pieces)
    characters = sum(map(len, pieces)) - sum(map(len, different))
    return Shares((len(pieces) - len(different)) / max(1, len(pieces)), characters / len(text))


def top_ngram(text: str, n: int | Any, *, words: Sequence[str] | None = None, gap: int = 1) -> float:
    """The share of characters in the most frequent n-gram of words: occurrences · length / length of the text.

    The spaces inside the n-gram count, and overlapping occurrences count each ("a a a" holds "a a" twice), so the
    value may exceed 1. Of several n-grams equally frequent, the first counts.

    Args:
        words: the words of the text, when they are not what stands between white space.
        gap: the characters between two words of an n-gram: 1 for words parted by spaces, 0 for Chinese.

    Raises:
        ValueError: if n is no whole number from 1 up.

    >>> top_ngram("to be or not to be", 2) == 2 * len("to be") / 18
    True

    Source: Rae et al. (2021), table A1.
    """
    return NGrams(text.split() if words is None else words).top(_order(n), gap) / max(1, len(text))


def duplicate_ngrams(text: str, n: int | Any, *, words: Sequence[str] | None = None, counted: str = "later") -> float:
    """The share of characters in n-grams of words that occur more than once, no character counted twice.

    Args:
        words: the words of the text, when they are not what stands between white space.
        counted: "later" counts an n-gram when it comes again, reading from the left and going on behind it (as
            datatrove does); "all" counts every word inside an n-gram that has a twin, the first one too.

    Raises:
        ValueError: if n is no whole number from 1 up, or `counted` is something else.

    >>> text = "a b c d a b c d"
    >>> duplicate_ngrams(text, 4) * len(text), duplicate_ngrams(text, 4, counted="all") * len(text)
    (4.0, 8.0)

    Source: Rae et al. (2021), table A1 and section A.1.1; "all" as in RedPajama-V2 (Weber et al. 2024).
    """
    if counted not in COUNTED:
        raise ValueError(f'counted is {counted!r}; it is "later" or "all"')
    ngrams = NGrams(text.split() if words is None else words)
    characters = ngrams.later(_order(n)) if counted == "later" else ngrams.all(n)
    return characters / max(1, len(text))


def _order(n: Any) -> int:
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"an n-gram has a whole number of words from 1 up, not n = {n!r}")
    return n


class Repeated(NamedTuple):
    """The places of a text where an n-gram begins that occurs more than once; the number and count of each."""

    places: Int[np.ndarray, " places"]
    numbers: Int[np.ndarray, " places"]
    counts: Int[np.ndarray, " places"]


def _repeated(places: Int[np.ndarray, " all"], numbers: Int[np.ndarray, " all"]) -> Repeated:
    counts = np.bincount(numbers, minlength=1)[numbers]
    again = np.flatnonzero(counts > 1)
    return Repeated(places[again], numbers[again], counts[again])


def _renumbered(keys: Int[np.ndarray, " all"]) -> Int[np.ndarray, " all"]:
    """The keys' ranks from 0 up, equal ones alike: as the inverse of numpy.unique, at half its cost."""
    order = np.argsort(keys)
    ordered = keys[order]
    ranks = np.empty_like(keys)
    ranks[order] = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])[: len(keys)]
    return ranks


class NGrams:
    """The n-grams of a list of words that occur more than once, each with a number, for n = 1, 2, 3, …

    An (n + 1)-gram is the n-gram at its place and the n-gram one word later. It can only occur twice if both do, so
    each order looks at fewer places than the one before. The pair of two numbers below N is one number below N²:
    nothing is hashed, and no chance enters.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        first: dict[str, int] = {}  # a word's number is the place where it first stands
        ids = np.fromiter(map(first.setdefault, words, range(len(words))), np.int64, len(words))
        places = np.flatnonzero(ids == np.arange(len(words)))
        lengths = np.zeros_like(ids)
        lengths[places] = np.fromiter(map(len, first), np.int64, len(first))
        self.ends = np.concatenate([[0], np.cumsum(lengths[ids])])  # characters before each word, spaces left out
        self.counts = dict(zip(first, np.bincount(ids)[places].tolist(), strict=True))  # of each different word
        self._repeated = {1: _repeated(np.arange(len(words)), ids)}

    def repeated(self, n: int) -> Repeated:
        """Where the n-grams that occur more than once begin, from left to right, their numbers and counts."""
        while len(self._repeated) < n:
            places, numbers, _ = shorter = self._repeated[len(self._repeated)]
            if not len(places):
                return shorter
            neighbours = np.flatnonzero(places[1:] == places[:-1] + 1)
            pairs = numbers[neighbours] * len(self.words) + numbers[neighbours + 1]
            self._repeated[len(self._repeated) + 1] = _repeated(places[neighbours], _renumbered(pairs))
        return self._repeated[n]

    def top(self, n: int, gap: int = 1) -> int:
        """Occurrences times characters of the most frequent n-gram; 0 if there are fewer than n words."""
        if len(self.words) < n:
            return 0
        places, _, counts = self.repeated(n)
        most = int(np.argmax(counts)) if len(places) else -1  # the first of several equally frequent ones
        first, count = (int(places[most]), int(counts[most])) if len(places) else (0, 1)
        return count * int(self.ends[first + n] - self.ends[first] + gap * (n - 1))

    def later(self, n: int) -> int:
        """Characters in n-grams that had come before, read from the left; a counted one is skipped as a whole."""
        seen, behind, characters = set(), 0, 0
        places, numbers, _ = self.repeated(n)
        for place, number in zip(places.tolist(), numbers.tolist(), strict=True):
            if place < behind:
                continue
            if number in seen:
                behind = place + n
                characters += int(self.ends[behind] - self.ends[place])
            seen.add(number)
        return characters

    def all(self, n: int) -> int:
        """Characters of the words that stand in any n-gram that occurs more than once."""
        places = self.repeated(n).places
        steps = np.bincount(places, minlength=len(self.words) + 1)
        steps[n:] -= steps[:-n].copy() if n < len(steps) else 0
        return int(np.diff(self.ends)[np.cumsum(steps)[:-1] > 0].sum())
