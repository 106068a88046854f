"""The same pipeline on Ray, an engine for many machines: each step is an operation of Ray Data on batches of documents.

result = run_on_ray(standard(), ["crawl.jsonl"])                             # a cluster of this machine, for this run
result = run_on_ray(standard(), ["/shared/crawl.jsonl"], "ray://head:10001")  # one that is there
"""

import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import numpy as np

from labkit.cleaning.banding import candidates, keys
from labkit.cleaning.documents import Document, entries
from labkit.cleaning.minhash import MinHash
from labkit.cleaning.near import decide, verified
from labkit.cleaning.pipeline import (
    EXACT,
    NEAR,
    Copies,
    Pipeline,
    Result,
    Step,
    admit,
    chosen_bands,
    exact_copies,
    remove,
    result_of,
    through,
)
from labkit.cleaning.shards import Chunk, bytes_of, chunks_of, existing, task
from labkit.corpora.cache import shared_temporary_folder
from labkit.corpora.extras import need, quiet

__all__ = ["run_on_ray"]

STARTS = 3  # of a cluster of this machine, when it is so busy that Ray gives up
QUIET = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
GRAMMAR = "rfc3987_syntax"  # of web addresses; see `_grammar_later`
LATER = """from importlib import import_module

__path__ = {found!r}

def is_valid_syntax(*given, **named):
    return __getattr__("is_valid_syntax")(*given, **named)

def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(import_module("{grammar}.syntax_helpers"), name)
"""


def run_on_ray(
    pipeline: Pipeline,
    files: Iterable[str | Path] | Any,
    address: str | None = None,
    *,
    cpus: int = 2,
    object_store: str | int = "200MB",
    chunk: str | int = "16MB",
) -> Result:
    """Clean files of JSON lines by Ray; the result is that of `run`.

    Without an address a cluster of this machine is started and ended. With one, every machine must see the files under
    the same path, and have this package installed. The steps and signatures are computed where the data is; the band
    keys (8 bytes each) and the texts of candidate pairs come here, and so does the result.

    Raises:
        ValueError: for a file that is not there, or an address where no cluster answers.
        ModuleNotFoundError: without ray; the message says how to get it.
    """
    began, paths = time.perf_counter(), existing(files)
    if address is not None:
        _reachable(address)
    with cluster(address, cpus, bytes_of(object_store)) as ray:
        data = steps_on_ray(ray, pipeline, chunks_of(paths, bytes_of(chunk)))
        rows = sorted(data.take_all(), key=lambda row: (row["chunk"], row["place"]))
    outcomes = [row["outcome"] for row in rows]
    _remove_copies(pipeline, rows, outcomes)
    return result_of(pipeline, outcomes, time.perf_counter() - began)


def steps_on_ray(ray: Any, pipeline: Pipeline, chunks: list[Chunk]) -> Any:
    """A data set of Ray with what became of every document, and the band keys of those that are left."""
    tasks = [task(chunk) | {"stop": -1 if chunk.stop is None else chunk.stop} for chunk in chunks]
    data = ray.data.from_items(tasks, override_num_blocks=max(1, len(chunks)))
    data = data.map_batches(partial(_read, pipeline), batch_size=1)
    for one in pipeline.steps:
        data = data.map_batches(partial(_step, one, pipeline.longest))
    return data.map_batches(partial(_sign, pipeline))


def _read(pipeline: Pipeline, batch: dict[str, Any]) -> dict[str, Any]:
    """The documents of one chunk."""
    number, path, start, stop = int(batch["number"][0]), Path(batch["file"][0]), batch["start"][0], batch["stop"][0]
    read = entries(path, pipeline.longest, int(start), int(stop) if stop >= 0 else None)
    rows = [(place, entry.line, admit(pipeline, entry.document)) for place, entry in enumerate(read)]
    place, line, outcome = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {"chunk": np.full(len(rows), number), "place": np.array(place, np.int64)}
    return columns | {"line": _objects(line), "outcome": _objects(outcome)}


def _step(one: Step, longest: int, batch: dict[str, Any]) -> dict[str, Any]:
    """One step for a batch of documents; those that are out stay out."""
    pairs = zip(batch["outcome"], batch["line"], strict=True)
    found = [through(one, longest, it, bytes(line)) if isinstance(it, Document) else it for it, line in pairs]
    return batch | {"outcome": _objects(found)}


def _sign(pipeline: Pipeline, batch: dict[str, Any]) -> dict[str, Any]:
    """The band keys of each text; those of an empty one for what is out."""
    texts = [it.text if isinstance(it, Document) else "" for it in batch["outcome"]]
    columns = {name: batch[name] for name in ("chunk", "place", "outcome")}
    if pipeline.near is not None:
        bands = chosen_bands(pipeline)
        columns["keys"] = keys(MinHash(bands.hashes, pipeline.seed, pipeline.how).signatures(texts), bands)
    return columns


def _objects(values: Iterable[Any]) -> Any:
    values = list(values)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _remove_copies(pipeline: Pipeline, rows: list[dict[str, Any]], outcomes: list[Any]) -> None:
    """As `run` does; the candidates for near copies by the band keys that were computed where the data is."""
    if pipeline.exact:
        remove(outcomes, EXACT, exact_copies)
    alive = [row["keys"] for row, outcome in zip(rows, outcomes, strict=True) if isinstance(outcome, Document)]
    if pipeline.near is not None and alive:
        remove(outcomes, NEAR, partial(_near_copies, pipeline, np.stack(alive)))


def _near_copies(pipeline: Pipeline, band_keys: Any, texts: list[str]) -> Copies:
    fetch = lambda places: [texts[place] for place in places]  # noqa: E731
    pairs = verified(candidates(band_keys), fetch, pipeline.near, how=pipeline.how)
    found = decide(len(texts), pairs, fetch, how=pipeline.how)
    return {copy: (first, found.similarity[copy]) for copy, first in found.of.items()}


@contextmanager
def cluster(address: str | None, cpus: int, object_store: int) -> Iterator[Any]:
    """Ray, connected and quiet; what is started here is ended here, one that is connected already is left alone."""
    with _environment(QUIET), _grammar_later():
        ray = need("ray", extra="scale", why="to run a pipeline on many machines")
        need("ray.data", extra="scale", why="to run a pipeline on many machines")
        ours = not ray.is_initialized()
        turn = _turn() if ours and address is None else nullcontext()
        with turn, _quiet(ray), tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
            try:
                if ours:
                    _connect(ray, address, cpus, object_store, folder)
                yield ray
            finally:
                if ours:
                    ray.shutdown()


@contextmanager
def _grammar_later() -> Iterator[None]:
    """Let Ray start without a grammar that it never uses; `_environment` undoes what this sets.

    Each process of Ray, and there are ten, imports jsonschema, which imports a package that first builds a grammar for
    two seconds or more. A module of its name comes before it here, and fetches the real one when somebody asks for it.
    """
    real = PathFinder.find_spec(GRAMMAR)
    if real is None or not real.submodule_search_locations:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        text = LATER.format(found=list(real.submodule_search_locations), grammar=GRAMMAR)
        Path(folder, f"{GRAMMAR}.py").write_text(text, encoding="utf-8")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
        sys.path.insert(0, folder)
        try:
            yield
        finally:
            sys.path.remove(folder)


def _turn() -> Any:
    """One cluster at a time for each user of this machine: two that start together have killed one another."""
    mine = getattr(os, "getuid", os.getpid)()
    lock = shared_temporary_folder() / f"labkit-ray-{mine}.lock"
    return need("filelock", extra="scale", why="to run a pipeline on Ray").FileLock(lock)


def _reachable(address: str) -> None:
    """Refuse an address where nobody listens: Ray itself would try for minutes, and write about it."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "auto" and the like are Ray's to understand
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ValueError(f"no Ray cluster answers at {address} ({error}): start one with `ray start --head`") from error


def _connect(ray: Any, address: str | None, cpus: int, object_store: int, folder: str) -> None:
    here = {"num_cpus": cpus, "object_store_memory": object_store, "include_dashboard": False, "_temp_dir": folder}
    for left in reversed(range(STARTS)):
        try:
            with quiet():  # without a network it says on stderr, from C++, that it found no way out
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **(here if address is None else {}))
                return
        except Exception as error:  # Ray says no more than this when a busy machine takes longer than its 30 seconds
            if not left or address is not None or "timed out during startup" not in str(error):
                raise
            ray.shutdown()


@contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    """More variables, where they are not set; afterwards all are what they were."""
    before = dict(os.environ)
    os.environ.update({name: value for name, value in more.items() if name not in before})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """No progress bars of Ray's own and no log lines; afterwards as before."""
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    bars, level = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = bars
        logger.setLevel(level)
