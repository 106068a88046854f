"""One kernel watched while its notebook runs: its cell, the memory of its processes, and that they end.

Imports psutil, so only `engine` imports this module, when something is run.
"""

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from labkit.workbench import forking

POLL = 0.1  # seconds between two looks at the memory
SHARED_EVERY = 1.0  # seconds between two looks at who shares memory with whom, which takes the system longer
# Linux can be asked for the children of a thread, where its kernel was built so.
ASKABLE = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists()


class Watch:
    """Follows one kernel: its cell, its peak memory, its processes; can stop it from another thread."""

    def __init__(self, on_cell: Callable[[int, str], None] = lambda number, name: None):
        self.on_cell = on_cell
        self.number = 0  # of the code cell that runs, as in the notebook that was given
        self.cell_id = ""
        self.source = ""
        self.peak_bytes = 0
        self.exit_code: int | None = None
        self.stopped = False
        self.started: float | None = None  # when the first code cell began, by time.perf_counter
        self.cells: list[tuple[str, float]] = []  # the id of each code cell that ran, and its seconds
        self.forked: forking.ForkedKernel | None = None
        self._kernel: psutil.Process | None = None
        self._processes: dict[int, psutil.Process] = {}
        self._shared_next = (0.0, 0.0)  # from so many bytes on, or from this moment on, look at what is shared
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def begin(self, pid: int) -> None:
        """Start to follow the kernel that has just been launched; a second one starts the account anew."""
        if self._done.is_set():
            self._done, self._thread = threading.Event(), threading.Thread(target=self._poll, daemon=True)
            self.number, self.peak_bytes, self.exit_code, self.started, self.cells = 0, 0, None, None, []
            self._shared_next = (0.0, 0.0)
        try:
            self._kernel = self._processes[pid] = psutil.Process(pid)
        except psutil.NoSuchProcess:
            return  # gone already; the client finds out and says so
        self._thread.start()
        if self.stopped:
            self.stop()

    def enter(self, cell: Any) -> None:
        """Note that a code cell begins."""
        self.cell_id, self.source = cell.get("id", ""), cell["source"]
        self.started = self.started or time.perf_counter()
        if "injected-parameters" not in cell["metadata"].get("tags", []):
            self.number += 1
            self.on_cell(self.number, self.cell_id)

    def look(self) -> None:
        """Add up what the kernel and its children hold now; one that left the family is still ours to end."""
        with contextlib.suppress(psutil.Error):  # one has just ended
            for pid in descendants(self._kernel) if self._kernel else ():
                if pid not in self._processes:
                    self._processes[pid] = psutil.Process(pid)
        held = {}
        for process in list(self._processes.values()):
            try:
                held[process.pid] = process.memory_info().rss
            except psutil.Error:
                self._processes.pop(process.pid, None)
        if (total := sum(held.values())) > self.peak_bytes and self._worth_it(total, len(held)):
            self.peak_bytes = max(self.peak_bytes, together(held, self._kernel.pid))

    def _worth_it(self, total: int, processes: int) -> bool:
        """Whether a sum that counts shared memory more than once is looked into: when it has grown, or every second."""
        if processes < 2:
            return True
        grown, late = self._shared_next
        if total <= grown and time.perf_counter() < late:
            return False
        self._shared_next = (1.02 * total, time.perf_counter() + SHARED_EVERY)
        return True

    def stop(self) -> None:
        """Kill the kernel and everything it started, now."""
        self.stopped = True
        self.kill()

    def kill(self) -> None:
        """Kill every process that was seen and still lives."""
        self.look()
        for process in list(self._processes.values()):
            try:
                process.kill()  # psutil makes sure that the number was not given to another process meanwhile
            except psutil.Error:
                continue

    def end(self) -> None:
        """Stop following, and leave no process behind that the notebook started."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        self.kill()
        if self.forked:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.forked.wait(5)  # its exit code is written into a folder that is about to go

    def _poll(self) -> None:
        while not self._done.wait(POLL):
            self.look()


def descendants(process: psutil.Process) -> list[int]:
    """Give the numbers of the processes that this one has started, and of those that they have.

    Where Linux can be asked for them, not all processes of the machine are looked through.
    """
    if not ASKABLE:
        return [child.pid for child in process.children(recursive=True)]
    found = [process.pid]
    for pid in found:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            for thread in os.listdir(f"/proc/{pid}/task"):
                found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text(encoding="latin-1").split())
    return found[1:]


def together(held: dict[int, int], kernel: int) -> int:
    """Add up the bytes of processes: the kernel's in full, of the others' what is shared only by its share.

    A page that four ranks share with their kernel, or a segment that all workers of a cluster have mapped, would
    count once for each of them otherwise. Where the system does not tell shares, all count in full.
    """
    return sum(size if pid == kernel else min(size, _share(pid, size)) for pid, size in held.items())


def _share(pid: int, otherwise: int) -> int:
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="latin-1")
    except OSError:  # another system than Linux, or it has ended meanwhile
        return otherwise
    found = re.search(r"^Pss:\s+(\d+) kB$", told, re.M)
    return 1024 * int(found[1]) if found else otherwise
