"""What a student gets in all: points, less what lateness costs, by notebook and weighted over the course."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from math import fsum

from labkit.workbench.coursefile import Course
from labkit.workbench.grading.marks import Mark


@dataclass(frozen=True)
class Total:
    """What a student gets, in percent: for each notebook, and `total` over the course by its weights.

    `late` is how many of these percent lateness has cost. `open` answers in words wait for their teacher, so that the
    total may still rise. `handed_in` notebooks came and could be read.
    """

    student: str
    name: str
    notebooks: dict[str, float]
    total: float
    late: float
    open: int
    handed_in: int


def total_of(student: str, name: str, marks: Iterable[Mark], course: Course, handed_in: int) -> Total:
    """Add up the marks of one student; a notebook without anything to earn does not count."""
    by_notebook = {notebook: [] for notebook in course.notebooks}
    marks = list(marks)
    for mark in marks:
        by_notebook[mark.notebook].append(mark)
    most = {notebook: fsum(mark.most for mark in own) for notebook, own in by_notebook.items()}
    # The total is worked out from the percentages as they are shown, so that whoever adds them up gets it too.
    final = {n: _percent((mark.final for mark in own), most[n]) for n, own in by_notebook.items()}
    whole = {n: _percent((mark.points or 0.0 for mark in own), most[n]) for n, own in by_notebook.items()}
    weights = {n: course.weights.get(n, 0.0) * (most[n] > 0) for n in course.notebooks}
    scale = sum(weights.values()) or 1.0
    total = rounded(sum(final[n] * weights[n] for n in weights) / scale)
    before = rounded(sum(whole[n] * weights[n] for n in weights) / scale)
    waiting = sum(mark.open for mark in marks)
    return Total(student, name, final, total, rounded(before - total), waiting, handed_in)


def rounded(percent: float) -> float:
    """Round to two digits as one does on paper: half a hundredth goes up, for everybody.

    >>> rounded(84.995), rounded(2.675), rounded(0.125)
    (85.0, 2.68, 0.13)
    """
    return float(Decimal(f"{percent:.9f}").quantize(Decimal("0.01"), ROUND_HALF_UP))


def _percent(points: Iterable[float], most: float) -> float:
    return rounded(100.0 * fsum(points) / most) if most else 0.0
