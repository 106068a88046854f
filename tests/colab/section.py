"""What the trials say: lines for a reader, and a section of the page of measurements that grows page by page."""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks import results
from tests.colab.kinds import PLAIN, TORCH
from tests.colab.trial import Trial, cut_off

HEADERS = ["page", "Python", "seconds", "claims that hold", "explorables", "packages added", "in order"]
UNIT_TESTS = "The unit tests of explorables"


def line(trial: Trial) -> str:
    """Give one line for a page."""
    page, python, seconds, claims, explorables, added, _ = row(trial)
    verdict = "not in order" if trial.problems else "ok"
    return f"{page:22} Python {python}  {verdict}  {seconds:4} s  {claims} claims  {explorables} explorables  + {added}"


def row(trial: Trial) -> list[Any]:
    """Give the cells of a page."""
    claims = f"{trial.passed} of {len(trial.claims)}"
    if len(trial.claims) != trial.stored:
        claims += f" ({trial.stored} are stored)"
    return [
        trial.page,
        trial.python,
        round(trial.seconds),
        claims,
        trial.widgets.get("explorables"),
        ", ".join(trial.added) or "nothing",
        "; ".join(trial.problems) or "yes",
    ]


def merged(old: dict[str, Any] | None, trials: Sequence[Trial], widgets: str, course: Iterable[str]) -> dict[str, Any]:
    """Give the section with the rows of these trials in place of older ones, in the order of the course's pages."""
    rows = {each[0]: each for each in (old or {}).get("rows", []) if len(each) == len(HEADERS)}
    rows |= {trial.page: row(trial) for trial in trials}
    rows = [rows[page] for page in course if page in rows]
    good = sum(each[-1] == "yes" for each in rows)
    return {
        "title": "Colab",
        "about": "Every page alone in an empty folder, with Colab's environment variables and versions and only wheels "
        "in reach: it fetches the course and what it needs by itself, runs to its end, and no package that was there "
        "before may have changed.",
        "command": "make colab",
        "date": results.today(),
        "machine": results.machine(),
        "versions": _versions(old, trials),
        "headers": HEADERS,
        "rows": rows,
        "notes": _notes(old, widgets),
        "verdict": f"{good} of {len(rows)} pages ran to their end as on Colab, with nothing preinstalled moved.",
        "passed": good == len(rows),
    }


def _versions(old: dict[str, Any] | None, trials: Sequence[Trial]) -> dict[str, str]:
    names = ("numpy", "pandas", "matplotlib", "ipywidgets", "ipython", "nltk", "torch", "transformers")
    found = dict((old or {}).get("versions", {}))
    for trial in trials:
        found |= {name: trial.before[name] for name in names if name in trial.before}
    return found


def _notes(old: dict[str, Any] | None, widgets: str) -> list[str]:
    before = [note for note in (old or {}).get("notes", []) if note.startswith(UNIT_TESTS)]
    told = [f"{UNIT_TESTS} under Python {PLAIN.python} and ipywidgets 7.7.1: {widgets}."] if widgets else before
    return [
        f"Pages with torch run on Python {TORCH.python} with a CPU build of torch 2.13.0, the others on Python "
        f"{PLAIN.python} as on Colab. Which packages lie there beforehand is written in tests/colab/*.txt.",
        "Each explorable was moved to every corner of its controls under ipywidgets 7.7.1 after the page had run.",
        "A page has fewer claims than are stored where a package it compares with cannot come: kenlm is not there for "
        "Python 3.13, Ray is not asked for, and torchao stays in Colab's own version.",
        "The network was cut, loopback excepted." if cut_off() else "pip had no index; the network was not cut.",
        *told,
    ]
