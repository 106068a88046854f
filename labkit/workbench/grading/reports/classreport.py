"""One page for the teacher: what was hard, which mistakes were common, who may need help, what could not be read."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import numpy as np

from labkit.workbench.checking import Exercise
from labkit.workbench.grading.reports import classroom, lookalikes, page
from labkit.workbench.grading.reports.feedback import exercises_of, solution_of
from labkit.workbench.grading.reports.wordings import wording

TOP = 20  # rows of a table that are seen at once; the others are behind "and … more"
TOP_MISTAKES = 15
MOST_NOTES = 200
MOST_PAIRS = 30
STOPPED = ("timeout", "memory", "crashed", "refused")
LIMITS = {
    "page": page,
    "top": TOP,
    "top_mistakes": TOP_MISTAKES,
    "most_notes": MOST_NOTES,
    "most_pairs": MOST_PAIRS,
    "sharing": lookalikes.MOST_SHARING,
}


def class_report(
    marks: Any,
    course: Any,
    *,
    submissions: Iterable[Any] = (),
    unreadable: Iterable[Any] = (),
    totals: Mapping[str, float] | None = None,
    names: bool = True,
    exercises: Mapping[str, Exercise] | None = None,
    when: datetime | None = None,
) -> str:
    """Give the HTML page on the whole class; it needs no other file and runs no script.

    `marks` are marks or a gradebook. `submissions` tell when each came, what was noticed, and which answers are alike;
    `unreadable` what could not be read. With `names=False` students have numbers, and nothing that they or their
    files are called is on the page.
    """
    book, marks = (marks, list(marks.marks())) if hasattr(marks, "marks") else (None, list(marks))
    submissions, unreadable = list(submissions), list(unreadable)
    if totals is None:
        whole = {each.student: each.total for each in book.totals()} if book else {}
        totals = whole or classroom.totals_of(marks, course)
    students = sorted({mark.student for mark in marks} | {each.student for each in submissions} | set(totals))
    if book and not submissions:
        submissions = _from_book(book, students, dict.fromkeys(mark.notebook for mark in marks))
    people = [*submissions, *unreadable, *(book.totals() if book else ())]
    called = classroom.labels(students, names, course, people)
    values = _values(marks, course, submissions, unreadable, totals, called, names, exercises)
    head = {"course": course, "names": names, "when": page.date(when) if when else ""}
    return page.render("class_report.html", head | values | LIMITS)


def _values(
    marks: list[Any], course: Any, submissions: list[Any], unreadable: list[Any], totals: Mapping[str, float],
    called: Mapping[str, str], names: bool, exercises: Mapping[str, Exercise] | None,
) -> dict[str, Any]:  # fmt: skip
    """Everything on the page that is counted from the marks and from what was handed in."""
    checked = _checked(marks, course)
    came = classroom.handed(checked, submissions)
    known = exercises_of(checked, course) if exercises is None else exercises
    went = classroom.answered(came, known)
    made = classroom.mistakes(checked, known, went)
    lagging = classroom.lagging(checked, totals, unreadable)
    handed = classroom.handed_in(
        marks, [*submissions, *(each for each in unreadable if getattr(each, "notebook", ""))], course, list(called)
    )
    return {
        "count": _counts(list(called), submissions, unreadable, went, totals, handed),
        "todo": _to_do(lagging, unreadable, sum(mark.open for mark in marks)),
        "lecture": _lecture(went, made, known),
        "tasks": {each.id: each.statement for each in known.values()},
        "went": went,
        "made": made,
        "odd": [(went[place], rating) for place, rating in classroom.out_of_line(went)],
        "handed": handed,
        "lagging": lagging,
        "called": called,
        "unreadable": [_unreadable(each, called, names) for each in unreadable],
        "notes": [*_stopped(checked, called), *_notes(submissions, called)] if names else [],
        "noted": sum(bool(getattr(each, "notes", ())) for each in submissions),
        "pairs": _pairs(submissions, checked, known),
        "compared": any(getattr(each, "answers", None) for each in submissions),
        "figures": _figures(went, made, totals, handed, len(called)),
    }


def _checked(marks: Iterable[Any], course: Any) -> list[Any]:
    """The marks of exercises, without those of questions in words."""
    asked = {question.id for questions in course.manual.values() for question in questions}
    return [mark for mark in marks if mark.status != "by hand" and mark.exercise not in asked]


def _from_book(book: Any, students: Sequence[str], notebooks: Iterable[str]) -> list[SimpleNamespace]:
    """What a gradebook knows of the submissions, when they themselves are not at hand."""
    found = []
    for notebook in notebooks:
        for student in students:
            submitted, notes = book.submitted(student, notebook), tuple(book.notes(student, notebook))
            if submitted is not None or notes:
                each = SimpleNamespace(student=student, notebook=notebook, submitted=submitted, notes=notes, answers={})
                found.append(each)
    return found


def _counts(
    students: Sequence[str],
    submissions: Sequence[Any],
    unreadable: Sequence[Any],
    went: Sequence[classroom.Answered],
    totals: Mapping[str, float],
    handed: Mapping[str, tuple[int, int, int, float]],
) -> dict[str, str]:
    """The figures on top of the page, in words and numbers."""
    whole = max(sum(in_time + late for in_time, late, _, _ in handed.values()), len(submissions))
    counts = {
        "student" if len(students) == 1 else "students": f"{len(students):,}",
        "notebook handed in" if whole == 1 else "notebooks handed in": f"{whole:,}",
        "exercise" if len(went) == 1 else "exercises": f"{len(went):,}",
        "median mark of 100": page.number(float(np.median(list(totals.values())))) if totals else "–",
        "could not be read": f"{len(unreadable):,}",
    }
    return counts


def _to_do(lagging: Sequence[Any], unreadable: Sequence[Any], waiting: int) -> list[tuple[str, str]]:
    """What a teacher has to do now, one sentence each, and the section that says more."""
    said = []
    if unreadable:
        files = page.counted(len(unreadable), "file")
        said.append(
            (f"{files} could not be read: ask for {'it' if len(unreadable) == 1 else 'them'} again.", "unreadable")
        )
    if waiting:
        answers = f"{page.counted(waiting, 'answer')} in words {'wait' if waiting > 1 else 'waits'}"
        said.append((f"{answers} to be read by you: fill in by_hand.csv and grade once more.", ""))
    if lagging:
        have = f"{page.counted(len(lagging), 'student')} {'have' if len(lagging) > 1 else 'has'}"
        said.append((f"{have} left more than half of the exercises untouched and may need help.", "help"))
    return said


def _lecture(
    went: Sequence[classroom.Answered], made: Sequence[classroom.Mistake], known: Mapping[str, Exercise]
) -> list[tuple[str, str]]:
    """What is worth ten minutes of the next lecture, one sentence each, and the section that says more."""
    said = []
    if went and went[0].counts[0] < sum(went[0].counts):
        one = went[0]
        right = f"{one.counts[0]} of {page.counted(sum(one.counts), 'student')} who handed in got it right"
        task = f": {page.brief(known[one.id].statement, 160)}" if one.id in known else ""
        said.append((f"Hardest was `{one.id}` ({right}){task}", "hard"))
    for one, place in zip(made[:3], ("The most", "The second most", "The third most"), strict=False):
        by = f"made by {one.students} of {page.counted(one.started, 'student')} who tried"
        said.append((f"{place} common mistake was “{one.name}” in `{one.exercise}`, {by}.", "mistakes"))
    return said


def _unreadable(each: Any, called: Mapping[str, str], names: bool) -> tuple[str, str, str]:
    """Student, file and reason; where names are kept out, nothing of them."""
    if not names:
        return "", "", ""
    if isinstance(each, str):
        return "", "", each
    path = getattr(each, "path", None)
    file, student = getattr(path, "name", str(path or "")), getattr(each, "student", "")
    reason = page.about_file(getattr(each, "reason", str(each))).removeprefix(file)
    return called.get(student, student), file, reason.strip(" :,")


def _stopped(marks: Iterable[Any], called: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Answers that had to be stopped or gave nothing that can be read: rarely on purpose, and worth a look."""
    return [
        (called[mark.student], mark.notebook, f"`{mark.exercise}` {wording(mark.status).words}: {mark.message}")
        for mark in marks
        if mark.status in STOPPED
    ]


def _notes(submissions: Iterable[Any], called: Mapping[str, str]) -> list[tuple[str, str, str]]:
    return [
        (called[each.student], each.notebook, page.shown(note, 300))
        for each in submissions
        for note in getattr(each, "notes", ())
    ]


def _pairs(submissions: Sequence[Any], marks: Iterable[Any], known: Mapping[str, Exercise]) -> list[lookalikes.Pair]:
    solutions = {name: source for name, exercise in known.items() if (source := solution_of(exercise))}
    statuses = {(mark.student, mark.exercise): mark.status for mark in marks}
    with_answers = [each for each in submissions if getattr(each, "answers", None)]
    return lookalikes.alike(with_answers, statuses, solutions)


def _figures(*counted: Any) -> dict[str, Any]:
    """The pictures of the page as HTML, in the look of the course."""
    import matplotlib
    from markupsafe import Markup

    from labkit.figures import style

    with matplotlib.rc_context(style.theme()):
        drawn = {name: Markup(style.html(ax)) for name, ax in _drawn(*counted).items()}
    return dict.fromkeys(("hard", "mistakes", "totals", "difficulty", "handed"), "") | drawn


def _drawn(
    went: Sequence[classroom.Answered],
    made: Sequence[classroom.Mistake],
    totals: Mapping[str, float],
    handed: Mapping[str, tuple[int, int, int, float]],
    students: int,
) -> dict[str, Any]:
    """The pictures of the page; where there is nothing to draw there is none."""
    from labkit.figures import grading

    rated = [one for one in went if one.difficulty and one.started]
    places = {one.id: place for place, one in enumerate(rated)}
    odd = [places[went[place].id] for place, _ in classroom.out_of_line(went)]
    drawn = {}
    if went:
        names, counts = [page.shown(one.id) for one in went], [one.counts for one in went]
        drawn["hard"] = grading.draw_hard_exercises(names, counts, most=TOP)
    if made:
        said = [page.shown(f"{one.name} · {one.exercise}") for one in made]
        drawn["mistakes"] = grading.draw_mistakes(said, [one.students for one in made], students, most=TOP_MISTAKES)
    if totals:
        drawn["totals"] = grading.draw_totals(list(totals.values()))
    if rated:
        ratings, shares = [one.difficulty for one in rated], [one.tried for one in rated]
        drawn["difficulty"] = grading.draw_difficulty([page.shown(one.id) for one in rated], ratings, shares, odd)
    if handed and students:
        table = [row[:3] for row in handed.values()]
        drawn["handed"] = grading.draw_handed_in([page.title_of(page.shown(stem)) for stem in handed], table)
    return drawn
