"""Input cut into chunks of whole lines, and output files that are there whole or not at all."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

__all__ = ["Chunk", "ShardNotWritten", "as_plan", "asking_for_room", "begin", "bytes_of", "chunks_of", "writing"]

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
SAMPLES, SAMPLE = 16, 4096


class ShardNotWritten(OSError):
    """An output file could not be written. What was finished before is whole, and a new start goes on from there."""


@dataclass(frozen=True)
class Chunk:
    """The lines of a file that begin in the bytes from `start` to `stop`; a whole .gz is one chunk (stop None)."""

    number: int
    file: str
    start: int
    stop: int | None

    @property
    def name(self) -> str:
        """The number as files are named: 00012."""
        return f"{self.number:05d}"


def bytes_of(memory: str | int) -> int:
    """A size in bytes.

    >>> bytes_of("256MB"), bytes_of("1 GiB"), bytes_of(1000)
    (256000000, 1073741824, 1000)

    Raises:
        ValueError: if it is no size above zero.
    """
    text = str(memory).upper().replace(" ", "")
    digits = text.rstrip("BKMGI")
    size = float(digits) if digits.replace(".", "", 1).isdecimal() else 0
    if text[len(digits) :] not in UNITS or size <= 0:
        raise ValueError(f"memory is a size above zero such as '256MB' or '1GiB', got {memory!r}")
    return int(size * UNITS[text[len(digits) :]])


def existing(files: Iterable[str | Path] | Any) -> list[Path]:
    """The files of a run, by absolute paths.

    Raises:
        ValueError: for none, for one that is not there, or for a single path in place of a list.
    """
    if isinstance(files, str | Path):
        raise ValueError(f"give a list of files, got one, {str(files)!r}: put it in brackets")
    paths = [Path(path).absolute() for path in files]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing or not paths:
        raise ValueError(f"files of JSON lines are wanted, and there is no {missing[0] if missing else 'file given'}")
    return paths


def chunks_of(files: Iterable[Path], size: int) -> list[Chunk]:
    """The input in chunks of about `size` bytes that begin where a line begins."""
    places: list[tuple[str, int, int | None]] = []
    for path in files:
        if path.suffix == ".gz":
            places.append((str(path), 0, None))
            continue
        starts = _starts(path, size)
        places += zip([str(path)] * len(starts), starts[:-1], starts[1:], strict=False)
    return [Chunk(number, *place) for number, place in enumerate(places)]


def _starts(path: Path, size: int) -> list[int]:
    """Where chunks begin, and last where the file ends."""
    end, starts = path.stat().st_size, [0]
    with path.open("rb") as handle:
        for mark in range(size, end, size):
            if mark <= starts[-1]:
                continue  # still inside a line longer than a chunk
            handle.seek(mark - 1)
            while (block := handle.readline(1 << 16)) and not block.endswith(b"\n"):
                pass
            if handle.tell() >= end:
                break
            starts.append(handle.tell())
    return [*starts, end] if end else [0]


def identity(path: Path) -> dict[str, Any]:
    """What a file is recognised by: its name, its size and a code of 16 samples spread over it.

    A change of the file that keeps its size and misses all samples is not seen.
    """
    size, code = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as handle:
        for sample in range(SAMPLES):
            handle.seek(max(0, size - SAMPLE) * sample // (SAMPLES - 1))
            code.update(handle.read(SAMPLE))
    return {"name": path.name, "bytes": size, "sample": code.hexdigest()[:16]}


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name only when all of it is on the disk: beside it first, then renamed.

    Raises:
        ShardNotWritten: if the disk is full, the folder may not be written to, or the like.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(beside, path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError) and not isinstance(error, ShardNotWritten):
            raise ShardNotWritten(_sentence(path, error)) from error
        raise


@contextmanager
def asking_for_room(path: Path) -> Iterator[None]:
    """Whatever cannot be written inside becomes `ShardNotWritten`."""
    try:
        yield
    except OSError as error:
        raise error if isinstance(error, ShardNotWritten) else ShardNotWritten(_sentence(path, error)) from error


def _sentence(path: Path, error: OSError) -> str:
    why = error.strerror or str(error)
    return (
        f"{path.parent.name}/{path.name} could not be written ({why}). Nothing that was finished is lost: "
        "make room or give another right to the folder, then start the same run again"
    )


def save_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    with writing(path) as handle:
        handle.write(json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8"))


def save_array(path: Path, array: Any) -> None:
    """Write an array as .npy, whole or not at all."""
    with writing(path) as handle:
        np.save(handle, array)


def load_json(path: Path) -> Any:
    """What `save_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def begin(out: Path, plan: dict[str, Any]) -> None:
    """Make the folder of a run, or recognise it as the folder of the same run.

    Raises:
        ValueError: if another pipeline, other input, or something else altogether is in it.
        ShardNotWritten: if it cannot be made.
    """
    with asking_for_room(out):
        if not (out / "plan.json").exists() and out.exists() and any(not _ours(path) for path in out.iterdir()):
            raise ValueError(f"{out} holds files of something else: give a folder of its own to this run")
        for name in ("kept", "removed", "quarantine"):
            (out / name).mkdir(parents=True, exist_ok=True)
    if not (out / "plan.json").exists():
        save_json(out / "plan.json", plan)
    there = load_json(out / "plan.json")
    for name, what in (
        ("pipeline", "another pipeline"),
        ("files", "other input files"),
        ("chunks", "another memory limit"),
    ):
        if not isinstance(there, dict) or there.get(name) != plan[name]:
            raise ValueError(
                f"{out} holds a run of {what}: give the same ones to go on with it, or an empty folder to begin anew"
            )


def _ours(path: Path) -> bool:
    """Whether a path may be there before the plan is: an earlier start was killed at once."""
    return path.suffix == ".part" or (path.is_dir() and not any(path.iterdir()))


def as_plan(fingerprint: str, files: Iterable[Path], chunks: Iterable[Chunk]) -> dict[str, Any]:
    """What a run is recognised by; files by name, so that their folder may move."""
    cut = [[Path(chunk.file).name, chunk.start, chunk.stop] for chunk in chunks]
    return {"pipeline": fingerprint, "files": [identity(path) for path in files], "chunks": cut}


def sum_of(path: Path) -> dict[str, Any]:
    """The size and the SHA-256 of a file."""
    with path.open("rb") as handle:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(handle, "sha256").hexdigest()}


def in_order(folder: Path) -> list[Path]:
    """The shards of a folder in the order of their chunks: 99999 comes before 100000."""
    return sorted(folder.glob("*.jsonl"), key=lambda path: (len(path.name), path.name))


def task(chunk: Chunk) -> dict[str, Any]:
    """The chunk as a message to a worker."""
    return asdict(chunk)
