"""Release notebooks to a class: pages with empty holes, the course file, a README, and one zip of all."""

import csv
import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from labkit.workbench import coursefile, storing
from labkit.workbench import notebooks as course_notebooks
from labkit.workbench.course import Course, default_course, normalised
from labkit.workbench.names import unknown
from labkit.workbench.releasing import pages, writing
from labkit.workbench.releasing.leaks import leaks
from labkit.workbench.releasing.records import RECORD, HandedOut, Released, as_record, read_release
from labkit.workbench.releasing.wording import Wording, wording

COURSE_FILE = coursefile.FILE
README = "README.txt"
WHO = ("id", "student", "number", "name")  # columns of a roster that can say who somebody is, the first one counts
LONGEST_NAME = 60


def release_from(
    course_file: str | Path | None, notebooks: Iterable[str | Path] = (), out: str | Path = "handout", **options: Any
) -> Released:
    """Release notebooks by a course file; without one, by `course.toml` of this folder, or with what is usual.

    Raises:
        ValueError: as `release` does, and for a course file that is not right.
    """
    if course_file is None and Path(COURSE_FILE).is_file():
        course_file = COURSE_FILE
    if course_file is not None:
        course = coursefile.read_course(course_file)
    else:
        course = default_course(path.stem for path in course_notebooks.find(notebooks))
    return release(course, notebooks, out, **options)


def release(
    course: Course,
    notebooks: Iterable[str | Path] = (),
    out: str | Path = "handout",
    *,
    outputs: bool = False,
    language: str | None = None,
    students: str | Path | Iterable[str] | None = None,
    archive: bool = True,
) -> Released:
    """Write the named notebooks of a course (default: all) as they are handed out, into a folder and one zip.

    The same notebooks and course give the same bytes. What was released into the folder before stays, files of others
    too; `students` (a CSV, or names) adds a zip each, with the name filled in.

    Raises:
        ValueError: if a notebook cannot be handed out, a solution stands in one, or a file lies in the way.
        OSError: if the folder cannot be written; then it is as it was.
    """
    words, folder = wording(language), Path(out)
    paths = _of_course(course, list(notebooks))
    names = _names(course, students)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; --out wants a folder")
    earlier = _earlier(folder, course, paths)
    made, records = _pages(paths, course, words, outputs=outputs, language=language or "en")
    now = {**_written(made), **_frame(course, records, words)}
    files = {**now, **_frame(course, [*earlier, *records], words)}
    slug, sha256 = _slug(course.name) or "course", ""
    zipped = f"{slug}{_which(course, paths)}.zip" if archive else ""
    if archive:
        files[zipped] = writing.archive(now, slug)
        sha256 = writing.digest(files[zipped])
    for name, file in names.items():
        own = _written({stem: pages.named_for(page, name) for stem, page in made.items()})
        files[f"students/{file}.zip"] = writing.archive({**now, **own}, slug)
    digests = {name: writing.digest(content) for name, content in files.items()}
    placed = tuple(replace(each, path=folder / f"{each.notebook}.ipynb") for each in records)
    done = Released(folder, course.name, course.term, placed, digests, folder / zipped if archive else None, sha256)
    record = as_record(done, earlier)
    record["files"] = {**_still_there(folder), **digests}
    writing.write(folder, files, record)
    return done


def _of_course(course: Course, names: list[str | Path]) -> list[Path]:
    found = course_notebooks.find(names or course.notebooks)
    stems = [path.stem for path in found]
    for stem in stems:
        if stem not in course.notebooks:
            raise ValueError(f"{unknown('notebook', stem, course.notebooks)} in the course file; add it to notebooks")
        if stems.count(stem) > 1:
            raise ValueError(f"two of the files are called {stem}; release one of them")
    return sorted(found, key=lambda path: course.notebooks.index(path.stem))


def _names(course: Course, students: str | Path | Iterable[str] | None) -> dict[str, str]:
    """Give the students and the file name of each."""
    if students is None:
        return {}
    if course.seeds != "student":
        raise ValueError(
            'everybody gets the same notebooks (seeds = "same" in the course file); leave --students out, or write '
            'seeds = "student"'
        )
    names = _roster(Path(students)) if isinstance(students, str | Path) else [str(name).strip() for name in students]
    files: dict[str, str] = {}
    seen: dict[str, str] = {}
    for name in names:
        if not normalised(name):
            raise ValueError("a student in the list has no name or number; fill it in")
        if normalised(name) in seen:
            raise ValueError(f"{name!r} stands twice in the list of students; give each a number of their own")
        seen[normalised(name)] = name
        slug = _slug(name)
        if slug != name or slug in files.values():
            slug = f"{slug}-{hashlib.sha256(normalised(name).encode()).hexdigest()[:6]}".strip("-")
        files[name] = slug
    return files


def _roster(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV in UTF-8 ({error}); save it as such") from None
    columns = {(column or "").strip().lower(): column for row in rows[:1] for column in row}
    column = next((columns[name] for name in WHO if name in columns), None)
    if column is None:
        have = ", ".join(columns) or "nothing"
        raise ValueError(
            f"{path} has no column that says who a student is: expected one of {', '.join(WHO)}; got {have}"
        )
    return [(row[column] or "").strip() for row in rows if any(row.values())]


def _earlier(folder: Path, course: Course, paths: list[Path]) -> list[HandedOut]:
    """Give what was released into the folder before and is not released again; refuse another course's folder."""
    if any(path.parent == folder.resolve() for path in paths):
        raise ValueError(f"{folder} holds the notebooks themselves; choose another folder for what is handed out")
    if not (folder / RECORD).exists():
        return []
    before = read_release(folder)
    if (before.course, before.term) != (course.name, course.term):
        theirs = " · ".join(filter(None, (before.course, before.term))) or "a course without a name"
        raise ValueError(f"{folder} holds what was released of {theirs}; choose another folder")
    again = {path.stem for path in paths}
    return [each for each in before.notebooks if each.notebook not in again and each.notebook in course.notebooks]


def _still_there(folder: Path) -> dict[str, str]:
    return dict(read_release(folder).files) if (folder / RECORD).exists() else {}


def _pages(paths: list[Path], course: Course, words: Wording, **options: Any) -> tuple[dict[str, Any], list[HandedOut]]:
    from labkit.workbench.checking import all_exercises

    exercises = {exercise.id: exercise for exercise in all_exercises()}
    made, records = {}, []
    for path in paths:
        made[path.stem], record = pages.handed_out(path, course, exercises, words, **options)
        records.append(record)
        found = leaks(made[path.stem], exercises.values())
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise ValueError(f"{path.name}: {found[0]}{more}; take it out, nothing was released")
    return made, records


def _written(made: dict[str, Any]) -> dict[str, bytes]:
    return {f"{stem}.ipynb": storing.written(page).encode() for stem, page in made.items()}


def _frame(course: Course, records: list[HandedOut], words: Wording) -> dict[str, bytes]:
    """Give the course file and the README that lie beside these notebooks."""
    ordered = sorted(records, key=lambda each: course.notebooks.index(each.notebook))
    public = coursefile.public_copy(course, [each.notebook for each in ordered])
    return {COURSE_FILE: public.encode(), README: _readme(course, ordered, words).encode()}


def _readme(course: Course, records: list[HandedOut], words: Wording) -> str:
    lines = [f"  {COURSE_FILE}: {words.beside}"]
    for each in reversed(records):
        told = [words.points.format(points=f"{sum(each.points.values()):g}")]
        if each.notebook in course.deadlines:
            moment = course.deadlines[each.notebook]
            told.append(words.due.format(moment=f"{moment:%Y-%m-%d %H:%M} (UTC{moment:%z})"))
        lines.insert(0, f"  {each.notebook}.ipynb: {', '.join(told)}")
    title = " · ".join(filter(None, (course.name, course.term))) or course_notebooks.DISTRIBUTION
    work = words.work.replace("{repository}", course_notebooks.repository())
    work += f"\n{words.named}" if course.seeds == "student" else ""
    return "\n\n".join([title, "\n".join([words.here, *lines]), work, words.hand_in]) + "\n"


def _slug(name: str) -> str:
    """Give a name as it can be one of a file on every system."""
    return re.sub(r"[^\w.]+", "-", name).strip("-._")[:LONGEST_NAME]


def _which(course: Course, paths: list[Path]) -> str:
    """Give what a zip's name says of its notebooks: their numbers, nothing when they are all of the course."""
    if len(paths) == len(course.notebooks):
        return ""
    numbers = [stem.partition("_")[0] for stem in course.notebooks]
    labels = []
    for stem in (path.stem for path in paths):
        number = stem.partition("_")[0]
        labels.append(number if numbers.count(number) == 1 else stem)
    return "-" + "-".join(labels)
