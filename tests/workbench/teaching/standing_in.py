"""Test material for grading: a small course, submissions made by hand, and a sandbox that runs answers right here."""

import pickle
import time
from datetime import UTC, datetime
from pathlib import Path

from labkit.workbench.coursefile import Course, LateRule, Manual
from labkit.workbench.grading.handing_in.submissions import Submission
from labkit.workbench.grading.sandboxing.sandbox import Answered, Came
from labkit.workbench.holes import is_hole
from labkit.workbench.outcomes import run_on

NOTEBOOK = "02_ngram_models"
DEADLINE = datetime(2026, 11, 30, 22, 59, tzinfo=UTC)
QUESTION = Manual(NOTEBOOK, "why", "Why does the curve bend?", 10.0, "some-cell")


def course(**changed):
    """A course of two notebooks, with a deadline and a question in words."""
    given = {
        "name": "Language models",
        "term": "autumn",
        "notebooks": ("00_start_here", NOTEBOOK),
        "weights": {"00_start_here": 0.25, NOTEBOOK: 0.75},
        "deadlines": {NOTEBOOK: DEADLINE},
        "late": LateRule(per_day=0.1, grace=10, most=0.5),
        "manual": {NOTEBOOK: (QUESTION,)},
    }
    return Course(**(given | changed))


def submission(student, answers, notebook=NOTEBOOK, **more):
    """A submission with these sources; each defines `answer`."""
    names = dict.fromkeys(answers, "answer")
    return Submission(student, Path(f"{student}.ipynb"), notebook, answers=answers, names=names, **more)


class Here:
    """What runs answers without any protection, behind the face of the sandbox; counts what it ran."""

    ran = 0

    def __init__(self, limits=None, imports=(), patience=0.0):
        self.patience, self.closed = patience, False

    def run(self, source, name, cases, *, kind="function", given=None, seconds=None):
        """Run the source and call what it defines."""
        type(self).ran += 1
        time.sleep(self.patience)
        space = {}
        try:
            for part in source:
                exec(part, space)
        except Exception as error:
            return Answered((), "error", error=Came(kind=type(error).__name__, words=str(error)))
        found = space[name]
        if is_hole(found):
            return Answered((), "not started")
        if kind == "value":
            return Answered((Came(found),), "ok")
        if not callable(found):
            return Answered((), "ok", answer=Came(found))
        return Answered(tuple(came(run_on(found, pickle.loads(case))) for case in pickle.loads(cases)), "ok")

    def close(self):
        """Nothing is left running."""
        self.closed = True


def came(outcome):
    """An outcome as it leaves a sandbox."""
    error = outcome.error
    if error:
        return Came(kind=error.kind, words=error.words, line=error.line, unfilled=outcome.unfilled)
    return Came(outcome.value, lazy=outcome.lazy, unfilled=outcome.unfilled)
