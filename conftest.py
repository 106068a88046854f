"""Loaded whichever folder pytest is pointed at: the comparison of notebook outputs (tests/outputs/plugin.py)."""

pytest_plugins = ["tests.outputs.plugin"]
