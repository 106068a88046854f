"""What the trials judge by, on made-up pages and processes; the trials themselves are `make endurance`."""

import json
import os
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest

from labkit.workbench.failures import explain
from tests.census import MARK, marked, new_mark
from tests.endurance import __main__ as program
from tests.endurance import conditions, leftovers, running, summary, trials
from tests.endurance.comparing import compare
from tests.endurance.killing import Killer, kernels
from tests.endurance.memory import Group, Watcher
from tests.endurance.trials import Course, one_round, write_page

MIB = 2**20
NEEDS_MEMORY = "held = b'x' * {}\nprint(len(held))"
# Listens as the kernel of a notebook does, and says when it is ready.
KERNEL = "import socket, sys, time\none = socket.socket(socket.AF_UNIX)\none.bind(sys.argv[1])\nprint(flush=True)\n"
KERNEL += "time.sleep(60)"


def page(*texts):
    """A notebook whose cells have printed these texts."""
    cells = []
    for number, text in enumerate(texts, 1):
        output = {"output_type": "stream", "name": "stdout", "text": text}
        cells.append(
            {"cell_type": "code", "id": f"c{number}", "metadata": {}, "source": "f()", "outputs": [output]}
            | {"execution_count": number}
        )
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def process(source, *arguments, **names):
    return subprocess.Popen(
        [sys.executable, "-S", "-c", source, *arguments], stdout=subprocess.PIPE, env={**os.environ, **names}
    )


@pytest.mark.parametrize(
    ("new", "same", "exact"),
    [
        ("loss 0.5000 on ‹this machine›", True, True),
        ("loss 0.5000 on ‹another›", True, True),
        ("loss 0.5001 on ‹this machine›", True, False),
        ("loss 0.5100 on ‹this machine›", False, False),
        ("lost 0.5000 on ‹this machine›", False, False),
    ],
)
def test_two_copies_of_a_page_are_compared_by_words_exactly_and_by_decimals_nearly(new, same, exact):
    sentences, identical = compare(page("a", new), page("a", "loss 0.5000 on ‹this machine›"))
    assert (not sentences, identical) == (same, exact)
    assert same or sentences[0].startswith("cell c2: stdout has 'los")


def test_an_output_that_is_gone_and_a_cell_that_is_gone_are_seen():
    silent = page("a", "b")
    silent["cells"][1]["outputs"] = []
    assert compare(silent, page("a", "b"))[0] == ["cell c2: gave nothing, expected [['stdout']]"]
    assert compare(page("a"), page("a", "b"))[0] == ["the code cells are c1, expected c1, c2"]


def test_the_cell_that_papermill_injects_is_no_cell_of_the_page():
    injected = deepcopy(page("a"))
    injected["cells"].insert(0, {**page("b")["cells"][0], "id": "x", "metadata": {"tags": ["injected-parameters"]}})
    assert compare(injected, page("a")) == ([], True)


@pytest.mark.parametrize("made", [Group.made, Watcher], ids=["the system's group", "the watcher"])
def test_a_bound_on_memory_ends_what_takes_more_and_lets_the_rest_live(made):
    codes = []
    for taken in (1, 400):
        bound = made(120 * MIB)
        if bound is None:
            pytest.skip("this machine does not let us make a control group")
        token = new_mark()
        source = NEEDS_MEMORY.format(taken * MIB) + "\nimport time; time.sleep(2)"
        command = [*bound.prefix, sys.executable, "-S", "-c", source]
        bound.begin(token)
        codes.append(subprocess.run(command, env={**os.environ, MARK: token}, capture_output=True).returncode)
        peak, kills = bound.end()
        bound.close()
        assert bool(kills) == (taken == 400)
        assert peak > MIB
    assert codes[0] == 0
    assert codes[1] in (-9, 137)


def test_where_the_network_is_cut_a_process_reaches_itself_and_nobody_else():
    condition = conditions.no_network()
    if condition.missing:
        pytest.skip(condition.missing)
    assert condition.probe() == {"year": time.gmtime().tm_year, "interfaces": ["lo"], "loopback": True}


def test_another_clock_goes_on_from_its_moment_and_waits_no_longer_than_ours(tmp_path):
    condition = conditions.clock("1970", tmp_path)
    if condition.missing:
        pytest.skip(condition.missing)
    source = "import time, queue\nbegun = time.monotonic()\ntime.sleep(0.1)\n"
    source += "try: queue.Queue().get(timeout=0.1)\nexcept queue.Empty: print(time.gmtime().tm_year)\n"
    source += "print(0.2 <= time.monotonic() - begun < 30)"
    done = subprocess.run(
        condition.command([sys.executable, "-S", "-c", source]),
        env={**os.environ, **condition.environment},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["1970", "True"], done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kernels are known by their sockets on Linux")
def test_kernels_are_killed_after_a_time_and_no_other_process_is(tmp_path):
    token = new_mark()
    names = {MARK: token}
    kernel, other, stranger = (
        process(KERNEL, str(tmp_path / socket), **marks)
        for socket, marks in (("kernel-ipc-1", names), ("other", names), ("kernel-ipc-2", {}))
    )
    try:
        for each in (kernel, other, stranger):
            each.stdout.readline()
        assert [one.pid for one in kernels(marked(token))] == [kernel.pid]
        with Killer(token, seed=0, longest=[0.1]) as killer:
            assert kernel.wait() == -9
        assert (other.poll(), stranger.poll(), len(killer.killed)) == (None, None, 1)
        assert leftovers.processes(token, patience=0) == [f"a process that went on: {' '.join(other.args)[:120]}"]
        assert other.wait() == -9
    finally:
        for each in (kernel, other, stranger):
            each.kill()
            each.communicate()


def test_files_and_shared_memory_that_nobody_holds_are_left_over(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").touch()
    assert leftovers.files_in(tmp_path) == ["a/b.txt", "empty"]
    if leftovers.SHARED.is_dir():
        name = f"labkit-{new_mark()}"
        with (leftovers.SHARED / name).open("w"):
            assert leftovers.unheld({name}) == set()
        assert leftovers.unheld({name}) == {name}
        (leftovers.SHARED / name).unlink()


def outcome(name, failure=None, passed=True):
    claims = [{"statement": "a = b", "passed": passed}]
    failed = {"sentence": failure} if failure else None
    return {"name": name, "seconds": 2.0, "startup": 0.5, "peak_bytes": 5, "claims": claims, "failure": failed}


@pytest.fixture
def course(tmp_path):
    """Two pages, a and b, as a course that was copied."""
    pages = [write_page(tmp_path / f"{name}.ipynb") for name in ("a", "b")]
    for each in pages:
        each.write_text(json.dumps(page("word 1.0000\n")), encoding="utf-8")
    return Course.copied(pages, tmp_path / "out")


def run_as(machine, *runs):
    """Let the next runs of the course come out like this: results, and words printed by each page."""
    left = iter(runs)

    def run(pages, place, condition, jobs=1, around=None):
        results, printed, changes = next(left)
        place.mkdir(parents=True, exist_ok=True)
        for name, text in printed.items():
            (place / f"{name}.ipynb").write_text(json.dumps(page(text)), encoding="utf-8")
        if around:
            around("token").killed.append(0.5)
        return replace(running.Ran(0, 4.0, results, "", []), **changes)

    machine.setattr(running, "run", run)


GOOD = ([outcome("a"), outcome("b")], {"a": "word 1.0000\n", "b": "word 1.0000\n"}, {})
TEN = trials.all_trials(rounds=2)["ten"]


def test_a_round_in_which_all_is_as_stored_is_survived(course, monkeypatch):
    run_as(monkeypatch, GOOD)
    record = one_round(TEN, 1, course)
    assert summary.faults([record]) == []
    assert [(one["whole"], one["exact"], one["claims"]) for one in record["pages"]] == [(True, True, 1)] * 2
    assert course.reference("a").exists()


def test_all_that_can_be_wrong_with_a_round_is_said(course, monkeypatch):
    results = [outcome("a", failure="code cell [1] failed"), outcome("b", passed=False)]
    changes = {"left": ["a file in the temporary folder: x"], "said": "Traceback (most recent call last)\nE: no"}
    run_as(monkeypatch, (results, {"b": "ward 1.0000\n"}, changes))
    assert summary.faults([one_round(TEN, 2, course)]) == [
        "round 2, a: code cell [1] failed",
        "round 2, b: a claim does not hold: a = b",
        "round 2, b: other than stored: cell c1: stdout has 'ward 1.0000\\n', expected 'word 1.0000\\n'",
        "round 2, a file in the temporary folder: x",
        "round 2, a traceback instead of a sentence: E: no",
    ]


def test_without_texts_a_page_may_stop_with_the_command_that_fetches_what_it_needs(course, monkeypatch):
    sentence = "minilm is not available. To get it: go online once and run: labkit data fetch minilm."
    results = [outcome("a", failure=sentence), outcome("b", failure="code cell [1] failed")]
    monkeypatch.setattr(trials.conditions, "no_network", trials.conditions.plain)
    run_as(monkeypatch, (results, {}, {}), (results[:1] + GOOD[0][1:], {"b": "word 1.0000\n"}, {}))
    bare, cut = trials.all_trials()["bare"], trials.all_trials()["network"]
    record = one_round(bare, 1, course)
    assert summary.faults([record]) == ["b: code cell [1] failed"]
    assert summary.faults([one_round(cut, 1, course)]) == [f"a: {sentence}"]
    assert "1 stopped with the command" in "; ".join(summary._good(bare, [record], record["pages"]))


def test_an_output_between_the_stored_one_and_the_first_run_is_too_far_from_that(course, monkeypatch):
    near, far = ({"a": text, "b": "word 1.0000\n"} for text in ("word 1.0008\n", "word 0.9992\n"))
    run_as(monkeypatch, (GOOD[0], near, {}), (GOOD[0], far, {}))
    assert summary.faults([one_round(TEN, 1, course)]) == []
    assert "other than at first" in summary.faults([one_round(TEN, 2, course)])[0]


def test_a_killed_kernel_is_survived_when_its_page_says_so_and_runs_the_next_time(course, monkeypatch):
    trial, died = trials.all_trials()["kill"], outcome("a", failure="it lost its kernel: killed by SIGKILL (often)")
    first = ([died, outcome("b")], {"b": "word 1.0000\n"}, {"code": 1})
    run_as(monkeypatch, first, ([outcome("a")], {"a": "word 1.0000\n"}, {}), first, ([outcome("a", "no")], {}, {}))
    record = one_round(trial, 1, course)
    assert (summary.faults([record]), record["killed"], record["lost"]) == ([], [0.5], ["a"])
    assert "1 kernels killed, 1 sentences that say so" in summary.rows([trial], [record])[0][-1]
    assert summary.faults([one_round(trial, 1, course)]) == ["a: no"]


def test_a_page_that_takes_too_much_memory_must_end_with_a_sentence_that_helps(course, monkeypatch):
    trial = replace(trials.all_trials()["memory"], condition=lambda built: conditions.plain())
    watch = SimpleNamespace(number=1, cell_id="c", source="x", stopped=False, exit_code=-9, peak_bytes=2e9)
    helps = explain(type("DeadKernelError", (Exception,), {})(), watch, 60).sentence
    for sentence, faults in ((helps, 0), ("killed", 1)):
        run_as(monkeypatch, GOOD, ([outcome("hungry", failure=sentence)], {}, {}))
        assert len(summary.faults([one_round(trial, 1, course)])) == faults


def test_a_kernel_that_is_lost_before_the_first_cell_is_said_so():
    watch = SimpleNamespace(number=0, cell_id="", source="", stopped=False, exit_code=-9, peak_bytes=4e7)
    failure = explain(RuntimeError("Kernel died before replying to kernel_info"), watch, 60)
    assert failure.sentence.startswith("the kernel was lost before the first cell: killed by SIGKILL (often the system")


def test_finished_rounds_are_not_run_again_and_the_exit_code_tells_of_a_fault(tmp_path, monkeypatch, capsys):
    (tmp_path / "pages").mkdir()
    write_page(tmp_path / "pages" / "a.ipynb", "1")
    ran = []

    def round_(trial, number, course, seed, jobs):
        ran.append((trial.name, number))
        bad = ["it broke"] if (trial.name, number) == ("ten", 2) else []
        about = {"trial": trial.name, "number": number, "course": ["a"], "how": "so", "seconds": 60.0, "problems": bad}
        return about | {"pages": [], "missing": "no bwrap" if trial.name == "network" else ""}

    monkeypatch.setattr(program, "one_round", round_)
    asked = [str(tmp_path / "pages"), "--out", str(tmp_path / "out"), "--only", "ten,network", "--rounds", "2"]
    assert program.main(asked) == 1
    assert "1 of 1 trials" not in capsys.readouterr().out
    (tmp_path / "out" / "rounds" / "ten-2.json").unlink()
    assert program.main([*asked, "--resume"]) == 1
    assert ran == [("ten", 1), ("ten", 2), ("network", 1), ("ten", 2)]
    printed = capsys.readouterr().out
    assert "round 2, it broke" in printed
    assert printed.endswith(
        "0 of 1 trials survived in 0 runs of pages: not 2 times in a row (1 could not be tried here)\n"
    )


def test_an_interrupt_is_a_sentence_that_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    (tmp_path / "pages").mkdir()
    write_page(tmp_path / "pages" / "a.ipynb", "1")
    monkeypatch.setattr(program, "one_round", interrupted)
    assert program.main([str(tmp_path / "pages"), "--out", str(tmp_path / "out"), "--only", "two"]) == 130
    assert "the same command with --resume goes on from here" in capsys.readouterr().err


def test_a_trial_that_nobody_knows_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="there is no trial three; there are ten, two"):
        program.main(["--only", "three", "--out", str(tmp_path)])
