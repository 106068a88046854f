"""One mark: an answer is run in a sandbox on secret inputs, and judged here by the rules of the notebook's check."""

import re
import sys
import threading
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from labkit.workbench.coursefile import Course, seed_of
from labkit.workbench.credit import counted, credit, more_cases
from labkit.workbench.grading.handing_in.definitions import needs, preamble
from labkit.workbench.grading.handing_in.submissions import Submission
from labkit.workbench.grading.sandboxing.sandbox import pack
from labkit.workbench.marking import Exercise, Key, Verdict, fresh_cases, judge, key_of, no_function
from labkit.workbench.outcomes import Outcome, Raised

# What is right is worked out by one thread at a time: solutions share NumPy, torch and the filters of warnings.
_JUDGING = threading.RLock()
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{6,}")
NOTHING_CAME = "Nothing was handed in."
DELETED = "The cell of this exercise is not in the notebook that was handed in."


@dataclass(frozen=True)
class Mark:
    """What a student got for one exercise, or for one question in words (then `exercise` is the question's id).

    `points` of `most` are before the late rule, and None while nobody has read an answer in words. `late` is the share
    of the points that lateness costs. `right` of `cases` inputs were answered right.
    """

    student: str
    notebook: str
    exercise: str
    points: float | None
    most: float
    status: str
    mistake: str = ""
    message: str = ""
    seconds: float = 0.0
    late: float = 0.0
    right: int = 0
    cases: int = 0

    @property
    def final(self) -> float:
        """The points that count."""
        return (self.points or 0.0) * (1.0 - self.late)

    @property
    def open(self) -> bool:
        """Whether this answer in words waits for its teacher."""
        return self.points is None


@dataclass(frozen=True)
class Judged:
    """What grading found out about one answer; points follow from its `share` and the course file."""

    status: str
    share: float = 0.0
    mistake: str = ""
    message: str = ""
    seconds: float = 0.0
    right: int = 0
    cases: int = 0

    def mark(self, student: str, notebook: str, exercise: str, most: float, late: float = 0.0) -> Mark:
        """Give the mark that this is worth."""
        points = round(self.share * most, 4)
        found = self.mistake, self.message, self.seconds, late, self.right, self.cases
        return Mark(student, notebook, exercise, points, most, self.status, *found)


class Keys:
    """What is right, for each exercise and seed: with one seed for a class it is worked out once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[Key, bytes]] = {}
        self._whole: dict[tuple[str, int], tuple[Key, bytes]] = {}

    def get(self, exercise: Exercise, seed: int) -> tuple[Key, bytes]:
        """Give the key of an exercise for a seed, and its inputs packed for a sandbox."""
        with _JUDGING:
            if (exercise.id, seed) not in self._known:
                _not_endless(self._known)
                cases = fresh_cases(exercise, seed)
                packed = pack([()] if exercise.kind == "value" else cases)
                self._known[exercise.id, seed] = key_of(exercise, cases), packed
            return self._known[exercise.id, seed]

    def whole(self, exercise: Exercise, seed: int) -> tuple[Key, bytes]:
        """Give the key of all inputs that a share is counted over, and those packed that `get` has not."""
        first, _ = self.get(exercise, seed)
        with _JUDGING:
            if (exercise.id, seed) not in self._whole:
                _not_endless(self._whole)
                more = key_of(exercise, more_cases(exercise, seed))
                both = Key(exercise, [*first.cases, *more.cases], [*first.expected, *more.expected])
                self._whole[exercise.id, seed] = both, pack(more.cases)
            return self._whole[exercise.id, seed]


def _not_endless(known: dict) -> None:
    if len(known) > 1000:  # seeds per student: each is used once
        known.clear()


def grade_one(
    submission: Submission, exercise: Exercise, course: Course, sandbox: Any, secret: int = 0, keys: Keys | None = None
) -> Mark:
    """Grade the answer of a submission to one exercise; `sandbox` runs it, `secret` makes the inputs.

    Never raises because of what the answer is or does.
    """
    question = Question(submission, exercise, course, secret)
    judged = question.at_a_glance or question.ask(sandbox, keys or Keys())
    late = course.lost(submission.notebook, submission.submitted)
    return judged.mark(submission.student, submission.notebook, exercise.id, course.points_of(exercise), late)


@dataclass(frozen=True)
class Question:
    """One exercise put to one submission."""

    submission: Submission
    exercise: Exercise
    course: Course
    secret: int

    @property
    def at_a_glance(self) -> Judged | None:
        """What can be said without running anything, if so."""
        one, submission = self.exercise.id, self.submission
        if one in submission.untouched:
            return Judged("not started", message="There is no answer yet.")
        if one in submission.troubles:
            return Judged("error", message=submission.troubles[one])
        if one in submission.missing or one not in submission.answers:
            return Judged("missing", message=DELETED)
        return None

    @cached_property
    def sources(self) -> tuple[str, str]:
        """What is run: the student's other definitions that the answer needs, and the answer."""
        source = self.submission.answers[self.exercise.id]
        try:
            return preamble(self.submission, self.exercise.id), source
        except (RecursionError, MemoryError, SyntaxError, ValueError):  # a page that is too deep to be read
            return "", source

    @property
    def seed(self) -> int:
        """The seed of the inputs: secret, but for a value exercise that of the numbers which the student was given."""
        own = seed_of(self.course, self.submission.typed, self.exercise.id)
        if self.exercise.kind == "value":
            return own
        digest = sha256(f"{self.secret}\0{own}\0{self.exercise.id}".encode()).digest()
        return 1 + int.from_bytes(digest[:8], "big") % (2**32 - 1)

    @property
    def digest(self) -> str:
        """What the mark depends on: while this stays, so does the mark."""
        glance = self.at_a_glance
        parts = (glance.status, glance.message) if glance else (*self.sources, self.submission.names[self.exercise.id])
        text = "\0".join([*parts, str(self.seed), _source_of(self.exercise)])
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def ask(self, sandbox: Any, keys: Keys) -> Judged:
        """Run the answer and judge what came; how much of it is right is found out on more inputs."""
        key, packed = keys.get(self.exercise, self.seed)
        answered = self._run(sandbox, packed)
        if answered.status != "ok":
            return self._without_values(answered, len(key.cases))
        with _JUDGING:
            verdict = self._verdict(answered, key)
        if verdict.status == "correct" or not self._has_shares(answered, verdict):
            return self._judged(verdict, key, answered.seconds)
        whole, packed = keys.whole(self.exercise, self.seed)
        more = self._run(sandbox, packed)
        seconds, outcomes = answered.seconds + more.seconds, [*answered.outcomes, *more.outcomes]
        if more.status == "ok" and len(outcomes) == len(whole.cases):
            key = whole
            with _JUDGING:
                verdict = counted(verdict, whole, [outcome_of(came) for came in outcomes])
        with _JUDGING:
            return self._judged(verdict, key, seconds)

    def _run(self, sandbox: Any, packed: bytes) -> Any:
        name, kind = self.submission.names[self.exercise.id], self.exercise.kind
        given = _given(self.exercise, self.seed) if kind == "value" else None
        answered = sandbox.run(self.sources, name, packed, kind=kind, given=given)
        if answered.status == "crashed":  # whether it was the answer or the machine: nobody pays for one bad moment
            answered = sandbox.run(self.sources, name, packed, kind=kind, given=given)
        return answered

    def _has_shares(self, answered: Any, verdict: Verdict) -> bool:
        """Whether more inputs can tell more: a value is right or not, and what always fails earns nothing."""
        works = any(came.kind == "" for came in answered.outcomes)
        return self.exercise.kind != "value" and verdict.status in ("wrong", "error") and works

    def _without_values(self, answered: Any, cases: int) -> Judged:
        if answered.status == "error":
            message = self._of_the_cell(answered.error)
        else:
            said = {"not started": "There is no answer yet.", "missing": DELETED}.get(answered.status, "")
            message = answered.why or said
        return Judged(answered.status, message=steady(message), seconds=answered.seconds, cases=cases)

    def _judged(self, verdict: Verdict, key: Key, seconds: float) -> Judged:
        share = credit(verdict, key)
        status = "partly" if 0 < share < 1 else verdict.status
        # What came is not of a kind that leaves a sandbox; what stands in for it is nothing that a student knows.
        said = verdict.message.replace("The answer is a Opaque, and", "The answer cannot be compared;")
        message = steady(self._with_needs(said, verdict.status))
        return Judged(status, share, verdict.mistake, message, seconds, verdict.right, len(key.cases))

    def _verdict(self, answered: Any, key: Key) -> Verdict:
        outcomes = [outcome_of(came) for came in answered.outcomes]
        if answered.answer is not None and self.exercise.kind != "value":
            return no_function(answered.answer.value)
        if self.exercise.kind == "value" and outcomes and outcomes[0].error is None and outcomes[0].value is None:
            return Verdict("not started")
        if len(outcomes) != len(key.cases):
            return Verdict("refused", "Fewer answers came back than were asked for.")
        return judge(self.exercise, outcomes, key.cases, self.submission.names[self.exercise.id], key)

    def _of_the_cell(self, error: Any) -> str:
        came = outcome_of(error).error if error is not None else None
        line = f"\nIt happened in the line `{came.line}`." if came and came.line else ""
        return self._with_needs(f"The cell of the answer raised {came}.{line}", "error")

    def _with_needs(self, message: str, status: str) -> str:
        if status != "error":
            return message
        return "\n".join([message, *needs(self.submission, self.exercise.id)])


def steady(message: str) -> str:
    """Leave out where things lay in memory: the same answer gets the same words in every run.

    >>> steady("`f(0)` gave <object object at 0x7f3a2c0b9d60>.")
    '`f(0)` gave <object object>.'
    """
    return ADDRESS.sub("", message)


def outcome_of(came: Any) -> Outcome:
    """Give what came out of a sandbox as the outcome that is judged."""
    error = Raised(came.kind, next(iter(came.words.splitlines()), ""), came.line) if came.kind else None
    return Outcome(came.value, error, came.lazy, came.unfilled)


def _given(exercise: Exercise, seed: int) -> Any:
    from labkit.workbench.personal import given_by

    return given_by(exercise, seed)


@cache
def _source_of_module(name: str) -> str:
    file = getattr(sys.modules.get(name), "__file__", None)
    return sha256(Path(file).read_bytes()).hexdigest() if file else ""


def _source_of(exercise: Exercise) -> str:
    """What tells one version of an exercise from the next."""
    return _source_of_module(exercise.solution.__module__)
