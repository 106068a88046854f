"""The gradebook: no mark is lost, by a crash, a second grader, a damaged file, or a table filled in by hand."""

import dataclasses
import json
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
from datetime import timedelta

import pytest

from labkit.workbench.grading.byhand import merge_words, read_by_hand, write_by_hand
from labkit.workbench.grading.gradebook import Gradebook
from labkit.workbench.grading.marks import NOTHING_CAME, Judged
from labkit.workbench.grading.totals import rounded
from tests.project import ROOT
from tests.workbench.teaching.standing_in import DEADLINE, NOTEBOOK, QUESTION, course

START = "00_start_here"
ID = "ngrams.relative_frequency"
RIGHT = Judged("correct", 1.0, seconds=0.1, right=9, cases=9)
PLACE = ("ada", NOTEBOOK, "why")


@pytest.fixture
def book(tmp_path):
    with Gradebook(tmp_path / "gradebook.sqlite", course(), seed=5) as book:
        book.enrol([("ada", "Ada Beispiel", "ada@example.org", {"Identifier": "Participant 7"}), ("bo", "", "", {})])
        yield book


def hand_in(book, student="ada", submitted=DEADLINE, notes=(), why=""):
    book.hand_in([(student, NOTEBOOK, submitted, notes, why)])


def test_a_mark_that_was_kept_is_there_when_the_book_is_opened_again(book):
    hand_in(book)
    book.keep("ada", NOTEBOOK, ID, "digest", RIGHT)
    book.close()
    with Gradebook(book.path, course()) as again:
        mark = next(mark for mark in again.marks("ada") if mark.exercise == ID)
        assert (mark.status, mark.points) == ("correct", mark.most) and again.seed == 5
        assert again.digests() == {("ada", NOTEBOOK, ID): "digest"}


def test_who_handed_in_nothing_gets_nothing_and_is_told_so(book):
    marks = book.marks("bo")
    assert {mark.status for mark in marks} == {"missing"} and {mark.message for mark in marks} == {NOTHING_CAME}
    total = next(total for total in book.totals() if total.student == "bo")
    assert (total.total, total.handed_in, total.name) == (0, 0, "bo")


def test_points_weights_and_lateness_follow_the_course_file_without_grading_anew(book):
    hand_in(book, submitted=DEADLINE + timedelta(days=1, hours=1))
    for exercise in book.exercises[NOTEBOOK]:
        book.keep("ada", NOTEBOOK, exercise.id, "x", RIGHT)
    most = sum(mark.most for mark in book.marks("ada", NOTEBOOK))
    share = 100 * (most - 10) / most * 0.8  # two days late, and the question in words is not answered
    ada = book.totals()[0]
    assert ada.notebooks == {START: 0, NOTEBOOK: pytest.approx(share, abs=0.01)}
    assert ada.total == pytest.approx(0.75 * share, abs=0.01) and ada.late == pytest.approx(ada.total / 4, abs=0.01)
    book.close()
    lenient = course(weights={START: 0.0, NOTEBOOK: 3.0}, deadlines={}, points={ID: 500.0}, manual={})
    with Gradebook(book.path, lenient) as again:
        assert again.totals()[0].total == 100 and again.marks("ada", NOTEBOOK)[0].late == 0
        assert {mark.most for mark in again.marks("ada") if mark.exercise == ID} == {500}


def test_a_notebook_in_which_nothing_can_be_earned_does_not_count(tmp_path):
    plain = course(manual={})
    with Gradebook(tmp_path / "b.sqlite", plain, {NOTEBOOK: one_exercise()}, seed=1) as book:
        book.enrol([("ada", "", "", {})])
        book.hand_in([("ada", NOTEBOOK, None, (), "")])
        for exercise in book.exercises[NOTEBOOK]:
            book.keep("ada", NOTEBOOK, exercise.id, "x", RIGHT)
        assert book.totals()[0].total == 100


def one_exercise():
    from labkit.workbench.checking import find

    return (find(ID),)


def test_a_file_that_cannot_be_read_is_said_in_every_mark_of_it(book):
    hand_in(book, why="nb.ipynb is not JSON; hand in the file that Jupyter saves.")
    marks = book.marks("ada", NOTEBOOK)
    assert all("not JSON" in mark.message and mark.status == "missing" for mark in marks)
    assert book.totals()[0].handed_in == 0 and "not JSON" in book.notes("ada")[0]


def test_a_second_grader_is_refused_with_a_sentence(book):
    with pytest.raises(ValueError, match="is open in another grading; wait until that has ended"):
        Gradebook(book.path, course())


def test_the_book_of_another_course_is_refused(book):
    book.close()
    with pytest.raises(ValueError, match=r"gradebook of the course 'Language models · autumn', and this is 'Other"):
        Gradebook(book.path, course(name="Other"))
    with Gradebook(book.path, course()):
        pass  # the refusal has not kept it open


def test_the_database_of_another_program_is_not_touched(tmp_path):
    path = tmp_path / "other.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE bookmarks (address TEXT)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no gradebook but a database of something else"):
        Gradebook(path, course())
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["all", "middle", "tail"])
def test_a_damaged_book_is_set_aside_and_never_overwritten(tmp_path, damage):
    path = tmp_path / "gradebook.sqlite"
    with Gradebook(path, course(), seed=5) as book:
        for number in range(30):
            book.keep(f"student-{number}", NOTEBOOK, ID, "x" * 64, dataclasses.replace(RIGHT, message="x" * 1000))
    content = bytearray(path.read_bytes())
    spans = {"all": slice(0, None), "middle": slice(4096, len(content) // 2), "tail": slice(len(content) // 2, None)}
    span = spans[damage]
    content[span] = b"garbage!" * (len(content[span]) // 8)
    path.write_bytes(content)
    with Gradebook(path, course()) as book:
        assert "is kept as gradebook.damaged-1.sqlite" in book.said[0] and len(book.digests()) < 30
    assert (tmp_path / "gradebook.damaged-1.sqlite").read_bytes() == content
    path.write_bytes(content)
    with Gradebook(path, course()) as book:
        assert "gradebook.damaged-2.sqlite" in book.said[0]


def everything_in(book):
    return book.seed, book.marks(), book.totals(), book.words(), book.people()


def test_whatever_byte_of_a_book_changes_no_grade_changes_unnoticed(tmp_path):
    path, draw = tmp_path / "gradebook.sqlite", random.Random(3)
    with Gradebook(path, course(), seed=5) as book:
        book.enrol((f"student-{n}", f"Zoë {n}", "", {}) for n in range(4))
        for n in range(4):
            hand_in(book, f"student-{n}")
            book.keep(f"student-{n}", NOTEBOOK, ID, f"{n}" * 64, dataclasses.replace(RIGHT, share=n / 4))
            merge_words(
                book, {(f"student-{n}", NOTEBOOK, "why"): "words"}, {(f"student-{n}", NOTEBOOK, "why"): (float(n), "")}
            )
        before, given = everything_in(book), {m.student: m.points for m in book.marks() if m.exercise == ID}
    content = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(draw.choice([1, 1, 4, 200])):
            damaged[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            with Gradebook(path, course()) as book:
                found = everything_in(book)
                marks = {m.student: m for m in found[1] if m.exercise == ID}
                if found != before:  # then it is said, and what is still there is what was given
                    assert "is damaged" in book.said[0], book.said
                    assert all(m.points in (given[s], 0.0) for s, m in marks.items())
        except ValueError as error:
            assert "cannot open the gradebook" in str(error) or "no gradebook but" in str(error)


def test_what_can_be_trusted_of_a_damaged_book_is_taken_over_with_the_secret_inputs(book):
    hand_in(book)
    book.keep("ada", NOTEBOOK, ID, "x", RIGHT)
    book.keep("bo", NOTEBOOK, ID, "x", RIGHT)
    book.close()
    database = sqlite3.connect(book.path)
    database.execute("UPDATE marks SET share = 0.5 WHERE student = 'bo'")
    database.commit(), database.close()
    with Gradebook(book.path, course()) as again:
        assert "1 of the marks in it changed from outside" in again.said[0] and "1 mark that can" in again.said[0]
        assert again.seed == 5 and again.digests() == {("ada", NOTEBOOK, ID): "x"} and len(again.people()) == 2


def test_another_seed_is_said_and_kept(book):
    book.close()
    with Gradebook(book.path, course(), seed=6) as again:
        assert again.seed == 6 and "from seed 5 to 6" in again.said[0]
    with Gradebook(book.path, course()) as again:
        assert again.seed == 6 and not again.said


WRITER = """
    import sys
    from pathlib import Path
    from labkit.workbench.grading.gradebook import Gradebook
    from labkit.workbench.grading.marks import Judged
    from tests.workbench.teaching.standing_in import NOTEBOOK, course
    with Gradebook(Path(sys.argv[1]), course(), {}, seed=5) as book:
        for number in range(100_000):
            book.keep(f"student-{number}", NOTEBOOK, "x.y", str(number), Judged("correct", 1.0))
            print(number, flush=True)
"""


def test_a_grader_that_is_killed_loses_no_mark_that_it_had_made(tmp_path):
    path = tmp_path / "gradebook.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    for line in writer.stdout:
        if int(line) == 40:
            writer.kill()  # SIGKILL: nothing in it gets a chance to tidy up
            break
    said = 40 + sum(1 for _ in writer.stdout)
    writer.communicate()
    assert sys.platform == "win32" or writer.returncode == -signal.SIGKILL
    with Gradebook(path, course(), {}) as book:
        digests = book.digests()
        assert not book.said and book.seed == 5
        assert said < len(digests) <= said + 2
        assert all(digests[f"student-{n}", NOTEBOOK, "x.y"] == str(n) for n in range(len(digests)))


def words(book, **texts):
    merge_words(book, {(student, NOTEBOOK, "why"): text for student, text in texts.items()}, {})


def filled(path, **points):
    """The table as a teacher fills it in."""
    from labkit.workbench.grading.cells import read_table, write_table

    header, rows = read_table(path)
    place = header.index("points")
    for _, row in rows:
        row[place] = points.get(row[0], row[place])
    write_table(path, header, [row for _, row in rows])


def test_answers_in_words_are_written_filled_in_and_merged(book, tmp_path):
    table = tmp_path / "by_hand.csv"
    hand_in(book), hand_in(book, "bo")
    words(book, ada="=1+1 is why,\nand “this”", bo="   ")
    assert write_by_hand(table, book) == 1 and table.read_bytes().startswith(b"\xef\xbb\xbf")
    assert book.totals()[0].open == 1 and {m.status for m in book.marks("bo") if m.exercise == "why"} == {"not started"}
    filled(table, ada="7,5")
    merge_words(book, {PLACE: "=1+1 is why,\nand “this”"}, read_by_hand(table, book.course, book.people()))
    mark = next(mark for mark in book.marks("ada") if mark.exercise == "why")
    assert (mark.status, mark.points, mark.open) == ("by hand", 7.5, False) and book.totals()[0].open == 0
    assert write_by_hand(table, book) == 0 and "7.5" in table.read_text(encoding="utf-8-sig")
    assert read_by_hand(table, book.course, book.people()) == {PLACE: (7.5, "")}


def test_points_stay_when_the_answer_changes_and_the_table_says_so(book, tmp_path):
    table = tmp_path / "by_hand.csv"
    words(book, ada="first")
    merge_words(book, {}, {PLACE: (4.0, "- too short")})
    words(book, ada="second")
    answer = book.words()[PLACE]
    assert (answer.answer, answer.points, answer.comment, answer.marked) == ("second", 4.0, "- too short", "first")
    write_by_hand(table, book)
    assert "has changed since" in table.read_text(encoding="utf-8-sig")
    again = read_by_hand(table, book.course, book.people())
    assert again == {PLACE: (4.0, "- too short")}  # the apostrophe before the minus has not become part of it
    merge_words(book, {PLACE: "second"}, again)
    assert dataclasses.astuple(book.words()[PLACE]) == dataclasses.astuple(answer)


def test_a_comment_without_points_stays_and_points_never_pass_what_a_question_is_worth(book, tmp_path):
    table = tmp_path / "by_hand.csv"
    words(book, ada="first")
    write_by_hand(table, book)
    table.write_text(table.read_text(encoding="utf-8-sig").replace("first,,10,", "first,,10,ask her"))
    merge_words(book, {}, read_by_hand(table, book.course, book.people()))
    assert write_by_hand(table, book) == 1 and "ask her" in table.read_text(encoding="utf-8-sig")
    assert book.totals()[0].open == 1
    merge_words(book, {}, {PLACE: (8.0, "good")})
    merge_words(book, {}, {PLACE: (None, "very good")})
    book.close()
    cheaper = course(manual={NOTEBOOK: (dataclasses.replace(QUESTION, points=5.0),)})
    with Gradebook(book.path, cheaper) as again:
        mark = next(mark for mark in again.marks("ada") if mark.exercise == "why")
        assert (mark.points, mark.most, mark.message) == (5.0, 5.0, "very good")


def test_what_is_shown_adds_up_to_the_total_that_is_shown(book):
    hand_in(book, submitted=DEADLINE + timedelta(days=1))
    for n, exercise in enumerate(book.exercises[NOTEBOOK] + book.exercises[START]):
        book.keep("ada", exercise.notebook, exercise.id, "x", dataclasses.replace(RIGHT, share=1 / (n + 3)))
    ada = book.totals()[0]
    assert ada.total == rounded(0.25 * ada.notebooks[START] + 0.75 * ada.notebooks[NOTEBOOK]) and 0 < ada.total < 40


def test_a_notebook_that_the_course_no_longer_has_is_not_counted_as_handed_in(book):
    book.hand_in([("ada", NOTEBOOK, DEADLINE, (), ""), ("ada", START, DEADLINE, (), "")])
    assert book.totals()[0].handed_in == 2
    book.close()
    with Gradebook(book.path, course(notebooks=(NOTEBOOK,), weights={NOTEBOOK: 1.0})) as again:
        assert again.totals()[0].handed_in == 1


def test_garbage_in_the_table_is_named_by_its_line_and_nothing_is_taken(book, tmp_path):
    table = tmp_path / "by_hand.csv"
    lines = [
        "student;notebook;question;points;comment",
        f"ada;{NOTEBOOK};why;5;",
        f"ada;{NOTEBOOK};why;6;",
        f"adda;{NOTEBOOK};why;5;",
        f"bo;{NOTEBOOK};whi;5;",
        f"bo;{NOTEBOOK};why;eleven;",
        f'bo;{NOTEBOOK};why;11;"two\nlines"',
        f"bo;{NOTEBOOK};why;-1;",
        f"bo;{NOTEBOOK};why;nan;",
        f"bo;{NOTEBOOK};why;;never read",
    ]
    table.write_text("\n".join(lines))
    with pytest.raises(ValueError) as refused:
        read_by_hand(table, book.course, book.people())
    said = str(refused.value)
    assert "line 3: ada has other points for why further up" in said and "did you mean 'ada'?" in said
    assert "line 5: there is no question 'whi'" in said and "did you mean '02_ngram_models / why'" in said
    assert "line 6: points are 'eleven'; a number from 0 to 10 was expected" in said
    assert (
        "line 7: points are '11'" in said and "line 9: points are '-1'" in said and "line 10: points are 'nan'" in said
    )
    assert "line 11" not in said and "Nothing was taken" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04rest", "save it as CSV"),
        (b"a,b\n1,2\n", "has no column student, notebook, question, points"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(book, tmp_path, content, said):
    path = tmp_path / "by_hand.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_by_hand(path, book.course, book.people())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_table_may_come_back_in_any_encoding_that_spreadsheets_write(book, tmp_path, encoding):
    book.enrol([("Zoë Müller", "", "", {}), ("007", "", "", {})])
    path = tmp_path / "by_hand.csv"
    rows = f"student,notebook,question,points\nZoë Müller,{NOTEBOOK},why,3\n7,{NOTEBOOK},why,2\n"
    path.write_text(rows, encoding=encoding)
    found = read_by_hand(path, book.course, book.people())
    assert found == {("Zoë Müller", NOTEBOOK, "why"): (3.0, ""), ("007", NOTEBOOK, "why"): (2.0, "")}


def test_a_full_disk_is_said_and_what_was_kept_stays(book):
    book.keep("ada", NOTEBOOK, ID, "x", RIGHT)
    pages = book._database.execute("PRAGMA page_count").fetchone()[0]
    book._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OSError, match=r"cannot be written .*full.*the same command goes on"):
        book.keep("bo", NOTEBOOK, ID, "x", dataclasses.replace(RIGHT, message="x" * 100_000))
    assert book.digests() == {("ada", NOTEBOOK, ID): "x"}


def test_half_a_character_in_a_message_does_not_stop_the_book(book):
    book.keep("ada", NOTEBOOK, ID, "x", dataclasses.replace(RIGHT, message="caf\udce9"))
    assert json.dumps(next(m.message for m in book.marks("ada") if m.exercise == ID))
