"""Precision, recall and F1 of a step of cleaning: what it found, held against what is known to be there."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_WORD = {"en": re.compile(r"\w+"), "zh": re.compile(r"\w")}


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of what was rightly found, wrongly found and missed; scores of parts add up with +.

    >>> print(Score(true_positives=90, false_positives=10, false_negatives=30))
    precision 0.9, recall 0.75, F1 0.818

    Source: van Rijsbergen (1979), "Information Retrieval", chapter 7 (F with equal weights is F1).
    """

    true_positives: int
    false_positives: int
    false_negatives: int

    def __post_init__(self) -> None:
        if min(self.true_positives, self.false_positives, self.false_negatives) < 0:
            raise ValueError(f"{self!r} has a negative count; give counts of 0 or more")

    @property
    def precision(self) -> float:
        """The share of what was found that is right; 1 if nothing was found, for nothing was found wrongly."""
        found = self.true_positives + self.false_positives
        return self.true_positives / found if found else 1.0

    @property
    def recall(self) -> float:
        """The share of what is there that was found; 1 if nothing was there to find."""
        there = self.true_positives + self.false_negatives
        return self.true_positives / there if there else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN)."""
        total = 2 * self.true_positives + self.false_positives + self.false_negatives
        return 2 * self.true_positives / total if total else 1.0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )

    def __str__(self) -> str:
        return f"precision {self.precision:.3g}, recall {self.recall:.3g}, F1 {self.f1:.3g}"


def score_sets(found: Iterable[Hashable], truth: Iterable[Hashable]) -> Score:
    """The score of a set of things found, such as ids removed or pairs of duplicates.

    >>> print(score_sets({1, 2, 3, 4}, {2, 3, 4, 5, 6}))
    precision 0.75, recall 0.6, F1 0.667
    """
    found, truth = frozenset(found), frozenset(truth)
    both = len(found & truth)
    return Score(both, len(found) - both, len(truth) - both)


def score_spans(found: Sequence[Iterable[Any]], truth: Sequence[Iterable[Any]]) -> Score:
    """The score of spans, one list of them for each document; a span is right if start, end and kind all are.

    A span is a tuple (start, end, kind) or an object with these attributes; half a telephone number counts as one
    false positive and one false negative. This is the exact match of CoNLL-2003's named entities.

    Raises: ValueError when the two have different numbers of documents, or for what is no span.
    """
    _same_length(found, truth)
    pairs = zip(found, truth, strict=True)
    return sum((score_sets(map(_span, f), map(_span, t)) for f, t in pairs), Score(0, 0, 0))


def _span(span: Any) -> tuple[int, int, str]:
    if hasattr(span, "kind"):
        return (span.start, span.end, span.kind)
    if not isinstance(span, Sequence) or len(span) != 3:
        raise ValueError(f"a span is (start, end, kind), got {span!r}; put the spans of one document into a list")
    return tuple(span)


def score_labels(found: Sequence[Any], truth: Sequence[Any], positive: Any = True) -> Score:
    """The score of one label: `positive` is what was to be found, each other label counts as not found.

    Raises: ValueError when the two have different lengths.
    """
    _same_length(found, truth)
    counts = Counter((f == positive, t == positive) for f, t in zip(found, truth, strict=True))
    return Score(counts[True, True], counts[True, False], counts[False, True])


def score_text(found: str | Any, truth: str | Any, *, language: str = "en") -> Score:
    """The score of an extracted text as a bag of words (for Chinese, of characters): order does not count.

    >>> print(score_text("Menu The cat sat.", "The cat sat down."))
    precision 0.75, recall 0.75, F1 0.75

    Raises: ValueError for what is no string.
    """
    if not isinstance(found, str) or not isinstance(truth, str):
        raise ValueError(f"two texts are compared as strings, got {type(found).__name__} and {type(truth).__name__}")
    unit = _WORD["zh" if language == "zh" else "en"]
    a, b = Counter(unit.findall(found)), Counter(unit.findall(truth))
    both = (a & b).total()
    return Score(both, a.total() - both, b.total() - both)


def _same_length(found: Sequence[Any], truth: Sequence[Any]) -> None:
    if len(found) != len(truth):
        raise ValueError(f"{len(found)} results came with {len(truth)} truths; give one of each for every document")
