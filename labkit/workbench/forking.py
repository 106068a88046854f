"""Kernels that need not import everything again: forked from a process that has imported it, and has done nothing else.

Starting a kernel and importing torch costs some five seconds of CPU for each notebook, and a run of the course pays
them once. There are two such processes at most, one with torch and one without, so that a notebook without torch holds
none. The memory of a forked kernel counts what it shares in full, as that of a fresh one does, but of the files of a
library only the pages that it has touched itself. Each has random numbers of its own; what is drawn when an interpreter
starts, the order of a set of texts, they have in common, and another run has another.

On Linux only; elsewhere, with LABKIT_FRESH_KERNELS=1, and when forking fails, kernels are started as anywhere else.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from labkit.ranks.forking import READ_EARLY, Forked
from labkit.workbench import forking_parent, notebooks

FRESH = "LABKIT_FRESH_KERNELS"
LAUNCHER = ("-m", "ipykernel_launcher")
# Not ipykernel.kernelapp, which reads the environment while it is imported.
KERNEL = ("ipykernel.ipkernel", "ipykernel.zmqshell", "ipykernel.heartbeat", "ipykernel.iostream")
COURSE = ("numpy", "matplotlib.pyplot", "matplotlib.backends.backend_agg", "labkit.workbench.session", "ipywidgets")
# torch._dynamo takes a second, too, and comes with the first optimizer.
TORCH = ("torch", "torch.nn.functional", "torch.distributed", "torch._dynamo")
PATIENCE = 120.0  # seconds for imports on a machine that is busy; then the kernel is started without them
SENTENCE = "The process that forks kernels has ended: from here on every notebook starts a kernel of its own."


def wanted() -> bool:
    """Whether kernels are forked unless somebody says otherwise: on Linux, and not with LABKIT_FRESH_KERNELS=1."""
    return sys.platform.startswith("linux") and os.environ.get(FRESH, "") in ("", "0")


@contextlib.contextmanager
def parents(paths: Iterable[Path]) -> Iterator["Parents | None"]:
    """Within the block there is what forks the kernels of these notebooks: None where they are to be fresh."""
    paths = list(paths)
    if not paths or not wanted():
        yield None
        return
    forking = Parents(kernel_environment(os.environ))
    forking.prepare(imports(path) for path in paths)
    try:
        yield forking
    finally:
        forking.close()


def imports(path: Path) -> tuple[str, ...]:
    """Give what the kernel of a notebook should find imported: more when its code imports labkit or names torch."""
    try:
        code = "\n".join(str(cell["source"]) for cell in notebooks.code_cells(notebooks.read(path)))
    except (ValueError, OSError):  # whoever runs it finds out and says so
        return KERNEL
    with_torch = TORCH if re.search(r"\btorch\b", code) else ()
    return (
        *KERNEL,
        *(COURSE if with_torch or re.search(r"^\s*(import|from)\s+labkit\b", code, re.M) else ()),
        *with_torch,
    )


def kernel_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of a kernel: ours, with paths that hold in the notebook's folder too."""
    paths = [str(Path(each).resolve()) for each in own.get("PYTHONPATH", "").split(os.pathsep) if each]
    ours = {"LABKIT_HEADLESS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    return {**own, **ours, **({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})}


class ForkedKernel(Forked):
    """A kernel that was forked: what jupyter_client needs of `subprocess.Popen`."""

    stderr = None

    def __init__(self, pid: int, end: Path, parent: subprocess.Popen) -> None:
        super().__init__(pid, None, None, end, parent)

    @property
    def orphan(self) -> bool:
        """Whether the process that forked it has ended, and it with it."""
        return self._parent.poll() is not None


class Parents:
    """The processes that fork the kernels of one run, each started when it is first wanted; they end with the run."""

    def __init__(self, environment: Mapping[str, str], say: Callable[[str], Any] | None = None) -> None:
        self._environment, self._say = dict(environment), say or _say
        self._lock = threading.Lock()
        self._parents: dict[tuple[str, ...], _Parent] = {}
        self._broken = False

    def prepare(self, wanted: Iterable[tuple[str, ...]]) -> None:
        """Start the processes with these imports, so that they import while something else is done."""
        with self._lock:
            for names in dict.fromkeys(wanted):
                with contextlib.suppress(OSError):
                    self._parent(names)

    def fork(self, names: tuple[str, ...], command: list[str], folder: Path, **asked: Any) -> ForkedKernel | None:
        """Fork a kernel, with `asked` its `env` and `cwd`; None where a fresh one is to be started instead.

        `folder` is one that only this kernel uses; its exit code is written there.
        """
        env = asked["env"]
        if (
            command[:1] != [sys.executable]
            or tuple(command[1:3]) != LAUNCHER
            or _early(env) != _early(self._environment)
        ):
            return None
        with self._lock:
            if self._broken:
                return None
            try:
                birth = {"command": command, "env": env, "cwd": str(asked["cwd"])}
                (folder / forking_parent.BIRTH).write_text(json.dumps(birth), encoding="utf-8")
                return self._parent(names).fork(folder)
            except (OSError, ValueError):
                self._give_up()
                return None

    def lost(self, kernel: Any) -> bool:
        """Whether this kernel ended because the process that forked it did; then no other is asked for kernels."""
        if not isinstance(kernel, ForkedKernel) or not kernel.orphan:
            return False
        with self._lock:
            self._give_up()
        return True

    def close(self) -> None:
        """End them, and every kernel that is left; one that is being forked is given up."""
        self._broken = True  # no lock: who holds it may be waiting for an answer
        while self._parents:
            self._parents.popitem()[1].close()

    def _parent(self, names: tuple[str, ...]) -> "_Parent":
        if names not in self._parents:
            self._parents[names] = _Parent(names, self._environment)
        return self._parents[names]

    def _give_up(self) -> None:
        if not self._broken:
            self._broken = True
            self._say(SENTENCE)


class _Parent:
    """Our end of one process that forks."""

    def __init__(self, names: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.settimeout(PATIENCE)
        # What libraries read while they are imported, as a notebook would have set it by then.
        usual = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "GOMP_SPINCOUNT": "0"}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, forking_parent.__file__, str(theirs.fileno()), *names],
                env={**usual, **environment},
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for us
                stdin=subprocess.DEVNULL,
            )

    def fork(self, folder: Path) -> ForkedKernel:
        """A new kernel, with the streams that this process has now."""
        socket.send_fds(self._line, [os.fsencode(folder)], [1, 2])
        pid = int(self._line.recv(64))
        return ForkedKernel(pid, folder / f"end-{pid}", self.process)

    def close(self) -> None:
        """Let it end its kernels and itself."""
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)  # wakes who waits for an answer
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:  # it still imports
            self.process.kill()
            self.process.wait()
        self._line.close()


def _early(names: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in names.items() if name.startswith(READ_EARLY)}


def _say(sentence: str) -> None:
    from tqdm import tqdm

    tqdm.write(sentence, file=sys.stderr)  # beside the bars that are shown
