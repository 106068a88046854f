"""The gate of a release: does a solution stand anywhere in a notebook that is handed out?

What counts as a leak:

- in the cell of an exercise: anything but its hole;
- anywhere (code, comments, strings, texts, outputs, attachments, metadata): the statements of a solution one after the
  other, whatever the names, blanks, comments and docstrings; the expression of a solution of one line, if it is
  longer than a few signs; any long statement of a longer solution; its docstring; the number that answers a question.

What is not: a definition of the package, word for word, in an output (this is what `show` displays: the lesson), and
formulas of the lesson that are only like an answer. Three expressions are taught by the pages themselves before they
are asked for; `traces.TAUGHT` names them, and for them only the whole body of the solution is a leak.
"""

import ast
import functools
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from labkit.workbench.marking import Exercise
from labkit.workbench.notebooks import code_cells
from labkit.workbench.releasing import answer_cells, forms, places
from labkit.workbench.releasing.traces import Traces, reduced

PACKAGE = Path(__file__).parents[2]
SHORTEST = 8  # characters of a text that could hold anything


def leaks(notebook: Mapping[str, Any], exercises: Iterable[Exercise]) -> list[str]:
    """Give one sentence for each place where a solution stands, with cell and exercise; an empty list means none."""
    exercises = tuple(exercises)
    traces = _traces(exercises)
    trees = (parsed(cell["source"]) for cell in code_cells(notebook))
    aliases = forms.aliases_in(tree for tree in trees if tree is not None)
    found = dict.fromkeys(_filled_holes(notebook, exercises))
    looked_at: dict[tuple[str, bool], list[str]] = {}
    said: set[tuple[str, str]] = set()
    for where, text, is_code in places.texts(notebook):
        if len(text) < SHORTEST:
            continue
        if (text, is_code) not in looked_at:
            looked_at[text, is_code] = sorted(_solutions_in(text, is_code, traces, aliases))
        hits = looked_at[text, is_code]
        if hits and where.endswith("(outputs)"):
            hits = sorted(_solutions_in(_without_package(text), is_code, traces, aliases))
        for exercise in hits:
            if (exercise, where.partition(" (")[0]) not in said:  # one sentence for a cell is enough
                said.add((exercise, where.partition(" (")[0]))
                found[f"the solution of {exercise!r} stands in {where}"] = None
    return list(found)


@functools.lru_cache(maxsize=4)
def _traces(exercises: tuple[Exercise, ...]) -> Traces:
    return Traces(exercises)


def _filled_holes(notebook: Mapping[str, Any], exercises: tuple[Exercise, ...]) -> Iterator[str]:
    known = {exercise.id: exercise for exercise in exercises}
    for cell in code_cells(notebook):
        where = f"cell {cell.get('id')!r}"
        for name in answer_cells.asked(cell["source"]):
            try:
                if name in known and not answer_cells.answer_cell(cell["source"], known[name]).is_empty:
                    yield f"the hole of {name!r} in {where} is filled"
            except ValueError as error:
                yield f"{where}: {error}"


def _solutions_in(text: str, is_code: bool, traces: Traces, aliases: dict[str, str]) -> set[str]:
    """Give the ids of the exercises whose solution stands in a text."""
    words = " ".join(text.split())
    found = {exercise for docstring, exercise in traces.docstrings.items() if docstring in words}
    whole = parsed(text) if is_code else None
    trees = [whole] if whole is not None else [tree for block in places.blocks(text) if (tree := parsed(block))]
    for form in (form for tree in trees for form in _forms_of(tree, traces.lengths, aliases)):
        found |= traces.exact.get(form, set())
    for variant in places.variants(text):
        # Where code was parsed, an expression is looked for in its tree: two arguments side by side are no pair.
        found |= traces.in_tokens(forms.tokens(variant, aliases), bodies_only=whole is not None)
    return found


def parsed(source: str) -> ast.Module | None:
    """Give the tree of a piece of code without docstrings and annotations; None when it is not Python."""
    try:
        return forms.without_words(ast.parse(textwrap.dedent(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _forms_of(tree: ast.AST, lengths: set[int], aliases: dict[str, str]) -> Iterator[forms.Form]:
    """Give the forms of all expressions, and of all statements in a row, of a piece of code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and not isinstance(node, ast.Name | ast.Constant):
            yield forms.form(forms.code_of(node), aliases)
            if isinstance(node, ast.Lambda):
                yield forms.form("return " + forms.code_of(node.body), aliases)
        for block in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            if isinstance(block, list):
                yield from _rows(block, lengths, aliases)


def _rows(block: list[ast.stmt], lengths: set[int], aliases: dict[str, str]) -> Iterator[forms.Form]:
    whole = [forms.tokens(forms.code_of(statement), aliases) for statement in block]
    ends = [forms.tokens(reduced([statement]), aliases) for statement in block]
    for length in lengths:
        for start in range(len(block) - length + 1):
            *before, last = range(start, start + length)
            row = [token for place in before for token in whole[place]]
            yield forms.numbered(row + whole[last])
            yield forms.numbered(row + ends[last])


def _without_package(text: str) -> str:
    """Give an output without the definitions that stand in the package word for word: `show` displayed them."""
    plain = places.plain(text)
    for block in places.definitions(plain):
        tree = parsed(block)
        if tree is not None and forms.code_of(tree) in _package():
            plain = plain.replace(block, "")
    return plain


@functools.lru_cache(maxsize=1)
def _package() -> frozenset[str]:
    """Give every function and class of the package but the exercises, as code without docstrings and annotations."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if "exercises" not in path.relative_to(PACKAGE).parts:
            tree = parsed(path.read_text(encoding="utf-8"))
            definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            nodes = ast.walk(tree) if tree is not None else ()
            for node in (node for node in nodes if isinstance(node, definitions)):
                found.add(forms.code_of(node))
                node.decorator_list = []
                found.add(forms.code_of(node))
    return frozenset(found)
