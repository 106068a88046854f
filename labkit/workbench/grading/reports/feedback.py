"""One page of feedback for one student: what was right, what was not and why, what to try next."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from labkit.workbench.checking import Exercise, find
from labkit.workbench.grading.marks import NOTHING_CAME
from labkit.workbench.grading.reports import page
from labkit.workbench.grading.reports.wordings import Wording, encouragement, reached, wording
from labkit.workbench.grading.totals import total_of

MOST_NOTES = 40  # a broken notebook can give a note for every cell
LONGEST_MESSAGE = 2_000
RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)\d")  # no file on Windows may be called so
UNREAD = "could not be read"
LONGEST_ANSWER = 6_000  # of an answer in words


@dataclass(frozen=True)
class Card:
    """One exercise or question on the page, with everything in words."""

    name: str
    id: str
    statement: str
    wording: Wording
    earned: str
    message: str = ""
    hint: str = ""
    answer: str = ""  # the student's own words
    comment: bool = False  # the message is the teacher's
    solution: str = ""


@dataclass(frozen=True)
class Chapter:
    """One notebook on the page; `final` and `most` are points after and before the late rule."""

    title: str
    cards: tuple[Card, ...]
    notes: tuple[str, ...]
    lateness: str
    earned: float
    final: float
    most: float
    weight: float
    solved: str
    handed_in: str
    absent: bool

    @property
    def share(self) -> float:
        """The mark of the notebook, out of 100."""
        return 100 * self.final / self.most if self.most else 0.0


def feedback_page(
    student: str,
    marks: Iterable[Any],
    course: Any,
    *,
    submissions: Iterable[Any] = (),
    total: float | None = None,
    name: str = "",
    exercises: Mapping[str, Exercise] | None = None,
    when: datetime | None = None,
) -> str:
    """Give the HTML page for one student, by `name` where it is known; it needs no other file and runs no script.

    `submissions` are what this student handed in (`notebook`, `submitted`, `notes`, `words`); `total` is the final mark
    out of 100, computed from the marks and the weights of the course where it is not given.
    """
    mine = [mark for mark in marks if mark.student == student]
    known = exercises_of(mine, course) if exercises is None else exercises
    handed = {each.notebook: each for each in submissions if getattr(each, "student", student) == student}
    there = {mark.notebook for mark in mine} | set(handed)  # a notebook without anything to earn may be neither
    named = dict.fromkeys([*(stem for stem in course.notebooks if stem in there), *(mark.notebook for mark in mine)])
    chapters = [
        _chapter([m for m in mine if m.notebook == stem], course, handed.get(stem), stem, known) for stem in named
    ]
    whole = total_of(student, name, [m for m in mine if m.notebook in course.notebooks], course, 0).total
    share = (whole if total is None else total) / 100
    correct, waiting = sum(m.status == "correct" for m in mine), sum(m.open for m in mine)
    started = sum(m.status not in ("not started", "missing") for m in mine)
    unread = any(chapter.handed_in == UNREAD for chapter in chapters)
    values = {
        "student": name or student,
        "course": course,
        "chapters": chapters,
        "total": 100 * share,
        "sentence": encouragement(share, correct, started, len(mine), unread),
        "weighed": len({chapter.weight for chapter in chapters}) > 1,
        "marked": any(chapter.cards and not chapter.absent for chapter in chapters),
        "waiting": waiting,
        "when": page.date(when) if when else "",
    }
    return page.render("feedback.html", values)


def file_name(student: str) -> str:
    """Give a safe name for a student's page: nothing of a path is left, and no two students get the same.

    >>> file_name("student-01"), file_name("../../etc")
    ('student-01.html', 'etc-74ccf3c5.html')
    """
    plain = unicodedata.normalize("NFKD", page.shown(student)).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-")[:60]
    if words and words == student == student.lower() and not RESERVED.fullmatch(words):  # A and a may be one file
        return f"{words}.html"
    code = hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{words.lower() or 'student'}-{code}.html"


def exercises_of(marks: Iterable[Any], course: Any) -> dict[str, Exercise]:
    """Give the exercises that marks are about, by id; questions in words and what the course no longer has are not."""
    asked = {question.id for questions in course.manual.values() for question in questions}
    ids = {mark.exercise for mark in marks if mark.status != "by hand"} - asked
    return {each: exercise for each in sorted(ids) if (exercise := known_exercise(each)) is not None}


@cache
def known_exercise(exercise_id: str) -> Exercise | None:
    """Give the exercise with this id, or None if the course has none."""
    try:
        return find(exercise_id)
    except ValueError:
        return None


def _chapter(marks: list[Any], course: Any, handed: Any, stem: str, known: Mapping[str, Exercise]) -> Chapter:
    questions = {question.id: question for question in course.manual.get(stem, ())}
    words = getattr(handed, "words", None) or {}
    cards = tuple(
        _question(mark, questions.get(mark.exercise), words.get(mark.exercise, ""))
        if mark.status == "by hand" or mark.exercise in questions
        else _card(mark, known.get(mark.exercise), course)
        for mark in marks
    )
    notes = [page.shown(note, 300) for note in getattr(handed, "notes", ())]
    if len(notes) > MOST_NOTES:
        notes = [*notes[:MOST_NOTES], f"… and {page.counted(len(notes) - MOST_NOTES, 'more remark')} of this kind."]
    short, sentence = _lateness(marks, course, handed, stem)
    solved = sum(mark.status == "correct" or (mark.status == "by hand" and not mark.open) for mark in marks)
    return Chapter(
        title=page.title_of(stem),
        cards=cards,
        notes=tuple(notes),
        lateness=sentence,
        earned=sum((mark.points or 0.0 for mark in marks), 0.0),
        final=sum((mark.final for mark in marks), 0.0),
        most=sum((mark.most for mark in marks), 0.0),
        weight=course.weights.get(stem, 0.0),
        solved=f"{solved} of {len(marks)}",
        handed_in=short,
        absent=handed is None and not _answered(marks),
    )


def _card(mark: Any, exercise: Exercise | None, course: Any) -> Card:
    how, done = wording(mark.status), mark.status == "correct"
    said = page.shown(mark.message, LONGEST_MESSAGE)
    hints = exercise.hints if exercise and course.hints and not done else ()
    advice = "" if said and how.tone == "open" else how.advice
    return Card(
        name=mark.exercise.partition(".")[2].replace("_", " ") or mark.exercise,
        id=mark.exercise,
        statement=exercise.statement if exercise else "",
        wording=how,
        earned=_points(mark),
        message="\n".join(filter(None, [said, reached(mark.right, mark.cases, mark.points or 0.0), advice])),
        hint=hints[0] if hints else "",
        solution=solution_of(exercise) if exercise and course.solutions and not done else "",
    )


def _question(mark: Any, question: Any, answer: str) -> Card:
    how = wording("waiting" if mark.open else mark.status)
    return Card(
        name="a question in words",
        id="",
        statement=question.question if question else f"Question {mark.exercise}",
        wording=how,
        earned=f"up to {page.number(mark.most)} points" if mark.open else _points(mark),
        message=page.shown(mark.message, LONGEST_MESSAGE) or how.advice,
        answer=page.shown(answer, LONGEST_ANSWER),
        comment=bool(mark.message) and mark.status == "by hand",
    )


def _points(mark: Any) -> str:
    return f"{page.number(mark.points or 0.0)} of {page.number(mark.most)} points"


def solution_of(exercise: Exercise) -> str:
    """Give the source of the worked solution; "" for one that was made by a function of its own, and stands nowhere."""
    from labkit.workbench.showing import source_of

    try:
        return source_of(exercise.solution)
    except ValueError:
        return ""


def _lateness(marks: list[Any], course: Any, handed: Any, stem: str) -> tuple[str, str]:
    """Two or three words for the table, and sentences that explain: the deadline, when it came, what that cost."""
    deadline, lost = course.deadlines.get(stem), max((mark.late or 0.0 for mark in marks), default=0.0)
    submitted = getattr(handed, "submitted", None)
    until = f"The deadline was {page.date(deadline)}." if deadline else ""
    rule = f", {page.percent(course.late.per_day)} for each day that had begun" if course.late.per_day < lost else ""
    cost = f"{page.percent(lost)} of the points of this notebook were taken off{rule}." if lost else ""
    if submitted is None:
        if handed is None and not _answered(marks):
            why = next((mark.message for mark in marks if mark.message), NOTHING_CAME)
            return ("not handed in" if why == NOTHING_CAME else UNREAD), f"{until} {page.about_file(why)}".strip()
        return ("late" if lost else "handed in"), " ".join(filter(None, [until, cost]))
    if deadline is None:
        zone = next((each.tzinfo for each in course.deadlines.values()), submitted.tzinfo)
        own = submitted.astimezone(zone) if submitted.tzinfo else submitted
        return "handed in", f"You handed it in on {page.date(own)}."
    submitted = submitted.astimezone(deadline.tzinfo) if submitted.tzinfo else submitted.replace(tzinfo=deadline.tzinfo)
    came = f"You handed it in on {page.date(submitted)}"
    after = submitted.astimezone(UTC) - deadline.astimezone(UTC)  # in one zone Python would forget a changed clock
    if after <= timedelta(0):
        return "in time", f"{until} {came}, {page.span(after)} before it."
    free = "That little does not count: nothing was taken off."
    return (
        f"{page.span(after)} late",
        f"{until} {came}, {page.span(after)} after it. {cost or free}",
    )


def _answered(marks: list[Any]) -> bool:
    return any(mark.status not in ("not started", "missing") for mark in marks)
