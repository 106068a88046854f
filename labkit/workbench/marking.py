"""Mark one answer to one exercise: right, a known mistake, another mistake, an error, or not started."""

import copy
import linecache
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from labkit.workbench.answers import common_factor, difference, is_tensor, same_answer
from labkit.workbench.display import brief
from labkit.workbench.holes import holds_ellipsis, is_hole, stumbled_over_hole

MOST_ITEMS = 10_000  # taken from a generator, which may be endless


@dataclass(frozen=True)
class WrongAnswer:
    """A mistake that people make: its `name`, the `answer` (a function or a value) that makes it, what to tell them."""

    name: str
    answer: Any
    message: str


@dataclass(frozen=True)
class Exercise:
    """An exercise of a notebook, with everything that checks, helps and explains.

    `solution` is the right function, or for `kind="value"` a function without arguments that gives the right value.
    `cases` makes fresh inputs from a NumPy generator, edge cases first: a list of argument tuples.
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
    """What marking found: a `status`, a `message` to the learner, the number of inputs, the name of a known mistake."""

    status: str
    message: str = ""
    cases: int = 0
    mistake: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a function did with one input: gave a value (`lazy` if it came as an iterator), or raised an error."""

    value: Any = None
    error: Exception | None = None
    lazy: bool = False


@dataclass(frozen=True)
class Trial:
    """One input, the right outcome, the learner's, and for each known mistake whether it errs and is the learner's.

    `numbers` is how many numbers the tensors of the input hold.
    """

    call: str
    numbers: int
    expected: Outcome
    got: Outcome
    right: bool
    errs: tuple[bool, ...]
    alike: tuple[bool, ...]


def mark(exercise: Exercise, answer: Any, seed: int = 0) -> Verdict:
    """Mark an answer on the inputs that `seed` gives; never raises because of what the answer is or does."""
    if is_hole(answer) or (exercise.kind == "value" and holds_ellipsis(answer)):
        return Verdict("not started")
    if exercise.kind != "value" and not callable(answer):
        return Verdict("wrong", f"The answer is {brief(answer)}, and a function is expected.")
    trials = [_try(exercise, answer, case) for case in fresh_cases(exercise, seed)]
    for trial in trials:
        stumbled = trial.got.error and stumbled_over_hole(answer, trial.got.error)
        if stumbled or holds_ellipsis(trial.got.value):
            return Verdict("not started")
    failed = [trial for trial in trials if not trial.right]
    if not failed:
        return Verdict("correct", cases=len(trials))
    return _known_mistake(exercise, trials) or _error(answer, failed) or _another_mistake(failed, trials)


def fresh_cases(exercise: Exercise, seed: int) -> list[tuple]:
    """Give the inputs of an exercise for one seed; a value exercise has one empty input."""
    if exercise.kind == "value":
        return [()]
    return exercise.cases(np.random.default_rng([crc32(exercise.id.encode()), seed]))


def _try(exercise: Exercise, answer: Any, case: tuple) -> Trial:
    with warnings.catch_warnings():  # what the known mistakes divide by zero is no news to the learner
        warnings.simplefilter("ignore")
        expected = _run(exercise.solution, case)
        mistakes = [_run(_function(wrong.answer), case) for wrong in exercise.wrong]
    got = _run(_function(answer) if exercise.kind == "value" else answer, case)
    name = getattr(answer, "__name__", type(answer).__name__)
    return Trial(
        call="" if exercise.kind == "value" else f"{name}({', '.join(brief(argument) for argument in case)})",
        numbers=_tensor_numbers(case),
        expected=expected,
        got=got,
        right=_agree(exercise, got, expected),
        errs=tuple(not _agree(exercise, mistake, expected) for mistake in mistakes),
        alike=tuple(_agree(exercise, got, mistake) for mistake in mistakes),
    )


def _tensor_numbers(value: Any) -> int:
    if isinstance(value, list | tuple):
        return sum(_tensor_numbers(item) for item in value)
    return value.numel() if is_tensor(value) else 0


def _function(answer: Any) -> Callable:
    return answer if callable(answer) else lambda: answer


def _run(function: Callable, case: tuple) -> Outcome:
    arguments = copy.deepcopy(case)  # so that an answer that changes its input spoils nothing
    try:
        value = function(*arguments)
        if isinstance(value, Iterator):
            return Outcome([item for _, item in zip(range(MOST_ITEMS), value, strict=False)], lazy=True)
        return Outcome(value)
    except Exception as error:  # whatever a learner's function raises is an outcome to explain
        return Outcome(error=error)


def _agree(exercise: Exercise, got: Outcome, expected: Outcome) -> bool:
    if got.error or expected.error:
        return type(got.error) is type(expected.error)
    if got.lazy and not expected.lazy:
        return False
    try:
        return bool((exercise.same or same_answer)(got.value, expected.value))
    except Exception:  # an answer of a type that the comparison did not foresee is not the same
        return False


def _known_mistake(exercise: Exercise, trials: list[Trial]) -> Verdict | None:
    for strict in (True, False):  # first the mistake that explains every input, then one that explains where it errs
        for i, wrong in enumerate(exercise.wrong):
            telling = [trial for trial in trials if trial.errs[i]]
            unexplained = [trial.got for trial in trials if not trial.errs[i] and not trial.right]
            if any(strict or got.error for got in unexplained):
                continue
            if telling and all(trial.alike[i] for trial in telling):
                shown = _shows(telling)
                return Verdict("wrong", f"{wrong.message}\n{shown}".strip(), len(trials), wrong.name)
    return None


def _shows(failed: list[Trial]) -> str:
    trial = _simplest(failed)
    if not trial.call:
        return ""
    came = f"raised {_error_text(trial.got.error)}" if trial.got.error else f"gave {brief(trial.got.value)}"
    return f"For example, `{trial.call}` {came}; expected {_expected_text(trial.expected)}."


def _simplest(failed: list[Trial]) -> Trial:
    return min(failed, key=lambda trial: (trial.got.error is not None, trial.numbers, len(trial.call)))


def _error(answer: Any, failed: list[Trial]) -> Verdict | None:
    raised = [trial for trial in failed if trial.got.error]
    if not raised:
        return None
    trial = _simplest(raised)
    line = _failing_line(answer, trial.got.error)
    where = f"\nIt happened in the line `{line}`." if line else ""
    return Verdict("error", f"`{trial.call}` raised {_error_text(trial.got.error)}.{where}", len(failed))


def _failing_line(answer: Any, error: Exception) -> str:
    code = getattr(answer, "__code__", None)
    if code is None:
        return ""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == code.co_filename]
    return linecache.getline(code.co_filename, frames[-1].lineno).strip() if frames else ""


def _error_text(error: Exception) -> str:
    words = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _expected_text(expected: Outcome) -> str:
    return f"{type(expected.error).__name__}" if expected.error else brief(expected.value)


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
