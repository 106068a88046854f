"""What cells really hold, and what functions do to the process they run in: ranks bear it, or say what is wrong."""

import contextlib
import functools
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from labkit import ranks
from labkit.ranks import RankFailed, RanksTimeout, leftovers, run_ranks
from labkit.ranks.environment import environment
from tests.census import MARK, marked, nobody_left

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and forks are those of Unix")
ROOT = Path(__file__).resolve().parents[2]
CALLS = []


@functools.lru_cache(maxsize=7)
def fibonacci(n):
    CALLS.append(n)
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("not even that")


def alone(fn, *args, n=2, **options):
    """Run without torch; nobody is left."""
    with nobody_left() as env:
        return run_ranks(fn, n, *args, group=False, env=env | options.pop("env", {}), **options)


def test_a_function_with_a_cache_is_sent_with_it_and_may_call_itself():
    def work(n):
        return fibonacci(n), len(CALLS), fibonacci.cache_info().maxsize

    assert alone(work, 20) == [(6765, 21, 7)] * 2
    assert alone(fibonacci, 10) == [55, 55] and CALLS == []


def test_an_exception_that_cannot_say_what_it_is_is_named():
    def raises():
        raise Speechless

    with pytest.raises(RankFailed, match=r"rank 0 of 2 raised .*Speechless: <exception str\(\) failed>") as caught:
        alone(raises)
    assert "in raises" in caught.value.traceback and caught.value.output == ["", ""]


def test_who_puts_away_its_output_or_closes_its_files_still_returns(capsys):
    def put_away():
        sys.stdout = sys.stderr = None
        return 1

    def close_all():
        sys.stdout.close()
        os.closerange(3, 256)
        return 2

    def binary():
        os.write(1, bytes(range(256)) * 4000 + b"the end")
        return 3

    assert alone(put_away) == [1, 1] and alone(close_all) == [2, 2]
    assert "Traceback" not in capsys.readouterr().out
    assert alone(binary, n=1) == [3] and capsys.readouterr().out.endswith("the end\n")


def test_a_process_that_has_left_its_group_ends_with_the_run():
    def daemon():
        subprocess.Popen(["sleep", "600"], start_new_session=True)

    began = time.monotonic()
    assert alone(daemon) == [None, None]
    assert time.monotonic() - began < 10  # and nobody waits for what it might print
    with pytest.raises(RankFailed):
        alone(lambda: (daemon(), 1 / 0))
    with nobody_left() as env:
        assert run_ranks(daemon, 2, group=True, env=env) == [None, None]
    assert leftovers.marked("") == []


KERNEL = """
import os, subprocess, sys, time
from labkit.ranks import run_ranks
def work():
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    time.sleep(600)
run_ranks(work, 2, group=False, env={env!r})
"""
NODES = """
from labkit.ranks import run_torchrun
run_torchrun({script!r})
"""
NODE = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_DFL)
time.sleep(600)
"""


def kill_when(count, program, env, more=None):
    """Start a program, and kill it when so many processes with its mark live."""
    kernel = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=os.environ | (more or {}))
    until = time.monotonic() + 60
    while len(marked(env[MARK])) < count and time.monotonic() < until:
        time.sleep(0.05)
    found = len(marked(env[MARK]))
    kernel.kill()
    kernel.wait()
    return found


def test_what_ranks_have_sent_away_ends_when_the_kernel_is_killed():
    with nobody_left() as env:
        assert kill_when(4, KERNEL.format(env=env), env) == 4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system tells a child of its parent's end")
def test_nodes_of_torchrun_end_when_the_kernel_is_killed(tmp_path):
    (tmp_path / "node.py").write_text(NODE)
    with nobody_left(patience=30) as env:
        kernel_nodes_and_ranks = kill_when(5, NODES.format(script=str(tmp_path / "node.py")), env, more=env)
        assert kernel_nodes_and_ranks == 5


def test_a_stopped_rank_is_said_to_be_stopped():
    def stops():
        if ranks.rank() == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(600)

    with pytest.raises(RanksTimeout) as caught:
        alone(stops, timeout=1.5)
    assert caught.value.stacks[0].startswith("was here:") and "in stops" in caught.value.stacks[0]
    assert caught.value.stacks[1] == "did not answer: it is stopped"


def test_errors_of_ranks_pass_from_process_to_process():
    for wrong, options in ((lambda: 1 / 0, {}), (lambda: time.sleep(600), {"timeout": 0.5})):
        with pytest.raises((RankFailed, RanksTimeout)) as caught:
            alone(wrong, **options)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (type(again), str(again)) == (type(caught.value), str(caught.value))
        assert {**vars(again), "_made_of": 0} == {**vars(caught.value), "_made_of": 0}


def test_freed_memory_and_threads_are_set_in_a_rank_and_the_caller_has_the_last_word(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "64")
    monkeypatch.setenv("UNWANTED", "1")
    names = ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "UNWANTED"]

    def look():
        return [os.environ.get(name) for name in names]

    assert alone(look, n=1) == [["1073741824", "1073741824", "1", "1", "1"]]
    own = {"MALLOC_TRIM_THRESHOLD_": 5, "MALLOC_MMAP_THRESHOLD_": None, "OMP_NUM_THREADS": 3, "UNWANTED": None}
    assert alone(look, n=1, env=own) == [["5", None, "3", "1", None]]
    assert environment(0, 1, 5, 4, {})["VECLIB_MAXIMUM_THREADS"] == "4"


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (["SEED"], r"env is \['SEED'\]; it must be a dictionary of names and values"),
        ({"A=B": 1}, "env has 'A=B': 1; names are text without '='"),
        ({"": 1}, "env has '': 1"),
        ({1: 2}, "env has 1: 2"),
        ({"A": "x\0y"}, r"env has 'A': 'x\\x00y'; .* neither holds a zero byte"),
    ],
)
def test_names_that_no_environment_holds_are_refused(env, message):
    with pytest.raises(ValueError, match=message):
        run_ranks(print, 2, group=False, env=env)


@pytest.mark.parametrize("timeout", [None, "60", True, float("inf"), 1e12, -1])
def test_a_time_that_is_none_is_refused(timeout):
    with pytest.raises(ValueError, match="it must be a number of seconds above 0, and at most 10,000,000"):
        run_ranks(print, 2, group=False, timeout=timeout)


def test_numbers_of_numpy_are_numbers():
    assert run_ranks(ranks.rank, np.int64(2), group=False, timeout=np.float32(60)) == [0, 1]


def test_twenty_interrupts_of_a_run_with_a_group_at_any_moment_leave_no_descriptor():
    def reduce_for_ever():
        import torch

        while True:
            torch.distributed.all_reduce(torch.ones(1000))

    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    with contextlib.suppress(KeyboardInterrupt):
        run_ranks(int, 2)
    files = len(os.listdir("/dev/fd"))
    try:
        for number in range(20):
            signal.setitimer(signal.ITIMER_REAL, 0.001 + number * 0.02)
            with pytest.raises(KeyboardInterrupt):
                run_ranks(reduce_for_ever, 2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(os.listdir("/dev/fd")) <= files
