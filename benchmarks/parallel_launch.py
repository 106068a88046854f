"""What it costs to start ranks: `run_ranks` beside torchrun, for the same function, from the call to the results.

    python benchmarks/parallel_launch.py [--rounds 5]

Both start two fresh processes that import torch, join a gloo group, add up one number and end. They take turns; times
are by the clock, since the work is done in other processes. A part of bench_parallel.py.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch.distributed
from peers import Row, compared

from labkit.ranks import run_ranks, torchrun_script, world

RANKS, MOST = 2, 1.5


def add_up() -> float:
    """The number of ranks, from a sum over them."""
    one = torch.ones(1)
    torch.distributed.all_reduce(one)
    return one.item() / world()


def bench(rounds: int) -> list[Row]:
    """Seconds of `run_ranks` and of torchrun; and of `run_ranks` without a group, where torch is not imported."""
    first = _seconds(lambda: run_ranks(add_up, RANKS))  # of a session: torch is imported for all that follow
    with tempfile.TemporaryDirectory() as folder:
        script = torchrun_script(add_up, Path(folder, "add_up.py"))
        ours, theirs, bare = zip(*(_round(script) for _ in range(rounds)), strict=True)
    own, other, ratio = compared(zip(ours, theirs, strict=True))
    return [
        Row(
            "start of 2 ranks, run_ranks against torchrun",
            "s",
            own,
            other,
            ratio,
            1 / MOST,
            f"first: {first:.2f} s",
        ),
        Row("the same without a group (torch is not imported)", note=f"{statistics.median(bare):.2f} s"),
    ]


def _round(script: Path) -> tuple[float, float, float]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}", str(script)]
    return (
        _seconds(lambda: run_ranks(add_up, RANKS)),
        _seconds(lambda: subprocess.run(command, check=True, capture_output=True)),
        _seconds(lambda: run_ranks(os.getpid, RANKS, group=False)),
    )


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    print(*bench(parser.parse_args().rounds), sep="\n")
