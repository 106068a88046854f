"""The last part of a streamed run: what is decided is written, and added up."""

from collections import Counter
from collections.abc import Iterator
from heapq import merge
from pathlib import Path
from typing import Any

import numpy as np

from labkit.cleaning.documents import Document
from labkit.cleaning.pipeline import EXACT, NEAR, Pipeline, copy_of, funnel
from labkit.cleaning.quarantine import Quarantined, Removed, from_line, most, to_line
from labkit.cleaning.shards import Chunk, in_order, load_json, sum_of, writing
from labkit.cleaning.tables import DECIDED, EXACT_COPY, Survivors

__all__ = ["combined", "finish", "read_back"]


def finish(pipeline: Pipeline, out: Path, survivors: Survivors, decided: Path) -> None:
    """Write the shards of what is kept and what is removed, both in the order of the input."""
    verdicts = np.load(decided, mmap_mode="r") if len(survivors) else np.empty(0, DECIDED)
    for name, numbers in survivors.ranges():
        kept, removed = out / "kept" / f"{name}.jsonl", out / "removed" / f"{name}.jsonl"
        if kept.exists():  # it is renamed after the other one
            continue
        here = verdicts[numbers]
        with writing(removed) as handle:
            for _, line in merge(_left(survivors, name), _copies(survivors, name, here), key=_place):
                handle.write(line)
        with writing(kept) as handle:
            for _, line in _rows(survivors, name, here["stage"] == 0):
                handle.write(line)


def _place(pair: tuple[int, bytes]) -> int:
    return pair[0]


def _left(survivors: Survivors, name: str) -> Iterator[tuple[int, bytes]]:
    with (survivors.work / f"{name}.left").open("rb") as handle:
        for line in handle:
            place, _, removed = line.partition(b"\t")
            yield int(place), removed


def _rows(survivors: Survivors, name: str, wanted: Any) -> Iterator[tuple[int, bytes]]:
    """The survivors of a chunk that are wanted: place in the chunk, and line."""
    places = survivors.index(name)["place"]
    with (survivors.work / f"{name}.kept").open("rb") as handle:
        for place, line, one in zip(places.tolist(), handle, wanted.tolist(), strict=True):
            if one:
                yield place, line


def _copies(survivors: Survivors, name: str, verdicts: Any) -> Iterator[tuple[int, bytes]]:
    copies = verdicts[verdicts["stage"] > 0]
    for (place, line), (first, similarity, stage) in zip(
        _rows(survivors, name, verdicts["stage"] > 0), copies.tolist(), strict=True
    ):
        stage = EXACT if stage == EXACT_COPY else NEAR
        yield place, to_line(copy_of(Document.from_json(line).id, survivors.id_of(first), stage, similarity))


def combined(pipeline: Pipeline, out: Path, chunks: list[Chunk]) -> dict[str, Any]:
    """The manifest: counts of all chunks added up, and size and SHA-256 of each shard. No times: it stays the same."""
    done = [load_json(out / "work" / f"{chunk.name}.json") for chunk in chunks]
    gone = sum((Counter(one["gone"]) for one in done), Counter())
    quarantined = sum((Counter(one["reasons"]) for one in done), Counter())
    removed = Counter(one.step for one in _removed(out))
    copies = {name: removed[name] for name in (EXACT, NEAR) if removed[name]}
    whole = [path for path in sorted(out.glob("*/*")) if path.parent.name != "work" and path.suffix != ".part"]
    shards = {path.relative_to(out).as_posix(): sum_of(path) for path in whole}  # .part: begun by a worker that died
    kept = sum(shard["bytes"] for name, shard in shards.items() if name.startswith("kept"))
    return {
        "pipeline": pipeline.fingerprint,
        "counts": funnel(pipeline.names, sum(one["documents"] for one in done), gone | copies),
        "removed": dict(removed),
        "quarantined": most(quarantined),
        "bytes_in": sum(one["bytes"] for one in done),
        "bytes_out": kept,
        "shards": shards,
    }


def _removed(out: Path) -> Iterator[Removed]:
    for path in in_order(out / "removed"):
        with path.open("rb") as handle:
            yield from (from_line(Removed, line) for line in handle)


def read_back(out: Path) -> tuple[list[Removed], list[Quarantined]]:
    """All that was removed and all that is in quarantine."""
    quarantined = []
    for path in in_order(out / "quarantine"):
        with path.open("rb") as handle:
            quarantined += [from_line(Quarantined, line) for line in handle]
    return list(_removed(out)), quarantined
