"""Banding (locality-sensitive hashing): which of many signatures could belong to similar texts, without all pairs.

A signature is cut into bands of some rows. Two texts are candidates when they agree in all rows of at least one band.
"""

import bisect
import itertools
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt32, UInt64

from labkit.cleaning.minhash import NOTHING
from labkit.cleaning.shingles import BASE, MIXER

NO_KEY = np.uint64(2**64 - 1)  # of a text without shingles: never a candidate
CROWD = 64  # a bucket with more texts than this does not pair all with all
ENTRY = np.dtype([("key", "<u8"), ("text", "<i8")])


@dataclass(frozen=True)
class Bands:
    """How a signature is cut: `bands` times `rows` hashes.

    Raises:
        ValueError: unless both are at least 1.
    """

    bands: int
    rows: int

    def __post_init__(self) -> None:
        if min(self.bands, self.rows) < 1:
            raise ValueError(f"bands and rows must be at least 1, got {self.bands} bands of {self.rows} rows")

    @property
    def hashes(self) -> int:
        """How many hashes a signature needs."""
        return self.bands * self.rows

    def probability(self, similarity: Any) -> Any:
        """The probability that a pair of this Jaccard similarity becomes a candidate."""
        return probability(similarity, self.bands, self.rows)


def probability(similarity: Any, bands: int, rows: int) -> Any:
    """The probability that two texts of a Jaccard similarity agree in all rows of at least one band: 1 − (1 − s^r)^b.

    Source: Leskovec, Rajaraman and Ullman, "Mining of massive datasets", section 3.4.2.

    >>> round(probability(0.8, bands=20, rows=5), 4)
    0.9996
    """
    return 1 - (1 - similarity**rows) ** bands


def threshold(bands: int, rows: int) -> float:
    """About the similarity where the S-curve is steepest: (1/b)^(1/r).

    Source: Leskovec, Rajaraman and Ullman, "Mining of massive datasets", section 3.4.2.
    """
    return (1 / bands) ** (1 / rows)


def choose(threshold: float = 0.8, hashes: int = 125, recall: float = 0.995) -> Bands:
    """The steepest S-curve of at most so many hashes that finds a pair at the threshold with probability `recall`.

    More rows make it steeper (fewer candidates in vain), and need more bands to find as much.

    Raises:
        ValueError: if threshold or recall do not lie between 0 and 1, or the hashes do not suffice.

    >>> choose(0.8, hashes=125)
    Bands(bands=18, rows=6)
    """
    if not (0 < threshold < 1 and 0 < recall < 1):
        raise ValueError(f"threshold and recall lie between 0 and 1, got {threshold} and {recall}")
    for rows in range(hashes, 0, -1):
        hit = threshold**rows
        bands = math.ceil(math.log1p(-recall) / math.log1p(-hit)) if hit > 1e-12 else hashes + 1
        if bands * rows <= hashes:
            return Bands(bands, rows)
    least = math.ceil(math.log1p(-recall) / math.log1p(-threshold))
    raise ValueError(
        f"{hashes} hashes cannot find {recall:.1%} at similarity {threshold}: give at least {least}, "
        f"as in bands=choose({threshold}, {least})"
    )


def keys(signatures: UInt32[np.ndarray, "texts hashes"], bands: Bands) -> UInt64[np.ndarray, "texts bands"]:
    """One number for each band of each signature, equal when all rows of the band are equal.

    It holds the number of the band too, so keys of different bands never meet.

    Raises:
        ValueError: if the signatures have fewer hashes than the bands need.
    """
    if signatures.shape[1] < bands.hashes:
        raise ValueError(f"{bands} need {bands.hashes} hashes, the signatures have {signatures.shape[1]}")
    result = np.empty((bands.bands, len(signatures)), np.uint64)
    for band, key in enumerate(result):
        key[:] = (band + 1) * MIXER % 2**64  # far from all the rows' 32-bit numbers, so no row looks like a band
        for row in signatures[:, band * bands.rows : (band + 1) * bands.rows].T:
            key ^= row
            key *= np.uint64(BASE)
            key ^= key >> np.uint64(29)
        key *= np.uint64(MIXER)
    result[:, (signatures == NOTHING).all(axis=1)] = NO_KEY
    return result.T


def candidates(keys: UInt64[np.ndarray, "texts bands"], *, crowd: int = CROWD) -> Int64[np.ndarray, "pairs 2"]:
    """The pairs (i, j), i < j, of texts that share a key, sorted, each once.

    In a bucket of more than `crowd` texts each is paired with the first and with the one before it only; otherwise a
    thousand copies of one page would give half a million pairs.
    """
    texts, bands = keys.shape
    flat = keys.ravel()
    order = np.argsort(flat, kind="stable")
    found = _pairs(flat[order], order // max(bands, 1), crowd)
    codes = np.unique(found[:, 0] * texts + found[:, 1])
    return np.stack([codes // max(texts, 1), codes % max(texts, 1)], axis=1)


def _pairs(key: UInt64[np.ndarray, " entries"], text: Any, crowd: int) -> Int64[np.ndarray, "pairs 2"]:
    """Pairs of texts with equal keys among entries sorted by key, then by text; a pair may come several times."""
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.zeros(0, np.int64)
    size = np.diff(first, append=len(key))
    small, leader = np.repeat(size <= crowd, size), np.repeat(first, size)
    partner = np.flatnonzero((np.arange(len(key)) > leader) & (key != NO_KEY))
    crowded = partner[~small[partner]]
    left, right = [leader[crowded]], [crowded]
    for distance in range(1, max(crowd, 2)):  # each entry with the one so many places before it in the same bucket
        left.append(partner - distance)
        right.append(partner)
        partner = partner[small[partner] & (partner - distance > leader[partner])]
        if not len(partner):
            break
    return np.stack([text[np.concatenate(left)], text[np.concatenate(right)]], axis=1).astype(np.int64)


def write_keys(path: str | os.PathLike, keys: UInt64[np.ndarray, "texts bands"], first: int) -> None:
    """Save the keys of one shard of texts, sorted, as an .npy file that appears whole or not at all.

    `first` is the number of the shard's first text among all texts.
    """
    path, bands = Path(path), keys.shape[1]
    flat = keys.ravel()
    order = np.argsort(flat, kind="stable")
    entries = np.empty(len(flat), ENTRY)
    entries["key"], entries["text"] = flat[order], first + order // max(bands, 1)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        np.save(file, entries)
    unfinished.replace(path)


def candidates_on_disk(
    paths: Iterable[str | os.PathLike], *, partitions: int = 16, crowd: int = CROWD
) -> Iterator[Int64[np.ndarray, "pairs 2"]]:
    """The candidates among the texts of many shards, one part of the range of keys at a time.

    Only that part of the keys is in memory: 16 bytes × texts × bands / partitions, about three times over. Together
    the parts hold the pairs that `candidates` finds; one that shares several keys may come in several parts.
    """
    paths, edges = list(paths), [2**64 * part // partitions for part in range(partitions + 1)]
    for low, high in itertools.pairwise(edges):
        entries = np.concatenate([np.zeros(0, ENTRY), *(_between(path, low, high) for path in paths)])
        entries = entries[np.lexsort((entries["text"], entries["key"]))]
        found = _pairs(entries["key"], entries["text"], crowd)
        yield np.unique(found, axis=0)


def _between(path: str | os.PathLike, low: int, high: int) -> Any:
    """The entries of one shard with low ≤ key < high; the rest of the file is not read."""
    entries = np.load(path, mmap_mode="r")
    begin, end = (bisect.bisect_left(entries["key"], edge) for edge in (low, high))
    return np.array(entries[begin:end])
