"""The marks of a class as files: a plain table, tables for Moodle and Canvas, JSON with everything."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labkit.workbench.grading.cells import write_table, write_whole
from labkit.workbench.grading.gradebook import Gradebook
from labkit.workbench.grading.marks import Mark
from labkit.workbench.grading.totals import rounded

# The columns of Moodle's offline grading worksheet; it is uploaded in English, and looks for the three in capitals of
# IDENTIFIER, GRADE and LAST MODIFIED (GRADE). Further columns are for its other import, which asks what each one is.
MOODLE = (
    "Identifier",
    "Full name",
    "ID number",
    "Email address",
    "Status",
    "Grade",
    "Maximum Grade",
    "Grade can be changed",
    "Last modified (submission)",
    "Last modified (grade)",
    "Feedback comments",
)
CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")


def write_exports(book: Gradebook, out: Path, extra: dict[str, Any] | None = None) -> dict[str, Path]:
    """Write all tables beside `out`; give the name of each with its path."""
    places = {
        "grades": out,
        "moodle": out.with_name(f"{out.stem}.moodle.csv"),
        "canvas": out.with_name(f"{out.stem}.canvas.csv"),
        "json": out.with_name(f"{out.stem}.json"),
    }
    write_plain(book, places["grades"])
    write_moodle(book, places["moodle"])
    write_canvas(book, places["canvas"])
    text = json.dumps({**(extra or {}), **everything(book)}, indent=1, ensure_ascii=False)
    write_whole(places["json"], text.encode("utf-8", "replace").decode() + "\n")
    return places


def write_plain(book: Gradebook, path: Path) -> None:
    """One row per student: percent per notebook, the weighted total, what lateness cost, what waits to be read."""
    people, notebooks = book.people(), book.course.notebooks
    header = ["student", "name", "email", *notebooks, "total", "late", "handed in", "still to be marked by hand"]
    write_table(
        path,
        header,
        [
            (t.student, t.name, people[t.student]["email"], *(t.notebooks[n] for n in notebooks), t.total, t.late,
             t.handed_in, t.open)
            for t in book.totals()
        ],
    )  # fmt: skip


def write_moodle(book: Gradebook, path: Path) -> None:
    """Moodle's worksheet for grading offline: the total as the grade, a line per notebook as the feedback."""
    people, notebooks, marks = book.people(), book.course.notebooks, book.by_student()
    rows = []
    for total in book.totals():
        person = people[total.student]
        numbers, most = person["numbers"], _most(person["numbers"])
        times = [when for n in notebooks if (when := book.submitted(total.student, n))]
        rows.append(
            (
                numbers.get("Identifier", ""),
                numbers.get("Full name", total.name),
                numbers.get("ID number", total.student),
                person["email"],
                "Submitted for grading" if total.handed_in else "No submission",
                rounded(total.total * most / 100),
                most,
                "Yes",
                max(times).astimezone(UTC).strftime("%A, %d %B %Y, %I:%M %p") if times else "-",
                "-",
                _feedback(total, marks[total.student], notebooks),
                *(total.notebooks[n] for n in notebooks),
            )
        )
    write_table(path, (*MOODLE, *notebooks), rows, for_excel=False)


def _most(numbers: Mapping[str, str]) -> float:
    """The points of the assignment in Moodle, as its own worksheet says; it takes no grade above them."""
    try:
        most = float(numbers.get("Maximum Grade", "").replace(",", "."))
    except ValueError:
        return 100.0
    return most if 0 < most < 1e6 else 100.0


def _feedback(total: Any, marks: list[Mark], notebooks: tuple[str, ...]) -> str:
    lines = []
    for notebook in notebooks:
        own = [mark for mark in marks if mark.notebook == notebook]
        counts = Counter(mark.status for mark in own)
        late = own[0].late if own else 0.0
        said = ", ".join(f"{count} {status}" for status, count in counts.items())
        lines.append(f"{notebook}: {total.notebooks[notebook]:g} of 100 ({said}{f'; {late:.0%} late' if late else ''})")
    return "\n".join(lines)


def write_canvas(book: Gradebook, path: Path) -> None:
    """Canvas's gradebook: an assignment per notebook, with the points that are possible in the second row."""
    people, marks = book.people(), book.by_student()
    most = {n: sum(m.most for m in next(iter(marks.values()), []) if m.notebook == n) for n in book.course.notebooks}
    rows: list[tuple] = [("    Points Possible", "", "", "", "", *most.values())]
    for student in book.students():
        numbers = people[student]["numbers"]
        known = [numbers.get(name, "") for name in CANVAS[1:]]
        if not any(known):  # nothing else to know them by
            known[1:3] = student, people[student]["email"] or student
        points = {n: sum(m.final for m in marks[student] if m.notebook == n) for n in most}
        rows.append((numbers.get("Student", people[student]["name"]), *known, *points.values()))
    write_table(path, (*CANVAS, *most), rows, for_excel=False)


def everything(book: Gradebook) -> dict[str, Any]:
    """All that the book knows, as plain data."""
    people, marks = book.people(), book.by_student()
    return {
        "course": book.course.name,
        "term": book.course.term,
        "notebooks": list(book.course.notebooks),
        "weights": dict(book.course.weights),
        "seed": book.seed,
        "students": [
            {
                **asdict(total),
                "email": people[total.student]["email"],
                "numbers": people[total.student]["numbers"],
                "submitted": {n: _iso(book.submitted(total.student, n)) for n in book.course.notebooks},
                "notes": book.notes(total.student),
                "marks": [_plain(mark) for mark in marks[total.student]],
            }
            for total in book.totals()
        ],
    }


def _plain(mark: Mark) -> dict[str, Any]:
    """A mark without the seconds that it took: they differ each time, and the same marks are the same bytes."""
    return {name: value for name, value in asdict(mark).items() if name != "seconds"} | {"final": round(mark.final, 4)}


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
