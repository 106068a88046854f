"""Imports of labkit on a machine that lacks packages, seen from one process: torch is loaded once, labkit many times.

`python -m tests.platforms.without torch numpy,pandas` tells which modules cannot be imported without torch, and which
without numpy and pandas, and what each of them says; without names, each package that labkit imports in turn. The
names `at-once` and `when-used` stand for all packages that some module needs to be imported, and for all others.
"""

import ast
import importlib
import json
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Blocked:
    """Stands where Python looks for files and finds nothing of some packages: neither modules nor their metadata."""

    def __init__(self, packages: Iterable[str]) -> None:
        self.packages = frozenset(packages)

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        return None if name.partition(".")[0] in self.packages else PathFinder.find_spec(name, path, target)

    def find_distributions(self, *context: object) -> Iterable[object]:
        return PathFinder.find_distributions(*context)

    def invalidate_caches(self) -> None:
        PathFinder.invalidate_caches()


@contextmanager
def lacking(packages: Iterable[str], fresh: Iterable[str] = ("labkit",)) -> Iterator[None]:
    """Hold the packages back, and forget the modules of `fresh`; afterwards all is as before."""
    packages = frozenset(packages)
    held = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in {*packages, *fresh}}
    finders, own = sys.meta_path[:], [each for each in sys.meta_path if each.__module__ == "labkit"]
    for name in held:
        del sys.modules[name]
    blocked = Blocked(packages)
    sys.meta_path[:] = [blocked if each is PathFinder else each for each in finders if each not in own]
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in {*packages, *fresh}]:
            del sys.modules[name]
        sys.modules.update(held)
        sys.meta_path[:] = finders


def refusals(modules: Iterable[str], packages: Iterable[str]) -> dict[str, str]:
    """Give what the import of each module says when it fails for want of one of the packages; others are not listed.

    What lies in a folder that cannot be imported says what the folder said: Python imports that first. Any other error
    is told with where it came from.
    """
    found = {}
    with lacking(packages):
        installing = importlib.import_module("labkit.workbench.installing")
        installing.extra_for = cache(installing.extra_for)  # it reads the metadata each time
        for name in modules:
            if (above := name.rpartition(".")[0]) in found:
                found[name] = found[above]
                continue
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                found[name] = str(error)
            except Exception:
                found[name] = traceback.format_exc(limit=-3)
    return found


def modules(package: Path) -> list[str]:
    """Give the dotted names of all modules of a package, those that run something when imported excepted."""
    names = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return [name for name in names if not name.endswith("__main__")]


@cache
def imported(package: Path) -> tuple[set[str], set[str]]:
    """Give what a package imports from elsewhere: what some module needs at once, and what is imported when used."""
    at_once, anywhere = set(), set()
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        at_once |= _from_elsewhere(node for node in tree.body)
        anywhere |= _from_elsewhere(ast.walk(tree))
    own = {package.name, *sys.stdlib_module_names}
    return at_once - own, anywhere - at_once - own


def _from_elsewhere(nodes: Iterable[ast.AST]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


def everything_loaded() -> list[str]:
    """Import all of labkit, so that whatever it needs is loaded and stays; give the names of its modules."""
    SourceFileLoader.get_code = cache(SourceFileLoader.get_code)  # each module is compiled once, however often imported
    names = modules(ROOT / "labkit")
    for name in names:
        importlib.import_module(name)
    return names


def cases(lists: list[str]) -> dict[str, dict[str, str]]:
    """Give what is refused in each case, which is a list of packages joined by commas; without any, all one by one."""
    names = everything_loaded()
    at_once, when_used = imported(ROOT / "labkit")
    known = {"at-once": at_once, "when-used": when_used}
    lists = lists or [*sorted(at_once), "when-used"]
    return {case: refusals(names, known.get(case) or case.split(",")) for case in lists}


if __name__ == "__main__":
    print(json.dumps(cases(sys.argv[1:]), indent=1))
