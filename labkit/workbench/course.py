"""What a course is: which notebooks, what each counts, until when, what lateness costs, whose numbers are whose."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

POINTS_PER_DIFFICULTY = 10.0


@dataclass(frozen=True)
class LateRule:
    """What lateness costs: after `grace` minutes a share `per_day` for each begun day, never more than `most`."""

    per_day: float = 0.0
    grace: int = 0
    most: float = 1.0

    def lateness(self, submitted: datetime, deadline: datetime) -> float:
        """Give the share of the points that is kept: 1 in time, and less by `per_day` for each begun day.

        A day goes by the clock on the wall where the deadline was set, so it has 23 or 25 hours when clocks change.

        Raises:
            ValueError: if one of the two has no time zone.
        """
        for name, moment in (("submitted", submitted), ("deadline", deadline)):
            if moment.utcoffset() is None:
                raise ValueError(f"{name} is {moment.isoformat()}, without a time zone; add one, as in +01:00")
        days = days_late(submitted.astimezone(UTC) - timedelta(minutes=self.grace), deadline)
        # Written with ten digits, so that 3 days of 0.1 keep 0.7 and not 0.7000000000000001.
        return round(max(0.0, 1.0 - min(days * self.per_day, self.most)), 10)


def days_late(submitted: datetime, deadline: datetime) -> int:
    """Give how many days have begun between a deadline and a submission; 0 in time, to the second."""
    submitted = submitted.astimezone(UTC)
    late = submitted - deadline.astimezone(UTC)  # between two moments of one zone Python would forget the hour
    if late <= timedelta(0):
        return 0
    days = max(1, late // timedelta(days=1))  # by hours; by the clock on the wall it may be one more
    while (deadline + timedelta(days=days)).astimezone(UTC) < submitted:
        days += 1
    return days


@dataclass(frozen=True)
class Manual:
    """A question that is answered in words and graded by hand; it comes after the cell `after` of its notebook."""

    notebook: str
    id: str
    question: str
    points: float
    after: str

    @property
    def asked(self) -> str:
        """The id of the cell with the question."""
        return f"question-{self.id}"

    @property
    def cell(self) -> str:
        """The id of the cell for the answer."""
        return f"answer-{self.id}"


@dataclass(frozen=True)
class Course:
    """A course as its teacher wrote it down; `weights` add up to 1, `deadlines` have time zones.

    `points` holds what the course file says; `points_of` knows the rest. `seeds` is "same" or "student": whether
    numbers differ per student. `solutions` and `hints` say whether labkit.solution and labkit.hint answer.
    """

    name: str
    term: str
    notebooks: tuple[str, ...]
    weights: Mapping[str, float]
    deadlines: Mapping[str, datetime] = field(default_factory=dict)
    late: LateRule = LateRule()
    points: Mapping[str, float] = field(default_factory=dict)
    solutions: bool = True
    hints: bool = True
    seeds: str = "same"
    manual: Mapping[str, tuple[Manual, ...]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What tells this course from another and this term from the next."""
        return " · ".join(filter(None, [self.name, self.term]))

    def points_of(self, exercise: Any) -> float:
        """Give the points of an exercise: what the course file says, else ten for each star of difficulty."""
        return self.points.get(exercise.id, POINTS_PER_DIFFICULTY * exercise.difficulty)

    def kept(self, notebook: str, submitted: datetime | None) -> float:
        """Give the share of the points that is kept; all of it without a deadline or without a date."""
        deadline = self.deadlines.get(notebook)
        return 1.0 if deadline is None or submitted is None else self.late.lateness(submitted, deadline)

    def lost(self, notebook: str, submitted: datetime | None) -> float:
        """Give the share of the points that lateness costs."""
        return round(1.0 - self.kept(notebook, submitted), 10)


def default_course(notebooks: Iterable[str] = (), name: str = "") -> Course:
    """Give the course that there is without a course file: all counts the same, no deadlines, everything answers."""
    stems = tuple(notebooks)
    return Course(name, "", stems, scaled(dict.fromkeys(stems, 1.0)))


def scaled(weights: Mapping[str, float]) -> dict[str, float]:
    """Give weights that add up to 1, unless all are 0."""
    total = sum(weights.values()) or 1.0
    return {notebook: weight / total for notebook, weight in weights.items()}


def normalised(student: str) -> str:
    """Give a student's name or number so that spaces, capitals and ways to type an accent make no difference."""
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", student).casefold()).split())


def seed_of(course: Course | str, student: str, exercise_id: str = "") -> int:
    """Give the seed of a student's numbers in one exercise: the same in every process, on every machine.

    It is 0, the numbers of the page, where all have the same or no student is named. `course` may be its `key`.
    """
    student = normalised(student)
    if not student or (isinstance(course, Course) and course.seeds != "student"):
        return 0
    key = course.key if isinstance(course, Course) else course
    digest = sha256("\0".join([key, student, exercise_id]).encode()).digest()
    return 1 + int.from_bytes(digest[:8], "big") % (2**32 - 1)
