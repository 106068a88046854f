"""What a stranger installs, made offline: the archives that `build` makes, and an environment with the core alone."""

import os
import shutil
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project import ROOT, pyproject

OFFLINE = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def run(command, **more):
    """What a command that must succeed printed."""
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", **more)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def build(folder, *options, source=ROOT):
    """The archives that `python -m build` writes into a folder, with nothing from the network."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), *options, str(source)]
    run(command, env={**os.environ, **OFFLINE})
    return sorted(folder.iterdir())


@cache
def distributions():
    """Everything that is installed beside these tests, by its canonical name."""
    found = {}
    for each in metadata.distributions():
        if each.metadata["Name"]:
            found.setdefault(
                canonicalize_name(each.metadata["Name"]), each
            )  # the first on the path is the one imported
    return found


def closure(wanted):
    """Requirement by requirement, all that comes along: pairs of a requirement and the name of who asks for it."""
    waiting = [(Requirement(text), "llm-labkit") for text in wanted]
    seen = set()
    while waiting:
        asked, who = waiting.pop()
        name = canonicalize_name(asked.name)
        if (str(asked), who) in seen or not _applies(asked, {""}):
            continue
        seen.add((str(asked), who))
        yield asked, who
        if name in distributions():
            extras = {"", *asked.extras}
            further = [Requirement(text) for text in distributions()[name].requires or ()]
            waiting += [(_bare(each), name) for each in further if _applies(each, extras)]


def _applies(requirement, extras):
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras)


def _bare(requirement):
    requirement.marker = None
    return requirement


def core():
    """The names of what `pip install llm-labkit`, without an extra, brings along."""
    return {canonicalize_name(asked.name) for asked, _ in closure(pyproject()["project"]["dependencies"])}


def core_environment(folder, wheel):
    """The Python of a new environment: the wheel, what its core needs, linked from here, and nothing else."""
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    packages = Path(run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    for name in sorted(core()):
        for source in _top_level(distributions()[name]):
            _link(source, packages / source.name)
    pip(python, "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    return python


def pip(python, *arguments):
    """What pip, that of these tests, said about another environment."""
    return run([sys.executable, "-m", "pip", "--python", str(python), *arguments], env={**os.environ, **OFFLINE})


def _top_level(distribution):
    tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
    return [Path(distribution.locate_file(top)) for top in sorted(tops)]


def _link(source, target):
    if target.exists():
        return
    try:
        target.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:  # Windows, without the right to make links
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
