"""The notebooks of the course as files: where they are, what they are called, what is written in them.

Only the standard library is used here, so that `labkit claims` and the rules of the tests need no Jupyter.
"""

import ast
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from importlib import metadata
from operator import itemgetter
from pathlib import Path
from typing import Any

from labkit.workbench.names import nearest

DISTRIBUTION = "llm-labkit"
CLAIM = "application/vnd.labkit.claim+json"
FOLDER_VARIABLE = "LABKIT_NOTEBOOKS"
# What a record has at least; a page can write one that labkit has not made.
NO_CLAIM = {"kind": "unknown", "statement": "no whole claim", "measured": None, "expected": None, "passed": False}
SCALES = ("ci", "laptop", "gpu")
CHECKOUT = Path(__file__).parents[2]  # where the package lies beside its notebooks, if it was not installed by itself

# The first code cell of every notebook; {repository} is filled in from pyproject.toml. Where pip may use no index (a
# school's folder of wheels), the package comes by name; otherwise never: somebody else could register that name.
BOOTSTRAP_TEMPLATE = """\
from importlib.util import find_spec
from os import environ
if find_spec("labkit") is None:  # an empty Colab, say: fetch the course and leave every other package as it is
    course = "llm-labkit" if "PIP_NO_INDEX" in environ else "git+{repository}"
    get_ipython().run_line_magic("pip", f"install --quiet --no-deps {{course}}")"""


def __getattr__(name: str) -> str:
    if name == "REPOSITORY":
        return repository()
    if name == "BOOTSTRAP":
        return bootstrap()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def repository() -> str:
    """Give the address of the course's repository, from `[project.urls] Repository` of pyproject.toml.

    Raises:
        ValueError: if neither a pyproject.toml beside the package nor the installed package says it.
    """
    project = CHECKOUT / "pyproject.toml"
    if project.is_file():
        project_table = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if project_table.get("name") == DISTRIBUTION and "Repository" in project_table.get("urls", {}):
            return project_table["urls"]["Repository"]
    try:
        urls = metadata.metadata(DISTRIBUTION).get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        urls = []
    for label, _, address in (url.partition(", ") for url in urls):
        if label == "Repository":
            return address
    raise ValueError(f"nothing says where {DISTRIBUTION} lives: add Repository to [project.urls] of pyproject.toml")


def bootstrap() -> str:
    """Give the source of the first code cell of every notebook."""
    return BOOTSTRAP_TEMPLATE.format(repository=repository())


def folder() -> Path:
    """Give the folder of the notebooks: `LABKIT_NOTEBOOKS`, or `notebooks/` here, above, or beside the package.

    Raises:
        ValueError: if there is none.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        if not Path(named).is_dir():
            raise ValueError(f"{FOLDER_VARIABLE} is {named!r}, which is no folder; set it to that of the notebooks")
        return Path(named).resolve()
    here = Path.cwd()
    for place in (here, *here.parents, CHECKOUT):
        candidate = place if place.name == "notebooks" else place / "notebooks"
        if candidate.is_dir() and any(candidate.glob("[0-9][0-9]_*.ipynb")):
            return candidate
    raise ValueError(
        f"no notebooks/ folder was found in {here} or above it; go to a checkout of the course, "
        f"or set {FOLDER_VARIABLE} to the folder that holds the notebooks"
    )


def find(names: Iterable[str | Path] = ()) -> list[Path]:
    """Give the files of the named notebooks in the order of the names; without names, all of the course.

    A name is a number ("02" or "2"; if two pages share it, both), the file's name with or without ".ipynb", the
    beginning of its topic ("ngram"), or a path to a notebook or to a folder of notebooks.

    Raises:
        ValueError: if a name fits none of them (the nearest one is named), or several.
    """
    names = list(names)
    if not names:
        return _in_folder(folder())
    return list(dict.fromkeys(path.resolve() for name in names for path in _find_one(name)))


def _in_folder(place: Path) -> list[Path]:
    return [path for path in sorted(place.glob("*.ipynb")) if not path.name.startswith(".")]


def _find_one(name: str | Path) -> list[Path]:
    path = Path(name)
    if path.is_file():
        return [path]
    if path.is_dir() and _in_folder(path):
        return _in_folder(path)
    if isinstance(name, Path) or len(path.parts) > 1:
        beside = _in_folder(path.parent) if path.parent.is_dir() else []
        guess = nearest(path.name, [other.name for other in beside])
        hint = f"; did you mean {str(path.parent / guess)!r}?" if guess else ""
        raise ValueError(f"there is no file {str(path)!r}{hint}")
    known = {path.stem: path for path in _in_folder(folder())}
    if name.isdecimal() and (same := [path for stem, path in known.items() if stem.startswith(f"{int(name):02d}_")]):
        return same  # a number may have two pages
    return [known[_match(name, list(known))]]


def _match(name: str, stems: list[str]) -> str:
    """Give the one stem that `name` stands for; a fuller agreement is tried before a looser one."""
    wanted = name.lower().removesuffix(".ipynb").replace("-", "_")
    topics = {stem: stem.partition("_")[2] for stem in stems}
    fits = (
        lambda stem: stem == wanted,
        lambda stem: topics[stem] == wanted,
        lambda stem: stem.startswith(wanted) or topics[stem].startswith(wanted),
        lambda stem: wanted in stem,
    )
    for fit in fits if wanted else ():
        found = [stem for stem in stems if fit(stem)]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{name!r} could be any of {', '.join(found)}; say more of the name")
    # Compare with names, topics and their first words: "ngarm" is near "ngram", not near "02_ngram_models".
    near = {part: stem for stem in reversed(stems) for part in (topics[stem].partition("_")[0], topics[stem], stem)}
    guess = near.get(nearest(wanted, near) or "")
    hint = f"; did you mean {guess!r}?" if guess else ""
    raise ValueError(f"there is no notebook {name!r}{hint} (known: {', '.join(stems)})")


def read(path: str | Path) -> dict[str, Any]:
    """Give a notebook as the dictionaries of its JSON; lines of text are joined where the format splits them.

    Raises:
        ValueError: if the file is no notebook of format 4.
        OSError: if it cannot be read.
    """
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{Path(path).name} is not a notebook: it is not JSON ({error})") from None
    return checked(notebook, called=Path(path).name)


def checked(notebook: Any, called: str = "this") -> dict[str, Any]:
    """Give the notebook back when it has the shape of nbformat 4, its lines joined.

    Raises:
        ValueError: if it has not; the message says what is wrong.
    """
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise ValueError(f"{called} is not a notebook of format 4: it has no list of cells")
    if notebook.get("nbformat") != 4:
        came = notebook.get("nbformat")
        raise ValueError(f"{called} has nbformat {came!r}, expected 4: open and save it in JupyterLab")
    for position, cell in enumerate(notebook["cells"], 1):
        if not isinstance(cell, dict) or "cell_type" not in cell or "source" not in cell:
            raise ValueError(f"cell {position} of {called} has no cell_type or no source; this is no valid notebook")
        cell["source"] = joined(cell["source"])
        try:
            _join_outputs(cell)
        except (AttributeError, KeyError, TypeError):
            raise ValueError(f"cell {position} of {called} has broken outputs or metadata") from None
    return notebook


def _join_outputs(cell: dict[str, Any]) -> None:
    """Join the lines of a cell's outputs; what is not as the format says raises whatever it raises."""
    dict(cell.get("metadata", {}))
    for output in cell.get("outputs", []):
        if output["output_type"] == "stream":
            output["text"] = joined(output["text"])
        elif output["output_type"] == "error":
            itemgetter("ename", "evalue", "traceback")(output)
        else:
            data = output["data"]
            output["data"] = {mime: value if mime.endswith("json") else joined(value) for mime, value in data.items()}


def joined(lines: Any) -> Any:
    """Give a list of lines as one string, and anything else as it is."""
    is_lines = isinstance(lines, list) and all(isinstance(line, str) for line in lines)
    return "".join(lines) if is_lines else lines


def code_cells(notebook: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give the code cells in order; cell number n of a message is the n-th of them, as `In [n]` says."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def tags(cell: Mapping[str, Any]) -> list[str]:
    """Give the tags of a cell."""
    return list(cell.get("metadata", {}).get("tags", []))


def parameters(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """Give names and default values of the cell tagged `parameters`; empty when there is none."""
    source = next((cell["source"] for cell in notebook["cells"] if "parameters" in tags(cell)), "")
    try:
        statements = ast.parse(source).body
    except SyntaxError:  # the run itself reports it, with the cell
        return {}
    found = {}
    for statement in statements:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name):
            try:
                found[target.id] = ast.literal_eval(statement.value)
            except ValueError:  # a computed default can be replaced too; only its value is not known
                found[target.id] = None
    return found


def claims_in(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the records of the claims ledger that stand in the outputs, in order; what lacks a part does not hold."""
    outputs = (output for cell in code_cells(notebook) for output in cell.get("outputs", []))
    records = (output.get("data", {}).get(CLAIM) for output in outputs)
    return [{**NO_CLAIM, **record} for record in records if isinstance(record, dict)]
