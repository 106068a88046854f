"""SIGKILL for kernels, each after a time that a seed decides, while the notebooks run."""

import contextlib
import random
import re
import signal
import threading
import time

import psutil

from tests.census import marked

PAUSE = 0.05  # seconds between two looks
SOCKET = re.compile(r"/kernel(\.json)?-ipc-\d")  # what a kernel of labkit listens at, forked or fresh
LAUNCHER = "ipykernel_launcher"


class Killer:
    """Within the block, kills every kernel that carries the mark, each after its own time counted from its start.

    `longest` gives the longest such time for the first kernel, the second, and so on; a kernel that is done before its
    time lives. `killed` holds the seconds after which each of the others was killed.
    """

    def __init__(self, token, seed, longest):
        self.token, self.longest = token, list(longest)
        self.killed = []
        self._random = random.Random(seed)
        self._due = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._hunt, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _hunt(self):
        while not self._done.wait(PAUSE):
            for process in kernels(marked(self.token)):
                now = time.monotonic()
                if process not in self._due:
                    longest = self.longest[min(len(self._due), len(self.longest) - 1)]
                    self._due[process] = (now, now + self._random.uniform(0, longest))
                begun, due = self._due[process]
                if now >= due:
                    with contextlib.suppress(psutil.Error):
                        process.send_signal(signal.SIGKILL)
                        self.killed.append(round(now - begun, 2))


def kernels(processes):
    """Those of the processes which are kernels; a rank that was forked from one holds its sockets and is none."""
    found = {process.pid: process for process in processes if is_kernel(process)}
    alone = []
    for process in found.values():
        with contextlib.suppress(psutil.Error):
            if process.ppid() not in found:
                alone.append(process)
    return alone


def is_kernel(process):
    """Whether a process listens as the kernel of a notebook does."""
    try:
        if LAUNCHER in " ".join(process.cmdline()):
            return True
        return any(SOCKET.search(str(one.laddr)) for one in process.net_connections(kind="unix"))
    except (psutil.Error, OSError):
        return False
