"""The process that imports what many notebooks need, once, and forks a kernel from itself whenever it is asked to.

A script of the standard library alone: `forking` runs it by its path, so that a kernel finds labkit, or does not find
it, exactly as a fresh one would. It has one thread of its own when it forks. (OpenBLAS starts some when NumPy is
imported; it ends them before each fork and starts them anew, in either process, when it needs them.)
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import random
import runpy
import select
import shutil
import signal
import socket
import sys
from pathlib import Path

BIRTH = "birth.json"  # what to run, with which environment, where


def serve(number: int, names: list[str]) -> None:
    """Import the named modules, then fork a kernel for each message on the socket `number`; only kernels return."""
    line, woken, before = socket.socket(fileno=number), os.pipe(), dict(os.environ)
    for name in names:
        with contextlib.suppress(ImportError):  # the page that needs it will say so
            importlib.import_module(name)
    added = {name: value for name, value in os.environ.items() if before.get(name) != value}
    gc.collect()
    gc.freeze()  # a kernel that collects its garbage leaves these pages alone, and shared
    for end in woken:
        os.set_blocking(end, False)
    signal.set_wakeup_fd(woken[1])
    signal.signal(signal.SIGCHLD, lambda *_: None)
    folders: dict[int, Path] = {}
    while True:
        ready, _, _ = select.select([line, woken[0]], [], [])
        if woken[0] in ready:
            os.read(woken[0], 4096)
            note_ends(folders)
        if line in ready:
            message, streams, *_ = socket.recv_fds(line, 4096, 2)
            if not message:
                _end_all(folders, added.get("MPLCONFIGDIR"))
            folder = Path(os.fsdecode(message))
            try:
                pid = _fork()
            except OSError:  # too many processes, say: who asked starts a kernel itself, and those that run go on
                pid = None
            if pid == 0:
                signal.set_wakeup_fd(-1)
                return _be_a_kernel(folder, streams, [line.detach(), *woken], added)
            for stream in streams:
                os.close(stream)
            if pid:
                folders[pid] = folder
            line.send(str(pid).encode())


def note_ends(folders: dict[int, Path]) -> None:
    """Write down the exit codes of the kernels that have ended, each whole or not at all, and only then let them go."""
    for pid in list(folders):
        if found := os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
            end = folders.pop(pid) / f"end-{pid}"
            with contextlib.suppress(OSError):  # whoever asked for it has cleared up
                end.with_suffix(".part").write_text(str(code))
                end.with_suffix(".part").replace(end)
            os.waitpid(pid, 0)


def _end_all(folders: dict[int, Path], temporary: str | None) -> None:
    """Nobody is left who could ask: the kernels end with all that is in their sessions, and then this process."""
    for pid in folders:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    if temporary:
        shutil.rmtree(temporary, ignore_errors=True)
    os._exit(0)


def _fork() -> int:
    """Fork; the parent goes on when the child leads a session of its own, or is gone."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
    os.close(told)
    if pid:
        os.read(ready, 1)  # nothing comes, but the child has closed the other end
    os.close(ready)
    return pid


def _be_a_kernel(folder: Path, streams: list[int], others: list[int], added: dict[str, str]) -> None:
    """What a new interpreter would be: other streams, environment, place, command line, and chance."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # What matplotlib made where the home cannot be written is for all kernels, and the parent removes it.
    atexit.unregister(shutil.rmtree)
    for stream, standard in zip(streams, (1, 2), strict=True):
        os.dup2(stream, standard)
    for one in [*streams, *others]:
        os.close(one)
    asked = json.loads((folder / BIRTH).read_text(encoding="utf-8"))
    os.environ.clear()
    os.environ.update({**asked["env"], **added, "JPY_PARENT_PID": str(os.getppid())})
    os.chdir(asked["cwd"])
    if "tempfile" in sys.modules:
        sys.modules["tempfile"].tempdir = None  # it looks again, in this environment
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # else all kernels would draw the same numbers
    if not sys.flags.safe_path:
        sys.path.insert(0, os.getcwd())
    command = asked["command"]
    sys.orig_argv, sys.argv = command, command[2:]
    runpy.run_module(command[2], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the folder of this file, whose modules must not stand for others
    serve(int(sys.argv[1]), sys.argv[2:])
