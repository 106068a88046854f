"""What a run leaves behind: processes that carry its mark, files in its temporary folder, shared memory."""

import contextlib
import os
import re
import secrets
import time
from pathlib import Path

import psutil

MARK = "LABKIT_ENDURANCE"
SHARED = Path("/dev/shm")
# The lock by which the Ray clusters of one user take turns, and the place of torch's compiler: there for the next run.
STAYS = re.compile(r"labkit-ray-\d+\.lock|torchinductor_[^/]*(/.*)?")
PATIENCE = 10.0  # seconds in which a rank may notice that its parent is gone


def new_mark():
    """A word that the environment of every process of one run carries."""
    return secrets.token_hex(8)


def marked(token):
    """The processes that carry the mark of a run, whoever their parent is now; none but this user's are seen."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == token and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def orphans(token, patience=PATIENCE):
    """A line for each process that outlives its run by more than a moment; it is ended."""
    until = time.monotonic() + patience
    while (alive := marked(token)) and time.monotonic() < until:
        time.sleep(0.1)
    said = []
    for process in alive:
        with contextlib.suppress(psutil.Error):
            said.append(f"a process that went on: {' '.join(process.cmdline())[:120]}")
            process.kill()
    return said


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
