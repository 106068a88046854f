"""All benchmarks, one after the other, each in a process of its own, and the page of measurements from them.

    python -m benchmarks.run_all [ngrams attention ...] [--quick]

`--quick` takes few rounds and leaves out what takes minutes; its ratios are rough. A benchmark that dies is named, its
rows up to there are kept, the others go on, and the exit code is 1. A peer that is not installed is named as missing.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.results_page import COMPARED, comparison

FOLDER = Path(__file__).parent
ROWS = "LABKIT_BENCH_ROWS"  # as peers.py has it
LAST_WORDS = 300  # characters of what a dying benchmark said


@dataclass(frozen=True)
class Bench:
    """How a benchmark is run with few rounds, and the packages whose versions matter."""

    quick: tuple[str, ...]
    packages: tuple[str, ...]


BENCHES = {
    "ngrams": Bench(("--tokens", "300000", "--repeats", "1"), ("numpy", "nltk", "kenlm")),
    "attention": Bench(("--rounds", "1"), ("torch", "numpy")),
    "optimizers": Bench(("--rounds", "3"), ("torch", "numpy")),
    "transformer": Bench(("--rounds", "2"), ("torch", "transformers")),
    "training": Bench(("--rounds", "3"), ("torch", "h5py", "safetensors")),
    "cleaning": Bench(
        ("--rounds", "1"),
        ("rensa", "datasketch", "datatrove", "spacy", "presidio-analyzer", "trafilatura", "ftfy"),
    ),
    "parallel": Bench(("--rounds", "1"), ("torch",)),
    "compression": Bench(("--rounds", "3", "--only", "latency", "files", "student"), ("torch", "torchao")),
    "grading": Bench(("--submissions", "20", "--notebooks", "02", "--peer-submissions", "1"), ("cloudpickle",)),
}


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHES)}  [default: all]")
    parser.add_argument("--quick", action="store_true", help="few rounds: a quarter of an hour on two cores")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in BENCHES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHES)}")
    died = run(given.names or list(BENCHES), given.quick)
    results.main()
    for name, why in died.items():
        print(f"{name} died: {why}", file=sys.stderr)
    return 1 if died else 0


def run(
    names: list[str],
    quick: bool = False,
    scripts: Path = FOLDER,
    write: Callable[[str, Mapping[str, Any]], object] = results.write,
) -> dict[str, str]:
    """Run benchmarks and write a section for each; gives those that died, and their last words."""
    died = {}
    for name in names:
        script = scripts / f"bench_{name}.py"
        flags = BENCHES[name].quick if quick else ()
        print(f"== {script.name} {' '.join(flags)}".rstrip(), flush=True)
        load, begun = _load(), time.perf_counter()
        rows, last_words = _run_one(script, flags)
        notes = [f"{time.perf_counter() - begun:,.0f} s in all; the load of the machine before was {load}."]
        if quick:
            notes.append("Few rounds, so the ratios are rough; without `--quick` there are more.")
        if last_words:
            died[name] = last_words
            notes.append(f"The benchmark died before its end: {last_words}")
        write(name, section(name, script, rows, notes, quick))
    return died


def section(name: str, script: Path, rows: list[dict[str, Any]], notes: list[str], quick: bool) -> dict[str, Any]:
    """Give the section of a benchmark from its rows and from what its script says of itself."""
    title, about = told(script)
    gone = sorted({row["missing"] for row in rows if row["missing"]})
    died = any(note.startswith("The benchmark died") for note in notes)
    return {
        "title": title,
        "about": about,
        "command": f"python -m benchmarks.run_all {name}{' --quick' if quick else ''}",
        "date": results.today(),
        "machine": results.machine(),
        "versions": results.versions(BENCHES[name].packages),
        "headers": [*COMPARED, "note"],
        "rows": [[*comparison(row), row["note"]] for row in rows],
        "notes": [*notes, *[f"Missing on this machine: {', '.join(gone)}."] * bool(gone)],
        "summary": rows,
    } | ({"passed": False, "verdict": "It died before its end."} if died else {})


def told(script: Path) -> tuple[str, str]:
    """Give title and paragraph from the first lines of a script, which are not run for that."""
    words = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or script.stem
    title, *parts = words.split("\n\n")
    prose = [" ".join(part.split()) for part in parts if not part.startswith("    ")]
    return " ".join(title.split()).rstrip("."), " ".join(prose)


def _run_one(script: Path, flags: tuple[str, ...]) -> tuple[list[dict[str, Any]], str]:
    """Run one script; gives its rows, and if it died what it said last, without the places of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        kept, said = Path(folder, "rows"), Path(folder, "stderr")
        kept.touch()
        environment = os.environ | {ROWS: str(kept), "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
        with said.open("w", encoding="utf-8") as file:
            code = subprocess.run([sys.executable, str(script), *flags], env=environment, stderr=file).returncode
        rows = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
        words = said.read_text(encoding="utf-8", errors="replace")
    if code == 0:
        return rows, ""
    print(words[-4000:], file=sys.stderr)
    last = words.strip().splitlines()[-1:] or ["no word"]
    how = f"exit code {code}" if code > 0 else f"signal {-code}"
    return rows, without_places(f"{how}, {last[0][-LAST_WORDS:]}")


def without_places(text: str) -> str:
    """Give a text in which no folder of this machine is named."""
    for place in sorted(results.places_in(text), key=len, reverse=True):
        text = text.replace(place, "…")
    return text


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


if __name__ == "__main__":
    sys.exit(main())
