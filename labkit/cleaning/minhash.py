"""MinHash: a short signature of a set, from which the Jaccard similarity of two sets can be estimated."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt32, UInt64

from labkit.cleaning.shingles import FIVE_WORDS, Shingled, Shingling, blocks, check_texts, hash_shingles

NOTHING = np.uint32(2**32 - 1)  # in every place of the signature of a text without shingles
AT_A_TIME = 2**15  # shingles: with their products they fit the innermost cache


class MinHash:
    """Signatures of `hashes` numbers; the share of equal ones estimates the Jaccard similarity of two texts.

    Each number is the least of a random function's values over the shingles of a text. The functions multiply the
    upper half of a shingle's hash by an odd number modulo 2**32: each shuffles the 32-bit numbers.

    Raises:
        ValueError: for no hash at all.

    Source: Broder (1997), "On the resemblance and containment of documents", section 3.

    >>> pair = MinHash(hashes=64).signatures(["a b c d e f g", "A  b c, d e f g!"])
    >>> MinHash.estimate(*pair)
    1.0
    """

    def __init__(self, hashes: int = 125, seed: int = 0, how: Shingling = FIVE_WORDS):
        if hashes < 1:
            raise ValueError(f"a signature needs at least one hash, got {hashes}; 64 to 256 are usual")
        self.how = how
        draw = np.random.default_rng(seed)
        self.multipliers = draw.integers(0, 2**31, hashes, dtype=np.uint32) * np.uint32(2) + np.uint32(1)

    def signature(self, hashes: UInt64[np.ndarray, " shingles"]) -> UInt32[np.ndarray, " hashes"]:
        """The signature of one set of shingle hashes: the least product for each multiplier."""
        upper = (hashes >> np.uint64(32)).astype(np.uint32)
        products = self.multipliers[:, None] * upper
        return products.min(axis=1, initial=NOTHING)

    def signatures(self, texts: Sequence[str]) -> UInt32[np.ndarray, "texts hashes"]:
        """The signatures of many texts; memory is that of the result and of one block of texts.

        Raises:
            ValueError: for anything but a list of strings.
        """
        check_texts(texts)
        parts = [self.of(hash_shingles(block, self.how)) for block in blocks(texts)]
        return np.concatenate([np.zeros((0, len(self.multipliers)), np.uint32), *parts])

    def of(self, shingled: Shingled) -> UInt32[np.ndarray, "texts hashes"]:
        """The signatures of texts whose shingles are hashed already, a few texts at a time."""
        result = np.full((len(shingled), len(self.multipliers)), NOTHING)
        some = np.flatnonzero(np.diff(shingled.start))  # reduceat knows no empty segments
        start = shingled.start[some]
        for part in _parts(shingled.start, some):
            begin, end = start[part][0], shingled.start[some[part][-1] + 1]
            upper = (shingled.hashes[begin:end] >> np.uint64(32)).astype(np.uint32)
            result[some[part]] = self._least(upper, start[part] - begin).T
        return result

    def _least(self, upper: UInt32[np.ndarray, " shingles"], start: Any) -> UInt32[np.ndarray, "hashes texts"]:
        """The least product in each segment, for each multiplier."""
        products = np.empty_like(upper)
        least = np.empty((len(self.multipliers), len(start)), np.uint32)
        for row, multiplier in zip(least, self.multipliers, strict=True):
            np.multiply(upper, multiplier, out=products)
            np.minimum.reduceat(products, start, out=row)
        return least

    @staticmethod
    def estimate(first: UInt32[np.ndarray, "*rows hashes"], second: UInt32[np.ndarray, "*others others"]) -> Any:
        """The estimated Jaccard similarity of two signatures (or of rows of signatures): the share of equal places.

        Its variance is J (1 − J) / hashes.

        Raises:
            ValueError: for signatures of different lengths.
        """
        if first.shape[-1] != second.shape[-1]:
            raise ValueError(f"signatures of {first.shape[-1]} and {second.shape[-1]} hashes cannot be compared")
        share = np.mean(first == second, axis=-1)
        return float(share) if np.ndim(share) == 0 else share


def _parts(start: Any, some: Any) -> list[slice]:
    """Runs of texts that hold about AT_A_TIME shingles together."""
    cuts = np.flatnonzero(np.diff(start[some] // AT_A_TIME)) + 1
    edges = [0, *cuts.tolist(), len(some)]
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]
