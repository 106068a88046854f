"""What a run shows while it runs: a bar per notebook on a terminal, a line per notebook everywhere else."""

import sys
import threading

from tqdm import tqdm

SHAPE = "{desc} |{bar:20}| {elapsed}"


class Progress:
    """Shows notebook · cell x/y, live; several notebooks at a time have a line each."""

    def __init__(self, width: int):
        self._width = width
        self._lock = threading.Lock()
        self._bars: dict[str, tqdm] = {}
        self._lines: dict[str, int] = {}

    def start(self, name: str, cells: int) -> None:
        """Open the line of a notebook with so many code cells."""
        with self._lock:
            taken = self._lines.values()
            line = self._lines[name] = next(number for number in range(len(taken) + 1) if number not in taken)
            # disable=None: no bar where the output is no terminal, so that logs stay readable.
            self._bars[name] = tqdm(
                desc=f"{name:<{self._width}} · starting",
                total=cells,
                position=line,
                leave=False,
                bar_format=SHAPE,
                file=sys.stderr,
                disable=None,
            )

    def at(self, name: str, number: int, cell_id: str) -> None:
        """Show that the code cell `number` began."""
        bar = self._bars[name]
        if not bar.disable:
            bar.n = number - 1
            bar.set_description_str(f"{name:<{self._width}} · cell {number}/{bar.total} {cell_id[:24]:<24}")

    def tick(self) -> None:
        """Let the clocks go on while a cell takes its time."""
        with self._lock:
            for bar in self._bars.values():
                bar.refresh()

    def done(self, name: str, verdict: str) -> None:
        """Close the line of a notebook and say in one line how it went."""
        with self._lock:
            if name in self._bars:
                self._bars.pop(name).close()
                self._lines.pop(name)
            tqdm.write(f"{name:<{self._width}} · {verdict}", file=sys.stderr)
