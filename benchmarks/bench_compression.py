"""labkit.compression beside float32 and torchao: a token's time, bytes on disk, perplexity, and what it takes.

    python benchmarks/bench_compression.py [--rounds 15] [--only latency files perplexity student smollm2]

One thread. The sides take turns inside one run; times are CPU seconds, and what counts are the ratios. All ratios are
the larger the better: "at most 0.31 of float32" is asked as "at least 3.23 times smaller". A peer that is not installed
has a line that says so: pip install -c constraints.txt -e '.[compression,models]'.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before torch is imported
os.environ["GOMP_SPINCOUNT"] = "0"

from peers import run_subjects  # noqa: E402

SUBJECTS = ("latency", "files", "perplexity", "student", "smollm2")

if __name__ == "__main__":
    run_subjects(__doc__, "compression", SUBJECTS, rounds=15)
