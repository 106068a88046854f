"""What is left after cleaning: is it complete, is it consistent, and what is it made of?

found = report(documents, ("language", "source"))
print(found)                                     # missing, empty, inconsistent records, counts by label
print(compare(before, after, "language"))        # the same label before and after
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

# The scripts that a language is written in; text of another script contradicts its label.
_SCRIPTS = {
    "Han": "zh ja", "Kana": "ja", "Hangul": "ko", "Cyrillic": "ru uk mk bg sr be", "Greek": "el", "Arabic": "ar fa ur",
    "Thai": "th", "Bengali": "bn", "Devanagari": "hi mr ne", "Hebrew": "he",
    "Latin": "en de fr es it nl pl cs da sv no nb fi pt ro hu tr vi tl id et hr sk sl lt lv sr",
}  # fmt: skip
_WRITTEN_IN = {
    language: frozenset(s for s, known in _SCRIPTS.items() if language in known.split())
    for languages in _SCRIPTS.values()
    for language in languages.split()
}
_FIRST_WORDS = {"CJK": "Han", "HIRAGANA": "Kana", "KATAKANA": "Kana"}


@dataclass(frozen=True)
class Report:
    """Counts of a set of documents: those with a field missing, without text, whose language contradicts their script,
    whose id stands twice; and for each label its values with (documents, words)."""

    documents: int
    words: int
    missing: dict[str, int]
    empty: int
    inconsistent: tuple[str, ...]
    repeated_ids: int
    labels: dict[str, dict[str, tuple[int, int]]]

    def rows(self, label: str) -> list[tuple[str, int, float, int]]:
        """(value, documents, share of the documents, words) of a label, the most frequent value first."""
        values = self.labels[_known(label, self.labels)]
        ordered = sorted(values.items(), key=lambda item: (-item[1][0], item[0]))
        return [(value, count, count / self.documents, words) for value, (count, words) in ordered]

    def evenness(self, label: str) -> float:
        """Entropy of the label over its maximum: 1 when all values are equally frequent, 0 when there is one value.

        Source: Pielou (1966), "The measurement of diversity in different types of biological collections".
        """
        counts = np.array([count for count, _ in self.labels[_known(label, self.labels)].values()], dtype=float)
        if len(counts) < 2:
            return 0.0
        shares = counts / counts.sum()
        return float(-(shares * np.log(shares)).sum() / math.log(len(shares)))

    def __str__(self) -> str:
        lines = [f"{self.documents:,} documents, {self.words:,} words"]
        absent = ", ".join(f"{name} {count}" for name, count in self.missing.items() if count) or "nothing"
        lines.append(f"missing: {absent}; without text: {self.empty}; same id: {self.repeated_ids}")
        lines.append(f"language against script: {len(self.inconsistent)} contradict each other")
        for label in self.labels:
            lines += ["", *table((label, "documents", "share", "words"), printed(self.rows(label)))]
        return "\n".join(lines)


@dataclass(frozen=True)
class Comparison:
    """A label before and after: rows (value, documents before, share before, documents after, share after, kept)."""

    label: str
    rows: list[tuple[str, int, float, int, float, float]]

    def __str__(self) -> str:
        head = (self.label, "before", "share", "after", "share", "kept")
        cells = [(v, f"{b:,}", f"{sb:.1%}", f"{a:,}", f"{sa:.1%}", f"{k:.0%}") for v, b, sb, a, sa, k in self.rows]
        return "\n".join(table(head, cells))


def report(documents: Iterable[Any], labels: Sequence[str] = ("language",)) -> Report:
    """Completeness, consistency and balance of documents: dictionaries or objects with an id, a text and labels.

    A label is an attribute or key, or a pair in `notes`; "length" is the class of length by powers of two.

    Raises: ValueError when there are no documents, or a text that is no string.
    """
    records = list(documents)
    if not records:
        raise ValueError("there are no documents to report on; a pipeline that keeps nothing has a limit set wrongly")
    names = ("id", "text", *(label for label in labels if label != "length"))
    missing = {name: sum(field(record, name) in (None, "") for record in records) for name in names}
    texts = [field(record, "text") or "" for record in records]
    if strange := [type(text).__name__ for text in texts if not isinstance(text, str)]:
        raise ValueError(f"a text is a string, got {strange[0]}: decode bytes first (labkit.cleaning.decoding)")
    sizes = [size(text) for text in texts]
    ids = [field(record, "id") for record in records]
    known = [identity for identity in ids if identity not in (None, "")]
    wrong = [
        str(identity)
        for identity, record, text in zip(ids, records, texts, strict=True)
        if contradicts(text, field(record, "language") or "")
    ]
    counts = {
        label: _counted([_value(r, t, label) for r, t in zip(records, texts, strict=True)], sizes) for label in labels
    }
    empty = sum(not text.strip() for text in texts)
    return Report(len(records), sum(sizes), missing, empty, tuple(wrong), len(known) - len(set(known)), counts)


def field(record: Any, name: str) -> Any:
    """An attribute, key or note of a record; None when it has none of that name."""
    if isinstance(record, Mapping):
        return record.get(name)
    if hasattr(record, name):
        return getattr(record, name)
    return dict(getattr(record, "notes", ())).get(name)


def _value(record: Any, text: str, label: str) -> str:
    if label == "length":
        return length_class(size(text))
    found = field(record, label)
    return "(missing)" if found in (None, "") else str(found)


def _counted(values: Sequence[str], sizes: Sequence[int]) -> dict[str, tuple[int, int]]:
    documents, words = Counter(values), Counter[str]()
    for value, length in zip(values, sizes, strict=True):
        words[value] += length
    return {value: (count, words[value]) for value, count in documents.items()}


def size(text: str) -> int:
    """The number of words; where Chinese or Japanese is written without blanks, of characters."""
    return len(text.split()) if script(text) not in ("Han", "Kana") else sum(not c.isspace() for c in text)


def length_class(words: int) -> str:
    """The class of a length by powers of two, so that the classes sort as they grow.

    >>> length_class(300)
    '  256 to   511'
    """
    low = 1 << max(0, words.bit_length() - 1)
    return "    0" if words == 0 else f"{low:5d} to {2 * low - 1:5d}"


def script(text: str, longest: int = 400) -> str:
    """The script of most letters among the first `longest` characters ("" when there are no letters).

    >>> script("Привет, world!"), script("三国演义"), script("12 + 3")
    ('Cyrillic', 'Han', '')
    """
    letters = Counter(map(_script_of, filter(str.isalpha, text[:longest])))
    if letters["Kana"] > 0.1 * letters.total():
        return "Kana"  # Japanese is written with Chinese characters too
    return letters.most_common(1)[0][0] if letters else ""


def _script_of(letter: str) -> str:
    if letter < "\u0250":
        return "Latin"
    word = unicodedata.name(letter, "UNKNOWN").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ").split()[0]
    return _FIRST_WORDS.get(word, word.title())


def contradicts(text: str, language: str) -> bool:
    """Whether a text is written in a script that its language label does not use; an unknown label is not judged."""
    written, known = script(text), _WRITTEN_IN.get(language)
    return bool(written and known) and written not in known


def compare(before: Iterable[Any], after: Iterable[Any], label: str = "language") -> Comparison:
    """A label in two sets of documents, say before and after cleaning, with the share of documents kept.

    Raises: ValueError when one of the sets is empty.
    """
    made = [report(documents, (label,)).rows(label) for documents in (before, after)]
    first, second = ({value: (count, share) for value, count, share, _ in rows} for rows in made)
    rows = []
    for value in first | second:
        (old, old_share), (new, new_share) = first.get(value, (0, 0.0)), second.get(value, (0, 0.0))
        rows.append((value, old, old_share, new, new_share, new / old if old else math.inf))
    return Comparison(label, rows)


def class_weights(labels: Sequence[Hashable]) -> dict[Hashable, float]:
    r"""Weights that make every class count the same: n / (classes · n_c), which is scikit-learn's "balanced".

    >>> class_weights(["en", "en", "en", "zh"])
    {'en': 0.6666666666666666, 'zh': 2.0}

    Raises: ValueError for no labels.
    Source: King & Zeng (2001), "Logistic regression in rare events data", section 4.2.
    """
    counts = Counter(labels)
    if not counts:
        raise ValueError("there are no labels to weigh; give one for every document")
    return {label: len(labels) / (len(counts) * count) for label, count in counts.items()}


def temperature_shares(counts: Mapping[Hashable, int], alpha: float | int = 0.3) -> dict[Hashable, float]:
    r"""The share in which to sample each class: $p_c \propto n_c^{\alpha}$.

    1 leaves the shares as they are, 0 makes them equal. mBERT was trained with 0.7, XLM-R with 0.3.

    >>> {k: round(v, 3) for k, v in temperature_shares({"en": 9000, "sw": 1000}, alpha=0.5).items()}
    {'en': 0.75, 'sw': 0.25}

    Raises: ValueError for a count that is not positive or an alpha outside 0…1.
    Source: Conneau et al. (2020), "Unsupervised cross-lingual representation learning at scale", section 3.1;
    Conneau & Lample (2019), "Cross-lingual language model pretraining", section 3.1.
    """
    if not counts or min(counts.values()) <= 0 or not 0 <= alpha <= 1:
        raise ValueError(f"counts={dict(counts)!r}, alpha={alpha!r}; give positive counts and an alpha from 0 to 1")
    powers = {label: float(count) ** alpha for label, count in counts.items()}
    total = sum(powers.values())
    return {label: power / total for label, power in powers.items()}


def resample(
    labels: Sequence[Hashable], *, how: str = "over", alpha: float | int = 0.3, size: int | None = None, seed: int = 0
) -> Int[np.ndarray, " drawn"]:
    """Indices, sorted, of documents that make the classes more even.

    "over" repeats documents of the smaller classes up to the largest, "under" leaves out down to the smallest, and
    "temperature" draws `size` (all by default) in the shares of `temperature_shares`. A document comes again only when
    all of its class have come: then as often as every other one, or once more.

    Raises: ValueError for no labels, a `how` that does not exist, or a size below 0.
    """
    counts = Counter(labels)
    if size is not None and size < 0:
        raise ValueError(f"size={size!r} is no number of documents; give 0 or more, or None for as many as there are")
    if not counts or how not in ("over", "under", "temperature"):
        raise ValueError(f'{len(labels)} labels, how={how!r}; give labels, and "over", "under" or "temperature"')
    if how == "temperature":
        wanted = _rounded(temperature_shares(counts, alpha), len(labels) if size is None else size)
    else:
        level = max(counts.values()) if how == "over" else min(counts.values())
        wanted = dict.fromkeys(counts, level)
    rng = np.random.default_rng(seed)
    places: dict[Hashable, list[int]] = {label: [] for label in counts}
    for index, label in enumerate(labels):
        places[label].append(index)
    drawn = [_draw(np.array(places[label]), wanted[label], rng) for label in counts]
    return np.sort(np.concatenate(drawn))


def _draw(places: Int[np.ndarray, " n"], count: int, rng: np.random.Generator) -> Int[np.ndarray, " count"]:
    whole, rest = divmod(count, len(places))
    return np.concatenate([np.tile(places, whole), rng.permutation(places)[:rest]])


def _rounded(shares: Mapping[Hashable, float], total: int) -> dict[Hashable, int]:
    """Whole numbers in these shares that add up to the total (largest remainders)."""
    exact = {label: share * total for label, share in shares.items()}
    counts = {label: math.floor(value) for label, value in exact.items()}
    by_rest = sorted(exact, key=lambda label: counts[label] - exact[label])
    for label in by_rest[: total - sum(counts.values())]:
        counts[label] += 1
    return counts


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a plain table: the first column to the left, the others to the right; wide characters count two."""
    cells = [tuple(head), *map(tuple, rows)]
    widths = [max(_width(row[i]) for row in cells) for i in range(len(head))]
    lines = []
    for row in cells:
        pads = [" " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0] + pads[0], *(p + c for p, c in zip(pads[1:], row[1:], strict=True))]).rstrip())
    return lines


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def printed(rows: Iterable[tuple[str, int, float, int]]) -> list[tuple[str, ...]]:
    """The rows of a report as people read them."""
    return [(value, f"{count:,}", f"{share:.1%}", f"{words:,}") for value, count, share, words in rows]


def _known(label: str, labels: Mapping[str, Any]) -> str:
    if label not in labels:
        raise ValueError(f"the report has no label {label!r}; it was made for {', '.join(labels)}")
    return label
