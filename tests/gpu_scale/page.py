"""One page at the scale "gpu" on the fake GPU, in this process: `python -m tests.gpu_scale.page PAGE RESULT.json`."""

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from tests.fake_gpu import fake_gpu, register
from tests.gpu_scale import left_out, slices
from tests.gpu_scale.memory import Watch
from tests.gpu_scale.seams import MISTAKE, FewSteps, held
from tests.gpu_scale.table import empty


def run(path, everything=False, say=lambda line: None):
    """Run the cells of a page that have to do with the device, and tell for each whether it ran, or why it did not.

    Cells that make what those need run as well; all cells do if `everything` is asked for.
    """
    cells = [c for c in json.loads(Path(path).read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    known = left_out.CELLS.get(Path(path).stem, {})
    wanted = slices.of_the_device(cells)
    told = empty(path, len(cells), len(wanted))
    if not wanted and not everything:
        return told
    needed = slices.with_what_they_need(cells, wanted) if not everything else [cell["id"] for cell in cells]
    begin, watch = time.process_time(), Watch()
    register()
    with fake_gpu(reads=True, watch=watch) as device, held(device, watch, told):
        shell, missing = _shell(Path(path).stem), {}
        for cell in cells:
            if cell["id"] in needed:
                since = time.process_time()
                error = _run_cell(shell, cell)
                _judge(cell["id"], error, known, missing, told, cell["id"] in wanted)
                _note_memory(watch, told)
                say(f"{time.process_time() - since:6.1f} s  {cell['id']}{'  ' + repr(error)[:300] if error else ''}")
    told["seconds"] = time.process_time() - begin
    return told


def _note_memory(watch, told):
    told["peak"] = max(told["peak"], watch.top)
    if told["needs"]:
        told["needs"][-1]["measured"] = watch.peak


def _judge(name, error, known, missing, told, of_device):
    """Enter what became of a cell; one that lacks a name that a cell left out would have made is left out as well."""
    if error is None:
        told["ran"] += of_device
        if name in known:
            told["mistakes"][name] = "it is listed in left_out.py, and it runs: take it from the list"
        return
    says = f"{type(error).__name__}: {error}".strip().splitlines()[0][:300]
    lacks = isinstance(error, NameError) and bool(missing)
    if MISTAKE.search(str(error)):
        told["mistakes"][name] = says
    elif name in known:
        told["left_out"][name] = known[name]
    elif lacks:
        told["left_out"][name] = f"needs {error.name!r} of a cell that was left out"
    else:
        told["mistakes"][name] = says
    missing[name] = says


def _shell(page):
    os.environ.setdefault("MPLBACKEND", "agg")
    shell = InteractiveShell.instance()
    shell.shorten = FewSteps(page)
    shell.ast_transformers.append(shell.shorten)
    shell.showtraceback = lambda *how, **more: None
    return shell


def _run_cell(shell, cell):
    """The error of a cell, or None."""
    shell.shorten.begin(cell["id"])
    with capture_output():
        done = shell.run_cell("".join(cell["source"]), store_history=True)
    if "parameters" in cell["metadata"].get("tags", []):
        shell.user_ns["scale"] = "gpu"
    return done.error_before_exec or done.error_in_exec


def main(page, result, everything=False):
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        told = run(page, everything, lambda line: print(line, file=sys.stderr, flush=True))
    Path(result).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(*(str(Path(name).resolve()) for name in sys.argv[1:3]), everything="--every-cell" in sys.argv)
