"""The claims ledger: every statement of a notebook that is checked when it runs, with what was measured and expected.

A claim that fails raises, so a notebook, papermill and CI stop there. A claim that cannot fail is refused.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from labkit.workbench import display, personal
from labkit.workbench.agreement import Comparison, compare, plain
from labkit.workbench.bounds import Bound, at_least, at_most, between
from labkit.workbench.display import brief, escape, figure

__all__ = ["KINDS", "MIME", "ClaimFailed", "Ledger", "Record", "at_least", "at_most", "between", "claim", "ledger"]

# Every kind of claim and the colour of its badge (white text on it has a contrast of at least 5 to 1).
KINDS = {"equation": "#0550ae", "reference": "#8a3d00", "published": "#6639ba", "measured": "#424a53"}
MIME = "application/vnd.labkit.claim+json"


class ClaimFailed(AssertionError):
    """A claim of the notebook does not hold."""


@dataclass(frozen=True)
class Record:
    """One line of the ledger."""

    kind: str
    statement: str
    comparison: Comparison
    tolerance: float | int | str | None
    source: str

    @property
    def passed(self) -> bool:
        """Whether the claim held."""
        return not self.comparison.failure

    def line(self) -> str:
        """Give the verdict in one line; a figure that another machine would not repeat stands between ‹ and ›."""
        sign = "✓" if self.passed else "✗"
        return f"{sign} [{self.kind}] {self.statement} · {self.figures()} ({self.source})"

    def figures(self) -> str:
        """Give what was measured and expected, in words."""
        return f"measured {self.measured_text()}, expected {self.expected_text()}"

    def measured_text(self) -> str:
        """Give what was measured, between ‹ and › where it differs from machine to machine."""
        text = self.comparison.measured_text
        return f"‹{text}›" if self.kind == "measured" and "‹" not in text else text

    def expected_text(self) -> str:
        """Give what was expected, with its tolerance."""
        around = self.tolerance if isinstance(self.tolerance, str) else figure(self.tolerance)
        return self.comparison.expected_text + ("" if self.tolerance is None else f" ± {around}")

    def as_json(self) -> dict[str, Any]:
        """Give the record with nothing but JSON values; infinities and fractions become strings."""
        return {
            "kind": self.kind,
            "statement": self.statement,
            "measured": _json_value(self.comparison.measured),
            "expected": _json_value(self.comparison.expected),
            "tolerance": _json_value(self.tolerance),
            "source": self.source,
            "passed": self.passed,
        }


def _json_value(value: Any) -> Any:
    if isinstance(value, Fraction) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return value


@dataclass(frozen=True)
class Ledger:
    """The claims of this kernel in the order in which they were made; shows itself as a table."""

    records: tuple[Record, ...]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __repr__(self) -> str:
        return "\n".join([self.summary(), *(record.line() for record in self)])

    def summary(self) -> str:
        """Give the counts in one line: "3 claims, all hold: 2 equation, 1 reference"."""
        if not self.records:
            return "no claims yet in this kernel"
        failed = sum(not record.passed for record in self)
        counts = Counter(record.kind for record in self)
        kinds = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])
        verdict = f"{failed} failed" if failed else "all hold"
        return f"{len(self)} claim{'s' * (len(self) != 1)}, {verdict}: {kinds}"

    def _repr_html_(self) -> str:
        names = "".join(
            f"<th scope=col style='{_CELL}'>{n}</th>"
            for n in ("verdict", "kind", "statement", "measured", "expected", "source")
        )
        rows = "".join(_row(record) for record in self)
        caption = f"<caption style='{_CELL};font-weight:600'>{escape(self.summary())}</caption>"
        return (
            f"<table style='border-collapse:collapse;background:{display.CARD}'>{caption}<tr>{names}</tr>{rows}</table>"
        )


_CELL = f"text-align:left;vertical-align:top;padding:4px 8px;color:{display.INK};background:{display.CARD}"
_LONG = f"{_CELL};overflow-wrap:anywhere"  # so that the table never needs to be scrolled sideways
OTHERWISE = "The bound was found with the numbers of the page. Yours lie beyond it: worth a thought, no mistake."
_records: dict[tuple[str, str], Record] = {}  # this kernel's memory: running a cell again replaces its line


def claim(
    kind: str,
    statement: str,
    measured: Any,
    expected: Any,
    tolerance: float | int | str | None = None,
    source: str = "",
) -> None:
    """Check one statement, show the verdict in one line and enter it in the ledger.

    `kind` is equation, reference, published or measured. `expected` is a number, an array, a string, a bool, or a bound
    (`at_least`, `at_most`, `between`). `tolerance` is absolute as a number, relative as a string such as "1%", and None
    for what must be equal exactly.

    Raises:
        ClaimFailed: if the statement does not hold. A measurement in the notebook of a student with own numbers
            is an exception: its bound was found with the page's numbers, so the verdict is shown and the page goes on.
        ValueError: if the claim is not well formed, above all if it could not fail.
    """
    _refuse_bad_words(kind, statement, source)
    record = Record(kind, statement, compare(measured, expected, tolerance), tolerance, source)
    _records[kind, statement] = record
    display.publish(record.line(), _verdict(record), **{MIME: record.as_json()})
    if record.passed:
        return
    if kind == "measured" and personal.has_own_numbers():
        title, body = "With your numbers it came out otherwise", OTHERWISE
        display.publish(f"{title}. {body}", display.card(title, display.paragraphs(body), "calm"))
        return
    raise ClaimFailed(_complaint(record, measured, expected))


def _complaint(record: Record, measured: Any, expected: Any) -> str:
    around = f" ± {record.tolerance}" if record.tolerance is not None else ""
    wanted = str(expected) if isinstance(expected, Bound) else brief(plain(expected))
    return (
        f"[{record.kind}] {record.statement}\n  measured: {brief(plain(measured))}\n  expected: {wanted}{around}\n"
        f"  {record.comparison.failure}\n  source: {record.source}"
    )


def ledger() -> Ledger:
    """Give the table of the claims that this kernel has checked so far."""
    return Ledger(tuple(_records.values()))


def _refuse_bad_words(kind: str, statement: str, source: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"the kind of the claim is {kind!r}; it must be one of {', '.join(KINDS)}")
    if not statement.strip():
        raise ValueError("the claim has no statement; say in one sentence what holds")
    if not source.strip():
        raise ValueError(
            f"the claim {statement!r} has no source; name the equation, the library and its function, "
            "the table of the paper, or what was timed"
        )


def _badge(kind: str) -> str:
    look = f"color:#ffffff;background:{KINDS[kind]};border-radius:9px;padding:1px 8px;font-size:90%"
    return f"<span style='{look}'>{kind}</span>"


def _verdict(record: Record) -> str:
    sign, edge = ("✓ holds", "#1a7f37") if record.passed else ("✗ fails", "#cf222e")
    return (
        f"<div style='border-left:5px solid {edge};border-radius:4px;padding:6px 12px;max-width:60em;margin:2px 0;"
        f"overflow-wrap:anywhere;line-height:1.45;background:{display.CARD};color:{display.INK}'>"
        f"<strong style='color:{display.INK}'>{sign}</strong> {_badge(record.kind)} {escape(record.statement)}"
        f"<div style='color:{display.QUIET}'>{escape(record.figures())} · {escape(record.source)}</div></div>"
    )


def _row(record: Record) -> str:
    texts = (record.statement, record.measured_text(), record.expected_text(), record.source)
    short = ("✓" if record.passed else "✗ fails", _badge(record.kind))
    cells = [(_CELL, cell) for cell in short] + [(_LONG, escape(text)) for text in texts]
    return "<tr>" + "".join(f"<td style='{style}'>{cell}</td>" for style, cell in cells) + "</tr>"
