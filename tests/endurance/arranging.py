"""What stands around a round of a trial: when its files were written, which texts were fetched before."""

import os
import shutil
from calendar import timegm
from contextlib import contextmanager
from dataclasses import replace


@contextmanager
def written_at(pages, moment):
    """Within the block these files were written at a moment (year, month, ...), as they are where the clock says so."""
    before = {page: page.stat() for page in pages} if moment else {}
    for page in before:
        os.utime(page, (timegm(moment), timegm(moment)))
    try:
        yield
    finally:
        for page, was in before.items():
            os.utime(page, ns=(was.st_atime_ns, was.st_mtime_ns))


@contextmanager
def without_texts(folder):
    """Names for the environment of a run that has fetched nothing yet; what it fetches is thrown away."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield {"LABKIT_CACHE": str(folder)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def named(condition, names):
    """The condition with these names in the environment."""
    return replace(condition, environment={**condition.environment, **names})
