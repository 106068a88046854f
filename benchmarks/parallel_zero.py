"""ZeRO on two gloo ranks of one thread, beside torch's ZeroRedundancyOptimizer and FSDP2: a part of bench_parallel.

    python benchmarks/parallel_zero.py [--rounds 6]

The GPT is that of bench_training.py: 12 million parameters, context 256, 8 windows in all, AdamW in float32. A step is
zero_grad, forward, backward and the optimizer's step; ZeroRedundancyOptimizer has DistributedDataParallel before it.
The two take turns inside one run, a barrier before each step; times are wall seconds of the slower rank, and what
counts is the median of the ratios, round by round.
"""

import argparse
import os
from collections.abc import Callable

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from parallel_data import BATCH, TOKENS, VOCABULARY, turns  # noqa: E402
from peers import Row  # noqa: E402

from labkit.ranks import run_ranks  # noqa: E402

ASKED = 0.9


def bench(rounds: int) -> list[Row]:
    """Step rates of our stages beside torch's: 1 and 2 beside ZeroRedundancyOptimizer, 3 beside FSDP2."""
    found = run_ranks(on_each_rank, 2, rounds, timeout=600.0 + 90 * rounds, quiet=True)[0]
    rows = []
    for what, (ours, theirs, ratio, ours_bytes, their_bytes) in found.items():
        asked = ASKED if what.startswith("ZeRO-1") else None
        note = f"optimizer on rank 0: {ours_bytes / 1e6:.1f} and {their_bytes / 1e6:.1f} MB"
        rows.append(Row(what, "steps/s", 1 / ours, 1 / theirs, ratio, asked, note))
    return rows


def on_each_rank(rounds: int) -> dict:
    """Everything that needs two ranks; imports are here, so that only ranks have torch."""
    found = {}
    for what, ours, theirs in (
        ("ZeRO-1, ZeroRedundancyOptimizer with DDP", lambda: sharded(1), redundancy_free),
        ("ZeRO-2, ZeroRedundancyOptimizer with DDP", lambda: sharded(2), redundancy_free),
        ("ZeRO-3, FSDP2", lambda: sharded(3), fully),
    ):
        (our_step, our_bytes), (their_step, their_bytes) = ours(), theirs()
        found[what] = (*turns(our_step, their_step, rounds), our_bytes(), their_bytes())
    return found


def new_model() -> tuple:
    """The model, and what a step is given of it: this rank's half of the batch."""
    import torch
    from torch import distributed

    from labkit.transformer import Config, Decoder

    text = torch.randint(VOCABULARY, (BATCH, TOKENS + 1), generator=torch.Generator().manual_seed(0))
    text = text[distributed.get_rank() :: distributed.get_world_size()]
    model = Decoder(Config(VOCABULARY, context=TOKENS, layers=8, heads=5, width=320))
    return model, text[:, :-1], text[:, 1:].flatten()


def stepper(model: Callable, optimizer: object, inputs: object, targets: object) -> Callable[[], None]:
    """A step of training."""
    from torch.nn.functional import cross_entropy

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(inputs).flatten(0, 1), targets).backward()
        optimizer.step()

    return step


def sharded(stage: int) -> tuple:
    """Ours."""
    import torch

    from labkit.zero.stages import Zero

    model, *pieces = new_model()
    zero = Zero(model, torch.optim.AdamW, stage=stage, micro_batches=1, lr=1e-3, fused=True)
    return stepper(model, zero, *pieces), lambda: zero.report().optimizer


def redundancy_free() -> tuple:
    """torch's stage 1, and DistributedDataParallel for the gradients."""
    import torch
    from torch.distributed.optim import ZeroRedundancyOptimizer
    from torch.nn.parallel import DistributedDataParallel

    model, *pieces = new_model()
    wrapped = DistributedDataParallel(model)
    optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, lr=1e-3, fused=True)
    states = lambda: optimizer.optim.state.values()  # noqa: E731
    return stepper(wrapped, optimizer, *pieces), lambda: sum(t.nbytes for s in states() for t in s.values())


def fully() -> tuple:
    """torch's stage 3."""
    import torch

    from labkit.zero.fully_sharded import bytes_here, fully_sharded

    model, *pieces = new_model()
    fully_sharded(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    return stepper(model, optimizer, *pieces), lambda: bytes_here(model, optimizer).optimizer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    for row in bench(parser.parse_args().rounds):
        print(row)
