"""Run a student's answers where they can do no harm, and get back values: nothing that comes out can act or decide.

`Sandbox` is one per submission. An answer is called on inputs and gives values; whether these are right is decided out
here, by whoever knows what is expected. So there is nothing in there worth forging: who sends other values than the
answer gave has only given another answer.
"""

import contextlib
import os
import pickle
import sys
import threading
from collections.abc import Iterable
from typing import Any

from labkit.workbench.grading.sandboxing import bubblewrap
from labkit.workbench.grading.sandboxing.answered import Answered, Came, Limits, Listener
from labkit.workbench.grading.sandboxing.packing import imports_of, pack
from labkit.workbench.grading.sandboxing.places import Alone, Lost, Stable, others_can_read

__all__ = ["Answered", "Came", "Limits", "Sandbox", "imports_of", "kind_of_sandbox", "pack", "warning"]

KINDS = ("bubblewrap", "limited subprocess")


def kind_of_sandbox() -> str:
    """Which kind there is on this machine: "bubblewrap" if it really works, else "limited subprocess"."""
    return KINDS[1] if _why_not() else KINDS[0]


def _why_not() -> str:
    return bubblewrap.works() if sys.platform.startswith("linux") else "bubblewrap exists for Linux only"


def warning(kind: str | None = None) -> str:
    """What is not protected here, in words that nobody can miss; "" with bubblewrap."""
    if (kind or kind_of_sandbox()) == KINDS[0]:
        return ""
    reason = _why_not() or "it was asked for"
    lines = [
        f"WARNING: answers run WITHOUT a sandbox, in a limited subprocess ({reason}).",
        "A hostile submission can read the files that you can read (the solutions among them), write and delete those",
        "that you can write (the gradebook among them), use the network, and look into the process that grades.",
        "Answers are compared outside of it, so tricks inside a notebook earn nothing here either; a real attack may.",
        *_unlimited(),
        "Grade on Linux with bubblewrap (apt install bubblewrap), or in a virtual machine that holds nothing else.",
    ]
    return "\n".join(lines)


def _unlimited() -> list[str]:
    if sys.platform == "win32":
        return ["Memory, processes and file sizes are NOT limited on Windows; only time is."]
    if sys.platform == "darwin":
        return ["Memory is NOT limited on macOS, and a process that an answer leaves behind may go on running."]
    if os.geteuid() == 0 and not others_can_read():
        return ["YOU ARE ROOT, and so are the answers; the number of their processes is NOT limited. Do not do this."]
    return []


class Sandbox:
    """Where the answers of one submission run, one after the other; what one does, the next does not feel."""

    def __init__(self, limits: Limits | None = None, imports: Iterable[str] = (), kind: str | None = None) -> None:
        self.limits, self.imports = limits or Limits(), tuple(imports)
        self.kind = kind or kind_of_sandbox()
        if self.kind not in KINDS:
            raise ValueError(f"there is no sandbox called {kind!r}; there are {' and '.join(KINDS)}")
        self._place: Stable | Alone | None = None
        self._lock, self._closed = threading.Lock(), False

    def __enter__(self) -> "Sandbox":
        return self.warm()

    def __exit__(self, *_: object) -> None:
        self.close()

    def warm(self) -> "Sandbox":
        """Start it and come back at once; what it imports is there when it is needed.

        One that ends at once is started anew by `run`, which says so if it ends again.
        """
        with contextlib.suppress(Lost):
            self._started()
        return self

    def _started(self) -> Stable | Alone:
        with self._lock:
            if self._closed:
                raise Lost("it was closed")
            if self._place is None:
                self._place = self._new_place()
            return self._place

    def _new_place(self) -> Stable | Alone:
        limits = {"memory": self.limits.memory, "processes": self.limits.processes}
        limits |= {"file_bytes": self.limits.file_bytes, "seconds": self.limits.seconds}
        if sys.platform.startswith("linux"):
            return Stable(limits, self.imports, boxed=self.kind == KINDS[0])
        return Alone(limits, self.imports)

    def close(self) -> None:
        """End everything in it; a `run` in another thread comes back with "crashed"."""
        with self._lock:
            place, self._place, self._closed = self._place, None, True
        if place is not None:
            place.close()

    def _forget(self) -> None:
        with self._lock:
            place, self._place = self._place, None
        if place is not None:
            place.close()

    def run(
        self,
        source: str | tuple[str, ...],
        name: str,
        cases: list[tuple] | bytes,
        *,
        kind: str = "function",
        given: Any = None,
        seconds: float | int | None = None,
    ) -> Answered:
        """Execute the sources, call what `name` then is with every case, and give what came.

        `kind="value"`: `name` is the value itself. `given`: what `labkit.given` gives in there.
        """
        packed = pickle.loads(self._prepared_for(cases if isinstance(cases, bytes) else pack(cases)))
        seconds = self.limits.seconds if seconds is None else seconds
        task = {
            "sources": (source,) if isinstance(source, str) else tuple(source),
            "name": name,
            "kind": kind,
            "given": pickle.dumps(given),
            "cases": packed,
            "seconds": seconds,
            "most_bytes": self.limits.answer_bytes // 2,
        }
        for last in (False, True):  # a process that an earlier answer has damaged is replaced once
            try:
                return self._once(task, seconds)
            except Lost as error:
                self._forget()
                if last or self._closed:
                    return Answered((), "crashed", f"The sandbox could not run the answer: {error}.")
        raise AssertionError("unreachable")

    def _prepared_for(self, cases: bytes) -> bytes:
        """Have torch imported beforehand when the inputs hold tensors, even if no answer names it."""
        if b"torch" in cases and not any(name.partition(".")[0] == "torch" for name in self.imports):
            self.imports += ("torch",)
            self._forget()
        return cases

    def _once(self, task: dict, seconds: float | int) -> Answered:
        place = self._started()
        listener = Listener(place.begin(task), len(task["cases"]), self.limits, seconds)
        try:
            return listener.answered()
        finally:
            if listener.lost or place.spent:  # the answer is known, but nobody could say how it ended, or it left files
                self._forget()
