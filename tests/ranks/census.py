"""Who is still alive: processes marked with a word of their environment, which what they start inherits."""

import time
import uuid
from contextlib import contextmanager

import psutil

WORD = "RANKS_UNDER_TEST"


def alive(mark):
    """The command lines of the processes with this mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(WORD) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:120])
        except psutil.Error:
            pass  # it ended meanwhile, or is not ours
    return found


@contextmanager
def nobody_left(patience=5.0):
    """Give an environment for ranks, and fail if any process that has it outlives the block by more than `patience`."""
    mark = uuid.uuid4().hex
    yield {WORD: mark}
    until = time.monotonic() + patience
    while (left := alive(mark)) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []
