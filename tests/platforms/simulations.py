"""Other people's machines, simulated on this one: real commands in places where a program easily goes wrong.

`python -m tests.platforms.simulations [--only path,locale,...]` runs every step in every place and prints a table; the
exit code is 1 when a step failed. All places at once are a test (tests/platforms/test_simulations.py).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.project import ROOT, files

FAR = "a course 語料 für alle"
START = "00_start_here"
LATIN = "de_DE.ISO-8859-1"
TAKEN = ("LABKIT_", "PYTHON", "XDG_", "LC_", "LANG", "JPY_", "PYTEST_", "MPL", "COVERAGE")


@dataclass(frozen=True)
class Place:
    """A kind of machine: what differs in the environment, where the work lies, what every command begins with."""

    name: str
    about: str
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "work"
    sealed: tuple[str, ...] = ()  # arguments of bubblewrap
    impossible: Callable[[], str] = lambda: ""  # why it cannot be simulated here


@dataclass(frozen=True)
class Step:
    """A command of `labkit`, and what must stand in its output; the exit code must be 0."""

    name: str
    arguments: tuple[str, ...]
    expected: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a step did in a place."""

    place: str
    step: str
    passed: bool
    seconds: float
    words: str


def no_bubblewrap() -> str:
    """Give why nothing can be sealed off here; empty when it can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    done = subprocess.run(["bwrap", "--ro-bind", "/", "/", "--unshare-net", "true"], capture_output=True)
    return "" if done.returncode == 0 else "bubblewrap does not work here"


def no_latin() -> str:
    """Give why there is no locale with one byte for each letter here; empty when there can be one."""
    return "" if shutil.which("localedef") and Path("/usr/share/i18n/charmaps").is_dir() else "there is no localedef"


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
READ_ONLY = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")
PLACES = (
    Place("path", "spaces, Chinese and German letters in every path", folder=FAR),
    Place("locale", "a C locale, and Python not told to read UTF-8", ASCII),
    Place("latin", "a locale of ISO 8859-1", {"LC_ALL": LATIN, "PYTHONUTF8": "0"}, impossible=no_latin),
    Place("home", "a home and a system that cannot be written", sealed=READ_ONLY, impossible=no_bubblewrap),
    Place("homeless", "no home at all", {"HOME": "/proc/nowhere"}),
    Place("network", "no network", sealed=(*READ_ONLY, "--unshare-net"), impossible=no_bubblewrap),
)
EVERYTHING = Place(
    "everything", "all of it at once", ASCII, FAR, (*READ_ONLY, "--unshare-net"), impossible=no_bubblewrap
)
STEPS = (
    Step("version", ("--version",), "llm-labkit"),
    Step("doctor", ("doctor",), "course"),
    Step("data list", ("data", "list")),
    Step("claims", ("claims",), START),
    Step("exercises", ("exercises", "--json"), '"id"'),
    Step("run", ("run", "00", "--out", "my runs"), START),
    Step("release", ("release", "00", "--out", "hand out"), START),
    Step("grade", ("grade", "handed in", "--released", "hand out", "--out", "grades/grades.csv"), "student"),
    Step("progress", ("progress",)),
)


class Machine:
    """A place laid out in a folder: a copy of the course, a home, a temporary folder, answers that were handed in."""

    def __init__(self, place: Place, root: Path) -> None:
        self.place, self.work = place, root / place.folder
        self.home, self.temporary = root / place.folder / "home", root / place.folder / "temp"
        for folder in (self.work / "notebooks", self.home, self.temporary):
            folder.mkdir(parents=True)
        _copy_package(self.work / "library")
        shutil.copy(ROOT / "notebooks" / f"{START}.ipynb", self.work / "notebooks")
        self.environment = _bare() | {
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(self.work / "library"),
            "LABKIT_PROGRESS": str(self.work / "progress.db"),
            **place.environment,
        }
        if place.environment.get("LC_ALL") == LATIN:
            self.environment["LOCPATH"] = str(_latin(root))

    def command(self, line: list[str]) -> list[str]:
        """Give a command as it is run here: sealed off, if the place is."""
        if not self.place.sealed:
            return line
        # What is worked on can be written; the home, which lies in it, cannot.
        open_ = [*self.place.sealed, "--bind", str(self.work), str(self.work), "--ro-bind", str(self.home)]
        return ["bwrap", *open_, str(self.home), "--chdir", str(self.work), *line]

    def python(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run this interpreter with these arguments in the place."""
        line = self.command([sys.executable, *arguments])
        return subprocess.run(line, cwd=self.work, env=self.environment, capture_output=True, stdin=subprocess.DEVNULL)

    def labkit(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command of labkit in the place."""
        return self.python("-m", "labkit.workbench.cli", *arguments)

    def hand_in(self, student: str) -> None:
        """Put the released page among what was handed in, as it is: nothing is answered."""
        target = self.work / "handed in" / student
        target.mkdir(parents=True, exist_ok=True)
        (released,) = (self.work / "hand out").rglob(f"{START}.ipynb")
        shutil.copy(released, target)

    def take(self, step: Step) -> Outcome:
        """Do one step, and say how it went."""
        if step.name == "grade":
            for student in ("student-01", "学生 02"):
                self.hand_in(student)
        started = time.monotonic()
        done = self.labkit(*step.arguments)
        words = (done.stdout + done.stderr).decode("utf-8", "replace")
        fine = done.returncode == 0 and step.expected in words and "Traceback" not in words
        return Outcome(self.place.name, step.name, fine, time.monotonic() - started, words)


def _bare() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(TAKEN)}


def _copy_package(library: Path) -> None:
    for path in files():
        if path.parts[0] == "labkit":
            (library / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, library / path)
    shutil.copy(ROOT / "pyproject.toml", library)


def _latin(root: Path) -> Path:
    made = root / "locales"
    made.mkdir(exist_ok=True)
    subprocess.run(["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(made / LATIN)], capture_output=True)
    return made


def simulate(place: Place, root: Path, steps: tuple[Step, ...] = STEPS) -> list[Outcome]:
    """Give what each step did in a place, which is laid out below `root`."""
    machine = Machine(place, root)
    return [machine.take(step) for step in steps]


def main(arguments: list[str]) -> int:
    """Run every step in every place, print what happened, and give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="names of places, with commas: " + ",".join(p.name for p in PLACES))
    parser.add_argument("--steps", default="", help="names of steps, with commas")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    asked = parser.parse_args(arguments)
    outcomes = []
    for place in (*PLACES, EVERYTHING):
        if asked.only and place.name not in asked.only.split(","):
            continue
        if reason := place.impossible():
            print(f"{place.name}: left out, because {reason}")
            continue
        steps = tuple(step for step in STEPS if not asked.steps or step.name in asked.steps.split(","))
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root:
            found = simulate(place, Path(root), steps)
        outcomes += found
        for each in found:
            print(
                f"{each.place:10} {each.step:10} {'passed' if each.passed else 'FAILED'} {each.seconds:6.1f} s",
                flush=True,
            )
            if not each.passed:
                print("    " + "\n    ".join(each.words.strip().splitlines()[-12:]))
    if asked.json:
        print(json.dumps([vars(each) for each in outcomes]))
    return int(not all(each.passed for each in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
