"""Tables of marks: what Moodle and Canvas ask for, nothing that a spreadsheet would compute, every name as it is."""

import csv
import json

import pytest

from labkit.workbench.grading.cells import read_table, safe, unsafe, write_table
from labkit.workbench.grading.exports import write_exports
from labkit.workbench.grading.gradebook import Gradebook
from labkit.workbench.grading.handing_in.roster import read_roster
from labkit.workbench.grading.marks import Judged
from labkit.workbench.grading.reports.feedback import file_name
from tests.workbench.teaching.standing_in import DEADLINE, NOTEBOOK, course

ODD = [
    "=cmd()",
    "+1",
    "-2+3",
    "@SUM(A1)",
    "  =1",
    "\t=1",
    "＝1",
    "Beispiel, Ada",
    'Ada "the first" Beispiel',
    "two\nlines",
    "Zoë Müller",
    "王小明",
    "../../x",
    "CON",
    "con",
    "x" * 400,
    "Student",
    "student",
    "|calc",
]


@pytest.fixture
def files(tmp_path):
    with Gradebook(tmp_path / "gradebook.sqlite", course(), seed=5) as book:
        numbers = {"Identifier": "Participant 7", "ID": "31", "SIS Login ID": "ada", "Student": "Beispiel, Ada"}
        book.enrol([("ada", "Ada Beispiel", "ada@example.org", numbers), *[(name, "", "", {}) for name in ODD]])
        book.hand_in([("ada", NOTEBOOK, DEADLINE, ("A cell was deleted.",), "")])
        for exercise in book.exercises[NOTEBOOK]:
            book.keep("ada", NOTEBOOK, exercise.id, "x", Judged("partly", 0.5, "sum", "Half.", 0.1, 5, 10))
        yield write_exports(book, tmp_path / "grades.csv", {"made by": "test"})


def rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_plain_table_has_a_row_for_everybody_and_says_to_excel_that_it_is_utf8(files):
    table = rows(files["grades"])
    assert files["grades"].read_bytes().startswith(b"\xef\xbb\xbf") and len(table) == 1 + len(ODD)
    ada = next(row for row in table if row["student"] == "ada")
    assert ada["name"] == "Ada Beispiel" and ada["handed in"] == "1" and ada["late"] == "0"
    assert float(ada["total"]) == pytest.approx(0.75 * float(ada[NOTEBOOK]), abs=0.01) and float(ada[NOTEBOOK]) > 40
    assert {row["total"] for row in table if row["student"] != "ada"} == {"0"}


@pytest.mark.parametrize("kind", ["grades", "moodle", "canvas"])
def test_no_cell_of_any_table_is_a_formula_and_every_name_comes_back(files, kind):
    with files[kind].open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [c for c in cells if c.lstrip()[:1] in set("=+-@＝＋－＠|") and c.strip() != "-"]
    found = {unsafe(cell) for cell in cells}
    assert {name.replace("\t", "\t") for name in ODD} <= found


def test_moodle_finds_the_columns_of_its_worksheet(files):
    assert files["moodle"].read_text(encoding="utf-8").startswith("Identifier,Full name,")
    ada = next(row for row in rows(files["moodle"]) if row["Identifier"] == "Participant 7")
    assert ada["Email address"] == "ada@example.org" and ada["Maximum Grade"] == "100" and float(ada["Grade"]) > 30
    assert ada["Last modified (grade)"] == "-" and "30 November 2026" in ada["Last modified (submission)"]
    assert f"{NOTEBOOK}: " in ada["Feedback comments"] and "partly" in ada["Feedback comments"]


def test_canvas_finds_its_students_and_what_is_possible(files):
    assert files["canvas"].read_text(encoding="utf-8").startswith("Student,ID,SIS User ID,SIS Login ID,Section,")
    table = rows(files["canvas"])
    possible, ada = table[0], next(row for row in table if row["ID"] == "31")
    assert possible["Student"] == "    Points Possible" and float(possible[NOTEBOOK]) > 100
    assert ada["Student"] == "Beispiel, Ada" and ada["SIS Login ID"] == "ada"
    assert float(ada[NOTEBOOK]) == pytest.approx((float(possible[NOTEBOOK]) - 10) / 2)
    others = [row for row in table[1:] if row["ID"] != "31"]
    assert all(row["SIS Login ID"] for row in others)  # who has no number is known by the name in the list


def test_moodle_gets_grades_of_as_many_points_as_its_assignment_has(tmp_path):
    with Gradebook(tmp_path / "gradebook.sqlite", course(), seed=5) as book:
        book.enrol([("ada", "Ada", "", {"Maximum Grade": "20,00"}), ("bo", "Bo", "", {"Maximum Grade": "-"})])
        for student in ("ada", "bo"):
            book.hand_in([(student, NOTEBOOK, DEADLINE, (), "")])
            for exercise in book.exercises[NOTEBOOK]:
                book.keep(student, NOTEBOOK, exercise.id, "x", Judged("correct", 1.0))
        ada, bo = rows(write_exports(book, tmp_path / "grades.csv")["moodle"])
    assert (ada["Maximum Grade"], bo["Maximum Grade"]) == ("20", "100")
    assert float(ada["Grade"]) == pytest.approx(float(bo["Grade"]) / 5, abs=0.006) and float(bo["Grade"]) > 60


@pytest.mark.parametrize("kind", ["moodle", "canvas"])
def test_a_table_of_ours_is_a_list_of_the_class_with_the_same_people(tmp_path, kind):
    with Gradebook(tmp_path / "gradebook.sqlite", course(), seed=5) as book:
        book.enrol([("s-01", "Zoë Müller", "zoe@example.org", {}), ("007", "Bo, jr.", "", {})])
        path = write_exports(book, tmp_path / "grades.csv")[kind]
    assert {(s.id, s.name) for s in read_roster(path).students} == {("s-01", "Zoë Müller"), ("007", "Bo, jr.")}


def test_a_full_disk_leaves_the_old_table_and_says_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    write_table(path, ["a"], [("old",)])
    monkeypatch.setattr("pathlib.Path.open", _full)
    with pytest.raises(OSError, match=r"t\.csv cannot be written .*No space.*the same command writes the tables again"):
        write_table(path, ["a"], [("new",)])
    monkeypatch.undo()
    assert "old" in path.read_text(encoding="utf-8-sig") and not list(tmp_path.glob("*.part"))


def _full(*what, **more):
    raise OSError(28, "No space left on device")


def test_json_has_everything(files):
    found = json.loads(files["json"].read_text(encoding="utf-8"))
    ada = next(one for one in found["students"] if one["student"] == "ada")
    assert found["seed"] == 5 and found["made by"] == "test" and ada["notes"] == ["A cell was deleted."]
    assert {"points", "most", "status", "mistake", "message", "late", "final", "right"} <= ada["marks"][0].keys()
    assert "seconds" not in ada["marks"][0]  # they differ each time, and the same marks are the same bytes
    assert [one["student"] for one in found["students"] if one["student"] in ODD] == sorted(ODD, key=str.casefold)


def test_every_student_has_a_page_of_their_own():
    names = [file_name(student).casefold() for student in [*ODD, "", ".", "a" * 400, "a" * 401, "A", "a"]]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and len(name) < 100 and "/" not in name and not name.startswith(".") for name in names)


@pytest.mark.parametrize("text", [*ODD, "", "-", "plain", "'quoted", "a=b", "3.5"])
def test_what_is_made_safe_can_be_read_again(text, tmp_path):
    assert unsafe(safe(text)) == text
    write_table(tmp_path / "t.csv", ["a", "b"], [(text, "x")])
    assert read_table(tmp_path / "t.csv")[1][0][1][0] == safe(text).strip()


def test_numbers_are_written_short_and_control_characters_left_out(tmp_path):
    write_table(tmp_path / "t.csv", ["a"], [(1 / 3,), (100.0,), (-1.5,), (None,), ("a\x00\x1bb",), ("caf\udce9",)])
    assert (tmp_path / "t.csv").read_text(encoding="utf-8-sig").split() == [
        "a",
        "0.3333",
        "100",
        "-1.5",
        '""',
        "ab",
        "caf?",
    ]


def test_a_table_that_cannot_be_replaced_leaves_the_new_one_beside_it(tmp_path, monkeypatch):
    def open_elsewhere(self, target):
        raise PermissionError(13, "in use")

    monkeypatch.setattr("pathlib.Path.replace", open_elsewhere)
    with pytest.raises(ValueError, match="is it open in a spreadsheet"):
        write_table(tmp_path / "t.csv", ["a"], [("b",)])
    assert (tmp_path / "t.csv.part").is_file()
