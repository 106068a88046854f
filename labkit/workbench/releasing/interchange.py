"""What nbgrader reads: the metadata of its cells (schema 3), and the cell that gives the points of an answer.

An exercise becomes two cells: the answer (`solution`) and after it a locked cell of one line (`grade`) whose value is
the points, partial ones too. nbgrader reads that value; it needs no tests hidden in the notebook.
"""

import contextlib
import hashlib
import io
import warnings
from typing import Any

from labkit.workbench.marking import Exercise

SCHEMA = 3
FRESH = 7919  # a seed that no check of the notebook comes to


class Points(float):
    """Points earned `of` the most there are; shown as the plain number, which is what nbgrader reads."""

    def __new__(cls, earned: int | float, of: int | float, begun: bool = True) -> "Points":
        """Make the number, with the most beside it and whether there is an answer at all."""
        made = super().__new__(cls, earned)
        made.of, made.begun = of, begun
        return made

    def __repr__(self) -> str:
        return f"{float(self):g}"

    def _repr_html_(self) -> str:
        return f"{float(self):g} of {self.of:g} points" if self.begun else f"{self.of:g} points to earn"


def points(exercise: str | Exercise, answer: Any, of: int | float | None = None) -> Points:
    """Give the points of an answer, `of` at most (default: 10 for each star of difficulty); partly right earns a part.

    What the answer prints or warns is swallowed: nbgrader takes a word on the error stream for a failure.

    Raises:
        ValueError: if there is no such exercise.
    """
    from labkit.workbench import checking, credit, marking, personal

    exercise = exercise if isinstance(exercise, Exercise) else checking.find(exercise)
    most = 10.0 * exercise.difficulty if of is None else float(of)
    seed = personal.seed_here(exercise) if exercise.kind == "value" else FRESH
    quiet = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        warnings.simplefilter("ignore")
        verdict = marking.mark(exercise, answer, seed)
        share = credit.credit(verdict, marking.key_of(exercise, marking.fresh_cases(exercise, seed)))
    return Points(round(min(max(share, 0.0), 1.0) * most, 2), most, verdict.status != "not started")


def answer(cell: dict[str, Any]) -> None:
    """Mark a code cell, in place, as the one that the learner fills in; it cannot be deleted by chance."""
    _mark(cell, solution=True)
    cell["metadata"]["deletable"] = False


def graded(cell: dict[str, Any], most: int | float) -> None:
    """Mark a cell, in place, as the locked one that gives the points of the answer before it."""
    _mark(cell, grade=True, locked=True, points=most)
    cell["metadata"] |= {"deletable": False, "editable": False}


def question(cell: dict[str, Any]) -> None:
    """Mark a cell, in place, as one to read only."""
    _mark(cell, locked=True)
    cell["metadata"] |= {"deletable": False, "editable": False}


def words(cell: dict[str, Any], most: int | float) -> None:
    """Mark a text cell, in place, as an answer that is graded by hand."""
    _mark(cell, grade=True, solution=True, points=most)
    cell["metadata"]["deletable"] = False


def _mark(cell: dict[str, Any], points: int | float | None = None, **flags: bool) -> None:
    about = {"schema_version": SCHEMA, "grade": False, "solution": False, "locked": False, "task": False, **flags}
    about |= {"grade_id": cell["id"], "cell_type": cell["cell_type"]}
    if points is not None:
        about["points"] = points
    cell.setdefault("metadata", {})["nbgrader"] = about
    if about["grade"] or about["solution"] or about["locked"]:
        about["checksum"] = checksum(cell)


def checksum(cell: dict[str, Any]) -> str:
    """Give what nbgrader computes of a cell to see whether it was changed."""
    about = cell["metadata"]["nbgrader"]
    is_locked = not about["solution"] and (about["grade"] or about["locked"])
    parts = [cell["source"], cell["cell_type"], about["grade"], about["solution"], is_locked, about["grade_id"]]
    parts += [float(about["points"])] if about["grade"] else []
    return hashlib.md5("".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()
