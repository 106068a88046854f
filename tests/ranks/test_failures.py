"""Ranks that raise, are killed, leave, hang or return what cannot travel: each by its name, soon, and nobody left."""

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch.distributed

from labkit import ranks
from labkit.ranks import RankFailed, RanksTimeout, run_ranks
from labkit.ranks.failures import Death, blame, ended
from labkit.ranks.mismatches import explained
from labkit.ranks.tracebacks import calls, readable_stack, told
from labkit.ranks.watching import Run
from tests.census import MARK, marked, nobody_left

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and forks are those of Unix")
ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = sysconfig.get_path("purelib")
EVER = 600


def failure(fn, n=2, expected=RankFailed, **options):
    """The error that a run ends with; and no process outlives it."""
    with nobody_left() as env, pytest.raises(expected) as caught:
        run_ranks(fn, n, env=env, **({"group": False, "quiet": True} | options))
    return caught.value


def many(fn, count, **options):
    """The errors of as many runs, four at a time."""
    with ThreadPoolExecutor(4) as threads:
        runs = [threads.submit(failure, fn, **options) for _ in range(count)]
        return [one.result() for one in runs]


def only_rank_1(act):
    """A function that acts on rank 1 and, on the others, sleeps."""

    def work():
        if ranks.rank() == 1:
            act()
        time.sleep(EVER)

    return work


def test_a_rank_that_raises_ends_the_run_with_its_own_traceback():
    def wrong():
        print("before it")
        try:
            {}["token"]
        except KeyError as error:
            raise ValueError("no such token") from error

    began = time.monotonic()
    error = failure(only_rank_1(wrong))
    assert time.monotonic() - began < 20
    assert (error.rank, error.ranks, error.kind, error.exitcode, error.signal) == (1, [1], "ValueError", None, None)
    assert str(error).startswith("rank 1 of 2 raised ValueError: no such token\n\nTraceback")
    assert error.message == "raised ValueError: no such token" and error.output == ["", "before it\n"]
    assert 'raise ValueError("no such token") from error' in error.traceback and "KeyError: 'token'" in error.traceback
    assert "inside.py" not in error.traceback and error.traceback.endswith("ValueError: no such token\n")


def test_of_several_errors_the_earliest_is_named_and_of_equal_ones_the_lowest_rank():
    def one_after_the_other():
        time.sleep(0 if ranks.rank() == 1 else 0.2)
        raise ValueError(f"rank {ranks.rank()} was here")

    def all_alike():
        time.sleep(0 if ranks.rank() == 1 else 0.1)
        raise ValueError("all of us")

    assert "rank 1 of 2 raised ValueError: rank 1 was here" in str(failure(one_after_the_other))
    assert "rank 0 of 2 raised ValueError: all of us" in str(failure(all_alike))


def test_a_complaint_about_somebody_else_is_no_cause():
    lost = "raised RuntimeError: lost the connection in all_reduce to a rank that has ended"
    deaths = [Death(0, "RuntimeError", lost, 1.0), Death(1, "SIGABRT", "", 1.1), Death(2, "OSError", "", 1.2)]
    assert [one.rank for one in blame(deaths)] == [2, 1, 0]
    assert [one.rank for one in blame([*deaths, Death(3, "SIGKILL", "", 9.0)])] == [3, 2, 1, 0]


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV", "SIGABRT", "SIGHUP"])
def test_a_rank_killed_by_a_signal_is_named_with_it(name):
    error = failure(only_rank_1(lambda: os.kill(os.getpid(), getattr(signal, name))))
    assert (error.rank, error.kind, error.signal, error.exitcode) == (1, name, name, -getattr(signal, name))
    assert f"rank 1 of 2 was killed by the signal {name}" in str(error)


def test_a_real_crash_shows_where():
    def crash():
        ctypes.string_at(0)

    error = failure(only_rank_1(crash))
    assert error.kind == "SIGSEGV" and "It was here:" in error.traceback and "in crash" in error.traceback


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: os._exit(3), "ended with exit code 3 before it returned"),
        (lambda: os._exit(0), "ended with exit code 0 before it returned"),
        (lambda: sys.exit(3), r"left by sys.exit(3)"),
        (lambda: sys.exit("no tokens left"), r"left by sys.exit('no tokens left')"),
    ],
)
def test_a_rank_that_leaves_before_it_returns_is_named(act, message):
    error = failure(only_rank_1(act))
    assert (error.rank, error.kind, error.signal) == (1, "exit", None) and str(error) == f"rank 1 of 2 {message}"


def test_an_interrupt_inside_of_a_rank_is_a_failure_of_that_rank():
    assert failure(only_rank_1(lambda: os.kill(os.getpid(), signal.SIGINT))).kind == "KeyboardInterrupt"


def test_what_cannot_be_returned_is_named():
    error = failure(lambda: {"loss": 1.0, "lock": threading.Lock()}, n=1)
    assert "returned a dict, whose item 'lock' is a _thread.lock, that cannot be sent back" in str(error)
    assert "returned a lock that cannot be sent back" in str(failure(threading.Lock, n=1))


class Unreadable:
    def __reduce__(self):
        return int, ("not a number",)


def test_what_cannot_be_read_here_is_named():
    error = failure(Unreadable, n=2)
    assert str(error).startswith("rank 0 of 2 returned something that cannot be read here: it raised ValueError: inv")


def test_a_function_that_the_ranks_cannot_import_says_so(tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("import sys\ndel sys.modules['only_here'].__file__\ndef f(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(tmp_path)])
    assert "ModuleNotFoundError: No module named 'only_here'" in str(failure(only_here.f))


def test_ranks_that_hang_show_where_every_one_of_them_stands():
    def stuck():
        if ranks.rank() == 2:
            return
        if ranks.rank() == 1:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
            threading.Thread(target=time.sleep, args=(EVER,), daemon=True).start()
            while True:
                pass
        time.sleep(EVER)

    began = time.monotonic()
    error = failure(stuck, n=3, expected=RanksTimeout, timeout=1.5)
    assert time.monotonic() - began < 20
    assert str(error).startswith("ranks 0 and 1 of 3 did not return within 1.5 seconds\n\nrank 0 was here:\n  File")
    assert [stack.count("in stuck") for stack in error.stacks.values()] == [1, 1, 0]
    assert error.stacks[2] == "had returned" and "inside.py" not in str(error)


def test_a_rank_that_never_began_is_not_waited_for():
    error = failure(lambda: None, expected=RanksTimeout, timeout=0.001)
    assert set(error.stacks) == {0, 1}
    for stack in error.stacks.values():  # on a busy machine it may just have been reading what to do
        assert stack == "had not begun the function" or ", in unpack" in stack


def test_an_import_that_hangs_is_shown_too(tmp_path, monkeypatch):
    (tmp_path / "sleepy.py").write_text(f"import time\ntime.sleep({EVER})\n")
    monkeypatch.syspath_prepend(tmp_path)

    def work():
        import sleepy  # noqa: F401

    assert "sleepy.py" in failure(work, expected=RanksTimeout, timeout=1).stacks[0]


def test_kills_errors_and_hangs_side_by_side_leave_nobody():
    def killed():
        time.sleep(random.random() / 5)
        os.kill(os.getpid(), signal.SIGKILL)

    def wrong():
        raise ValueError("no such token")

    assert {one.kind for one in many(only_rank_1(killed), 6)} == {"SIGKILL"}
    assert {one.kind for one in many(only_rank_1(wrong), 6)} == {"ValueError"}
    assert len(many(lambda: time.sleep(EVER), 6, expected=RanksTimeout, timeout=0.6)) == 6


def test_what_a_rank_has_started_ends_with_it():
    def start_others():
        subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({EVER})"])
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(EVER)

    with nobody_left() as env:
        assert run_ranks(start_others, 2, group=False, env=env) == [None, None]
    failure(only_rank_1(lambda: (start_others(), 1 / 0)))
    failure(only_rank_1(lambda: (start_others(), os._exit(1))))


@pytest.fixture
def interrupted_after():
    """A function that interrupts this thread, as Ctrl-C does, after some seconds."""
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_twenty_interrupts_at_any_moment_leave_nobody(interrupted_after, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    threads = threading.active_count()
    for number in range(20):
        with nobody_left() as env, pytest.raises(KeyboardInterrupt):
            interrupted_after(0.01 + number * 0.02)
            run_ranks(lambda: time.sleep(EVER), 2, group=False, env=env)
    assert list(tmp_path.iterdir()) == [] and threading.active_count() == threads


def test_who_interrupts_twice_is_heard_when_all_is_cleared_up(monkeypatch):
    end = Run.end

    def interrupted(self):
        signal.raise_signal(signal.SIGINT)
        end(self)

    monkeypatch.setattr(Run, "end", interrupted)
    failure(lambda: os.kill(os.getppid(), signal.SIGINT), expected=KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_ignores_interrupts_is_not_interrupted():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_ranks(lambda: os.kill(os.getppid(), signal.SIGINT), 1, group=False) == [None]
    finally:
        signal.signal(signal.SIGINT, before)


SCRIPT = """
import os, subprocess, sys, time
from labkit.ranks import run_ranks
def work():
    subprocess.Popen(["sleep", "600"])
    print("running")
    {then}
run_ranks(work, 2, group=False, env={env!r})
"""


@pytest.mark.parametrize(
    ("how", "then"),
    [("SIGKILL", "time.sleep(600)"), ("SIGINT", "time.sleep(600)"), ("SIGKILL", "while True: pass")],
)
def test_the_end_of_the_kernel_is_the_end_of_its_ranks(how, then):
    with nobody_left() as env:
        kernel = subprocess.Popen([sys.executable, "-c", SCRIPT.format(env=env, then=then)], cwd=ROOT, stderr=-1)
        until = time.monotonic() + 30
        while len(marked(env[MARK])) < 4 and time.monotonic() < until:
            time.sleep(0.05)
        kernel.send_signal(getattr(signal, how))
        said = kernel.communicate(timeout=30)[1]
        assert kernel.returncode != 0 and (how == "SIGKILL" or b"KeyboardInterrupt" in said)


def test_a_rank_that_dies_in_the_middle_of_a_collective_is_named_and_not_the_one_that_waits_for_it():
    def dies():
        if ranks.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        torch.distributed.all_reduce(torch.ones(4))

    error = failure(dies, group=True)
    assert str(error).startswith("rank 1 of 2 was killed by the signal SIGKILL")


def test_collectives_that_do_not_match_are_named():
    def other_order():
        call = torch.distributed.all_reduce if ranks.rank() else lambda x: torch.distributed.broadcast(x, 0)
        call(torch.ones(2, 3))

    error = failure(other_order, group=True, checks=True)
    assert error.message == (
        "raised RuntimeError: the ranks do not agree: rank 0 calls broadcast of 2 × 3 float, "
        "rank 1 calls all_reduce of 2 × 3 float"
    )
    assert "CollectiveFingerPrint" not in str(error)


TORCH = """
import time
def all_reduce(): time.sleep(600)
def wrapper(): all_reduce()
"""


def test_a_collective_that_one_rank_leaves_out_is_told_with_the_places(tmp_path, monkeypatch):
    """With a torch of three lines: the real one takes longer to start than anybody wants to wait here."""
    folder = tmp_path / "torch" / "distributed"
    folder.mkdir(parents=True)
    for name, text in {"../__init__": "", "__init__": "", "distributed_c10d": TORCH}.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    def left_out():
        if ranks.rank() == 0:
            from torch.distributed import distributed_c10d

            distributed_c10d.wrapper()

    error = failure(left_out, expected=RanksTimeout, timeout=2)
    first = "rank 0 of 2 did not return within 2 seconds: rank 0 waits in wrapper, rank 1 had returned; checks=True"
    assert str(error).startswith(first) and "in left_out" in error.stacks[0]


def test_where_there_are_no_signals_a_rank_is_asked_through_its_pipe(monkeypatch):
    monkeypatch.delattr(signal, "SIGUSR1")
    assert "test_failures.py" in failure(lambda: time.sleep(EVER), expected=RanksTimeout, timeout=1).stacks[1]


def test_a_rank_may_return_while_others_still_talk_to_it():
    def talk():
        place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
        if ranks.rank() == 0:
            server = socket.create_server(place)
            threading.Thread(target=lambda: server.accept()[0].send(b"still here"), daemon=True).start()
            return None
        time.sleep(0.8)
        with socket.create_connection(place) as link:
            return link.recv(20)

    with nobody_left() as env:
        assert run_ranks(talk, 2, env=env, group=False) == [None, b"still here"]


@pytest.mark.parametrize(
    ("said", "call", "sentence"),
    [
        (
            "Timed out waiting 5000ms for recv operation to complete",
            "recv",
            "waited 5 s in recv for another rank",
        ),
        ("Timed out waiting 5000ms for send operation to complete", "", "waited 5 s in a collective for another rank"),
        (
            "[gloo/transport/tcp/pair.cc] Connection closed by peer [127.0.0.1]:1",
            "all_reduce",
            "lost the connection in",
        ),
        ("op.nbytes. 8 vs 4. Received data size doesn't match expected size", "", "another rank sent 8 bytes where 4"),
        ("port: 123, useIpv6: false, code: -98, name: EADDRINUSE", "", "the port 123 is in use by another process"),
        ("no such token", "", ""),
        ("the file store is closed", "", ""),
    ],
)
def test_what_torch_says_is_put_in_one_sentence(said, call, sentence):
    assert explained(said, call).startswith(sentence) and bool(explained(said, call)) == bool(sentence)


def test_how_a_process_ended_is_said_in_words():
    aborted = "terminate called after throwing\n  what():  8 vs 4. Received data size doesn't match"
    assert ended(-6, aborted)[1].startswith("was killed by the signal SIGABRT: another rank sent 8 bytes where 4 were")
    assert ended(-6, "terminate called\n what(): bad luck\n") == (
        "SIGABRT",
        "was killed by the signal SIGABRT: bad luck",
    )
    assert ended(-9, "")[1].endswith("(as the system does when memory runs out)")
    assert ended(-250, "") == ("SIG250", "was killed by the signal SIG250")


def test_a_stack_is_read_outermost_first_without_the_inner_frames_of_libraries():
    raw = (
        "Thread 0x1 (most recent call first):\n"
        '  File "threading.py", line 9 in wait\n\n'
        "Current thread 0x2 (most recent call first):\n"
        f'  File "{LIBRARIES}/torch/distributed/distributed_c10d.py", line 3 in all_reduce\n'
        f'  File "{LIBRARIES}/torch/distributed/c10d_logger.py", line 2 in wrapper\n'
        '  File "/tmp/ipykernel_77/1234.py", line 5 in work\n'
        f'  File "{ROOT}/labkit/ranks/inside.py", line 1 in main\n'
        '  File "<string>", line 1 in <module>\n'
    )
    torchs = '  File "torch/distributed/distributed_c10d.py", line 3, in all_reduce'
    assert readable_stack(raw) == f'  File "cell", line 5, in work\n{torchs}'
    assert calls(raw) == "all_reduce" and readable_stack("") == "" and calls("") == ""


def test_an_error_is_told_without_the_frames_between_those_of_libraries():
    try:
        compile("1 +", "/tmp/ipykernel_77/1.py", "exec")
    except SyntaxError as error:
        line, text = told(error)
    assert "SyntaxError" in line and "1 +" in text
