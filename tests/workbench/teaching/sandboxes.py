"""The kinds of sandbox that tests run in: bubblewrap where it works, the limited subprocess everywhere."""

import sys

import pytest

from labkit.workbench.grading.sandboxing import bubblewrap

NO_BUBBLEWRAP = bubblewrap.works() if sys.platform.startswith("linux") else "bubblewrap exists for Linux only"
KINDS = [
    pytest.param("bubblewrap", marks=pytest.mark.skipif(bool(NO_BUBBLEWRAP), reason=NO_BUBBLEWRAP or "it works")),
    "limited subprocess",
]
