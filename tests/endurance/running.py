"""One run of `labkit run` under a condition, in a process of its own, and all that can be seen of it from outside."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.census import MARK, new_mark
from tests.endurance import leftovers
from tests.project import ROOT


@dataclass(frozen=True)
class Ran:
    """What came of a run: its exit code, its results.json, what it said on stderr, what it left behind."""

    code: int
    seconds: float
    results: list
    said: str
    left: list
    most_bytes: int = 0
    ended_by_system: int = 0

    @property
    def problems(self):
        """What is wrong with the run as a whole, not with one page."""
        found = [*self.left]
        if not self.results:
            found.append(
                f"no results were kept; the last line is {(self.said.splitlines() or ['nothing'])[-1][:200]!r}"
            )
        if "Traceback (most recent call last)" in self.said:
            found.append(f"a traceback instead of a sentence: {self.said.splitlines()[-1][:200]}")
        return found


def run(pages, place, condition, jobs=1, around=lambda token: nullcontext()):
    """Run pages, and give what came of it; `place` holds the executed copies and `said.txt`.

    `around` is given the mark of the run and gives a block that lasts as long as it. The run has a temporary folder of
    its own, in which nothing may be left.
    """
    token = new_mark()
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    scratch = Path(tempfile.mkdtemp(prefix=""))  # short: sockets below it have at most a hundred characters
    beside = {folder: leftovers.files_in(folder) for folder in {page.parent for page in pages}}
    shared = leftovers.shared_memory()
    names = {**os.environ, **condition.environment, MARK: token, "TMPDIR": str(scratch)}
    command = [sys.executable, "-m", "labkit.workbench.cli", "run", *pages, "--out", place, "--jobs", jobs]
    begun = time.perf_counter()
    try:
        with around(token):
            code, most, kills = _execute(condition, command, names, place, token)
        seconds = time.perf_counter() - begun
        left = _left(token, scratch, beside, shared)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Ran(code, seconds, _results(place), _said(place), left, most, kills)


def _execute(condition, command, names, place, token):
    """Exit code, most bytes held, processes ended by the system; the bound on memory lasts as long as the process."""
    bound = condition.bound
    with (place / "said.txt").open("w", encoding="utf-8") as said:
        process = subprocess.Popen(
            condition.command(command), cwd=ROOT, env=names, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        if bound:
            bound.begin(token)
        try:
            process.wait()
        except BaseException:  # Ctrl-C has reached the run as well
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
            leftovers.processes(token, patience=0)
            raise
        finally:
            held = bound.end() if bound else (0, 0)
    return process.returncode, *held


def _left(token, scratch, beside, shared):
    left = leftovers.processes(token)
    strangers = (name for name in leftovers.files_in(scratch) if not leftovers.STAYS.fullmatch(name))
    left += [f"a file in the temporary folder: {name}" for name in strangers]
    new = {folder: set(leftovers.files_in(folder)) - set(before) for folder, before in beside.items()}
    left += [f"a file beside the pages: {name}" for names in new.values() for name in sorted(names)]
    pieces = leftovers.unheld(leftovers.shared_memory() - shared)
    return left + [f"shared memory: {name}" for name in sorted(pieces)]


def _results(place):
    try:
        return json.loads((place / "results.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return []


def _said(place):
    return (place / "said.txt").read_text(encoding="utf-8", errors="replace")
