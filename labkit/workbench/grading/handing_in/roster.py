"""The list of the class, and a list of when work was handed in: CSV files, exports of Moodle and Canvas too."""

import csv
import io
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path

from labkit.workbench.grading.handing_in.moments import aware, moment_in

COLUMNS = {
    "id": {"id", "student", "student id", "id number", "sis user id", "sis login id", "username", "student number",
           "matriculation number", "matrikelnummer", "kennung", "id-nummer", "anmeldename", "nutzername", "学号"},
    "name": {"name", "full name", "student name", "vollständiger name", "姓名"},
    "first": {"first name", "firstname", "given name", "vorname"},
    "last": {"last name", "lastname", "surname", "family name", "nachname"},
    "email": {"email", "email address", "e-mail", "e-mail address", "e-mail-adresse", "mail"},
    "number": {"identifier", "teilnehmer/in", "canvas id"},
    "moment": {"submitted", "time", "timestamp", "last modified (submission)", "zuletzt geändert (abgabe)"},
    "notebook": {"notebook", "assignment", "file"},
    "group": {"group", "groups", "gruppe", "gruppen", "team"},
}  # fmt: skip
PARTICIPANT = re.compile(r"(?:participant|teilnehmer(?:/in|in)?)\s*(\d+)")  # of Moodle, where markers see no names
BARE = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th", "ı": "i"})
WRITTEN_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
NO_STUDENTS = {"points possible", "student, test", "test student"}


@dataclass(frozen=True)
class Student:
    """One person of the class: the id that grades go by, and the line of the list under the list's own titles."""

    id: str
    name: str
    email: str = ""
    numbers: dict[str, str] = field(default_factory=dict, compare=False)
    known_as: frozenset[str] = frozenset()
    moment: str = ""
    platform: str = ""
    group: str = ""


@dataclass
class Roster:
    """The class, found by id, number, e-mail address or name."""

    students: tuple[Student, ...] = ()
    _known: dict[str, list[Student]] = field(default_factory=lambda: defaultdict(list), repr=False)

    def __post_init__(self) -> None:
        for student in self.students:
            keys = {("#", student.id), *(("#", number) for number in student.known_as)}
            keys |= {("0", short) for _, number in keys if (short := _short(number))}
            keys |= {("p", student.platform)} if student.platform else set()
            keys |= {("@", part) for part in (student.email, student.email.partition("@")[0]) if part}
            keys |= {("n", form) for form in forms(student.name)}
            for kind, key in keys:
                self._known[kind + folded(key)].append(student)

    def find(self, *, number: str = "", label: str = "") -> list[Student]:
        """Give everybody whom a number of the platform, an id, an address or a name may mean; the surest wins."""
        if number and (sure := self._known.get("p" + folded(number))):
            return sure
        meant = self._by_label(label)
        as_an_id = self._known.get("#" + folded(number), []) if number else []
        both = [student for student in meant if student in as_an_id]
        return both or meant or as_an_id  # a number of the platform may be the id of another student by chance

    def _by_label(self, label: str) -> list[Student]:
        for kind, key in (("#", label), ("@", label), ("0", _short(label))):
            if key and (sure := self._known.get(kind + folded(key))):
                return sure
        meant = [student for form in forms(label) for student in self._known.get("n" + folded(form), [])]
        return list(dict.fromkeys(meant))

    def members(self, group: str) -> list[Student]:
        """Give the students of a group, [] where no group is called so."""
        wanted = folded(group)
        return [each for each in self.students if wanted and wanted in map(folded, re.split("[,;]", each.group))]


def folded(text: str) -> str:
    """Give a name as it is compared: composed, in lower case, with single spaces.

    >>> folded("  Zoe\\u0308  BEISPIEL ")
    'zoë beispiel'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _short(number: str) -> str:
    """A number as a spreadsheet leaves it: "007" is 7, and so is "7.0"."""
    found = re.fullmatch(r"0*(\d+?)(?:\.0)?", number.strip())
    return found[1] if found else ""


def forms(name: str) -> set[str]:
    """Give the ways a name is written: "Ada Beispiel", "Beispiel, Ada", "beispielada", with and without accents."""
    name = folded(name)
    last, comma, first = (part.strip() for part in name.partition(","))
    if comma:
        name = f"{first} {last}"
    words = [word for word in re.split(r"[\s_.\-'’]+", name) if word]
    orders = {" ".join(words), " ".join([*words[-1:], *words[:-1]])}
    orders |= {" ".join([*words[1:], *words[:1]])}
    found = orders | {_bare(each) for each in orders} | {_bare(each.translate(WRITTEN_OUT)) for each in orders}
    return {each for each in found | {each.replace(" ", "") for each in found} if each}


def _bare(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).translate(BARE)


def read_roster(path: str | Path) -> Roster:
    """Read the list of the class.

    Raises:
        ValueError: if it has neither ids nor names, nobody in it, or one id twice.
        OSError: if it cannot be read.
    """
    called = Path(path).name
    rows = _rows(Path(path))
    if not any({"id", "name", "first", "last", "number", "email"} & row.keys() for _, row, _ in rows):
        raise ValueError(f"{called} has no column with ids or names; expected a first line like id,name,email")
    students, seen = [], {}
    for line, row, whole in rows:
        student = _student(row, whole)
        if student is None:
            continue
        if student in students:  # a line that stands twice, as lists that were pasted together have
            continue
        if folded(student.id) in seen:
            raise ValueError(
                f"{called} has the id {student.id!r} in lines {seen[folded(student.id)]} and {line}; ids are unique"
            )
        seen[folded(student.id)] = line
        students.append(student)
    if not students:
        raise ValueError(f"{called} names nobody; expected one line for each student under id,name,email")
    return Roster(tuple(students))


def _student(row: dict[str, str], line: dict[str, str]) -> Student | None:
    name = row.get("name") or " ".join(filter(None, [row.get("first"), row.get("last")]))
    blind = PARTICIPANT.fullmatch(folded(row.get("id", "")))  # a worksheet of Moodle calls that column ID in German
    own = "" if blind else row.get("id", "")
    number = blind[1] if blind else "".join(re.findall(r"\d+", row.get("number", ""))[-1:])
    key = own or row.get("also") or row.get("email") or number or name
    if not key or folded(name) in NO_STUDENTS or folded(key) in NO_STUDENTS:
        return None
    platform = number or row.get("also", "")
    ids = [cell for title, cell in line.items() if folded(title) in COLUMNS["id"] and title != "Student"]
    known_as = frozenset(filter(None, [number, row.get("also", ""), *ids]))
    return Student(
        key, name or key, row.get("email", ""), line, known_as, row.get("moment", ""), platform, row.get("group", "")
    )


def _rows(path: Path) -> list[tuple[int, dict[str, str], dict[str, str]]]:
    """The rows of a CSV: the number of the line, its cells under our own names of the columns, and under the file's."""
    whole = text = _text(path)
    skipped = len(text) - len(text := re.sub(r"\A(?:sep=.\r?\n|\s*\n)+", "", text))
    above = whole.count("\n", 0, skipped)
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    try:
        table = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise ValueError(
            f"{path.name} is no CSV that can be read ({error}); expected lines like id,name,email"
        ) from None
    if not table:
        return []
    heads = [title.strip() for title in table[0]]
    names = [folded(title) for title in heads]
    canvas = "student" in names and "id" in names  # there, ID is a number of the platform, and SIS … is the school's
    titles = [_title(name, canvas) for name in names]
    rows = []
    for line, cells in enumerate(table[1:], 2 + above):
        cells = [unicodedata.normalize("NFC", cell.strip()) for cell in cells]
        row: dict[str, str] = {}
        for title, cell in zip(titles, cells, strict=False):
            row.setdefault(title, cell) if title and cell else None
        if row:
            rows.append((line, row, dict(zip(heads, cells, strict=False))))
    return rows


def _title(name: str, canvas: bool) -> str:
    if canvas and name in ("student", "id"):
        return {"student": "name", "id": "also"}[name]
    return next((title for title, known in COLUMNS.items() if name in known), "")


def _text(path: Path) -> str:
    content = path.read_bytes()
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise ValueError(f"{path.name} is a workbook of a spreadsheet; save it as CSV (UTF-8) and give that")
    for code in ("utf-16",) if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252"):
        try:
            return content.decode(code).replace("\x00", "")
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1").replace("\x00", "")


def read_moments(path: str | Path, zone: tzinfo | None) -> dict[tuple[str, str], datetime]:
    """Read when work was handed in: columns student, notebook (may be missing), submitted (2026-11-30 23:59+01:00).

    Raises:
        ValueError: if a column is missing, or a time cannot be read; the line is named.
        OSError: if it cannot be read.
    """
    called, found, rows = Path(path).name, {}, _rows(Path(path))
    if not rows:
        raise ValueError(f"{called} lacks lines with a student and a time; expected student,notebook,submitted")
    for line, row, _ in rows:
        student = row.get("id") or row.get("email") or row.get("name", "")
        if not student or "moment" not in row:
            raise ValueError(f"line {line} of {called} lacks a student or a time; expected student,notebook,submitted")
        moment = moment_in(row["moment"])
        if moment is None:
            raise ValueError(
                f"line {line} of {called}: {row['moment']!r} is no time; write it like 2026-11-30 23:59+01:00"
            )
        notebook = row.get("notebook", "").removesuffix(".ipynb")
        found[folded(student), folded(notebook)] = aware(moment, zone)
    return found
