"""What benchmarks of several subjects share: one line of a result, and two programs that take turns."""

import argparse
import importlib
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

ROWS = "LABKIT_BENCH_ROWS"  # the file that `tell` adds to; run_all.py names it


class Ratio(float):
    """The median of the ratios of all rounds; `low` and `high` are the smallest and the largest of them."""

    low: float
    high: float

    @classmethod
    def of(cls, ratios: Iterable[float]) -> "Ratio":
        """Give the median, and keep how far the rounds were apart."""
        ratios = list(ratios)
        found = cls(statistics.median(ratios))
        found.low, found.high = min(ratios), max(ratios)
        return found


@dataclass(frozen=True)
class Row:
    """One line of a benchmark: our figure and that of the peer in `unit`, their ratio, and the ratio asked for.

    A ratio is the larger the better. A comparison whose peer is not on this machine has its name in `missing`.
    """

    what: str
    unit: str = ""
    ours: float | None = None
    theirs: float | None = None
    ratio: float | None = None
    asked: float | None = None
    note: str = ""
    missing: str = ""

    def __str__(self) -> str:
        if self.ratio is None:
            return f"{self.what:<58} {self.note}"
        figures = f"{self.ours:>10,.3g} {self.theirs:>10,.3g} {self.unit:<12}"
        spread = f"({self.spread[0]:.2f} to {self.spread[1]:.2f})" if self.spread else ""
        verdict = "" if self.asked is None else f"asked {self.asked:g}: {'yes' if self.met else 'NO'}"
        return f"{self.what:<58} {figures} {self.ratio:>8.2f}x {spread:<17}  {verdict}  {self.note}".rstrip()

    @property
    def met(self) -> bool | None:
        """Whether the ratio is what was asked for; None where nothing was."""
        return None if self.asked is None or self.ratio is None else bool(self.ratio >= self.asked)

    @property
    def spread(self) -> tuple[float, float] | None:
        """The smallest and the largest ratio of a round."""
        return (self.ratio.low, self.ratio.high) if hasattr(self.ratio, "low") else None

    def record(self) -> dict:
        """The row for results.py."""
        names = ("what", "unit", "ours", "theirs", "ratio", "asked", "note", "missing", "met", "spread")
        return {name: getattr(self, name) for name in names}


def tell(*rows: Row) -> None:
    """Print rows, and keep them for the page of measurements where run_all.py asks for it."""
    for row in rows:
        print(row, flush=True)
        if ROWS in os.environ:
            with open(os.environ[ROWS], "a", encoding="utf-8") as file:
                file.write(json.dumps(row.record(), ensure_ascii=False) + "\n")


def paired(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float, Ratio]:
    """Give the median CPU seconds of both, which take turns, and the median of theirs divided by ours, round by round.

    The first turn of each is not counted: it loads tables and fills caches.
    """
    ours(), theirs()
    return compared([(_seconds(ours), _seconds(theirs)) for _ in range(rounds)])


def compared(pairs: Iterable[tuple[float, float]]) -> tuple[float, float, Ratio]:
    """Give the medians of our seconds and theirs, and the ratio theirs over ours, from pairs of both."""
    pairs = list(pairs)
    middle = statistics.median
    return middle(a for a, _ in pairs), middle(b for _, b in pairs), Ratio.of(b / a for a, b in pairs)


def _seconds(run: Callable[[], object]) -> float:
    begin = time.process_time()
    run()
    return time.process_time() - begin


def run_subjects(about: str, prefix: str, subjects: tuple[str, ...], rounds: int) -> None:
    """Run the subjects that the command line asks for, modules `prefix_subject`, and print a line for each comparison.

    Each module has `bench(rounds)`, which gives its rows.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--only", nargs="+", choices=subjects, default=subjects)
    given = parser.parse_args()
    print(f"{'':<58} {'ours':>10} {'theirs':>10} {'':<12} {'ratio':>9}")
    for subject in given.only:
        tell(*importlib.import_module(f"{prefix}_{subject}").bench(given.rounds))
