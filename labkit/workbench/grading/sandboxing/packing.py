"""What goes into the sandbox: the inputs of an exercise as bytes, and the names of what answers import."""

import ast
import contextlib
import pickle
import sys
from collections.abc import Iterable

__all__ = ["imports_of", "pack"]

TRUSTED = {"numpy", "torch", "labkit", "pandas", "scipy", "einops"}  # imported beforehand when an answer wants it
NOT_SENT = "labkit.exercises"
LONGEST_NAME = 100


def pack(cases: list[tuple]) -> bytes:
    """Give the inputs as bytes for `Sandbox.run`, once for a class; functions of the exercises travel whole."""
    try:
        import cloudpickle
    except ImportError:
        return pickle.dumps([pickle.dumps(case) for case in cases])
    module = sys.modules.get(NOT_SENT)
    if module is not None:
        cloudpickle.register_pickle_by_value(module)
    try:
        return pickle.dumps([cloudpickle.dumps(case) for case in cases])
    finally:
        if module is not None:
            cloudpickle.unregister_pickle_by_value(module)


def imports_of(sources: Iterable[str]) -> tuple[str, ...]:
    """Give what these sources import of NumPy, torch and labkit: it can be imported once for all of a submission."""
    found = {"numpy"}
    for source in sources:
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names if node.module == "labkit"}
                elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "labkit":
                    found.add(f"labkit.{node.attr}")
    return tuple(sorted(filter(_may_be_imported, found)))[:50]


def _may_be_imported(name: str) -> bool:
    known = name.partition(".")[0] in TRUSTED and name.isascii() and len(name) <= LONGEST_NAME
    return known and "__" not in name and not f"{name}.".startswith(NOT_SENT + ".")  # no `__main__`: that is a program
