"""Loaded whichever folder pytest is pointed at: the comparison of notebook outputs (tests/outputs/plugin.py)."""

import os
import signal

# Before torch is imported, here and in the kernels of notebooks: threads that wait asleep (see labkit.start).
os.environ.setdefault("GOMP_SPINCOUNT", "0")

# A shell's background job begins with Ctrl-C ignored, nohup with hang-ups; every process of a test would inherit that.
for name, normal in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, name), normal)

pytest_plugins = ["tests.outputs.plugin"]


def pytest_collection_modifyitems(items):
    """What takes longest goes first, so that no worker is left alone with it at the end."""
    slow = {"browser": 0, "notebooks": 1}
    items.sort(key=lambda item: min(slow.get(part, 2) for part in item.path.parts[-3:-1]))
