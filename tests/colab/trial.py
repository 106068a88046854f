"""One page on one machine: alone in an empty folder, a folder of wheels all it can reach, and what became of it."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from labkit.workbench import notebooks
from tests.colab.machine import Machine

EXECUTE = Path(__file__).with_name("execute_page.py")
EXPLORE = "every-explorable"  # the id of the cell that execute_page.py adds
PATIENCE = 1800  # seconds for a page


@dataclass(frozen=True)
class Trial:
    """What came of a page: claims, packages before and after, what its explorables said, and why it ended early."""

    page: str
    python: str
    seconds: float
    claims: tuple[Mapping[str, Any], ...]
    stored: int  # claims of the page as it is stored
    before: Mapping[str, str]
    after: Mapping[str, str]
    widgets: Mapping[str, Any]
    spoken: tuple[str, ...] = ()  # lines on stderr
    failure: str = ""

    @property
    def added(self) -> dict[str, str]:
        """Packages that the page brought, without the course itself."""
        return {
            name: self.after[name] for name in sorted(set(self.after) - set(self.before) - {notebooks.DISTRIBUTION})
        }

    @property
    def moved(self) -> list[str]:
        """Packages that were there before and are now gone or of another version."""
        return [
            f"{name} {version} → {self.after.get(name, 'gone')}"
            for name, version in self.before.items()
            if self.after.get(name) != version
        ]

    @property
    def passed(self) -> int:
        """Claims that hold."""
        return sum(bool(claim.get("passed")) for claim in self.claims)

    @property
    def problems(self) -> list[str]:
        """What keeps this page from being in order, as sentences."""
        found = [self.failure] * bool(self.failure)
        failed = [claim.get("statement") for claim in self.claims if not claim.get("passed")]
        found += [f"a claim does not hold: {statement}" for statement in failed]
        found += [f"a preinstalled package moved: {each}" for each in self.moved]
        found += self.widgets.get("problems", [])
        if not self.widgets and not self.failure:
            found.append("its explorables were not looked at")
        if not self.claims and self.stored and not self.failure:
            found.append("the page made no claim, though the stored one does")
        return found


def run_page(page: Path, machine: Machine) -> Trial:
    """Run a page as an empty Colab would, and leave the machine as it was."""
    before = machine.installed()
    with empty_folder() as folder:
        shutil.copy(page, folder / page.name)
        executed = folder.parent / "executed.ipynb"
        line = [machine.python, str(EXECUTE), page.name, str(executed)]
        begun = time.perf_counter()
        failure = _execute(line, folder, environment(machine, folder.parent))
        seconds = time.perf_counter() - begun
        after = machine.installed()
        copy = notebooks.read(executed) if executed.is_file() else {"cells": []}
    machine.uninstall(sorted(set(after) - set(before)))
    return Trial(
        page=page.stem,
        python=machine.kind.python,
        seconds=seconds,
        claims=tuple(notebooks.claims_in(copy)),
        stored=len(notebooks.claims_in(notebooks.read(page))),
        before=before,
        after=after,
        widgets=widgets_of(copy),
        spoken=tuple(stderr_of(copy)),
        failure=failure,
    )


def environment(machine: Machine, home: Path) -> dict[str, str]:
    """Give the variables of an empty Colab: its own marks, an empty home, pip without an index, nothing of ours."""
    kept = ("SYSTEMROOT", "TMPDIR", "TEMP", "TMP")  # a system may need these to work at all
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "PATH": os.pathsep.join([str(Path(machine.python).parent), os.defpath]),
        "HOME": str(home / "home"),
        "LANG": "en_US.UTF-8",
        "COLAB_RELEASE_TAG": "release-colab_20260819",
        "COLAB_BACKEND_VERSION": "next",
        "COLAB_JUPYTER_IP": "127.0.0.1",
        "COLAB_GPU": "",
        "CLOUDSDK_CONFIG": "/content/.config",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": " ".join(str(link) for link in machine.links),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
        "GOMP_SPINCOUNT": "0",
    }


@contextmanager
def empty_folder() -> Iterator[Path]:
    """Give an empty folder called content, as on Colab, beside an empty home; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="colab-", ignore_cleanup_errors=True) as place:
        for name in ("content", "home"):
            (Path(place) / name).mkdir()
        yield Path(place) / "content"


@cache
def cut_off() -> tuple[str, ...]:
    """Give what to put before a command to cut its network, loopback excepted; nothing where that cannot be done."""
    line = ("bwrap", "--dev-bind", "/", "/", "--unshare-net", "--die-with-parent", "--")
    try:
        works = subprocess.run([*line, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        works = False
    return line if works else ()


def _execute(line: list[str], folder: Path, variables: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            [*cut_off(), *line],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it ran longer than {PATIENCE} s"
    if done.returncode == 0:
        return ""
    said = [each for each in done.stderr.splitlines() if each.strip()] or ["it said nothing"]
    return f"it ended with {said[-1].strip()}"


def widgets_of(copy: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the added cell tells of the explorables; empty when it did not run."""
    for cell in notebooks.code_cells(copy):
        if cell.get("id") == EXPLORE:
            for output in cell["outputs"]:
                if output["output_type"] == "stream" and output["text"].startswith("{"):
                    return json.loads(output["text"])
    return {}


def stderr_of(copy: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that cells wrote on stderr, each with its cell."""
    for cell in notebooks.code_cells(copy):
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                yield from (f"{cell.get('id')}: {line}" for line in output["text"].splitlines() if line.strip())
