"""Where a cell answers an exercise: `@labkit.check("id")` over a function, or `labkit.check("id", value)`."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from labkit.workbench.grading.handing_in.bindings import names_in
from labkit.workbench.grading.handing_in.sources import Source, text_of, without_decorators

ID = re.compile(r"[a-z_]+\.[a-z0-9_]+")
NO_CHECKS = {"hint", "solution", "given", "points", "seed_for", "claim", "show", "print", "explore"}
IN_TEXT = re.compile(r"""check\(\s*(?:exercise\s*=\s*)?["']([a-z_]+\.[a-z0-9_]+)["']""")


@dataclass(frozen=True)
class Check:
    """One answer as it stands in a cell: the source that defines it, the expression that gives it, its statement.

    `hole` says that it is still empty. `node` is the number of the statement in its cell.
    """

    exercise: str
    kind: str
    source: str
    name: str
    hole: bool
    node: int


def is_check(node: ast.AST) -> bool:
    """Tell whether an expression is a call of `check` with the id of an exercise."""
    return isinstance(node, ast.Call) and exercise_of(node) is not None


def _is_like_a_check(node: ast.expr) -> bool:
    """Whether a decorator is a check, also one whose id is misspelt, in a variable or left out."""
    called = node.func if isinstance(node, ast.Call) else node
    return is_check(node) or "check" in (getattr(called, "attr", ""), getattr(called, "id", ""))


def exercise_of(call: ast.Call) -> str | None:
    """Give the id of the exercise that a call checks, whatever `check` is called there; None if it checks none."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if called in NO_CHECKS or not called:
        return None
    first = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "exercise"), None)
    named = isinstance(first, ast.Constant) and isinstance(first.value, str) and ID.fullmatch(first.value)
    return first.value if named else None


def checks_in(source: Source) -> list[Check]:
    """Give every answer that a cell checks, in order."""
    found = []
    for number, node in enumerate(source.tree.body):
        for inner in _statements(node):
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                here = _decorated(inner, source, number)
            else:
                here = _called(inner, source, number)
            found += [one if inner is node else _with_what_is_around(one, inner, source) for one in here]
    return found


def _with_what_is_around(check: Check, inner: ast.stmt, source: Source) -> Check:
    """An answer inside an `if`, `for` or `try`: together with all of it where it uses what else is bound in there."""
    node = source.tree.body[check.node]
    _, now, later = names_in(check.source)
    bound = names_in(text_of(node, source))[0] - {getattr(inner, "name", "")}
    if not (now | later) & bound:
        return check
    first = node.lineno
    lines = text_of(node, source).split("\n")
    if check.kind == "function":
        gone = [each for each in inner.decorator_list if is_check(each)]
        spans, stand_in = [(each.lineno, each.end_lineno) for each in gone], ""
        name = inner.name
    else:
        spans, stand_in = [(inner.lineno, inner.end_lineno)], " " * inner.col_offset + "pass"
        name = check.source.partition(" = ")[2] if check.name == "answer" else check.name
    for begin, end in spans:
        lines[begin - first : end - first + 1] = [stand_in] + [""] * (end - begin)
    return replace(check, source="\n".join(lines), name=name)


def _statements(node: ast.stmt) -> Iterator[ast.stmt]:
    """A statement and those inside its `if`, `with`, `for` and `try`, not those inside functions."""
    yield node
    if isinstance(node, ast.If | ast.With | ast.For | ast.While | ast.Try):
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.stmt):
                yield from _statements(part)
            elif isinstance(part, ast.ExceptHandler):
                for inner in part.body:
                    yield from _statements(inner)


def _decorated(node: ast.stmt, source: Source, number: int) -> Iterator[Check]:
    unwanted = [each for each in node.decorator_list if is_check(each)]
    for each in unwanted:
        text = without_decorators(node, text_of(node, source), unwanted)
        yield Check(exercise_of(each), "function", text, node.name, is_hole(node), number)


def _called(node: ast.stmt, source: Source, number: int) -> Iterator[Check]:
    call = node.value if isinstance(node, ast.Expr | ast.Assign) else None
    if not isinstance(call, ast.Call):
        return
    if isinstance(call.func, ast.Call) and is_check(call.func) and len(call.args) == 1:  # check("id")(answer)
        yield _of_value(exercise_of(call.func), call.args[0], source, number)
    elif is_check(call):
        values = [*call.args[1:2], *(k.value for k in call.keywords if k.arg == "value")]
        if values:
            yield _of_value(exercise_of(call), values[0], source, number)


def _of_value(exercise: str, value: ast.expr, source: Source, number: int) -> Check:
    text = ast.get_source_segment(source.text, value) or "..."
    if not isinstance(value, ast.Name):
        return Check(exercise, "value", f"answer = ({text})" if "\n" in text else f"answer = {text}", "answer",
                     _is_dots(value), number)  # fmt: skip
    made = [node for node in source.tree.body[:number] if _binds(node, value.id)]
    if (
        made
        and all(isinstance(node, ast.Assign) for node in made)
        and not _mutated(source.tree.body[:number], value.id)
    ):
        last = made[-1]
        return Check(
            exercise, "value", text_of(last, source), value.id, _is_dots(last.value), source.tree.body.index(last)
        )
    if len(made) == 1 and isinstance(made[0], ast.FunctionDef):
        place = source.tree.body.index(made[0])
        return Check(exercise, "value", text_of(made[0], source), value.id, is_hole(made[0]), place)
    return Check(exercise, "value", f"answer = {value.id}", "answer", False, number)


def _binds(node: ast.stmt, name: str) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name == name
    return any(isinstance(p, ast.Name) and p.id == name and isinstance(p.ctx, ast.Store) for p in ast.walk(node))


def _mutated(body: Iterable[ast.stmt], name: str) -> bool:
    """Whether a name is a list or so that another statement fills."""
    parts = (part for node in body for part in ast.walk(node))
    return any(
        isinstance(part, ast.Subscript | ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == name
        for part in parts
    )


def is_hole(node: ast.AST) -> bool:
    """Tell whether a function is still empty: nothing but `...`, `pass`, a docstring or a `return` of nothing."""
    body = getattr(node, "body", None)
    return isinstance(body, list) and all(_says_nothing(each) for each in body)


def _says_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Return):
        return node.value is None or _is_dots(node.value)
    return isinstance(node, ast.Pass)


def _is_dots(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _bound(source: Source, hole: Check, anything: bool) -> Check | None:
    """What binds the name of an exercise in a cell, the last that is no hole: a function, a class, `name = lambda …`.

    `anything` takes other values too, as in `name = partial(other, 2)` or `name = other`.
    """
    kinds, name = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, hole.name
    made = [
        (node, number)
        for number, node in enumerate(source.tree.body)
        if (isinstance(node, kinds) or _gives_a_function(node, anything)) and _binds(node, name)
    ]
    begun = [each for each in made if not is_hole(each[0]) and not _is_dots(getattr(each[0], "value", None))]
    return _unchecked(*(begun or made)[-1], source, hole, name) if made else None


def _gives_a_function(node: ast.stmt, anything: bool) -> bool:
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return False
    return isinstance(node.value, ast.Lambda | ast.Call | ast.Name if anything else ast.Lambda)


def _a_function(source: Source, hole: Check) -> Check | None:
    """The last function in the cell of an exercise, whatever it is called; one that is no hole if there is one."""
    made = [(node, n) for n, node in enumerate(source.tree.body) if isinstance(node, ast.FunctionDef)]
    begun = [each for each in made if not is_hole(each[0])]
    return _unchecked(*(begun or made)[-1], source, hole, (begun or made)[-1][0].name) if made else None


def _unchecked(node: ast.stmt, number: int, source: Source, hole: Check, name: str) -> Check:
    unwanted = [each for each in getattr(node, "decorator_list", []) if _is_like_a_check(each)]
    text = without_decorators(node, text_of(node, source), unwanted)
    hollow = is_hole(node) or _is_dots(getattr(node, "value", None))
    return Check(hole.exercise, "function", text, name, hollow, number)


def unchecked(source: Source, hole: Check, name: str) -> Check | None:
    """Give what answers an exercise in a cell whose line with `check` is gone, or None."""
    if hole.kind == "function":
        return _bound(source, hole, anything=not name) or (_a_function(source, hole) if not name else None)
    made = [node for node in source.tree.body if isinstance(node, ast.Assign) and _binds(node, hole.name)]
    if not made:
        return None
    last = made[-1]
    place = source.tree.body.index(last)
    return Check(hole.exercise, "value", text_of(last, source), hole.name, _is_dots(last.value), place)
