"""What came of an exercise that ran in the sandbox, and how it is collected."""

import contextlib
import time
from dataclasses import dataclass
from typing import Any

from labkit.workbench.grading.sandboxing.listening import Frames, Tail
from labkit.workbench.grading.sandboxing.places import PATIENCE, Exchange, Lost
from labkit.workbench.grading.sandboxing.unwiring import Unreadable, clean, decode, kind_of_error

__all__ = ["Answered", "Came", "Limits", "Listener"]

CPU_SIGNAL = -24  # SIGXCPU
ENDING = 0.3  # seconds in which a process that has stopped speaking may end by itself, and say how
STATES = ("ready", "not started")


@dataclass(frozen=True)
class Limits:
    """What one exercise may use: wall seconds, bytes of memory, processes, bytes per file, printed, and sent back."""

    seconds: float | int = 10.0
    memory: int = 2 * 2**30
    processes: int = 32
    file_bytes: int = 10_000_000
    output_bytes: int = 1_000_000
    answer_bytes: int = 64_000_000


@dataclass(frozen=True)
class Came:
    """What came of one input: a value of plain types, or an error by its kind, words and line.

    `lazy`: it came as an iterator. `unfilled`: it only stumbled over a `...`; that can lower a grade, never raise it.
    """

    value: Any = None
    kind: str = ""
    words: str = ""
    line: str = ""
    lazy: bool = False
    unfilled: bool = False


@dataclass(frozen=True)
class Answered:
    """What came of one exercise.

    `status`: ok, not started, missing, error (running the source failed: `error`), timeout, memory, crashed, refused.
    `answer` is what was found where a function was expected.
    """

    outcomes: tuple[Came, ...]
    status: str
    why: str = ""
    said: str = ""
    seconds: float = 0.0
    error: Came | None = None
    answer: Came | None = None


class Listener:
    """Collects what comes of one task, until it is complete, late, unreadable or over."""

    def __init__(self, exchange: Exchange, cases: int, limits: Limits, seconds: float | int) -> None:
        self.exchange, self.cases, self.seconds, self.lost = exchange, cases, seconds, False
        self.frames = Frames(exchange.frames, cases + 2, limits.answer_bytes)
        self.tail = Tail(exchange.printed, limits.output_bytes)
        self.outcomes: list[Came] = []
        self.found: dict[str, Any] = {"status": "crashed"}

    def answered(self) -> Answered:
        """What came, once all has come or nothing more can.

        Raises:
            Lost: if it could not even begin.
        """
        started = self._hello()
        try:
            complete = self._listen(started + self.seconds)
        except TimeoutError:
            self.found, complete = _because("timeout", f"It was not done after {self.seconds:g} seconds."), True
        except Unreadable as error:
            self.found, complete = _because("refused", f"What it gave cannot be read: {error}."), True
        took = time.monotonic() - started
        code, why = self._end(0.0 if complete else ENDING)
        if not complete:
            self.found = _ending(code, why, self.seconds)
        elif any(came.kind == "MemoryError" for came in self.outcomes) and self.found["status"] == "ok":
            self.found = _because("memory", "It took more memory than there is for an answer.")
        said = self.tail.text()
        self.exchange.close()
        return Answered(tuple(self.outcomes), said=said, seconds=took, **self.found)

    def _hello(self) -> float:
        """When it began, which is before anything of the student's runs."""
        with contextlib.suppress(TimeoutError, Unreadable):
            message = self.frames.next(time.monotonic() + PATIENCE)
            if message is not None and _tag(message[0]) == "hello":
                return time.monotonic()
        self._end(ENDING)
        self.exchange.close()
        raise Lost("no answer could be started in it")

    def _listen(self, until: float) -> bool:
        """Whether all came that was to come."""
        message = self.frames.next(until)
        if message is None:
            return False
        state = _tag(message[0])
        if state in ("error", "missing", "no function"):
            came = _came(*message)
            self.found = {"error": {"status": "error", "error": came}, "missing": _missing(came)}.get(
                state, {"status": "ok", "answer": came}
            )
            return True
        if state != "state" or len(message[0]) != 2 or message[0][1] not in STATES:
            raise Unreadable("the answer has no state")
        if message[0][1] == "not started":
            self.found = {"status": "not started"}
            return True
        while len(self.outcomes) < self.cases:
            if (message := self.frames.next(until)) is None:
                return False
            if _tag(message[0]) != "came":
                raise Unreadable("something else than an outcome came")
            self.outcomes.append(_came(*message))
        self.found = {"status": "ok"}
        return True

    def _end(self, patience: float) -> tuple[int | None, str]:
        try:
            return self.exchange.end(patience)
        except Lost:
            self.lost = True
            return None, ""


def _tag(message: Any) -> str:
    if not isinstance(message, list) or not message or not isinstance(message[0], str):
        raise Unreadable("a message has no tag")
    return message[0]


def _came(message: list, blob: bytes) -> Came:
    if len(message) != 7 or any(type(flag) is not bool for flag in message[5:]):
        raise Unreadable("an outcome has the wrong parts")
    _, node, kind, words, line, lazy, unfilled = message
    kind = kind_of_error(kind) if kind != "" else ""
    words, line = clean(words, 500), clean(line, 200)
    return Came(None if kind else decode(node, blob), kind, words, line, lazy, unfilled)


def _missing(came: Came) -> dict:
    return {"status": "missing", "error": came}


def _because(status: str, why: str) -> dict:
    return {"status": status, "why": why}


def _ending(code: int | None, why: str, seconds: float | int) -> dict:
    """What it means that a process ended before it had sent everything."""
    if why == "memory":
        return _because("memory", "It took more memory than there is for an answer.")
    if code == CPU_SIGNAL or why == "time":
        return _because("timeout", f"It computed for more than {seconds:g} seconds.")
    if code is not None and code < 0 and not why:
        return _because("crashed", f"It made the interpreter crash (signal {-code}).")
    return _because("crashed", "It ended the interpreter before it had given all its answers.")
