"""What runs in the sandbox: executes a student's source, calls what it defines, and sends back what comes of it.

Nothing here is a secret, and nothing here is trusted by the one who asked: the program that runs may change all of it.
"""

import builtins
import copy
import io
import itertools
import linecache
import os
import pickle
import random
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from labkit.workbench import holes
from labkit.workbench.grading.sandboxing import wire
from labkit.workbench.outcomes import MOST_ITEMS

__all__ = ["answer"]

ANSWER = "<answer>"
STUBS = ("check", "hint", "solution", "claim", "given", "explore", "show")


def answer(task: dict, send: Callable[[bytes], None]) -> None:
    """Do a task: {sources, name, kind, given, cases, most_bytes}; `send` takes one frame after the other."""
    most_bytes = task["most_bytes"]
    _replace_checks(pickle.loads(task["given"]))
    _seed_chance()
    space = _new_space()
    send(wire.frame(["hello"]))
    try:
        for number, source in enumerate(task["sources"]):
            _execute(source, space, last=number == len(task["sources"]) - 1)
    except BaseException as error:
        return send(_came("error", most_bytes, error=error))
    try:
        found = eval(task["name"], space)
    except BaseException as error:
        return send(_came("missing", most_bytes, error=error))
    if holes.is_hole(found) or (task["kind"] == "value" and holes.holds_ellipsis(found)):
        return send(wire.frame(["state", "not started"]))
    if task["kind"] != "value" and not callable(found):
        return send(_came("no function", most_bytes, value=found))
    send(wire.frame(["state", "ready"]))
    for packed in task["cases"]:
        send(_call(found, pickle.loads(packed), most_bytes))
    return None


def _seed_chance() -> None:
    """Make what an answer draws without a seed come out the same in every run, so that its mark does."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


def _new_space() -> dict:
    """The names of a module that is found as `__main__`, as a notebook's is: what is pickled is looked for there."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    vars(module)["__builtins__"] = builtins
    return vars(module)


def _execute(source: str, space: dict, last: bool) -> None:
    name = ANSWER if last else "<preamble>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)  # for inspect.getsource, too
    exec(compile(source, name, "exec", dont_inherit=True), space)


def _call(found: Any, case: tuple, most_bytes: int) -> bytes:
    try:
        value = found(*copy.deepcopy(case)) if callable(found) else found
        lazy = issubclass(type(value), Iterator)
        if lazy:
            value = list(itertools.islice(value, MOST_ITEMS))
        return _came("came", most_bytes, value=value, lazy=lazy)
    except BaseException as error:  # sys.exit() as well: it is an answer like any other
        return _came("came", most_bytes, error=error, function=found)


def _came(word: str, most_bytes: int, value: Any = None, error: Any = None, lazy: bool = False, function: Any = None):
    """One outcome as a frame: [word, value, kind of error, its words, the line, lazy, unfilled]."""
    if error is None:
        node, blob = wire.encode(value, most_bytes)
        return wire.frame([word, node, "", "", "", lazy, False], blob)
    unfilled = isinstance(error, Exception) and function is not None and holes.stumbled_over_hole(function, error)
    return wire.frame([word, None, _kind(error), _words(error), _line(error), False, bool(unfilled)])


def _kind(error: BaseException) -> str:
    kind = type(error)
    name = type.__dict__["__name__"].__get__(kind)
    if issubclass(kind, MemoryError) or (issubclass(kind, RuntimeError) and "allocate memory" in _words(error)):
        return "MemoryError"  # NumPy and torch have their own words for it
    if getattr(builtins, name, None) is kind and name in BUILTIN:
        return name
    module = kind.__dict__.get("__module__", "")
    return f"{module if isinstance(module, str) and module != 'builtins' else 'answer'}.{name}"[:200]


BUILTIN = frozenset(
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)
)


def _words(error: BaseException) -> str:
    try:
        single = type(error) is KeyError and len(error.args) == 1 and type(error.args[0]) is str
        return str(error.args[0] if single else error)[:500]
    except BaseException:  # an error that cannot even say what it is
        return ""


def _line(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename in (ANSWER, "<preamble>"):
        return str(error.text or "").strip()[:200]
    found, trace, steps = "", error.__traceback__, 0
    while trace is not None and steps < 5000:
        if trace.tb_frame.f_code.co_filename == ANSWER:
            found = linecache.getline(ANSWER, trace.tb_lineno)
        trace, steps = trace.tb_next, steps + 1
    return found.strip()[:200]


def _replace_checks(given: Any) -> None:
    """Put stubs where the checks, hints and solutions of the notebook are; nothing is checked in here."""
    nothing = object()

    def check(exercise: Any = None, value: Any = nothing) -> Any:
        return (lambda function: function) if value is nothing else None

    def silent(*arguments: Any, **named: Any) -> None:
        return None

    stubs = dict.fromkeys(STUBS, silent) | {"check": check, "given": lambda *_, **__: copy.deepcopy(given)}
    vars(sys.modules["labkit"]).update(stubs)
    for module, names in {"checking": ("check", "hint", "solution"), "claims": ("claim",)}.items():
        stand_in = types.ModuleType(f"labkit.workbench.{module}")
        vars(stand_in).update({name: stubs[name] for name in names})
        sys.modules[stand_in.__name__] = stand_in


def be_alone() -> None:
    """Do one task in a process of its own: it comes in by stdin, frames go out by what stdout was."""
    from labkit.workbench.grading.sandboxing import doors, limiting

    task = pickle.load(sys.stdin.buffer)
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what the program prints goes where its errors go
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", buffering=0, closefd=False), encoding="utf-8", write_through=True)
    limiting.refuse_exercises()
    limiting.limit(task["limits"])
    if sys.platform.startswith("linux"):
        doors.shut()
    answer(task, out.write)
    os._exit(0)
