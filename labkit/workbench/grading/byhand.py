"""Answers in words: written to a table for the teacher, read again with points in it, and merged without loss."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from labkit.workbench.coursefile import Course
from labkit.workbench.grading.cells import read_table, safe, unsafe, write_table
from labkit.workbench.grading.gradebook import Answer, Gradebook
from labkit.workbench.names import nearest

HEADER = ("student", "name", "notebook", "question", "asked", "answer", "points", "most", "comment", "note")
NEEDED = ("student", "notebook", "question", "points")
CHANGED = "The answer has changed since these points were given."


def write_by_hand(path: Path, book: Gradebook) -> int:
    """Write the table of answers in words, with the points they have so far; give how many still wait."""
    people, questions = book.people(), _questions(book.course)
    answers = [a for a in book.words().values() if (a.notebook, a.question) in questions and a.student in people]
    wanted = [answer for answer in answers if answer.answer.strip() or answer.points is not None]
    rows = []
    for answer in wanted:
        asked = questions[answer.notebook, answer.question]
        note = CHANGED if answer.points is not None and answer.marked != answer.answer else ""
        name, points = people[answer.student]["name"], answer.points
        who = answer.student, name, answer.notebook, answer.question, asked.question, answer.answer
        rows.append((*who, points, asked.points, answer.comment, note))
    write_table(path, HEADER, rows)
    return sum(answer.points is None for answer in wanted)


def read_by_hand(
    path: Path, course: Course, students: Iterable[str]
) -> dict[tuple[str, str, str], tuple[float | None, str]]:
    """Read the points that a teacher has filled in: points and comment by student, notebook and question.

    Raises:
        ValueError: with every line that cannot be: what stands there, what was expected.
    """
    header, rows = read_table(path)
    columns = {name.strip().casefold(): place for place, name in enumerate(header)}
    absent = [name for name in NEEDED if name not in columns]
    if absent:
        raise ValueError(f"{path.name} has no column {', '.join(absent)}; its first line should be: {','.join(HEADER)}")
    known = {safe(student).strip(): student for student in students}
    found, problems = {}, []
    for line, row in rows:
        cells = {name: row[place] if place < len(row) else "" for name, place in columns.items()}
        try:
            entry = _entry(cells, course, known)
            if entry and found.get(entry[0], entry[1]) != entry[1]:
                raise ValueError(f"{cells['student']} has other points for {cells['question']} further up; keep one")
            found |= [entry] if entry else []
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    if problems:
        more = f"; and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise ValueError(f"{path.name}, {'; '.join(problems[:20])}{more}. Nothing was taken from it.")
    return found


def _entry(
    cells: Mapping[str, str], course: Course, known: Mapping[str, str]
) -> tuple[tuple[str, str, str], tuple[float | None, str]] | None:
    comment = unsafe(cells.get("comment", ""))
    if not cells["points"] and not comment:
        return None
    questions = _questions(course)
    place = cells["notebook"], cells["question"]
    if place not in questions:
        names = [" / ".join(pair) for pair in questions]
        guess = nearest(" / ".join(place), names)
        hint = f"; did you mean {guess!r}?" if guess else ""
        raise ValueError(f"there is no question {place[1]!r} in {place[0]!r}{hint}")
    points = _points(cells["points"], questions[place].points) if cells["points"] else None
    return (_student(cells["student"], known), *place), (points, comment)


def _student(written: str, known: Mapping[str, str]) -> str:
    if written in known:
        return known[written]
    # A spreadsheet makes 7 of 007.
    alike = [s for s in known.values() if written.isdecimal() and s.isdecimal() and int(s) == int(written)]
    if len(alike) == 1:
        return alike[0]
    guess = nearest(written, known)
    hint = f"; did you mean {guess!r}?" if guess else ""
    raise ValueError(f"there is no student {written!r}{hint}")


def _points(written: str, most: float) -> float:
    try:
        points = float(written.replace(",", ".", 1) if written.count(",") == 1 else written)
    except ValueError:
        points = math.nan
    if not 0 <= points <= most:
        raise ValueError(f"points are {written!r}; a number from 0 to {most:g} was expected")
    return points


def _questions(course: Course) -> dict[tuple[str, str], object]:
    return {(name, one.id): one for name, several in course.manual.items() for one in several}


def merge_words(
    book: Gradebook,
    written: Mapping[tuple[str, str, str], str],
    points: Mapping[tuple[str, str, str], tuple[float | None, str]],
) -> None:
    """Put new answers and new points into the book; points that an answer has already stay until others come."""
    known = book.words()
    changed = []
    for place in {**written, **points}:
        before = known.get(place, Answer(*place, answer="", points=None, comment="", marked=""))
        after = replace(before, answer=written.get(place, before.answer))
        if place in points and points[place][0] is None:  # a remark, and the points are still to come
            after = replace(after, comment=points[place][1])
        elif place in points and points[place] != (before.points, before.comment):
            # These points were given for the answer that stood in the table, which is the one the book knows.
            after = replace(after, points=points[place][0], comment=points[place][1], marked=before.answer)
            after = replace(after, marked=after.answer) if place not in known else after
        if after != before:
            changed.append(after)
    book.ask_words(changed)
