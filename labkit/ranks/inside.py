"""The rank's side: a fresh interpreter that takes a function from a file and leaves the result in another."""

import atexit
import contextlib
import faulthandler
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit.ranks.leftovers import MARK, end_marked
from labkit.ranks.sending import dump, parts_of, unpack, unsendable
from labkit.ranks.tracebacks import told

__all__ = ["main"]

SPARE = 30  # seconds after the timeout in which the parent has ended the rank; else it ends by itself


def main(folder: str) -> None:
    """Run the function that `folder` holds and wait until all ranks are done: nobody loses a connection too early."""
    rank, home = int(os.environ["LABKIT_RANK"]), Path(folder)
    stacks = open(home / f"stacks-{rank}", "w", encoding="utf-8")  # noqa: SIM115  (open as long as the process lives)
    released = _hold_to_parent(stacks)
    faulthandler.enable(stacks)
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, stacks, all_threads=True)
    _speak()
    options = pickle.loads((home / "options").read_bytes())
    faulthandler.dump_traceback_later(options["timeout"] + SPARE, exit=True, file=stacks)
    outcome = home / f"outcome-{rank}"
    try:
        _leave(outcome, "returned", _work(home, options))
    except BaseException as error:
        _leave(outcome, "raised", _failure(error))
    released.wait()
    atexit._run_exitfuncs()
    _flush()
    os._exit(0)  # whatever threads there are


def _work(home: Path, options: dict[str, Any]) -> Any:
    fn, args, kwargs = unpack((home / "task").read_bytes())
    if options["group"]:
        from labkit.ranks.group import join

        join(options["backend"], options["patience"], options["checks"])
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(options["threads"])
    try:
        return fn(*args, **kwargs)
    except SystemExit as stop:
        if stop.code in (None, 0):
            return None
        raise


def _leave(path: Path, kind: str, what: Any) -> None:
    """Write the outcome whole or not at all: it is renamed when it is written, and what was printed comes before it."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        pickle.dump(kind, file)
        try:
            dump(what, file)
        except Exception as error:
            raise TypeError(_refusal(what, error)) from None
    _flush()
    part.replace(path)


def _refusal(what: Any, error: Exception) -> str:
    found = unsendable(parts_of(what))
    inside = f", whose {found[0]} is a {found[1]}," if found else ""
    return (
        f"the function returned a {type(what).__qualname__}{inside} that cannot be sent back ({error}): "
        "return numbers, text, arrays or tensors"
    )


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or put away by the function
            stream.flush()


def _failure(error: BaseException) -> dict[str, Any]:
    when = time.time()
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else 1
        return {"kind": "exit", "message": f"left by sys.exit({error.code!r})", "when": when, "exitcode": code}
    message, trace = told(error)
    return {"kind": type(error).__name__, "message": message, "when": when, "traceback": trace}


def _hold_to_parent(stacks: Any) -> threading.Event:
    """End with the parent, however that ends: a thread listens at the pipe that the parent holds open.

    "." is the word to leave, "?" the wish for a stack where there are no signals. The pipe's end means that the parent
    is gone: then this process goes, with all that it has started. The keyboard is nobody's: `input` ends at once.
    """
    line, released = os.dup(0), threading.Event()
    with open(os.devnull, encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 0)

    def listen() -> None:
        try:
            while word := os.read(line, 1):
                if word == b".":
                    released.set()
                else:
                    faulthandler.dump_traceback(stacks, all_threads=True)
        except OSError:
            return  # the function has closed all files, as daemons do: the parent ends what does not end
        if not released.is_set():
            _end_all()

    threading.Thread(target=listen, name="parent", daemon=True).start()
    return released


def _end_all() -> None:
    end_marked(os.environ.get(MARK, ""), but=os.getpid())
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _speak() -> None:
    """Print line by line, in UTF-8, and warnings in one line each."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    warnings.showwarning = _one_line


def _one_line(message: Any, category: type[Warning], *_place: Any, **_more: Callable[..., Any]) -> None:
    print(f"{category.__name__}: {' '.join(str(message).split())}", file=sys.stderr)
