"""A plan for a crawl too large to try: documents, bytes, candidate pairs and hours, from rates measured on a few pages.

rates = measured_rates(pipeline, documents)      # bytes of input a CPU second, and the share that each step keeps
print(plan(rates, stored_bytes=1e15, cores=1000, bands=pipeline_bands))
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.cleaning.balance import table
from labkit.cleaning.banding import Bands

Number = float | int
Shares = Mapping[Number, Number] | Sequence[tuple[Number, Number]]  # (similarity, how many pairs)

PETABYTE = 1e15
# Common Crawl, announcement of the crawl of December 2014: over 160 TB, 2.08 billion pages.
PAGE_BYTES = 160e12 / 2.08e9
DISK = 150e6  # bytes a second that a core gets from shared storage: an assumption, said so in the plan
BYTES_OF_KEY = 8  # a band's key has 64 bits, and so has the number of its document
_PREFIXES = ((1e18, "EB"), (1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass(frozen=True)
class Rate:
    """What a step did: bytes of its input in a CPU second, the bytes of a document before and after, the share kept."""

    bytes_per_second: Number
    bytes_in: Number
    bytes_out: Number
    kept: Number = 1.0

    def __post_init__(self) -> None:
        if not (self.bytes_per_second > 0 and self.bytes_in > 0 and self.bytes_out >= 0 and 0 <= self.kept <= 1):
            raise ValueError(f"{self!r}: rate and size must be positive, and the share kept from 0 to 1")

    @property
    def shrinks(self) -> float:
        """Bytes after over bytes before, of a document that is kept."""
        return self.bytes_out / self.bytes_in


def measured_rates(
    steps: Iterable[Any], documents: Iterable[Any], *, size: Callable[[Any], int] | None = None
) -> dict[str, Rate]:
    """Run each step, a function with a name, over what the one before left, and measure it in CPU seconds.

    A result that has a `reason` (labkit.cleaning.pipeline.Drop), None, or a ValueError is a document that goes.
    `size` gives the bytes of a document; by default those of `raw`, or of `text` in UTF-8.

    Raises: ValueError when nothing is left for a step to be measured on.
    """
    rates, left, size = {}, list(documents), size or _bytes
    for step in steps:
        name = getattr(step, "name", None) or step.__name__
        if not left:
            raise ValueError(f"no document is left to measure {name!r} on; give more documents or other limits")
        before = [size(document) for document in left]
        start = time.process_time()
        after = [_tried(step, document) for document in left]
        seconds = max(time.process_time() - start, 1e-6)
        kept = [(b, a) for b, a in zip(before, after, strict=True) if a is not None]
        sums = sum(b for b, _ in kept), sum(size(a) for _, a in kept)
        count = max(len(kept), 1)
        mean = sum(before) / len(before)
        rates[name] = Rate(sum(before) / seconds, mean, mean * sums[1] / max(sums[0], 1), len(kept) / len(left))
        left = [a for _, a in kept] if count else []
    return rates


def measured_rate(function: Callable[[list[str]], Any], texts: list[str]) -> Rate:
    """The rate of a function that takes all texts at once, such as the search for near copies; all are kept."""
    start = time.process_time()
    function(texts)
    seconds = max(time.process_time() - start, 1e-6)
    total = sum(map(_utf8, texts))
    return Rate(total / seconds, total / max(len(texts), 1), total / max(len(texts), 1))


def _tried(step: Callable[[Any], Any], document: Any) -> Any:
    try:
        made = step(document)
    except ValueError:  # to quarantine
        return None
    return None if made is None or hasattr(made, "reason") else made


def _bytes(document: Any) -> int:
    return max(1, len(getattr(document, "raw", b"")) or _utf8(document.text))


def _utf8(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


@dataclass(frozen=True)
class Row:
    """One step of a plan: documents and bytes that reach it, CPU hours, and hours on all cores."""

    step: str
    documents: Number
    bytes: Number
    cpu_hours: Number
    hours: Number


@dataclass(frozen=True)
class Plan:
    """Rows step by step, what stays, and the bytes of the band keys on disk."""

    rows: list[Row]
    cores: int
    documents_kept: Number
    bytes_kept: Number
    key_bytes: Number

    @property
    def cpu_hours(self) -> float:
        """CPU hours of all steps."""
        return sum(row.cpu_hours for row in self.rows)

    @property
    def hours(self) -> float:
        """Hours on all cores, one step after the other."""
        return sum(row.hours for row in self.rows)

    def __str__(self) -> str:
        cells = [
            (r.step, count(r.documents), amount(r.bytes), f"{r.cpu_hours:,.0f}", f"{r.hours:,.1f}") for r in self.rows
        ]
        lines = table(("step", "documents", "bytes", "CPU hours", f"hours on {self.cores:,} cores"), cells)
        lines.append(f"kept: {count(self.documents_kept)} documents, {amount(self.bytes_kept)} of text")
        lines.append(f"band keys on disk: {amount(self.key_bytes)}")
        return "\n".join(lines)


def plan(
    rates: Mapping[str, Rate],
    *,
    stored_bytes: Number = PETABYTE,
    page_bytes: Number = PAGE_BYTES,
    cores: int = 1000,
    bands: Bands | None = None,
    shrinks: Mapping[str, Number] | None = None,
    disk: Number = DISK,
) -> Plan:
    """Documents, bytes and hours of every step for a crawl of `stored_bytes` in pages of `page_bytes` on average.

    Each step reads what the one before left, at its own rate and never faster than the disk. Shares are those of the
    sample unless `shrinks` says what a step leaves of a document's bytes: pages of the web have far more markup than
    our samples. The share of documents kept stays the sample's, and so it is the weakest number of the plan.

    Raises: ValueError for sizes, cores or rates that are not positive, or a step in `shrinks` that is not in `rates`.
    """
    if not rates or min(stored_bytes, page_bytes, cores, disk) <= 0:
        raise ValueError(
            f"{len(rates)} rates, stored_bytes={stored_bytes!r}, page_bytes={page_bytes!r}, cores={cores!r}, "
            f"disk={disk!r}; give at least one rate, and numbers above 0"
        )
    if unknown := set(shrinks or {}) - set(rates):
        raise ValueError(f"shrinks names {sorted(unknown)}; the rates are of {', '.join(rates)}")
    documents, size, rows = stored_bytes / page_bytes, page_bytes, []
    for name, rate in rates.items():
        seconds = documents * size / min(rate.bytes_per_second, disk)
        rows.append(Row(name, documents, documents * size, seconds / 3600, seconds / 3600 / cores))
        documents, size = documents * rate.kept, size * (shrinks or {}).get(name, rate.shrinks)
    keys = rows[-1].documents * (bands.bands if bands else 0) * 2 * BYTES_OF_KEY
    return Plan(rows, cores, documents, documents * size, keys)


@dataclass(frozen=True)
class Candidates:
    """Expected pairs that the bands bring up: copies, unrelated texts a little alike, keys equal by accident."""

    copies: Number
    unrelated: Number
    accidental: Number

    @property
    def total(self) -> float:
        """All pairs that have to be verified."""
        return self.copies + self.unrelated + self.accidental

    def __str__(self) -> str:
        return (
            f"{count(self.total)} candidate pairs: {count(self.copies)} copies, {count(self.unrelated)} unrelated but "
            f"alike, {count(self.accidental)} by accident"
        )


def expected_candidates(
    documents: Number,
    bands: Bands,
    *,
    copies: Shares = (),
    unrelated: Shares = (),
    key_bits: int = 64,
) -> Candidates:
    """How many pairs become candidates: each similarity's pairs times the probability of its S-curve.

    `copies` are (similarity, pairs for each document): they grow with N. `unrelated` are (similarity, share of all
    pairs): they grow with N², as do keys of `key_bits` bits that are equal by accident, b N² / 2^(bits + 1).

    >>> print(expected_candidates(1e10, Bands(14, 8), copies={0.9: 0.2}, key_bits=32))
    165 billion candidate pairs: 2 billion copies, 0 unrelated but alike, 163 billion by accident

    Raises: ValueError for fewer than two documents or key bits outside 1…128.
    """
    if documents < 2 or not 1 <= key_bits <= 128:
        raise ValueError(
            f"documents={documents!r}, key_bits={key_bits!r}; give two documents or more, and 1 to 128 bits"
        )
    pairs = documents * (documents - 1) / 2
    related = sum(share * bands.probability(s) * documents for s, share in _items(copies))
    alike = sum(share * bands.probability(s) * pairs for s, share in _items(unrelated))
    return Candidates(float(related), float(alike), pairs * bands.bands / 2.0**key_bits)


def _items(given: Shares) -> Iterable[tuple[Number, Number]]:
    return given.items() if isinstance(given, Mapping) else given


def amount(size: Number) -> str:
    """Bytes as people say them.

    >>> amount(1.6e14), amount(820)
    ('160 TB', '820 B')
    """
    for unit, name in _PREFIXES:
        if float(f"{size / unit:.3g}") >= 1:  # 999.6 GB are "1 TB", not "1e+03 GB"
            return f"{size / unit:.3g} {name}"
    return f"{size:.3g} B"


def count(number: Number) -> str:
    """A large number in words, a small one in digits.

    >>> count(13e9), count(4200), count(3.2e19)
    ('13 billion', '4,200', '3.2e+19')
    """
    if number >= 1e15:
        return f"{number:.2g}"
    for unit, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if float(f"{number / unit:.3g}") >= 1:
            return f"{number / unit:.3g} {name}"
    return f"{number:,.0f}"
