"""Near-duplicates: MinHash and banding find candidates, exact Jaccard similarity decides, one of each group stays."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt64

from labkit.cleaning.banding import Bands, candidates, choose, keys
from labkit.cleaning.clusters import components
from labkit.cleaning.minhash import MinHash
from labkit.cleaning.shingles import FIVE_WORDS, Shingled, Shingling, check_texts, hash_shingles

Fetch = Callable[[list[int]], Sequence[str]]
PAIRS = 2**10  # verified at a time: 10 bits of a key say which pair
SHINGLES = 2**19  # of all pairs verified at a time, unless one pair alone has more
FETCHED = 2**12  # pairs whose texts are fetched at a time
HASHES = 64  # the budget of a signature when nothing is said


@dataclass(frozen=True)
class Duplicates:
    """Which texts stay and which go, by their numbers, and why.

    `of[i]` is the kept text that removed text i is a copy of, `similarity[i]` their exact Jaccard similarity. `pairs`
    are all pairs (i, j, similarity) that were found at or above the threshold.
    """

    kept: list[int]
    removed: list[int]
    of: dict[int, int]
    similarity: dict[int, float]
    pairs: list[tuple[int, int, float]]

    def __str__(self) -> str:
        return f"kept {len(self.kept):,}, removed {len(self.removed):,} ({len(self.pairs):,} pairs of near-duplicates)"


def near_duplicates(
    texts: Sequence[str],
    threshold: float | Any = 0.8,
    *,
    how: Shingling = FIVE_WORDS,
    bands: Bands | None = None,
    seed: int = 0,
    chains: bool = True,
    empty: bool = False,
) -> Duplicates:
    """Find the texts whose sets of shingles have a Jaccard similarity of at least the threshold; the first one stays.

    What is found is right (every pair is verified); a pair at the threshold is missed with a probability of 0.5 %, and
    more similar ones less often. Groups are connected components: A~B~C goes together though A and C differ. Of more
    than 64 texts that agree in a band not all pairs are looked at, see `candidates`.

    Args:
        bands: how signatures are cut; by default `choose(threshold, HASHES)`.
        chains: False removes a text only if it is itself similar to one that is kept.
        empty: True makes texts without a single word copies of the first such text.

    Raises:
        ValueError: for a threshold that is not between 0 and 1, or anything but a list of strings.

    >>> found = near_duplicates(["a b c d e f", "something else", "A b c d e f!"])
    >>> found.kept, found.of, found.similarity
    ([0, 1], {2: 0}, {2: 1.0})
    """
    check_texts(texts)
    check_threshold(threshold)
    bands = bands or choose(threshold, HASHES)
    shingled = hash_shingles(texts, how)
    signatures = MinHash(bands.hashes, seed, how).of(shingled)
    pairs = candidates(keys(signatures, bands))
    found = _at_least(threshold, pairs, similarities(shingled, pairs))
    result = decide(len(texts), found, lambda numbers: [texts[i] for i in numbers], how=how, chains=chains)
    return _with_empty(result, np.flatnonzero(np.diff(shingled.start) == 0)) if empty else result


def check_threshold(threshold: Any) -> None:
    """Refuse what cannot be a threshold.

    Raises:
        ValueError: saying what to use instead.
    """
    if not isinstance(threshold, Real) or not 0 < threshold < 1:
        raise ValueError(
            f"the threshold must lie between 0 and 1, got {threshold!r}; for equal texts use exact.duplicates"
        )


def similarities(shingled: Shingled, pairs: Int64[np.ndarray, "pairs 2"]) -> Float64[np.ndarray, " pairs"]:
    """The exact Jaccard similarity of each pair of texts (of their 53-bit shingle hashes)."""
    size = np.diff(shingled.start)
    total = np.cumsum(size[pairs].sum(axis=1))
    full = np.flatnonzero(np.diff(total // SHINGLES)) + 1
    edges = np.unique([*range(0, len(pairs), PAIRS), *full.tolist(), len(pairs)]).tolist()
    parts = [_similarities(shingled, pairs[a:b]) for a, b in itertools.pairwise(edges)]
    return np.concatenate([np.zeros(0), *parts])


def _similarities(shingled: Shingled, pairs: Int64[np.ndarray, "pairs 2"]) -> Float64[np.ndarray, " pairs"]:
    """By one sort: keys made of the number of the pair, a shingle's hash, and the side on which it stands."""
    both = np.sort(np.concatenate([_tagged(shingled, pairs[:, side], side) for side in (0, 1)]))
    once = both[np.concatenate([[True], both[1:] != both[:-1]])] if len(both) else both
    pair = (once >> np.uint64(54)).astype(np.int64)
    common = once[1:] >> np.uint64(1) == once[:-1] >> np.uint64(1)
    shared = np.bincount(pair[1:][common], minlength=len(pairs))
    union = np.bincount(pair, minlength=len(pairs)) - shared
    return shared / np.maximum(union, 1)


def _tagged(shingled: Shingled, texts: Int64[np.ndarray, " pairs"], side: int) -> UInt64[np.ndarray, " shingles"]:
    begin, size = shingled.start[texts], shingled.start[texts + 1] - shingled.start[texts]
    place = np.arange(size.sum()) + np.repeat(begin - (np.cumsum(size) - size), size)
    hashes = (shingled.hashes[place] >> np.uint64(11)) << np.uint64(1) | np.uint64(side)
    return hashes | np.repeat(np.arange(len(texts)).astype(np.uint64) << np.uint64(54), size)


def _at_least(threshold: float, pairs: Any, similarity: Any) -> list[tuple[int, int, float]]:
    good = similarity >= threshold
    return [(i, j, s) for (i, j), s in zip(pairs[good].tolist(), similarity[good].tolist(), strict=True)]


def verified(
    pairs: Int64[np.ndarray, "pairs 2"], fetch: Fetch, threshold: float = 0.8, *, how: Shingling = FIVE_WORDS
) -> list[tuple[int, int, float]]:
    """Of candidate pairs those (i, j, similarity) whose exact Jaccard similarity reaches the threshold.

    `fetch` gives the texts with some numbers; it is asked for those of a few thousand pairs at a time, so that the
    memory needed does not depend on how many texts there are.
    """
    found = []
    for begin in range(0, len(pairs), FETCHED):
        part = pairs[begin : begin + FETCHED]
        found += _at_least(threshold, part, _fetched_similarities(part, fetch, how))
    return found


def _fetched_similarities(pairs: Int64[np.ndarray, "pairs 2"], fetch: Fetch, how: Shingling) -> Any:
    numbers = np.unique(pairs)
    return similarities(hash_shingles(fetch(numbers.tolist()), how), np.searchsorted(numbers, pairs))


def decide(
    count: int,
    pairs: Iterable[tuple[int, int, float]],
    fetch: Fetch,
    *,
    how: Shingling = FIVE_WORDS,
    chains: bool = True,
) -> Duplicates:
    """Decide from verified pairs (i < j, similarity) which of `count` texts stay: the first of each group.

    With `chains` a group is a connected component, and the similarity between the kept text and one at the far end of
    a chain is computed from `fetch`; it can be below the threshold.
    """
    pairs = sorted(pairs)
    of = _heads(count, pairs) if chains else _directly(pairs)
    known = {(i, j): similarity for i, j, similarity in pairs}
    far = np.array([(head, i) for i, head in of.items() if (head, i) not in known], np.int64).reshape(-1, 2)
    for begin in range(0, len(far), FETCHED):
        part = far[begin : begin + FETCHED]
        values = _fetched_similarities(part, fetch, how).tolist()
        known.update(zip(map(tuple, part.tolist()), values, strict=True))
    removed = sorted(of)
    kept = [i for i in range(count) if i not in of]
    return Duplicates(kept, removed, {i: of[i] for i in removed}, {i: known[of[i], i] for i in removed}, pairs)


def _heads(count: int, pairs: list[tuple[int, int, float]]) -> dict[int, int]:
    """For each text but the first of its connected component, that first one."""
    head = components(count, pairs)
    return {i: int(head[i]) for i in np.flatnonzero(head != np.arange(count)).tolist()}


def _directly(pairs: list[tuple[int, int, float]]) -> dict[int, int]:
    """For each text that is similar to an earlier one that stays, the most similar such."""
    of: dict[int, tuple[float, int]] = {}
    for first, second, similarity in sorted(pairs, key=lambda pair: (pair[1], pair[0])):
        if first not in of and similarity > of.get(second, (0.0, 0))[0]:
            of[second] = similarity, first
    return {second: first for second, (_, first) in of.items()}


def _with_empty(result: Duplicates, empty: Int64[np.ndarray, " texts"]) -> Duplicates:
    copies = dict.fromkeys(empty[1:].tolist(), int(empty[0]) if len(empty) else 0)
    of = dict(sorted({**result.of, **copies}.items()))
    similarity = {i: result.similarity.get(i, 1.0) for i in of}
    return Duplicates([i for i in result.kept if i not in copies], list(of), of, similarity, result.pairs)
