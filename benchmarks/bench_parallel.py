"""labkit's ranks, data parallel and ZeRO beside torch's: starting ranks, step rates of two gloo ranks, ZeRO's stages.

    python benchmarks/bench_parallel.py [--rounds 6] [--only launch data zero]

Two ranks of one thread each take turns with the peer inside one run; times are by the clock, since the work is done in
other processes, and what counts are the ratios. The machine needs two free cores.
"""

import argparse
import importlib
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before torch is imported
os.environ["GOMP_SPINCOUNT"] = "0"  # threads that wait by spinning take the core of the other rank

SUBJECTS = ("launch", "data", "zero")


def main() -> None:
    """Run what is asked for and print a line for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=SUBJECTS)
    given = parser.parse_args()
    print(f"{'':<58} {'ours':>10} {'theirs':>10} {'':<12} {'ratio':>9}")
    for subject in given.only:
        for row in importlib.import_module(f"parallel_{subject}").bench(given.rounds):
            print(row, flush=True)


if __name__ == "__main__":
    main()
