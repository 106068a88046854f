"""What benchmarks of several subjects share: one line of a result, and two programs that take turns."""

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of a benchmark: our figure and that of the peer in `unit`, their ratio, and the ratio asked for."""

    what: str
    unit: str = ""
    ours: float | None = None
    theirs: float | None = None
    ratio: float | None = None
    asked: float | None = None
    note: str = ""

    def __str__(self) -> str:
        if self.ratio is None:
            return f"{self.what:<58} {self.note}"
        figures = f"{self.ours:>10,.3g} {self.theirs:>10,.3g} {self.unit:<12}"
        verdict = "" if self.asked is None else f"asked {self.asked:g}: {'yes' if self.ratio >= self.asked else 'NO'}"
        return f"{self.what:<58} {figures} {self.ratio:>8.2f}x  {verdict}  {self.note}".rstrip()


def paired(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Give the median CPU seconds of both, which take turns, and the median of theirs divided by ours, round by round.

    The first turn of each is not counted: it loads tables and fills caches.
    """
    ours(), theirs()
    pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(rounds)]
    middle = statistics.median
    return middle(a for a, _ in pairs), middle(b for _, b in pairs), middle(b / a for a, b in pairs)


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
        for row in importlib.import_module(f"{prefix}_{subject}").bench(given.rounds):
            print(row, flush=True)
