"""A student's page: everything said in words, nothing of a student obeyed, readable by everybody."""

import re
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.workbench.checking import find
from labkit.workbench.grading.reports import feedback, page
from labkit.workbench.grading.reports.feedback import feedback_page, file_name
from labkit.workbench.grading.reports.wordings import WORDINGS, encouragement
from tests.workbench.teaching.written_marks import (
    COURSE,
    DEADLINE,
    FIRST,
    HOSTILE,
    IDS,
    STEM,
    Page,
    handed,
    mark,
    mistaken,
)


def read(marks, course=COURSE, **more):
    return Page(feedback_page("student-01", marks, course, **more))


def test_a_mistake_is_told_with_its_message_the_task_the_points_and_the_first_hint_only():
    exercise = find(IDS[0])
    words = read([mistaken("student-01", IDS[0], share=0.25)], submissions=[handed()]).words
    for told in (exercise.statement, exercise.wrong[0].message, exercise.hints[0], "partly right", "2.5 of 10 points"):
        assert told.replace("`", "") in words
    assert exercise.hints[1] not in words and "padded = " not in words


def test_a_right_answer_gets_no_hint_and_the_total_weighs_the_notebooks():
    marks = [mark(), mark(exercise=IDS[1], status="wrong"), mark(exercise="workbench.sequences", stem=FIRST)]
    words = read(marks, submissions=[handed()]).words
    assert "62.5 of 100" in words and find(IDS[0]).hints[0] not in words
    assert "40 of 100" in read(marks, total=40.0).words


@pytest.mark.parametrize("status", [status for status in WORDINGS if status != "waiting"])
def test_every_status_is_said_by_a_sign_and_in_words(status):
    shown = read([mark(status=status)], submissions=[handed()])
    assert f"{WORDINGS[status].sign} {WORDINGS[status].words}" in shown.words


def test_a_status_that_nobody_knows_is_told_by_its_name():
    assert "• strange" in read([mark(status="strange")], submissions=[handed()]).words


@pytest.mark.parametrize(
    ("late", "lost", "said"),
    [
        (timedelta(hours=-27), 0.0, "1 day and 3 hours before it."),
        (timedelta(minutes=20), 0.0, "20 minutes after it. That little does not count: nothing was taken off."),
        (
            timedelta(hours=30),
            0.2,
            "after it. 20 % of the points of this notebook were taken off, 10 % for each day that had begun.",
        ),
    ],
)
def test_lateness_is_explained_by_deadline_moment_and_cost(late, lost, said):
    words = read([mark(late=lost)], submissions=[handed(late=late)]).words
    assert "The deadline was 4 December 2026, 18:00 (UTC). You handed it in on" in words and said in words
    assert ("went for being late" in words) == bool(lost)


def test_the_moment_of_handing_in_is_told_in_the_time_zone_of_the_deadline():
    east = handed(late=timedelta(hours=-1))
    east = replace(east, submitted=east.submitted.astimezone(timezone(timedelta(hours=9))))
    assert "on 4 December 2026, 17:00 (UTC), 1 hour before it" in read([mark()], submissions=[east]).words


def test_what_was_not_handed_in_is_one_sentence_and_not_a_list_of_failures():
    marks = [mark(exercise=each, status="missing", message="Nothing was handed in.") for each in IDS]
    words = read(marks).words
    assert words.count("Nothing was handed in.") == 1 and "Waiting for you there: bigrams," in words
    assert "Nothing is solved yet." in words and "0 of 100" in words


def test_a_file_that_could_not_be_read_is_named_with_its_reason():
    said = "02_ngram_models.ipynb is a PDF: hand in the notebook itself."
    missing = [mark(exercise=each, status="missing", message=f"Ada B_1/{said}") for each in IDS[:2]]
    words = read([*missing, mark(exercise="workbench.sequences", stem=FIRST)]).words
    assert words.count(said) == 1 and "Nothing was handed in" not in words and "Ada B_1" not in words
    assert "A file that you handed in could not be read" in words and "Nothing is solved" not in words


def test_remarks_of_collecting_are_shown_and_a_thousand_of_them_are_counted():
    notes = ["The cell `ngrams-add-k` was deleted.", *(f"remark {i}" for i in range(1000))]
    words = read([mark()], submissions=[handed(notes=notes)]).words
    assert "The cell ngrams-add-k was deleted." in words and "and 961 more remarks of this kind" in words
    assert "remark 39" not in words


def test_a_question_in_words_has_the_answer_and_the_comment_or_waits():
    came = [handed(stem=FIRST, words={"picture": "Rare words\nare rare."})]
    done = mark(exercise="picture", status="by hand", share=0.75, stem=FIRST, message="Good, and why?")
    words = read([done], submissions=came).words
    for told in ("What does the picture", "Rare words are rare.", "From your teacher Good, and why?", "7.5 of 10"):
        assert told in words
    waiting = read([replace(done, points=None, message="")], submissions=came).words
    assert "waiting for your teacher" in waiting and "1 answer in words is still to be read" in waiting


def test_partial_points_are_explained_and_what_is_not_the_teachers_is_not_said_to_be():
    some = [mark(status="partly", share=0.5, right=6, cases=9), mark(exercise=IDS[1], status="wrong", right=2, cases=9)]
    words = read(some, submissions=[handed()]).words
    assert "Right on 6 of 9 inputs." in words and "each answer is tried on several fresh inputs" in words
    assert "Right on 2 of 9 inputs. An answer that is always the same would do as well" in words
    waits = replace(mark(exercise="picture", status="by hand", stem=FIRST), points=None)
    assert "From your teacher" not in read([waits], submissions=[handed(stem=FIRST)]).words


def test_the_column_out_of_100_and_the_weights_give_the_mark():
    marks = [mark(), mark(exercise=IDS[1], status="wrong"), mark(exercise="workbench.sequences", stem=FIRST)]
    came = [handed(), replace(handed(stem=FIRST), submitted=DEADLINE.astimezone(timezone(timedelta(hours=9))))]
    words = read(marks, submissions=came).words
    assert "10 of 20 50 75 %" in words and "10 of 10 100 25 %" in words and "62.5 of 100" in words
    assert "You handed it in on 4 December 2026, 18:00 (UTC)." in words  # as the deadlines are told, though it has none


def test_solutions_and_hints_are_shown_only_where_the_course_gives_them():
    marks = [mark(status="wrong"), mark(exercise=IDS[1])]
    assert "pairwise(padded)" in read(marks, replace(COURSE, solutions=True), submissions=[handed()]).words
    closed = read(marks, replace(COURSE, hints=False), submissions=[handed()]).words
    assert "Try next" not in closed and "return" not in closed.partition("1. bigrams")[2].lower().replace(
        "return the", ""
    )


def test_markup_colours_and_halves_of_characters_of_a_student_are_shown_and_not_obeyed():
    submission = replace(handed(), student=HOSTILE, notes=(HOSTILE,), words={"picture": HOSTILE})
    course = replace(COURSE, name=HOSTILE, term=HOSTILE)
    marks = [
        mark(HOSTILE, HOSTILE, "error", message=f"`{HOSTILE}` {HOSTILE}", stem=HOSTILE),
        mark(HOSTILE, status="wrong", message=HOSTILE),
        mark(HOSTILE, "picture", "by hand", 0.5, message=HOSTILE),
    ]
    text = feedback_page(HOSTILE, marks, course, submissions=[submission], name=HOSTILE)
    shown = Page(text)
    assert "<script>alert(1)</script></p> \"'& red" in shown.words and "&lt;script&gt;" in text
    assert "\x1b" not in text and "[31m" not in text


def test_output_of_a_megabyte_is_cut():
    text = feedback_page("student-01", [mark(status="error", message="x" * 1_000_000)], COURSE, submissions=[handed()])
    assert len(text) < 20_000 and "(cut here)" in text


@given(st.text(st.characters(exclude_categories=()), max_size=60))
@settings(max_examples=40)
def test_any_text_makes_a_page_that_a_browser_reads(text):
    Page(feedback_page(text, [mark(text, message=text, status="error")], COURSE, submissions=[handed(text)]))


def test_a_page_without_marks_and_one_of_an_exercise_that_is_gone_are_made():
    assert "0 of 100" in read([]).words
    assert "gone" in read([mark(exercise="ngrams.gone", status="wrong")], submissions=[handed()]).words


def test_two_runs_give_the_same_bytes_and_a_date_only_when_told():
    marks = [mark()]
    assert feedback_page("student-01", marks, COURSE) == feedback_page("student-01", marks, COURSE)
    assert "graded on 4 December 2026, 18:00 (UTC)" in read(marks, when=DEADLINE).words


def test_no_two_students_share_a_file_and_no_file_leaves_its_folder():
    odd = [
        "",
        ".",
        "..",
        "../../x",
        "a/b",
        "a\\b",
        "a b",
        "a-b",
        "A-b",
        "con",
        "nul",
        "com1",
        "İ",
        "I",
        "\ud800",
        "x" * 300,
    ]
    names = [file_name(each) for each in odd]
    assert len({name.lower() for name in names}) == len(odd)
    assert all(re.fullmatch(r"[a-z0-9_][A-Za-z0-9_-]*\.html", name) and len(name) < 90 for name in names)
    assert file_name("student-01") == "student-01.html" and file_name("con") != "con.html"


def test_every_share_of_points_gets_a_kind_sentence():
    said = {encouragement(share, 1, 1, 3) for share in (0.1, 0.5, 0.9, 1.0)} | {
        encouragement(0, 0, k, 3) for k in (0, 1)
    }
    assert len(said) == 6 and not any(word in " ".join(said).lower() for word in ("fail", "bad", "wrong", "poor"))


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_text_has_contrast_on_every_ground_in_light_dark_and_print():
    style = Path(feedback.__file__).with_name("pages").joinpath("style.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", each)) for each in re.findall(r":root \{(.*?)\}", style, re.S)
    ]
    assert len(themes) == 3 and "prefers-color-scheme: dark" in style and "@page { size: A4" in style
    for theme in themes:
        for ink in ("ink", "quiet", "link", "good", "bad", "half", "calm"):
            for ground in ("page", "card", "code"):
                pair = sorted((luminance(theme[ink]), luminance(theme[ground])))
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (ink, ground, theme[ground])


@given(st.text(st.characters(exclude_categories=()), max_size=200))
@settings(max_examples=60)
def test_what_is_shown_can_be_written_and_is_shown_again_as_it_is(text):
    shown = page.shown(text)
    shown.encode("utf-8")
    assert page.shown(shown) == shown or "\u036f" >= max(shown) >= "\u0300"


def test_numbers_dates_and_spans_are_told_as_people_do():
    assert [page.number(x) for x in (0, 7.0, 7.25, 99.96)] == ["0", "7", "7.3", "100"]
    assert page.date(DEADLINE.replace(tzinfo=timezone(timedelta(hours=5, minutes=30)))).endswith("(UTC+5:30)")
    assert page.span(timedelta(days=-1)) == "1 day" and page.title_of(STEM) == "02 · ngram models"
