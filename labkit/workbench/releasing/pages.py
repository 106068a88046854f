"""One notebook as it is handed out: holes empty, points and questions in, nothing of a solution or of a machine."""

import ast
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit.workbench import notebooks, personal, storing
from labkit.workbench.course import Course, Manual
from labkit.workbench.marking import Exercise
from labkit.workbench.names import nearest
from labkit.workbench.releasing import answer_cells, interchange
from labkit.workbench.releasing.records import HandedOut, labkit_version, version_of
from labkit.workbench.releasing.wording import Wording

LONGEST_ID = 64


@dataclass
class Page:
    """A notebook on its way out: its `cells`, and what has been found in them."""

    stem: str
    cells: list[dict[str, Any]]
    exercises: dict[str, str] = field(default_factory=dict)
    points: dict[str, float] = field(default_factory=dict)
    questions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def handed_out(
    path: Path, course: Course, exercises: Mapping[str, Exercise], words: Wording, *, outputs: bool, language: str
) -> tuple[dict[str, Any], HandedOut]:
    """Give the notebook that is handed out for a file of the course, and what the record says of it.

    Raises:
        ValueError: if the file cannot be handed out; the sentence names the cell.
    """
    original = notebooks.read(path)
    _refuse_bad_ids(original, path.name)
    notebook = storing.normalise(original)
    page = Page(path.stem, [])
    for cell in notebook["cells"]:
        page.cells.append(_without_outputs(cell) if not outputs and cell["cell_type"] == "code" else cell)
        if cell["cell_type"] == "code":
            _make_hole(page, cell, course, exercises)
    _note_what_is_missing(page, exercises)
    for manual in course.manual.get(path.stem, ()):
        _ask(page, manual, words)
    if course.seeds == "student":
        _ask_who(page, course)
    taken = [name for name, n in Counter(cell["id"] for cell in page.cells).items() if n > 1]
    if taken:
        raise ValueError(f"{path.name} has a cell {taken[0]!r}, and a release adds one with this id; rename it")
    return _finished(notebook, page, path, course, language)


def _finished(
    notebook: dict[str, Any], page: Page, path: Path, course: Course, language: str
) -> tuple[dict[str, Any], HandedOut]:
    """Put the cells and what a grader needs to know into the notebook, and give the record beside it."""
    notebook["cells"] = page.cells
    stamp = version_of(course, path.stem, page.points, page.questions)
    deadline = course.deadlines[path.stem].isoformat() if path.stem in course.deadlines else None
    notebook["metadata"]["labkit"] = {
        "course": course.name,
        "term": course.term,
        "notebook": path.stem,
        "version": stamp,
        "labkit": labkit_version(),
        "language": language,
        "deadline": deadline,
        "seeds": course.seeds,
        "exercises": dict(page.exercises),
        "points": {name: each for name, each in page.points.items() if name in page.exercises},
        "questions": {q: {"cell": cell, "points": page.points[f"question:{q}"]} for q, cell in page.questions.items()},
    }
    record = HandedOut(page.stem, path, stamp, page.exercises, page.points, page.questions, deadline, tuple(page.notes))
    return notebook, record


def named_for(notebook: dict[str, Any], student: str) -> dict[str, Any]:
    """Give the copy of a handed-out notebook in which a student's name is filled in already."""
    cells = []
    for cell in notebook["cells"]:
        if cell["id"] == personal.STUDENT_CELL:
            filled = cell["source"].replace('student = ""', f"student = {json.dumps(student, ensure_ascii=False)}", 1)
            cell = {**cell, "source": filled}
        cells.append(cell)
    about = {**notebook["metadata"], "labkit": {**notebook["metadata"]["labkit"], "student": student}}
    return {**notebook, "cells": cells, "metadata": about}


def _refuse_bad_ids(notebook: Mapping[str, Any], name: str) -> None:
    advice = "open and save it in JupyterLab, or run `labkit save`"
    ids = [cell.get("id") for cell in notebook["cells"]]
    for position, each in enumerate(ids, 1):
        if not isinstance(each, str) or not each:
            raise ValueError(f"cell {position} of {name} has no id, and answers are found again by it; {advice}")
    twice = [each for each, n in Counter(ids).items() if n > 1]
    if twice:
        raise ValueError(
            f"{name} has {ids.count(twice[0])} cells with the id {twice[0]!r}; each needs its own; {advice}"
        )


def _without_outputs(cell: dict[str, Any]) -> dict[str, Any]:
    cell["outputs"], cell["execution_count"] = [], None
    return cell


def _make_hole(page: Page, cell: dict[str, Any], course: Course, exercises: Mapping[str, Exercise]) -> None:
    """Empty the cell of an exercise, mark it, and put the one that gives its points behind it."""
    names = answer_cells.asked(cell["source"])
    where = f"cell {cell['id']!r} of {page.stem}"
    if not names:
        _refuse_unreadable(cell["source"], where)
        return
    name = names[0]
    if len(names) > 1:
        raise ValueError(f"{where} asks for {len(names)} exercises ({', '.join(names)}); give each a cell of its own")
    if name not in exercises:
        raise ValueError(f"{where}: {_unknown(name, exercises)}")
    if name in page.exercises:
        raise ValueError(
            f"{where}: exercise {name!r} stands in cell {page.exercises[name]!r} already; keep one of them"
        )
    try:
        hole = answer_cells.answer_cell(cell["source"], exercises[name])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if not hole.is_empty:
        page.notes.append(f"cell {cell['id']!r} held more than the hole of {name}; it is handed out empty")
        _without_outputs(cell)
    cell["source"] = hole.hole
    cell["metadata"]["labkit"] = {"exercise": name}
    interchange.answer(cell)
    most = float(course.points_of(exercises[name]))
    page.exercises[name], page.points[name] = cell["id"], most
    source = f'labkit.points("{name}", {hole.name}, of={most:g})'
    page.cells.append(_cell("code", f"{cell['id'][: LONGEST_ID - 7]}-points", source, {"points_of": name}))
    interchange.graded(page.cells[-1], most)


def _unknown(name: str, exercises: Mapping[str, Exercise]) -> str:
    guess = nearest(name, exercises)
    return f"there is no exercise {name!r}" + (f"; did you mean {guess!r}?" if guess else "")


def _refuse_unreadable(source: str, where: str) -> None:
    try:
        ast.parse(source)
    except SyntaxError as error:
        if answer_cells.ASKS in source:
            raise ValueError(
                f"{where} asks for an exercise but is no Python (line {error.lineno}: {error.msg})"
            ) from None


def _note_what_is_missing(page: Page, exercises: Mapping[str, Exercise]) -> None:
    for each in exercises.values():
        if each.notebook == page.stem and each.id not in page.exercises:
            page.notes.append(f"exercise {each.id} belongs to this notebook and stands nowhere in it")


def _ask(page: Page, manual: Manual, words: Wording) -> None:
    """Put a question in words and the cell for its answer behind the cell that the course file names."""
    ids = [cell["id"] for cell in page.cells]
    if manual.after not in ids:
        guess = nearest(manual.after, ids)
        hint = f"; did you mean {guess!r}?" if guess else ""
        raise ValueError(
            f"question {manual.id!r} comes after the cell {manual.after!r}, which {page.stem} does not have{hint}"
        )
    place = ids.index(manual.after) + 1
    while place < len(page.cells) and _belongs_to_before(page.cells[place]):
        place += 1
    label = words.question.format(points=f"{manual.points:g}")
    asked = _cell("markdown", manual.asked, f"{label}\n\n{manual.question.strip()}", {"asks": manual.id})
    answer = _cell("markdown", manual.cell, words.placeholder, {"question": manual.id})
    interchange.question(asked)
    interchange.words(answer, float(manual.points))
    page.cells[place:place] = [asked, answer]
    page.questions[manual.id], page.points[f"question:{manual.id}"] = manual.cell, float(manual.points)


def _belongs_to_before(cell: Mapping[str, Any]) -> bool:
    """Whether a release put this cell in: points of the exercise before it, or an earlier question after the same."""
    return bool({"points_of", "asks", "question"} & set(cell["metadata"].get("labkit", {})))


def _ask_who(page: Page, course: Course) -> None:
    places = [place for place, cell in enumerate(page.cells) if "parameters" in notebooks.tags(cell)]
    if not places:
        raise ValueError(
            f'{page.stem} has no cell tagged "parameters", after which the cell for the student\'s name would stand; '
            'tag the cell with `seed = 0`, or write seeds = "same" into the course file'
        )
    cell = _cell("code", personal.STUDENT_CELL, personal.student_cell(course), None)
    cell["metadata"]["tags"] = [personal.STUDENT_CELL]
    page.cells.insert(places[0] + 1, cell)


def _cell(kind: str, name: str, source: str, about: dict[str, Any] | None) -> dict[str, Any]:
    cell = {"cell_type": kind, "id": name, "metadata": {"labkit": about} if about else {}, "source": source}
    return {**cell, "execution_count": None, "outputs": []} if kind == "code" else cell
