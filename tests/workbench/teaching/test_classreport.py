"""The teacher's page: what was hard, which mistakes were common, who may need help; and what must not be said."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from labkit.workbench import learnerfile
from labkit.workbench.checking import find
from labkit.workbench.grading.handing_in.submissions import Unreadable
from labkit.workbench.grading.reports import classroom, lookalikes
from labkit.workbench.grading.reports.classreport import class_report
from labkit.workbench.grading.reports.progresspage import progress_page
from labkit.workbench.learner import Progress, Standing
from labkit.workbench.showing import source_of
from tests.workbench.teaching.written_marks import COURSE, HOSTILE, IDS, STEM, Page, handed, mark, mistaken

CLASS = [f"student-{i:02}" for i in range(1, 13)]
LONG = """def back_off(counts, context, word, alpha):
    # my own way
    factor, rest = 1.0, tuple(context)
    while rest and (*rest, word) not in counts:
        factor, rest = factor * alpha, rest[1:]
    below = counts.get(rest, 0) if rest else sum(n for key, n in counts.items() if len(key) == 1)
    return factor * counts.get((*rest, word), 0) / below if below else 0.0
"""
RENAMED = (
    LONG.replace("factor", "weight").replace("rest", "tail").replace("# my own way", "# mine").replace("counts", "c")
)


def a_class():
    """Twelve students: most make the same mistake in the first exercise, three leave nearly all untouched."""
    marks = []
    for place, student in enumerate(CLASS):
        marks.append(mistaken(student, IDS[0]) if place < 7 else mark(student))
        marks += [mark(student, each, "not started" if place > 8 else "correct") for each in IDS[1:]]
    return marks


def read(marks, **more):
    return Page(class_report(marks, more.pop("course", COURSE), **more))


def test_the_hardest_exercise_and_the_most_common_mistake_come_first_with_what_to_say():
    shown = read(a_class(), submissions=[handed(student) for student in CLASS])
    wrong = find(IDS[0]).wrong[0]
    assert "Hardest was ngrams.bigrams (5 of 12 students who handed in got it right): Return the list" in shown.words
    assert (
        f"The most common mistake was “{wrong.name}” in ngrams.bigrams, made by 7 of 12 students who tried."
        in shown.words
    )
    for told in (wrong.message, find(IDS[0]).hints[-1], "7 of 12"):
        assert told.replace("`", "") in shown.words
    assert len(shown.alts) == 5 and any("ngrams.bigrams 5 correct, 7 not right" in alt for alt in shown.alts)


def test_students_who_left_more_than_half_untouched_are_named_without_a_verdict():
    words = read(a_class()).words
    assert "3 students have left more than half of the exercises untouched and may need help." in words
    assert "student-10 3 of 4 25" in words and "student-01 " not in words.partition("Who may need help Th")[2][:400]


def test_a_file_that_could_not_be_read_makes_nobody_idle_and_no_exercise_hard():
    unread = [mark("student-13", each, "missing", message="13/x.ipynb is empty.") for each in IDS]
    bad = [Unreadable("student-13", Path("13/x.ipynb"), "13/x.ipynb is empty; hand in another", STEM)]
    words = read([*a_class(), *unread], submissions=[handed(student) for student in CLASS], unreadable=bad).words
    assert "3 students have left more than half" in words and "student-13 x.ipynb is empty; hand in another." in words
    assert "5 of 12 students who handed in" in words and "1 file could not be read: ask for it again." in words
    assert words.index("could not be read: ask") < words.index("left more than half") < words.index("Hardest was")


def test_answers_that_had_to_be_stopped_are_among_the_remarks():
    words = read([mark(), mark("student-02", status="timeout", message="It was not done after 10 seconds.")]).words
    assert "student-02 02 · ngram models ngrams.bigrams took too long: It was not done after 10 seconds." in words


@pytest.mark.parametrize("marks", [[], [mark()], [mark(status="not started")], [mark(status="missing")]])
def test_a_class_of_nobody_and_of_one_has_a_page(marks):
    assert "Class report" in read(marks).words


def test_only_files_that_cannot_be_read_still_make_a_page_that_names_them():
    bad = [Unreadable("student-07", Path("x/02.ipynb"), "02.ipynb is a PDF.", STEM), "some sentence of a reader"]
    words = read([], unreadable=bad).words
    assert "student-07 02.ipynb is a PDF." in words and "some sentence of a reader" in words


def test_of_many_exercises_the_hardest_are_seen_and_the_others_are_behind_a_line():
    marks = [mark(f"student-{s}", f"topic.exercise_{e}", "wrong") for s in range(3) for e in range(154)]
    text = class_report(marks, COURSE, exercises={})
    assert "and 134 more" in Page(text).words and len(text) < 400_000


def test_without_names_no_name_file_or_remark_is_on_the_page():
    secret = {f"Robin-{i}": f"Robin-{i}" for i in range(12)}
    marks = [replace(each, student=list(secret)[CLASS.index(each.student)]) for each in a_class()]
    pairs = [handed(s, notes=[f"{s}: cell deleted"], answers={IDS[3]: LONG}) for s in list(secret)[:2]]
    bad = [Unreadable("Robin-3", Path("Robin-3/Robin.ipynb"), "Robin.ipynb is empty.", STEM, name="Robin")]
    text = class_report(marks, COURSE, submissions=pairs, unreadable=bad, names=False)
    assert "Robin" not in text and "student 1" in text and "1 submission could not be read" in Page(text).words
    assert "Robin-3" in class_report(marks, COURSE, submissions=pairs, unreadable=bad)


def test_numbers_instead_of_names_do_not_follow_the_alphabet():
    called = classroom.labels(CLASS, False, COURSE)
    assert len(set(called.values())) == 12
    assert sorted(called, key=lambda student: int(called[student][8:])) != CLASS
    people = [SimpleNamespace(student="student-01", name="Ada Beispiel")]
    assert classroom.labels(CLASS, True, COURSE, people)["student-01"] == "Ada Beispiel (student-01)"


def test_markup_of_students_files_and_courses_is_shown_and_not_obeyed():
    marks = [mark(HOSTILE, HOSTILE, "wrong", stem=HOSTILE, mistake=HOSTILE, message=HOSTILE), mark(HOSTILE)]
    came = [replace(handed(HOSTILE), notes=(HOSTILE,), name=HOSTILE, notebook=HOSTILE)]
    bad = [Unreadable(HOSTILE, Path("x") / HOSTILE.replace("/", ""), HOSTILE, STEM)]
    course = replace(COURSE, name=HOSTILE, term=HOSTILE)
    assert "<script>" in read(marks, course=course, submissions=came, unreadable=bad).words


def test_what_came_in_time_late_and_not_at_all_is_counted_once():
    marks = [mark("a"), mark("b", late=0.1), mark("c", status="missing"), mark("d", status="missing")]
    came = [handed("a"), handed("b", late=timedelta(hours=2))]
    bad = [Unreadable("d", Path("d.ipynb"), "d.ipynb is empty.", STEM)]
    table = classroom.handed_in(marks, [*came, *bad], COURSE, ["a", "b", "c", "d"])
    assert table[STEM] == (2, 1, 1, 0.1) and table["00_start_here"] == (0, 0, 4, 0.0)


def test_an_exercise_whose_points_fit_another_rating_is_pointed_out():
    went = [
        classroom.Answered(f"t.{i}", STEM, d, (9, 0, 1, 0), s, s)
        for i, (d, s) in enumerate([(1, 0.95), (1, 0.9), (1, 0.2), (3, 0.3), (3, 0.25), (3, 0.98)])
    ]
    assert classroom.out_of_line(went) == [(2, 3), (5, 1)] or set(classroom.out_of_line(went)) == {(2, 3), (5, 1)}
    few = [replace(one, counts=(2, 0, 1, 9)) for one in went]
    assert classroom.out_of_line(few) == [] and classroom.out_of_line([]) == []


def pairs_of(answers, exercise=IDS[3], status="correct", solution=""):
    came = [handed(student, answers={exercise: source}) for student, source in answers.items()]
    return lookalikes.alike(came, {(student, exercise): status for student in answers}, {exercise: solution})


def test_a_long_answer_with_other_names_and_comments_is_found():
    (pair,) = pairs_of({"a": LONG, "b": RENAMED, "c": LONG.replace("1.0", "2.0")})
    assert (pair.one, pair.other, pair.exercises) == ("a", "b", (IDS[3],))
    assert lookalikes.form(LONG.replace("sum(", "max("))[0] != lookalikes.form(LONG)[0]


def test_short_answers_the_solution_what_many_write_and_empty_holes_accuse_nobody():
    short = "def bigrams(sentence):\n    words = ['<s>', *sentence, '</s>']\n    return list(zip(words, words[1:]))\n"
    assert pairs_of({"a": short, "b": short}) == []
    assert pairs_of({"a": LONG, "b": RENAMED}, solution=LONG) == []
    assert pairs_of(dict.fromkeys("abcd", LONG)) == [] and len(pairs_of(dict.fromkeys("abc", LONG))) == 3
    assert pairs_of({"a": LONG, "b": LONG}, status="not started") == []


def test_no_solution_of_the_course_written_by_two_counts_against_them():
    exercise = find(IDS[3])
    assert (
        pairs_of(
            {"a": source_of(exercise.solution), "b": source_of(exercise.solution)},
            solution=source_of(exercise.solution),
        )
        == []
    )


@pytest.mark.parametrize(
    "source", ["def f(:", "", "\ud800" * 80, "(" * 5_000, "-" * 19_000 + "1", "x = 1\n" * 9_000, "\0" * 99]
)
def test_an_answer_that_cannot_be_read_is_like_no_other(source):
    assert lookalikes.form(source)[0] == "" and pairs_of({"a": source, "b": source}) == []


def test_answers_alike_are_told_as_a_hint_and_never_as_a_proof():
    marks = [mark(student, IDS[3]) for student in ("a", "b")]
    came = [handed("a", answers={IDS[3]: LONG}), handed("b", answers={IDS[3]: RENAMED})]
    words = read(marks, submissions=came).words
    assert "a and b 1 ngrams.stupid_backoff" in words and "not a proof of anything" in words
    assert "were not at hand" in read(marks).words


class Book:
    """As much of a gradebook as the report asks for."""

    def marks(self):
        return a_class()

    def totals(self):
        return [SimpleNamespace(student=student, name="Ada Beispiel", total=50.0) for student in CLASS]

    def notes(self, student, notebook):
        return ["The cell `x` was deleted."] if student == CLASS[0] else []

    def submitted(self, student, notebook):
        return handed().submitted


def test_a_gradebook_is_taken_as_it_is():
    words = read(Book()).words
    assert (
        "50 median mark of 100" in words and "Ada Beispiel (student-10)" in words and "The cell x was deleted." in words
    )


def test_questions_in_words_are_no_exercises_and_wait_until_they_are_read():
    marks = [mark(), mark(exercise="picture", status="by hand", stem="00_start_here")]
    words = read([marks[0], replace(marks[1], points=None)]).words
    assert "1 exercise " in words and "1 answer in words waits to be read by you: fill in by_hand.csv" in words


def test_a_learner_alone_gets_a_page_of_the_same_kind():
    wrong = find(IDS[0]).wrong[0]
    record = learnerfile.Record(STEM, IDS[0], False, 3, 1, True, (wrong.name, "unknown"), 0.0, 1.0)
    found = Progress((Standing(STEM, 0, 10, 0, 60, 1, 1),), find(IDS[1]), {IDS[0]: record})
    words = Page(progress_page(found)).words
    for told in (
        "0 of 10",
        "ngrams.relative_frequency",
        "tried, not solved yet, solution seen",
        wrong.message,
        "3 checks",
    ):
        assert told.replace("`", "") in words
    assert "0 of 0" in Page(progress_page(Progress((), None, {}))).words
