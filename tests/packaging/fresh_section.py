"""The section `fresh_machine` of the measurements, from the table that tests/fresh_machine.sh leaves.

python -m tests.packaging.fresh_section _runs/fresh_machine/times.tsv
"""

import sys
from pathlib import Path

from benchmarks import results
from tests.project import ROOT

HEADERS = ["command", "seconds", "of which setting up", "CPU seconds", "result"]
ABOUT = (
    "The commands of the README, typed on a machine that never saw the course: a clone in an empty folder, an empty "
    "home, empty caches (pip's too), no variable of the shell but the way to the internet and to packages."
)


def section(table):
    """The section of a table: a line for each command, and lines that begin with `note`."""
    lines = [line.split("\t") for line in table.splitlines()]
    notes = [line[1] for line in lines if line[0] == "note"]
    rows = [_row(*line) for line in lines if line[0] != "note"]
    if not rows:
        raise ValueError("the table has no command; it is written by tests/fresh_machine.sh")
    passed = sum(row[-1] == "passed" for row in rows)
    left = [note for note in notes if " left a process behind" in note or " changed what git sees" in note]
    return {
        "title": "A fresh machine",
        "about": ABOUT,
        "command": "tests/fresh_machine.sh",
        "date": results.today(),
        "machine": results.machine(),
        "versions": results.versions(["llm-labkit", "pip"]),
        "headers": HEADERS,
        "rows": rows,
        "notes": notes,
        "verdict": f"{passed} of {len(rows)} commands passed in {sum(row[1] for row in rows) / 60:.0f} minutes"
        + (f"; {len(left)} left something behind." if left else ", and left nothing behind."),
        "passed": passed == len(rows) and not left,
    }


def _row(told, seconds, setup, cpu, result):
    return [told, int(seconds), int(setup) if setup else None, int(cpu), result]


if __name__ == "__main__":
    written = results.write("fresh_machine", section(Path(sys.argv[1]).read_text(encoding="utf-8")))
    print(f"written: {written.relative_to(ROOT)}")
