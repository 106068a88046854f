"""RESULTS.md as text: what was compared and what was survived at the top, then every section."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.results import BENCHMARKS, NAMES, PROOFS

HEAD = """\
# Measurements

What the course's package is held against, and what it has survived, as measured on the machine that each section
names. `make bench` measures the comparisons anew, and `python -m benchmarks.results` writes this page from the files in
`benchmarks/measured`.

A ratio compares labkit with a peer that does the same work in turn with it, and is the larger the better: 2 means
twice as fast, or half as large. It is the median of the rounds' ratios; behind it are the smallest and the largest."""
COMPARED = ("what", "labkit", "peer", "unit", "ratio", "rounds", "asked", "verdict")
NUMBER = re.compile(r"[-+−]?[\d,.]+( ?(%|s|x|times|MB|GB|GiB|MiB))?|-|")


def page(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Give the page of these sections, in its order."""
    there = {name: sections[name] for name in NAMES if name in sections}
    parts = [HEAD, "## At a glance", *_glance(there), *(part for name in there for part in _section(name, there[name]))]
    waiting = [name for name in NAMES if name not in there]
    if waiting:
        parts.append(f"Not measured yet: {', '.join(waiting)}.")
    return "\n\n".join(parts) + "\n"


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Give a table of Markdown; columns of numbers stand at the right."""
    cells = [[cell(value) for value in row] for row in rows]
    columns = [[row[place] for row in cells] for place in range(len(headers))]
    lines = ["---:" if column and all(NUMBER.fullmatch(text) for text in column) else "---" for column in columns]
    return "\n".join(f"| {' | '.join(row)} |" for row in ([cell(header) for header in headers], lines, *cells))


def cell(value: Any) -> str:
    """Give a value as the text of one cell.

    >>> [cell(value) for value in (None, True, 1234567, 0.123456, 1234.5, "a | b")]
    ['-', 'yes', '1,234,567', '0.123', '1,234', 'a \\\\| b']
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return " ".join(str(value).split()).replace("|", "\\|")


def comparison(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Give a row of a benchmark as the cells under COMPARED."""
    ratio, spread = row["ratio"], row["spread"]
    between = f"{two(spread[0])} to {two(spread[1])}" if spread else None
    asked = None if row["asked"] is None else two(row["asked"])
    return (
        *(row[key] for key in ("what", "ours", "theirs", "unit")),
        *(None if ratio is None else two(ratio), between, asked, verdict(row)),
    )


def two(ratio: float) -> str:
    """Give a ratio as people read it: two digits behind the point, none where it is large."""
    return f"{ratio:,.2f}" if abs(ratio) < 100 else f"{ratio:,.0f}"


def verdict(row: Mapping[str, Any]) -> str:
    """Give what came of a comparison in a word."""
    if row["missing"]:
        return f"{row['missing']} is missing"
    return {True: "met", False: "**missed**", None: ""}[row["met"]]


def _glance(sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The top of the page: what was asked for and what came of it."""
    made = {name: sections[name].get("summary", []) for name in BENCHMARKS if name in sections}
    asked = [(name, row) for name, rows in made.items() for row in rows if row["asked"] is not None]
    parts = []
    if asked:
        met = sum(bool(row["met"]) for _, row in asked)
        parts.append(f"{met} of {len(asked)} ratios that were asked for are met.")
        parts.append(table(("subject", *COMPARED), ((_link(name, sections), *comparison(row)) for name, row in asked)))
    gone = sorted({row["missing"] for rows in made.values() for row in rows if row["missing"]})
    if gone:
        parts.append(f"Missing on the machine, so nothing was compared with them: {', '.join(gone)}.")
    proofs = [(name, one) for name, one in sections.items() if name in PROOFS or one.get("passed") is False]
    if proofs:
        rows = [(_link(name, sections), one.get("verdict"), _came(one), one["date"]) for name, one in proofs]
        parts.append(table(("proof", "what was seen", "verdict", "date"), rows))
    return parts or ["Nothing has been measured yet."]


def _came(section: Mapping[str, Any]) -> str | None:
    return {True: "met", False: "**missed**", None: None}[section.get("passed")]


def _link(name: str, sections: Mapping[str, Mapping[str, Any]]) -> str:
    return f"[{name.replace('_', ' ')}](#{anchor(sections[name]['title'])})"


def anchor(title: str) -> str:
    """Give the address that GitHub gives a heading.

    >>> anchor("Ranks, data parallel: ZeRO's stages")
    'ranks-data-parallel-zeros-stages'
    """
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _section(name: str, section: Mapping[str, Any]) -> list[str]:
    """A section of the page."""
    parts = [f"## {section['title']}", section["about"], f"```\n{section['command']}\n```"]
    if section.get("verdict"):
        parts.append(f"**{section['verdict']}**")
    if section["rows"]:
        parts.append(table(section["headers"], section["rows"]))
    if section["notes"]:
        parts.append("\n".join(f"- {' '.join(note.split())}" for note in section["notes"]))
    return [*parts, _where(section)]


def _where(section: Mapping[str, Any]) -> str:
    """The line that says when, on what machine and with what versions it was measured."""
    machine, versions = dict(section["machine"]), dict(section["versions"])
    python = machine.pop("Python", "")
    told = [f"{value} cores" if key == "cores" else f"{value}" for key, value in machine.items()]
    here = [f"{name} {version}" for name, version in versions.items() if version != "missing"]
    gone = [name for name, version in versions.items() if version == "missing"]
    sentence = f"Measured on {section['date']}: {', '.join(told)}; {', '.join([f'Python {python}'.strip(), *here])}"
    return sentence + (f"; not installed: {', '.join(gone)}." if gone else ".")
