"""Counting the n-grams of every order by sorting the text once.

Sort all positions of a text by the next n words, as in a suffix array. Equal n-grams then lie side by side, and so do
those of every shorter order, because a run of equal n-grams is part of a run of equal (n-1)-grams. One walk over the
sorted positions numbers the n-grams of each order, and the number of the context comes along for free. The sort is a
radix sort, one pass for each word from the last to the first. Nothing is hashed, and no n-gram is ever a string.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int, Integer, Num, Shaped

from labkit.ngrams.vocabulary import BOS_ID

CHUNK = 2**17  # places that are sorted at a time
RADIX = 2**16  # NumPy sorts 16-bit integers by radix, several times as fast as wider ones


@dataclass(frozen=True, eq=False)
class Level:
    """All distinct n-grams of one order, sorted by context and then by last word.

    An n-gram's number is its place in these arrays. A number in `context` or `suffix` is a place in the level below
    (for order 1 there is one empty context, number 0).
    """

    order: int
    context: Int[np.ndarray, " ngrams"]  # the n-gram without its last word
    word: Int[np.ndarray, " ngrams"]  # its last word
    suffix: Int[np.ndarray, " ngrams"]  # the n-gram without its first word
    count: Int[np.ndarray, " ngrams"]  # how often it was seen
    adjusted: Int[np.ndarray, " ngrams"]  # in how many different words' company (Kneser-Ney); count at the top order
    start: Int[np.ndarray, " edges"]  # n-grams start[c] to start[c+1]-1 are those with context c
    initial: Bool[np.ndarray, " ngrams"]  # does it begin with <s>?
    events: int  # how many words can be predicted: the vocabulary, without <s> where that is never predicted

    def __len__(self) -> int:
        return len(self.word)

    def sum(self, values: Shaped[np.ndarray, " ngrams"]) -> Num[np.ndarray, " contexts"]:
        """The values of all n-grams that share a context, added up; 0 for a context without continuation."""
        if values.dtype.kind in "biu":  # exact, so the difference of two running sums will do
            running = np.zeros(len(values) + 1, dtype=np.int64)
            np.cumsum(values, out=running[1:])
            return np.diff(running[self.start])
        result = np.zeros(len(self.start) - 1)
        nonempty = self.start[1:] > self.start[:-1]
        result[nonempty] = np.add.reduceat(values, self.start[:-1][nonempty])
        return result

    def spread(self, values: Num[np.ndarray, " contexts"]) -> Num[np.ndarray, " ngrams"]:
        """For each n-gram the value of its context."""
        return values.take(self.context)

    def counts_of_counts(self, most: int, *, adjusted: bool = False) -> Int[np.ndarray, " found"]:
        """How many n-grams have count 0, 1, … `most`."""
        counts = self.adjusted if adjusted else self.count
        return np.bincount(counts[counts <= most], minlength=most + 1)


def count_ngrams(
    tokens: Int[np.ndarray, " tokens"],
    lengths: Int[np.ndarray, " sentences"],
    *,
    order: int,
    vocabulary_size: int,
    predict_start: bool = False,
) -> list[Level]:
    """The levels of order 1 to `order` of a text of numbers; no n-gram crosses the end of a sentence.

    Args:
        tokens: word numbers below `vocabulary_size`, sentences one behind the other, padded as wanted.
        lengths: how many tokens each sentence has.
        predict_start: whether `<s>` is a word like any other. If not, it is context only and its count is 0.
    """
    words = _mark_ends(tokens, lengths, order=order, vocabulary_size=vocabulary_size)
    places = _sort_places(words, order=order)
    begins = np.cumsum(lengths + 1) - lengths - 1
    begins = begins[:0] if predict_start else begins[words[begins] != BOS_ID + 1]  # those without <s> in front
    levels = [_unigrams(tokens, vocabulary_size, predict_start=predict_start)]
    column = _taken(words, places)
    context, lower = column, words  # the number of the lower n-gram plus one: in sorted order, and in text order
    valid, new = column > 0, np.ones(len(column), dtype=bool)
    new[1:] = column[1:] != column[:-1]
    for n in range(2, order + 1):
        column = _taken(words[n - 1 :], places)
        valid &= column > 0
        new[1:] |= column[1:] != column[:-1]
        first, count = _runs(new, valid)
        before, word, after = (_numbers(a) for a in (context[first], column[first], lower[1:][places[first]]))
        levels.append(_next_level(levels[-1], before, word, after, count))
        opening = _numbers(lower[begins])
        levels[-2] = replace(levels[-2], adjusted=_continuations(*levels[-2:], opening, predict_start=predict_start))
        if n < order:
            context = np.cumsum(new & valid, dtype=np.int32)
            lower = np.zeros(len(words), dtype=np.int32) if n == 2 else lower
            lower[places] = context
    if not predict_start:
        for level in levels:  # an n-gram that ends in <s> stays as a context, but it was never predicted
            level.count[level.word == BOS_ID] = level.adjusted[level.word == BOS_ID] = 0
    return levels


def _mark_ends(
    tokens: Int[np.ndarray, " tokens"], lengths: Int[np.ndarray, " sentences"], *, order: int, vocabulary_size: int
) -> Integer[np.ndarray, " places"]:
    """The word numbers plus one, with a 0 behind every sentence and `order` more at the end."""
    kind = np.uint16 if vocabulary_size < RADIX - 1 else np.uint32
    inside = np.ones(len(tokens) + len(lengths) + order, dtype=bool)
    inside[np.cumsum(lengths + 1) - 1] = False
    inside[len(inside) - order :] = False
    words = np.zeros(len(inside), dtype=kind)
    words[inside] = (tokens + 1).astype(kind)
    return words


def _sort_places(words: Integer[np.ndarray, " places"], *, order: int) -> Integer[np.ndarray, " sorted"]:
    """The places of a text sorted by the `order` words that begin there: one stable radix sort for each word.

    First all places by their first word; then the others, last word first, for a chunk of places at a time. A chunk
    fits the processor's cache, and its memory is used again for the next one.
    """
    low = words if words.dtype == np.uint16 else np.minimum(words, RADIX - 1).astype(np.uint16)
    places = _turned(np.arange(len(words) - order), words, low)
    first = _taken(words, places)
    edges = np.flatnonzero(first[1:] != first[:-1]) + 1
    cuts = np.unique(edges[np.searchsorted(edges[:-1], np.arange(CHUNK, len(places), CHUNK))]) if len(edges) else edges
    for part in np.split(places, cuts):
        chunk = part
        for k in (*reversed(range(1, order)), 0):
            chunk = _turned(chunk, words[k:], low[k:])
        part[:] = chunk
    return places


def _turned(
    places: Integer[np.ndarray, " n"], words: Integer[np.ndarray, " places"], low: Integer[np.ndarray, " places"]
) -> Integer[np.ndarray, " n"]:
    """The places in the order of the words there, equal words as they were; `low` are the words cut to 16 bits."""
    keys = _taken(low, places)
    turn = np.argsort(keys, kind="stable")
    if low.dtype != words.dtype:  # words beyond 16 bits are rare: they stand at the end, still to be told apart
        rare = turn[np.count_nonzero(keys < RADIX - 1) :]
        rare[:] = rare[np.argsort(words[places[rare]], kind="stable")]
    return _taken(places, turn)


def _taken(values: Integer[np.ndarray, " places"], places: Integer[np.ndarray, " n"]) -> Integer[np.ndarray, " n"]:
    """`values[places]` without a check of the places, which is what indexing spends its time on."""
    return values.take(places, mode="clip")


def _numbers(one_more: Integer[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    return np.subtract(one_more, 1, dtype=np.int32, casting="unsafe")


def _runs(
    new: Bool[np.ndarray, " sorted"], valid: Bool[np.ndarray, " sorted"]
) -> tuple[Integer[np.ndarray, " ngrams"], Int[np.ndarray, " ngrams"]]:
    """Where each run of equal n-grams begins, and how long it is; runs that cross the end of a sentence left out."""
    edges = np.flatnonzero(new)
    length = np.empty(len(edges), dtype=np.int32)
    np.subtract(edges[1:], edges[:-1], out=length[:-1], casting="unsafe")
    length[-1:] = len(new) - edges[-1:]
    kept = valid[edges]
    return edges[kept], length[kept]


def _unigrams(tokens: Int[np.ndarray, " tokens"], vocabulary_size: int, *, predict_start: bool) -> Level:
    count = np.bincount(tokens, minlength=vocabulary_size).astype(np.int32)
    words = np.arange(vocabulary_size, dtype=np.int32)
    nothing, start = np.zeros_like(words), np.array([0, vocabulary_size])
    events = vocabulary_size if predict_start else vocabulary_size - 1
    return Level(1, nothing, words, nothing, count, count.copy(), start, words == BOS_ID, events)


def _next_level(
    lower: Level,
    context: Int[np.ndarray, " ngrams"],
    word: Int[np.ndarray, " ngrams"],
    suffix: Int[np.ndarray, " ngrams"],
    count: Int[np.ndarray, " ngrams"],
) -> Level:
    start = np.zeros(len(lower) + 1, dtype=np.int64)
    np.cumsum(np.bincount(context, minlength=len(lower)), out=start[1:])
    return Level(lower.order + 1, context, word, suffix, count, count, start, lower.initial[context], lower.events)


def _continuations(
    lower: Level, upper: Level, opening: Int[np.ndarray, " sentences"], *, predict_start: bool
) -> Int[np.ndarray, " ngrams"]:
    """In front of each n-gram of a level: how many different words? (Its Kneser-Ney count.)

    `opening` are the n-grams that a sentence without `<s>` begins with: the edge of the text counts as one word more in
    front of them. Nothing ever stands in front of `<s>`, so n-grams that begin with it keep their plain count.
    Source: Heafield et al. (2013), Scalable Modified Kneser-Ney Language Model Estimation, section 3.
    """
    adjusted = np.bincount(upper.suffix, minlength=len(lower)).astype(np.int32)
    adjusted[np.unique(opening[opening >= 0])] += 1
    return adjusted if predict_start else np.where(lower.initial, lower.count, adjusted)
