"""All places of a notebook where text can stand, and the ways in which code can be written there."""

import ast
import base64
import binascii
import contextlib
import html
import io
import json
import re
import tokenize
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from labkit.workbench.releasing import forms

TAG = re.compile(r"<[^<>]*>")
BLOCK = re.compile(r"</?(?:div|pre|p|br|li|tr|td|h[1-6]|details|summary)\b[^<>]*>")  # begins a line of its own
SAID = re.compile(  # a picture's words, a box that is filled in, a page inside the page
    r"\b(?:alt|title|aria-label|content|value|placeholder|srcdoc|data-[\w-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')"
)
WEB = re.compile(r"%(?:0[Aa]|20)")  # line ends and blanks of an address
MARKUP = re.compile(r"</[a-zA-Z]|<[a-zA-Z][^<>]*>")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
HEX = re.compile(r"[0-9a-fA-F]+")
READABLE = re.compile(rb"[\t\n\r -~]{16,}")  # shorter runs of letters come by chance in every picture
FENCE = re.compile(r"^[ \t>]*(?:```|~~~)[^\n]*\n(.*?)^[ \t>]*(?:```|~~~)", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
DEFINITION = re.compile(r"^[ \t]*(?:def|lambda|return|async def|class)\b", re.MULTILINE)
THOUSANDS = re.compile(r"(?<=\d)[,'’_ \u202f\u00a0](?=\d{3}(?!\d))")


def texts(notebook: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Give every text of a notebook: where it stands, the text, and whether it is the source of a code cell."""
    for cell in notebook["cells"]:
        where = f"cell {cell.get('id')!r}"
        if cell["cell_type"] == "code":
            yield where, cell["source"], True
            yield from ((f"{where} (a comment or string)", text, False) for text in _inside(cell["source"]))
        else:
            yield f"{where} (text)", cell["source"], False
        for part in ("outputs", "attachments", "metadata"):
            yield from ((f"{where} ({part})", text, False) for text in _strings(cell.get(part)))
    yield from (("the notebook's metadata", text, False) for text in _strings(notebook.get("metadata")))


def _inside(source: str) -> Iterator[str]:
    """Give comments, joined, and the strings of a code cell."""
    try:
        found = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):
        return
    comments = [token.string.lstrip("#! ") for token in found if token.type == tokenize.COMMENT]
    if comments:
        yield "\n".join(comments)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield from _readings(node.value if isinstance(node.value, str) else node.value.decode("latin-1"))


def _strings(value: Any) -> Iterator[str]:
    """Give every string in nested dictionaries and lists, keys included; what is base64 also as what it says."""
    if isinstance(value, str):
        yield from _readings(value)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _strings(key)
            yield from _strings(each)
    elif isinstance(value, list):
        lines = [each for each in value if isinstance(each, str)]
        if lines and len(lines) == len(value):
            yield from _readings("".join(lines))
            yield "\n".join(lines)
        else:
            for each in value:
                yield from _strings(each)


def _readings(text: str) -> Iterator[str]:
    coded = BASE64.findall(text) if len(text) >= 24 else []
    is_all_coded = len(coded) == 1 and len(coded[0]) > 0.9 * len(text.strip())
    if not is_all_coded:
        yield text
    with contextlib.suppress(ValueError, RecursionError):
        if text.lstrip()[:1] in ("{", "["):  # JSON in a string, as widgets have it
            yield from _strings(json.loads(text))
    found = [piece.decode("ascii") for each in coded for piece in READABLE.findall(_decoded(each))]
    if found:
        yield "\n".join(found)


def _decoded(text: str) -> bytes:
    padded = text.rstrip("=").translate(str.maketrans("-_", "+/"))
    if HEX.fullmatch(text):
        return bytes.fromhex(text[: len(text) // 2 * 2])
    try:
        return base64.b64decode(padded + "=" * (-len(padded) % 4))
    except (binascii.Error, ValueError):
        return b""


def plain(text: str) -> str:
    """Give a text without the tags of HTML and the colours of a terminal; what tags say in words comes after it."""
    bare = COLOUR.sub("", text)
    if WEB.search(bare):
        bare = urllib.parse.unquote(bare)
    if not MARKUP.search(bare):
        return html.unescape(bare)
    said = ["".join(found) for found in SAID.findall(bare)]
    return html.unescape("\n".join([TAG.sub("", BLOCK.sub("\n", bare)), *said]))


def variants(text: str) -> Iterator[str]:
    """Give a text as it is, and where that differs without tags, escapes, comments and marks before its lines."""
    shown = plain(text)
    unescaped = shown.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t").replace("\\", "")
    bare = forms.COMMENT.sub("", forms.BEFORE_A_LINE.sub("", unescaped))
    yield from dict.fromkeys((text, shown, unescaped, bare, THOUSANDS.sub("", bare)))


def blocks(text: str) -> list[str]:
    """Give the pieces of a text that may be code: fenced blocks, words in backquotes, definitions with their bodies."""
    return list(dict.fromkeys(_blocks(text)))


def _blocks(text: str) -> Iterator[str]:
    for variant in variants(text):
        yield from FENCE.findall(variant)
        yield from INLINE.findall(variant)
        if DEFINITION.search(variant):
            yield variant
            yield from definitions(variant)


def definitions(text: str) -> Iterator[str]:
    """Give the lines of a text that begin like a definition, each with the deeper lines below it."""
    lines = text.splitlines()
    for start, line in enumerate(lines):
        if DEFINITION.match(line):
            depth = len(line) - len(line.lstrip())
            end = start + 1
            while end < len(lines) and _belongs(lines[end], depth):
                end += 1
            yield "\n".join(lines[start:end])


def _belongs(line: str, depth: int) -> bool:
    """Whether a line still is of the definition that began `depth` deep: empty, deeper, or the end of its signature."""
    bare = line.lstrip()
    return not bare or len(line) - len(bare) > depth or bare[0] == ")"
