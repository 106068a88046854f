import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import psutil
import pytest

from labkit.workbench import engine, failures, forking, notebooks, report, runner
from tests.workbench.notebook_files import CLAIM, CLAIM_TYPE, course, write

ROOT = Path(__file__).parents[2]
SLEEPER = "import subprocess\nsubprocess.Popen(['sleep', '987654'])\nblock = bytearray(60_000_000)"
COURSE = {
    "n01_good": [CLAIM, "claim('a = b')\nprint(f'scale is {scale}')", "claim('b = c', kind='published')"],
    "n02_claim": [CLAIM, "claim('a = b')", "x = 1\nclaim('b = c', False)\ny = 2", "claim('c = d')"],
    "n03_hang": [SLEEPER, "# too long\nwhile True:\n    pass"],
    "n04_killed": ["1 + 1", "import os\nos.kill(os.getpid(), 9)"],
    "n05_exit": ["import os\nos._exit(7)"],
    "n06_module": ["import gensim_that_is_not_there", "1"],
}


others = set()


@pytest.fixture(scope="module", autouse=True)
def remember_others():
    """What tests before these left running, such as the worker of the fake GPU, is not ours."""
    others.update(child.pid for child in psutil.Process().children(recursive=True))


def processes_of_tests():
    """Kernels and sleepers that are ours: descendants of this process."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.pid not in others and child.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One run over notebooks of every sort, two at a time, with reports."""
    root = tmp_path_factory.mktemp("checkout")
    folder = course(root, **COURSE)
    (folder / "07_garbage.ipynb").write_text("this is not json")
    stored = nbformat.read(
        folder / "02_claim.ipynb", 4
    )  # stored outputs hold three claims; the run stops at the second
    record = {
        "kind": "equation",
        "statement": "s",
        "measured": 1,
        "expected": 1,
        "tolerance": None,
        "source": "x",
        "passed": True,
    }
    shown = nbformat.v4.new_output("display_data", data={CLAIM_TYPE: record})
    stored.cells[-1].outputs = [shown] * 3
    nbformat.write(stored, folder / "02_claim.ipynb")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    runs = runner.run(sorted(before), timeout=3, jobs=2, html=True)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    return SimpleNamespace(root=root, runs={run.name: run for run in runs}, order=[run.name for run in runs])


def test_runs_come_in_the_order_asked_for_whatever_failed(whole):
    assert whole.order == ["01_good", "02_claim", "03_hang", "04_killed", "05_exit", "06_module", "07_garbage"]
    assert [name for name, run in whole.runs.items() if run.failure is None] == ["01_good"]


def test_a_good_notebook_has_its_claims_its_time_and_its_memory(whole):
    good = whole.runs["01_good"]
    assert (good.passed, good.claims_expected, len(good.claims)) == (2, 2, 2)
    assert [claim["kind"] for claim in good.claims] == ["equation", "published"]
    assert good.seconds > 0
    assert good.peak_bytes > 10e6


def test_memory_is_the_peak_of_the_kernel_and_its_children(whole):
    assert whole.runs["03_hang"].peak_bytes > whole.runs["01_good"].peak_bytes + 50e6


def test_a_failed_claim_names_cell_id_line_and_error_and_counts_what_was_not_reached(whole):
    run = whole.runs["02_claim"]
    assert (run.passed, run.claims_expected) == (1, 3)
    assert (run.failure.cell, run.failure.cell_id, run.failure.line) == (4, "cell-3", "claim('b = c', False)")
    assert run.failure.sentence == (
        "code cell [4] (id cell-3), line 2, `claim('b = c', False)`, failed with AssertionError: b = c"
    )


def test_a_cell_that_hangs_is_named_and_stopped(whole):
    failure = whole.runs["03_hang"].failure
    assert (failure.cell, failure.cell_id) == (3, "cell-2")
    assert "code cell [3] (id cell-2)" in failure.sentence
    assert "ran longer than 3 s" in failure.sentence


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals")
def test_a_kernel_that_is_killed_is_told_from_one_that_ends_itself(whole):
    assert "code cell [3] (id cell-2)" in whole.runs["04_killed"].failure.sentence
    assert (
        "lost its kernel: killed by SIGKILL (often the system running out of memory"
        in whole.runs["04_killed"].failure.sentence
    )
    assert "lost its kernel: the process ended with exit code 7" in whole.runs["05_exit"].failure.sentence


def test_a_missing_module_and_a_garbage_file_are_one_sentence_each(whole):
    assert "ModuleNotFoundError: No module named 'gensim_that_is_not_there'" in whole.runs["06_module"].failure.sentence
    assert whole.runs["07_garbage"].failure.sentence.startswith("07_garbage.ipynb is not a notebook: it is not JSON")
    assert all("\n" not in run.failure.sentence for run in whole.runs.values() if run.failure)


def test_executed_copies_are_kept_with_what_was_reached(whole):
    assert {path.name for path in (whole.root / "_runs").glob("*.ipynb")} == {
        f"{name}.ipynb" for name in whole.order if name != "07_garbage"
    }
    for name in ("02_claim", "03_hang", "04_killed"):
        copy = notebooks.read(whole.runs[name].executed)
        first = next(cell for cell in copy["cells"] if cell.get("id") == "cell-1")
        assert first["execution_count"] is not None


def test_results_are_kept_for_other_programs(whole):
    kept = json.loads((whole.root / "_runs" / "results.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in kept] == whole.order
    assert kept[0]["claims"][0]["statement"] == "a = b"


def test_no_process_is_left(whole):
    assert processes_of_tests() == []


def test_a_process_that_a_good_notebook_forgot_is_ended_too(tmp_path):
    forgotten = "import subprocess\nprint(subprocess.Popen(['sleep', '987654'], start_new_session=True).pid)"
    (run,) = runner.run([write(tmp_path / "a.ipynb", forgotten)], out=tmp_path / "out")
    assert run.failure is None
    (output,) = notebooks.code_cells(notebooks.read(run.executed))[1]["outputs"]
    assert not psutil.pid_exists(int(output["text"])) or psutil.Process(int(output["text"])).status() == "zombie"


def test_each_notebook_has_a_page_that_loads_nothing_but_the_formulas(whole):
    page = whole.runs["01_good"].report.read_text(encoding="utf-8")
    assert "scale is ci" in page
    loaded = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]*)"', page)
    assert all(source.startswith("data:") or "mathjax" in source for source in loaded), loaded
    assert "widget" not in " ".join(loaded)


def test_the_tables_name_every_notebook_and_total_the_claims_by_kind(whole):
    runs = list(whole.runs.values())
    table = report.runs_table(runs)
    assert re.search(r"01_good +[\d.]+ +[\d,]+ MB +2 of 2 +ok", table)
    assert re.search(r"02_claim .* 1 of 3 +FAILED", table)
    assert re.search(r"07_garbage +0\.0 +- +0 of 0 +FAILED", table)
    claims = report.claims_table([{"notebook": run.name, **claim} for run in runs for claim in run.claims])
    assert "3 of 4 claims passed: 2 of 3 equation, 1 of 1 published" in claims
    assert len(report.failures(runs)) == 6


def test_another_scale_reaches_the_notebook(tmp_path):
    path = write(tmp_path / "a.ipynb", "print('scale is', scale, seed)")
    (run,) = runner.run([path], scale="laptop", out=tmp_path / "out", parameters={"seed": 3})
    assert run.failure is None
    assert "scale is laptop 3" in run.executed.read_text()


@pytest.mark.parametrize(
    ("source", "wanted", "sentence"),
    [
        ('scale = "ci"\nseed = 0', {"sede": 1}, "there is no parameter 'sede'; did you mean 'seed'"),
        ("", {"scale": "gpu"}, "no cell tagged `parameters`"),
    ],
)
def test_a_parameter_the_notebook_does_not_have_is_refused(source, wanted, sentence):
    nb = {"cells": [{"cell_type": "code", "source": source, "metadata": {"tags": ["parameters"] if source else []}}]}
    with pytest.raises(ValueError, match=re.escape(sentence)):
        runner.changed_parameters(nb, wanted)


def test_only_what_differs_is_injected():
    nb = {"cells": [{"cell_type": "code", "source": 'scale = "ci"\nseed = 0', "metadata": {"tags": ["parameters"]}}]}
    assert runner.changed_parameters(nb, {"scale": "ci", "seed": 0}) == {}
    assert runner.changed_parameters(nb, {"scale": "gpu", "seed": 0}) == {"scale": "gpu"}
    assert runner.changed_parameters({"cells": []}, {"scale": "ci"}) == {}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"scale": "laptpo"}, "there is no scale 'laptpo'; did you mean 'laptop'"),
        ({"jobs": 0}, "at least 1"),
        ({"timeout": 0}, "at least 1"),
        ({"out": "."}, "executed copies would overwrite"),
        ({"paths": ["a.ipynb", "b.ipynb"]}, "there is no notebook 'b.ipynb'"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_runs(tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.ipynb", "1")
    monkeypatch.setenv(notebooks.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match=sentence):
        runner.run(**{"paths": ["a.ipynb"], **arguments})
    assert os.listdir(tmp_path) == ["a.ipynb"]


def test_without_papermill_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "NEEDED", ("a_runner_that_is_missing",))
    with pytest.raises(RuntimeError, match=r"a_runner_that_is_missing is not installed.*pip install -e '\.\[lab\]'"):
        runner.run([write(tmp_path / "a.ipynb", "1")])


def test_the_copy_of_an_earlier_run_never_stands_for_a_run_that_did_not_start(tmp_path):
    paths = [write(tmp_path / "a.ipynb", "1"), write(tmp_path / "b.ipynb", "2")]
    assert all(run.failure is None for run in runner.run(paths, out=tmp_path / "out"))
    paths[0].write_text("{bad")
    damaged, fine = runner.run(paths, out=tmp_path / "out")
    assert fine.failure is None
    assert damaged.failure is not None
    assert (damaged.executed, damaged.claims) == (None, ())


def test_two_notebooks_of_one_name_keep_two_copies(tmp_path):
    paths = [write(tmp_path / place / "a.ipynb", f"print('{place}')") for place in ("x", "y")]
    runs = runner.run(paths, out=tmp_path / "out")
    assert [run.executed.name for run in runs] == ["a.ipynb", "a-2.ipynb"]
    assert "y" in runs[1].executed.read_text()


def test_relative_paths_of_modules_hold_in_the_folder_of_the_notebook(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    kernel = forking.kernel_environment({"PYTHONPATH": os.pathsep.join([".", "lib"]), "HOME": "/h"})
    assert kernel["PYTHONPATH"] == os.pathsep.join([str(tmp_path), str(tmp_path / "lib")])
    assert (kernel["HOME"], kernel["LABKIT_HEADLESS"]) == ("/h", "1")
    assert "PYTHONPATH" not in forking.kernel_environment({})


def test_a_long_path_for_sockets_falls_back_to_ports(tmp_path):
    assert engine.transport(tmp_path / ("x" * 120)) == {}
    if os.name == "posix":
        assert engine.transport(Path("/tmp/labkit-1"))["KernelManager"]["transport"] == "ipc"


@pytest.mark.parametrize(
    ("traceback", "line"),
    [
        (["\x1b[31mCell In[3], line 2\x1b[0m", "File other.py:9"], (2, "b = 1 / 0")),
        (["Cell \x1b[32mIn [3]\x1b[39m, line 1"], (1, "a = 1")),
        (["\x1b[0;32m<ipython-input-3-1a2b>\x1b[0m in <module>\n      1 a = 1\n----> 2 b = 1 / 0\n"], (2, "b = 1 / 0")),
        (["Cell In[9], line 2", "Cell In[3], line 1"], (1, "a = 1")),
        (["nothing"], (0, "")),
        (["Cell In[3], line 99"], (0, "")),
    ],
)
def test_the_failing_line_is_read_from_new_and_old_tracebacks(traceback, line):
    assert failures.failed_line(traceback, 3, "a = 1\nb = 1 / 0") == line


def test_an_import_that_an_extra_brings_says_which(monkeypatch):
    error = SimpleNamespace(ename="ModuleNotFoundError", evalue="No module named 'gensim.corpora'")
    assert failures._how_to_get(error) == "; get it with pip install -e '.[text]'"


INTERRUPTED = """
import sys
from labkit.workbench import report, runner
runs = runner.run(sys.argv[1:], jobs=2, out="out")
print(report.runs_table(runs))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_every_kernel_and_keeps_what_there_is(tmp_path, number):
    good = write(tmp_path / "good.ipynb", "1 + 1")
    started = tmp_path / "started"
    hang = write(tmp_path / "hang.ipynb", SLEEPER, f"open({str(started)!r}, 'w').close()\nwhile True: pass")
    later = write(tmp_path / "later.ipynb", "while True: pass")
    never = write(tmp_path / "never.ipynb", "1")
    command = [sys.executable, "-c", INTERRUPTED, *map(str, (good, hang, later, never))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        results = tmp_path / "out" / "results.json"
        while not (started.exists() and results.exists()):
            assert process.poll() is None
            time.sleep(0.1)
        family = psutil.Process(process.pid).children(recursive=True)
        names = [each.name() for each in family]
        process.send_signal(number)
        try:
            printed = process.communicate(timeout=60)[0]
        finally:
            process.kill()  # has no effect on one that ended
    assert re.search(r"good .* ok", printed)
    assert re.search(r"hang .* interrupted", printed)
    assert re.search(r"never .* interrupted", printed)
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert "sleep" in names


def test_wide_characters_keep_columns_aligned_and_long_cells_are_wrapped():
    table = report.table(("name", "text"), [("三国演义", "x " * 40), ("a", "b")], width=60)
    lines = table.splitlines()
    assert max(map(report.columns, lines)) <= 60
    assert len(lines) > 4
    where = {
        report.columns(line[: line.index(mark)])
        for line, mark in ((lines[0], "text"), (lines[2], "x"), (lines[-1], "b"))
    }
    assert len(where) == 1


def test_an_executed_copy_that_is_cut_off_is_that_pages_failure_and_no_other(tmp_path, monkeypatch):
    def cut(source, target, **how):
        target.write_text('{"cells": [' if source.stem == "a" else source.read_text())

    monkeypatch.setattr("labkit.workbench.engine.execute", cut)
    paths = [write(tmp_path / f"{name}.ipynb", "1") for name in "ab"]
    first, second = runner.run(paths, out=tmp_path / "out", fresh=True)
    assert "a.ipynb is not a notebook" in first.failure.sentence
    assert second.failure is None
