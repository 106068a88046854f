"""Normal forms of code: what is left of a solution without its names, blanks, comments, docstrings and notation."""

import ast
import builtins
import keyword
import re
from collections.abc import Iterable

TOKEN = re.compile(
    r"[^\W\d]\w*|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?"
    r"|\*\*=|//=|>>=|<<=|\*\*|//|>>|<<|[-+*/%@&|^<>=!:]=|->"
    r"|\.\.\.|\.(?=[^\W\d])|[-+*/%@&|^~<>=()\[\]{},:;]"  # the dot that ends a sentence is none
)
BUILTIN = {*dir(builtins), *keyword.kwlist, "self"}
# Before a dot these are a way to write an import, not a part of the answer: torch.exp, np.exp and exp are one.
LIBRARIES = {"math", "np", "numpy", "torch", "F", "functional", "nn", "itertools", "collections", "labkit"}
BEFORE_A_LINE = re.compile(r"^[ \t]*(?:>>>|\.\.\.|[>+|]+|\d+[:|.)]?)[ \t]", re.MULTILINE)
COMMENT = re.compile(r"#[^\n]*")
NAME = "N"
Form = tuple[str, ...]  # tokens with their free names numbered


def tokens(text: str, aliases: dict[str, str] | None = None) -> list[str]:
    """Give the tokens of a text as code; quotes, blanks and line ends are none, numbers are written one way.

    >>> tokens("return np.exp(x)*1_000")
    ['return', 'exp', '(', 'x', ')', '*', '1000.0']
    """
    found = [(aliases or {}).get(each, each) for each in TOKEN.findall(text)]
    kept: list[str] = []
    skip = 0
    for place, each in enumerate(found):
        if skip:
            skip -= 1
        elif each in LIBRARIES and found[place + 1 : place + 2] == ["."] and kept[-1:] != ["."]:
            skip = 1
        else:
            kept.append(_number(each) if each[0].isdigit() or (each[0] == "." and len(each) > 1) else each)
    return kept


def _number(token: str) -> str:
    """Give a number written one way; 1e12 stays apart from 1_000_000_000_000, which is somebody's result."""
    digits = token.replace("_", "")
    try:
        return repr(float(digits)) if len(digits) < 9 or not digits.isdigit() else digits
    except (ValueError, OverflowError):
        return token


def blurred(found: list[str]) -> list[str]:
    """Give the tokens with one sign for every name that could be another: not builtins, and not what follows a dot."""
    return [NAME if is_free else each for each, is_free in zip(found, _free(found), strict=True)]


def blurred_form(form: Form) -> list[str]:
    """Give a form as `blurred` gives its tokens."""
    return [NAME if each[0] == NAME and each[1:].isdigit() else each for each in form]


def form(text: str, aliases: dict[str, str] | None = None) -> Form:
    """Give the form of a piece of code.

    >>> form("return a * b + a") == form("return  x*y + x  ")
    True
    """
    return numbered(tokens(text, aliases))


def numbered(found: list[str]) -> Form:
    """Give the tokens with free names numbered in the order of their first use: `a * b + a` and `x * y + x` are one."""
    seen: dict[str, str] = {}
    return tuple(
        seen.setdefault(each, f"{NAME}{len(seen)}") if is_free else each
        for each, is_free in zip(found, _free(found), strict=True)
    )


def _free(found: list[str]) -> list[bool]:
    """Tell for each token whether it is a name that could be another one."""
    return [
        before != "." and each not in BUILTIN and (each[0] == "_" or each[0].isalpha())
        for before, each in zip(["", *found], found, strict=False)
    ]


def code_of(node: ast.AST | Iterable[ast.AST]) -> str:
    """Give the source of a piece of a syntax tree, or of several, as Python itself writes it."""
    return ast.unparse(node) if isinstance(node, ast.AST) else "\n".join(map(ast.unparse, node))


def without_words(tree: ast.AST) -> ast.AST:
    """Take docstrings and annotations out of a syntax tree, in place, and give it back."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        elif isinstance(node, ast.arg):
            node.annotation = None
    return tree


def aliases_in(trees: Iterable[ast.AST]) -> dict[str, str]:
    """Give what imports call otherwise: `import numpy as what` and `from math import log as ln`."""
    found = {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in node.names:
                if name.asname:
                    found[name.asname] = name.name.rpartition(".")[2]
    return found
