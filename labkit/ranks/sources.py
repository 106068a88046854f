"""The source of a function of a notebook, with all that it uses from there: what a script needs that stands alone."""

import ast
import builtins
import contextlib
import inspect
import linecache
import symtable
import sys
import textwrap
import types
from typing import Any

__all__ = ["Script", "literal"]


class Script:
    """Imports, and the source of functions, classes and variables, each after those that it uses.

    Args:
        ours: names that the script imports from `labkit.ranks`.
    """

    def __init__(self, *ours: str) -> None:
        self._imports, self._sources = {f"from labkit.ranks import {', '.join(ours)}"}, {}
        self._known: dict[str, Any] = {}

    def add(self, fn: Any) -> str:
        """Take up a function or class with all that it uses; gives the name that it has in the script.

        Raises:
            ValueError: if something cannot be written as source; it is named.
        """
        name = getattr(fn, "__name__", "")
        inner = inspect.unwrap(fn) if callable(fn) else fn
        if (
            not name.isidentifier()
            or getattr(inner, "__closure__", None)
            or "<locals>" in getattr(inner, "__qualname__", "")
        ):
            named = getattr(fn, "__qualname__", repr(fn))
            raise ValueError(f"{named} cannot be a script: define it with a name, outside of any function")
        self._gather(name, fn)
        return name

    def text(self) -> str:
        """The script so far."""
        return "\n".join(sorted(self._imports)) + "\n\n" + "\n\n".join(self._sources.values()) + "\n"

    def _gather(self, name: str, what: Any) -> None:
        """The source of a function or class, after that of all that it uses."""
        if name in self._known:
            if self._known[name] is not what:
                raise ValueError(f"two different things are called {name!r}, which a script cannot hold: rename one")
            return
        self._known[name] = what  # it may use itself
        inner = inspect.unwrap(what)
        source = _source(inner, name)
        scope = sys.modules[inner.__module__].__dict__ if isinstance(inner, type) else inner.__globals__
        for other in sorted(_globals(source) & scope.keys()):
            if scope[other] is not getattr(builtins, other, None) and not other.startswith("__"):
                self._need(other, scope[other], inner)
        self._sources[name] = source + "\n"

    def _need(self, name: str, what: Any, user: Any) -> None:
        """One variable that a function uses: an import, source, or a line that sets it."""
        inner = inspect.unwrap(what) if callable(what) else what
        if isinstance(what, types.ModuleType):
            self._imports.add(f"import {what.__name__}" + (f" as {name}" if name != what.__name__ else ""))
        elif isinstance(inner, types.FunctionType | type) and inner.__module__ == user.__module__:
            own = name if inner.__name__ == "<lambda>" else inner.__name__
            self._gather(own, what)
            if own != name:
                self._sources[name] = f"{name} = {own}\n"
        elif found := _home(what, name, user.__module__):
            self._imports.add(f"from {found[0]} import {found[1]}" + (f" as {name}" if name != found[1] else ""))
        else:
            self._sources[name] = f"{name} = {literal(f'the variable {name!r} of {user.__name__}', what)}\n"


def literal(which: str, what: Any) -> str:
    """A number, text, or a list, tuple, set or dictionary of such, as source.

    Raises:
        ValueError: for anything else.
    """
    with contextlib.suppress(ValueError, SyntaxError):
        if ast.literal_eval(repr(what)) == what:
            return repr(what)
    kind = type(what).__qualname__
    raise ValueError(f"{which} is a {kind}, which a script cannot hold: make it inside of the function")


def _globals(source: str) -> set[str]:
    """The names that a piece of source looks up outside of itself; a local variable of the same name is none."""
    tables, names = [symtable.symtable(source, "cell", "exec")], set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        top = table.get_type() == "module"
        names |= {one.get_name() for one in table.get_symbols() if one.is_referenced() and (top or one.is_global())}
    return names


def _home(what: Any, name: str, here: str) -> tuple[str, str] | None:
    """From which module others can import it, and under which name there."""
    own = getattr(what, "__name__", name)
    first = getattr(what, "__module__", None)
    modules = [first] if isinstance(first, str) else []
    if callable(what):  # as torch.ones and numpy.exp, which do not say where they are from
        modules += sorted(sys.modules, key=lambda one: (one.count("."), len(one), one))
    for module in modules:
        for known in (own, name):
            if module not in (here, "__main__") and getattr(sys.modules.get(module), "__dict__", {}).get(known) is what:
                return module, known
    return None


def _source(what: Any, name: str) -> str:
    """The lines that define a function or class, with its decorators.

    Raises:
        ValueError: where they are not known, or are not a definition of that name.
    """
    try:
        source = textwrap.dedent(inspect.getsource(what)).rstrip()
    except (OSError, TypeError):
        source = _in_a_cell(what) if isinstance(what, type) else ""
    if not source:
        raise ValueError(f"the source of {name} is not known: define it in a cell or a file")
    with contextlib.suppress(SyntaxError):
        (found,) = ast.parse(source).body or [None]
        targets = found.targets if isinstance(found, ast.Assign) else [found]
        if [getattr(one, "name", getattr(one, "id", None)) for one in targets] == [name]:
            return source
    raise ValueError(f"{name} cannot be in a script: define it with def, outside of any function")


def _in_a_cell(what: type) -> str:
    """The lines of a class of a notebook, which `inspect` looks for in a file that is not there."""
    codes = [getattr(inspect.unwrap(one), "__code__", None) for one in vars(what).values() if callable(one)]
    first = [code.co_filename for code in codes if code is not None]
    for file in [*first, *reversed(linecache.cache)]:
        lines = linecache.cache[file][2] if len(linecache.cache.get(file, ())) > 2 else []
        if f"class {what.__name__}" not in "".join(lines):
            continue
        with contextlib.suppress(SyntaxError):
            for node in ast.parse("".join(lines)).body:
                if isinstance(node, ast.ClassDef) and node.name == what.__name__:
                    begin = min(one.lineno for one in [node, *node.decorator_list])
                    return "".join(lines[begin - 1 : node.end_lineno]).rstrip()
    return ""
