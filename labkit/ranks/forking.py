"""Ranks that need not import torch again: forked from a process that has imported it, and has done nothing else.

To fork the kernel would be unsafe, since it may have used threads, and a lock held by one of them would stay locked for
ever. This process has a single thread and no process group. It is started once, forks a rank whenever it is asked to,
writes down how each one ends, and ends when the process that asks ends.
"""

import atexit
import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["Forked", "fork_rank"]

# torch._dynamo takes a second, too, and comes with the first optimizer.
IMPORTED = ("torch.distributed", "torch._dynamo", "cloudpickle", "labkit.ranks.inside", "labkit.ranks.group")
# Names that libraries read while they are imported: where they differ, nothing imported can be shared.
READ_EARLY = (
    "CUDA",
    "DYLD",
    "GLOO",
    "GOMP",
    "KMP",
    "LD_",
    "MALLOC",
    "MKL",
    "NCCL",
    "OMP",
    "OPENBLAS",
    "PYTHON",
    "TORCH",
)
PATIENCE = 60.0  # seconds for importing torch and forking; then ranks are started without it
BEGIN = (
    "import json, os, sys; sys.path[:] = json.loads(os.environ.pop('LABKIT_PATH')); "
    "from labkit.ranks.forking import serve; serve(int(sys.argv[1]))"
)


class Forked:
    """A process that another one has forked for us: what is needed of `subprocess.Popen`, for a rank."""

    def __init__(self, pid: int, stdin: Any, stdout: Any, end: Path, parent: subprocess.Popen) -> None:
        self.pid, self.stdin, self.stdout, self._end, self._parent = pid, stdin, stdout, end, parent
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, below 0 for a signal, or None while it runs."""
        if self.returncode is None:
            gone = not _runs(self.pid, orphan=self._parent.poll() is not None)
            if self._end.exists():  # written before the process is gone
                self.returncode = int(self._end.read_text())
            elif gone:
                self.returncode = -signal.SIGKILL  # nobody was left to say how it ended
        return self.returncode

    def wait(self, timeout: float | int | None = None) -> int:
        """The exit code, once there is one.

        Raises:
            subprocess.TimeoutExpired: when it takes longer.
        """
        until = time.monotonic() + (timeout if timeout is not None else float("inf"))
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("rank", timeout or 0)
            time.sleep(0.002)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def fork_rank(names: Mapping[str, str], more: Mapping[str, Any], folder: Path, number: int) -> Forked | None:
    """Start a rank with this environment, for the task in `folder`, by a fork; None where that cannot be.

    It cannot be outside of Linux, with more than one thread for each rank, and when `more`, which the caller has added
    to the environment, has names that libraries read while they are imported.
    """
    early = {name: value for name, value in names.items() if name.startswith(READ_EARLY)}
    if (
        not sys.platform.startswith("linux")
        or names.get("OMP_NUM_THREADS") != "1"
        or any(name.startswith(READ_EARLY) for name in more)
    ):
        return None
    with _LOCK, contextlib.suppress(OSError, ValueError):  # without it, a rank starts as anywhere else
        asked = {"env": dict(names), "path": [str(one) for one in sys.path], "cwd": os.getcwd()}
        (folder / f"birth-{number}").write_text(json.dumps(asked))
        return _parent(early).fork(folder, number)
    return None


class _Parent:
    """Our end of the process that forks."""

    def __init__(self, early: Mapping[str, str]) -> None:
        self.early, self.owner = early, os.getpid()
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.line.settimeout(PATIENCE)
        own = {name: value for name, value in os.environ.items() if not name.startswith(READ_EARLY)}
        path = {"LABKIT_PATH": json.dumps([str(one) for one in sys.path])}
        with theirs:
            command = [sys.executable, "-c", BEGIN, str(theirs.fileno())]
            silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self.process = subprocess.Popen(
                command, env=own | self.early | path, pass_fds=[theirs.fileno()], start_new_session=True, **silent
            )

    def fits(self, early: Mapping[str, str]) -> bool:
        """Whether it is ours, lives, and was started with these names."""
        return self.owner == os.getpid() and self.early == early and self.process.poll() is None

    def fork(self, folder: Path, number: int) -> Forked:
        """A new rank, held by two pipes as if we had started it."""
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        try:
            socket.send_fds(self.line, [os.fsencode(folder / f"birth-{number}")], [theirs_in, theirs_out])
            pid = int(self.line.recv(64))
        except (OSError, ValueError):
            for pipe in (ours_in, ours_out):
                os.close(pipe)
            self.close()
            raise
        finally:
            for pipe in (theirs_in, theirs_out):
                os.close(pipe)
        end = folder / f"end-{pid}"
        return Forked(pid, os.fdopen(ours_in, "wb"), os.fdopen(ours_out, "rb"), end, self.process)

    def close(self) -> None:
        """End it. A process that was forked from the one that started it only forgets it."""
        self.line.close()
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()


_LOCK = threading.Lock()
_PARENTS: list[_Parent] = []  # the last one is asked; those before it have ranks that still run, perhaps


def _parent(early: Mapping[str, str]) -> _Parent:
    if not _PARENTS or not _PARENTS[-1].fits(early):
        for one in _PARENTS:
            one.line.close()  # it ends when its ranks have
        _PARENTS.append(_Parent(early))
    return _PARENTS[-1]


@atexit.register
def _end_parents() -> None:
    while _PARENTS:
        _PARENTS.pop().close()


def _runs(pid: int, orphan: bool) -> bool:
    """Whether there is such a process; one that has ended counts as long as somebody is there to take note."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return not (orphan and state == "Z")


def serve(number: int) -> NoReturn:
    """Import what every rank needs, then fork one for each message, until there is nobody to send any."""
    line, woken = socket.socket(fileno=number), os.pipe()
    for name in IMPORTED:
        importlib.import_module(name)
    for end in woken:
        os.set_blocking(end, False)
    signal.set_wakeup_fd(woken[1])
    signal.signal(signal.SIGCHLD, lambda *_: None)
    folders: dict[int, Path] = {}
    asking = [line]
    while asking or folders:
        ready, _, _ = select.select([*asking, woken[0]], [], [])
        if woken[0] in ready:
            os.read(woken[0], 4096)
            _note_ends(folders)
        if line in ready:
            message, pipes, *_ = socket.recv_fds(line, 4096, 2)
            if not message:
                asking.clear()
                continue
            birth = Path(os.fsdecode(message))
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                _be_a_rank(birth, pipes, [line.detach(), *woken])
            for pipe in pipes:
                os.close(pipe)
            folders[pid] = birth.parent
            line.send(str(pid).encode())
    os._exit(0)


def _note_ends(folders: dict[int, Path]) -> None:
    """Write down the exit codes of those that have ended, each whole or not at all, and only then let them go."""
    for pid in list(folders):
        if found := os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
            end = folders.pop(pid) / f"end-{pid}"
            with contextlib.suppress(OSError):  # whoever asked for it has cleared up
                end.with_suffix(".part").write_text(str(code))
                end.with_suffix(".part").replace(end)
            os.waitpid(pid, 0)


def _be_a_rank(birth: Path, pipes: list[int], others: list[int]) -> NoReturn:
    """What a new interpreter would be: another session, environment, place, and chance."""
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for pipe, standard in zip([pipes[0], pipes[1], pipes[1]], range(3), strict=True):
            os.dup2(pipe, standard)
        for one in [*pipes, *others]:
            os.close(one)
        sys.stdin, sys.stdout, sys.stderr = (open(n, "w" if n else "r", closefd=False) for n in range(3))  # noqa: SIM115
        asked = json.loads(birth.read_text(encoding="utf-8"))
        os.environ.clear()
        os.environ.update(asked["env"])
        os.chdir(asked["cwd"])
        sys.path[:] = asked["path"]
        importlib.import_module("numpy").random.seed()  # else all ranks would draw the same numbers
        importlib.import_module("labkit.ranks.inside").main(str(birth.parent))
    except BaseException:
        traceback.print_exc()
    os._exit(1)
