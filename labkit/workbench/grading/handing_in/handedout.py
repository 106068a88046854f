"""What was handed out: the pages that submissions are held against, from a release or from the repository."""

import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit.workbench import notebooks as course_notebooks
from labkit.workbench.grading.handing_in.answercells import Check, checks_in
from labkit.workbench.grading.handing_in.definitions import definitions_of
from labkit.workbench.grading.handing_in.reading import Cell, NotReadable, read_notebook
from labkit.workbench.grading.handing_in.sources import Broken, python_of
from labkit.workbench.grading.handing_in.submissions import Definition
from labkit.workbench.personal import STUDENT_CELL
from labkit.workbench.personal import typed_student as as_a_kernel


@dataclass(frozen=True)
class Page:
    """One notebook as it was handed out.

    `exercises` maps the id of an exercise to its cell, `holes` to the check that stands there, `questions` the id of a
    question in words to its answer cell. `definitions` are those of the course's own cells, by cell.
    """

    notebook: str
    version: str
    cells: tuple[Cell, ...]
    exercises: dict[str, str]
    holes: dict[str, Check]
    questions: dict[str, str]
    definitions: dict[str, list[Definition]] = field(repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {cell.id: cell for cell in self.cells})
        object.__setattr__(self, "texts", {cell.source.strip() for cell in self.cells if len(cell.source) > 20})

    @cached_property
    def answer_cells(self) -> set[str]:
        """The ids of the cells that belong to the student."""
        free = {cell.id for cell in self.cells if {"parameters", STUDENT_CELL} & {cell.id, *tags(cell)}}
        return {*self.exercises.values(), *self.questions.values(), *free}


def tags(cell: Cell) -> list[str]:
    """Give the tags of a cell, whatever its metadata is."""
    found = cell.metadata.get("tags")
    return [tag for tag in found if isinstance(tag, str)] if isinstance(found, list) else []


def labkit_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a release wrote into the metadata of a notebook or a cell, {} if it is not there or no longer whole."""
    found = metadata.get("labkit")
    return found if isinstance(found, dict) else {}


def pages(released: Any = None, course: Any = None) -> dict[str, Page]:
    """Give the pages by their stem: of a release (folder or zip), or of the repository when there is none.

    Raises:
        ValueError: if there is no notebook in it, or one cannot be read.
    """
    if isinstance(released, Mapping):
        return dict(released)
    if released is None:
        contents = {path.stem: path.read_bytes() for path in course_notebooks.find()}
    else:
        contents = _contents(Path(released))
    wanted = set(getattr(course, "notebooks", ()) or contents)
    found = {stem: page(content, stem) for stem, content in sorted(contents.items()) if stem in wanted}
    if not found:
        where = f"{str(released)!r}" if released is not None else "the notebooks folder"
        raise ValueError(f"{where} holds no notebook of this course; give what labkit release wrote")
    return found


def _contents(place: Path) -> dict[str, bytes]:
    if place.is_dir():
        files = [path for path in sorted(place.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
        return {path.stem: path.read_bytes() for path in files}
    if place.is_file() and zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as archive:
            names = [name for name in archive.namelist() if name.endswith(".ipynb") and "__MACOSX" not in name]
            return {Path(name).stem: archive.read(name) for name in names}
    if place.is_file() and place.suffix == ".ipynb":
        return {place.stem: place.read_bytes()}
    raise ValueError(f"there is no release in {str(place)!r}; expected the folder or zip that labkit release wrote")


def page(content: bytes, stem: str) -> Page:
    """Give one page from the bytes of its file.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        notebook = read_notebook(content, f"{stem}.ipynb")
    except NotReadable as problem:
        raise ValueError(f"what was handed out cannot be read: {problem}") from None
    stamp = labkit_metadata(notebook.metadata)
    exercises, holes, definitions = {}, {}, {}
    for position, cell in enumerate(notebook.cells):
        if cell.kind != "code":
            continue
        try:
            source = python_of(cell.source)
        except Broken:  # the page's own test reports it
            continue
        for check in checks_in(source):
            exercises[check.exercise], holes[check.exercise] = cell.id, check
        definitions[cell.id] = definitions_of(source, position, cell.id, own=False)
    return Page(
        notebook=_text(stamp.get("notebook")) or stem,
        version=_text(stamp.get("version")),
        cells=notebook.cells,
        exercises=exercises,
        holes=holes,
        questions=_questions(notebook.cells),
        definitions=definitions,
    )


def _questions(cells: tuple[Cell, ...]) -> dict[str, str]:
    found = {}
    for cell in cells:
        asked = labkit_metadata(cell.metadata).get("question")
        if isinstance(asked, str) and cell.id.startswith("answer-"):
            found[asked] = cell.id
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def typed_student(source: str) -> str:
    """Give what a student wrote into the cell `course-student`, "" where it no longer gives the numbers their seed."""
    try:
        text = python_of(source).text if "seed_for" in source else ""
    except Broken:
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return as_a_kernel(text)
