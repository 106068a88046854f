"""Listening to a task in the sandbox: frames with a deadline and bounds, and the end of what it prints."""

import contextlib
import queue
import threading
import time
from collections import deque
from typing import Any

from labkit.workbench.grading.sandboxing.unwiring import MOST_JSON, Unreadable, clean, parse
from labkit.workbench.grading.sandboxing.wire import HEAD

__all__ = ["Frames", "Tail"]

LONGEST_SAID = 2000  # characters of what was printed that are kept


class Frames:
    """The frames of one task, read by a thread of its own: at most so many, at most so large all together."""

    def __init__(self, stream: Any, most: int, most_bytes: int) -> None:
        self._found: queue.SimpleQueue = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._listen, args=(stream, most, most_bytes), daemon=True)
        self._thread.start()

    def _listen(self, stream: Any, most: int, room: int) -> None:
        last: Any = None  # the stream ended
        try:
            for _ in range(most):
                head = stream.read(HEAD.size)
                if len(head or b"") < HEAD.size:
                    break
                text, blob = HEAD.unpack(head)
                room -= text + blob
                if text > MOST_JSON or room < 0:
                    raise Unreadable("more came back than an answer can hold")
                body = stream.read(text + blob)
                if len(body or b"") < text + blob:
                    break
                self._found.put((body[:text], body[text:]))
        except (OSError, ValueError) as error:
            last = error if isinstance(error, Unreadable) else None
        self._found.put(last)
        _close(stream)

    def next(self, until: float) -> tuple[Any, bytes] | None:
        """The next message and the bytes of its arrays, or None if there is none to come.

        Raises:
            Unreadable: if it is too large or not written as the sandbox writes.
            TimeoutError: if nothing has come by then.
        """
        try:
            found = self._found.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(found, Exception):
            raise found
        return None if found is None else (parse(found[0]), found[1])

    def wait(self, seconds: float) -> None:
        """Wait for the thread to be done."""
        self._thread.join(seconds)


class Tail:
    """The last of what a task prints; the rest is read and forgotten, so that printing much stops nobody."""

    def __init__(self, stream: Any, most: int) -> None:
        self._pieces: deque[bytes] = deque(maxlen=8)
        self._bytes, self._most = 0, most
        self._thread = threading.Thread(target=self._listen, args=(stream,), daemon=True)
        self._thread.start()

    def _listen(self, stream: Any) -> None:
        try:
            while piece := stream.read(65536):
                self._bytes += len(piece)
                if self._bytes > self._most:
                    time.sleep(0.001)  # who prints without end has no claim on our processor
                if len(self._pieces[-1] if self._pieces else b"") + len(piece) < 8192 and self._pieces:
                    piece = self._pieces.pop() + piece
                self._pieces.append(piece[-8192:])
        except (OSError, ValueError):
            pass
        _close(stream)

    def text(self, seconds: float = 0.5) -> str:
        """The end of it, as text that can be printed anywhere."""
        self._thread.join(seconds)
        words = b"".join(list(self._pieces)).decode("utf-8", errors="replace")
        return clean(words[-LONGEST_SAID:].replace("\r\n", "\n").replace("\t", "    "), LONGEST_SAID)


def _close(stream: Any) -> None:
    with contextlib.suppress(OSError):  # by the thread that reads it: for any other one, that may have to wait
        stream.close()
