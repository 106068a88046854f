"""A bound on the memory of a run and of all that it starts: the system's own (a control group), else a watcher."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import psutil

from tests.census import marked

ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
PAUSE = 0.1  # seconds between two looks of the watcher


class Group:
    """A control group of Linux, version 1 or 2, in which the system ends what takes more than the limit."""

    def __init__(self, folder, limit, version):
        self.folder, self.limit, self.version = folder, limit, version
        self.how = f"a control group of the system (version {version})"
        self.prefix = ("sh", "-c", ENTER, str(folder))

    @classmethod
    def made(cls, limit):
        """A new group with this limit, or None where none can be made."""
        for version, parent in _parents():
            folder = parent / f"endurance-{os.getpid()}-{time.monotonic_ns()}"
            try:
                folder.mkdir()
            except OSError:
                continue
            group = cls(folder, limit, version)
            if group._bounded():
                return group
            group.close()
        return None

    def _bounded(self):
        names = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
        if self.version == 2:
            names = ["memory.max", "memory.swap.max"]
        try:
            (self.folder / names[0]).write_text(str(self.limit))
            held = int((self.folder / names[0]).read_text())
        except (OSError, ValueError):
            return False
        with contextlib.suppress(OSError):  # a machine without swap has no bound for it
            (self.folder / names[1]).write_text(str(self.limit if self.version == 1 else 0))
        return self.limit - 2**20 < held <= self.limit

    def begin(self, token):
        """Nothing: the system watches."""

    def end(self):
        """The most bytes that were held, and how many processes the system ended for it."""
        kills, peak = ("memory.oom_control", "memory.max_usage_in_bytes")
        if self.version == 2:
            kills, peak = ("memory.events", "memory.peak")
        return _number(self.folder / peak), _number(self.folder / kills, "oom_kill ")

    def close(self):
        """Remove the group; what still runs in it keeps it for a moment."""
        for _ in range(50):
            try:
                self.folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.1)


class Watcher:
    """Adds up what the run's processes hold (shared pages once) and kills the largest when it is too much."""

    def __init__(self, limit):
        self.limit, self.prefix = limit, ()
        self.how = "a watcher that kills the largest process (this machine gives no control group)"
        self.peak = self.kills = 0
        self._done = threading.Event()

    def begin(self, token):
        """Start to watch the processes that carry this mark."""
        self.peak = self.kills = 0
        self._done.clear()
        self._thread = threading.Thread(target=self._watch, args=(token,), daemon=True)
        self._thread.start()

    def end(self):
        """Stop; the most bytes that were held, and how many processes were killed."""
        self._done.set()
        self._thread.join()
        return self.peak, self.kills

    def close(self):
        """Nothing is left to remove."""

    def _watch(self, token):
        while not self._done.wait(PAUSE):
            held = {process: _held(process) for process in marked(token)}
            self.peak = max(self.peak, sum(held.values()))
            if sum(held.values()) > self.limit:
                with contextlib.suppress(psutil.Error):
                    max(held, key=held.get).send_signal(signal.SIGKILL)
                    self.kills += 1


def _held(process):
    try:
        about = process.memory_full_info()
    except psutil.Error:
        return 0
    return getattr(about, "pss", about.rss)


def _parents():
    """Version and folder of the groups in which one of ours might be made."""
    own = {}
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        own = {line.split(":", 2)[1]: line.split(":", 2)[2].lstrip("/") for line in lines}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
            _, place, kind, options, *_ = line.split()
            if kind == "cgroup" and "memory" in options.split(","):
                yield from ((1, Path(place)), (1, Path(place) / own.get("memory", "")))
            if kind == "cgroup2":
                yield from ((2, Path(place)), (2, Path(place) / own.get("", "")))


def _number(path, before=""):
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.removeprefix(before)) for line in lines if line.startswith(before)), 0)
