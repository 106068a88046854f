"""Data parallel on two gloo ranks of one thread each, beside torch's DistributedDataParallel: a part of bench_parallel.

    python benchmarks/parallel_data.py [--rounds 6]

The GPT is that of bench_training.py: 12 million parameters, context 256, 8 windows in all, forward, backward and fused
AdamW in float32. The two wrappers take turns inside one run, a barrier before each step; times are wall seconds of the
slower rank, and what counts is the median of the ratios, round by round.
"""

import argparse
import os
import time
from collections.abc import Callable

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from peers import Ratio, Row, compared  # noqa: E402

from labkit.ranks import run_ranks  # noqa: E402

BATCH, TOKENS, VOCABULARY = 8, 256, 8192
ASKED = {"buckets": 1.0, "flat": 1.0, "per_parameter": 0.9}
ASKED_OF_TWO = 1.75


def bench(rounds: int) -> list[Row]:
    """Step rates of the three modes beside DDP, of two ranks beside one, and of our ring beside torch's all-reduce."""
    found = run_ranks(on_each_rank, 2, rounds, timeout=600 + 60 * rounds, quiet=True)[0]
    rows = []
    for mode, (ours, theirs, ratio) in found["modes"].items():
        rows.append(Row(f"data parallel, {mode}, DDP", "steps/s", 1 / ours, 1 / theirs, ratio, ASKED[mode]))
    two, one, ratio = found["alone"]
    rates = "steps/s", 1 / two, 1 / one, ratio, ASKED_OF_TWO
    rows.append(Row("two ranks, one rank (same global batch)", *rates, f"DDP: {found['ddp alone']:.2f}x"))
    ours, theirs, ratio = found["ring"]
    size = found["bytes"] / 1e6
    rates = "MB/s", size / ours, size / theirs, ratio
    return [*rows, Row(f"ring all-reduce of {size:.0f} MB from send and receive, torch", *rates)]


def on_each_rank(rounds: int) -> dict:
    """Everything that needs two ranks; imports are here, so that only ranks have torch."""
    import torch
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    from labkit.data_parallel.collectives import ring_all_reduce
    from labkit.data_parallel.links import Wires
    from labkit.data_parallel.replicas import DataParallel

    rank, world, found = distributed.get_rank(), distributed.get_world_size(), {"modes": {}}
    for mode in ASKED:
        ours, theirs = stepper(lambda m, mode=mode: DataParallel(m, mode)), stepper(DistributedDataParallel)
        found["modes"][mode] = turns(ours, theirs, rounds)
        if mode == "buckets":
            alone = stepper(None) if rank == 0 else lambda: None
            found["alone"], found["ddp alone"] = turns(ours, alone, rounds), turns(theirs, alone, rounds)[2]
        del ours, theirs
    flat, link = torch.randn(12_300_000), Wires()
    found["bytes"] = 4 * flat.numel()
    found["ring"] = turns(
        lambda: ring_all_reduce(flat, rank, world, link), lambda: distributed.all_reduce(flat.clone()), 3 * rounds
    )
    return found


def stepper(wrap: Callable | None) -> Callable[[], None]:
    """A step of a new model on this rank's half of the batch; on all of it without a wrapper."""
    import torch
    from torch import distributed

    from labkit.transformer import Config, Decoder

    rank, world = (distributed.get_rank(), distributed.get_world_size()) if wrap else (0, 1)
    text = torch.randint(VOCABULARY, (BATCH, TOKENS + 1), generator=torch.Generator().manual_seed(0))[rank::world]
    inputs, targets = text[:, :-1], text[:, 1:].flatten()
    model = Decoder(Config(VOCABULARY, context=TOKENS, layers=8, heads=5, width=320))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    wrapped = wrap(model) if wrap else model

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(wrapped(inputs).flatten(0, 1), targets).backward()
        optimizer.step()

    return step


def turns(ours: Callable, theirs: Callable, rounds: int) -> tuple[float, float, Ratio]:
    """Median wall seconds of both, which take turns, and the median of the ratios; the first turn is not counted."""
    return compared([(seconds(ours), seconds(theirs)) for _ in range(rounds + 1)][1:])


def seconds(run: Callable) -> float:
    """Wall seconds of one run, until the slower rank is done."""
    from torch import distributed

    distributed.barrier()
    begin = time.perf_counter()
    run()
    distributed.barrier()
    return time.perf_counter() - begin


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    for row in bench(parser.parse_args().rounds):
        print(row)
