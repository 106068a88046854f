"""The first process in the sandbox: imports once what answers need, then forks one child for each exercise.

It runs nothing of the student's. With bubblewrap it is process 1 of its own small world: nothing in there can kill it,
and one call kills everything else.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import pickle
import select
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

from labkit.workbench.grading.sandboxing import doors, inside, limiting

__all__ = ["serve"]

NOT_DUMPABLE, DUMPABLE, SUBREAPER = (4, 0), (4, 1), (36, 1)  # prctl: PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER
DIE_WITH_PARENT = (1, 9)  # PR_SET_PDEATHSIG: an answer that kills who watches it ends with it
LOOK = 0.03  # seconds between two looks at the memory
SCRATCH = ("/tmp", "/dev/shm")  # all that can be written to in bubblewrap
FEW = 200  # files that are removed one by one


def serve(number: int) -> NoReturn:
    """Serve the socket with this number until it closes; the first line on it says what to import."""
    line = socket.socket(fileno=number)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for option in (NOT_DUMPABLE, SUBREAPER):
        _prctl(*option)
    asked = json.loads(line.recv(65536))
    limiting.refuse_exercises()
    for name in asked["imports"]:
        with contextlib.suppress(BaseException):  # whoever needs it will see why it fails; some are programs that exit
            importlib.import_module(name)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    gc.freeze()  # so that children share what is there, until they write to it
    _Zygote(line, asked["limits"], asked["drop"]).run()
    place = Path.cwd()
    if os.getpid() != 1 and place.name.startswith("labkit-grade-"):  # whoever made it may have been killed
        with contextlib.suppress(Exception):
            shutil.rmtree(place, ignore_errors=True)
    os._exit(0)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


class _Zygote:
    """One child at a time: asked for by a message with two sockets, ended by the next message or by itself."""

    def __init__(self, line: socket.socket, limits: dict, drop: bool) -> None:
        self.line, self.limits, self.drop = line, limits, drop
        self.alone = os.getpid() == 1
        self.own = _private(os.getpid())
        self.files = {at: set(os.listdir(at)) for at in SCRATCH} if self.alone else {}

    def run(self) -> None:
        self._say({"ready": True})
        while True:
            message, ends, *_ = socket.recv_fds(self.line, 4096, 2)
            if not message:
                return
            if message == b'"stop"':  # for a child that has ended meanwhile
                continue
            if len(ends) < 2:  # an answer has taken away what this process may open
                return
            try:
                child = os.fork()
            except OSError as error:
                self._say({"failed": str(error)})
                child = None
            if child == 0:
                self._be_a_child(*ends)
            for end in ends:
                os.close(end)
            if child and not self._watch(child, json.loads(message)["seconds"]):
                return

    def _say(self, words: dict) -> None:
        with contextlib.suppress(OSError):
            self.line.send(json.dumps(words).encode())

    def _watch(self, child: int, seconds: float) -> bool:
        """Wait until the child ends, has to, or takes too much; True if there may be another one."""
        why, ending = "", os.pidfd_open(child)  # why it was killed, if it was
        try:
            while True:
                ready, _, _ = select.select([self.line, ending], [], [], LOOK)
                if ending in ready:
                    break
                if self.line in ready:
                    if not self.line.recv(4096):
                        self._kill_all(child)
                        return False
                    why = "told"
                    break
                if why := self._too_much(seconds):
                    break
        finally:
            os.close(ending)
        status = self._kill_all(child)
        clean = self._clean()
        code = os.waitstatus_to_exitcode(status) if status is not None else -9
        self._say({"ended": code, "why": why, "spent": not clean})
        return clean

    def _clean(self) -> bool:
        """Remove the files that the child has left; False if they are many or in folders: this box is done."""
        with contextlib.suppress(OSError):
            for at, kept in self.files.items():
                left = [
                    entry.path for _, entry in zip(range(FEW), os.scandir(at), strict=False) if entry.name not in kept
                ]
                for path in left:
                    os.unlink(path)
            return all(set(os.listdir(at)) <= kept for at, kept in self.files.items())
        return False

    def _others(self) -> list[int]:
        return _everybody() if self.alone else _offspring(os.getpid())

    def _too_much(self, seconds: float) -> str:
        """What all that runs in here has taken too much of, if so: "memory", without what a fork shares, or "time"."""
        others = self._others()
        if sum(max(0, _private(pid) - self.own) for pid in others) > self.limits["memory"]:
            return "memory"
        return "time" if sum(map(_worked, others)) > seconds + 1 else ""

    def _kill_all(self, child: int) -> int | None:
        """Kill the child and whatever it has left behind; give how the child ended."""
        status, until = None, time.monotonic() + 5.0
        while time.monotonic() < until:
            if self.alone:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(-1, signal.SIGKILL)
            else:
                _kill_offspring(child)
            with contextlib.suppress(ChildProcessError):
                while found := os.waitpid(-1, os.WNOHANG):
                    if found[0] == 0:
                        break
                    status = found[1] if found[0] == child else status
                time.sleep(0.0005)
                continue
            return status  # nobody is left
        return status

    def _be_a_child(self, channel: int, printed: int) -> NoReturn:
        """Another session, user and limits; the task comes by the channel, frames go back by it."""
        try:
            os.setsid()
            self.line.detach()
            nothing = os.open("/dev/null", os.O_RDONLY)
            for source, standard in ((nothing, 0), (printed, 1), (printed, 2)):
                os.dup2(source, standard)
            os.closerange(3, channel)
            os.closerange(channel + 1, 4096)
            sys.stdin, sys.stdout, sys.stderr = (
                open(n, "w" if n else "r", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
                for n in range(3)
            )
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            with socket.socket(fileno=channel) as ours, ours.makefile("rb") as incoming:
                task = pickle.load(incoming)
                tasks = 0 if self.alone or self.drop else limiting.tasks_of_this_user()
                if self.drop:
                    limiting.drop_privileges()
                limiting.limit(self.limits | {"seconds": task["seconds"]}, tasks)
                doors.shut()
                for option in (DUMPABLE, DIE_WITH_PARENT):
                    _prctl(*option)
                os.chdir(task["place"])
                os.environ.update(dict.fromkeys(("HOME", "TMPDIR"), task["place"]))
                inside.answer(task, ours.sendall)
        except BaseException:  # the one who asked sees that something is missing
            os._exit(1)
        os._exit(0)


def _private(pid: int | str) -> int:
    """The bytes of memory that a process has for itself: its own pages, and shared ones that it made."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="latin-1").splitlines()
        sizes = [int(one.split()[1]) for one in lines if one.startswith(("RssAnon", "RssShmem"))]
        return sum(sizes) * 1024
    return 0


def _worked(pid: int) -> float:
    """The seconds of processor time that a process has had, with its children that have ended."""
    with contextlib.suppress(OSError, ValueError):
        times = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()[11:15]
        return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _everybody() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]


def _offspring(root: int) -> list[int]:
    """All processes that come from this one, children of children included."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = Path(f"/proc/{name}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()[1]
                parents.setdefault(int(parent), []).append(int(name))
    found, waiting = [], [root]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def _kill_offspring(child: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # at once, before any of them forks again
    for pid in _offspring(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
