"""Notebooks run headless: one after the other or several at a time, each watched, each failure one clear sentence.

papermill is imported when the first notebook runs, never before.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import util
from pathlib import Path
from typing import Any

from labkit.workbench import forking, installing, notebooks
from labkit.workbench.failures import Failure, Stopped, explain
from labkit.workbench.names import unknown
from labkit.workbench.progress import Progress

RUNS = "_runs"
# Seconds for one cell, by scale. At "ci" a whole notebook has a minute; the rest is patience for a slow machine.
TIMEOUTS = {"ci": 600, "laptop": 3600, "gpu": 4 * 3600}
TICK = 0.2  # seconds
NEEDED = ("papermill", "nbclient", "psutil", "ipykernel")


@dataclass(frozen=True)
class NotebookRun:
    """One notebook after its run: wall time, largest memory of kernel and children, claims, and what went wrong.

    `startup` is the seconds before its first code cell began, `cells` the id and the seconds of each that ran.
    """

    name: str
    path: Path
    seconds: float = 0.0
    startup: float = 0.0
    cells: tuple[tuple[str, float], ...] = ()
    peak_bytes: int = 0
    claims: tuple[dict[str, Any], ...] = ()
    claims_expected: int = 0
    executed: Path | None = None
    report: Path | None = None
    failure: Failure | None = None

    @property
    def passed(self) -> int:
        """Claims that hold."""
        return sum(bool(claim.get("passed")) for claim in self.claims)


def run(
    paths: Iterable[str | Path],
    scale: str = "ci",
    jobs: int = 1,
    html: bool = False,
    timeout: int | None = None,
    out: str | Path | None = None,
    parameters: Mapping[str, Any] | None = None,
    fresh: bool = False,
) -> list[NotebookRun]:
    """Run notebooks and give what came of each, in the order of `paths`; one that fails does not stop the others.

    The executed copies, with `html` a report beside each, and `results.json` are kept in `out` (default `_runs/` beside
    the folder of the notebooks). `timeout` is in seconds per cell. Ctrl-C ends every kernel and gives what there is.
    On Linux kernels are forked from a process that has imported what they need, unless `fresh` (or the environment,
    LABKIT_FRESH_KERNELS=1) asks for a new interpreter for each.

    Raises:
        ValueError: if a notebook or the scale does not exist, or `out` would overwrite the notebooks.
        RuntimeError: if what runs notebooks is not installed.
    """
    if scale not in notebooks.SCALES:
        raise ValueError(unknown("scale", scale, notebooks.SCALES))
    if jobs < 1 or (timeout is not None and timeout < 1):
        raise ValueError(f"jobs and timeout must be at least 1, got jobs={jobs} and timeout={timeout}")
    paths = list(paths)
    paths = notebooks.find(paths) if paths else []
    _refuse_missing_packages(html)
    wanted = {"scale": scale, **(parameters or {})}
    place = out_folder(paths, out)
    tasks = [
        Task(path, target, wanted, timeout or TIMEOUTS[scale], html)
        for path, target in zip(paths, _targets(paths, place), strict=True)
    ]
    return _run_all(tasks, jobs, place, fresh) if tasks else []


def out_folder(paths: list[Path], out: str | Path | None = None) -> Path:
    """Give the folder of the executed copies: `out`, or `_runs` beside the notebooks folder, or `_runs` here."""
    if out is not None:
        return Path(out).resolve()
    in_course = paths and paths[0].parent.name == "notebooks"
    return (paths[0].parent.parent if in_course else Path.cwd()) / RUNS


@dataclass(frozen=True, eq=False)
class Task:
    """One notebook to run, and where its executed copy goes."""

    path: Path
    target: Path
    parameters: Mapping[str, Any]
    timeout: int
    html: bool

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.target.stem

    def execute(self, watch: Any, progress: Progress, parents: forking.Parents | None = None) -> NotebookRun:
        """Run it to its end, whatever that is; its kernel is forked by one of `parents`, if there are any."""
        begun = time.perf_counter()
        stored = 0
        try:
            self.target.unlink(missing_ok=True)  # an older copy must not pass for this run's
            nb = notebooks.read(self.path)
            progress.start(self.name, len(notebooks.code_cells(nb)))
            stored = len(notebooks.claims_in(nb))
            changed = changed_parameters(nb, self.parameters)
            watch.on_cell = lambda number, cell_id: progress.at(self.name, number, cell_id)
            self._execute(watch, changed, parents)
            failure = None
        except Exception as error:  # whatever it was, the other notebooks go on and this one is reported
            if os.environ.get("LABKIT_DEBUG") == "1":
                raise
            failure = explain(error, watch, self.timeout)
        return self._result(watch, begun, failure, stored)

    def _execute(self, watch: Any, changed: Mapping[str, Any], parents: forking.Parents | None) -> None:
        from labkit.workbench import engine

        if watch.stopped:
            raise Stopped
        how = {"parameters": changed, "timeout": self.timeout, "watch": watch, "parents": parents}
        try:
            engine.execute(self.path, self.target, **how)
        except Exception:
            if watch.stopped or parents is None or not parents.lost(watch.forked):
                raise
            engine.execute(self.path, self.target, **how)  # it was not the notebook's fault

    def _result(self, watch: Any, begun: float, failure: Failure | None, stored: int) -> NotebookRun:
        seconds = time.perf_counter() - begun
        startup = (watch.started or begun) - begun
        measured = {"startup": startup, "cells": tuple(watch.cells), "peak_bytes": watch.peak_bytes}
        result = NotebookRun(self.name, self.path, seconds, **measured, failure=failure)
        if not self.target.is_file():
            return result
        try:
            claims = tuple(notebooks.claims_in(notebooks.read(self.target)))
        except (OSError, ValueError) as error:  # a full disk, say: the copy is cut off
            return replace(result, claims_expected=stored, failure=failure or explain(error, watch, self.timeout))
        expected = max(len(claims), stored) if failure else len(claims)
        result = replace(result, executed=self.target, claims=claims, claims_expected=expected)
        return replace(result, report=_report(self.target)) if self.html else result


def changed_parameters(nb: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Give the parameters to inject: those whose value differs from what the cell tagged `parameters` says.

    Raises:
        ValueError: if the notebook has no such parameter. papermill would only warn, and run with the old value.
    """
    declared = notebooks.parameters(nb)
    changed = {name: value for name, value in wanted.items() if name not in declared or declared[name] != value}
    if "scale" not in declared and changed.get("scale") == "ci":
        changed.pop("scale")  # a notebook without scales is what it is
    for name in changed:
        if not declared:
            raise ValueError(f"cannot set {name}: the notebook has no cell tagged `parameters`")
        if name not in declared:
            raise ValueError(unknown("parameter", name, declared))
    return changed


def _refuse_missing_packages(html: bool) -> None:
    missing = [name for name in (*NEEDED, *["nbconvert"] * html) if util.find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise RuntimeError(f"{', '.join(missing)} {verb} not installed; to run notebooks: {installing.command('lab')}")


def _targets(paths: list[Path], place: Path) -> list[Path]:
    """Give one file per notebook; two notebooks of the same name in different folders get different ones."""
    targets: list[Path] = []
    for path in paths:
        names = (path.stem if number == 1 else f"{path.stem}-{number}" for number in range(1, len(paths) + 1))
        targets.append(next(place / f"{name}.ipynb" for name in names if place / f"{name}.ipynb" not in targets))
    overwritten = {path.resolve() for path in paths} & {target.resolve() for target in targets}
    if overwritten:
        raise ValueError(f"executed copies would overwrite {sorted(overwritten)[0]}; choose another folder for --out")
    return targets


def _report(executed: Path) -> Path | None:
    from labkit.workbench import report

    return report.html(executed)


def _run_all(tasks: list[Task], jobs: int, place: Path, fresh: bool) -> list[NotebookRun]:
    with forking.parents([] if fresh else [task.path for task in tasks]) as parents:
        return _run_each(tasks, jobs, place, parents)


def _run_each(tasks: list[Task], jobs: int, place: Path, parents: forking.Parents | None) -> list[NotebookRun]:
    # nbformat's schema would pull in a grammar of web addresses: two seconds that no notebook needs.
    sys.modules.setdefault("rfc3987_syntax", None)
    from labkit.workbench.engine import Watch

    place.mkdir(parents=True, exist_ok=True)
    progress = Progress(max(len(task.name) for task in tasks))
    watches = {task: Watch() for task in tasks}
    results: dict[Task, NotebookRun] = {}
    # Kernels run in threads, so that Ctrl-C reaches this one and can end them all.
    with ThreadPoolExecutor(jobs) as pool, _terminate_is_interrupt():
        futures = {pool.submit(task.execute, watches[task], progress, parents): task for task in tasks}
        pending = set(futures)
        while pending:
            try:
                # The short wait keeps Ctrl-C working on Windows, where a lock cannot be interrupted.
                done, _ = wait(pending, timeout=TICK, return_when=FIRST_COMPLETED)
                progress.tick()
                for future in done:
                    results[futures[future]] = result = future.result()
                    progress.done(result.name, _verdict(result))
                    _keep([results[task] for task in tasks if task in results], place)
                    pending.discard(future)
            except BaseException as error:
                for watch in watches.values():
                    watch.stop()
                if parents:
                    parents.close()  # one that still imports is not waited for
                if not isinstance(error, KeyboardInterrupt):
                    raise
    return [results[task] for task in tasks]


@contextmanager
def _terminate_is_interrupt() -> Iterator[None]:
    """Within the block a polite request to end (SIGTERM, as CI sends) ends the kernels too, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _verdict(result: NotebookRun) -> str:
    if result.failure:
        place = f" in code cell [{result.failure.cell}] (id {result.failure.cell_id})" if result.failure.cell else ""
        return "interrupted" if result.failure.interrupted else f"FAILED{place}"
    return f"ok, {result.seconds:.1f} s, {result.passed} of {result.claims_expected} claims"


def _keep(results: list[NotebookRun], place: Path) -> None:
    """Write what is known so far, so that a run which is killed leaves it."""
    text = json.dumps([asdict(result) for result in results], indent=1, ensure_ascii=False, default=str)
    (place / "results.json").write_text(text + "\n", encoding="utf-8", errors="surrogateescape")
