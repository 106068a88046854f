"""Repeated substrings: passages of many words that stand in several texts, found by sorting all places of the text."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Int64

from labkit.cleaning.shingles import check_texts

Spans = list[tuple[int, int]]


def suffix_array(sequence: Int[np.ndarray, " places"] | Sequence[int] | str) -> Int64[np.ndarray, " places"]:
    """The places of a sequence, sorted by what follows from there to the end.

    By prefix doubling: places ranked by their next k items are ranked by the next 2k, as pairs of ranks.

    Source: Manber and Myers (1993), "Suffix arrays: a new method for on-line string searches".

    >>> suffix_array("banana").tolist()
    [5, 3, 1, 0, 4, 2]
    """
    rank, length = _ranks(sequence), 1
    while length < len(rank) and rank.max() + 1 < len(rank):
        rank = _dense(_pair(rank, length))
        length *= 2
    return np.argsort(rank, kind="stable")


def _ranks(sequence: Any) -> Int64[np.ndarray, " places"]:
    numbers = np.array([ord(c) for c in sequence] if isinstance(sequence, str) else sequence, np.int64)
    return _dense(numbers)


def _dense(values: Int64[np.ndarray, " places"]) -> Int64[np.ndarray, " places"]:
    """The ranks 0, 1, 2 … of values, equal ones with equal ranks."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    rank = np.empty(len(values), np.int64)
    rank[order] = np.cumsum(np.concatenate([[0], ordered[1:] != ordered[:-1]])[: len(values)])
    return rank


def _pair(rank: Int64[np.ndarray, " places"], distance: int) -> Int64[np.ndarray, " places"]:
    """One number for the rank of each place and that of the place `distance` further on; nothing comes before all."""
    further = np.zeros_like(rank)
    further[: max(0, len(rank) - distance)] = rank[distance:] + 1
    return rank * (len(rank) + 1) + further


def longest_common_prefixes(
    sequence: Int[np.ndarray, " places"] | Sequence[int] | str, suffixes: Int64[np.ndarray, " places"]
) -> Int64[np.ndarray, " places"]:
    """How many items each suffix of a suffix array has in common with the one before it (the first: 0).

    Source: Kasai et al. (2001), "Linear-time longest-common-prefix computation in suffix arrays".

    >>> longest_common_prefixes("banana", suffix_array("banana")).tolist()
    [0, 1, 3, 0, 0, 2]
    """
    n, place_of = len(sequence), np.argsort(suffixes).tolist()
    order, result, common = suffixes.tolist(), [0] * len(sequence), 0
    for i in range(n):
        if place_of[i] == 0:
            common = 0
            continue
        j = order[place_of[i] - 1]
        while max(i, j) + common < n and sequence[i + common] == sequence[j + common]:
            common += 1
        result[place_of[i]] = common
        common = max(0, common - 1)  # the next suffix shares all but the first item
    return np.array(result, np.int64)


def repeated(texts: Sequence[str], length: int = 50, unit: str = "word", *, keep: str = "first") -> list[Spans]:
    """For each text the spans (start, end) of characters that repeat `length` or more units standing elsewhere.

    Units are words with their punctuation, or "character"s; case counts. No match crosses the end of a text. With
    keep="first" the first occurrence of each passage stays, whole; with "none" all occurrences are named.

    Raises:
        ValueError: for a length below 2, another unit or another `keep`.

    Source: Lee et al. (2022), "Deduplicating training data makes language models better", section 4.1, where the units
    are 50 tokens of a tokenizer.

    >>> repeated(["a b c d e", "x b c d y"], length=3)
    [[], [(2, 7)]]
    """
    check_texts(texts)
    if length < 2 or unit not in ("word", "character") or keep not in ("first", "none"):
        raise ValueError(
            f"length must be 2 or more, unit 'word' or 'character', keep 'first' or 'none'; "
            f"got {length}, {unit!r} and {keep!r}"
        )
    spans = [_units(text, unit) for text in texts]
    marked = repeats(_numbered(texts, spans), length, keep)
    first = np.cumsum([0, *(len(part) + 1 for part in spans)]).tolist()
    return [_merged(part, marked[at : at + len(part)]) for at, part in zip(first, spans, strict=False)]


def repeats(sequence: Any, length: int, keep: str = "first") -> Bool[np.ndarray, " places"]:
    """Which places of a sequence belong to a run of `length` items that occurs more than once (and not first)."""
    rank, reach = _ranks(sequence), 1
    count = max(0, len(rank) - length + 1)
    while 2 * reach <= length:
        rank = _dense(_pair(rank, reach))
        reach *= 2
    run = _dense(_pair(rank, length - reach)[:count])  # two runs of `reach` that overlap make one of `length`
    earliest = np.full(count, count, np.int64)
    np.minimum.at(earliest, run, np.arange(count))
    again = np.bincount(run, minlength=1)[run] > 1 if count else np.zeros(0, bool)
    later = again & (earliest[run] != np.arange(count))
    if keep == "none":
        return _covered(again, len(rank), length)
    return _covered(later, len(rank), length) & ~_covered(again & ~later, len(rank), length)


def _covered(starts: Bool[np.ndarray, " runs"], places: int, length: int) -> Bool[np.ndarray, " places"]:
    """The places inside runs of `length` that begin at the given starts."""
    change = np.zeros(places + 1, np.int64)
    begin = np.flatnonzero(starts)
    change[begin] += 1
    change[begin + length] -= 1
    return np.cumsum(change)[:places] > 0


def _units(text: str, unit: str) -> Int64[np.ndarray, "units 2"]:
    """Where each unit of a text begins and ends."""
    if unit == "character":
        return np.arange(len(text))[:, None] + np.arange(2)
    return np.array([match.span() for match in re.finditer(r"\S++", text)], np.int64).reshape(-1, 2)


def _numbered(texts: Sequence[str], spans: Sequence[Int64[np.ndarray, "_ 2"]]) -> Int64[np.ndarray, " places"]:
    """All units as numbers, with a number of its own behind each text."""
    known: dict[str, int] = {}
    parts = [np.zeros(0, np.int64)]
    for i, (text, places) in enumerate(zip(texts, spans, strict=True)):
        units = (known.setdefault(text[a:b], len(known)) for a, b in places)
        parts += [np.fromiter(units, np.int64, len(places)), np.array([-1 - i], np.int64)]
    return np.concatenate(parts)


def _merged(spans: Int64[np.ndarray, "units 2"], marked: Bool[np.ndarray, " units"]) -> Spans:
    """Neighbouring marked units as one span."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    return [(int(spans[a, 0]), int(spans[b - 1, 1])) for a, b in edges.reshape(-1, 2).tolist()]


def cut(texts: Sequence[str], spans: Sequence[Spans]) -> list[str]:
    """The texts without the spans; where space is left on both sides of a cut, one side's goes too.

    Raises:
        ValueError: if there are not as many lists of spans as texts.

    >>> cut(["x b c d y"], [[(2, 7)]])
    ['x y']
    """
    check_texts(texts)
    if len(texts) != len(spans):
        raise ValueError(f"{len(texts)} texts and {len(spans)} lists of spans: give one list for each text")
    return [_without(text, cuts) for text, cuts in zip(texts, spans, strict=True)]


def _without(text: str, cuts: Spans) -> str:
    pieces, last, place, space = [], "", 0, re.compile(r"\s*+")
    for start, end in sorted(cuts):
        pieces.append(text[place:start])
        last = pieces[-1][-1:] or last  # the character before the cut
        place = max(place, end)
        if not last or last.isspace():
            place = space.match(text, place).end()
    return "".join([*pieces, text[place:]])
