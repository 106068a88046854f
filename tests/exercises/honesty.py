"""The table of what each exercise's check accepts and refuses; `python -m tests.exercises.honesty` writes it anew.

Each row is found by running the check: on the worked solution, on the page's empty hole, on each known mistake, on
labkit's own function for the same thing, and on the worked solutions of other exercises, as if somebody had copied one.
"""

import inspect
import types
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from labkit.workbench.checking import Exercise, all_exercises, mark
from labkit.workbench.marking import Key, agree, fresh_cases, judge, key_of
from labkit.workbench.outcomes import run_on
from labkit.workbench.personal import given
from tests.exercises.counterparts import COUNTERPARTS, counterpart
from tests.exercises.without_counterpart import WITHOUT
from tests.workbench.teaching.class_of_students import answers_of

TABLE = Path(__file__).with_name("honesty.md")
SEEDS = (23, 171)  # test_exercises.py takes others
FROM_ELSEWHERE = 12  # as many exercises of other notebooks are copied from
# One and the same function, asked for on two pages.
THE_SAME = (
    {"training.clip_gradients", "zero.clip_shards"},
    {"data_parallel.big_batch_gradient", "model_parallel.batch_loss"},
)
NEVER_ENDS = {"cleaning.duplicate_share"}  # on arguments that are not its own
HEAD = """\
# What the checks accept and refuse

Written by `python -m tests.exercises.honesty`; a test compares it with what the checks do.

| exercise | solution | empty | known mistakes | labkit's own function | copies of other answers |
|---|---|---|---|---|---|
"""


def row(exercise: Exercise) -> str:
    """The line of the table for an exercise, found by running its check."""
    with warnings.catch_warnings():  # what copied answers divide by zero is no news
        warnings.simplefilter("ignore")
        found = [column(exercise) for column in (_solution, _empty, _mistakes, _own, _copies)]
    return f"| `{exercise.id}` | {' | '.join(' '.join(cell.split()) for cell in found)} |"


def answered(exercise: Exercise, source: str) -> Any:
    """The answer that a cell of the page hands to `labkit.check`."""
    got = []

    def check(name: str, *value: Any) -> Callable | None:
        return got.append(value[0]) if value else lambda function: got.append(function) or function

    exec(source, {"labkit": types.SimpleNamespace(check=check, given=given)})
    return got[0]


def _solution(exercise: Exercise) -> str:
    value = exercise.kind == "value"  # the page asks for it with the numbers of seed 0
    return mark(exercise, exercise.solution() if value else exercise.solution, 0 if value else SEEDS[0]).status


@lru_cache(maxsize=1)
def _key(exercise: Exercise) -> Key:
    return key_of(exercise, fresh_cases(exercise, SEEDS[0]))


def _empty(exercise: Exercise) -> str:
    return mark(exercise, answered(exercise, answers_of(exercise)["empty"])).status


def _mistakes(exercise: Exercise) -> str:
    strange, key = [], _key(exercise)
    for number, wrong in enumerate(exercise.wrong):
        verdict = judge(exercise, [outcomes[number] for outcomes in key.mistakes], key.cases, key=key)
        if verdict.mistake != wrong.name or wrong.message not in verdict.message:
            strange.append(f"{wrong.name} is {verdict.mistake or verdict.status} with seed {SEEDS[0]}")
    return "; ".join(strange) or f"all {len(exercise.wrong)} refused, each with its own message"


def _own(exercise: Exercise) -> str:
    if exercise.id not in COUNTERPARTS:
        return f"none: {WITHOUT.get(exercise.id, 'no reason is given in without_counterpart.py')}"
    name, answer = COUNTERPARTS[exercise.id][0], counterpart(exercise.id)
    verdicts = [mark(exercise, answer, seed) for seed in SEEDS]
    refused = [verdict for verdict in verdicts if verdict.status != "correct"]
    return f"`labkit.{name}`: {refused[0].message if refused else 'correct'}"


def copied_from(exercise: Exercise) -> list[Exercise]:
    """The exercises whose solutions are tried as answers: all of the same notebook, and some of others."""
    known = [other for other in all_exercises() if other.kind == "function" and other.id != exercise.id]
    near = [other for other in known if other.notebook == exercise.notebook]
    far = [other for other in known if other.notebook != exercise.notebook and other.id not in NEVER_ENDS]
    return near + Random(exercise.id).sample(far, FROM_ELSEWHERE)


def _copies(exercise: Exercise) -> str:
    if exercise.kind == "value":
        return "asks for a value"
    others = copied_from(exercise)
    key = _key(exercise)
    accepted = [
        other.id for other in others if all(map(_agrees(exercise, _tolerant(other.solution)), key.cases, key.expected))
    ]
    strange = [name for name in accepted if {name, exercise.id} not in THE_SAME]
    if strange:
        return f"taken for right: {', '.join(strange)}"
    same = f", `{accepted[0]}` is the same function" if accepted else ""
    return f"{len(others) - len(accepted)} refused{same}"


def _agrees(exercise: Exercise, answer: Callable) -> Callable:
    return lambda case, expected: agree(exercise, run_on(answer, case), expected)


def _tolerant(function: Callable) -> Callable:
    """The same function for any number of arguments: what is too much is left out, what is missing comes again."""
    wanted = inspect.unwrap(function).__code__.co_argcount
    return lambda *given: function(*(given * wanted)[:wanted])


def rows() -> dict[str, str]:
    """All rows of the table, by exercise."""
    return {exercise.id: row(exercise) for exercise in all_exercises()}


def stored() -> dict[str, str]:
    """The rows that are written down."""
    lines = TABLE.read_text(encoding="utf-8").removeprefix(HEAD).splitlines()
    return {line.split("`")[1]: line for line in lines if line.startswith("| `")}


if __name__ == "__main__":
    TABLE.write_text(HEAD + "".join(f"{line}\n" for line in rows().values()), encoding="utf-8")
    print(f"{TABLE} has been written: look at what changed before you commit it")
