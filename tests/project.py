"""The project as files: where it stands, what belongs to it, what pyproject.toml says."""

import subprocess
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = {".py", ".md", ".toml", ".yml", ".yaml", ".cfg", ".ipynb", ".sh", ".txt", ".json", ""}


@cache
def files():
    """Every file that is or would be committed, as paths relative to the root; all files where git is missing."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True)
        names = listed.stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if ".venv" not in path.parts]
    return tuple(sorted(Path(name) for name in names if name and (ROOT / name).is_file()))


def texts():
    """Path and content of every file of the project that holds text."""
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in files() if path.suffix in TEXT}


@cache
def pyproject():
    """The tables of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def repository():
    """The address of the repository, which is written in pyproject.toml and nowhere else by hand."""
    return pyproject()["project"]["urls"]["Repository"]
