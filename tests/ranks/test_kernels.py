"""A real kernel, as a notebook has it: cells define the function, the kernel interrupts, and the kernel dies."""

import os
import queue
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager

from tests.census import MARK, marked, nobody_left

pytestmark = pytest.mark.skipif(os.name == "nt", reason="interrupts are those of Unix")
CELLS = """
import dataclasses, time
from labkit import ranks
from labkit.ranks import RankFailed, run_ranks
@dataclasses.dataclass
class Found:
    rank: int
def find(add):
    print("looking")
    return Found(ranks.rank() + add)
"""
WRONG = """
def wrong():
    row = [1, 2]
    return row[2 + ranks.rank()]
try:
    run_ranks(wrong, 2, group=False)
except RankFailed as error:
    print(error)
"""
THREADED = """
import torch
torch.set_num_threads(2)
(torch.ones(400, 400) @ torch.ones(400, 400)).sum()
def reduce():
    one = torch.ones(1)
    torch.distributed.all_reduce(one)
    return one.item()
print(run_ranks(reduce, 2, group=True))
"""


def said(client, code, interrupt=None):
    """What a cell prints or raises."""
    client.execute(code, store_history=True)
    texts = []
    while True:
        try:
            message = client.get_iopub_msg(timeout=60)
        except queue.Empty:
            return "".join([*texts, "TIMED OUT"])
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            texts.append(content["text"])
        elif kind in ("display_data", "update_display_data"):
            texts.append(content["data"]["text/html"])
        elif kind == "execute_result":
            texts.append(content["data"]["text/plain"])
        elif kind == "error":
            texts.append(f"{content['ename']}: {content['evalue']}")
        elif kind == "status" and content["execution_state"] == "idle" and message["parent_header"]:
            return "".join(texts)
        elif kind == "execute_input" and interrupt:
            interrupt()


@pytest.fixture
def kernel():
    """A manager whose kernel talks through files: a port that was free a moment ago may be taken by another test."""
    place = Path(tempfile.mkdtemp(prefix="k"))  # short: the path of a socket has at most 107 characters
    yield KernelManager(kernel_name="python3", transport="ipc", ip=str(place / "kernel"))
    shutil.rmtree(place, ignore_errors=True)


def test_a_notebook_runs_its_own_functions_interrupts_them_and_takes_them_along_when_it_dies(kernel):
    with nobody_left() as env:
        kernel.start_kernel(env=os.environ | env | {"JPY_SESSION_NAME": ""})
        client = kernel.blocking_client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=60)
            assert said(client, "import os; del os.environ['JPY_SESSION_NAME']" + CELLS) == ""
            found = said(client, "run_ranks(find, 2, 5, group=False)")
            assert found == "[rank 0] looking\n[rank 1] looking\n[Found(rank=5), Found(rank=6)]"
            assert said(client, "isinstance(_[0], Found)") == "True"
            found = said(client, WRONG)
            assert found.startswith("rank 0 of 2 raised IndexError: list index out of range\n\nTraceback")
            assert 'File "cell", line 3, in wrong\n    return row[2 + ranks.rank()]\n' in found
            seen = said(client, "os.environ['JPY_SESSION_NAME'] = 'a.ipynb'\nrun_ranks(find, 2, 5, group=False);")
            assert seen.count("has returned") == 2 and seen.count("looking") >= 2 and "[rank 0]" not in seen

            assert said(client, "del os.environ['JPY_SESSION_NAME']") == ""
            assert said(client, THREADED) == "[2.0, 2.0]\n"

            stay = len(marked(env[MARK]))  # the kernel, and what forks its ranks

            def interrupt():
                wait_for(env, stay + 2)
                kernel.interrupt_kernel()

            sleep = "run_ranks(lambda: time.sleep(600), 2, group=False)"
            assert said(client, sleep, interrupt).startswith("KeyboardInterrupt")
            assert len(marked(env[MARK])) == stay <= 2
            client.execute(sleep)
            wait_for(env, stay + 2)
        finally:
            client.stop_channels()
            kernel.shutdown_kernel(now=True)
            kernel.cleanup_resources()


def wait_for(env, count):
    until = time.monotonic() + 30
    while len(marked(env[MARK])) < count and time.monotonic() < until:
        time.sleep(0.05)
