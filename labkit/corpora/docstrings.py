"""English that is always there: the prose in the docstrings of Python and its libraries, read without import."""

import ast
import importlib.util
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from labkit.corpora.cache import CorpusUnavailable, read_or_make, sha256_of
from labkit.corpora.english import Titled, pack, unpack

LIBRARIES = ("numpy", "pandas", "matplotlib", "networkx", "nltk")
_NOT_PROSE = {"tests", "test", "testing", "site-packages", "dist-packages", "idlelib", "lib2to3", "turtledemo"}
_SENTENCES = re.compile(r"^[^\W\d_].*[.!?][\"'”’)]*$", re.DOTALL)


def read_docstrings() -> Titled:
    """Return each prose paragraph once, titled with its library, in the order of libraries and files.

    Taken from the cache unless a library was installed, removed or changed; otherwise it takes up to a minute.

    Raises: CorpusUnavailable when there are no sources of Python to read.
    """
    installed = " ".join([sys.version, *(f"{name} {_version(name)}" for name in LIBRARIES)])
    return unpack(read_or_make(f"docstrings-1-{sha256_of(installed)[:12]}.jsonl", lambda: pack(_all_paragraphs())))


def prose_in(source: bytes) -> Iterator[str]:
    """Yield the prose paragraphs in the docstrings of one Python file: 8 words or more that end like a sentence.

    A file that Python cannot read yields nothing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files contain escapes that Python warns about
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for paragraph in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                words = paragraph.split()
                line = " ".join(words)
                is_prose = _SENTENCES.match(line) and ">>>" not in line and "---" not in line
                if is_prose and len(words) >= 8:
                    yield line


def _all_paragraphs() -> Titled:
    from tqdm import tqdm

    titled: dict[str, str] = {}  # paragraph -> library where it was first seen
    for library, path in tqdm(list(_files()), desc="docstrings", unit=" files", disable=None, leave=False):
        for paragraph in prose_in(path.read_bytes()):
            titled.setdefault(paragraph, library)
    if not titled:
        raise CorpusUnavailable("no source files of Python were found on this machine.")
    return [(library, paragraph) for paragraph, library in titled.items()]


def _files() -> Iterator[tuple[str, Path]]:
    roots = {"python": Path(sysconfig.get_path("stdlib"))}
    for name in LIBRARIES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            roots[name] = Path(spec.origin).parent
    for name, root in roots.items():
        inside = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
        yield from ((name, root / file) for file in inside if not _NOT_PROSE & set(file.split("/")))


def _version(name: str) -> str:
    from importlib import metadata  # slow to import, and only needed here

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
