"""labkit.training beside the bare minimum: what the loop costs, what it could lose to data, what a checkpoint costs.

    python benchmarks/bench_training.py [--rounds 12] [--vocabulary 8192] [--without loop data checkpoints]

The GPT has 12 million parameters, a context of 256 and batches of 8, as in bench_transformer.py; a step is forward,
backward and AdamW (torch's fused one), in float32, on one thread. The loop and the bare step take turns inside one
run, on the same model; times are CPU seconds, and what counts are the ratios.
"""

import argparse
import functools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before torch is imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
from peers import Row, compared, tell  # noqa: E402

from labkit.training import (  # noqa: E402
    TokenBatches,
    TokenFile,
    cosine,
    load_checkpoint,
    open_hdf5,
    prefetch,
    save_checkpoint,
    train,
    write_hdf5,
    write_tokens,
)
from labkit.transformer import Config, Decoder  # noqa: E402
from labkit.transformer.counting import count  # noqa: E402

BATCH, TOKENS = 8, 256
MOST_OVERHEAD, LEAST_RATE = 0.03, 200


def build(vocabulary: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """A GPT of about 12 million parameters and its optimizer."""
    model = Decoder(Config(vocabulary, context=TOKENS, layers=8, heads=5, width=320))
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)


def batch(vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random ids and the ids after them."""
    text = torch.randint(vocabulary, (BATCH, TOKENS + 1), generator=torch.Generator().manual_seed(0))
    return text[:, :-1], text[:, 1:]


class Turns:
    """Batches that take the time between two requests, which is a step of the loop, and do a bare step in between."""

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, pieces: tuple, clip: bool):
        self.model, self.optimizer, self.pieces, self.clip = model, optimizer, pieces, clip
        self.loop, self.bare = [], []

    def __iter__(self) -> Iterator[tuple]:
        while True:
            begin = time.process_time()
            yield self.pieces
            middle = time.process_time()
            loss = self.model.loss(*self.pieces)
            loss.backward()
            if self.clip:  # what the learner asks for is no overhead of the loop
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0, foreach=False)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.loop.append(middle - begin)
            self.bare.append(time.process_time() - middle)


def bench_loop(rounds: int, vocabulary: int) -> float:
    """The loop with nothing on, and with schedule, clipping, log and bar; returns the tokens per second."""
    rate = 0.0
    for full in (False, True):
        ours = build(vocabulary)  # one model for both: a second one would lie elsewhere in memory
        turns = Turns(*ours, batch(vocabulary), clip=full)
        steps = rounds + 2
        rest = {}
        if full:
            schedule = functools.partial(cosine, peak=1e-3, steps=steps, warmup=2)
            rest = {"schedule": schedule, "max_norm": 1.0, "log": lambda step, values: None, "progress": "training"}
        train(ours[0], turns, ours[1], steps=steps + 1, every=2, **rest)
        loop, bare = turns.loop[2:], turns.bare[2:]
        seconds, alone, ratio = compared(zip(loop, bare, strict=True))
        rate = BATCH * TOKENS / statistics.median(bare)
        what = "schedule, clipping, log and bar" if full else "nothing but steps"
        print(f"  {count(ours[0]):,} parameters, {what}: bare step {statistics.median(bare) * 1000:.0f} ms")
        note = f"the loop takes {1 / ratio - 1:+.1%}; at most {MOST_OVERHEAD:.0%} is asked"
        asked = 1 / (1 + MOST_OVERHEAD)
        tell(Row(f"a step of the loop, a bare step: {what}", "ms", 1e3 * seconds, 1e3 * alone, ratio, asked, note))
    return rate


class Nothing(torch.nn.Module):
    """A model whose step costs as little as a step can: what is left is the loop."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        return (self.weight * x).sum()


def bench_emptiness(step: float) -> None:
    """Microseconds that the loop adds to a step, found with a model that computes nothing."""
    models = [Nothing(), Nothing()]
    optimizers = [torch.optim.SGD(model.parameters(), lr=1e-3) for model in models]
    turns = Turns(models[1], optimizers[1], (torch.ones(1),), clip=False)
    train(models[0], turns, optimizers[0], steps=2001, every=100)
    added = statistics.median(turns.loop) - statistics.median(turns.bare)
    print(f"  the loop alone: {added * 1e6:.0f} µs a step, {added / step:.3%} of a step of the GPT")


def bench_data(tokens_per_second: float, vocabulary: int, size: int = 20_000_000) -> None:
    """Batches from files, beside what the model consumes."""
    with tempfile.TemporaryDirectory() as folder:
        ids = np.random.default_rng(0).integers(0, vocabulary, size)
        mapped = TokenFile(write_tokens(Path(folder, "a"), ids, vocabulary))
        hdf5 = open_hdf5(write_hdf5(Path(folder, "b"), ids, vocabulary))
        for name, file, wanted in (("memory-mapped", mapped, True), ("HDF5", hdf5, False)):
            for ahead in (0, 2):
                rate = rate_of(TokenBatches(file, BATCH, TOKENS), ahead)
                what = f"batches, {name}{', prefetched' if ahead else ''}; what the model reads"
                asked = LEAST_RATE if wanted else None
                tell(Row(what, "tokens/s", rate, tokens_per_second, rate / tokens_per_second, asked))
        hdf5.close()


def rate_of(batches: TokenBatches, ahead: int, rounds: int = 2000) -> float:
    """Tokens per second of wall time."""
    source = prefetch(batches, ahead) if ahead else iter(batches)
    next(source)
    begin = time.perf_counter()
    for _ in range(rounds):
        next(source)
    seconds = time.perf_counter() - begin
    source.close()
    return rounds * BATCH * TOKENS / seconds


def bench_checkpoints(vocabulary: int, step: float) -> None:
    """Saving and loading model and optimizer, beside a step."""
    model, optimizer = build(vocabulary)
    model.loss(*batch(vocabulary)).backward()
    optimizer.step()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        path = save_checkpoint(Path(folder, "a.safetensors"), model=model, optimizer=optimizer)
        middle = time.perf_counter()
        load_checkpoint(path, model, optimizer)
        end = time.perf_counter()
        print(
            f"  {path.stat().st_size / 2**20:.0f} MiB: saved in {middle - begin:.2f} s ({(middle - begin) / step:.2f} "
            f"steps), checked and loaded in {end - middle:.2f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--without", nargs="*", default=[], choices=["loop", "data", "checkpoints"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    rate = 550.0  # tokens per second, where the loop is not measured
    if "loop" not in options.without:
        print(f"the loop, batch {BATCH}, context {TOKENS}, vocabulary {options.vocabulary}, float32, one thread")
        rate = bench_loop(options.rounds, options.vocabulary)
        bench_emptiness(BATCH * TOKENS / rate)
    if "data" not in options.without:
        print(f"batches of {BATCH} × {TOKENS} from a file, a model that consumes {rate:.0f} tokens/s")
        bench_data(rate, options.vocabulary)
    if "checkpoints" not in options.without:
        print("a checkpoint of model and AdamW")
        bench_checkpoints(options.vocabulary, BATCH * TOKENS / rate)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
