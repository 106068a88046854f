"""One page on a whole run that needs no other file: what ran, where the time went, what was claimed, what is proven.

Its look is that of the pages of `labkit grade`, whose style sheet it takes.
"""

import ast
import os
import platform
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from labkit.workbench import checking, notebooks
from labkit.workbench.display import counted
from labkit.workbench.report import KINDS, short

PAGE, OTHER_PAGE = "report.html", "report-of-the-run.html"
TEMPLATE = "reporting.html"
LOOK = Path(__file__).parent / "grading" / "reports" / "pages"
HONESTY = notebooks.CHECKOUT / "tests" / "exercises" / "honesty.md"
PACKAGES = ("llm-labkit", "numpy", "matplotlib", "pandas", "torch", "ipykernel", "papermill", "ipywidgets")
SLOWEST = 3  # cells that are named


@dataclass(frozen=True)
class Spent:
    """Where a notebook's seconds went: start of its kernel, cells that import, the other cells, and what is left."""

    startup: float
    imports: float
    cells: float
    rest: float
    slowest: tuple[tuple[str, float], ...]


def overview(runs: Sequence[Any], place: str | Path) -> Path:
    """Write the page on these runs into the folder `place`, and give its path."""
    name = OTHER_PAGE if any(run.name == Path(PAGE).stem for run in runs) else PAGE
    target = Path(place) / name
    lines = (line.rstrip() for line in _environment().get_template(TEMPLATE).render(values(runs)).splitlines())
    target.write_text("\n".join(filter(None, lines)) + "\n", encoding="utf-8", errors="backslashreplace")
    return target


def values(runs: Sequence[Any]) -> dict[str, Any]:
    """Give everything that stands on the page, by the names of its template."""
    stems = [run.path.stem for run in runs]
    exercises, why_not = exercises_of(stems)
    pages = [_page(run, exercises.get(run.path.stem)) for run in runs]
    claims = [claim for run in runs for claim in run.claims]
    return {
        "when": date.today().isoformat(),
        "pages": pages,
        "facts": _facts(runs, exercises),
        "timed": [page for page in pages if page["spent"]],
        "kinds": by_kind(claims),
        "all_claims": (sum(bool(claim.get("passed")) for claim in claims), len(claims)),
        "exercises": exercises,
        "why_not": why_not,
        "proven_here": HONESTY.is_file(),
        "machine": machine(),
        "versions": versions(),
    }


def spent(run: Any) -> Spent | None:
    """Give where the seconds of a run went; None if its cells were not timed."""
    cells = tuple((str(name), float(seconds)) for name, seconds in getattr(run, "cells", ()))
    if not cells:
        return None
    startup, whole = float(getattr(run, "startup", 0.0)), sum(seconds for _, seconds in cells)
    preparing = cells_that_import(run)
    imports = sum((seconds for name, seconds in cells if name in preparing), 0.0)
    slowest = tuple(sorted(cells, key=lambda cell: -cell[1])[:SLOWEST])
    return Spent(startup, imports, whole - imports, max(0.0, run.seconds - startup - whole), slowest)


def cells_that_import(run: Any) -> set[str]:
    """Give the ids of the cells at the top of a notebook that import and set up, up to the first that does more."""
    nb = _notebook(run)
    top = takewhile(_prepares, notebooks.code_cells(nb) if nb else ())
    return {"injected-parameters", *(cell.get("id", "") for cell in top)}


def _prepares(cell: Mapping[str, Any]) -> bool:
    """Half of its statements are imports, or it is the cell of parameters."""
    if "parameters" in notebooks.tags(cell):
        return True
    try:
        statements = ast.parse(cell["source"]).body
    except SyntaxError:  # a command of the shell, say
        return False
    return 2 * sum(isinstance(each, ast.Import | ast.ImportFrom) for each in statements) >= max(1, len(statements))


def _notebook(run: Any) -> dict[str, Any] | None:
    """The notebook itself, else its executed copy; None if neither can be read."""
    for path in filter(None, (run.path, run.executed)):
        try:
            return notebooks.read(path)
        except (OSError, ValueError):
            continue
    return None


def _page(run: Any, exercises: Mapping[str, int] | None) -> dict[str, Any]:
    """One notebook as the template wants it."""
    title, question = heading(_notebook(run), run.name)
    return {
        "name": run.name,
        "title": title,
        "question": question,
        "link": quote(os.fsencode(run.report.name)) if run.report else "",
        "seconds": run.seconds,
        "memory": f"{run.peak_bytes / 1e6:,.0f} MB" if run.peak_bytes else "-",
        "passed": run.passed,
        "expected": run.claims_expected,
        "exercises": exercises,
        "failure": run.failure,
        "spent": spent(run),
        "claims": [_claim(claim) for claim in run.claims],
    }


def heading(nb: Mapping[str, Any] | None, name: str) -> tuple[str, str]:
    """Give title and question of a notebook, without the signs of Markdown; its name where it has no title."""
    first = next((cell["source"] for cell in (nb or {}).get("cells", ()) if cell["cell_type"] == "markdown"), "")
    title = re.search(r"^# (.+)$", first, re.MULTILINE)
    question = re.search(r"^\*\*Question\.\*\*\s*(.+)$", first, re.MULTILINE)
    return (title[1] if title else name), (question[1] if question else "")


def _claim(claim: Mapping[str, Any]) -> dict[str, Any]:
    around = claim.get("tolerance")
    expected = short(claim.get("expected")) + ("" if around is None else f" ± {short(around)}")
    texts = {key: str(claim.get(key) or "") for key in ("kind", "statement", "source")}
    return {**texts, "measured": short(claim.get("measured")), "expected": expected, "passed": claim.get("passed")}


def by_kind(claims: Iterable[Mapping[str, Any]]) -> list[tuple[str, int, int]]:
    """Give for each kind of claim how many passed and how many there are, in the usual order."""
    claims = list(claims)
    made = Counter(claim["kind"] for claim in claims)
    passed = Counter(claim["kind"] for claim in claims if claim.get("passed"))
    order = [*[kind for kind in KINDS if kind in made], *sorted(made.keys() - set(KINDS))]
    return [(kind, passed[kind], made[kind]) for kind in order]


def exercises_of(stems: Iterable[str]) -> tuple[dict[str, dict[str, int]], str]:
    """Give what there is and what is proven of the exercises of some notebooks; a sentence if they cannot be loaded.

    What is proven stands in the table of the tests: the worked solution is right, the empty answer is not started, and
    every known mistake is refused.
    """
    try:
        known = checking.all_exercises()
    except ImportError as missing:
        return {}, f"The exercises could not be loaded: {missing}."
    proven = proven_exercises()
    found = {}
    for stem in stems:
        here = [exercise for exercise in known if exercise.notebook == stem]
        if here:
            mistakes, shown = sum(len(each.wrong) for each in here), sum(each.id in proven for each in here)
            refused = sum(len(each.wrong) for each in here if each.id in proven)
            found[stem] = {"count": len(here), "mistakes": mistakes, "proven": shown, "refused": refused}
    return found, ""


def proven_exercises(table: Path = HONESTY) -> set[str]:
    """Give the ids whose solution the table of the tests calls right and whose mistakes it calls refused."""
    if not table.is_file():
        return set()
    rows = re.findall(r"^\| `([^`]+)` \| correct \| not started \| all \d+ refused", table.read_text("utf-8"), re.M)
    return set(rows)


def _facts(runs: Sequence[Any], exercises: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str]]:
    """The figures at the top of the page."""
    made, held = sum(run.claims_expected for run in runs), sum(run.passed for run in runs)
    whole = sum(run.failure is None for run in runs)
    facts = [(f"{whole} of {len(runs)}", "notebooks ran to the end"), (f"{held:,} of {made:,}", "claims hold")]
    if exercises:
        count = sum(each["count"] for each in exercises.values())
        facts.append((f"{sum(each['proven'] for each in exercises.values())} of {count}", "exercises proven"))
    facts.append((f"{sum(run.seconds for run in runs) / 60:.1f} min", "one after the other"))
    most = max((run.peak_bytes for run in runs), default=0)
    return [*facts, (f"{most / 1e9:.2f} GB", "most memory of one")] if most else facts


def machine() -> dict[str, str]:
    """Give what matters of this machine, without its name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = {"Python": platform.python_version(), "system": f"{platform.system()} ({platform.machine()})"}
    return {**told, "cores": str(cores), "memory": _memory()}


def _memory() -> str:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return "not told by the system"
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"


def versions() -> dict[str, str]:
    """Give the versions of the packages that results depend on most, of those that are here."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    places = FileSystemLoader([Path(__file__).parent, LOOK], encoding="utf-8")
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=places)
    made.filters |= {"counted": counted, "seconds": lambda seconds: f"{seconds:,.1f}"}
    return made
