"""Documents as lines of JSON, read from files that may be larger than memory, with broken lines set apart."""

import base64
import binascii
import codecs
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["LONGEST", "Broken", "Document", "entries", "from_crawl", "lines", "opened", "read", "too_long"]

LONGEST = 4_000_000  # bytes of a document, before and after each step
HEAD = 200  # bytes that are remembered of a line that is too long to be read
BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Document:
    """A document on its way through a pipeline: `raw` bytes until they are decoded, then `text`.

    >>> Document.from_json(Document("a", "naïve").to_json())
    Document(id='a', text='naïve', raw=b'', declared=None, url='', language='', notes=())
    """

    id: str
    text: str = ""
    raw: bytes = b""
    declared: str | None = None
    url: str = ""
    language: str = ""
    notes: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> str:
        """This document as one line of JSON without a line end: empty fields left out, raw bytes as base64."""
        found = {name: value for name, value in asdict(self).items() if value or name == "id"}
        if self.raw:
            found["raw"] = base64.b64encode(self.raw).decode("ascii")
        return json.dumps(found, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> "Document":
        """The document of a line of JSON; names that a document does not have are passed over.

        Raises:
            ValueError: if the line is no JSON object, has no id, or a field is not what it should be.
        """
        found = _object(line)
        known = {field.name: found[field.name] for field in fields(cls) if found.get(field.name) is not None}
        for name in ("id", "text", "raw", "declared", "url", "language"):
            if not isinstance(known.get(name, ""), str):
                raise ValueError(f"{name} should be a string, got {type(known[name]).__name__}")
        if not known.get("id"):
            raise ValueError("a document needs an id")
        if "raw" in known:
            known["raw"] = _bytes(known["raw"])
        if "notes" in known:
            known["notes"] = _notes(known["notes"])
        return cls(**known)


def from_crawl(crawled: Iterable[Any]) -> list[Document]:
    """Generated pages as documents: the bytes, the declared encoding and the address, but never the truth."""
    return [Document(id=page.id, raw=page.raw, declared=page.declared, url=page.url) for page in crawled]


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that is no document: where it stands, why, the line itself (its head, if too long) and its length."""

    id: str
    reason: str
    line: bytes
    length: int


def _object(line: str | bytes) -> dict[str, Any]:
    try:
        if isinstance(line, bytes):
            line = line.decode("utf-8")
        found = json.loads(line)
        json.dumps(found, ensure_ascii=False).encode("utf-8")  # half of a surrogate pair is a str, but no text
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: byte {error.object[error.start]:#04x} at {error.start}") from error
    except UnicodeEncodeError as error:
        raise ValueError("half of a surrogate pair stands alone") from error
    except (json.JSONDecodeError, RecursionError) as error:
        if isinstance(error, RecursionError):
            raise ValueError("not JSON: nested too deeply") from error
        raise ValueError(f"not JSON: {error.msg.removesuffix(' at')} at character {error.pos}") from error
    if not isinstance(found, dict):
        raise ValueError(f"a document is a JSON object, got {type(found).__name__}")
    return found


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"raw is not base64: {error}") from error


def _notes(pairs: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError("notes should be a list of pairs")
    return tuple((str(name), str(value)) for name, value in pairs)


def too_long(document: Document, longest: int) -> str:
    """Why this document is too long for a pipeline, or an empty string."""
    bytes_ = len(document.raw) + len(document.text.encode("utf-8", "surrogatepass"))
    return f"longer than {longest:,} bytes" if bytes_ > longest else ""


def read(files: Iterable[str | Path], longest: int = LONGEST) -> Iterator[Document | Broken]:
    """The documents of files of JSON lines (.gz or plain) one by one, in bounded memory; broken lines as `Broken`."""
    for path in map(Path, files):
        for entry in entries(path, longest):
            yield entry.document


class Entry(NamedTuple):
    """A line of a file: where it begins, its bytes (a head, if too long), its length, and what it was read as."""

    offset: int
    line: bytes
    length: int
    document: Document | Broken


def entries(path: Path, longest: int, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
    """The lines that begin in the bytes from `start` to `stop`, each with its document of up to `longest` bytes."""
    for offset, line, length in lines(path, 2 * longest + BLOCK, start, stop):  # base64 and escapes take their room
        yield Entry(offset, line, length, _parse(line, f"{path.name}:{offset}", length, longest))


def _parse(line: bytes, where: str, length: int, longest: int) -> Document | Broken:
    """A line as a document; or, with the reason, as what is broken. `where` names the line, `length` is all of it."""
    if length < 0:
        return Broken(where, "the compressed file is damaged from here on", line, 0)
    if length > len(line):
        return Broken(where, f"longer than {longest:,} bytes", line, length)
    try:
        return Document.from_json(line)
    except ValueError as error:
        return Broken(where, str(error), line, length)


def lines(path: Path, limit: int, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes, int]]:
    """Each line that begins in the bytes from `start` to `stop`: where, the line without its end, and its length.

    Of a line longer than `limit` only a head is given. In a damaged .gz the last length is -1. Offsets count the bytes
    of the text, also in a .gz. Lines of white space are left out.
    """
    with opened(path) as handle:
        handle.seek(start)
        offset = start
        while stop is None or offset < stop:
            try:
                line, size = _line(handle, limit)
            except (EOFError, gzip.BadGzipFile, zlib.error):
                yield offset, b"", -1
                return
            if not size:
                return
            if size > len(line):
                yield offset, line, size
            elif line.strip():
                line = line.rstrip(b"\r\n")
                if offset == 0:  # files of Windows may begin with a mark
                    line = line.removeprefix(codecs.BOM_UTF8)
                yield offset, line, len(line)
            offset += size


def _line(handle: Any, limit: int) -> tuple[bytes, int]:
    """The next line and its size, or its head alone and its size when it is longer than `limit`."""
    line = handle.readline(limit)
    size = len(line)
    if size < limit or line.endswith(b"\n"):
        return line, size
    head = line[:HEAD]
    del line
    while (block := handle.readline(BLOCK)) != b"":
        size += len(block)
        if block.endswith(b"\n"):
            break
    return (head, size)


def opened(path: Path) -> Any:
    """The bytes of a file, unpacked if its name ends in .gz."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
