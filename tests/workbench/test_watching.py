"""How much memory the processes of a notebook hold together: what they share counts once, what is their own in full."""

import mmap
import os
import subprocess
import sys

import psutil
import pytest

from labkit.workbench import watching

MEGABYTES = 60
SHARING = f"""
import mmap, os, sys
shared, children = mmap.mmap(-1, {MEGABYTES} * 10**6), []
shared.write(b"x" * len(shared))
for _ in range(3):
    if os.fork() == 0:
        own = bytes(20 * 10**6).replace(b"\\0", b"y")
        sum(shared[at] for at in range(0, len(shared), {mmap.PAGESIZE}))
        os.write(1, b"ready" + bytes([10]))
        sys.stdin.read()
        os._exit(0)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def family():
    """A process with three children that share 60 MB; each child has 20 MB of its own."""
    if not os.path.exists("/proc/self/smaps_rollup"):
        pytest.skip("only Linux tells how much of a process is shared")
    command, pipes = [sys.executable, "-c", SHARING], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        assert [process.stdout.readline() for _ in range(3)] == [b"ready\n"] * 3
        yield psutil.Process(process.pid)
        process.stdin.close()


def held_by(family):
    return {one.pid: one.memory_info().rss for one in (family, *family.children())}


def test_memory_that_children_share_is_not_counted_once_for_each_of_them(family):
    held = held_by(family)
    found = watching.together(held, family.pid)
    assert sum(held.values()) > 4e6 * MEGABYTES + 3 * 20e6
    assert found < sum(held.values()) - 2e6 * MEGABYTES  # 3/4 of 180 MB are not counted, and the interpreter's own
    assert found > held[family.pid] + 3 * 20e6  # but what each has for itself is


def test_the_memory_of_the_kernel_counts_in_full(family):
    held = held_by(family)
    assert watching.together({family.pid: held[family.pid]}, family.pid) == held[family.pid]
    assert watching.together(held, 0) < watching.together(held, family.pid)


def test_where_nobody_tells_shares_every_process_counts_in_full(monkeypatch):
    def refused(*_, **__):
        raise PermissionError

    monkeypatch.setattr(watching.Path, "read_text", refused)
    assert watching.together({1: 10, 2: 5}, 1) == 15


def test_a_watch_keeps_the_peak_of_what_is_held_together(family):
    watch = watching.Watch()
    watch._kernel = watch._processes[family.pid] = family
    watch.look()
    held = held_by(family)
    assert watch.peak_bytes < sum(held.values()) - 2e6 * MEGABYTES
    assert watch.peak_bytes > held[family.pid] + 3 * 20e6


def test_a_look_at_what_is_shared_is_taken_when_the_sum_has_grown_or_after_a_second(monkeypatch):
    watch, now = watching.Watch(), [100.0]
    monkeypatch.setattr(watching.time, "perf_counter", lambda: now[0])
    assert watch._worth_it(1000, 1)
    assert watch._worth_it(1000, 1)  # a process alone shares with nobody here
    assert watch._worth_it(1000, 2)
    assert not watch._worth_it(1001, 2)
    assert watch._worth_it(1100, 2)
    now[0] += watching.SHARED_EVERY
    assert watch._worth_it(1000, 2)
