"""Everything a class handed in, read and never executed: who, which notebook, when, and what is answered in it."""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from labkit.workbench.grading.handing_in.extracting import extract
from labkit.workbench.grading.handing_in.handedin import HandedIn, files_in
from labkit.workbench.grading.handing_in.handedout import Page, labkit_metadata, pages
from labkit.workbench.grading.handing_in.layouts import Who, stem_of, whose
from labkit.workbench.grading.handing_in.moments import aware, moment_in
from labkit.workbench.grading.handing_in.people import Handed, for_each_member, settle
from labkit.workbench.grading.handing_in.reading import (
    INSTEAD,
    MOST_BYTES,
    Notebook,
    NotReadable,
    read_notebook,
    too_large,
)
from labkit.workbench.grading.handing_in.roster import Roster, folded, read_moments, read_roster
from labkit.workbench.grading.handing_in.submissions import Submission, Unreadable
from labkit.workbench.personal import STUDENT_CELL

MOMENTS = "submitted.csv"
EARLIEST = datetime.min.replace(tzinfo=UTC)
PLAIN_FILES = {"course.toml", "release.json", "readme.txt", "readme.md", MOMENTS}


def collect(
    place: str | Path,
    course: Any = None,
    released: Any = None,
    *,
    students: Any = None,
    times: str | Path | None = None,
    zone: tzinfo | None = None,
) -> list[Submission | Unreadable]:
    """Give all that lies in a folder or zip: for each student and notebook one submission, or why it cannot be read.

    `released` is what was handed out (a folder or zip; without it the course's own notebooks), `students` the list of
    the class, `times` a CSV that says when each was handed in, `zone` the time zone of times that say none.

    Raises:
        ValueError: for what the teacher can cause: no such place, nothing in it, a list that cannot be read.
    """
    place = Path(place)
    page_of = pages(released, course)
    roster = students if isinstance(students, Roster) else read_roster(students) if students else None
    zone = zone or _zone(course)
    with ExitStack() as stack:
        files = files_in(place, stack)
        moments = _moments(times, place, files, zone)
        files = [each for each in files if each.parts[-1].lower() not in PLAIN_FILES]
        people = whose([each.parts for each in files], page_of, roster)
        stamps = {_folder(f): _stamp(f) for f in files if f.parts[-1] == "timestamp.txt" and not f.refused}
        handed = [
            _read(file, who, page_of, course, stamps) for file, who in zip(files, people, strict=True) if _counts(file)
        ]
    if not handed:
        raise ValueError(
            f"nobody handed in anything in {str(place)!r}; expected notebooks (.ipynb), or folders or zips of them"
        )
    handed = for_each_member(handed, roster)
    settle(handed, roster)
    for each in handed:
        _set_moment(each, moments, zone)
    found = [*_notebooks(handed, getattr(course, "deadlines", None) or {}), *_others(handed)]
    return sorted(found, key=lambda each: (folded(each.student), each.notebook, str(each.path)))


def _counts(file: HandedIn) -> bool:
    return file.parts[-1] != "timestamp.txt"


def _folder(file: HandedIn) -> tuple[str, ...]:
    return file.parts[:-1]


def _stamp(file: HandedIn) -> str:
    try:
        return file.read()[:200].decode("utf-8", "replace").strip().replace(" UTC", "+00:00")
    except NotReadable:
        return ""


def _zone(course: Any) -> tzinfo | None:
    deadlines = getattr(course, "deadlines", None) or {}
    return next((moment.tzinfo for moment in deadlines.values()), None)


def _moments(times: Any, place: Path, files: list[HandedIn], zone: tzinfo | None) -> dict[tuple[str, str], datetime]:
    if times is None and place.is_dir() and (place / MOMENTS).is_file():
        times = place / MOMENTS
    return read_moments(times, zone) if times else {}


def _read(file: HandedIn, who: Who, page_of: dict[str, Page], course: Any, stamps: dict) -> Handed:
    """Read one file as far as it can be read."""
    handed = Handed(file, who, stem=stem_of(who.file or file.parts[-1], page_of), stamp=stamps.get(_folder(file), ""))
    if file.refused:
        return replace(handed, reason=file.refused)
    if not (file.is_notebook or file.parts[-1].lower().endswith(".json")):
        return handed
    called = "/".join(file.parts[-2:])
    try:
        if file.size > MOST_BYTES:
            raise NotReadable(too_large(called, file.size))
        notebook = read_notebook(file.read(), called)
        page, notes = _page(notebook, handed.stem, page_of, called)
    except NotReadable as problem:
        return replace(handed, reason=str(problem))
    found = extract(notebook, page, _questions(course, page))
    stamp = labkit_metadata(notebook.metadata).get("version")
    version = stamp if isinstance(stamp, str) else ""
    if version != page.version and version:
        given = f"version {page.version} was handed out" if page.version else "read beside the repository's page"
        notes.append(f"it was made from version {version[:20]}, and {given}; cells were recognised by their ids")
    own_numbers = getattr(course, "seeds", "same") == "student" and STUDENT_CELL in page.by_id
    if own_numbers and not found.typed and not _asks_nothing_with_numbers(page):
        notes.append("nobody's name stands in the cell `course-student`; questions are marked with the page's numbers")
    found = replace(found, notes=(*notes, *found.notes))
    return replace(handed, stem=page.notebook, found=found, version=version, typed=found.typed)


def _asks_nothing_with_numbers(page: Page) -> bool:
    return not any("given(" in cell.source for cell in page.cells if cell.kind == "code")


def _questions(course: Any, page: Page) -> dict[str, str]:
    asked = getattr(course, "manual", None) or {}
    return {**page.questions, **{each.id: each.cell for each in asked.get(page.notebook, ())}}


def _page(notebook: Notebook, stem: str, page_of: dict[str, Page], called: str) -> tuple[Page, list[str]]:
    """Find which page a notebook was made from: by its metadata, the ids and texts of its cells, its exercises."""
    said = labkit_metadata(notebook.metadata).get("notebook")
    ids = {cell.id for cell in notebook.cells if cell.id}
    texts = {cell.source.strip() for cell in notebook.cells if len(cell.source) > 20}
    everything = "\n".join(texts)
    scores = {
        name: len(ids & page.by_id.keys()) + len(texts & page.texts) + 5 * _exercises(page, everything)
        for name, page in page_of.items()
    }
    best = max(scores, key=lambda name: (scores[name], name == said, name == stem))
    told = said in page_of or (scores[best] and best == stem)
    if not told and (scores[best] < 3 or not _exercises(page_of[best], everything)):  # all pages begin alike
        what = f"the notebook {said!r}" if isinstance(said, str) and said else "a notebook"
        known = ", ".join(page_of)
        raise NotReadable(
            f"{called} is {what[:80]}, and not one that was handed out ({known}): hand in the one you got"
        )
    if isinstance(said, str) and said in page_of and scores[said] * 2 >= scores[best]:
        best = said
    notes = [f"the file is called like {stem}, and by its cells it is {best}"] if stem and stem != best else []
    return page_of[best], notes


def _exercises(page: Page, text: str) -> int:
    """How many exercises of a page are named in a text."""
    return sum(f'"{name}"' in text or f"'{name}'" in text for name in page.exercises)


def _set_moment(each: Handed, moments: dict[tuple[str, str], datetime], zone: tzinfo | None) -> None:
    """Find when a file was handed in, the surest source first."""
    names = {
        folded(name) for name in (each.key, each.name, each.email, each.who.label, each.who.number, each.typed) if name
    }
    for name in sorted(names):
        for stem in (each.stem, each.stem[:2], ""):
            if (name, folded(stem)) in moments:
                each.moment, each.clock = moments[name, folded(stem)], MOMENTS
                return
    for text, clock in ((each.sheet, "worksheet"), (each.stamp, "timestamp.txt")):
        moment = moment_in(text)
        if moment is not None:
            each.moment, each.clock = aware(moment, zone), clock
            return
        if any(sign.isdecimal() for sign in text):
            each.notes.append(f"“{text[:60]}”, when it was handed in as the {clock} says, cannot be read as a time")
    moment, clock = (each.who.moment, "name") if each.who.moment else (each.file.moment, each.file.clock)
    each.moment, each.clock = (aware(moment, zone), clock) if moment else (None, "")


def _notebooks(handed: list[Handed], deadlines: dict[str, datetime]) -> Iterable[Submission | Unreadable]:
    """One for each student and notebook: the last that can be read."""
    groups: dict[tuple[str, str], list[Handed]] = defaultdict(list)
    for each in handed:
        if each.found or each.reason:
            groups[each.key, each.stem].append(each)
    for (_, stem), group in groups.items():
        group.sort(key=_when)
        readable = [one for one in group if one.found]
        if readable:
            yield _submission(readable[-1], [one for one in group if one is not readable[-1]], deadlines.get(stem))
        elif stem:
            yield _unreadable(group[-1], [f"{one.shown} was handed in too" for one in group[:-1]])
        else:
            yield from (_unreadable(one, []) for one in group)


def _when(one: Handed) -> tuple:
    """What says which of several files is the last: the number of the attempt, as clocks go back, else the time."""
    return one.who.attempt, one.moment or EARLIEST, one.file.parts


def _submission(last: Handed, others: list[Handed], deadline: datetime | None) -> Submission:
    notes = [*last.notes, *last.found.notes]
    earlier = [one.shown for one in others if one.found]
    if earlier:
        notes.insert(
            0,
            f"{len(earlier) + 1} files were handed in; the last counts ({last.shown}), not {', '.join(earlier[:5])}",
        )
    in_time = [one.shown for one in others if deadline and one.found and one.moment and one.moment <= deadline]
    if in_time and last.moment and last.moment > deadline:
        notes.insert(1, f"that file came after the deadline, and {in_time[-1]} in time; remove one to choose the other")
    notes += [f"another file cannot be read: {one.reason}" for one in others if one.reason]
    found = vars(last.found) | {"notes": tuple(notes)}
    return Submission(
        student=last.key, path=last.file.path, notebook=last.stem, version=last.version,
        submitted=last.moment, submitted_from=last.clock, name=last.name, email=last.email, **found,
    )  # fmt: skip


def _unreadable(each: Handed, notes: list[str]) -> Unreadable:
    return Unreadable(
        each.key, each.file.path, each.reason, each.stem, each.moment, each.clock, each.name, (*each.notes, *notes)
    )


def _others(handed: list[Handed]) -> Iterable[Unreadable]:
    """Students who handed in files, and none of them a notebook."""
    groups: dict[str, list[Handed]] = defaultdict(list)
    for each in handed:
        groups[each.key].append(each)
    for group in groups.values():
        if not any(one.found or one.reason for one in group):
            names = ", ".join(one.file.parts[-1] for one in group[:5])
            reason = f"{names} came from {group[0].name or group[0].key}, and no notebook; {INSTEAD}"
            yield replace(_unreadable(group[-1], []), reason=reason)
