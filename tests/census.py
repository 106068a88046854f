"""Who is still alive: processes marked with a word of their environment, which what they start inherits."""

import contextlib
import secrets
import time

import psutil

MARK = "UNDER_TEST"


def new_mark():
    """A word that the environment of every process of one run carries as `MARK`."""
    return secrets.token_hex(8)


def marked(mark):
    """The processes that carry this mark, whoever their parent is now; none but this user's are seen."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # it ended meanwhile, or is not ours
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def outliving(mark, patience):
    """The command lines of the processes with this mark that live on for so many seconds; they are ended."""
    until = time.monotonic() + patience
    while (alive := marked(mark)) and time.monotonic() < until:
        time.sleep(0.05)
    lines = []
    for process in alive:
        with contextlib.suppress(psutil.Error):
            lines.append(" ".join(process.cmdline())[:120])
            process.kill()
    return lines


@contextlib.contextmanager
def nobody_left(patience=5.0):
    """Give an environment for what is started, and fail if any of it outlives the block by more than `patience`."""
    mark = new_mark()
    try:
        yield {MARK: mark}
    finally:  # ended even when the block has failed, whose error goes on
        left = outliving(mark, patience)
    assert left == []
