"""The budget of the course: seconds and memory of every notebook, and where the time goes, from the file of a run.

    labkit run && python -m benchmarks.budget _runs/results.json [--minutes 6.5]

Asked: all notebooks together in ten minutes on two cores, none over 60 seconds, none over 2 GiB.
Notebooks that ran several at a time take longer each: `--minutes` says how long all of them took by the clock.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import results
from labkit.workbench.reporting import PACKAGES, Spent, spent

MINUTES, SECONDS, GIBIBYTES = 10, 60, 2
HEADERS = ("notebook", "seconds", "start", "imports", "cells", "rest", "slowest cells", "peak memory, MiB", "claims")


def section(runs: Iterable[Mapping[str, Any]], minutes: float | None = None) -> dict[str, Any]:
    """Give the section `budget` of the page of measurements from the records of a run."""
    runs = [SimpleNamespace(**run) for run in runs]
    return {
        "title": "Budget: seconds and memory of every notebook",
        "about": "Every notebook at scale ci, from the beginning of its run to the end of its kernel. `start` is the "
        "start of the kernel, `imports` the cells at the top that import, `cells` all others, `rest` the writing of "
        "the executed copy and the end of the kernel. Memory is the most that a notebook's processes held at once.",
        "command": "labkit run && python -m benchmarks.budget _runs/results.json",
        "date": results.today(),
        "machine": results.machine(),
        "versions": results.versions(PACKAGES),
        "headers": list(HEADERS),
        "rows": [row(run) for run in runs] + [together(runs)],
        "notes": notes(runs),
        **verdict(runs, minutes),
    }


def row(run: Any) -> list[Any]:
    """One notebook."""
    claims = f"{sum(bool(claim.get('passed')) for claim in run.claims)} of {run.claims_expected}"
    return [run.name, *seconds_of(run.seconds, spent(run)), slowest(spent(run)), mebibytes(run), claims]


def together(runs: list[Any]) -> list[Any]:
    """The last row: seconds added up, and the most memory."""
    parts = [spent(run) for run in runs]
    sums = (sum(getattr(part, name) for part in parts if part) for name in ("startup", "imports", "cells", "rest"))
    timed = [round(each, 1) for each in sums] if any(parts) else [None] * 4
    whole = round(sum(run.seconds for run in runs), 1)
    return ["together", whole, *timed, None, max(map(mebibytes, runs), default=0), None]


def seconds_of(whole: float, part: Spent | None) -> list[float | None]:
    """The seconds as the table has them: all, then their parts."""
    parts = (part.startup, part.imports, part.cells, part.rest) if part else (None,) * 4
    return [None if each is None else round(each, 1) for each in (whole, *parts)]


def slowest(part: Spent | None) -> str | None:
    """The names of the slowest cells."""
    return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in part.slowest) if part else None


def mebibytes(run: Any) -> int:
    """The most memory of a notebook, in MiB."""
    return round(run.peak_bytes / 2**20)


def notes(runs: list[Any]) -> list[str]:
    """Every notebook that is over the budget or did not run to its end, in a sentence."""
    said = [f"{run.name} took {run.seconds:.0f} s; {SECONDS} are asked." for run in runs if run.seconds > SECONDS]
    large = [run for run in runs if run.peak_bytes > GIBIBYTES * 2**30]
    said += [f"{run.name} held {run.peak_bytes / 2**30:.2f} GiB; {GIBIBYTES} are asked." for run in large]
    return said + [f"{run.name} did not run to its end." for run in runs if run.failure]


def verdict(runs: list[Any], clock: float | None) -> dict[str, Any]:
    """The sentence for the top of the page, and whether everything is within the budget."""
    minutes = sum(run.seconds for run in runs) / 60 if clock is None else clock
    how = "one after the other" if clock is None else "several at a time"
    most = max((run.peak_bytes for run in runs), default=0) / 2**30
    longest = max((run.seconds for run in runs), default=0.0)
    told = f"{len(runs)} notebooks in {minutes:.1f} minutes, {how} (asked {MINUTES})"
    sentence = f"{told}; the slowest {longest:.0f} s (asked {SECONDS}), the largest {most:.2f} GiB (asked {GIBIBYTES})"
    within = minutes <= MINUTES and longest <= SECONDS and most <= GIBIBYTES and not any(run.failure for run in runs)
    return {"verdict": f"{sentence}.", "passed": bool(runs) and within}


def main() -> None:
    """Write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="results.json of a run")
    parser.add_argument("--minutes", type=float, help="how long all took by the clock  [default: their sum]")
    given = parser.parse_args()
    found = section(json.loads(given.file.read_text(encoding="utf-8")), given.minutes)
    results.write("budget", found)
    print(found["verdict"], *found["notes"], sep="\n")
    sys.exit(0 if found["passed"] else 1)


if __name__ == "__main__":
    main()
