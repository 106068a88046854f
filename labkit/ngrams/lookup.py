"""Finding millions of n-grams at once: a hash table of plain arrays, probed for all questions together."""

import numpy as np
from jaxtyping import Int, Integer

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, an odd number; source: Knuth (1998), section 6.4


class HashIndex:
    """Where each of many different non-negative keys stands, found in about one memory access a question.

    Open addressing with linear probing, at most half full. The loop over probes runs for all keys at once, so a round
    costs a few array operations however many keys still look for their place.

    >>> HashIndex(np.array([30, 10, 20])).find(np.array([10, 5])).tolist()
    [1, -1]
    """

    def __init__(self, keys: Int[np.ndarray, " keys"]):
        bits = max(1, (2 * len(keys)).bit_length())
        self._shift, self._mask = np.uint64(64 - bits), (1 << bits) - 1
        self._key = np.full(1 << bits, -1, dtype=np.int64)
        self._number = np.full(1 << bits, -1, dtype=np.int32)
        waiting, slot = np.arange(len(keys)), self._slot(keys)
        while len(waiting):
            free = self._key[slot] < 0
            self._key[slot[free]] = keys[waiting[free]]  # of several keys for one slot the last one stays
            settled = self._key[slot] == keys[waiting]
            self._number[slot[settled]] = waiting[settled]
            waiting, slot = waiting[~settled], (slot[~settled] + 1) & self._mask

    def _slot(self, keys: Int[np.ndarray, " keys"]) -> Int[np.ndarray, " keys"]:
        return ((keys.view(np.uint64) * GOLDEN) >> self._shift).view(np.int64)

    def find(self, keys: Int[np.ndarray, " questions"]) -> Integer[np.ndarray, " questions"]:
        """The place of each key in the array that the index was made of, -1 for a key that is not there."""
        slot = self._slot(keys)
        met = self._key[slot]
        hit = met == keys
        result = np.where(hit, self._number[slot], -1)
        open_ = np.flatnonzero(~hit & (met >= 0))
        slot, wanted = slot[open_], keys[open_]
        while len(open_):
            slot = (slot + 1) & self._mask
            met = self._key[slot]
            hit = met == wanted
            result[open_[hit]] = self._number[slot[hit]]
            further = ~hit & (met >= 0)
            open_, slot, wanted = open_[further], slot[further], wanted[further]
        return result


def find_sorted(
    keys: Int[np.ndarray, " keys"], wanted: Int[np.ndarray, " questions"]
) -> Integer[np.ndarray, " questions"]:
    """The same answer by binary search in ascending keys: nothing to build, but slower for many questions."""
    if not len(keys):
        return np.full(len(wanted), -1, dtype=np.int32)
    place = np.searchsorted(keys, wanted)
    np.minimum(place, len(keys) - 1, out=place)
    return np.where(keys[place] == wanted, place, -1).astype(np.int32)
