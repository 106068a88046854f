"""What holds for every test: order, no network unless asked for, steady property tests; and where the time went."""

import os
import random
import sys
from collections import Counter
from zlib import crc32

from hypothesis import settings

# Two busy cores make any deadline flaky; on CI the same examples every time, elsewhere new ones.
settings.register_profile("labkit", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("labkit")
LONG, MOST = 120, 15  # seconds of all tests from which on the longest files are told, and how many of them


def pytest_runtest_setup(item):
    """Each test draws its own random numbers: the same whichever tests ran before it in this process."""
    seed = crc32(item.nodeid.encode())
    random.seed(seed)
    for name, seeded in (("numpy", lambda np: np.random.seed(seed)), ("torch", lambda torch: torch.manual_seed(seed))):
        if name in sys.modules:
            seeded(sys.modules[name])


def pytest_collection_modifyitems(config, items):
    if "network" not in config.option.markexpr:
        offline = [item for item in items if item.get_closest_marker("network") is None]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(offline)])
        items[:] = offline
    # Browser tests last: playwright keeps an event loop running in this thread, which nbval's kernels cannot share.
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def pytest_terminal_summary(terminalreporter):
    """Where the time went, by file, when a run took longer than somebody waits."""
    seconds = Counter()
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        seconds[getattr(report, "nodeid", "").partition("::")[0]] += getattr(report, "duration", 0.0)
    if seconds.total() > LONG:
        terminalreporter.write_line(f"{seconds.total():.0f} seconds of tests in all workers; the longest files:")
        for name, taken in seconds.most_common(MOST):
            terminalreporter.write_line(f"{taken:7.0f} s  {name}")
