"""Answers as a student would write them into the page: the source of a function, with what it needs standing above it.

A solution or a known wrong answer is a function of a module of exercises that uses that module's constants, helpers and
imports. Here they are gathered, so that the source stands alone in a notebook's cell.
"""

import ast
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from labkit.workbench.later import Later

EXERCISES = "labkit.exercises"
LITERALS = (bool, int, float, complex, str, bytes, type(None))


@cache
def _functions_of(module: str) -> list[ast.AST]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Lambda)]


def _node_of(function: types.FunctionType) -> ast.FunctionDef | ast.Lambda:
    """Give the tree of a function, also of a lambda among others on one line."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    found = []
    for node in _functions_of(function.__module__):
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        arguments = [a.arg for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
        if first == code.co_firstlineno and tuple(arguments) == names and _stands_at(node, code):
            found.append(node)
    if len(found) != 1:
        raise LookupError(f"{len(found)} functions stand where {function.__module__}.{function.__qualname__} should")
    return found[0]


def _stands_at(node: ast.AST, code: types.CodeType) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name == code.co_name
    begin, end = (node.body.lineno, node.body.col_offset), (node.body.end_lineno, node.body.end_col_offset)
    steps = [step for step in code.co_positions() if None not in step and step[2:] != (0, 0)]
    inside = all(begin <= (first, column) and (last, stop) <= end for first, last, column, stop in steps)
    return code.co_name == "<lambda>" and inside


def written(function: Callable, name: str, decorator: str = "") -> str:
    """Give source that defines `name` as this function; imports, constants and helpers stand above it.

    Raises:
        LookupError: if something that the function uses cannot be written down.
    """
    needed = _Needed(name)
    definition = needed.definition(function, name, decorator)
    return "\n\n".join(filter(None, ["\n".join(needed.imports), *needed.helpers, definition]))


class _Needed:
    """What the cell of one answer needs above it, gathered while functions are written down."""

    def __init__(self, name: str) -> None:
        self.taken: dict[str, Any] = {name: None}
        self.imports: list[str] = []
        self.helpers: list[str] = []

    def definition(self, function: types.FunctionType, name: str, decorator: str = "") -> str:
        function = inspect.unwrap(function)  # a test run wraps functions of labkit, to check their types
        node = _node_of(function)
        new = {used: self._provide(used, value) for used, value in _used(function)}
        if isinstance(node, ast.FunctionDef):
            new[node.name] = name
        node = _Renamed({old: now for old, now in new.items() if old != now}).visit(_copy(node))
        self._fix_defaults(node.args, function)
        if isinstance(node, ast.Lambda):
            body = [ast.Return(node.body)]
            node = ast.FunctionDef(name=name, args=node.args, body=body, decorator_list=[], type_params=[])
        node.name, node.decorator_list = name, []
        source = ast.unparse(ast.fix_missing_locations(node))
        return f"{decorator}\n{source}" if decorator else source

    def _fix_defaults(self, arguments: ast.arguments, function: types.FunctionType) -> None:
        """Defaults are worked out where a function is defined; here their values are written."""
        values = function.__defaults__ or ()
        names = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args]][-len(values) :]
        arguments.defaults = [self._default(*pair) for pair in zip(names, values, strict=False)]

    def _default(self, name: str, value: Any) -> ast.expr:
        return _expression(literal(value) if _is_literal(value) else self._provide(f"default_{name}", value))

    def _provide(self, name: str, value: Any) -> str:
        """Write down what a name stands for, once; give the name under which it is there."""
        while name in self.taken and not _same(self.taken[name], value):
            name = f"{name}_"
        if name not in self.taken:
            self.taken[name] = value
            self._write(name, value)
        return name

    def _write(self, name: str, value: Any) -> None:
        if isinstance(value, Later | types.ModuleType):
            module = value._name if isinstance(value, Later) else value.__name__
            self.imports.append(f"import {module}" + (f" as {name}" if name != module else ""))
        elif isinstance(value, types.FunctionType) and value.__module__.startswith(EXERCISES):
            self.helpers.append(self.definition(value, name))
        elif _is_literal(value):
            self.helpers.append(f"{name} = {literal(value)}")
        else:
            home, real = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
            if not home or not real or home.startswith(EXERCISES):
                raise LookupError(f"{name} = {value!r} cannot be written into a notebook")
            if home != "builtins":
                self.imports.append(f"from {home} import {real}" + (f" as {name}" if name != real else ""))
            elif name != real:
                self.helpers.append(f"{name} = {real}")


def _used(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """The names that a function takes from outside it, with what they stand for."""
    yield from (
        (name, cell.cell_contents)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    )
    seen = set()
    for name in _global_names(function.__code__):
        value = function.__globals__.get(name, function)
        if name not in seen and inspect.unwrap(value) is not function:
            seen.add(name)
            yield name, value


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names  # attributes are among them: one of an outer name's spelling is written down for nothing
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _copy(node: ast.AST) -> Any:
    return ast.parse(ast.unparse(node)).body[0] if isinstance(node, ast.FunctionDef) else _expression(ast.unparse(node))


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


class _Renamed(ast.NodeTransformer):
    def __init__(self, new: dict[str, str]) -> None:
        self.new = new

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.new.get(node.id, node.id)
        return node


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, Later) and isinstance(other, Later):
        return one._name == other._name
    return _is_literal(one) and _is_literal(other) and literal(one) == literal(other)


def _is_literal(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_literal(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return all(_is_literal(item) for item in value)
    return isinstance(value, LITERALS)


def literal(value: Any) -> str:
    """Give an expression for a number, text or collection; integers of thousands of digits in hexadecimal."""
    if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
        return f'float("{value}")'
    if isinstance(value, int) and value.bit_length() > 4000:
        return hex(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, frozenset | set):
        return f"{type(value).__name__}([{', '.join(sorted(map(literal, value)))}])"
    if isinstance(value, list | tuple):
        inside = ", ".join(map(literal, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    return repr(value)
