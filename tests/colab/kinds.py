"""The two machines of the proof: Python 3.13 as Colab has it, and 3.11 for torch, which has a small build for that."""

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit.workbench import notebooks

HERE = Path(__file__).parent
CONSTRAINTS = HERE / "constraints-2026-08.txt"


@dataclass(frozen=True)
class Kind:
    """One kind of machine: its Python, and the files that say what is installed on it beforehand."""

    python: str
    files: tuple[Path, ...]

    @property
    def wanted(self) -> list[str]:
        """The lines of its files, without comments."""
        lines = (line.strip() for file in self.files for line in file.read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line and not line.startswith("#")]

    @property
    def variable(self) -> str:
        """The environment variable that names its interpreter."""
        return f"PYTHON{self.python.replace('.', '')}"


PLAIN = Kind("3.13", (CONSTRAINTS, HERE / "preinstalled.txt"))
TORCH = Kind("3.11", (CONSTRAINTS, HERE / "preinstalled.txt", HERE / "preinstalled-torch.txt"))


def kind_of(page: Path) -> Kind:
    """Give the machine that a page runs on: with torch if its code asks for torch, or for what is built on it."""
    code = "\n".join(cell["source"] for cell in notebooks.code_cells(notebooks.read(page)))
    return TORCH if re.search(r"\b(torch|pretraining)\b", code) else PLAIN


def needs_of(page: Path) -> tuple[str, ...]:
    """Give the extras that the first cell of a page asks for."""
    return tuple(options_of(page).get("needs", ()))


def options_of(page: Path) -> dict[str, object]:
    """Give the named arguments of the page's `labkit.start(...)` that are plain values.

    Raises:
        ValueError: if the page does not start with it.
    """
    for cell in notebooks.code_cells(notebooks.read(page)):
        for node in ast.walk(ast.parse(cell["source"])) if "labkit.start(" in cell["source"] else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "labkit.start":
                plain = [word for word in node.keywords if word.arg and not isinstance(word.value, ast.Name)]
                return {word.arg: ast.literal_eval(word.value) for word in plain}
    raise ValueError(f"{page.name} has no cell with labkit.start(...): every page of the course begins with one")


def interpreter(kind: Kind) -> str:
    """Give an interpreter of the kind's Python, looked for in its variable, on PATH, and where pyenv keeps them.

    Raises:
        RuntimeError: if there is none; the message says how to name one.
    """
    for candidate in _candidates(kind):
        code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
        try:
            done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
        except OSError:
            continue
        if done.returncode == 0 and done.stdout.strip() == kind.python:
            return candidate
    raise RuntimeError(
        f"there is no Python {kind.python} here, which this part of the proof needs: "
        f"install it, or name one, as in {kind.variable}=/path/to/python{kind.python}"
    )


def _candidates(kind: Kind) -> Iterator[str]:
    if named := os.environ.get(kind.variable):
        yield named
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if found := shutil.which(f"python{kind.python}", path=folder):
            yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for place in sorted(pyenv.glob(f"{kind.python}.*"), reverse=True):
        yield str(place / "bin" / "python")
