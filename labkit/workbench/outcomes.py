"""What a function did with one input: a value or an error, as plain data that can be compared wherever it ran."""

import copy
import linecache
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from labkit.workbench.holes import stumbled_over_hole

MOST_ITEMS = 10_000  # taken from a generator, which may be endless


@dataclass(frozen=True)
class Raised:
    """An error as plain data: its `kind` ("ValueError", "json.JSONDecodeError"), its words, the line it came from."""

    kind: str
    words: str = ""
    line: str = ""

    def __str__(self) -> str:
        name = self.kind.rpartition(".")[2]
        return f"{name}: {self.words}" if self.words else name


@dataclass(frozen=True)
class Outcome:
    """What a function did with one input: gave a value (`lazy` if it came as an iterator), or raised an error.

    `unfilled` says that it came upon a `...` which nobody has replaced yet.
    """

    value: Any = None
    error: Raised | None = None
    lazy: bool = False
    unfilled: bool = False


def run_on(function: Callable, case: tuple) -> Outcome:
    """Run a function on one input, and give what it did."""
    arguments = copy.deepcopy(case)  # so that an answer that changes its input spoils nothing
    try:
        value = function(*arguments)
        if isinstance(value, Iterator):
            return Outcome([item for _, item in zip(range(MOST_ITEMS), value, strict=False)], lazy=True)
        return Outcome(value)
    except Exception as error:  # whatever a learner's function raises is an outcome to explain
        return Outcome(error=raised(function, error), unfilled=stumbled_over_hole(function, error))


def raised(function: Any, error: Exception) -> Raised:
    """Give an error as plain data, with the line of the function that it came from."""
    kind, module = type(error).__qualname__, type(error).__module__
    return Raised(
        kind if module == "builtins" else f"{module}.{kind}", _first_line(error), _failing_line(function, error)
    )


def _first_line(error: Exception) -> str:
    try:
        return next(iter(str(error).splitlines()), "")
    except Exception:  # an error of the learner's own, whose words raise one themselves
        return ""


def _failing_line(answer: Any, error: Exception) -> str:
    code = getattr(answer, "__code__", None)
    if code is None:
        return ""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == code.co_filename]
    return linecache.getline(code.co_filename, frames[-1].lineno).strip() if frames else ""
