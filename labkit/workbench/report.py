"""What is left to read after a run: tables as plain text, and a page per notebook that needs no other file."""

import shutil
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit.workbench.runner import NotebookRun

KINDS = ("equation", "reference", "published", "measured")
CLAIM_COLUMNS = ("notebook", "kind", "statement", "measured", "expected", "verdict")
NARROWEST = 12


def runs_table(runs: Iterable[NotebookRun]) -> str:
    """Give the table notebook · seconds · peak memory · claims passed."""
    rows = [
        (
            run.name,
            f"{run.seconds:.1f}",
            f"{run.peak_bytes / 1e6:,.0f} MB" if run.peak_bytes else "-",
            f"{run.passed} of {run.claims_expected}",
            "ok" if run.failure is None else "interrupted" if run.failure.interrupted else "FAILED",
        )
        for run in runs
    ]
    return table(("notebook", "seconds", "peak memory", "claims passed", "result"), rows, right=(1, 2, 3))


def claims_table(claims: Iterable[Mapping[str, Any]]) -> str:
    """Give one table of all claims, each with the name of its notebook, and the totals by kind below it."""
    claims = list(claims)
    if not claims:
        return "no claims"
    rows = [
        (
            claim.get("notebook", ""),
            claim["kind"],
            claim["statement"],
            short(claim["measured"]),
            _with_tolerance(claim),
            "passed" if claim["passed"] else "FAILED",
        )
        for claim in claims
    ]
    return f"{table(CLAIM_COLUMNS, rows)}\n\n{totals(claims)}"


def totals(claims: Sequence[Mapping[str, Any]]) -> str:
    """Give the sentence "27 of 27 claims passed: 9 of 9 equation, …"."""
    made = Counter(claim["kind"] for claim in claims)
    passed = Counter(claim["kind"] for claim in claims if claim["passed"])
    kinds = sorted(made, key=lambda kind: (KINDS.index(kind) if kind in KINDS else len(KINDS), kind))
    parts = ", ".join(f"{passed[kind]} of {made[kind]} {kind}" for kind in kinds)
    return f"{passed.total()} of {made.total()} claims passed: {parts}"


def failures(runs: Iterable[NotebookRun]) -> list[str]:
    """Give a sentence for each notebook that failed, and where its executed copy lies."""
    return [
        f"{run.name}: {run.failure.sentence}" + (f"\n    executed so far: {run.executed}" if run.executed else "")
        for run in runs
        if run.failure is not None
    ]


def short(value: Any) -> str:
    """Give a value of a claim in a few characters."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _with_tolerance(claim: Mapping[str, Any]) -> str:
    around = claim.get("tolerance")
    return short(claim["expected"]) + ("" if around is None else f" ± {short(around)}")


def table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[int] = (), width: int | None = None
) -> str:
    """Give columns of plain text; the widest are wrapped until it fits in `width` (the terminal's)."""
    cells = [[" ".join(str(cell).split()) for cell in row] for row in rows]
    width = width or shutil.get_terminal_size((120, 24)).columns
    widths = [max(map(columns, column)) for column in zip(headers, *cells, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    lines = [_line(headers, widths, ()), "  ".join("─" * each for each in widths)]
    for row in cells:
        wrapped = [_wrap(cell, each) for cell, each in zip(row, widths, strict=True)]
        height = max(map(len, wrapped))
        padded = [cell + [""] * (height - len(cell)) for cell in wrapped]
        lines += [_line(line, widths, right) for line in zip(*padded, strict=True)]
    return "\n".join(lines)


def columns(text: str) -> int:
    """Give the width of a text on a terminal, where Chinese characters take two columns."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def html(executed: Path) -> Path:
    """Write an executed notebook as a page beside it: one file with pictures and formulas, which needs no network.

    Where the extra `site` is not installed, a page with formulas asks the network for the program that sets them.

    Raises:
        ValueError: if the executed copy is no notebook.
    """
    import nbformat
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    from labkit.workbench import notebooks, storing, typesetting

    nb = nbformat.from_dict(storing.normalise(notebooks.read(executed)))
    exporter = HTMLExporter(embed_images=True, require_js_url="", mermaid_js_url="", jquery_url="")
    exporter.extra_loaders = [DictLoader({"report.html.j2": typesetting.TEMPLATE})]
    exporter.template_file = "report.html.j2"
    exporter.widget_renderer_url = exporter.html_manager_semver_range = ""
    about = {"name": executed.stem, "path": str(executed.parent)}
    formulas = {"tex": typesetting.TEX, "program": typesetting.program_for(nb.cells)}
    page, _ = exporter.from_notebook_node(nb, {"metadata": about, "labkit": formulas})
    target = executed.with_suffix(".html")
    target.write_text(page.replace('<script src=""></script>', ""), encoding="utf-8")
    return target


def _wrap(text: str, width: int) -> list[str]:
    if columns(text) <= width:
        return [text]
    # textwrap counts characters; half the width is safe for text that is mostly two columns wide.
    wide = columns(text) > 1.5 * len(text)
    return textwrap.wrap(text, max(1, width // 2 if wide else width)) or [""]


def _line(cells: Iterable[str], widths: Sequence[int], right: Sequence[int]) -> str:
    padded = []
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * max(0, width - columns(cell))
        padded.append(space + cell if place in right else cell + space)
    return "  ".join(padded).rstrip()
