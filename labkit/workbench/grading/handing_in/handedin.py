"""The files that were handed in, from a folder, a zip, zips inside zips: listed and read, never unpacked to disk."""

import io
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from labkit.workbench.grading.handing_in.reading import MOST_BYTES, NotReadable, too_large

MOST_MEMBERS = 9_999
MOST_IN_ZIP = 2**30  # bytes of all notebooks in the zip of one student
MOST_IN_CLASS = 64 * 2**30  # and in that of a class, of which one notebook at a time is read
DEEPEST = 3  # zips in zips
IGNORED = {
    ".ipynb_checkpoints",
    ".ds_store",
    ".git",
    ".venv",
    ".vscode",
    ".idea",
    "__macosx",
    "desktop.ini",
    "thumbs.db",
    "__pycache__",
    "icon\r",
}
NOTEBOOK = re.compile(r"(?i)\.ipynb(?:\.(?:txt|json))?$")
UNPACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, struct.error, IndexError)
AGAIN = "pack the notebook into an ordinary zip again, or hand in the .ipynb file itself"


@dataclass(frozen=True)
class HandedIn:
    """One file: the folders and archives it lies in and its name, when it was changed, and how to get its bytes.

    `moment` has no time zone where a zip does not say it; `clock` is "file" or "zip". `refused` is why it is not read.
    """

    parts: tuple[str, ...]
    path: Path
    size: int
    moment: datetime | None
    clock: str
    read: Callable[[], bytes]
    refused: str = ""

    @property
    def is_notebook(self) -> bool:
        """Whether its name is that of a notebook."""
        return bool(NOTEBOOK.search(self.parts[-1]))


def files_in(place: Path, stack: ExitStack) -> list[HandedIn]:
    """List what was handed in; archives stay open until the stack is closed.

    Raises:
        ValueError: if the place is neither a folder nor a zip that can be read.
    """
    if place.is_dir():
        found = _in_folder(place)
    elif place.is_file():
        found = _class_archive(place, stack)
    else:
        raise ValueError(f"there is no folder or zip {str(place)!r}; give what the students handed in")
    return [inner for each in found for inner in _opened(each, 1)]


def clean(name: str) -> str:
    """Give a name as one line of text that can be printed and stored, composed as NFC.

    >>> clean("Zoe\\u0308 \\u202egpj")
    'Zoë gpj'
    """
    name = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    return "".join(c for c in name if unicodedata.category(c)[0] != "C").strip()


def _ignored(parts: tuple[str, ...]) -> bool:
    return any(part.lower() in IGNORED or part.startswith(("._", "~$")) for part in parts)


def _in_folder(place: Path) -> Iterator[HandedIn]:
    for folder, names, files in os.walk(place):
        names.sort()
        for name in sorted([*files, *(n for n in names if Path(folder, n).is_symlink())]):
            path = Path(folder, name)
            parts = tuple(clean(part) for part in path.relative_to(place).parts)
            if not _ignored(parts):
                yield _on_disk(path, parts)


def _on_disk(path: Path, parts: tuple[str, ...]) -> HandedIn:
    shown = Path(clean(str(path)))
    try:
        known = path.lstat()
    except OSError as error:
        return HandedIn(parts, shown, 0, None, "file", bytes, f"{parts[-1]} cannot be read ({error.strerror})")
    moment = datetime.fromtimestamp(known.st_mtime, UTC)
    refused = ""
    if stat.S_ISLNK(known.st_mode):
        refused = f"{parts[-1]} is a link to another file and is not followed; hand in the file itself"
    elif not stat.S_ISREG(known.st_mode):
        refused = f"{parts[-1]} is no ordinary file; hand in the notebook itself"
    return HandedIn(parts, shown, known.st_size, moment, "file", lambda: _bytes_of(path), refused)


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise NotReadable(f"{path.name} cannot be read ({error.strerror}); look at its permissions") from None


def _class_archive(place: Path, stack: ExitStack) -> Iterator[HandedIn]:
    try:
        with place.open("rb") as file:
            file.seek(max(0, place.stat().st_size - 66_000))
            _refuse_many(file.read(), place.name)
        archive = stack.enter_context(zipfile.ZipFile(place))
    except NotReadable as problem:
        raise ValueError(str(problem)) from None
    except BROKEN:
        raise ValueError(
            f"{place.name} is no zip that can be read; give the folder or zip with what was handed in"
        ) from None
    return iter(_members(archive, (), Path(clean(str(place))), MOST_IN_CLASS))


def _refuse_many(end: bytes, called: str) -> None:
    """Look at the number of members in the last bytes of a zip, before anything builds a list of them."""
    at = end.rfind(b"PK\x05\x06")
    count = int.from_bytes(end[at + 10 : at + 12], "little") if at >= 0 else 0
    if count > MOST_MEMBERS:
        many = "more than 65,000" if count == 0xFFFF else f"{count:,}"
        raise NotReadable(f"{called} has {many} files in it, and at most {MOST_MEMBERS:,} are read; {AGAIN}")


def _members(archive: zipfile.ZipFile, above: tuple[str, ...], path: Path, most: int) -> list[HandedIn]:
    called = path.name
    infos = archive.infolist()
    if len(infos) > MOST_MEMBERS:
        raise NotReadable(f"{called} has {len(infos):,} files in it, and at most {MOST_MEMBERS:,} are read; {AGAIN}")
    wanted = sum(info.file_size for info in infos if NOTEBOOK.search(info.filename) or _is_zip(info.filename))
    if wanted > most:
        raise NotReadable(
            f"{called} would unpack to {wanted / 1e9:,.1f} GB, and at most {most / 1e9:,.1f} are read; {AGAIN}"
        )
    found = []
    for info in infos:
        name = _name_of(info)
        parts = tuple(clean(part) for part in name.split("/") if part not in ("", "."))
        if parts and not info.is_dir() and not name.endswith("/") and not _ignored(parts):
            member = HandedIn(
                (*above, *parts), path / "/".join(parts), info.file_size, _moment(info), "zip",
                lambda info=info, name=parts[-1]: _read_member(archive, info, name),
            )  # fmt: skip
            found.append(replace(member, refused=_why_refused(info, name, called)))
    return found


def _name_of(info: zipfile.ZipInfo) -> str:
    name = info.filename.replace("\\", "/")
    if not info.flag_bits & 0x800:  # zips of macOS hold UTF-8 and do not say so
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name


def _why_refused(info: zipfile.ZipInfo, name: str, called: str) -> str:
    shown = clean(name)[-80:]
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
        return f"{shown} in {called} has a path that leads out of the archive; {AGAIN}"
    if stat.S_ISLNK(info.external_attr >> 16):
        return f"{shown} in {called} is a link to another file; {AGAIN}"
    if info.flag_bits & 1:
        return f"{shown} in {called} is encrypted; pack it again without a password"
    if info.compress_type not in UNPACKED:
        return f"{shown} in {called} is packed in a way that is not read here; {AGAIN}"
    if info.file_size > MOST_BYTES and (NOTEBOOK.search(name) or _is_zip(name)):
        return too_large(f"{shown} in {called}", info.file_size)
    return ""


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    try:
        with archive.open(info) as file:
            return file.read(MOST_BYTES + 1)
    except BROKEN as error:
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NotReadable(f"{name} is damaged inside its zip ({words[:80]}); {AGAIN}") from None


def _moment(info: zipfile.ZipInfo) -> datetime | None:
    """When a member was changed: with a time zone if the zip tells seconds since 1970, else as a clock on a wall."""
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        if kind == 0x5455 and size >= 5 and extra[4:5] and extra[4] & 1 and len(extra) >= 9:
            return datetime.fromtimestamp(struct.unpack("<i", extra[5:9])[0], UTC)
        extra = extra[4 + size :]
    try:
        return datetime(*info.date_time) if info.date_time[0] > 1980 else None
    except ValueError:
        return None


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _opened(each: HandedIn, depth: int) -> Iterator[HandedIn]:
    """A file, or what lies in it when it is a zip; it counts as handed in when the zip was."""
    if each.refused or not _is_zip(each.parts[-1]):
        yield each
        return
    try:
        if depth > DEEPEST:
            raise NotReadable(f"{each.parts[-1]} lies in too many zips; {AGAIN}")
        with _archive(each) as archive:
            members = _members(archive, each.parts, each.path, MOST_IN_ZIP)
    except NotReadable as problem:
        yield replace(each, refused=str(problem))
        return
    if not members:
        yield replace(each, refused=f"{each.parts[-1]} is a zip without any file; {AGAIN}")
    for member in members:
        again = lambda name=member.path: _read_again(each, name)  # noqa: E731
        handed = replace(member, moment=each.moment or member.moment, clock=each.clock, read=again)
        yield from _opened(handed, depth + 1)


def _archive(each: HandedIn) -> zipfile.ZipFile:
    content = each.read()
    if len(content) > MOST_BYTES:
        raise NotReadable(too_large(each.parts[-1], max(each.size, len(content))))
    _refuse_many(content[-66_000:], each.parts[-1])
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except BROKEN:
        raise NotReadable(f"{each.parts[-1]} is no zip that can be read: damaged, or cut off; {AGAIN}") from None


def _read_again(each: HandedIn, path: Path) -> bytes:
    """Open the zip anew for one member, so that never more than one zip is in memory."""
    with _archive(each) as archive:
        for member in _members(archive, each.parts, each.path, MOST_IN_ZIP):
            if member.path == path:
                return member.read()
    raise NotReadable(f"{path.name} is no longer in {each.parts[-1]}; {AGAIN}")
