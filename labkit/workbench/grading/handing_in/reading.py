"""One notebook file as it comes from a student: read without trusting a byte of it, refused in one sentence."""

import json
import re
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 200 * 2**20  # of one file
MOST_VALUES = 2_000_000  # numbers, texts, lists and objects beside the outputs: some 200 MB of memory at most
MOST_CELLS = 10_000
LONGEST_TEXT = 2**20  # of one string; what is longer is a picture, and no source
INSTEAD = "hand in the notebook itself, the file that ends in .ipynb (in Jupyter: File ▸ Download)"
# Possessive, so that a text of a hundred megabytes needs no memory to go back in.
TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]]', re.DOTALL)
OPENING = re.compile(rb"\s*:\s*\[")
QUOTE = ord('"')
CONFLICT = re.compile(rb"^(?:<{7} |={7}\r?$|>{7} )", re.MULTILINE)
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
KINDS = {
    b"%PDF": "a PDF",
    b"{\\rtf": "a text of a word processor",
    b"\xd0\xcf\x11\xe0": "a document of an office program",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"Rar!": "an archive of the kind rar",
    b"7z\xbc\xaf": "an archive of the kind 7z",
    b"\x1f\x8b": "an archive of the kind gzip",
    b"SQLite format 3": "a database",
    b"version https://git-lfs": "only a pointer to a file that git keeps elsewhere",
}


class NotReadable(ValueError):
    """The sentence that refuses a file."""


@dataclass(frozen=True)
class Cell:
    """One cell: its id ("" if it has none), kind, source and metadata; outputs are not kept."""

    id: str
    kind: str
    source: str
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Notebook:
    """The cells and the metadata of one notebook, and what was strange about the file."""

    cells: tuple[Cell, ...]
    metadata: dict[str, Any]
    notes: tuple[str, ...] = ()


def read_notebook(content: bytes, called: str) -> Notebook:
    """Give a notebook from the bytes of its file; outputs are dropped while it is read.

    Raises:
        NotReadable: if it is no notebook of format 4; the message names the file and says what to hand in instead.
    """
    if len(content) > MOST_BYTES:
        raise NotReadable(too_large(called, len(content)))
    _refuse_other_kinds(content, called)
    notes: list[str] = []
    tree = _parsed(_decoded(content, called, notes), called, notes)
    return _notebook(tree, called, notes)


def too_large(called: str, size: int) -> str:
    """Give the sentence that refuses a file for its size."""
    return (
        f"{called} has {size / 1e6:,.0f} MB, and at most {MOST_BYTES / 1e6:,.0f} are read: clear the outputs "
        "(in Jupyter: Edit ▸ Clear Outputs of All Cells), save, and hand it in again"
    )


def _refuse_other_kinds(content: bytes, called: str) -> None:
    if not content.strip():
        raise NotReadable(f"{called} is empty; {INSTEAD}")
    start = content.lstrip()[:1000]
    for magic, kind in KINDS.items():
        if start.startswith(magic):
            raise NotReadable(f"{called} is {kind} and no notebook; {INSTEAD}")
    if start.startswith(b"PK\x03\x04"):
        raise NotReadable(f"{called} is a zip or a document of a word processor under another name; {INSTEAD}")
    if re.match(rb"(?i)(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|\?xml|!--)", start):
        raise NotReadable(f"{called} is a web page that a browser saved and no notebook; {INSTEAD}")


def _decoded(content: bytes, called: str, notes: list[str]) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in content[:4]:
        content = _from_utf16(content, called)
        notes.append("the file was UTF-16 and not UTF-8; it was read all the same")
    content = content.removeprefix(b"\xef\xbb\xbf")
    if b"\x00" in content:
        raise NotReadable(f"{called} has NUL bytes in it, as a file damaged in copying has; {INSTEAD}")
    content = _bounded(content, called)
    try:
        return content.decode()
    except UnicodeDecodeError:
        notes.append("the file is not UTF-8; letters with accents may be wrong")
        return content.decode("latin-1")


def _from_utf16(content: bytes, called: str) -> bytes:
    marks = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    code = marks.get(content[:2]) or ("utf-16-be" if content[0] == 0 else "utf-16-le")
    try:
        return content.decode(code).encode()
    except UnicodeError:
        raise NotReadable(f"{called} has NUL bytes in it, as a file damaged in copying has; {INSTEAD}") from None


def _bounded(content: bytes, called: str) -> bytes:
    """Cut the outputs out of a large file, and texts far too long for a cell; refuse what would fill the memory."""
    if len(content) < LONGEST_TEXT:
        return content
    kept, last, depth, skipping, count = [], 0, 0, False, 0
    for token in TOKEN.finditer(content):
        start, end = token.span()
        count += not skipping
        if count > 2 * MOST_VALUES:
            raise NotReadable(_too_many(called))
        if content[start] == QUOTE:
            if skipping:
                continue
            if end - start > LONGEST_TEXT:
                kept += [content[last:start], b'"# left out: too long"']
                last = end
            elif token[0] == b'"outputs"' and (opening := OPENING.match(content, end)):
                kept.append(content[last : opening.end()])
                skipping, depth = True, 0
        elif skipping:
            depth += 1 if token[0] == b"[" else -1
            if depth == 0:
                last, skipping = start, False
    kept.append(b"" if skipping else content[last:])
    if sum(piece.count(mark) for piece in kept for mark in (b",", b"[", b"{")) > MOST_VALUES:
        raise NotReadable(_too_many(called))
    return b"".join(kept)


def _too_many(called: str) -> str:
    return (
        f"{called} holds more than {MOST_VALUES:,} values: clear the outputs (in Jupyter: Edit ▸ Clear Outputs of All "
        "Cells), save, and hand it in again"
    )


def _parsed(text: str, called: str, notes: list[str]) -> Any:
    doubled: set[str] = set()

    def without_outputs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            doubled.update(key for key in found if sum(key == other for other, _ in pairs) > 1)
        for heavy in ("outputs", "attachments", "data", "widgets"):
            found.pop(heavy, None)
        return found

    try:
        tree = json.loads(text, object_pairs_hook=without_outputs, parse_int=_whole)
    except RecursionError:
        raise NotReadable(f"{called} is nested deeper than any notebook; {INSTEAD}") from None
    except ValueError as error:
        raise NotReadable(_why_no_json(text, called, error)) from None
    if "source" in doubled or "cells" in doubled:
        notes.append("a part of the file stands twice in it; the last one counts")
    return tree


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < 1000 else float("inf")


def _why_no_json(text: str, called: str, error: ValueError) -> str:
    if CONFLICT.search(text[:2_000_000].encode("utf-8", "replace")):
        return (
            f"{called} has conflict markers of git in it (<<<<<<<): resolve them, open it in Jupyter, hand it in again"
        )
    place = getattr(error, "pos", 0)
    if text.lstrip()[:1] != "{":
        return f"{called} is not a notebook: it holds other text ({_glimpse(text)}); {INSTEAD}"
    if place >= len(text.rstrip()) - 1 or "Unterminated" in str(error):
        return f"{called} is cut off: only its beginning arrived; hand it in again, and wait until the upload is done"
    return f"{called} is damaged: its JSON ends being readable in line {getattr(error, 'lineno', '?')}; {INSTEAD}"


def _glimpse(text: str) -> str:
    words = " ".join(text[:200].split())[:40]
    return f"it begins with “{''.join(c for c in words if c.isprintable())}”"


def _notebook(tree: Any, called: str, notes: list[str]) -> Notebook:
    if not isinstance(tree, dict):
        raise NotReadable(f"{called} is JSON, but not a notebook; {INSTEAD}")
    version, cells = tree.get("nbformat"), tree.get("cells")
    if version == 3 or "worksheets" in tree:
        raise NotReadable(f"{called} is in the old format 3: open it in JupyterLab, save it, and hand it in again")
    if isinstance(version, int) and version > 4:
        raise NotReadable(f"{called} is in format {version}, newer than this course reads: save it in JupyterLab 4")
    if not isinstance(cells, list):
        raise NotReadable(f"{called} is JSON, but not a notebook: it has no list of cells; {INSTEAD}")
    if version != 4:
        notes.append("the file does not say that it is a notebook of format 4; it was read as one")
    if len(cells) > MOST_CELLS:
        raise NotReadable(f"{called} has {len(cells):,} cells, and at most {MOST_CELLS:,} are read; {INSTEAD}")
    good = [cell for cell in map(_cell, cells) if cell]
    if len(good) < len(cells):
        notes.append(f"{len(cells) - len(good)} cells of the file are broken and were left out")
    if not good:
        raise NotReadable(f"{called} is a notebook without any cell; {INSTEAD}")
    metadata = tree.get("metadata")
    return Notebook(tuple(good), metadata if isinstance(metadata, dict) else {}, tuple(notes))


def _cell(raw: Any) -> Cell | None:
    if not isinstance(raw, dict) or not isinstance(raw.get("cell_type"), str):
        return None
    source = raw.get("source", "")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    if not isinstance(source, str):
        return None
    source = LONE_SURROGATE.sub("\ufffd", source.replace("\r\n", "\n").replace("\r", "\n"))[:LONGEST_TEXT]
    metadata, name = raw.get("metadata"), raw.get("id")
    clean_id = LONE_SURROGATE.sub("\ufffd", name)[:200] if isinstance(name, str) else ""
    return Cell(clean_id, raw["cell_type"], source, metadata if isinstance(metadata, dict) else {})
