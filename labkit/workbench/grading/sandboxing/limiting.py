"""The limits a process in the sandbox puts on itself before it runs anything, and another user to be."""

import contextlib
import importlib.abc
import os
import random
import sys
from pathlib import Path
from typing import Any

__all__ = ["drop_privileges", "limit", "refuse_exercises", "tasks_of_this_user"]

NOBODY = 65534
FILES = 64  # open at a time


def limit(limits: dict, tasks: int = 0) -> list[str]:
    """Limit memory, CPU seconds, processes, files; give what could not be limited here.

    `tasks`: those that this user has already and that count, too.
    """
    try:
        import resource
    except ImportError:  # Windows
        return ["memory", "processes", "files"]
    seconds, missed = max(1, int(limits["seconds"] + 1)), []
    wanted = {
        "RLIMIT_CORE": (0, 0),
        "RLIMIT_CPU": (seconds, seconds + 1),
        "RLIMIT_FSIZE": (limits["file_bytes"],) * 2,
        "RLIMIT_NOFILE": (FILES, FILES),
        "RLIMIT_NPROC": (tasks + limits["processes"],) * 2,
        "RLIMIT_AS": (_address_space() + limits["memory"],) * 2,
        "RLIMIT_MEMLOCK": (0, 0),
        "RLIMIT_MSGQUEUE": (0, 0),
    }
    for name, bounds in wanted.items():
        try:
            resource.setrlimit(getattr(resource, name), bounds)
        except (AttributeError, ValueError, OSError):  # not every system has all of them
            missed.append(name)
    return missed


def _address_space() -> int:
    """What this process has already, in bytes: torch alone is several hundred megabytes."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text(encoding="latin-1").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def drop_privileges() -> bool:
    """Be a user that nobody else is, if this process may choose: limits on processes do not bind root."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    for user in (random.SystemRandom().randrange(1_000_000_000, 2_000_000_000), NOBODY):  # NOBODY: in a small container
        try:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            return True
        except OSError:
            continue
    raise OSError("this process is root and cannot become anybody else")


def tasks_of_this_user() -> int:
    """How many threads this user runs: they all count where the limit on processes is one per user (Linux)."""
    count, me = 0, os.getuid()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if place.stat().st_uid == me:
                count += len(os.listdir(place / "task"))
    return count


class _NoExercises(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "labkit.exercises" or name.startswith("labkit.exercises."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def refuse_exercises() -> None:
    """Let nothing import the exercises. Who reads files can still read theirs; only bubblewrap hides those."""
    sys.meta_path.insert(0, _NoExercises())
