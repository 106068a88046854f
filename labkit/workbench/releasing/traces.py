"""What a solution is known again by: its statements, the expressions that tell it, its docstring, its number."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from labkit.workbench.marking import Exercise
from labkit.workbench.releasing import forms
from labkit.workbench.showing import source_of

# Expressions that the pages teach before they ask for them: only the whole body of these solutions is a leak.
TAUGHT = {
    "transformer.shift_targets": "every training step of the course is called with these two parts of a row",
    "compression.fake_quantize": "its slope is measured before the learner writes it",
    "ngrams.three_discounts": "equation (11) is checked against the library that uses it",
}
BARE = 8  # signs that the expression of a one-line solution must have to be known without its `return`
PIECE = 16  # signs that one statement of a longer solution must have to be known alone
DOCSTRING = 40  # characters
VALUE = 10_000  # smaller numbers stand on every page
START = 3  # signs by which a form is looked up


@dataclass(frozen=True)
class Trace:
    """How one exercise's solution is known again: its body of `length` statements, expressions that tell, its words."""

    exercise: str
    bodies: frozenset[forms.Form]
    expressions: frozenset[forms.Form]
    length: int
    docstring: str = ""
    number: str = ""


class Traces:
    """The traces of many exercises, ready to be looked up in code and in texts."""

    def __init__(self, exercises: Iterable[Exercise]) -> None:
        self.all = [trace for trace in map(trace_of, exercises) if trace is not None]
        self.lengths = {trace.length for trace in self.all}
        self.docstrings = {trace.docstring: trace.exercise for trace in self.all if trace.docstring}
        self.numbers = {trace.number: trace.exercise for trace in self.all if trace.number}
        self.exact: dict[forms.Form, set[str]] = defaultdict(set)
        self.starts: dict[tuple[str, ...], list[tuple[forms.Form, list[str], str, bool]]] = defaultdict(list)
        for trace in self.all:
            for form in trace.bodies | trace.expressions:
                self.exact[form].add(trace.exercise)
                if len(form) >= START:
                    blurred = forms.blurred_form(form)
                    self.starts[tuple(blurred[:START])].append((form, blurred, trace.exercise, form in trace.bodies))

    def in_tokens(self, found: list[str], bodies_only: bool) -> set[str]:
        """Give the exercises whose forms stand in a row of tokens, whatever names it uses."""
        blurred = forms.blurred(found)
        hits = {self.numbers[each] for each in found if each in self.numbers}
        for place in range(len(found) - START + 1):
            for form, wanted, exercise, is_body in self.starts.get(tuple(blurred[place : place + START]), ()):
                end = place + len(form)
                may_be = (is_body or not bodies_only) and blurred[place:end] == wanted
                if may_be and forms.numbered(found[place:end]) == form:
                    hits.add(exercise)
        return hits


def trace_of(exercise: Exercise) -> Trace | None:
    """Give what a solution is known again by; None when it has no source."""
    try:
        written = source_of(exercise.solution)
        function = ast.parse(written).body[0]
    except (ValueError, SyntaxError):
        return None
    if not isinstance(function, ast.FunctionDef):
        return None
    docstring = " ".join((ast.get_docstring(function) or "").split())
    body = forms.without_words(function).body
    raw = "\n".join(ast.get_source_segment(written, node) or "" for node in body)
    return Trace(
        exercise=exercise.id,
        bodies=frozenset({forms.form(forms.code_of(body)), forms.form(forms.COMMENT.sub("", raw))}),
        expressions=frozenset() if exercise.id in TAUGHT else frozenset(_telling(body, exercise, written)),
        length=len(body),
        docstring=docstring if len(docstring) >= DOCSTRING else "",
        number=_number(exercise),
    )


def _telling(body: list[ast.stmt], exercise: Exercise, written: str) -> Iterator[forms.Form]:
    """Give the forms that tell a solution without its `return`: its body with the end as a value, long statements."""
    least = 3 if exercise.kind == "value" else BARE
    for text in (reduced(body), *_as_written(body, written)):
        if len(form := forms.form(text)) >= least:
            yield form
    for node in (node for statement in body for node in ast.walk(statement)):
        value = getattr(node, "value", None) if isinstance(node, ast.stmt) else None
        if isinstance(value, ast.expr) and len(form := forms.form(forms.code_of(value))) >= PIECE:
            yield form


def _as_written(body: list[ast.stmt], written: str) -> Iterator[str]:
    """Give the expression of a one-line solution with the brackets that Python does not need."""
    if len(body) == 1 and isinstance(body[0], ast.Return):
        yield (ast.get_source_segment(written, body[0]) or "").removeprefix("return").strip()


def reduced(body: list[ast.stmt]) -> str:
    """Give statements as code, the last one reduced to its value: `return x`, `y = x` and `x` are one."""
    *before, last = body
    ends = ast.Return | ast.Assign | ast.AnnAssign | ast.Expr
    value = last.value if isinstance(last, ends) else None
    return forms.code_of([*before, last if value is None else value])


def _number(exercise: Exercise) -> str:
    """Give the number that answers a question, as its token, where it is one that does not stand on every page."""
    if exercise.kind != "value" or exercise.cases is not None:
        return ""
    value = exercise.solution()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return forms.tokens(str(value))[-1] if is_number and abs(value) >= VALUE else ""
