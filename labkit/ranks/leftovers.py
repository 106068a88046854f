"""What ranks have started and left behind, found by a mark in the environment that every child inherits."""

import contextlib
import os
import signal
import uuid
from pathlib import Path

__all__ = ["MARK", "end_marked", "marked", "new_mark"]

MARK = "LABKIT_RUN"


def new_mark() -> str:
    """A word that no other run has."""
    return uuid.uuid4().hex


def marked(mark: str) -> list[int]:
    """The processes of this run that live, where the system lists environments in /proc (Linux); else none."""
    word, found = f"{MARK}={mark}".encode(), []
    for place in Path("/proc").glob("[0-9]*") if mark else ():
        with contextlib.suppress(OSError):  # it has ended meanwhile, or belongs to somebody else
            if word in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return found


def end_marked(mark: str, but: int = 0) -> None:
    """End those that have left their rank's group, as daemons do; again, in case that one started another meanwhile.

    The youngest first: ranks may do this to each other at the same time, and come last.
    """
    for _ in range(5):
        left = sorted((pid for pid in marked(mark) if pid != but), reverse=True)
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
