"""labkit.cleaning beside its peers: duplicates, quality rules, personal data, the main text of pages.

    python benchmarks/bench_cleaning.py [--rounds 5] [--only duplicates quality personal html]

Both sides get the same texts and take turns in one process, on one thread; times are CPU seconds, and what counts are
the ratios. A peer that is not installed has a line that says so: pip install -c constraints.txt -e '.[bench]'.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = "1"  # before NumPy and the peers are imported

from peers import run_subjects  # noqa: E402

SUBJECTS = ("duplicates", "quality", "personal", "html")

if __name__ == "__main__":
    run_subjects(__doc__, "cleaning", SUBJECTS, rounds=5)
