"""labkit grade beside grading in one's own process, and beside nbgrader: submissions a minute.

    python benchmarks/bench_grading.py [--submissions 200] [--notebooks 02 06 13] [--jobs 2]
        [--nbgrader ENV/bin/nbgrader] [--peer-submissions 2]

A class is made up: every exercise answered right, wrong in a known way, or not at all. `isolated` is the whole command
(collect, a sandbox per submission, marks, tables, pages, report); `plain` only runs and judges the same answers in this
process, where an endless loop or a hostile answer would end it all. nbgrader runs every cell of a notebook, in the open
too, on `--peer-submissions` of the same files; it lives in an environment of its own, whose program is given. Times are
by the clock, since the work is spread over processes; the load of the machine stands beside them.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before NumPy is imported, here and in every process that is started

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from peers import Row, tell  # noqa: E402

from labkit.workbench import notebooks  # noqa: E402
from labkit.workbench.checking import all_exercises, mark  # noqa: E402
from labkit.workbench.coursefile import default_course  # noqa: E402
from labkit.workbench.grading.handing_in.collecting import collect  # noqa: E402
from labkit.workbench.grading.handing_in.definitions import preamble  # noqa: E402
from labkit.workbench.grading.run import grade  # noqa: E402
from tests.workbench.teaching.class_of_students import answers_of, fill  # noqa: E402

ASKED = 40  # submissions a minute
RIGHT = 0.6  # share of right answers
NBGRADER = ROOT / ".venv-nbgrader" / "bin" / "nbgrader"


def make_class(folder: Path, page: Path, count: int, seed: int = 0) -> None:
    """Hand in `count` submissions of the notebook `page`."""
    draw, nb = random.Random(seed), notebooks.read(page)
    known = {e.id: answers_of(e) for e in all_exercises() if e.notebook == page.stem}
    for number in range(count):
        kinds = {one: "right" if draw.random() < RIGHT else draw.choice(list(known[one])) for one in known}
        place = folder / f"student-{number:03}" / page.name
        place.parent.mkdir(parents=True)
        filled = fill(nb, {one: known[one][kind] for one, kind in kinds.items()})
        place.write_text(json.dumps(filled), encoding="utf-8")


def isolated(folder: Path, stem: str, jobs: int) -> float:
    """Seconds of the whole command."""
    with tempfile.TemporaryDirectory() as out:
        begun = time.perf_counter()
        graded = grade(folder, default_course([stem]), Path(out) / "grades.csv", jobs=jobs, seed=1, progress=False)
        seconds = time.perf_counter() - begun
        print(f"  {graded.table().splitlines()[0]}", flush=True)
    return seconds


def plain(folder: Path, stem: str) -> float:
    """Seconds of running and judging in this process, one answer after the other."""
    exercises = {e.id: e for e in all_exercises() if e.notebook == stem}
    begun = time.perf_counter()
    for submission in collect(folder, default_course([stem])):
        for one, source in submission.answers.items():
            space: dict = {}
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
                exec(preamble(submission, one), space)
                exec(source, space)
                mark(exercises[one], eval(submission.names[one], space), seed=1)
    return time.perf_counter() - begun


def peer(program: str, page: Path, folder: Path, count: int) -> float:
    """Seconds of nbgrader for `count` submissions; the notebook is released for it first."""
    from labkit.workbench.releasing.handouts import release

    with tempfile.TemporaryDirectory() as place:
        course, name = Path(place), page.stem
        release(default_course([name], "A course"), [str(page)], course / "handout", archive=False)
        source = course / "source" / name / page.name
        source.parent.mkdir(parents=True)
        shutil.copy(course / "handout" / page.name, source)
        (course / "nbgrader_config.py").write_text('c = get_config()\nc.CourseDirectory.course_id = "course"\n')
        kernel = course / "jupyter" / "kernels" / "python3" / "kernel.json"
        kernel.parent.mkdir(parents=True)
        start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        kernel.write_text(json.dumps({"argv": start, "display_name": "Python 3", "language": "python"}))
        own = {
            "JUPYTER_PATH": str(course / "jupyter"),
            "HOME": place,
            "PYTHONPATH": str(ROOT),
            "LABKIT_PROGRESS": "off",
        }
        own |= {"LABKIT_NOTEBOOKS": str(page.parent), "JUPYTER_RUNTIME_DIR": str(course / "runtime")}
        own |= {"PATH": f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}"}

        def run(*words: str) -> None:
            done = subprocess.run([program, *words], cwd=course, env=os.environ | own, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"nbgrader {words[0]} failed: {done.stderr[-2000:]}")

        run("generate_assignment", name, "--create", "--ClearSolutions.enabled=False")
        for number in range(count):
            target = course / "submitted" / f"student-{number:03}" / name / page.name
            target.parent.mkdir(parents=True)
            answered = _answered(course / "release" / name / page.name, folder / f"student-{number:03}" / page.name)
            target.write_text(json.dumps(answered), encoding="utf-8")
        begun = time.perf_counter()
        run("autograde", name, "--create", "--ExecutePreprocessor.timeout=600")
        return time.perf_counter() - begun


def _answered(released: Path, handed: Path) -> dict:
    """The released notebook with the answers of one that was made from the repository's."""
    nb, sources = json.loads(released.read_text()), {}
    for cell in json.loads(handed.read_text())["cells"]:
        sources[cell["id"]] = cell["source"]
    for cell in nb["cells"]:
        if "exercise" in cell["metadata"].get("labkit", {}):
            cell["source"] = sources.get(cell["id"], cell["source"])
    return nb


def row(what: str, ours: float, theirs: float, asked: float | None = None, note: str = "") -> Row:
    """One line of the result, from submissions a minute."""
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return Row(what, "a minute", ours, theirs, ours / theirs, asked, ", ".join(filter(None, [note, load])))


def bench(page: Path, given: argparse.Namespace) -> None:
    """The rows of one notebook."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_class(folder, page, given.submissions)
        ours = 60 * given.submissions / isolated(folder, page.stem, given.jobs)
        tell(row(f"{page.stem}, isolated; the rate that is asked for", ours, ASKED, 1.0))
        open_air = 60 * given.submissions / plain(folder, page.stem)
        tell(row(f"{page.stem}, in one process", ours, open_air, note="theirs isolates nothing"))
        if shutil.which(given.nbgrader):
            count = min(given.peer_submissions, given.submissions)
            theirs = 60 * count / peer(given.nbgrader, page, folder, count)
            tell(row(f"{page.stem}, nbgrader", ours, theirs, note="theirs isolates nothing"))
        else:
            tell(Row(f"{page.stem}, nbgrader", note="not here: make nbgrader", missing="nbgrader"))


def main() -> None:
    """Print a table for each notebook."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--submissions", type=int, default=200)
    parser.add_argument("--notebooks", nargs="+", default=["02", "06", "13"])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--nbgrader", default=str(NBGRADER), help="the program nbgrader  [default: that of make nbgrader]"
    )
    parser.add_argument("--peer-submissions", type=int, default=2)
    given = parser.parse_args()
    for page in notebooks.find(given.notebooks):
        print(f"{page.stem}, {given.submissions} submissions")
        bench(page, given)


if __name__ == "__main__":
    main()
