"""Partial credit: the share of the inputs that are right, above what an answer gets that does not look at its input.

`return 0`, `return []` or handing back the argument are right on some edge cases of many exercises. What the best of
them would get is the floor: an answer at or below it earns nothing, and the rest of the scale is stretched over what
lies above, so that half of what takes thought earns half of the points. An answer that is right everywhere earns all.

The few inputs of one seed decide whether an answer is right. How much of it is right would be luck on so few, and two
students with one mistake but other numbers would get other points: a share is counted over the inputs of `DRAWS` seeds.
"""

import warnings
from dataclasses import replace
from typing import Any
from zlib import crc32

from labkit.workbench.marking import Exercise, Key, Verdict, agree, fresh_cases, key_of, mark
from labkit.workbench.outcomes import Outcome, run_on

DRAWS = 8
CONSTANTS = (None, False, True, 0, 1, -1, "", (), {})


def share(exercise: Exercise, answer: Any, seed: int = 0) -> float:
    """Give the share of the points, 0 to 1, that an answer earns on the inputs of `seed`; the answer runs here."""
    verdict = mark(exercise, answer, seed)
    if verdict.status not in ("wrong", "error") or exercise.kind == "value" or not callable(answer):
        return float(verdict.status == "correct")
    cases = [*fresh_cases(exercise, seed), *more_cases(exercise, seed)]
    key = key_of(exercise, cases)
    return credit(counted(verdict, key, [run_on(answer, case) for case in cases]), key)


def more_cases(exercise: Exercise, seed: int) -> list[tuple]:
    """Give the further inputs that a share is counted over, beside those of `seed`."""
    further = [1 + crc32(f"{seed} {number}".encode()) for number in range(1, DRAWS)]
    return [case for other in further for case in fresh_cases(exercise, other)]


def counted(verdict: Verdict, key: Key, outcomes: list[Outcome]) -> Verdict:
    """Give a verdict with the counts of all the inputs of `key`."""
    right = sum(agree(key.exercise, got, expected) for got, expected in zip(outcomes, key.expected, strict=True))
    return replace(verdict, right=right, cases=len(key.cases))


def credit(verdict: Verdict, key: Key) -> float:
    """Give the share of the points, 0 to 1, that a verdict on the inputs of `key` earns."""
    if verdict.status == "correct":
        return 1.0
    if not verdict.right:
        return 0.0
    total, idle = len(key.cases), floor(key)
    return max(0.0, (verdict.right - idle) / (total - idle)) if idle < total else 0.0


def floor(key: Key) -> int:
    """Give on how many inputs the best answer is right that does not look at its input, or only hands it back."""
    if key.exercise.kind == "value":
        return 0
    known = vars(key)  # worked out once for a key, as its cached properties are
    if "floor" not in known:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            known["floor"] = max(_best_constant(key), _best_echo(key))
    return known["floor"]


def _best_constant(key: Key) -> int:
    """The most inputs that one and the same outcome fits: a value, or an error that is always raised."""
    candidates = [*key.expected, *map(Outcome, CONSTANTS)]
    found, best = [], 0
    for candidate in candidates:
        if any(agree(key.exercise, candidate, other) for other in found):
            continue
        found.append(candidate)
        best = max(best, sum(agree(key.exercise, candidate, expected) for expected in key.expected))
    return best


def _best_echo(key: Key) -> int:
    """The most inputs on which one of the arguments, handed back, is right; all together count as one, too."""
    width = max((len(case) for case in key.cases), default=0)
    echoes = [lambda *case, place=place: case[place] for place in range(width)] + [lambda *case: case]
    return max(
        sum(
            agree(key.exercise, run_on(echo, case), expected)
            for case, expected in zip(key.cases, key.expected, strict=True)
        )
        for echo in echoes
    )
