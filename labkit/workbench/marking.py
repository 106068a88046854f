"""Mark one answer to one exercise: right, a known mistake, another mistake, an error, or not started.

`mark` runs an answer here, in the learner's own process. `judge` only compares what an answer gave, wherever it ran:
a grader runs answers elsewhere and judges their outcomes by the same rules.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from zlib import crc32

import numpy as np

from labkit.workbench.answers import common_factor, difference, is_tensor, same_answer
from labkit.workbench.display import brief
from labkit.workbench.holes import holds_ellipsis, is_hole
from labkit.workbench.outcomes import Outcome, run_on


@dataclass(frozen=True)
class WrongAnswer:
    """A mistake that people make: its `name`, the `answer` (a function or a value) that makes it, what to tell them."""

    name: str
    answer: Any
    message: str


@dataclass(frozen=True)
class Exercise:
    """An exercise of a notebook, with everything that checks, helps and explains.

    `solution` is the right function, or for `kind="value"` a function that gives the right value.
    `cases` makes fresh inputs from a NumPy generator, edge cases first: a list of argument tuples. For `kind="value"`
    it may be left out, or makes one tuple: the numbers that the question is asked with. The solution takes them as its
    arguments, with the page's numbers as defaults, and so do the known mistakes that are functions.
    `same(got, expected)` replaces the comparison of answers (numbers to 1e-9, the rest element by element).
    """

    id: str
    notebook: str
    statement: str
    difficulty: int
    minutes: int
    hints: tuple[str, ...]
    solution: Callable
    wrong: tuple[WrongAnswer, ...]
    cases: Callable | None = None
    same: Callable | None = None
    kind: str = "function"


@dataclass(frozen=True)
class Verdict:
    """What marking found: a `status`, a `message` to the learner, the number of inputs, the name of a known mistake.

    `right` is on how many inputs the answer was right.
    """

    status: str
    message: str = ""
    cases: int = 0
    mistake: str = ""
    right: int = 0


@dataclass(frozen=True)
class Key:
    """What is right for some inputs of an exercise, and what the known mistakes give for them."""

    exercise: Exercise
    cases: list[tuple]
    expected: list[Outcome]

    @cached_property
    def mistakes(self) -> list[list[Outcome]]:
        """What each known mistake gives, for each input; worked out when the first answer is not right."""
        return [[run_on(_function(wrong.answer), case) for wrong in self.exercise.wrong] for case in self.cases]

    @cached_property
    def errs(self) -> list[list[bool]]:
        """Whether each known mistake is wrong, for each input."""
        pairs = zip(self.mistakes, self.expected, strict=True)
        return [[not agree(self.exercise, mistake, expected) for mistake in row] for row, expected in pairs]


@dataclass(frozen=True)
class Trial:
    """One input: its number, the call as it is shown to the learner, the right outcome, and the learner's."""

    number: int
    name: str
    case: tuple
    expected: Outcome
    got: Outcome
    right: bool

    @cached_property
    def call(self) -> str:
        """The call in words; a value exercise has none."""
        return f"{self.name}({', '.join(brief(argument) for argument in self.case)})" if self.name else ""

    @cached_property
    def numbers(self) -> int:
        """How many numbers the tensors of the input hold."""
        return _tensor_numbers(self.case)


def mark(exercise: Exercise, answer: Any, seed: int = 0) -> Verdict:
    """Mark an answer on the inputs that `seed` gives; never raises because of what the answer is or does."""
    if is_hole(answer) or (exercise.kind == "value" and holds_ellipsis(answer)):
        return Verdict("not started")
    if exercise.kind != "value" and not callable(answer):
        return no_function(answer)
    cases = fresh_cases(exercise, seed)
    key = key_of(exercise, cases)
    value = exercise.kind == "value"  # has been found already, from the numbers that were given
    outcomes = [run_on(_function(answer), ()) if value else run_on(answer, case) for case in cases]
    return judge(exercise, outcomes, cases, getattr(answer, "__name__", type(answer).__name__), key)


def no_function(answer: Any) -> Verdict:
    """Refuse an answer that is a value where a function is expected."""
    return Verdict("wrong", f"The answer is {brief(answer)}, and a function is expected.")


def fresh_cases(exercise: Exercise, seed: int) -> list[tuple]:
    """Give the inputs of an exercise for one seed; a value exercise has one, the numbers that are given, if any."""
    if exercise.kind == "value":
        return [givens(exercise, seed)]
    return exercise.cases(np.random.default_rng([crc32(exercise.id.encode()), seed]))


def givens(exercise: Exercise, seed: int) -> tuple:
    """Give the numbers that a value exercise is asked with; for seed 0 none, since the page's are the defaults."""
    if exercise.cases is None or seed == 0:
        return ()
    return exercise.cases(np.random.default_rng([crc32(exercise.id.encode()), seed]))[0]


def key_of(exercise: Exercise, cases: list[tuple]) -> Key:
    """Work out what is right for these inputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Key(exercise, cases, [run_on(_function(exercise.solution), case) for case in cases])


def judge(
    exercise: Exercise, outcomes: list[Outcome], cases: list[tuple], name: str = "answer", key: Key | None = None
) -> Verdict:
    """Judge what an answer gave for these inputs, without running it; `key` saves working out anew what is right.

    `name` is what the learner's function is called.
    """
    key = key or key_of(exercise, cases)
    if any(outcome.unfilled or holds_ellipsis(outcome.value) for outcome in outcomes):
        return Verdict("not started")
    name = "" if exercise.kind == "value" else name
    trials = [
        Trial(number, name, case, expected, got, agree(exercise, got, expected))
        for number, (case, expected, got) in enumerate(zip(cases, key.expected, outcomes, strict=True))
    ]
    failed = [trial for trial in trials if not trial.right]
    if not failed:
        return Verdict("correct", cases=len(trials), right=len(trials))
    verdict = _known_mistake(key, trials) or _error(failed) or _another_mistake(failed, trials)
    return replace(verdict, right=len(trials) - len(failed))


def _tensor_numbers(value: Any) -> int:
    if isinstance(value, list | tuple):
        return sum(_tensor_numbers(item) for item in value)
    return value.numel() if is_tensor(value) else 0


def _function(answer: Any) -> Callable:
    return answer if callable(answer) else lambda *given: answer


def agree(exercise: Exercise, got: Outcome, expected: Outcome) -> bool:
    """Tell whether two outcomes are the same: equal values, or errors of one kind."""
    if got.error or expected.error:
        return bool(got.error and expected.error) and got.error.kind == expected.error.kind
    if got.lazy and not expected.lazy:
        return False
    try:
        return bool((exercise.same or same_answer)(got.value, expected.value))
    except Exception:  # an answer of a type that the comparison did not foresee is not the same
        return False


def _known_mistake(key: Key, trials: list[Trial]) -> Verdict | None:
    with warnings.catch_warnings():  # what the known mistakes divide by zero is no news to the learner
        warnings.simplefilter("ignore")
        mistakes, errs = key.mistakes, key.errs
    for strict in (True, False):  # first the mistake that explains every input, then one that explains where it errs
        for i, wrong in enumerate(key.exercise.wrong):
            telling = [trial for trial in trials if errs[trial.number][i]]
            unexplained = [trial.got for trial in trials if not errs[trial.number][i] and not trial.right]
            if any(strict or got.error for got in unexplained):
                continue
            if telling and all(agree(key.exercise, trial.got, mistakes[trial.number][i]) for trial in telling):
                shown = _shows(telling)
                return Verdict("wrong", f"{wrong.message}\n{shown}".strip(), len(trials), wrong.name)
    return None


def _shows(failed: list[Trial]) -> str:
    trial = _simplest(failed)
    if not trial.call:
        return ""
    came = f"raised {trial.got.error}" if trial.got.error else f"gave {brief(trial.got.value)}"
    return f"For example, `{trial.call}` {came}; expected {_expected_text(trial.expected)}."


def _simplest(failed: list[Trial]) -> Trial:
    return min(failed, key=lambda trial: (trial.got.error is not None, trial.numbers, len(trial.call)))


def _error(failed: list[Trial]) -> Verdict | None:
    with_error = [trial for trial in failed if trial.got.error]
    if not with_error:
        return None
    trial = _simplest(with_error)
    line = trial.got.error.line
    where = f"\nIt happened in the line `{line}`." if line else ""
    return Verdict("error", f"`{trial.call}` raised {trial.got.error}.{where}", len(failed))


def _expected_text(expected: Outcome) -> str:
    return expected.error.kind.rpartition(".")[2] if expected.error else brief(expected.value)


def _another_mistake(failed: list[Trial], trials: list[Trial]) -> Verdict:
    trial = _simplest(failed)
    got, expected = trial.got.value, trial.expected
    if not trial.call:  # a value exercise must not tell its value
        words = f"Your answer is {brief(got)}, and that is not right."
    else:
        words = f"`{trial.call}` gave {brief(got)}; expected {_expected_text(expected)}."
    if trial.got.lazy:
        more = "That is a generator or iterator; put list(...) around it."
    else:
        more = difference(got, expected.value) if trial.call and not expected.error else ""
    factor = common_factor([(t.got.value, t.expected.value) for t in trials if not t.expected.error])
    return Verdict("wrong", "\n".join(filter(None, [words, more, factor])), len(trials))
