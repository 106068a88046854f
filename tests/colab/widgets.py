"""The unit tests of explorables under Colab's ipywidgets, in a machine's own Python."""

import shutil
from pathlib import Path

from tests.colab.machine import Machine, run
from tests.colab.trial import empty_folder, environment
from tests.project import ROOT

TESTS = ROOT / "tests" / "workbench" / "test_explore.py"
TOOLS = ("pytest", "hypothesis", "sortedcontainers", "attrs", "pluggy", "iniconfig")
OPTIONS = ("-q", "--noconftest", "-p", "no:cacheprovider", "-W", "ignore", "--rootdir", ".", "-c", "pytest.ini")
START = "import labkit; labkit.start(needs=())"


def run_tests(machine: Machine, place: Path) -> str:
    """Run them from a copy in an empty folder against the course's wheel, and give pytest's last line.

    Raises:
        RuntimeError: if one fails; the message holds what pytest said last.
    """
    tools = place / f"tools-{machine.kind.python}"
    if not tools.is_dir():
        # Beside the machine, not in it: its packages are as Colab has them. pytest brings its own Pygments etc.
        run(machine.python, "-m", "pip", "install", "--quiet", "--target", str(tools), "--no-deps", *TOOLS)
    before = machine.installed()
    with empty_folder() as folder:
        shutil.copy(TESTS, folder / TESTS.name)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        variables = environment(machine, folder.parent)
        try:
            run(machine.python, "-m", "pip", "install", "-q", "--no-deps", "llm-labkit", env=variables, cwd=folder)
            run(machine.python, "-c", START, env=variables, cwd=folder)
            variables["PYTHONPATH"] = str(tools)
            said = run(machine.python, "-m", "pytest", *OPTIONS, TESTS.name, env=variables, cwd=folder)
        finally:
            machine.uninstall(sorted(set(machine.installed()) - set(before)))
    return said.strip().splitlines()[-1]
