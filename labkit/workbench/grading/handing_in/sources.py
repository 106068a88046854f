"""The source of a cell as Python: magics and shell lines left out, never run; a mistake in it said with its line."""

import ast
import re
import warnings
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

# Cell magics that run Python in the notebook itself; the body of any other is another language, file or process.
PYTHON_MAGICS = {"time", "timeit", "capture", "prun", "memit", "mprun", "debug"}
CELL_MAGIC = re.compile(r"\A\s*%%(\w+)[^\n]*")
# What word processors, PDFs and other keyboards put in place of a sign of Python's, beside the wide forms of ASCII.
STRAIGHT = str.maketrans("\u2212\u2013\u00a0\u2007\u202f\u2009\u3000\u3002\u3001", "--     .,", "")
STRAIGHT |= {ord(sign): "" for sign in "\u200b\u200c\u200d\u2060\ufeff\u00ad"} | {ord("\u2026"): "..."}
STRAIGHT |= {wide: chr(wide - 0xFEE0) for wide in range(0xFF01, 0xFF5F)}
QUOTES = {'"': "\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02", "'": "\u2018\u2019\u201a\u201b\uff07"}
MOST_STRAIGHTENED = 300  # places in one cell
FENCE = re.compile(r"\A\s*```\w*\n(.*?)\n```\s*\Z", re.DOTALL)


class Broken(Exception):
    """A cell that no Python can read; the message says where."""


@dataclass(frozen=True)
class Source:
    """The statements of a cell, the text they stand in, and what was left out of it."""

    text: str
    tree: ast.Module
    notes: tuple[str, ...] = ()

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text."""
        return self.text.split("\n")

    @cached_property
    def crowded(self) -> set[int]:
        """The numbers of lines that two statements share, as in `a = 1; b = 2`."""
        ends = [(node.lineno, node.end_lineno) for node in self.tree.body]
        return {end for (_, end), (start, _) in pairwise(ends) if start <= end}


def python_of(source: str) -> Source:
    """Give a cell as Python, without its magics and shell lines; nothing is run.

    Raises:
        Broken: if it cannot be read; the message names the line.
    """
    magic = CELL_MAGIC.match(source)
    if magic and magic[1] not in PYTHON_MAGICS:
        return Source("", ast.Module([], []), (f"a cell with %%{magic[1]} holds no Python and was left out",))
    if magic:
        inner = python_of("\n" * magic[0].count("\n") + source[magic.end() :])
        return Source(inner.text, inner.tree, (f"the line %%{magic[1]} was left out", *inner.notes))
    try:
        return _read(source)
    except Broken as problem:
        return _without_magics(source, problem)


def _read(source: str, *notes: str) -> Source:
    """Parse a text; signs that a word processor put in place of Python's are read as what was meant."""
    try:
        return Source(source, parse(source), notes)
    except Broken:
        straight = _straightened(source)
        if straight == source:
            raise
    said = "quotes, blanks or signs as a word processor writes them were read as Python's"
    return Source(straight, parse(straight), (*notes, said))


def _straightened(source: str) -> str:
    """Replace such signs one by one where Python stumbles over them, so that those inside of texts stay."""
    for _ in range(MOST_STRAIGHTENED if not source.isascii() and len(source) < 50_000 else 0):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse(source)
        except SyntaxError as error:
            lines, number, at = source.split("\n"), (error.lineno or 1) - 1, (error.offset or 1) - 1
            if not error.msg.startswith("invalid ") or number >= len(lines) or at >= len(lines[number]):
                return source
            lines[number] = _line_straightened(lines[number], at)
            if source == (source := "\n".join(lines)):
                return source
        except (ValueError, RecursionError, MemoryError):
            return source
        else:
            return source
    return source


def _line_straightened(line: str, at: int) -> str:
    sign, before, after = line[at], line[:at], line[at + 1 :]
    for quote, curly in QUOTES.items():
        if sign in curly:
            closing = next((place for place, other in enumerate(after) if other in curly), None)
            return before + quote + (after if closing is None else f"{after[:closing]}{quote}{after[closing + 1 :]}")
    run = len(line[at:]) - len(line[at:].lstrip(sign))
    return before + (sign * run).translate(STRAIGHT) + line[at + run :]


def parse(source: str) -> ast.Module:
    """Parse a source.

    Raises:
        Broken: if it is no Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "invalid escape sequence" is no news to the teacher
        try:
            return ast.parse(source)
        except SyntaxError as error:
            raise Broken(_where(error, source)) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise Broken(f"it is no Python ({str(error) or 'nested too deeply'})") from None


def _where(error: SyntaxError, source: str) -> str:
    lines = source.split("\n")
    number = error.lineno or 1
    line = lines[number - 1].strip() if number <= len(lines) else ""
    return f"line {number}: {error.msg}" + (f" in `{line[:100]}`" if line else "")


def _without_magics(source: str, problem: Broken) -> Source:
    if not re.search(r"[%!?]|^\s*>>> |^\s", source, re.MULTILINE):
        raise problem
    from IPython.core.inputtransformer2 import TransformerManager

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            text = TransformerManager().transform_cell(source)
        except Exception:  # written for what people type, and given anything at all here
            raise problem from None
    try:
        read = _read(text)
    except Broken:
        raise problem from None
    text, dropped = _blanked(read.text, read.tree)
    left_out = ("lines for IPython (with %, ! or ?) were left out",) if dropped else ()
    return Source(text, parse(text), (*read.notes, *left_out))


def _blanked(text: str, tree: ast.Module) -> tuple[str, bool]:
    """Put `pass` in place of every statement that asks IPython for something."""
    lines, dropped = text.split("\n"), False
    for node in ast.walk(tree):
        plain = isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign | ast.AugAssign)
        if plain and any(isinstance(part, ast.Name) and part.id == "get_ipython" for part in ast.walk(node)):
            first = lines[node.lineno - 1]
            indent = first[: len(first) - len(first.lstrip())]
            span = node.end_lineno - node.lineno + 1
            lines[node.lineno - 1 : node.end_lineno] = [f"{indent}pass", *[""] * (span - 1)]
            dropped = True
    return "\n".join(lines), dropped


def unfenced(text: str) -> str:
    """Give the code of a text cell: without the fences around it, if there are some.

    >>> unfenced("```python\\nx = 1\\n```")
    'x = 1'
    """
    fenced = FENCE.match(text)
    return fenced[1] if fenced else text


def text_of(node: ast.stmt, source: Source) -> str:
    """Give the text of a statement, with its decorators, as it stands in the cell."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(each.lineno for each in decorators)])
    if not decorators and source.crowded & {first, node.end_lineno}:
        return ast.get_source_segment(source.text, node) or ""
    lines = source.lines[first - 1 : node.end_lineno]
    indent = len(lines[0]) - len(lines[0].lstrip())
    if not indent:
        return "\n".join(lines)
    inside = _inside_texts(node)
    lines = [line if number in inside else _moved(line, indent) for number, line in enumerate(lines, first)]
    return "\n".join(lines)


def _moved(line: str, indent: int) -> str:
    return line[indent:] if not line[:indent].strip() else line


def _inside_texts(node: ast.stmt) -> set[int]:
    """The numbers of lines that begin inside of a text in triple quotes, where blanks count."""
    texts = [part for part in ast.walk(node) if isinstance(part, ast.JoinedStr | ast.Constant)]
    return {number for each in texts for number in range(each.lineno + 1, each.end_lineno + 1)}


def without_decorators(node: ast.stmt, text: str, unwanted: list[ast.expr]) -> str:
    """Give the text of a function without some of its decorators."""
    if not unwanted:
        return text
    first = min(each.lineno for each in node.decorator_list)
    lines = text.split("\n")
    for each in unwanted:
        for number in range(each.lineno - first, each.end_lineno - first + 1):
            lines[number] = None
    return "\n".join(line for line in lines if line is not None)
