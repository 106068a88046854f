"""The exercise engine: instant checks on fresh inputs, hints, worked solutions, a message for every known mistake."""

import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Callable
from typing import Any

from labkit.workbench import coursefile, display, learnerfile, personal, showing
from labkit.workbench.display import card, paragraphs
from labkit.workbench.marking import Exercise, Verdict, WrongAnswer, fresh_cases, givens, mark
from labkit.workbench.names import nearest, unknown

__all__ = ["Exercise", "Verdict", "WrongAnswer", "all_exercises", "check", "find", "hint", "mark", "prove", "solution"]

PACKAGE = "labkit.exercises"
FEW = 30  # ids that a sentence may name
_NOT_GIVEN = object()
# This kernel's memory: how often each exercise was checked (so that inputs are fresh) and how many hints were taken.
_checks: dict[str, int] = {}
_hints: dict[str, int] = {}


def all_exercises() -> tuple[Exercise, ...]:
    """Give every exercise of the course, in the order of the notebooks."""
    if importlib.util.find_spec(PACKAGE) is None:
        return ()
    package = importlib.import_module(PACKAGE)
    modules = [importlib.import_module(f"{PACKAGE}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    found = [exercise for module in modules for exercise in getattr(module, "EXERCISES", ())]
    return tuple(sorted(found, key=lambda exercise: exercise.notebook))  # sorted keeps the order inside a notebook


def find(exercise_id: str) -> Exercise:
    """Give the exercise with this id.

    Raises:
        ValueError: if there is none; the nearest right id is named.
    """
    topic = exercise_id.partition(".")[0]
    near_home = importlib.util.find_spec(f"{PACKAGE}.{topic}") if topic.isidentifier() and _has_package() else None
    home = getattr(importlib.import_module(near_home.name), "EXERCISES", ()) if near_home else ()
    known = {
        exercise.id: exercise for exercise in home
    }  # first its own module: another topic may take seconds to import
    if exercise_id not in known:
        known = {exercise.id: exercise for exercise in all_exercises()}
    if exercise_id not in known:
        raise ValueError(_unknown(exercise_id, list(known)))
    return known[exercise_id]


def _unknown(exercise_id: str, known: list[str]) -> str:
    """Give the sentence that refuses an id; it names those of one topic at most, for all of them fill a screen."""
    near = nearest(exercise_id, known)
    topic = (near or exercise_id).partition(".")[0]
    there = [each for each in known if each.partition(".")[0] == topic] or known
    if len(there) <= FEW:
        return unknown("exercise", exercise_id, there)
    return f"there is no exercise {exercise_id!r}; `labkit exercises` in a terminal shows all {len(known)}"


def _has_package() -> bool:
    return importlib.util.find_spec(PACKAGE) is not None


def check(exercise: str | Exercise, value: Any = _NOT_GIVEN) -> Callable | None:
    """Check an answer at once: as a decorator over the learner's function, or with the value that was found.

    `@check("ngrams.mle")` stands over a function whose body is `...`, and gives that function back unchanged;
    `check("ngrams.zeros", answer)` checks a value. Nothing that the answer is or does makes this raise.

    Raises:
        ValueError: if there is no such exercise, or a value exercise gets no value.
    """
    exercise = exercise if isinstance(exercise, Exercise) else find(exercise)
    if value is not _NOT_GIVEN:
        _report(exercise, value)
        return None
    if exercise.kind == "value":
        raise ValueError(f'exercise {exercise.id!r} asks for a value; write check("{exercise.id}", answer)')

    def report_on(function: Any) -> Any:
        _report(exercise, function)
        return function

    return report_on


def _report(exercise: Exercise, answer: Any) -> None:
    count = _checks.get(exercise.id, 0)
    verdict = mark(exercise, answer, seed=personal.seed_here(exercise) if exercise.kind == "value" else count)
    if verdict.status != "not started":
        _checks[exercise.id] = count + 1
        learnerfile.note(exercise.notebook, exercise.id, verdict.status, verdict.mistake)
    title, body, tone = _wording(exercise, verdict)
    _publish(title, body, tone)


def _publish(title: str, body: str, tone: str) -> None:
    display.publish("\n".join(filter(None, [title, body.replace("`", "")])), card(title, paragraphs(body), tone))


def _wording(exercise: Exercise, verdict: Verdict) -> tuple[str, str, str]:
    if verdict.status == "not started":
        effort = f"difficulty {exercise.difficulty} of 3, about {exercise.minutes} minute{'s' * (exercise.minutes > 1)}"
        begin = f"Replace the `...` in the cell with your answer and run it again. {_hint_offer(exercise)}".rstrip()
        question = f"{exercise.statement} {personal.own_numbers(exercise)}".rstrip()
        return f"○ {exercise.id}: not started ({effort})", f"{question}\n{begin}", "calm"
    if verdict.status == "correct":
        found = f" on {verdict.cases} fresh inputs, edge cases included" if exercise.kind != "value" else ""
        compare = f'Compare with a worked solution: `labkit.solution("{exercise.id}")`' if _allowed("solutions") else ""
        return f"✓ {exercise.id}: correct{found}", compare, "good"
    said = "not yet" if verdict.status == "wrong" else "an error stopped it"
    return f"✗ {exercise.id}: {said}", f"{verdict.message}\n{_hint_offer(exercise)}".rstrip(), "bad"


def _hint_offer(exercise: Exercise) -> str:
    return f'A hint: `labkit.hint("{exercise.id}")`' if _allowed("hints") else ""


def _allowed(help_offered: str) -> bool:
    """Tell whether the course gives "hints" or "solutions" here; without a course file it gives both."""
    course = coursefile.in_effect()
    return course is None or getattr(course, help_offered)


def hint(exercise: str | Exercise) -> None:
    """Show the next hint of an exercise; each is more concrete than the one before.

    Raises:
        ValueError: if there is no such exercise.
    """
    exercise = exercise if isinstance(exercise, Exercise) else find(exercise)
    if not _allowed("hints"):
        _publish(f"No hints for {exercise.id}", "Your course gives no hints; ask your teacher.", "quiet")
        return
    number = min(_hints.get(exercise.id, 0) + 1, len(exercise.hints))
    _hints[exercise.id] = number
    learnerfile.note(exercise.notebook, exercise.id, "hint", str(number))
    more = "That was the last hint." if number == len(exercise.hints) else ""
    if more and _allowed("solutions"):
        more += f' A worked solution: `labkit.solution("{exercise.id}")`'
    body = f"{exercise.hints[number - 1]}\n{more}".strip()
    _publish(f"Hint {number} of {len(exercise.hints)} for {exercise.id}", body, "calm")


def solution(exercise: str | Exercise) -> None:
    """Show the worked solution of an exercise, unless the course keeps it back.

    Raises:
        ValueError: if there is no such exercise.
    """
    exercise = exercise if isinstance(exercise, Exercise) else find(exercise)
    if not _allowed("solutions"):
        body = f"In this course your teacher keeps the worked solutions. {_hint_offer(exercise)}".rstrip()
        _publish(f"No worked solution of {exercise.id} here", body, "quiet")
        return
    learnerfile.note(exercise.notebook, exercise.id, "solution")
    source = showing.source_of(exercise.solution)
    page = showing.source_html(source, f"A solution of {exercise.id}", "")
    display.publish(f"A solution of {exercise.id}:\n{source}", page)


def prove(exercise: Exercise, seeds: range = range(5)) -> list[str]:
    """Find what is wrong with an exercise itself; an empty list means that it is fit for learners.

    Its solution must pass, its empty hole be "not started", and each known mistake be refused with its own message.
    """
    problems = _sparse(exercise) + _hole_problems(exercise)
    if exercise.kind == "value" and exercise.cases and (broken := _given_problems(exercise)):
        return problems + broken  # nothing can be asked with such numbers
    for seed in seeds:
        verdict = mark(exercise, _as_answer(exercise, exercise.solution, seed), seed=seed)
        if verdict.status != "correct":
            problems.append(f"seed {seed}: the solution is {verdict.status}: {verdict.message}")
        for wrong in exercise.wrong:
            verdict = mark(exercise, _as_answer(exercise, wrong.answer, seed), seed=seed)
            if verdict.mistake != wrong.name or wrong.message not in verdict.message:
                taken = f"taken for {verdict.mistake!r}" if verdict.mistake else verdict.status
                problems.append(
                    f"seed {seed}: the wrong answer {wrong.name!r} is {taken}, not refused with its own message"
                )
    return problems + _case_problems(exercise)


def _as_answer(exercise: Exercise, answer: Any, seed: int) -> Any:
    return answer(*givens(exercise, seed)) if exercise.kind == "value" and callable(answer) else answer


def _sparse(exercise: Exercise) -> list[str]:
    wrong = exercise.wrong
    rules = {
        "the id is not topic.name in lower case": re.fullmatch(r"[a-z_]+\.[a-z0-9_]+", exercise.id),
        "the notebook is not NN_topic": re.fullmatch(r"\d\d_[a-z_]+", exercise.notebook),
        "the statement is empty": exercise.statement.strip(),
        "the kind is neither function nor value": exercise.kind in ("function", "value"),
        "the difficulty is not 1, 2 or 3": exercise.difficulty in (1, 2, 3),
        "the minutes are not 1 to 60": 1 <= exercise.minutes <= 60,
        "there are fewer than two hints": len(exercise.hints) >= 2,
        "a hint is empty or comes twice": len({h.strip() for h in exercise.hints} - {""}) == len(exercise.hints),
        "there are fewer than three wrong answers": len(wrong) >= 3,
        "two wrong answers share a name": len({w.name for w in wrong}) == len(wrong),
        "a message is empty or comes twice": len({w.message.strip() for w in wrong} - {""}) == len(wrong),
    }
    return [problem for problem, holds in rules.items() if not holds]


def _hole_problems(exercise: Exercise) -> list[str]:
    def empty(*arguments: Any) -> Any: ...

    def returns_ellipsis(*arguments: Any) -> Any:
        return ...

    holes = {"...": ..., "None": None}
    if exercise.kind == "function":
        holes |= {"an empty body": empty, "return ...": returns_ellipsis}
    statuses = {name: mark(exercise, hole).status for name, hole in holes.items()}
    return [f"the hole ({name}) is {status!r}" for name, status in statuses.items() if status != "not started"]


def _case_problems(exercise: Exercise) -> list[str]:
    if exercise.kind == "value":
        return []
    first, again, other = (fresh_cases(exercise, seed) for seed in (0, 0, 1))
    problems = [] if first else ["there are no cases"]
    if repr(first) != repr(again):
        problems.append("the cases differ for one and the same generator; take all randomness from it")
    if first and repr(first) == repr(other):
        problems.append("the cases are the same for every seed; make some of them from the generator")
    if any(not isinstance(case, tuple) for case in first):
        problems.append("a case is not a tuple of arguments")
    try:
        inspect.getsource(exercise.solution)
    except (OSError, TypeError):
        problems.append("the solution has no source to show")
    return problems


def _given_problems(exercise: Exercise) -> list[str]:
    """Find what is wrong with the numbers that a question is asked with."""
    found = {repr(givens(exercise, seed)) for seed in range(1, 21)}
    parameters = inspect.signature(exercise.solution).parameters.values()
    numbers = givens(exercise, 1)
    rules = {
        "the given numbers differ for one and the same generator": repr(numbers) == repr(givens(exercise, 1)),
        "the given numbers are the same for every seed": len(found) > 1,
        "the given numbers are not a tuple with one for each argument of the solution": isinstance(numbers, tuple)
        and len(numbers) == len(parameters),
        "the solution has arguments without a default, which is the number of the page": all(
            each.default is not each.empty for each in parameters
        ),
    }
    return [problem for problem, holds in rules.items() if not holds]
