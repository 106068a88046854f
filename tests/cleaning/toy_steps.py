"""Steps for the tests of pipelines: they live in a module, because worker processes must be able to import them."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from labkit.cleaning.pipeline import Drop, Pipeline, step


def upper(document):
    return replace(document, text=document.text.upper())


def drop_short(document, least):
    words = len(document.text.split())
    return document if words >= least else Drop(f"{words} words, at least {least} wanted")


def fail(document):
    if "BOOM" in document.text:
        raise KeyError("boom")
    return document


def crash(document):
    """The process that meets this document dies, as from a fault in C code."""
    if "CRASH" in document.text:
        os.kill(os.getpid(), signal.SIGKILL)
    return document


def hang(document):
    if "HANG" in document.text:
        time.sleep(1000)
    return document


def crash_once(document, flag):
    """The process dies the first time only: as if somebody had killed it."""
    if "ONCE" in document.text and not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return document


def kill_the_parent(document, flag):
    """Whoever started this worker dies, at the document that says so, once."""
    if "PARENT" in document.text and not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1000)
    return document


def half_a_pair(document):
    return replace(document, text="\ud83d")


def toy(*more, longest=2000, **options):
    """A small pipeline: upper case, short ones dropped, an error at BOOM, and what a test adds."""
    return Pipeline((step(upper), step(drop_short, least=4), step(fail), *more), longest=longest, **options)
