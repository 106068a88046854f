"""What the course needs and what is there: read from the package's own metadata, completed without moving anything."""

import importlib
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

from labkit.workbench.names import unknown
from labkit.workbench.notebooks import DISTRIBUTION, repository

CORE = "core"
NEVER = "torch"  # gigabytes, and made for the machine's own GPU: whoever runs the machine chooses it
# Only names that differ; everywhere else the module is called like its distribution.
MODULES = {"scikit-learn": "sklearn", "pillow": "PIL", "ipython": "IPython"}


def requirements() -> dict[str, list[str]]:
    """Give the requirements of the core and of each extra, as written, for this Python and system.

    They come from the installed package, or from pyproject.toml where a checkout is used without being installed.
    """
    gathering = _gathering()
    return {extra: texts for extra, texts in _with_gathering().items() if extra not in gathering}


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


def extra_for(module: str, *preferred: str) -> str | None:
    """Give the extra that brings a module, or None: what to install when an import fails. Preferred ones come first."""
    found = [extra for extra, texts in requirements().items() if module in map(_module, texts)]
    return next((extra for extra in (*preferred, *found) if extra in found), None)


def command(extra: str = CORE) -> str:
    """Give the command that installs the course with an extra: from the checkout in use, or from its repository."""
    wanted = "" if extra == CORE else f"[{extra}]"
    if (Path(__file__).parents[2] / "pyproject.toml").is_file():
        return f"pip install -e '.{wanted}'"
    return f"pip install '{DISTRIBUTION}{wanted} @ git+{repository()}'"


def complete(*extras: str, hosted: bool = False) -> None:
    """Install what the core still lacks, and on a hosted notebook what the extras do, moving nothing that is there.

    A notebook that was opened in an empty Colab has the course but not all that it stands on. One call of pip brings
    it; everything already installed becomes a constraint, because another numpy under a running kernel breaks it, and
    torch is never brought. On a computer of one's own (`hosted` is False) nothing is installed for an extra: a line
    names what is missing and the command, and the page goes on. Silent when all is well.

    Raises:
        ValueError: if there is no such extra.
        RuntimeError: if something that the core needs cannot be had that way; the message names it.
    """
    for extra in extras:
        if extra not in _names_of_extras():
            raise ValueError(unknown("extra", extra, _names_of_extras()))
    if installed(DISTRIBUTION) is not None:  # else a checkout on the path: its owner installs what it needs
        _complete_core()
    lacking = _lacking(extras)
    if lacking and hosted:
        _bring(lacking)
    elif lacking:
        short = [extra for extra in extras if _lacking([extra])]
        names = ", ".join(parse(text).name for text in lacking)
        print(f"‹Missing here of what this page can use: {names}. Get it with {command(','.join(short))}.›")


@cache
def _complete_core() -> None:
    lacking = missing()
    present = [text for text in lacking if installed(parse(text).name)]
    if present:
        raise RuntimeError(
            f"labkit needs {', '.join(present)}, but {', '.join(map(_with_version, present))} is installed here; "
            f"run `{command()} --upgrade` and restart the kernel"
        )
    if lacking and (reason := _install(lacking)):
        raise RuntimeError(f"could not install {', '.join(lacking)} beside what is installed here: {reason}")
    _tell_when_stale()


def _bring(lacking: list[str]) -> None:
    """Install what is absent, and say in one line what came, what could not come and what would have to move."""
    absent = [text for text in lacking if not installed(parse(text).name)]
    reason = _install(absent) if absent else ""
    said = []
    if absent and not reason:
        said.append(f"installed for this page: {', '.join(map(_with_version, absent))}")
    if reason:
        said.append(f"could not install {', '.join(absent)} beside what is installed here ({reason})")
    for text in lacking:
        if text not in absent:
            said.append(f"{_with_version(text)} stays, though the page was made for {text}")
    print(f"‹{'; '.join(said)}›")


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


def _with_gathering() -> dict[str, list[str]]:
    """Give the requirements of the core and of every extra, also of those that only gather others."""
    found: dict[str, list[str]] = {CORE: []}
    for text in _declared():
        requirement = parse(text)
        if requirement.name == DISTRIBUTION:  # an extra that only gathers others
            continue
        for extra in _extras_of(requirement):
            found.setdefault(extra, []).append(f"{requirement.name}{requirement.specifier}")
    return found


def _gathering() -> set[str]:
    """Give the extras that hold all of another one: once installed, `dev` is written out; naming its parts is enough.

    What this system does not get counts too: without deepspeed itself, its extra would be a part of two others.
    """
    named: dict[str, set[str]] = {}
    for text in _declared():
        for extra in re.findall(r"\bextra == ['\"]([\w-]+)", text):
            named.setdefault(extra, set()).add(text.partition(";")[0].strip())
    return {one for one in named for other in named if named[one] > named[other]}


def _lacking(extras: Iterable[str]) -> list[str]:
    """Give what these extras ask for and is not met, each once; an extra may ask for nothing on this system."""
    table = _with_gathering()
    texts = dict.fromkeys(text for extra in extras for text in table.get(extra, ()))
    return [text for text in texts if parse(text).name != NEVER and not _met(text)]


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


def _module(text: str) -> str:
    name = parse(text).name
    return MODULES.get(name, name.replace("-", "_"))


def _met(text: str) -> bool:
    requirement = parse(text)
    version = installed(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _with_version(text: str) -> str:
    name = parse(text).name
    return f"{name} {installed(name)}"


def _install(lacking: list[str]) -> str:
    """Install beside what is there and give an empty text, or the reason why pip could not."""
    with tempfile.TemporaryDirectory() as place:
        constraints = Path(place) / "constraints.txt"
        constraints.write_text("".join(f"{line}\n" for line in _as_it_is()), encoding="utf-8")
        line = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*line, "-c", str(constraints), *lacking], capture_output=True, text=True, check=False)
    importlib.invalidate_caches()
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]


def _as_it_is() -> list[str]:
    """Give constraints that let no installed package move and keep torch away where it is not installed.

    Of a package that lies in two folders of the path, Python imports the first, so that one counts.
    """
    here: dict[str, str] = {}
    for each in metadata.distributions():
        name, version = each.metadata["Name"], each.version
        if name and version:  # what an interrupted installation left has neither
            here.setdefault(name.lower().replace("_", "-").replace(".", "-"), version)
    here.pop(DISTRIBUTION, None)
    lines = [f"{name}=={version}" for name, version in sorted(here.items())]
    return [line for line in lines if _can_be_read(line)] + [f"{NEVER}<0"] * (NEVER not in here)


def _can_be_read(line: str) -> bool:
    """Tell whether pip takes it; Debian has versions like 2.22.1ubuntu1, and one of them would stop everything."""
    try:
        parse(line)
    except ValueError:
        return False
    return True


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
