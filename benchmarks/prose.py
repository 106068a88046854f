"""Millions of words of real text that every machine of the course has: its corpora, then the docstrings of packages."""

import ast
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from labkit import corpora


def sentences() -> Iterator[str]:
    """Sentences as tokens separated by blanks, in a fixed order, none twice: Wikipedia, a Chinese novel, docstrings."""
    seen: set[str] = set()
    for sentence in everything():
        if sentence not in seen:
            seen.add(sentence)
            yield sentence


def everything() -> Iterator[str]:
    """The same with repetitions."""
    for name in ("wikipedia", "sanguo"):
        for tokens in corpora.load(name, quiet=True).sentences():
            yield " ".join(tokens)
    paths = sysconfig.get_paths()
    for file in (f for place in (paths["stdlib"], paths["purelib"]) for f in sorted(Path(place).rglob("*.py"))):
        for text in docstrings(file):
            for part in re.split(r"(?<=[.!?])\s+|\n\n", text):
                tokens = re.findall(r"[A-Za-z0-9_]+|[!-~]", part)
                if len(tokens) > 3 and "<" not in tokens:  # KenLM reserves <s> and </s>
                    yield " ".join(tokens)


def docstrings(file: Path) -> Iterator[str]:
    """The docstrings of a file, without importing it; nothing if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, RecursionError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text
