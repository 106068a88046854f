"""A streamed run that is killed on purpose: to see what a crash leaves, and that the next start goes on from there."""

import pickle
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from labkit.cleaning.pipeline import Pipeline
from labkit.cleaning.shards import load_json
from labkit.cleaning.workers import importing

__all__ = ["Interrupted", "interrupted"]

CODE = """
import pickle, sys
arguments = pickle.load(sys.stdin.buffer)
from labkit.cleaning.streaming import run_streamed
run_streamed(*arguments[0], **arguments[1])
"""


@dataclass(frozen=True)
class Interrupted:
    """What was found after the kill: chunks finished, chunks in all, and files that were being written."""

    finished: int
    chunks: int
    half_written: tuple[str, ...]


def interrupted(
    pipeline: Pipeline,
    files: Iterable[str | Path],
    out: str | Path,
    *,
    after: int,
    workers: int = 2,
    memory: str | int = "256MB",
) -> Interrupted:
    """Start `run_streamed` in a process of its own and kill that (as `kill -9` does) when so many chunks are finished.

    Raises:
        RuntimeError: if the run ends or fails before that; the message says which.
    """
    out, given = Path(out), pickle.dumps(((pipeline, list(files), out), {"workers": workers, "memory": memory}))
    with subprocess.Popen(
        [sys.executable, "-c", CODE],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=importing(),
    ) as process:
        process.stdin.write(given)
        process.stdin.flush()
        while len(_finished(out)) < after and process.poll() is None:
            time.sleep(0.002)
        process.kill()
        said = process.stderr.read().decode(errors="replace").strip()
    if (out / "manifest.json").exists() or process.returncode > 0:
        raise RuntimeError(f"the run ended before it could be killed: {said or 'it was done; kill it earlier'}")
    half = tuple(sorted(path.name for path in out.glob("**/*.part")))
    return Interrupted(len(_finished(out)), len(load_json(out / "plan.json")["chunks"]), half)


def _finished(out: Path) -> list[Path]:
    return list((out / "work").glob("*.json"))
