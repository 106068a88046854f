"""What is remembered of each document to find its copies: a digest of the text, its place, and its band keys."""

import numpy as np
from jaxtyping import UInt64

from labkit.cleaning.banding import keys
from labkit.cleaning.exact import key
from labkit.cleaning.minhash import MinHash
from labkit.cleaning.pipeline import Pipeline, chosen_bands

__all__ = ["INDEX", "NO_DIGEST", "Signer", "digest"]

INDEX = np.dtype([("high", "u8"), ("low", "u8"), ("offset", "u8"), ("length", "u8"), ("place", "u8")])
NO_DIGEST = (0, 0)  # of a text of nothing but space: no copy of any other
BATCH = 1 << 20  # characters of text whose signatures are computed together


def digest(text: str) -> tuple[int, int]:
    """What stands for a text where exact copies are looked for, as two numbers."""
    code = key(text)
    if code is None:
        return NO_DIGEST
    return int.from_bytes(code[:8], "little"), int.from_bytes(code[8:], "little")


class Signer:
    """Band keys of texts that come one by one, computed many at a time."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._bands = chosen_bands(pipeline) if pipeline.near is not None else None
        self._hasher = MinHash(self._bands.hashes, pipeline.seed, pipeline.how) if self._bands else None
        self._texts: list[str] = []
        self._characters = 0
        self._keys: list[np.ndarray] = []

    def add(self, text: str) -> None:
        """One more text."""
        if self._hasher is None:
            return
        self._texts.append(text)
        self._characters += len(text)
        if self._characters >= BATCH:
            self._sign()

    def _sign(self) -> None:
        self._keys.append(keys(self._hasher.signatures(self._texts), self._bands))
        self._texts, self._characters = [], 0

    def keys(self) -> UInt64[np.ndarray, "texts bands"]:
        """The band keys of all texts so far, in their order; without near copies no columns."""
        if self._texts:
            self._sign()
        bands = self._bands.bands if self._bands else 0
        return np.concatenate(self._keys) if self._keys else np.empty((0, bands), dtype=np.uint64)
