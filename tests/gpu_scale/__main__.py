"""Every page at the scale "gpu" on a fake GPU: `python -m tests.gpu_scale [NN ...]`.

    cells that ran, what was left out and why, memory by formula and as the tensors of the device took it

One process for each page. A tensor on the wrong device, and a cell that fails and is not in left_out.py, end with 1.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import results
from labkit.corpora.cache import cache_folder
from labkit.workbench import notebooks
from tests.gpu_scale.table import empty, row, section
from tests.project import ROOT

PATIENCE = 3600  # seconds for a page
PAGES = ("06", "07", "08", "09", "10", "13", "16", "17", "18", "20")  # those with torch


def page(path, everything=False):
    """What became of a page, from a process of its own; its models go to a cache that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        environment = {
            **os.environ,
            "LABKIT_CACHE": str(_same_texts(Path(folder) / "cache")),
            "PYTHONPATH": str(ROOT),
            "MPLBACKEND": "agg",
        }
        environment |= {"LABKIT_HEADLESS": "1", "PYTHONUTF8": "1"}
        command = [sys.executable, "-m", "tests.gpu_scale.page", str(path), str(result), *everything * ["--every-cell"]]
        try:
            done = subprocess.run(
                command, env=environment, cwd=ROOT, capture_output=True, timeout=PATIENCE, check=False
            )
            said = done.stderr.decode(errors="replace")
        except subprocess.TimeoutExpired:
            said = f"it took more than {PATIENCE} s"
        if result.is_file():
            return json.loads(result.read_text(encoding="utf-8"))
    return empty(path, 0, 0) | {"mistakes": {"the process": said[-2000:]}}


def _same_texts(folder):
    """A cache of its own that begins with what the real one has."""
    folder.mkdir()
    for entry in cache_folder().glob("*"):  # locks begin with a point and are made anew
        (folder / entry.name).symlink_to(entry)
    return folder


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tests.gpu_scale", description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", help="numbers of pages; all that use a device if left out")
    parser.add_argument("--no-section", action="store_true", help="print the table and write nothing")
    parser.add_argument("--every-cell", action="store_true", help="also run cells that do not need the device")
    asked = parser.parse_args(arguments)
    pages = []
    for path in notebooks.find(asked.pages or PAGES):
        pages.append(page(path, asked.every_cell))
        print(" · ".join(map(str, row(pages[-1]))), flush=True)
        for kind in ("left_out", "mistakes"):
            for name, why in pages[-1][kind].items():
                print(f"    {'left out' if kind == 'left_out' else 'MISTAKE'}  {name}: {why}", flush=True)
        if not asked.no_section:
            results.write("gpu_need", section(pages))  # after each page: what is there, stays there
    return int(any(told["mistakes"] for told in pages))


if __name__ == "__main__":
    sys.exit(main())
