"""A school that has nbgrader grades the handed-out notebooks with it, and finds the points that labkit finds.

nbgrader lives in an environment of its own, .venv-nbgrader, which `make nbgrader` sets up. Kernels are those of the
environment in which these tests run, as a school installs the course into the kernel of its students.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.workbench import notebooks
from labkit.workbench.coursefile import default_course
from tests.workbench.teaching import class_of_students as classes

STEM, ASSIGNMENT = "02_ngram_models", "week-2"
ROOT = Path(__file__).parents[3]
NBGRADER = ROOT / ".venv-nbgrader" / "bin" / "nbgrader"
pytestmark = pytest.mark.skipif(
    not NBGRADER.is_file(), reason=f"there is no {NBGRADER.parent.parent.name}: make nbgrader"
)


def run(command, folder):
    """Run a program in the folder of a course, with the kernels of this environment and files of its own."""
    own = {"JUPYTER_PATH": str(folder / "jupyter"), "HOME": str(folder), "LABKIT_NOTEBOOKS": str(notebooks.folder())}
    own |= {"PATH": f"{NBGRADER.parent}{os.pathsep}{os.environ['PATH']}"}  # as in an environment that is activated
    own |= {"PYTHONPATH": str(ROOT), "LABKIT_PROGRESS": "off", "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=os.environ | own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def write_kernel(folder):
    place = folder / "jupyter" / "kernels" / "python3"
    place.mkdir(parents=True)
    start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (place / "kernel.json").write_text(json.dumps({"argv": start, "display_name": "Python 3", "language": "python"}))


def wanted(student):
    """What each of three students answers: everything right, every second exercise right, nothing."""
    exercises = classes.exercises_of(STEM)
    mixed = ["right" if number % 2 == 0 else f"wrong:{e.wrong[0].name}" for number, e in enumerate(exercises)]
    keys = {"all": ["right"] * len(exercises), "half": mixed, "none": ["empty"] * len(exercises)}[student]
    return dict(zip((e.id for e in exercises), keys, strict=True))


def shortened(notebook):
    """The notebook without the pages around the exercises, which a student may delete: they take long to run."""
    setup = [cell for cell in notebooks.code_cells(notebook) if "import labkit" in cell["source"]][:1]
    kept = [cell for cell in notebook["cells"] if "nbgrader" in cell["metadata"]]
    return notebook | {"cells": [*setup, *(cell for cell in kept if cell not in setup)]}


@pytest.fixture(scope="module")
def school(tmp_path_factory):
    folder = tmp_path_factory.mktemp("school")
    write_kernel(folder)
    run([sys.executable, "-m", "labkit.workbench.cli", "release", "02", "--out", folder / "handout"], folder)
    source = folder / "source" / ASSIGNMENT / f"{STEM}.ipynb"
    source.parent.mkdir(parents=True)
    source.write_bytes((folder / "handout" / f"{STEM}.ipynb").read_bytes())
    (folder / "nbgrader_config.py").write_text('c = get_config()\nc.CourseDirectory.course_id = "lm"\n')
    run([NBGRADER, "generate_assignment", ASSIGNMENT, "--create", "--ClearSolutions.enabled=False"], folder)
    released = notebooks.read(folder / "release" / ASSIGNMENT / f"{STEM}.ipynb")
    for name in ("all", "half", "none"):
        student = classes.Student(name, name, name, {STEM: wanted(name)})
        path = folder / "submitted" / name / ASSIGNMENT / f"{STEM}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(classes.submission(shortened(released), student, STEM))
    run([NBGRADER, "autograde", ASSIGNMENT, "--create"], folder)
    run([NBGRADER, "export", "--to", "grades.csv"], folder)
    return folder


def test_nbgrader_hands_out_the_very_cells_that_labkit_released(school):
    ours = notebooks.read(school / "handout" / f"{STEM}.ipynb")
    theirs = notebooks.read(school / "release" / ASSIGNMENT / f"{STEM}.ipynb")
    assert [cell["source"] for cell in theirs["cells"]] == [cell["source"] for cell in ours["cells"]]
    assert [cell["id"] for cell in theirs["cells"]] == [cell["id"] for cell in ours["cells"]]


def test_nbgrader_finds_the_points_that_labkit_finds(school):
    from labkit.workbench.credit import share

    course = default_course((STEM,))
    with (school / "grades.csv").open(newline="", encoding="utf-8") as file:
        found = {row["student_id"]: row for row in csv.DictReader(file)}
    for name, row in found.items():
        expected = 0.0
        for exercise in classes.exercises_of(STEM):
            kind, _, mistake = wanted(name)[exercise.id].partition(":")
            answers = {"right": exercise.solution, "empty": None}
            answer = (
                answers.get(kind) if kind in answers else next(w for w in exercise.wrong if w.name == mistake).answer
            )
            expected += course.points_of(exercise) * (share(exercise, answer) if kind != "empty" else 0.0)
        assert float(row["score"]) == pytest.approx(expected, abs=0.01), name
        assert float(row["max_score"]) == sum(course.points_of(e) for e in classes.exercises_of(STEM))
    assert float(found["all"]["score"]) == float(found["all"]["max_score"]) and float(found["none"]["score"]) == 0


def test_nbgrader_waits_for_no_grade_by_hand(school):
    with (school / "grades.csv").open(newline="", encoding="utf-8") as file:
        assert {row["needs_manual_grade"] for row in csv.DictReader(file) if "needs_manual_grade" in row} <= {
            "False",
            "0",
        }
