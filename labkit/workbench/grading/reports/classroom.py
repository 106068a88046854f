"""What the marks of a class say together: counted per exercise, per mistake, per notebook, per student."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import numpy as np

from labkit.workbench.checking import Exercise
from labkit.workbench.grading.totals import total_of

GROUPS = {"correct": 0, "partly": 1, "not started": 3, "missing": 3}  # every other status: not right
FAR = 0.3  # share of points by which an exercise must leave its rating's median to be called out of line
FEW = 5  # started answers, below which nothing is said about a rating


@dataclass(frozen=True)
class Answered:
    """How one exercise went: students by group (correct, partly, not right, not started) and shares of points.

    `share` is over all students, `tried` over those who started.
    """

    id: str
    notebook: str
    difficulty: int
    counts: tuple[int, int, int, int]
    share: float
    tried: float

    @property
    def started(self) -> int:
        """How many students started it."""
        return sum(self.counts[:3])


@dataclass(frozen=True)
class Mistake:
    """A known mistake that students made, its message to them, and what helps, taken from the last hint."""

    exercise: str
    name: str
    students: int
    started: int
    message: str
    help: str


@dataclass(frozen=True)
class Lagging:
    """A student who has not started more than half of the exercises."""

    student: str
    unstarted: int
    asked: int
    total: float


def handed(marks: Sequence[Any], submissions: Iterable[Any]) -> list[Any]:
    """Leave out the marks of notebooks that never came or could not be read: they say nothing of an exercise."""
    came = {(mark.student, mark.notebook) for mark in marks if GROUPS.get(mark.status) != 3}
    came |= {(each.student, each.notebook) for each in submissions}
    return [mark for mark in marks if (mark.student, mark.notebook) in came]


def answered(marks: Iterable[Any], known: Mapping[str, Exercise]) -> list[Answered]:
    """Give how each exercise went, the hardest first."""
    by_exercise: dict[str, list[Any]] = defaultdict(list)
    for mark in marks:
        by_exercise[mark.exercise].append(mark)
    found = [_answered(each, some, known.get(each)) for each, some in by_exercise.items()]
    return sorted(found, key=lambda one: (one.share, one.counts[0] / max(1, sum(one.counts)), one.notebook, one.id))


def _answered(exercise_id: str, marks: Sequence[Any], exercise: Exercise | None) -> Answered:
    counts = Counter(GROUPS.get(mark.status, 2) for mark in marks)
    started = [mark for mark in marks if GROUPS.get(mark.status, 2) != 3]
    return Answered(
        exercise_id,
        marks[0].notebook,
        exercise.difficulty if exercise else 0,
        tuple(counts[group] for group in range(4)),
        _share(marks),
        _share(started),
    )


def _share(marks: Sequence[Any]) -> float:
    most = sum(mark.most for mark in marks)
    return sum((mark.points or 0.0 for mark in marks), 0.0) / most if most else 0.0


def mistakes(marks: Iterable[Any], known: Mapping[str, Exercise], went: Iterable[Answered]) -> list[Mistake]:
    """Give the known mistakes that were made, the most common first."""
    makers: dict[tuple[str, str], set[str]] = defaultdict(set)
    said: dict[tuple[str, str], str] = {}
    for mark in marks:
        if mark.mistake:
            makers[mark.exercise, mark.mistake].add(mark.student)
            said[mark.exercise, mark.mistake] = mark.message
    started = {one.id: one.started for one in went}
    found = []
    for (exercise_id, name), students in makers.items():
        exercise = known.get(exercise_id)
        messages = {wrong.name: wrong.message for wrong in exercise.wrong} if exercise else {}
        found.append(
            Mistake(
                exercise_id,
                name,
                len(students),
                started.get(exercise_id, 0),
                messages.get(name, said[exercise_id, name]),
                exercise.hints[-1] if exercise and exercise.hints else "",
            )
        )
    return sorted(found, key=lambda one: (-one.students, one.exercise, one.name))


def out_of_line(went: Sequence[Answered], most: int = 8) -> list[tuple[int, int]]:
    """Give (position, better rating) of exercises whose points fit another rating's better, the strangest first."""
    sound = [one for one in went if one.difficulty and one.started >= FEW]
    medians = {
        d: float(np.median([o.tried for o in sound if o.difficulty == d])) for d in {o.difficulty for o in sound}
    }
    found = []
    for place, one in enumerate(went):
        if one not in sound or abs(one.tried - medians[one.difficulty]) < FAR:
            continue
        nearest = min(medians, key=lambda rating: abs(medians[rating] - one.tried))
        if (nearest > one.difficulty) == (one.tried < medians[one.difficulty]) and nearest != one.difficulty:
            found.append((abs(one.tried - medians[one.difficulty]), place, nearest))
    return [(place, rating) for _, place, rating in sorted(found, reverse=True)[:most]]


def totals_of(marks: Iterable[Any], course: Any) -> dict[str, float]:
    """Give the final mark of each student out of 100, as the gradebook works it out."""
    own: dict[str, list[Any]] = defaultdict(list)
    for mark in marks:
        own[mark.student] += [mark] if mark.notebook in course.notebooks else []
    return {student: total_of(student, "", some, course, 0).total for student, some in own.items()}


def lagging(marks: Iterable[Any], totals: Mapping[str, float], unreadable: Iterable[Any] = ()) -> list[Lagging]:
    """Give the students who have not started more than half of what was asked, those with the least first.

    What lies in an `unreadable` notebook may well have been started, so it is not held against anybody.
    """
    asked, unstarted = Counter(), Counter()
    unread = {(getattr(each, "student", ""), getattr(each, "notebook", "")) for each in unreadable}
    for mark in marks:
        if (mark.student, mark.notebook) in unread and GROUPS.get(mark.status) == 3:
            continue
        asked[mark.student] += 1
        unstarted[mark.student] += GROUPS.get(mark.status) == 3
    found = [Lagging(s, unstarted[s], n, totals.get(s, 0.0)) for s, n in asked.items() if 2 * unstarted[s] > n]
    return sorted(found, key=lambda one: (-one.unstarted / one.asked, one.total, one.student))


def handed_in(
    marks: Iterable[Any], submissions: Iterable[Any], course: Any, students: Sequence[str]
) -> dict[str, tuple[int, int, int, float]]:
    """Give per notebook how many came in time, late, not at all, and the mean share that the late ones lost."""
    came: dict[str, set[str]] = defaultdict(set)
    late: dict[str, dict[str, float]] = defaultdict(dict)
    for mark in marks:
        if GROUPS.get(mark.status) != 3 and mark.status != "by hand":
            came[mark.notebook].add(mark.student)
        if mark.late:
            late[mark.notebook][mark.student] = mark.late
    for each in submissions:
        came[each.notebook].add(each.student)
        deadline, submitted = course.deadlines.get(each.notebook), getattr(each, "submitted", None)
        if deadline and submitted and submitted.tzinfo and submitted.astimezone(UTC) > deadline.astimezone(UTC):
            late[each.notebook].setdefault(each.student, 0.0)
    table = {}
    for notebook in dict.fromkeys([*course.notebooks, *came]):
        slow = late[notebook]
        here = len(came[notebook] | slow.keys())
        lost = float(np.mean(list(slow.values()))) if slow else 0.0
        table[notebook] = (here - len(slow), len(slow), max(0, len(students) - here), lost)
    return table


def labels(students: Iterable[str], names: bool, course: Any, people: Iterable[Any] = ()) -> dict[str, str]:
    """Give what each student is called in the report: by name, or by a number that follows no list of the class.

    `people` are submissions or totals, which may know the full `name` of a `student`.
    """
    if not names:
        salt = f"{course.name} {course.term}"
        code = {s: hashlib.sha256(f"{salt} {s}".encode("utf-8", "surrogatepass")).digest() for s in students}
        return {student: f"student {place}" for place, student in enumerate(sorted(code, key=code.get), start=1)}
    full = {each.student: each.name for each in people if getattr(each, "name", "")}
    return {s: s if full.get(s, s) == s else f"{full[s]} ({s})" for s in students}
