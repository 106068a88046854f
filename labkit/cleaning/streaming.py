"""A pipeline over files larger than memory, in several processes, which may be killed at any moment and started again.

    run_streamed(standard(), ["crawl.jsonl"], "cleaned", workers=2, memory="256MB", progress="cleaning")

First the steps: chunks of the input go to worker processes. Then the copies: tables on disk, one part at a time. Last,
what is decided is written, shard by shard. Every file is written beside its place and renamed: it is whole or absent.
What is whole is not done again, and the result is byte for byte that of a run without interruption.
"""

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labkit.cleaning.documents import Document
from labkit.cleaning.finishing import combined, finish, read_back
from labkit.cleaning.pipeline import Pipeline, Result, report
from labkit.cleaning.progress import bar
from labkit.cleaning.shards import (
    Chunk,
    as_plan,
    asking_for_room,
    begin,
    bytes_of,
    chunks_of,
    existing,
    in_order,
    load_json,
    save_array,
    save_json,
    task,
)
from labkit.cleaning.tables import DECIDED, Survivors, allocate, exact_stage, near_stage
from labkit.cleaning.workers import work

__all__ = ["Streamed", "run_streamed"]

CHUNKS, TABLES = 4, 8  # parts of the memory: a chunk (read line by line) and a table may take one


@dataclass(frozen=True)
class Streamed:
    """A finished run: its folder, documents left after each stage, removed by stage, reasons of quarantine, bytes."""

    folder: Path
    counts: dict[str, int]
    removed: dict[str, int]
    quarantined: dict[str, int]
    bytes_in: int
    bytes_out: int
    seconds: float

    def kept(self) -> Iterator[Document]:
        """The documents that are kept, one by one, in the order of the input."""
        for path in in_order(self.folder / "kept"):
            with path.open("rb") as handle:
                yield from map(Document.from_json, handle)

    def load(self) -> Result:
        """All of it in memory, as `run` returns it."""
        return Result(list(self.kept()), *read_back(self.folder), self.counts, self.seconds)

    def report(self) -> str:
        """The funnel, the reasons of quarantine, and bytes in and out."""
        size = f"bytes in {self.bytes_in:,}, bytes out {self.bytes_out:,}"
        return f"{report(self.counts, self.removed, self.quarantined)}\n{size}"


def run_streamed(
    pipeline: Pipeline,
    files: Iterable[str | Path] | Any,
    out: str | Path,
    *,
    workers: int | Any = 2,
    memory: str | int = "256MB",
    progress: str | None = None,
    patience: float = 300.0,
) -> Streamed:
    """Clean files of JSON lines (plain or .gz) into a folder; killed and started again, it goes on where it was.

    In the folder then: kept/, removed/ and quarantine/ with one shard per chunk of the input, and manifest.json with
    the counts and the SHA-256 of every shard.

    Args:
        memory: what documents, tables and chunks may take in all, beside the interpreters and what steps load.
        progress: the label of a progress bar, or None for no bar.
        patience: seconds for one document; a worker that takes longer is ended, as if it had died.

    Raises:
        ValueError: for a missing file, too little memory for the longest document, steps of `__main__`, or a folder
            that holds the run of another pipeline or of other input, or one that was finished and changed since.
        ShardNotWritten: if the disk is full or may not be written to. Nothing is lost: start again.
        RuntimeError: if another process works in the folder, or workers cannot start.
    """
    began, out = time.perf_counter(), Path(out)
    paths, budget = _checked(pipeline, files, workers, memory)
    chunks = chunks_of(paths, budget // CHUNKS)
    begin(out, as_plan(pipeline.fingerprint, paths, chunks))
    with _alone(out), asking_for_room(out / "work"):
        if not (out / "manifest.json").exists():
            _sweep(out)
            (out / "work").mkdir(exist_ok=True)
            _steps(pipeline, out, chunks, workers, progress, patience)
            finish(pipeline, out, Survivors(out / "work", chunks), _decided(pipeline, out, chunks, budget // TABLES))
            save_json(out / "manifest.json", combined(pipeline, out, chunks))
        shutil.rmtree(out / "work", ignore_errors=True)
        _sweep(out)
    found = load_json(out / "manifest.json")
    _check_shards(out, found["shards"])
    known = {name: found[name] for name in ("counts", "removed", "quarantined", "bytes_in", "bytes_out")}
    return Streamed(out, **known, seconds=time.perf_counter() - began)


def _checked(
    pipeline: Pipeline, files: Iterable[str | Path] | Any, workers: int | Any, memory: str | int
) -> tuple[list[Path], int]:
    paths, budget = existing(files), bytes_of(memory)
    if not isinstance(workers, int) or workers < 1:
        raise ValueError(f"workers must be a whole number from 1 on, got {workers!r}")
    if budget < 8 * workers * pipeline.longest:
        raise ValueError(
            f"{workers} workers with documents of up to {pipeline.longest:,} bytes need a memory of at least "
            f"{8 * workers * pipeline.longest:,} bytes, got {memory!r}: give more, or a smaller `longest`"
        )
    for one in pipeline.steps:
        if one.function.__module__ == "__main__":
            raise ValueError(
                f"the step {one.name!r} is defined in the notebook or script itself, where worker processes cannot "
                "find it: put it into a module"
            )
    return paths, budget


def _check_shards(out: Path, shards: dict[str, Any]) -> None:
    """Refuse a finished run of which somebody has taken or changed a shard since."""
    for name, shard in shards.items():
        path = out / name
        if not path.is_file() or path.stat().st_size != shard["bytes"]:
            raise ValueError(f"{path} is gone, or not what the finished run wrote: give an empty folder to begin anew")


def _steps(
    pipeline: Pipeline, out: Path, chunks: list[Chunk], workers: int, progress: str | None, patience: float
) -> None:
    left = [chunk for chunk in chunks if not (out / "work" / f"{chunk.name}.json").exists()]
    with bar(progress, None) as shown:
        heard = lambda: shown.update(1)  # noqa: E731
        work(pipeline, out, map(task, left), workers=min(workers, len(left)), patience=patience, heard=heard)


def _decided(pipeline: Pipeline, out: Path, chunks: list[Chunk], memory: int) -> Path:
    """The file that says of each survivor whether it is a copy, of which, and how similar."""
    found, tables = out / "work" / "decided.npy", out / "work" / "tables"
    if found.exists():
        return found
    shutil.rmtree(tables, ignore_errors=True)  # half a table is no table
    tables.mkdir()
    survivors = Survivors(out / "work", chunks)
    decided = allocate(tables / "decided", DECIDED, len(survivors))
    decided[:] = np.array((-1, 0.0, 0), DECIDED)
    if pipeline.exact:
        exact_stage(survivors, tables, decided, memory)
    if pipeline.near is not None:
        near_stage(pipeline, survivors, tables, decided, memory)
    save_array(found, decided)
    return found


def _sweep(out: Path) -> None:
    """Remove what processes that were killed had begun to write."""
    for path in out.glob("**/*.part"):
        path.unlink(missing_ok=True)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Nobody else in this folder: a lock that ends with the process, however that ends (where the system has such)."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (out / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RuntimeError(f"another process is at work in {out}: wait for it, or end it first") from error
        yield
