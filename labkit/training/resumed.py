"""A small training run in a process of its own, to be killed at any moment and started again.

Everything that could get lost is in it: dropout draws from the global generator, two batches make a step, they come
from a memory-mapped file through a thread, the learning rate follows a schedule, AdamW has its averages.
"""

import functools
import multiprocessing
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from labkit.corpora import ENGLISH
from labkit.training.checkpoints import latest, read_checkpoint
from labkit.training.data import TokenBatches, TokenFile, write_tokens
from labkit.training.history import History
from labkit.training.loop import train
from labkit.training.packing import digest
from labkit.training.prefetching import prefetch
from labkit.training.schedules import cosine
from labkit.transformer import Config, Decoder

PATIENCE = 60  # seconds that a process waits to be killed
Told = Callable[[int, dict[str, float]], Any]


def run_training(
    folder: Path | str, steps: int, *, seed: int = 0, checkpoint_every: int = 3, told: Told | None = None
) -> History:
    """Train a tiny GPT on sentences of a grammar until `steps` steps are done, those of earlier runs included.

    The checkpoints, and the file of its words, lie in `folder`. `told` is called after every step. All runs on one
    thread: the order of a sum, and so its last bit, may depend on their number.
    """
    with _one_thread():
        return _run_training(Path(folder), steps, seed, checkpoint_every, told)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _run_training(folder: Path, steps: int, seed: int, checkpoint_every: int, told: Told | None) -> History:
    torch.manual_seed(seed)  # dropout's; a resumed run takes what the checkpoint says
    words = _words(folder)
    model = Decoder(Config(words.vocabulary, 32, layers=1, heads=2, width=32, dropout=0.1), seed=seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    with prefetch(TokenBatches(words, batch=4, length=32, seed=seed)) as batches:
        return train(
            model,
            batches,
            optimizer,
            steps=steps,
            schedule=functools.partial(cosine, peak=1e-2, steps=steps, warmup=min(5, steps)),
            max_norm=1.0,
            accumulate=2,
            every=1,
            log=told,
            checkpoint=folder,
            checkpoint_every=checkpoint_every,
        )


def final_weights(folder: Path | str) -> str:
    """The sha256 of all weights in the latest checkpoint: equal only if every bit is.

    Raises:
        FileNotFoundError: if there is no whole checkpoint.
    """
    path = latest(folder)
    if path is None:
        raise FileNotFoundError(f"there is no whole checkpoint in {Path(folder).name}/")
    return digest(read_checkpoint(path).model)


def run_in_process(
    folder: Path | str, steps: int, *, kill_at: int | None = None, delay: float | int = 0.0, **settings: Any
) -> tuple[int, int]:
    """`run_training` in a process of its own; returns the first and the last step that it did, counted from 1.

    Args:
        kill_at: send SIGKILL once this step is done; the process gets no chance to tidy up.
        delay: seconds to wait before, so that the kill comes anywhere: in a step, or while a checkpoint is written.

    Raises:
        RuntimeError: with its traceback, if the process failed by itself.
    """
    context = _context()
    here, there = context.Pipe(duplex=False)
    arguments = (there, str(folder), steps, settings, kill_at is not None)
    process = context.Process(target=_run, args=arguments, daemon=True)
    process.start()
    there.close()
    done: list[int] = []
    try:
        while True:
            said = here.recv()
            if isinstance(said, str):
                raise RuntimeError(f"the training process failed: {said}")
            done.append(said)
            if said == kill_at:
                time.sleep(delay)
                process.kill()
    except EOFError:  # the process is gone
        process.join()
    finally:
        here.close()
    return (done[0], done[-1]) if done else (0, 0)


def kill_and_resume(
    folder: Path | str, steps: int, kills: int, *, seed: int = 0, reach: int = 8, **settings: Any
) -> list[tuple[int, int]]:
    """Kill a run so many times at random moments, then let it finish; returns the steps that each process did.

    Args:
        reach: each process lives for at most so many steps.
    """
    chance, runs, start = random.Random(seed), [], 1
    with _no_server_left():
        for _ in range(kills):
            kill_at = min(start + chance.randrange(reach), steps - 1)
            runs.append(run_in_process(folder, steps, kill_at=kill_at, delay=chance.uniform(0, 0.02), **settings))
            path = latest(folder)
            start = 1 + (read_checkpoint(path).step if path else 0)
        return [*runs, run_in_process(folder, steps, **settings)]


def _run(there: Connection, folder: str, steps: int, settings: dict[str, Any], doomed: bool) -> None:
    tqdm.set_lock(threading.RLock())  # its own, between processes, would be left over after a kill

    def told(done: int, values: dict[str, float]) -> None:
        if doomed and done == steps:  # on a busy machine the kill comes late: it must not come too late
            time.sleep(PATIENCE)
        there.send(done)

    try:
        run_training(folder, steps, told=told, **settings)
    except Exception:
        there.send(traceback.format_exc())


@functools.cache
def _context() -> Any:
    """Processes forked from one that has imported all this already, where the system can: they start at once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo", "safetensors.torch"])  # the first optimizer imports it
    return context


@contextmanager
def _no_server_left() -> Iterator[None]:
    """End what multiprocessing started within: a kernel that ends would wait many seconds for each such process."""
    if _context().get_start_method() != "forkserver":
        yield
        return
    from multiprocessing import forkserver, resource_tracker  # Windows has not both

    server, tracker = forkserver._forkserver, resource_tracker._resource_tracker  # no public names
    before = server._forkserver_pid, tracker._pid
    try:
        yield
    finally:
        for helper, known in zip((server, tracker), before, strict=True):
            if known is None:
                helper._stop()


def _words(folder: Path) -> TokenFile:
    path = folder / "words.tokens"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        text = [word for sentence in ENGLISH.sample(1000, seed=0) for word in [*sentence, "</s>"]]
        number = {word: i for i, word in enumerate(sorted(set(text)))}
        write_tokens(path, [number[word] for word in text], len(number))
    return TokenFile(path)
