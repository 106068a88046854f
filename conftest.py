"""Loaded whichever folder pytest is pointed at: the comparison of notebook outputs (tests/outputs/plugin.py)."""

import os

# Before torch is imported, here and in the kernels of notebooks: threads that wait asleep (see labkit.start).
os.environ.setdefault("GOMP_SPINCOUNT", "0")

pytest_plugins = ["tests.outputs.plugin"]


def pytest_collection_modifyitems(items):
    """What takes longest goes first, so that no worker is left alone with it at the end."""
    slow = {"browser": 0, "notebooks": 1}
    items.sort(key=lambda item: min(slow.get(part, 2) for part in item.path.parts[-3:-1]))
