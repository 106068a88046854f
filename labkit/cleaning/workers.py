"""Worker processes that may die: a chunk is tried again, and the document that they die of is found.

They are started afresh (no copy of this process, whose threads would not be copied) and need no `__main__` of anybody:
they work the same when they are started from a notebook, a script or a test.
"""

import base64
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from labkit.cleaning.pipeline import Pipeline
from labkit.cleaning.shards import ShardNotWritten

__all__ = ["BETWEEN", "importing", "work"]

BETWEEN = -1  # the place that a worker tells while no single document is at work
STARTING = 120.0  # seconds more, for a worker that imports what it needs, or writes what it has
TRIES = 2  # as many deaths with one document in hand, and the document is set apart


def importing() -> dict[str, str]:
    """The environment of a process that imports what this one does, from the same places."""
    folders = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    return os.environ | {"PYTHONPATH": folders, "PYTHONSAFEPATH": "1"}


class _Worker:
    """One process, the task it has, and the document it has in hand."""

    def __init__(self, hello: bytes, log: Path, news: queue.SimpleQueue) -> None:
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "labkit.cleaning.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **importing()},
                start_new_session=True,  # Ctrl-C is for whoever started this run, who then ends the workers
            )
        self.task: dict[str, Any] | None = None
        self.place, self.heard, self.late = BETWEEN, time.monotonic(), False
        self.send(hello)
        self.listener = threading.Thread(target=self._listen, args=(news,), daemon=True)
        self.listener.start()

    def _listen(self, news: queue.SimpleQueue) -> None:
        for line in self.process.stdout:
            news.put((self, line))
        news.put((self, b""))

    def send(self, line: bytes) -> None:
        """A line to the process; if it is dead, that is noticed elsewhere."""
        with suppress(OSError):
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def take(self, task: dict[str, Any]) -> None:
        """Begin a task."""
        self.task, self.place, self.heard = task, BETWEEN, time.monotonic()
        self.send(json.dumps(task).encode() + b"\n")

    def end(self) -> str:
        """Stop the process if it still runs; how it ended, in words."""
        self.process.kill()
        code = self.process.wait()
        self.listener.join()
        self.process.stdout.close()
        with suppress(OSError):  # what was still to be sent to the dead
            self.process.stdin.close()
        if code >= 0:
            return f"exit code {code}"
        return f"signal {-code}, {signal.Signals(-code).name}"


def work(
    pipeline: Pipeline,
    out: Path,
    tasks: Iterable[dict[str, Any]],
    *,
    workers: int,
    patience: float,
    heard: Callable[[], None],
) -> None:
    """All tasks by some worker processes; `heard` is called for every document that one takes in hand.

    Raises:
        ShardNotWritten: when a worker could not write.
        RuntimeError: when workers die without a document in hand, or cannot start.
    """
    hello = {"pipeline": base64.b64encode(pickle.dumps(pipeline)).decode("ascii"), "out": str(out)}
    crew = _Crew(json.dumps(hello).encode() + b"\n", out / "work" / "workers.log", patience, heard)
    try:
        crew.work(deque({"chunk": task, "culprits": {}} for task in tasks), workers)
    finally:
        for worker in crew.workers:
            worker.end()


class _Crew:
    """The workers of one run, and the documents that some of them died with."""

    def __init__(self, hello: bytes, log: Path, patience: float, heard: Callable[[], None]) -> None:
        self.hello, self.log, self.patience, self.heard = hello, log, patience, heard
        self.news: queue.SimpleQueue = queue.SimpleQueue()
        self.workers: list[_Worker] = []
        self.deaths: Counter = Counter()

    def work(self, tasks: deque[dict[str, Any]], count: int) -> None:
        """Give out the tasks until none is left and none is at work."""
        while tasks or self.workers:
            while tasks and len(self.workers) < count:
                self._hire(tasks.popleft())
            try:
                worker, line = self.news.get(timeout=min(1.0, self.patience / 4))
            except queue.Empty:
                self._hurry()
                continue
            if worker not in self.workers:
                continue
            worker.heard = time.monotonic()
            self._hear(worker, line, tasks)

    def _hire(self, task: dict[str, Any]) -> None:
        worker = _Worker(self.hello, self.log, self.news)
        self.workers.append(worker)
        worker.take(task)

    def _hurry(self) -> None:
        for worker in self.workers:
            patience = self.patience + (STARTING if worker.place == BETWEEN else 0)
            if time.monotonic() - worker.heard > patience:
                worker.late = True
                worker.process.kill()

    def _hear(self, worker: _Worker, line: bytes, tasks: deque[dict[str, Any]]) -> None:
        if line.startswith(b"at "):
            worker.place = int(line[3:])
            if worker.place != BETWEEN:
                self.heard()
        elif line == b"done\n" and tasks:
            worker.take(tasks.popleft())
        elif line == b"done\n":
            self._dismiss(worker)
        elif line.startswith(b"failed "):
            kind, message = json.loads(line[7:])
            self._dismiss(worker)
            raise ShardNotWritten(message) if kind == "ShardNotWritten" else RuntimeError(f"{kind}: {message}")
        else:
            tasks.appendleft(self._after_death(worker))

    def _dismiss(self, worker: _Worker) -> str:
        self.workers.remove(worker)
        return worker.end()

    def _after_death(self, worker: _Worker) -> dict[str, Any]:
        """The task again; without the document that its worker died with, if that is the second time."""
        task, place = worker.task, worker.place
        ended = self._dismiss(worker)
        case = (task["chunk"]["number"], place)
        self.deaths[case] += 1
        if self.deaths[case] < TRIES:
            return task
        why = f"no answer for {self.patience:g} s" if worker.late else f"its worker died ({ended})"
        if place == BETWEEN:
            tail = self.log.read_text(encoding="utf-8", errors="replace")[-500:]
            raise RuntimeError(f"workers end with no document in hand ({ended}); the last they said: {tail!r}")
        return task | {"culprits": {**task["culprits"], place: f"{why}, twice"}}
