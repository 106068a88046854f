"""Whose file it is, by where it lies: a folder for each student, flat files, Moodle's, Canvas's and nbgrader's ways."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from labkit.workbench.grading.handing_in.handedin import NOTEBOOK
from labkit.workbench.grading.handing_in.moments import moment_in
from labkit.workbench.grading.handing_in.roster import Roster, folded

MOODLE = re.compile(
    r"^(?P<name>.+?)_(?P<number>\d+)_(?:assignsubmission_(?:file|onlinetext)|submission)_?(?P<file>.*)$"
)
CANVAS = re.compile(r"^(?P<name>[^_/]+)_(?P<late>LATE_)?(?P<number>\d+)_(?P<hand>\d+)_(?P<file>.+)$")
ANONYMOUS = re.compile(r"^(?P<name>anon(?:ymous)?_)(?P<late>LATE_)?(?P<code>\w{4,8})_(?P<hand>\d+)_(?P<file>.+)$")
BLIND = {"participant", "teilnehmer", "teilnehmer in", "teilnehmer/in", "teilnehmerin"}
COPY_OF = re.compile(r"^(?:copy of|kopie von|copie de|copia de)\b[\s_-]*", re.IGNORECASE)
BLACKBOARD = re.compile(r"^(?P<work>.+)_(?P<name>[^_]+)_attempt_(?P<moment>[\d-]+)_?(?P<file>.*)$")
MOMENT = re.compile(
    r"(?<!\d)(20\d\d)[-_.]?([01]\d)[-_.]?([0-3]\d)[T_ -]+([0-2]\d)[-:_h.]?([0-5]\d)(?:[-:_.]?([0-5]\d))?"
    r"(Z|[+-]\d\d:?\d\d)?(?!\d)"
)
COPY = re.compile(r"(?:\s*\(\d+\)|[-_ ]*(?:copy|kopie)\d*|-\d{1,2})+$", re.IGNORECASE)


@dataclass(frozen=True)
class Who:
    """Whose file it is as its place says: a label and the number of a platform, "" if nothing says it.

    `file` is the name the student gave it; `place` is what keeps one person's files together.
    """

    label: str = ""
    number: str = ""
    file: str = ""
    place: str = ""
    moment: datetime | None = None
    attempt: int = 0
    late: bool = False


def whose(all_parts: Iterable[tuple[str, ...]], stems: Iterable[str], roster: Roster | None = None) -> list[Who]:
    """Give for each file whose it is; `stems` are the notebooks that were handed out."""
    all_parts, stems = list(all_parts), sorted(stems, key=len, reverse=True)
    skip = _wrapping(all_parts, stems, roster)
    return [_one(parts[:skip], parts[skip:], stems, roster) for parts in all_parts]


def _wrapping(all_parts: list[tuple[str, ...]], stems: list[str], roster: Roster | None) -> int:
    """How many folders lie around everything and name nobody, as in a zip of a folder."""
    skip = 0
    all_parts = [parts for parts in all_parts if NOTEBOOK.search(parts[-1])] or all_parts
    while all_parts and all(len(parts) > skip + 1 for parts in all_parts):
        heads = {parts[skip] for parts in all_parts}
        if len(heads) > 1 or _named(heads.pop(), roster):
            break
        nexts = {parts[skip + 1] for parts in all_parts}
        work = {part for part in nexts if NOTEBOOK.search(part) or _is_work(part, stems)}
        beside = any(NOTEBOOK.search(part) for part in nexts)
        if (work == nexts or beside) and not any(_flat_name(part, stems) for part in nexts):
            break  # one student's notebooks or assignments: the folder is the student
        skip += 1
    return skip


def _named(part: str, roster: Roster | None) -> bool:
    if MOODLE.match(part) or CANVAS.match(part):
        return True
    return bool(roster and roster.find(label=_without_zip(part)))


def _is_work(part: str, stems: list[str]) -> bool:
    """Whether a folder is called like a notebook or an assignment, and not like a person."""
    text = folded(part).replace(" ", "_").replace("-", "_")
    numbered = re.fullmatch(r"(?:week|woche|ps|hw|lab|assignment|blatt|exercise|attempt|abgabe|nb)?_?\d{1,2}", text)
    return bool(numbered) or any(text in (stem, stem.partition("_")[2]) for stem in stems)


def _flat_name(part: str, stems: list[str]) -> bool:
    return bool(MOODLE.match(part) or CANVAS.match(part) or ANONYMOUS.match(part) or _flat(part, stems)[0])


def _one(before: tuple[str, ...], parts: tuple[str, ...], stems: list[str], roster: Roster | None) -> Who:
    around = "/".join(before)
    for depth, part in enumerate(parts):
        part = _without_zip(part) if depth < len(parts) - 1 else part
        if found := ANONYMOUS.match(part):
            label = f"{found['name']}{found['code']}"
            attempt = re.search(r"-(\d{1,2})\.\w+$", found["file"])
            at = int(attempt[1]) if attempt else 0
            return Who(label, "", found["file"], label, _moment(found["file"]), at, bool(found["late"]))
        if found := MOODLE.match(part) or CANVAS.match(part):
            groups = found.groupdict()
            file = groups["file"] if depth == len(parts) - 1 and groups["file"] else parts[-1]
            hand = int(groups.get("hand") or 0)
            copies = re.search(r"-(\d{1,2})\.\w+$", file) if hand else None
            attempt = int(copies[1]) if copies else 0
            place = f"{groups['name']}_{groups['number']}"
            label = _spaced(groups["name"])
            label = f"Participant {groups['number']}" if folded(label) in BLIND else label
            return Who(label, groups["number"], file, place, _moment(file), attempt, bool(groups.get("late")))
        if found := BLACKBOARD.match(part):
            return Who(found["name"], "", found["file"] or part, found["name"], _moment(found["moment"]))
    if len(parts) > 1:
        at = _person_at(parts[:-1], stems, roster)
        place = "/".join([around, *parts[: at + 1]])
        moment = next((m for m in map(_moment, reversed(parts)) if m), None)
        return Who(_without_zip(parts[at]), "", parts[-1], place, moment)
    label, file = _flat(parts[-1], stems)
    return Who(label, "", file, f"{around}/{label}", _moment(parts[-1]))


def _person_at(folders: tuple[str, ...], stems: list[str], roster: Roster | None) -> int:
    if "submitted" in folders[:-1]:  # nbgrader: submitted/student/assignment/
        return folders.index("submitted") + 1
    known = [at for at, part in enumerate(folders) if roster and roster.find(label=_without_zip(part))]
    person = [at for at, part in enumerate(folders) if not _is_work(_without_zip(part), stems)]
    return (known or person or [0])[0]


def _flat(name: str, stems: list[str]) -> tuple[str, str]:
    """Split "student_notebook.ipynb" (or the other way round) at the name of a notebook that was handed out."""
    bare = MOMENT.sub("", NOTEBOOK.sub("", name)).strip(" _-.")
    bare = COPY.sub("", bare) or bare
    for stem in stems:
        at = folded(bare).find(stem)
        if at >= 0:
            rest = re.sub(r"(?i)^\.ipynb", "", bare[at + len(stem) :])
            label = COPY_OF.sub("", bare[:at]).strip(" _-.") or rest.strip(" _-.")
            return label, f"{stem}.ipynb"
    label, _, rest = bare.partition("_")
    return ("", name) if not rest or re.match(r"\d", label) else (label, name)


def _without_zip(part: str) -> str:
    return re.sub(r"(?i)\.zip$", "", part)


def _spaced(name: str) -> str:
    return name.replace("_", " ").replace("+", " ").strip()


def _moment(text: str) -> datetime | None:
    found = MOMENT.search(text)
    if not found:
        return None
    year, month, day, hour, minute, second, zone = found.groups()
    return moment_in(f"{year}-{month}-{day}T{hour}:{minute}:{second or '00'}{zone or ''}")


def stem_of(file: str, stems: Iterable[str]) -> str:
    """Give the notebook that a file is called after, or ""."""
    bare = folded(NOTEBOOK.sub("", file)).replace(" ", "_").replace("-", "_")
    exact = [stem for stem in stems if stem in bare]
    if exact:
        return max(exact, key=len)
    topics = {stem.partition("_")[2]: stem for stem in stems}
    near = [topic for topic in topics if topic and topic in bare]
    return topics[max(near, key=len)] if near else ""
