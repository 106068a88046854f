"""What the course needs and what is there: read from the package's own metadata, completed without moving anything."""

import importlib
import subprocess
import sys
import tempfile
import tomllib
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

from labkit.workbench.notebooks import DISTRIBUTION, repository

CORE = "core"
# Only names that differ; everywhere else the module is called like its distribution.
MODULES = {"scikit-learn": "sklearn", "pillow": "PIL", "ipython": "IPython"}


def requirements() -> dict[str, list[str]]:
    """Give the requirements of the core and of each extra, as written, for this Python and system.

    They come from the installed package, or from pyproject.toml where a checkout is used without being installed.
    """
    found: dict[str, list[str]] = {CORE: []}
    for text in _declared():
        requirement = parse(text)
        if requirement.name == DISTRIBUTION:  # an extra that only gathers others
            continue
        for extra in _extras_of(requirement):
            found.setdefault(extra, []).append(f"{requirement.name}{requirement.specifier}")
    # Once installed, such an extra is written out in full; naming its parts is enough.
    gathering = {
        one for one in found for other in found if CORE not in (one, other) and set(found[one]) > set(found[other])
    }
    return {extra: texts for extra, texts in found.items() if extra not in gathering}


def parse(text: str) -> Any:
    """Give a requirement as `packaging` reads it; matplotlib brings that library, and pip has a copy."""
    if util.find_spec("packaging"):
        return importlib.import_module("packaging.requirements").Requirement(text)
    return importlib.import_module("pip._vendor.packaging.requirements").Requirement(text)


def installed(name: str) -> str | None:
    """Give the installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def missing(extra: str = CORE) -> list[str]:
    """Give the requirements of the core (or of an extra) that are not met: absent packages and wrong versions."""
    return [text for text in requirements()[extra] if not _met(text)]


def extra_for(module: str) -> str | None:
    """Give the extra that brings a module, or None: what to install when an import fails."""
    for extra, texts in requirements().items():
        names = [parse(text).name for text in texts]
        if module in (MODULES.get(name, name.replace("-", "_")) for name in names):
            return extra
    return None


def command(extra: str = CORE) -> str:
    """Give the command that installs the course with an extra: from the checkout in use, or from its repository."""
    wanted = "" if extra == CORE else f"[{extra}]"
    if (Path(__file__).parents[2] / "pyproject.toml").is_file():
        return f"pip install -e '.{wanted}'"
    return f"pip install '{DISTRIBUTION}{wanted} @ git+{repository()}'"


@cache
def complete() -> None:
    """Install what the core still lacks, once per process, and never another version of a package that is there.

    A notebook that was opened in an empty Colab has the course but not all that it stands on. Everything already
    installed becomes a constraint, because another numpy under a running kernel breaks it. Silent when all is well.

    Raises:
        RuntimeError: if something needed cannot be had that way; the message names it.
    """
    if installed(DISTRIBUTION) is None:  # a checkout on the path: its owner installs what it needs
        return
    lacking = missing()
    present = [text for text in lacking if installed(parse(text).name)]
    if present:
        raise RuntimeError(
            f"labkit needs {', '.join(present)}, but {', '.join(map(_with_version, present))} is installed here; "
            f"run `{command()} --upgrade` and restart the kernel"
        )
    if lacking:
        _install(lacking)
    _tell_when_stale()


def _declared() -> list[str]:
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        project_file = Path(__file__).parents[2] / "pyproject.toml"
        if not project_file.is_file():
            return []
    project = tomllib.loads(project_file.read_text(encoding="utf-8"))["project"]
    texts = list(project["dependencies"])
    for extra, wanted in project.get("optional-dependencies", {}).items():
        for text in wanted:
            bare, _, marker = (part.strip() for part in text.partition(";"))
            texts.append(f"{bare}; ({marker}) and extra == '{extra}'" if marker else f"{bare}; extra == '{extra}'")
    return texts


def _extras_of(requirement: Any) -> list[str]:
    """Give `core`, or the extras whose marker asks for this requirement on this machine."""
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        return [CORE]
    return [extra for extra in _names_of_extras() if requirement.marker.evaluate({"extra": extra})]


@cache
def _names_of_extras() -> tuple[str, ...]:
    try:
        return tuple(metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or ())
    except metadata.PackageNotFoundError:
        return tuple(
            dict.fromkeys(text.rpartition("'")[0].rpartition("'")[2] for text in _declared() if "extra ==" in text)
        )


def _met(text: str) -> bool:
    requirement = parse(text)
    version = installed(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _with_version(text: str) -> str:
    name = parse(text).name
    return f"{name} {installed(name)}"


def _install(lacking: list[str]) -> None:
    here = {each.metadata["Name"]: each.version for each in metadata.distributions() if each.metadata["Name"]}
    with tempfile.TemporaryDirectory() as place:
        constraints = Path(place) / "constraints.txt"
        constraints.write_text(
            "".join(f"{name}=={version}\n" for name, version in sorted(here.items())), encoding="utf-8"
        )
        line = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-c",
            str(constraints),
        ]
        done = subprocess.run([*line, *lacking], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise RuntimeError(f"could not install {', '.join(lacking)} beside what is installed here: {reason}")
    importlib.invalidate_caches()


def _public(version: str) -> str:
    return version.lower().removeprefix("v").partition("+")[0]


def _tell_when_stale() -> None:
    """Print which loaded packages are no longer the installed ones: the kernel must be restarted to see those."""
    stale = []
    for name in (parse(text).name for text in requirements()[CORE]):
        # Not getattr: click computes the attribute, with a warning that the learner would see.
        loaded = getattr(sys.modules.get(MODULES.get(name, name)), "__dict__", {}).get("__version__")
        # pooch writes v1.9.0 where its metadata say 1.9.0, and torch 2.13.0+cpu.
        if loaded and installed(name) and _public(loaded) != _public(installed(name)):
            stale.append(f"{name} {loaded} is loaded, {installed(name)} is installed")
    if stale:
        print(f"Restart the kernel before going on: {'; '.join(stale)}.")
