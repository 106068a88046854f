"""labkit's ranks, data parallel and ZeRO beside torch's: starting ranks, step rates of two gloo ranks, ZeRO's stages.

    python benchmarks/bench_parallel.py [--rounds 6] [--only launch data zero]

Two ranks of one thread each take turns with the peer inside one run; times are by the clock, since the work is done in
other processes, and what counts are the ratios. The machine needs two free cores.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before torch is imported
os.environ["GOMP_SPINCOUNT"] = "0"  # threads that wait by spinning take the core of the other rank

from peers import run_subjects  # noqa: E402

SUBJECTS = ("launch", "data", "zero")

if __name__ == "__main__":
    run_subjects(__doc__, "parallel", SUBJECTS, rounds=6)
