"""The answers of one notebook: found by cell, by the line with `check`, and by name; nothing is run."""

import ast
from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from labkit.workbench.grading.handing_in.answercells import IN_TEXT, Check, checks_in, is_check, unchecked
from labkit.workbench.grading.handing_in.bindings import names_in
from labkit.workbench.grading.handing_in.definitions import STEP, definitions_of
from labkit.workbench.grading.handing_in.handedout import Page, tags, typed_student
from labkit.workbench.grading.handing_in.matching import Matched, Placed, match
from labkit.workbench.grading.handing_in.reading import Notebook
from labkit.workbench.grading.handing_in.sources import Broken, Source, python_of, text_of, unfenced
from labkit.workbench.grading.handing_in.submissions import Definition, Found
from labkit.workbench.personal import STUDENT_CELL

MOST_NOTES = 30


@dataclass
class _Reader:
    """The cells of one notebook as they are read, one after the other."""

    page: Page
    notes: list[str]
    sites: dict[str, list[tuple[Check, int]]] = field(default_factory=lambda: defaultdict(list))
    broken: dict[str, str] = field(default_factory=dict)
    untouched: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    texts: dict[str, str] = field(default_factory=dict)
    own: list[tuple[int, str, Source]] = field(default_factory=list)
    definitions: list[Definition] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    future: str = ""

    def read(self, placed: list[Placed]) -> None:
        """Read every cell; a cell that is only a decorator is read together with the next one."""
        rest = ""
        for position, each in enumerate(placed):
            if not each.own:
                self._course(each, position)
            elif each.cell.kind == "code":
                rest = self._own(rest, each, position, self._next_code(placed, position))
            elif each.released is None or each.released.kind == "code":
                self._text(each, position)

    def _next_code(self, placed: list[Placed], position: int) -> bool:
        return any(each.own and each.cell.kind == "code" for each in placed[position + 1 :])

    def _course(self, each: Placed, position: int) -> None:
        """A cell of the course counts as it was handed out; what the student made of it is only remembered."""
        known = self.page.definitions.get(each.released.id, [])
        if each.released.id not in self.page.exercises.values():
            self.definitions += [replace(one, position=position * STEP + one.position % STEP) for one in known]
        if each.cell is not None and each.cell.kind == "code" and each.cell.source != each.released.source:
            bound = frozenset().union(*(one.binds for one in known)) if known else frozenset()
            self.lost.update(dict.fromkeys(names_in(each.cell.source)[0] - bound, each.released.id))

    def _own(self, before: str, each: Placed, position: int, more: bool) -> str:
        """Read a cell of the student's; give the decorator that belongs to the next cell, or ""."""
        text = each.cell.source
        called = each.released.id if each.released else each.cell.id or f"cell {position + 1}"
        try:
            source = python_of(f"{before}\n{text}" if before else text)
        except Broken as problem:
            if more and not before and _is_only_a_decorator(text):
                self.notes.append(f"the cell `{called}` is only a decorator; it was read together with the next cell")
                return text
            self._broken(f"{before}\n{text}", each, str(problem))
            return ""
        self.notes += [f"in the cell `{called}`: {note}" for note in source.notes]
        self._take(source, called, position)
        return ""

    def _take(self, source: Source, called: str, position: int) -> None:
        self.future = self.future or _future_of(source)
        for check in checks_in(source):
            if check.exercise in self.page.exercises:
                self.sites[check.exercise].append((check, position))
            elif check.exercise in IN_TEXT.findall(source.text):
                self.notes.append(f"`{check.exercise}` is no exercise of this notebook; it was not read")
        self.own.append((position, called, source))
        self.definitions += definitions_of(source, position, called, own=True, is_check=is_check, future=self.future)

    def _broken(self, text: str, each: Placed, problem: str) -> None:
        here = set(IN_TEXT.findall(text))
        if each.released:
            here |= {exercise for exercise, cell in self.page.exercises.items() if cell == each.released.id}
        for exercise in sorted(here & self.page.exercises.keys()):
            self.broken[exercise], self.texts[exercise] = problem, text.strip("\n")
        if not here:
            called = f"`{each.cell.id}`" if each.cell.id else "without an id"
            self.notes.append(f"the cell {called} cannot be read as Python ({problem}); it was left out")

    def _text(self, each: Placed, position: int) -> None:
        """An answer that stands in a cell of text, by mistake."""
        text = unfenced(each.cell.source)
        here = [exercise for exercise in IN_TEXT.findall(text) if exercise in self.page.exercises]
        if not here and not (each.released and each.released.id in self.page.exercises.values()):
            return
        called = each.released.id if each.released else each.cell.id
        try:
            self._take(python_of(text), called, position)
        except Broken as problem:
            self._broken(text, each, str(problem))
        self.notes.append(f"the cell `{called}` is a cell of text and not of code; it was read as code")


def _future_of(source: Source) -> str:
    """The import from __future__ of a cell, which holds for all that follows, as in a kernel."""
    nodes = (node for node in source.tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__")
    return next((f"{text_of(node, source)}\n" for node in nodes), "")


def _is_only_a_decorator(text: str) -> bool:
    lines = [line for line in text.strip().split("\n") if line.strip() and not line.lstrip().startswith("#")]
    return bool(lines) and lines[-1].startswith("@")


def extract(notebook: Notebook, page: Page, questions: Any = ()) -> Found:
    """Find every answer of a notebook: by id, by the line with `check`, by name; nothing is run."""
    matched = match(notebook.cells, page)
    reader = _Reader(page, [*notebook.notes, *matched.notes])
    reader.read(matched.placed)
    found = Found(lost=reader.lost, typed=_typed(matched))
    for exercise in page.exercises:
        _settle(exercise, reader, matched, found)
    words = _words(matched, page, dict(questions) or page.questions, reader.notes)
    return replace(
        found,
        untouched=frozenset(reader.untouched),
        missing=frozenset(reader.missing),
        words=words,
        definitions=tuple(sorted(reader.definitions, key=lambda one: one.position)),
        notes=tuple(dict.fromkeys(reader.notes))[:MOST_NOTES],
    )


def _settle(exercise: str, reader: _Reader, matched: Matched, found: Found) -> None:
    """Decide which of the places that answer an exercise counts."""
    sites = reader.sites.get(exercise, [])
    begun = [site for site in sites if not site[0].hole]
    if len(begun) > 1:
        reader.notes.append(f"`{exercise}` is answered {len(begun)} times; the last answer counts")
    chosen = begun[-1] if begun else None
    if chosen is None and exercise not in reader.broken:
        chosen = _without_check(exercise, reader, matched) or (sites[-1] if sites else None)
    if chosen is not None:
        if begun and exercise in reader.broken:
            reader.notes.append(
                f"another cell with `{exercise}` is no Python ({reader.broken[exercise]}); it was left out"
            )
        check, position = chosen
        found.answers[exercise], found.names[exercise] = reader.future + check.source, check.name
        found.places[exercise] = position * STEP + check.node
        reader.untouched |= {exercise} if check.hole else set()
    elif exercise in reader.broken:
        found.answers[exercise], found.names[exercise] = reader.texts[exercise], reader.page.holes[exercise].name
        found.troubles[exercise] = f"the cell is no Python: {reader.broken[exercise]}"
    else:
        reader.missing.add(exercise)
        cell = reader.page.exercises[exercise]
        was = "was deleted" if cell in matched.deleted else "answers it no more"
        reader.notes.append(f"`{exercise}` is missing: its cell `{cell}` {was}")


def _without_check(exercise: str, reader: _Reader, matched: Matched) -> tuple[Check, int] | None:
    """An answer whose line with `check` is gone: in its own cell, or a function of the same name in another one."""
    hole, cell = reader.page.holes[exercise], reader.page.exercises[exercise]
    checked = {(position, check.node) for sites in reader.sites.values() for check, position in sites}
    home, elsewhere = [], []
    for position, called, source in reader.own:
        at_home = called == cell
        if not at_home and hole.kind == "value":
            continue
        check = unchecked(source, hole, "" if at_home else hole.name)
        if check and not check.hole and (position, check.node) not in checked:
            (home if at_home else elsewhere).append((check, position))
    if not home and not elsewhere:
        return None
    where = "" if home else " and stands in another cell"
    chosen = (home or elsewhere)[-1]
    how = "it was found by its name" if chosen[0].name == hole.name else f"`{chosen[0].name}` was taken for it"
    reader.notes.append(f"the answer to `{exercise}` has lost its line with check{where}; {how}")
    return chosen


def _typed(matched: Matched) -> str:
    for each in reversed(matched.placed):  # of two cells the last one counts
        if each.cell is not None and (each.cell.id == STUDENT_CELL or STUDENT_CELL in tags(each.cell)):
            return typed_student(each.cell.source)
    return ""


def _words(matched: Matched, page: Page, questions: dict[str, str], notes: list[str]) -> dict[str, str]:
    found = {}
    for question, cell_id in questions.items():
        placeholder = page.by_id[cell_id].source.strip() if cell_id in page.by_id else ""
        text = next((e.cell.source for e in matched.placed if e.cell and e.cell.id == cell_id), None)
        if text is None:
            text = _after_its_question(matched, f"question-{question}", cell_id)
        if text is None and cell_id in page.by_id:
            notes.append(f"the cell for the answer to the question `{question}` was deleted")
        text = (text or "").strip()
        found[question] = text.removeprefix(placeholder).strip() if placeholder else text
    return found


def _after_its_question(matched: Matched, asked: str, cell_id: str) -> str | None:
    """The text in the cell below a question, where ids were lost."""
    there = [each for each in matched.placed if each.cell is not None]
    for each, after in pairwise(there):
        if each.released is not None and each.released.id == asked:
            known = after.released.id if after.released else cell_id
            return after.cell.source if known == cell_id else None
    return None
