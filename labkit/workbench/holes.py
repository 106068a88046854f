"""Find out whether a learner has begun: an exercise starts as a hole, and a hole is not a wrong answer."""

import dis
import inspect
from collections.abc import Mapping
from typing import Any

# What a body of `...`, `pass`, a docstring or `return ...` compiles to, on Python 3.11 to 3.14.
IDLE = {
    "RESUME",
    "NOP",
    "CACHE",
    "COPY_FREE_VARS",
    "MAKE_CELL",
    "LOAD_CONST",
    "POP_TOP",
    "RETURN_VALUE",
    "RETURN_CONST",
}


def is_hole(answer: Any) -> bool:
    """Tell whether an answer is empty: `...`, None, or a function whose body is only `...`, `pass` or a docstring."""
    if answer is None or answer is ...:
        return True
    code = getattr(inspect.unwrap(answer) if callable(answer) else answer, "__code__", None)
    if code is None:
        return False
    steps = list(dis.get_instructions(code))
    constants = [step.argval for step in steps if "CONST" in step.opname]
    return all(step.opname in IDLE for step in steps) and all(value is None or value is ... for value in constants)


def holds_ellipsis(value: Any) -> bool:
    """Tell whether an answer still is a `...`, or has one inside a list, tuple or dict."""
    if isinstance(value, Mapping):
        return any(holds_ellipsis(item) for item in value.values())
    return value is ... or (isinstance(value, list | tuple) and any(holds_ellipsis(item) for item in value))


def stumbled_over_hole(function: Any, error: Exception) -> bool:
    """Tell whether an error only says that a `...` inside the function has not been replaced yet."""
    if isinstance(error, NotImplementedError):
        return True
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or "ellipsis" not in str(error).lower():
        return False
    return any(step.argval is ... for step in dis.get_instructions(code) if "CONST" in step.opname)
