"""Every page on a machine like Colab, one after the other.

    python -m tests.colab [NN ...] [--keep] [--place DIR] [--only pages|widgets]

Each page lies alone in an empty folder with only wheels in reach; it must come to its end with all claims holding, and
no package that was there before may have moved. The result is printed and written for benchmarks/RESULTS.md.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import results
from labkit.workbench import notebooks
from tests.colab import machine as machines
from tests.colab import section, widgets
from tests.colab.kinds import PLAIN, TORCH, Kind, kind_of, needs_of
from tests.colab.trial import Trial, run_page
from tests.project import ROOT

KEPT = ROOT / ".venv-colab"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pages and give 0 if all is in order."""
    options = _options(arguments)
    pages = notebooks.find(options.pages)
    place = Path(options.place).resolve() if options.place else KEPT
    if not (options.keep or options.place):
        place = Path(tempfile.mkdtemp(prefix="colab-machines-"))
    place.mkdir(parents=True, exist_ok=True)
    try:
        return _run(pages, place, options)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        if not (options.keep or options.place):
            shutil.rmtree(place, ignore_errors=True)


def _run(pages: list[Path], place: Path, options: argparse.Namespace) -> int:
    course = machines.build_course(place / f"course-{os.getpid()}")
    problems: list[str] = []
    try:
        for kind in (PLAIN, TORCH):
            of_kind = [page for page in pages if kind_of(page) == kind and options.only != "widgets"]
            explore = kind == PLAIN and options.only != "pages"
            if not (of_kind or explore):
                continue
            machine = machines.make(kind, _extras(kind), place, course)
            if explore:
                problems += _widgets(machine, place)
            for page in of_kind:
                trial = run_page(page, machine)
                print(section.line(trial), *(f"    stderr, {line}" for line in trial.spoken), sep="\n", flush=True)
                problems += [f"{trial.page}: {each}" for each in trial.problems]
                _write(trials=[trial])
    finally:
        shutil.rmtree(course, ignore_errors=True)
    print(*(problems or ["All is in order."]), sep="\n")
    return 1 if problems else 0


def _write(trials: Sequence[Trial] = (), widgets: str = "") -> None:
    """Put what is new into the section at once, so that a run that is ended leaves what it found."""
    course = [page.stem for page in notebooks.find()]
    results.write("colab", section.merged(results.sections().get("colab"), trials, widgets, course))


def _extras(kind: Kind) -> list[str]:
    """Give what all pages of a kind need, whichever run today: the wheels are fetched once."""
    pages = [page for page in notebooks.find() if kind_of(page) == kind]
    return sorted({extra for page in pages for extra in needs_of(page)})


def _widgets(machine: machines.Machine, place: Path) -> list[str]:
    try:
        said = widgets.run_tests(machine, place)
    except RuntimeError as error:
        return [f"explorables under Colab's ipywidgets: {error}"]
    print(f"tests of explorables under Colab's ipywidgets: {said}", flush=True)
    _write(widgets=said)
    return []


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.colab", description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="*", help="numbers or names of pages; all without")
    parser.add_argument("--keep", action="store_true", help=f"keep the machines in {KEPT.name} for the next time")
    parser.add_argument("--place", help="keep them in this folder")
    parser.add_argument("--only", choices=("pages", "widgets"), help="one half of the proof")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
