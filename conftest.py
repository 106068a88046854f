"""Loaded whichever folder pytest is pointed at: the comparison of notebook outputs (tests/outputs/plugin.py)."""

import os

# Before torch is imported, here and in the kernels of notebooks: threads that wait asleep (see labkit.start).
os.environ.setdefault("GOMP_SPINCOUNT", "0")

pytest_plugins = ["tests.outputs.plugin"]
