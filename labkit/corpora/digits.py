"""Pictures with labels that need no download: the 8 × 8 digits of scikit-learn."""

import gzip
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from labkit.corpora.cache import CorpusUnavailable, sha256_of
from labkit.corpora.catalogue import describe, refusal
from labkit.corpora.text import Loaded


@dataclass(frozen=True, eq=False)
class Digits(Loaded):
    """Grey pictures, 0 (white) to 16 (black), and the digit that each shows."""

    images: UInt8[np.ndarray, "samples 8 8"] = field(repr=False)
    labels: Int[np.ndarray, " samples"] = field(repr=False)

    @property
    def sha256(self) -> str:
        """The sha256 of the pixels in order."""
        return sha256_of(self.images.tobytes())

    @property
    def line(self) -> str:
        """One line that names the pictures, their number, licence and source."""
        count = f"{len(self.images):,} pictures of 8 × 8 pixels in {len(np.unique(self.labels))} classes"
        return f"{self.used}: {count} · {self.licence} · {self.source}"


def load_digits(*, quiet: bool = False) -> Digits:
    """Return 1,797 handwritten digits as arrays, printing a line with licence and source unless `quiet`.

    Raises: CorpusUnavailable when scikit-learn is not installed.
    Source: E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.
    """
    try:
        found = read_digits()
    except CorpusUnavailable as reason:
        raise CorpusUnavailable(refusal(describe("digits"), reason)) from reason
    if not quiet:
        print(found.line)
    return found


def read_digits() -> Digits:
    """Return the digits of scikit-learn, read from its files: to import it takes longer than all the rest.

    Raises: CorpusUnavailable when scikit-learn is not installed.
    """
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise CorpusUnavailable("the pictures lie in the package scikit-learn, which is not installed.")
    file = Path(package.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    if not file.is_file():
        raise CorpusUnavailable(f"scikit-learn has no file {file.name} where it was; version 1.9 has.")
    with gzip.open(file, "rt") as lines:
        rows = np.loadtxt(lines, delimiter=",", dtype=np.int64)
    entry = describe("digits")
    return Digits(
        name=entry.name,
        used=entry.name,
        licence=entry.licence,
        source=entry.source,
        layer=entry.layer,
        images=rows[:, :-1].reshape(-1, 8, 8).astype(np.uint8),
        labels=rows[:, -1],
    )
