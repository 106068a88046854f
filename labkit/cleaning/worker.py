"""A worker process of a streamed run: `python -m labkit.cleaning.worker` takes chunks on its standard input.

It says on its standard output which document it takes in hand, so that whoever started it knows which one it died of.
"""

import base64
import json
import os
import pickle
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from labkit.cleaning import documents
from labkit.cleaning.documents import Document
from labkit.cleaning.pipeline import READ, Pipeline, apply
from labkit.cleaning.quarantine import Quarantined, Removed, reasons, to_line
from labkit.cleaning.shards import Chunk, save_array, save_json, writing
from labkit.cleaning.signing import INDEX, Signer, digest
from labkit.cleaning.workers import BETWEEN


@dataclass(frozen=True)
class Desk:
    """Where a worker puts things, and how it tells which document it has in hand."""

    pipeline: Pipeline
    out: Path
    tell: Callable[[int], None]

    @property
    def work(self) -> Path:
        """The folder of what is not finished."""
        return self.out / "work"


def process(desk: Desk, chunk: Chunk, culprits: dict[int, str]) -> None:
    """The steps for all documents of a chunk: survivors with their index and band keys, the removed, the quarantined.

    The last file to get its name is the one with the counts: with it the chunk is done.
    """
    signer, gone, broken = Signer(desk.pipeline), Counter(), Counter()
    index, offset, count, size = [], 0, 0, 0
    with ExitStack() as stack:
        kept, left, aside = _files(desk, chunk, stack)
        for place, document, line, length in _documents(desk, chunk):
            count, size = count + 1, size + length
            desk.tell(place)
            outcome = _outcome(desk.pipeline, document, line, culprits.get(place))
            if isinstance(outcome, Document):
                written = outcome.to_json().encode("utf-8") + b"\n"
                kept.write(written)
                index.append((*digest(outcome.text), offset, len(written), place))
                offset += len(written)
                signer.add(outcome.text)
                continue
            gone[outcome.step] += 1
            if isinstance(outcome, Removed):
                left.write(f"{place}\t".encode() + to_line(outcome))
            else:
                aside.write(to_line(outcome))
                broken.update(reasons([outcome]))
        desk.tell(BETWEEN)
    save_array(desk.work / f"{chunk.name}.index.npy", np.array(index, dtype=INDEX))
    save_array(desk.work / f"{chunk.name}.keys.npy", signer.keys())
    done = {"documents": count, "kept": len(index), "bytes": size, "gone": dict(gone), "reasons": dict(broken)}
    save_json(desk.work / f"{chunk.name}.json", done)


def _files(desk: Desk, chunk: Chunk, stack: ExitStack) -> list[BinaryIO]:
    places = (desk.work / f"{chunk.name}.kept", desk.work / f"{chunk.name}.left")
    return [stack.enter_context(writing(path)) for path in (*places, desk.out / "quarantine" / f"{chunk.name}.jsonl")]


def _outcome(pipeline: Pipeline, document: Any, line: bytes, culprit: str | None) -> Document | Removed | Quarantined:
    if culprit is not None:
        return Quarantined(document.id, READ, culprit, line)
    outcome = apply(pipeline, document)
    if isinstance(outcome, Quarantined):
        return Quarantined(outcome.id, outcome.step, outcome.reason, line)
    return outcome


def _documents(desk: Desk, chunk: Chunk) -> Iterator[tuple[int, Any, bytes, int]]:
    """Number, document, line and length; what is too long to be read is copied aside, block by block."""
    path = Path(chunk.file)
    read = documents.entries(path, desk.pipeline.longest, chunk.start, chunk.stop)
    try:
        for place, (offset, line, length, document) in enumerate(read):
            if length > len(line):
                _copy(path, offset, length, desk.out / "quarantine" / f"{chunk.name}-{offset}.raw")
            yield place, document, line, max(0, length)
    except FileNotFoundError as error:
        raise ValueError(f"{path} is gone: put it back, then start the same run again") from error


def _copy(path: Path, offset: int, length: int, target: Path) -> None:
    with documents.opened(path) as source, writing(target) as handle:
        source.seek(offset)
        while length and (block := source.read(min(length, documents.BLOCK))):
            handle.write(block)
            length -= len(block)


def main() -> None:
    """Take chunks until the standard input ends."""
    pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a step prints goes to the log, not between the messages
    messages = _messages()
    tell = lambda place: pipe.write(b"at %d\n" % place)  # noqa: E731
    try:
        hello = next(messages)
        desk = Desk(pickle.loads(base64.b64decode(hello["pipeline"])), Path(hello["out"]), tell)
        for message in messages:
            chunk = Chunk(**message["chunk"])
            process(desk, chunk, {int(place): why for place, why in message["culprits"].items()})
            pipe.write(b"done\n")
    except Exception as error:
        pipe.write(f"failed {json.dumps([type(error).__name__, str(error)])}\n".encode())
        raise


def _messages() -> Iterator[dict[str, Any]]:
    """The lines of the standard input; when it ends, because the other side is done or dead, so does this process."""
    import queue

    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin.buffer:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield json.loads(lines.get())


if __name__ == "__main__":
    main()
