"""The whole grading: what came is graded once, what changed again, and nothing that happens in between loses a mark."""

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from labkit.workbench import notebooks
from labkit.workbench.grading.gradebook import Gradebook
from labkit.workbench.grading.marks import Question
from labkit.workbench.grading.run import grade
from labkit.workbench.grading.sandboxing.sandbox import kind_of_sandbox
from tests.project import ROOT
from tests.workbench.teaching.class_of_students import answers_of, exercises_of, fill
from tests.workbench.teaching.standing_in import NOTEBOOK, QUESTION, Here, course

START = "00_start_here"
PAGES = {stem: notebooks.read(ROOT / "notebooks" / f"{stem}.ipynb") for stem in (START, NOTEBOOK)}
EXERCISES = {stem: exercises_of(stem) for stem in PAGES}


def answers(stem, kind="right"):
    known = {exercise.id: answers_of(exercise) for exercise in EXERCISES[stem]}
    return {one: several[kind] if kind in several else several["right"] for one, several in known.items()}


def hand_in(folder, student, stem=START, kind="right", words=None):
    page = fill(PAGES[stem], answers(stem, kind))
    if words is not None:
        cell = {"cell_type": "markdown", "id": QUESTION.cell, "metadata": {"labkit": {"question": QUESTION.id}}}
        page["cells"].append({**cell, "source": words})
    place = folder / student / f"{stem}.ipynb"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(page), encoding="utf-8")
    return place


def here(limits, imports):
    return Here(limits, imports)


def graded(folder, out, **more):
    return grade(folder, more.pop("course", course(deadlines={})), out / "grades.csv",
                 **({"sandbox": here, "progress": False, "seed": 5} | more))  # fmt: skip


def marks_of(out, plain=None):
    with Gradebook(out / "gradebook.sqlite", plain or course(deadlines={})) as book:
        return {(m.student, m.exercise): (m.status, m.points, m.mistake, m.message) for m in book.marks()}


@pytest.fixture
def quickly(monkeypatch):
    """The report on the class takes a second of pictures, which other tests look at."""
    monkeypatch.setattr(
        "labkit.workbench.grading.reports.classreport.class_report", lambda *what, **more: "<p>report</p>"
    )


@pytest.fixture
def handed(tmp_path):
    folder = tmp_path / "handed in"
    hand_in(folder, "student-01"), hand_in(folder, "student-02", kind="empty")
    hand_in(folder, "student-02", NOTEBOOK)
    return folder


def test_a_class_is_graded_by_one_call_and_everything_stands_beside_the_table(handed, tmp_path):
    roster = tmp_path / "class.csv"
    roster.write_text("id,name,email\nstudent-01,Ada Beispiel,a@example.org\nstudent-03,Bo Beispiel,b@example.org\n")
    found = graded(handed, tmp_path, students=roster)
    assert found.exit_code == 0 and (found.submissions, found.students, found.missing) == (3, 3, 1)
    names = {"grades.csv", "grades.moodle.csv", "grades.canvas.csv", "grades.json", "by_hand.csv", "gradebook.sqlite"}
    assert names | {"report.html", "feedback"} <= {path.name for path in tmp_path.iterdir()}
    assert len(list((tmp_path / "feedback").iterdir())) == 3 and not list(tmp_path.glob("*-journal"))
    with (tmp_path / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        table = {row["student"]: row for row in csv.DictReader(file)}
    assert float(table["student-01"][START]) == 100 and float(table["student-01"]["total"]) == 25
    assert float(table["student-02"][START]) == 0 and float(table["student-02"][NOTEBOOK]) > 90
    assert table["student-03"]["total"] == "0" and table["student-03"]["name"] == "Bo Beispiel"
    assert (
        "3 submissions of 3 students" in found.table() and "1 student of the class handed in nothing" in found.table()
    )


@pytest.mark.usefixtures("quickly")
def test_a_second_run_grades_only_what_has_changed(handed, tmp_path):
    first = graded(handed, tmp_path)
    before, marks = Here.ran, marks_of(tmp_path)
    again = graded(handed, tmp_path, seed=None)
    assert (again.graded, again.kept, Here.ran) == (0, first.graded, before) and marks_of(tmp_path) == marks
    wrong = next(name for name in answers_of(EXERCISES[START][0]) if name.startswith("wrong:"))
    one = EXERCISES[START][0].id
    page = fill(PAGES[START], answers(START) | {one: answers_of(EXERCISES[START][0])[wrong]})
    (handed / "student-01" / f"{START}.ipynb").write_text(json.dumps(page), encoding="utf-8")
    assert graded(handed, tmp_path, seed=None).graded == 1
    changed = marks_of(tmp_path)
    assert {place for place in marks if marks[place] != changed[place]} == {("student-01", one)}
    assert changed["student-01", one][2] == wrong.removeprefix("wrong:")
    assert graded(handed, tmp_path, again=True).graded == first.graded


@pytest.mark.usefixtures("quickly")
def test_another_seed_grades_everything_anew(handed, tmp_path):
    first = graded(handed, tmp_path)
    other = graded(handed, tmp_path, seed=6)
    assert other.graded > first.graded / 2 and "from seed 5 to 6" in other.table()


@pytest.mark.usefixtures("quickly")
def test_what_was_graded_before_counts_although_it_is_not_handed_in_again(handed, tmp_path):
    graded(handed, tmp_path)
    later = tmp_path / "later"
    hand_in(later, "student-01", NOTEBOOK)
    graded(later, tmp_path)
    with Gradebook(tmp_path / "gradebook.sqlite", course(deadlines={})) as book:
        totals = {total.student: total for total in book.totals()}
        assert totals["student-01"].notebooks[START] == 100 and totals["student-01"].notebooks[NOTEBOOK] > 90
        assert totals["student-02"].handed_in == 2


@pytest.mark.usefixtures("quickly")
def test_only_some_notebooks_are_graded_if_asked_for(handed, tmp_path):
    found = graded(handed, tmp_path, only=["02"])
    assert found.graded == len(EXERCISES[NOTEBOOK])
    with pytest.raises(ValueError, match="there is no notebook of this course '03'"):
        graded(handed, tmp_path, only=["03"])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"jobs": 0}, "jobs must be at least 1, got 0"),
        ({"course": "no-such.toml"}, "there is no file 'no-such.toml'"),
        ({"by_hand": "no-such.csv"}, "cannot read no-such.csv"),
    ],
)
@pytest.mark.usefixtures("quickly")
def test_what_a_teacher_can_set_right_is_one_sentence_and_nothing_is_graded(handed, tmp_path, more, said):
    before = Here.ran
    with pytest.raises(ValueError, match=said):
        graded(handed, tmp_path, **more)
    assert Here.ran == before and not (tmp_path / "grades.csv").exists()


@pytest.mark.usefixtures("quickly")
def test_the_name_of_the_table_is_a_csv(handed, tmp_path):
    with pytest.raises(ValueError, match="the name of a table was expected"):
        grade(handed, course(), tmp_path / "grades.xlsx", sandbox=here)
    (tmp_path / "out").mkdir()
    assert grade(handed, course(), tmp_path / "out", sandbox=here, progress=False).files["grades"].name == "grades.csv"


@pytest.mark.usefixtures("quickly")
def test_a_file_that_cannot_be_read_is_named_and_takes_no_mark_away(handed, tmp_path):
    graded(handed, tmp_path)
    marks = marks_of(tmp_path)
    (handed / "student-01" / f"{START}.ipynb").write_text("this is no notebook", encoding="utf-8")
    (handed / "student-04").mkdir()
    (handed / "student-04" / f"{START}.ipynb").write_text("{", encoding="utf-8")
    found = graded(handed, tmp_path)
    assert found.exit_code == 1 and "2 files could not be read" in found.table()
    after = marks_of(tmp_path)
    assert {place: after[place] for place in marks} == marks
    assert {status for (student, _), (status, *_) in after.items() if student == "student-04"} == {"missing"}


@pytest.mark.usefixtures("quickly")
def test_answers_in_words_go_out_come_back_and_stay(handed, tmp_path):
    hand_in(handed, "student-01", NOTEBOOK, words="Because of =1+1, I think.")
    found = graded(handed, tmp_path)
    assert found.open == 1 and "1 answer in words to be marked by hand" in found.table()
    table = tmp_path / "by_hand.csv"
    text = table.read_text(encoding="utf-8-sig")
    assert "Because of =1+1, I think." in text and text.count("Because") == 1
    table.write_text(text.replace('I think.",,10', 'I think.",8,10'), encoding="utf-8-sig")
    assert graded(handed, tmp_path).open == 0
    assert graded(handed, tmp_path, again=True).open == 0 and ",8,10" in table.read_text(encoding="utf-8-sig")
    assert marks_of(tmp_path)["student-01", "why"][:2] == ("by hand", 8.0)
    table.write_text(text.replace('I think.",,10', 'I think.",many,10'), encoding="utf-8-sig")
    with pytest.raises(ValueError, match=r"by_hand.csv, line 2: points are 'many'"):
        graded(handed, tmp_path)
    assert "many" in table.read_text(encoding="utf-8-sig")  # what the teacher wrote is still there to be corrected
    assert marks_of(tmp_path)["student-01", "why"][:2] == ("by hand", 8.0)


@pytest.mark.usefixtures("quickly")
def test_the_table_says_who_is_not_on_the_list_any_more_and_what_is_not_graded_yet(handed, tmp_path):
    roster = tmp_path / "class.csv"
    roster.write_text("id,name,born\nstudent-01,Ada Beispiel,1.1.2000\nstudent-02,Bo Beispiel,2.2.2000\n")
    first = graded(handed, tmp_path, students=roster, only=["00"])
    assert first.waiting == 1 and "1 submission handed in and not graded yet: they count 0" in first.table()
    found = graded(handed, tmp_path)  # without the list: its names stay
    assert "not graded yet" not in found.table()
    assert "Ada Beispiel" in (tmp_path / "grades.csv").read_text(encoding="utf-8-sig")
    assert "2000" not in (tmp_path / "grades.json").read_text(encoding="utf-8").replace("02000", "")
    (handed / "student-02").rename(handed / "student-12")
    roster.write_text("id,name\nstudent-01,Ada Muster\nstudent-12,Bo Beispiel\n")
    found = graded(handed, tmp_path, students=roster)
    assert "neither on the list of the class nor handed in now: student-02." in found.table()
    assert "Ada Muster" in (tmp_path / "grades.csv").read_text(encoding="utf-8-sig")


@pytest.mark.usefixtures("quickly")
def test_points_that_stand_beside_the_table_are_not_lost_when_another_table_is_given(handed, tmp_path):
    for student in ("student-01", "student-02"):
        hand_in(handed, student, NOTEBOOK, words="Because.")
    graded(handed, tmp_path)
    beside, given = tmp_path / "by_hand.csv", tmp_path / "given.csv"
    text = beside.read_text(encoding="utf-8-sig")
    first, second = (text.replace("Because.,,", "Because.,8,", n) for n in (1, 2))
    beside.write_text(first), given.write_text(second.replace("Because.,8,", "Because.,,", 1))
    assert graded(handed, tmp_path, by_hand=given).open == 0
    assert beside.read_text(encoding="utf-8-sig").count("Because.,8,") == 2


@pytest.mark.usefixtures("quickly")
def test_an_answer_that_our_own_code_trips_over_costs_only_itself(handed, tmp_path, monkeypatch):
    ask = Question.ask

    def trips(self, sandbox, keys):
        if self.exercise.id == EXERCISES[START][0].id:
            raise RecursionError
        return ask(self, sandbox, keys)

    monkeypatch.setattr(Question, "ask", trips)
    found = graded(handed, tmp_path)
    assert any("could not be judged (RecursionError)" in note for note in found.notes)
    assert found.graded == 2 * len(EXERCISES[START]) + len(EXERCISES[NOTEBOOK])


@pytest.mark.usefixtures("quickly")
def test_a_sandbox_that_cannot_be_started_stops_the_grading_and_says_why(handed, tmp_path):
    def broken(limits, imports):
        raise OSError("no more processes")

    with pytest.raises(OSError, match="no more processes"):
        graded(handed, tmp_path, sandbox=broken)
    assert graded(handed, tmp_path).exit_code == 0


@pytest.mark.usefixtures("quickly")
def test_every_sandbox_is_closed(handed, tmp_path):
    boxes = []

    def counted(limits, imports):
        boxes.append(Here(limits, imports))
        return boxes[-1]

    graded(handed, tmp_path, sandbox=counted)
    assert boxes and all(box.closed for box in boxes)


GRADER = """
    import sys
    from pathlib import Path
    from labkit.workbench.grading.run import grade
    from tests.workbench.teaching.standing_in import Here, course
    found = grade(Path(sys.argv[1]), course(deadlines={}), Path(sys.argv[2]) / "grades.csv", seed=5, jobs=2,
                  sandbox=lambda limits, imports: Here(limits, imports, patience=0.2), progress=True)
    print(found.table())
    sys.exit(found.exit_code)
"""


def started(folder, out):
    """A grading in a process of its own, once it has made some marks."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(GRADER), str(folder), str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    for line in process.stderr:
        if "student-" in line:
            return process
    raise AssertionError("the grading ended before it said anything")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.usefixtures("quickly")
def test_a_grading_that_is_ended_in_the_middle_goes_on_and_gives_the_same_marks(handed, tmp_path, end):
    hand_in(handed, "student-03", NOTEBOOK), hand_in(handed, "student-04", NOTEBOOK, "empty")
    whole, ended = tmp_path / "whole", tmp_path / "ended"
    everything = graded(handed, whole).graded
    process = started(handed, ended)
    if end == signal.SIGINT:
        with pytest.raises(ValueError, match="open in another grading"):
            graded(handed, ended)
    os.kill(process.pid, end)
    out = process.communicate()[0]
    if end == signal.SIGINT:
        assert process.returncode == 130 and "the same command goes on from here" in out
    assert not (ended / "grades.csv").exists()
    rest = graded(handed, ended, seed=None)
    assert 0 < rest.graded < everything and rest.graded + rest.kept == everything
    assert marks_of(ended) == marks_of(whole)
    for name in ("grades.csv", "grades.json", "grades.moodle.csv", "grades.canvas.csv"):
        assert (ended / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize("kind", ["bubblewrap", "limited subprocess"])
@pytest.mark.usefixtures("quickly")
def test_the_real_sandbox_gives_the_marks_of_the_stand_in(tmp_path, kind):
    from labkit.workbench.grading.sandboxing.sandbox import Limits, Sandbox

    if kind == "bubblewrap" and kind_of_sandbox() != kind:
        pytest.skip("bubblewrap is not installed, or not allowed here")
    folder = tmp_path / "handed in"
    hand_in(folder, "student-01"), hand_in(folder, "student-02", NOTEBOOK, "empty")
    wrong = {e.id: list(answers_of(e).items())[2][1] for e in EXERCISES[NOTEBOOK]}
    hand_in(folder, "student-03", NOTEBOOK)
    (folder / "student-03" / f"{NOTEBOOK}.ipynb").write_text(json.dumps(fill(PAGES[NOTEBOOK], wrong)))
    graded(folder, tmp_path / "here")

    def boxed(limits, imports):
        return Sandbox(limits or Limits(), imports=imports, kind=kind).warm()

    graded(folder, tmp_path / "boxed", sandbox=boxed)
    assert marks_of(tmp_path / "boxed") == marks_of(tmp_path / "here")
