"""Contamination: which examples of a test set were seen in training, by the n-grams of words that they share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.cleaning.shingles import Shingling, blocks, check_texts, hash_shingles, units


@dataclass(frozen=True)
class Overlap:
    """What one test example shares with the training texts.

    `grams` of its `total` different n-grams were found, in the texts whose numbers are `train`.
    """

    test: int
    train: tuple[int, ...]
    grams: int
    total: int

    @property
    def share(self) -> float:
        """The share of the example's n-grams that were found."""
        return self.grams / self.total


def overlaps(
    train: Sequence[str] | Any, test: Sequence[str] | Any, n: int = 13, *, common: int | None = None
) -> list[Overlap]:
    """The test examples that share at least one n-gram of words with a training text, case and punctuation ignored.

    Chinese characters count as words. An example shorter than n is compared as a whole with equally short texts only:
    choose n by `gram_size`. The training texts are read block by block.

    Args:
        common: n-grams in more training texts than this are taken for phrases of the language and ignored.

    Raises:
        ValueError: for n below 1 or anything but lists of strings.

    Source: Brown et al. (2020), "Language models are few-shot learners", appendix C.

    >>> overlaps(["we know that a b c d is so"], ["A, B, C, D?", "e f g h"], n=3)
    [Overlap(test=0, train=(0,), grams=2, total=2)]
    """
    check_texts(train)
    check_texts(test)
    how = Shingling(size=n)
    asked = hash_shingles(test, how)
    grams = np.unique(asked.hashes)
    gram, text = _found(train, grams, how)
    if common is not None:
        often = np.bincount(gram, minlength=len(grams)) > common
        gram, text = gram[~often[gram]], text[~often[gram]]
    texts_of: dict[int, set[int]] = {}
    for g, t in zip(gram.tolist(), text.tolist(), strict=True):
        texts_of.setdefault(g, set()).add(t)
    rows = [set(np.searchsorted(grams, asked.of(i)).tolist()) for i in range(len(test))]
    return [row for i, wanted in enumerate(rows) if (row := _overlap(i, wanted, texts_of)).grams]


def _overlap(test: int, grams: set[int], texts_of: dict[int, set[int]]) -> Overlap:
    found = [texts_of[gram] for gram in grams if gram in texts_of]
    return Overlap(test, tuple(sorted(set().union(*found))), len(found), len(grams))


def _found(train: Sequence[str] | Any, grams: Any, how: Shingling) -> tuple[Any, Any]:
    """Which of the n-grams stand in which training texts: two arrays, one entry for each gram and text."""
    pairs, begin = [np.zeros((0, 2), np.int64)], 0
    for block in blocks(train) if len(grams) else ():
        shingled = hash_shingles(block, how)
        place = np.minimum(np.searchsorted(grams, shingled.hashes), len(grams) - 1)
        hit = np.flatnonzero(grams[place] == shingled.hashes)
        text = begin + np.searchsorted(shingled.start, hit, side="right") - 1
        pairs.append(np.unique(np.stack([place[hit], text], axis=1), axis=0))
        begin += len(block)
    return tuple(np.concatenate(pairs).T)


def contaminated(
    train: Sequence[str], test: Sequence[str], n: int = 13, *, share: float = 0.0, common: int | None = None
) -> list[int]:
    """The numbers of the test examples of which more than this share of n-grams stands in the training texts."""
    return [found.test for found in overlaps(train, test, n, common=common) if found.share > share]


def gram_size(test: Sequence[str] | Any, least: int = 8, most: int = 13) -> int:
    """The n for a test set: the length in words of its 5th percentile example, between `least` and `most`.

    Raises:
        ValueError: for a test set without examples.

    Source: Brown et al. (2020), "Language models are few-shot learners", appendix C.
    """
    check_texts(test)
    if not len(test):
        raise ValueError("a test set of no examples has no length: give at least one")
    return int(np.clip(np.percentile([len(units(text)) for text in test], 5), least, most))
