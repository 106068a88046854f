"""Answers that are one text once names, comments and blanks are taken away: where a teacher may look, never a proof.

Short answers coincide by themselves, and so does what the page itself shows. So an answer counts only if it is long,
differs from the worked solution, and is shared by few: what many write alike is the usual way to write it.
"""

import ast
import hashlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

SMALLEST = 60  # nodes of the syntax tree; "sum over a product, divided by a length" has about 30
MOST_SHARING = 3  # what more students than this have in common is a common way to write it
LONGEST = 20_000  # characters; nobody writes as much for one exercise
UNSTARTED = ("not started", "missing", "")


@dataclass(frozen=True)
class Pair:
    """Two students, the exercises in which their answers are alike, and the size of these answers together."""

    one: str
    other: str
    exercises: tuple[str, ...]
    size: int


def alike(
    submissions: Iterable[Any], statuses: Mapping[tuple[str, str], str], solutions: Mapping[str, str]
) -> list[Pair]:
    """Give the pairs of students whose longer answers are alike up to names, most and longest first.

    `statuses` by (student, exercise) tell which answers were started; `solutions` by exercise are left out.
    """
    sharing: dict[tuple[str, str], set[str]] = defaultdict(set)
    sizes: dict[tuple[str, str], int] = {}
    forms: dict[str, tuple[str, int]] = {}  # the same text comes many times, from the page or from the solution
    shown = {exercise: form(source)[0] for exercise, source in solutions.items()}
    for submission in submissions:
        for exercise, source in submission.answers.items():
            if statuses.get((submission.student, exercise), "") in UNSTARTED:
                continue
            text, size = forms[source] = forms.get(source) or form(source)
            if size >= SMALLEST and text != shown.get(exercise):
                sharing[exercise, text].add(submission.student)
                sizes[exercise, text] = size
    found: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for key, students in sharing.items():
        if 2 <= len(students) <= MOST_SHARING:
            for pair in combinations(sorted(students), 2):
                found[pair].append((key[0], sizes[key]))
    pairs = [
        Pair(*pair, tuple(sorted({name for name, _ in same})), sum(n for _, n in same)) for pair, same in found.items()
    ]
    return sorted(pairs, key=lambda pair: (-len(pair.exercises), -pair.size, pair.one, pair.other))


def form(source: str) -> tuple[str, int]:
    """Give the normal form of an answer and its size in nodes; the form of what is small or cannot be read is ""."""
    if not SMALLEST <= len(source) <= LONGEST:  # a node takes a character
        return "", 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python says about a student's "\d" is no matter here
            tree = ast.parse(source)
        nodes = list(_without_decoration(tree))
        size = sum(not isinstance(node, ast.expr_context | ast.arguments | ast.arg) for node in nodes)
        if size < SMALLEST:
            return "", size
        tree = _Renamed(_own_names(nodes)).visit(tree)
        return hashlib.sha256(ast.dump(tree).encode("utf-8", "surrogatepass")).hexdigest(), size
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "", 0


def _without_decoration(tree: ast.Module) -> Iterator[ast.AST]:
    """Take docstrings, annotations and decorators out of a tree, and give the nodes that are left."""
    left: list[ast.AST] = [tree]
    for node in left:  # which grows
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            node.decorator_list = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(getattr(node, "body", None), list):
            node.body = [each for each in node.body if not _is_text(each)] or [ast.Pass()]
        left.extend(ast.iter_child_nodes(node))
        yield node


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _own_names(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """The names that the answer itself gives to things, numbered in the order of the tree."""
    own: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Name):
            name = node.id if isinstance(node.ctx, ast.Store | ast.Del) else None
        elif isinstance(node, ast.arg):
            name = node.arg
        else:
            name = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else None
        if name is not None:
            own.setdefault(name, f"name {len(own)}")
    return own


class _Renamed(ast.NodeTransformer):
    """The same tree with the answer's own names replaced; those of Python and of libraries stay."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self.names.get(node.arg, node.arg)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self.names.get(node.name, node.name)
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef
