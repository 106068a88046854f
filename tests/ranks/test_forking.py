"""Ranks with a process group come from a process that has imported torch: quick to start, and else like any other."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from labkit.ranks import RankFailed, RanksTimeout, forking, rank, run_ranks
from tests.census import nobody_left

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="elsewhere every rank is a new interpreter"
)
EVER = 600


def parents():
    """The processes that fork ranks for this one."""
    return [psutil.Process(one.process.pid) for one in forking._PARENTS if one.process.poll() is None]


def left():
    """The ranks that they have, and what those have started."""
    return [child for parent in parents() for child in parent.children(recursive=True)]


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    until = time.monotonic() + 5
    while left() and time.monotonic() < until:
        time.sleep(0.02)
    assert left() == []


def seen():
    import numpy as np
    import torch

    total = torch.ones(1)
    torch.distributed.all_reduce(total)
    threads = len(os.listdir("/proc/self/task"))
    chances = np.random.random(), random.random(), torch.initial_seed()
    return total.item(), os.getppid(), os.getcwd(), chances, os.environ.get("MORE"), sys.argv[0], threads


def test_both_have_one_parent_which_is_not_this_process_and_stays():
    found = run_ranks(seen, 2, env={"MORE": 4}) + run_ranks(seen, 2)
    sums, parent, folders, _, more, _, _ = zip(*found, strict=True)
    assert sums == (2.0,) * 4 and {*parent} == {parents()[-1].pid} != {os.getpid()}
    assert {*folders} == {os.getcwd()} and more == ("4", "4", None, None)
    assert parents()[-1].num_threads() == 1


def test_chance_is_that_of_new_interpreters():
    numpy, python, torch = zip(*(one[3] for one in run_ranks(seen, 2) + run_ranks(seen, 2)), strict=True)
    assert len({*numpy}) == len({*python}) == 4 and len({*torch}) == 1


@pytest.mark.parametrize("options", [{"env": {"OMP_DYNAMIC": "false"}}, {"threads": 2}, {"group": False}])
def test_what_imports_differently_is_started_anew(options):
    assert run_ranks(os.getppid, 2, **options) == [os.getpid()] * 2


def test_another_environment_of_this_process_makes_another_parent(monkeypatch, tmp_path):
    before = run_ranks(os.getppid, 1)
    assert run_ranks(os.getppid, 1) == before
    logs = str(tmp_path / "nowhere")  # torch makes this file
    monkeypatch.setenv("TORCH_LOGS_OUT", logs)
    assert run_ranks(lambda: (os.getppid(), os.environ["TORCH_LOGS_OUT"]), 1)[0][1] == logs
    assert run_ranks(os.getppid, 1) != before


def on_rank_1(does):
    return lambda: does() if rank() == 1 else time.sleep(EVER)


@pytest.mark.parametrize(
    ("does", "kind", "code"),
    [
        (lambda: 1 / 0, "ZeroDivisionError", None),
        (lambda: sys.exit(3), "exit", 3),
        (lambda: os._exit(4), "exit", 4),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL", -9),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV", -11),
        (lambda: (subprocess.Popen(["sleep", "600"]), os.abort()), "SIGABRT", -6),
    ],
)
def test_every_end_is_named_and_takes_all_others_along(does, kind, code):
    for _ in range(3):
        with pytest.raises(RankFailed) as caught:
            run_ranks(on_rank_1(does), 2, quiet=True)
        assert (caught.value.rank, caught.value.kind, caught.value.exitcode) == (1, kind, code)


def test_a_hang_ends_with_the_stack_of_every_rank():
    for _ in range(3):
        with pytest.raises(RanksTimeout) as caught:
            run_ranks(lambda: time.sleep(EVER) if rank() else None, 2, timeout=1.5)
        assert "time.sleep" in caught.value.stacks[1] or "in <lambda>" in caught.value.stacks[1]
        assert caught.value.stacks[0] == "had returned"


def test_several_runs_at_once_share_it():
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda number: run_ranks(lambda: (number, rank()), 2, quiet=True), range(8)))
    assert found == [[(number, 0), (number, 1)] for number in range(8)]


def test_when_it_is_killed_its_ranks_finish_and_the_next_run_has_another():
    def killer():
        if rank() == 0:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(0.2)
        return rank()

    before = run_ranks(os.getppid, 1)
    assert run_ranks(killer, 2) == [0, 1]
    assert run_ranks(os.getppid, 1) != before


def test_without_it_ranks_start_as_anywhere_else(monkeypatch):
    monkeypatch.setattr(forking, "_PARENTS", [])
    monkeypatch.setattr(forking, "BEGIN", "raise ImportError('no torch, say')")
    assert run_ranks(seen, 2)[0][0] == 2.0


SCRIPT = """
import time
from pathlib import Path
from labkit.ranks import run_ranks, rank
def work():
    Path({folder!r}, str(rank())).touch()
    time.sleep(600)
run_ranks(work, 2)
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_it_and_its_ranks_end_with_the_process_that_asks(how, tmp_path):
    with nobody_left() as env:
        here = {**os.environ, **env, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        kernel = subprocess.Popen([sys.executable, "-c", SCRIPT.format(folder=str(tmp_path))], env=here, stderr=-1)
        while len([*tmp_path.iterdir()]) < 2 and kernel.poll() is None:
            time.sleep(0.02)
        kernel.send_signal(getattr(signal, how))
        said = kernel.communicate()[1]
        assert kernel.returncode != 0 and (how != "SIGINT" or b"KeyboardInterrupt" in said)
