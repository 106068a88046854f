"""What a run leaves behind: processes that carry its mark, files in its temporary folder, shared memory."""

import contextlib
import os
import re
from pathlib import Path

import psutil

from tests.census import outliving

SHARED = Path("/dev/shm")
# The lock by which the Ray clusters of one user take turns, and the place of torch's compiler: there for the next run.
STAYS = re.compile(r"labkit-ray-\d+\.lock|torchinductor_[^/]*(/.*)?")
PATIENCE = 10.0  # seconds in which a rank may notice that its parent is gone


def processes(mark, patience=PATIENCE):
    """A line for each process that outlives its run by more than a moment; it is ended."""
    return [f"a process that went on: {line}" for line in outliving(mark, patience)]


def shared_memory():
    """The names of what lies in shared memory."""
    return set(os.listdir(SHARED)) if SHARED.is_dir() else set()


def unheld(names):
    """Those pieces of shared memory which no process holds open or mapped: nobody will ever remove them."""
    names = {name for name in names if (SHARED / name).exists()}
    for process in psutil.process_iter() if names else ():
        held = _held(Path(f"/proc/{process.pid}"))
        names = {name for name in names if f"{SHARED}/{name}" not in held}
    return names


def _held(process):
    """The paths of all that a process has open or mapped, as one text."""
    found = []
    with contextlib.suppress(OSError):
        found.append((process / "maps").read_text(encoding="utf-8", errors="replace"))
        for one in os.listdir(process / "fd"):
            with contextlib.suppress(OSError):  # closed meanwhile
                found.append(os.readlink(process / "fd" / one))
    return "\n".join(found)


def files_in(folder):
    """The paths of all files below a folder, from the folder on; a folder that is empty counts as one."""
    found = (path for path in Path(folder).rglob("*") if not path.is_dir() or not any(path.iterdir()))
    return sorted(path.relative_to(folder).as_posix() for path in found)
