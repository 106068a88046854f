"""Copies among more documents than memory holds: tables on disk, of which one part at a time is looked at."""

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from labkit.cleaning.banding import candidates_on_disk, write_keys
from labkit.cleaning.clusters import UnionFind
from labkit.cleaning.documents import Document
from labkit.cleaning.near import verified
from labkit.cleaning.pipeline import Pipeline
from labkit.cleaning.shards import Chunk, load_json
from labkit.cleaning.signing import INDEX, NO_DIGEST

__all__ = ["DECIDED", "EXACT_COPY", "NEAR_COPY", "Survivors", "allocate", "exact_stage", "near_stage"]

DECIDED = np.dtype([("first", "i8"), ("similarity", "f8"), ("stage", "u1")])
RECORD = np.dtype([("high", "u8"), ("low", "u8"), ("number", "u8")])
EXACT_COPY, NEAR_COPY = 1, 2
IN_MEMORY = 4  # how many times a table stands in memory while it is sorted


class Survivors:
    """The documents that all steps left over, numbered through in the order of the input, read from disk on demand."""

    def __init__(self, work: Path, chunks: Iterable[Chunk]) -> None:
        self.names = [chunk.name for chunk in chunks]
        self.work = work
        counts = [load_json(work / f"{name}.json")["kept"] for name in self.names]
        self.starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self.id_of = lru_cache(4096)(self._id_of)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def index(self, name: str) -> Any:
        """The index of one chunk: digests, offsets, lengths."""
        return _loaded(self.work / f"{name}.index.npy", INDEX)

    def ranges(self) -> Iterator[tuple[str, slice]]:
        """Each chunk by name, and its numbers."""
        for name, start, stop in zip(self.names, self.starts[:-1], self.starts[1:], strict=True):
            yield name, slice(int(start), int(stop))

    def lengths(self, numbers: Any) -> Any:
        """The bytes of the lines of some documents (numbers ascending)."""
        found = [self.index(name)["length"][places] for name, places in self._places(numbers)]
        return np.concatenate([np.zeros(0, np.uint64), *found])

    def lines(self, numbers: Any) -> Iterator[bytes]:
        """The lines of some documents (numbers ascending)."""
        for name, places in self._places(numbers):
            rows = self.index(name)[places]
            with (self.work / f"{name}.kept").open("rb") as handle:
                for offset, length in zip(rows["offset"].tolist(), rows["length"].tolist(), strict=True):
                    handle.seek(offset)
                    yield handle.read(length)

    def texts(self, numbers: Any) -> list[str]:
        """The texts of some documents (numbers ascending)."""
        return [Document.from_json(line).text for line in self.lines(numbers)]

    def _id_of(self, number: int) -> str:
        return Document.from_json(next(self.lines(np.array([number])))).id

    def _places(self, numbers: Any) -> Iterator[tuple[str, Any]]:
        chunk = np.searchsorted(self.starts, numbers, side="right") - 1
        for one in np.unique(chunk):
            yield self.names[one], np.asarray(numbers)[chunk == one] - self.starts[one]


def _loaded(path: Path, dtype: Any = None) -> Any:
    found = np.load(path)
    return found if len(found) else np.empty(0, dtype or found.dtype)


def allocate(path: Path, dtype: Any, count: int) -> Any:
    """An array in a file whose place on the disk is taken at once: a full disk is an error now, not a crash later."""
    if not count:
        return np.empty(0, dtype)
    size = np.dtype(dtype).itemsize * count
    with path.open("wb") as handle:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle.fileno(), 0, size)
        else:
            handle.truncate(size)
    return np.memmap(path, dtype=dtype, mode="r+", shape=(count,))


def exact_stage(survivors: Survivors, tables: Path, decided: Any, memory: int) -> None:
    """Note each document whose text an earlier one has. Equal digests fall into one part, and are neighbours there."""
    parts = max(1, len(survivors) * RECORD.itemsize * IN_MEMORY // memory)
    for name, numbers in survivors.ranges():
        index = survivors.index(name)
        rows = np.empty(len(index), RECORD)
        rows["high"], rows["low"], rows["number"] = index["high"], index["low"], np.arange(numbers.start, numbers.stop)
        rows = rows[(rows["high"] != NO_DIGEST[0]) | (rows["low"] != NO_DIGEST[1])]
        for part in range(parts):
            _append(tables / f"exact-{part}", rows[rows["high"] % np.uint64(parts) == part])
    for part in range(parts):
        rows = (
            np.fromfile(tables / f"exact-{part}", RECORD)
            if (tables / f"exact-{part}").exists()
            else np.empty(0, RECORD)
        )
        rows = rows[np.lexsort((rows["number"], rows["low"], rows["high"]))]
        new = np.ones(len(rows), bool)
        new[1:] = (rows["high"][1:] != rows["high"][:-1]) | (rows["low"][1:] != rows["low"][:-1])
        leader = np.maximum.accumulate(np.where(new, np.arange(len(rows)), 0))
        copies = rows["number"][~new].astype(np.int64)
        decided["first"][copies] = rows["number"][leader[~new]].astype(np.int64)
        decided["stage"][copies] = EXACT_COPY


def _append(path: Path, rows: Any) -> None:
    with path.open("ab") as handle:
        handle.write(rows.tobytes())


def near_stage(pipeline: Pipeline, survivors: Survivors, tables: Path, decided: Any, memory: int) -> None:
    """Note each near copy of an earlier document: candidates by band keys, exact similarity, connected components."""
    alive = np.flatnonzero(decided["stage"] == 0) if len(decided) else np.empty(0, np.int64)
    numbered = allocate(tables / "alive", np.int64, len(alive))
    numbered[:] = alive
    paths, entries = _written_keys(survivors, tables, decided)
    parent = allocate(tables / "parent", np.int64, len(alive))
    parent[:] = np.arange(len(alive))
    groups = UnionFind(0)
    groups.parent = memoryview(parent)  # on disk, and its items are plain numbers
    fetch = lambda numbers: survivors.texts(numbered[np.array(numbers)])  # noqa: E731
    for part in candidates_on_disk(paths, partitions=max(1, entries * 16 * IN_MEMORY // memory)):
        for block in _blocks(survivors, numbered, _apart(groups, part), memory):
            for one, other, _ in verified(block, fetch, pipeline.near, how=pipeline.how):
                groups.union(one, other)
    _note(pipeline, survivors, numbered, decided, _copies(groups), fetch, memory)


def _written_keys(survivors: Survivors, tables: Path, decided: Any) -> tuple[list[Path], int]:
    """The band keys of those that are no exact copies, numbered anew, and how many keys there are."""
    paths, first, entries = [], 0, 0
    for name, numbers in survivors.ranges():
        keys = np.load(survivors.work / f"{name}.keys.npy")[decided["stage"][numbers] == 0]
        paths.append(tables / f"{name}.keys.npy")
        write_keys(paths[-1], keys, first)
        first, entries = first + len(keys), entries + keys.size
    return paths, entries


def _apart(groups: UnionFind, pairs: Any) -> Any:
    """The pairs that are not in one group already: to compare those could not change anything."""
    return pairs[np.array([groups.find(one) != groups.find(other) for one, other in pairs.tolist()], bool)]


def _blocks(survivors: Survivors, numbered: Any, pairs: Any, memory: int) -> Iterator[Any]:
    """The pairs in blocks whose texts fit into the memory."""
    for begin in range(0, len(pairs), 1024):
        part = pairs[begin : begin + 1024]
        numbers = np.unique(part)
        lengths = survivors.lengths(numbered[numbers]).astype(np.int64)
        cost = np.cumsum(lengths[np.searchsorted(numbers, part)].sum(axis=1))
        edges = np.flatnonzero(np.diff(cost * IN_MEMORY // memory)) + 1
        yield from np.split(part, edges)


def _copies(groups: UnionFind) -> Any:
    """Pairs of the first of each group with each other member."""
    heads = [(groups.find(item), item) for item in range(len(groups.parent)) if groups.parent[item] != item]
    return np.array(heads, np.int64).reshape(-1, 2)


def _note(
    pipeline: Pipeline, survivors: Survivors, numbered: Any, decided: Any, pairs: Any, fetch: Any, memory: int
) -> None:
    for block in _blocks(survivors, numbered, pairs, memory):
        for first, copy, similarity in verified(block, fetch, 0.0, how=pipeline.how):
            decided[numbered[copy]] = (numbered[first], similarity, NEAR_COPY)
