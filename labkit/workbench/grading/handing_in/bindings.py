"""Which names a source binds, needs and changes, as far as its text says it; nothing is run."""

import ast
import symtable
import warnings
from collections.abc import Iterator

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (*FUNCTIONS, ast.ClassDef, ast.Lambda)
# Functions of modules that change what they are given; those of torch end in "_".
IN_PLACE = {"shuffle", "heapify", "heappush", "heappop", "insort", "fill_diagonal", "put", "copyto", "update"}


def names_in(text: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Give the names that a source binds, those it needs when it runs, and those it needs when it is called."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            top = symtable.symtable(text, "cell", "exec")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return frozenset(), frozenset(), frozenset()
    binds = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    now = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    later: set[str] = set()
    waiting = [(table, False) for table in top.get_children()]
    while waiting:
        table, called = waiting.pop()
        called = called or (table.get_type() == "function" and table.get_name() not in _AT_ONCE)
        used = {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
        (later if called else now).update(used)
        waiting += [(child, called) for child in table.get_children()]
    return frozenset(binds), frozenset(now), frozenset(later)


_AT_ONCE = {"listcomp", "setcomp", "dictcomp", "genexpr"}


def changed_by(node: ast.stmt) -> Iterator[str]:
    """Names whose value a statement changes without binding them anew: `table[1] = 2`, `stack.append(3)`, `n += 1`."""
    waiting: list[ast.AST] = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, SCOPES):
            continue
        if isinstance(part, ast.AugAssign) and isinstance(part.target, ast.Name):
            yield part.target.id
        if isinstance(part, ast.Subscript | ast.Attribute) and isinstance(part.ctx, ast.Store | ast.Del):
            yield from _base(part)
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            yield from _changed_by_call(part.value)
        waiting += ast.iter_child_nodes(part)


def _base(part: ast.expr) -> Iterator[str]:
    while isinstance(part, ast.Attribute | ast.Subscript):
        part = part.value
    if isinstance(part, ast.Name):
        yield part.id


def _changed_by_call(call: ast.Call) -> Iterator[str]:
    if isinstance(call.func, ast.Attribute):
        yield from _base(call.func)
        if call.func.attr in IN_PLACE or call.func.attr.endswith("_"):
            yield from (name for each in call.args for name in _base(each))


def set_by_calls(node: ast.stmt, needed: frozenset[str]) -> frozenset[str]:
    """Names outside of a function that it binds or changes when it is called; `needed` are all it uses of those."""
    found: set[str] = set()
    for part in ast.walk(node) if isinstance(node, FUNCTIONS) else ():
        if isinstance(part, ast.Global):
            found |= set(part.names)
        elif isinstance(part, FUNCTIONS):
            found |= {name for inner in part.body for name in changed_by(inner)} & needed
    return frozenset(found)


def called_by(node: ast.stmt) -> tuple[str, ...]:
    """The function that a statement calls by its name, as in `fill(table)`, and the names that it is given."""
    call = getattr(node, "value", None) if isinstance(node, ast.Expr | ast.Assign) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        return ()
    given = [each.id for each in call.args if isinstance(each, ast.Name)] if isinstance(node, ast.Expr) else []
    return (call.func.id, *given)


def made_by_exec(node: ast.stmt) -> frozenset[str]:
    """The names that `exec("…")` binds where its text is written out."""
    call = node.value if isinstance(node, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "exec" and call.args:
        text = call.args[0]
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            return names_in(text.value)[0]
    return frozenset()
