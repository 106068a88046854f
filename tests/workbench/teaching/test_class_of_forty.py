"""A class of forty invented students: released, solved, collected and graded by one command each, nothing differs."""

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from labkit.workbench import notebooks
from labkit.workbench.coursefile import read_course
from labkit.workbench.credit import share
from labkit.workbench.grading.gradebook import Gradebook, exercises_of
from labkit.workbench.grading.handing_in.submissions import Submission
from labkit.workbench.grading.marks import Question
from tests.workbench.teaching import class_of_students as classes

SECRET = 20261122
DEADLINE = datetime(2026, 11, 15, 23, 59, tzinfo=UTC)
WITH_TORCH = "10_pretraining"  # importing torch takes long, so that only a few hand this one in
ENVIRONMENT = os.environ | {"LABKIT_NOTEBOOKS": str(notebooks.folder())}
STEMS = ("00_start_here", "02_ngram_models")
COURSE = """\
[course]
name = "Language models"
term = "Winter"
notebooks = ["00", "02", "10"]
solutions = false

[weights]
00 = 1
02 = 2
10 = 1

[deadlines]
02 = 2026-11-16T00:59:00+01:00

[late]
per_day = 0.1

[points]
"ngrams.bigrams" = 25
"""


def labkit(*arguments, folder):
    """Run a command of labkit as a teacher does."""
    command = [sys.executable, "-m", "labkit.workbench.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)


def the_class():
    students = []
    for number, student in enumerate(classes.a_class(1, 40, STEMS)):
        if number in (0, 4):
            keys = {
                e.id: "right" if number == 0 else f"wrong:{e.wrong[0].name}" for e in classes.exercises_of(WITH_TORCH)
            }
            student = replace(student, chosen={**student.chosen, WITH_TORCH: keys})
        students.append(student)
    return students


class Graded:
    """What the class handed in, and what came of it."""

    def __init__(self, folder):
        self.folder, self.students = folder, the_class()
        (folder / "course.toml").write_text(COURSE)
        self.release = labkit("release", "--out", folder / "handout", folder=folder)
        assert self.release.returncode == 0, self.release.stderr
        classes.hand_in(self.students, folder / "handout", folder / "in")
        self.write_tables()
        (folder / "precious").mkdir()
        self.grading = self.grade("grades")
        assert self.grading.returncode in (0, 1), self.grading.stderr
        self.course = read_course(folder / "course.toml")

    def write_tables(self):
        """The list of the class, and when they handed in."""
        with (self.folder / "class.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(
                [("id", "name", "email"), *((s.id, s.name, f"{s.id}@example.org") for s in self.students)]
            )
        with (self.folder / "in" / "submitted.csv").open("w", newline="") as file:
            moments = [(s.id, stem, (DEADLINE + s.late).isoformat()) for s in self.students for stem in s.chosen]
            csv.writer(file).writerows([("student", "notebook", "submitted"), *moments])

    def command(self, out, *more):
        released = self.folder / "handout"
        options = ("--out", f"{out}/grades.csv", "--released", released, "--students", "class.csv", "--seed", SECRET)
        return ("grade", "in", *options, *more)

    def grade(self, out, *more):
        return labkit(*self.command(out, *more), folder=self.folder)

    def marks(self, out="grades"):
        with Gradebook(self.folder / out / "gradebook.sqlite", self.course, exercises_of(self.course)) as book:
            return {(mark.student, mark.exercise): mark for mark in book.marks()}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    pytest.importorskip("torch")
    return Graded(tmp_path_factory.mktemp("course"))


def expected(course, student, stem, exercise):
    """Status, mistake and points, worked out in this process from the functions and not from their source."""
    key = student.chosen[stem][exercise.id]
    most, (kind, _, name) = course.points_of(exercise), key.partition(":")
    if exercise.id in student.dropped:
        return "missing", "", 0.0
    if kind in ("right", "empty"):
        return ("correct", "", most) if kind == "right" else ("not started", "", 0.0)
    wrong = next(wrong for wrong in exercise.wrong if wrong.name == name).answer
    seed = Question(Submission("somebody", Path(), stem), exercise, course, SECRET).seed
    points = round(share(exercise, wrong, seed) * most, 4)
    return "partly" if points else "wrong", name, points


def test_the_table_of_expected_and_given_marks_has_no_difference(graded):
    given, differences, seen = graded.marks(), [], set()
    for student in graded.students:
        for stem, answers in student.chosen.items():
            for exercise in classes.exercises_of(stem):
                mark, key = given.pop((student.id, exercise.id)), answers[exercise.id]
                seen.add((exercise.id, key))
                got = mark.status, mark.mistake, mark.points
                if student.shape in classes.MALFORMED:
                    wanted = got if got[2] == 0 and mark.status in ("missing", "refused", "not started") else "nothing"
                elif key.startswith("malice:"):
                    wanted = got if got[2] == 0 and mark.status not in ("correct", "partly", "missing") else "nothing"
                else:
                    wanted = expected(graded.course, student, stem, exercise)
                differences += [(student.kind, stem, exercise.id, key, wanted, got)] * (wanted != got)
    assert differences == [], "\n".join(map(str, differences))
    assert {mark.points for mark in given.values()} <= {0.0}  # of those who did not hand in a notebook
    every = {(e.id, f"wrong:{wrong.name}") for stem in STEMS for e in classes.exercises_of(stem) for wrong in e.wrong}
    assert every <= seen


def test_nothing_of_what_was_handed_in_has_run_outside_the_sandbox(graded):
    assert (graded.folder / "precious").is_dir() and not list(graded.folder.rglob("mined"))


def test_who_cannot_be_read_is_named_with_what_to_do(graded):
    assert graded.grading.returncode == 1, graded.grading.stdout + graded.grading.stderr
    malformed = [student for student in graded.students if student.shape in classes.MALFORMED]
    page = (graded.folder / "grades" / "report.html").read_text(encoding="utf-8")
    assert "could not be read" in graded.grading.stdout
    assert all(student.id in page for student in malformed)


def test_two_people_of_one_name_have_a_line_each_and_every_name_is_as_it_was_given(graded):
    with (graded.folder / "grades" / "grades.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert list(rows) != [] and len(rows) == 40
    for student in graded.students:
        assert rows[student.id]["name"].lstrip("'") == student.name
    totals = {rows[s.id]["total"] for s in graded.students if s.name == "Kim Beispiel"}
    assert len([s for s in graded.students if s.name == "Kim Beispiel"]) == 2 and totals


def test_being_late_costs_what_the_course_file_says(graded):
    late = next(student for student in graded.students if student.kind == "late")
    marks = graded.marks()
    assert marks[late.id, "ngrams.bigrams"].late == pytest.approx(0.1)
    assert marks[late.id, "ngrams.bigrams"].final == pytest.approx(22.5)
    assert marks["student-01", "ngrams.bigrams"].late == 0


def tables(folder):
    return {path.name: path.read_bytes() for path in sorted([*folder.glob("*.csv"), *folder.glob("*.json")])}


def test_graded_twice_gives_the_same_bytes(graded):
    before = tables(graded.folder / "grades")
    assert graded.grade("grades").returncode == 1
    assert before and tables(graded.folder / "grades") == before


def test_killed_in_the_middle_and_begun_again_gives_the_same_book(graded):
    out = graded.folder / "killed"
    only = ("--only", "00")  # one notebook of the class is enough: it takes a sixth of the time
    command = [sys.executable, "-m", "labkit.workbench.cli", *map(str, graded.command("killed", *only))]
    process = subprocess.Popen(
        command,
        cwd=graded.folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and some_marks(out / "gradebook.sqlite") < 20:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    some = some_marks(out / "gradebook.sqlite")
    assert graded.grade("killed", *only).returncode == 1
    ended, whole = (first_notebook(graded.marks(folder), graded.students) for folder in ("killed", "grades"))
    assert ended == whole and 0 < some < len(whole)


def first_notebook(marks, students):
    """All marks of notebook 00 but of those whose attacks may end in this way or in that, always without a point."""
    malicious = {student.id for student in students if student.kind == "malicious"}
    return {
        key: replace(mark, seconds=0.0)
        for key, mark in marks.items()
        if mark.notebook == STEMS[0] and mark.student not in malicious
    }


def some_marks(book: Path) -> int:
    import sqlite3

    try:
        with sqlite3.connect(f"file:{book}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT count(*) FROM marks").fetchone()[0]
    except sqlite3.Error:
        return 0
