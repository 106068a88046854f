"""labkit.cleaning beside its peers: duplicates, quality rules, personal data, the main text of pages.

    python benchmarks/bench_cleaning.py [--rounds 5] [--only duplicates quality personal html]

Both sides get the same texts and take turns in one process, on one thread; times are CPU seconds, and what counts are
the ratios. A peer that is not installed has a line that says so: pip install -c constraints.txt -e '.[bench]'.
"""

import argparse
import importlib
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = "1"  # before NumPy and the peers are imported

SUBJECTS = ("duplicates", "quality", "personal", "html")


def main() -> None:
    """Run what is asked for and print a line for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=SUBJECTS)
    given = parser.parse_args()
    print(f"{'':<58} {'ours':>10} {'theirs':>10} {'':<12} {'ratio':>9}")
    for subject in given.only:
        for row in importlib.import_module(f"cleaning_{subject}").bench(given.rounds):
            print(row, flush=True)


if __name__ == "__main__":
    main()
