"""Show the tested source of a function, class or module, so that what the page shows is what runs."""

import ast
import functools
import inspect
import sys
import types
from pathlib import Path
from typing import Any

from labkit.workbench import display
from labkit.workbench.display import brief, escape

HIGHLIGHTING = "xcode"  # on the card its weakest colour still has a contrast of 4.7 to 1


def show(*objects: Any, doc: bool = True) -> None:
    """Display the source of each object, highlighted; `doc=False` leaves the docstrings out.

    Raises:
        ValueError: if an object has no Python source of its own.
    """
    if not objects:
        raise ValueError("show() has nothing to show; give it a function, a class or a module")
    sources = [source_of(shown, doc=doc) for shown in objects]
    page = "".join(source_html(text, *named(shown)) for shown, text in zip(objects, sources, strict=True))
    display.publish("\n\n".join(sources), page)


def source_of(shown: Any, doc: bool = True) -> str:
    """Give the source of a function, method, class or module, without its indentation.

    Raises:
        ValueError: if the object has no Python source of its own.
    """
    target = _defined(shown)
    try:
        source = dedent(inspect.getsource(target)).rstrip()
    except (OSError, TypeError) as error:
        raise ValueError(f"{brief(shown)} has no source that can be found; show what is defined in a file") from error
    return source if doc else without_docstrings(source)


def _defined(shown: Any) -> Any:
    if isinstance(shown, property) and shown.fget:
        return shown.fget
    if isinstance(shown, functools.cached_property):
        return shown.func
    if isinstance(shown, functools.partial):
        raise ValueError(
            f"this is a partial of {brief(shown.func)}; show the function itself: show({brief(shown.func)})"
        )
    if inspect.isbuiltin(shown) or inspect.ismethoddescriptor(shown) or isinstance(shown, types.WrapperDescriptorType):
        raise ValueError(f"{brief(shown)} is built into Python or written in C, so it has no Python source to show")
    target = inspect.unwrap(shown) if callable(shown) else shown
    if not (inspect.isroutine(target) or inspect.isclass(target) or inspect.ismodule(target)):
        kind = type(shown).__name__
        raise ValueError(f"{brief(shown)} is a value of type {kind}, which has no source; show its class: show({kind})")
    return target


def dedent(source: str) -> str:
    """Take the indentation of the first line from every line that has it (text inside a string may have less)."""
    lines = source.splitlines()
    margin = lines[0][: len(lines[0]) - len(lines[0].lstrip())] if lines else ""
    return "\n".join(line.removeprefix(margin) for line in lines)


def without_docstrings(source: str) -> str:
    """Give the source without its docstrings; a body that was nothing else becomes `...`."""
    lines = source.splitlines()
    bodies = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [
        n
        for n in ast.walk(ast.parse(source))
        if isinstance(n, bodies) and ast.get_docstring(n, clean=False) is not None
    ]
    for node in sorted(nodes, key=lambda n: -n.body[0].lineno):
        text = node.body[0]
        first, last = text.lineno - 1, text.end_lineno
        if lines[first][: text.col_offset].strip() or lines[last - 1].encode()[text.end_col_offset :].strip():
            continue  # the docstring shares its line with code
        alone = len(node.body) == 1 and not isinstance(node, ast.Module)
        lines[first:last] = [" " * text.col_offset + "..."] if alone else []
        while not alone and first < len(lines) and not lines[first].strip():
            del lines[first]
    return "\n".join(lines)


def named(shown: Any) -> tuple[str, str]:
    """Give an object's dotted name and the file it stands in, from its package on."""
    target = _defined(shown)
    if inspect.ismodule(target):
        return target.__name__, location(target)
    module = sys.modules.get(target.__module__)
    name = target.__qualname__.replace("<locals>.", "")
    if module is None or module.__name__ == "__main__":
        return name, "this notebook"
    return f"{module.__name__}.{name}", location(module)


def location(module: types.ModuleType) -> str:
    """Give the path of a module's file from its package on, as in `labkit/ngrams/smoothing.py`."""
    parts = Path(module.__file__ or module.__name__).parts
    return "/".join(parts[-len(module.__name__.split(".")) - (parts[-1] == "__init__.py") :])


def source_html(source: str, name: str, place: str) -> str:
    """Give Python source as an HTML card with a heading; all colours are inline, so it looks the same everywhere."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    code = highlight(source, PythonLexer(), HtmlFormatter(noclasses=True, nowrap=True, style=HIGHLIGHTING))
    where = f' <span style="color:{display.QUIET}">{escape(place)}</span>' if place else ""
    return (
        f'<div role="region" aria-label="source of {escape(name)}" style="border:1px solid #d0d7de;border-radius:6px;'
        f'margin:4px 0;{display.CODE}">'
        f'<div style="padding:6px 12px;border-bottom:1px solid #d0d7de;color:{display.INK}">'
        f'<strong style="color:{display.INK}">{escape(name)}</strong>{where}</div>'
        '<pre tabindex="0" style="margin:0;padding:8px 12px;border-radius:0 0 6px 6px;white-space:pre;overflow-x:auto;'
        "font-family:ui-monospace,Menlo,Consolas,monospace;"
        f'line-height:1.4;font-size:13px;{display.CODE}">{code}</pre></div>'
    )
