"""Tables that spreadsheets and learning platforms read: nothing in them is taken for a formula, every accent stays."""

import contextlib
import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

# What makes a spreadsheet compute a cell, also behind blanks, and in the wide forms that some of them accept.
FORMULA = re.compile(r"[\s\x00]*[=+\-@＝＋－＠|].|[\t\r\n]", re.DOTALL)
LONGEST = 30_000  # characters; Excel cuts a cell at 32,767
CONTROLS = {number: None for number in range(32) if chr(number) not in "\t\n"} | {127: None}


def safe(text: str) -> str:
    """Give a text that a spreadsheet shows as it stands: one that looks like a formula gets an apostrophe in front."""
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
    text = text.replace("\r\n", "\n").translate(CONTROLS).encode("utf-8", "replace").decode()
    return f"'{text}" if FORMULA.match(text) else text


def unsafe(text: str) -> str:
    """Give the text that `safe` was given."""
    return text[1:] if text.startswith("'") and FORMULA.match(text[1:]) else text


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], for_excel: bool = True) -> None:
    """Write a table as CSV in UTF-8; `for_excel` begins it with the mark that Excel needs to see that it is UTF-8.

    A table that is only uploaded goes without the mark, which an importer might take for a part of the first heading.
    """
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([safe(name) for name in header])
    writer.writerows([[_cell(value) for value in row] for row in rows])
    write_whole(path, ("\ufeff" if for_excel else "") + file.getvalue())


def write_whole(path: Path, text: str) -> None:
    """Write a file so that there is the old one or the new one and never half of one, whatever happens.

    Raises:
        ValueError: if it is open in a program that holds on to it; the new one lies beside it.
        OSError: if there is no room for it; the old one is as it was.
    """
    scratch = path.with_name(f"{path.name}.part")
    try:
        with scratch.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise OSError(
            f"{path} cannot be written ({error.strerror or error}); every mark is kept in the gradebook, and the same"
            " command writes the tables again"
        ) from error
    try:
        scratch.replace(path)
    except PermissionError:
        raise ValueError(f"{path} cannot be written; is it open in a spreadsheet? The table is in {scratch}") from None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return safe(str(value))


def read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read a CSV as spreadsheets save it: its heading, and each row that is not empty with the line it begins on.

    Raises:
        ValueError: if it is no table of text.
    """
    text = _decoded(path)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows, begins = [], 1
    try:
        for row in lines:
            rows.append((begins, [cell.strip() for cell in row]))
            begins = lines.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path.name}, line {lines.line_num}: this is no table ({error}); save it as CSV") from None
    rows = [(line, row) for line, row in rows if any(row)]
    if not rows:
        raise ValueError(f"{path.name} is empty")
    return rows[0][1], rows[1:]


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from None
    if content[:2] == b"PK":
        raise ValueError(f"{path.name} is a workbook of a spreadsheet; save it as CSV (UTF-8)")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")  # what Excel saves as "CSV" in Western Europe
