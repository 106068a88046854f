"""The gradebook: one SQLite file that keeps every mark as soon as it is made, and loses none.

Each mark is one transaction, so that a grading which is killed goes on where it was. What is kept is what was found
out (the share of an exercise that was earned); points, weights and lateness follow from the course file when the book
is read, so that a teacher who changes a weight grades nothing anew.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from labkit.workbench.checking import all_exercises
from labkit.workbench.coursefile import Course
from labkit.workbench.grading.bookfile import COLUMNS, closed, opened, transaction, write_row
from labkit.workbench.grading.marks import NOTHING_CAME, Judged, Mark
from labkit.workbench.grading.totals import Total, total_of
from labkit.workbench.marking import Exercise

VERSION = "1"
FOUND = "status, share, mistake, message, seconds, right, cases"


@dataclass(frozen=True)
class Answer:
    """An answer in words: what was written, the points and the comment it got, and the answer that these were for."""

    student: str
    notebook: str
    question: str
    answer: str
    points: float | None
    comment: str
    marked: str


class Gradebook:
    """The marks of a class, in one file that one process at a time has open.

    `exercises` are those of each notebook of the course; without them, all there are. `said` holds sentences about
    what happened when the book was opened.

    Raises:
        ValueError: if another process has it open, or it is the book of another course.
    """

    def __init__(
        self,
        path: str | Path,
        course: Course,
        exercises: dict[str, tuple[Exercise, ...]] | None = None,
        seed: int | None = None,
    ):
        self.path, self.course = Path(path), course
        self.exercises = exercises if exercises is not None else exercises_of(course)
        self._database, damage = opened(self.path)
        self.said = [damage] * bool(damage)
        try:
            self._settle_course()
            self.seed = self._settle_seed(seed)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Gradebook":
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others open the book."""
        closed(self._database)

    def _settle_course(self) -> None:
        known, version = self._fact("course"), self._fact("version")
        if version not in (None, VERSION):
            raise ValueError(f"{self.path} was written by another version of labkit ({version}); choose another --out")
        if known not in (None, self.course.key):
            raise ValueError(
                f"{self.path} is the gradebook of the course {known!r}, and this is {self.course.key!r}; choose another"
                " --out, or move that file away"
            )
        self._remember("course", self.course.key)
        self._remember("version", VERSION)

    def _settle_seed(self, seed: int | None) -> int:
        known = self._fact("seed")
        if seed is None:
            seed = int(known) if known is not None else secrets.randbelow(2**32)
        elif known is not None and int(known) != seed:
            self.said.append(
                f"The secret inputs change from seed {known} to {seed}, so that everything is graded anew."
            )
        self._remember("seed", str(seed))
        return seed

    def _fact(self, name: str) -> str | None:
        row = self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def _remember(self, name: str, value: str) -> None:
        if self._fact(name) != value:
            self._write("facts", [(name, value)])

    def _write(self, table: str, rows: Iterable[tuple]) -> None:
        rows = list(rows)
        with transaction(self._database):
            for row in map(_storable, rows):
                write_row(self._database, table, row)

    def enrol(self, people: Iterable[tuple[str, str, str, dict[str, str]]]) -> None:
        """Note students: key, name, e-mail and the numbers that learning platforms know them by."""
        self._write("students", [(one, name, mail, json.dumps(numbers)) for one, name, mail, numbers in people])

    def hand_in(self, papers: Iterable[tuple[str, str, datetime | None, Iterable[str], str]]) -> None:
        """Note what came: student, notebook, when, what was noticed, and why it cannot be read ("" if it can)."""
        self._write(
            "handed",
            [
                (s, n, when.isoformat() if when else None, json.dumps(list(notes)), why)
                for s, n, when, notes, why in papers
            ],
        )

    def keep(self, student: str, notebook: str, exercise: str, digest: str, judged: Judged) -> None:
        """Keep one mark, in one transaction; it replaces an older one."""
        found = [getattr(judged, name) for name in FOUND.split(", ")]
        self._write("marks", [(student, notebook, exercise, digest, *found)])

    def digests(self) -> dict[tuple[str, str, str], str]:
        """Give what each mark was made from: a mark whose digest is still the same needs no grading."""
        rows = self._database.execute("SELECT student, notebook, exercise, digest FROM marks")
        return {(student, notebook, exercise): digest for student, notebook, exercise, digest in rows}

    def ask_words(self, answers: Iterable[Answer]) -> None:
        """Keep answers in words, with what they got so far."""
        self._write("words", [tuple(vars(answer).values()) for answer in answers])

    def words(self) -> dict[tuple[str, str, str], Answer]:
        """Give the answers in words, by student, notebook and question."""
        rows = self._database.execute(f"SELECT {COLUMNS['words']} FROM words ORDER BY notebook, question, student")
        return {row[:3]: Answer(*row) for row in rows}

    def students(self) -> list[str]:
        """Give everybody who is on the list of the class or has handed in, by name."""
        people = self.people()
        return sorted(people, key=lambda one: (people[one]["name"].casefold(), one))

    def people(self) -> dict[str, dict[str, Any]]:
        """Give name, e-mail and numbers of each student."""
        rows = self._database.execute("SELECT student, name, email, numbers FROM students")
        return {
            s: {"name": name or s, "email": mail, "numbers": json.loads(numbers)} for s, name, mail, numbers in rows
        }

    def notes(self, student: str, notebook: str | None = None) -> list[str]:
        """Give what was noticed about what a student handed in."""
        rows = self._database.execute("SELECT notebook, notes, unreadable FROM handed WHERE student = ?", (student,))
        chosen = [(notes, why) for name, notes, why in sorted(rows) if notebook in (None, name)]
        return [note for notes, why in chosen for note in [*json.loads(notes), *[why] * bool(why)]]

    def submitted(self, student: str, notebook: str) -> datetime | None:
        """Give when a notebook was handed in, if that is known."""
        key = student, notebook
        row = self._database.execute("SELECT submitted FROM handed WHERE student = ? AND notebook = ?", key).fetchone()
        return datetime.fromisoformat(row[0]) if row and row[0] else None

    def _handed(self) -> dict[tuple[str, str], tuple[datetime | None, str]]:
        rows = self._database.execute("SELECT student, notebook, submitted, unreadable FROM handed")
        return {(s, n): (datetime.fromisoformat(when) if when else None, why) for s, n, when, why in rows}

    def marks(self, student: str | None = None, notebook: str | None = None) -> list[Mark]:
        """Give the marks, by student, in the order of the course; what is not there has one too, with 0 points."""
        rows = self._database.execute(f"SELECT student, notebook, exercise, {FOUND} FROM marks")
        found = {row[:3]: Judged(*row[3:]) for row in rows}
        handed, words = self._handed(), self.words()
        chosen = [name for name in self.course.notebooks if notebook in (None, name)]
        people = self.students() if student is None else [student]
        return [mark for one in people for name in chosen for mark in self._marks_of(one, name, found, handed, words)]

    def _marks_of(self, student: str, notebook: str, found: dict, handed: dict, words: dict) -> Iterable[Mark]:
        submitted, why = handed.get((student, notebook), (None, NOTHING_CAME))
        late = self.course.lost(notebook, submitted)
        absent = Judged("missing", message=why or "This answer has not been graded yet.")
        for exercise in self.exercises.get(notebook, ()):
            judged = found.get((student, notebook, exercise.id), absent)
            yield judged.mark(student, notebook, exercise.id, self.course.points_of(exercise), late)
        for question in self.course.manual.get(notebook, ()):
            answer = words.get((student, notebook, question.id))
            if answer is None or (answer.points is None and not answer.answer.strip()):
                status = "missing" if (student, notebook) not in handed or why else "not started"
                message = absent.message if status == "missing" else "There is no answer yet."
                yield Mark(student, notebook, question.id, 0.0, question.points, status, message=message, late=late)
            else:
                points, said = _at_most(answer.points, question.points), answer.comment
                yield Mark(student, notebook, question.id, points, question.points, "by hand", message=said, late=late)

    def by_student(self) -> dict[str, list[Mark]]:
        """Give the marks of each student, by name."""
        found: dict[str, list[Mark]] = {one: [] for one in self.students()}
        for mark in self.marks():
            found[mark.student].append(mark)
        return found

    def totals(self) -> list[Total]:
        """Give what each student gets in all, by name."""
        people = self.people()
        theirs = set(self.course.notebooks)  # the course file may have had another notebook before
        read = [student for (student, name), (_, why) in self._handed().items() if name in theirs and not why]
        return [
            total_of(one, people[one]["name"], own, self.course, read.count(one))
            for one, own in self.by_student().items()
            if one in people
        ]


def exercises_of(course: Course) -> dict[str, tuple[Exercise, ...]]:
    """Give the exercises of each notebook of a course that are worth points."""
    known = [exercise for exercise in all_exercises() if course.points_of(exercise) > 0]
    return {name: tuple(e for e in known if e.notebook == name) for name in course.notebooks}


def _at_most(points: float | None, most: float) -> float | None:
    """Points that were given when a question was worth more are not more than it is worth now."""
    return None if points is None else min(points, most)


def _storable(row: tuple) -> tuple:
    """Half a character, which a broken file name or answer may hold, has no place in a file of text."""
    return tuple(v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in row)
