"""The course file `course.toml`: read with a sentence for every slip, written for handing out, found by a kernel."""

import functools
import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from labkit.workbench import display, notebooks
from labkit.workbench.course import Course, LateRule, Manual, default_course, normalised, seed_of
from labkit.workbench.coursereading import Reading
from labkit.workbench.names import nearest

__all__ = [
    "FILE",
    "Course",
    "LateRule",
    "Manual",
    "default_course",
    "in_effect",
    "normalised",
    "public_copy",
    "read_course",
    "seed_of",
]

FILE = "course.toml"
# What people write that is no TOML, and what to write instead; the first that fits a line is said.
ADVICE = {
    r"=\s*(True|False)\b": "Write true and false in small letters.",
    "[\u201c\u201d\u201e\u00ab\u00bb]": 'Write straight quotes, as in "…".',
    r"=\s*\d+(\.\d+)?\s*%": "A share is written as a number from 0 to 1: 10 % is 0.1.",
    r"=\s*\d+,\d": "Decimals have a point, as in 0.1.",
    r"=\s*\.\d": "Write the zero before the point, as in 0.1.",
    r"=\s*(\d{4}-|\d+[./]\d+[./])": "A date with a time is written 2026-11-30T23:59:00+01:00, seconds included.",
    r"=\s*[A-Za-z]": 'Words stand in quotes, as in name = "…".',
}
LARGEST = 1_000_000  # bytes; what is larger was not written by a teacher


def read_course(path: str | Path, *, thorough: bool = True) -> Course:
    """Read a course file, or the `course.toml` of a folder.

    `thorough=False` takes the names of notebooks, exercises and cells as they are written, as a learner's kernel does.

    Raises:
        ValueError: if there is no such file, or with one line for each thing in it that cannot be: what stands there,
            what was expected, what to write.
    """
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    text = _text(path)
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name} is no valid TOML: {error}. {_advice(text, str(error))}".strip()) from None
    exercises = _exercises() if thorough else ()
    reading = Reading(path.name, text, tables, _files(path), exercises, trusting=not thorough)
    course = reading.course()
    if reading.problems:
        raise ValueError(reading.refusal())
    return course


def _text(path: Path) -> str:
    if not path.is_file():
        beside = [each.name for each in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        guess = nearest(path.name, beside)
        hint = f"did you mean {guess!r}? " if guess else ""
        raise ValueError(f"there is no file {str(path)!r}; {hint}docs/course.toml is an example to copy")
    content = path.read_bytes()
    if len(content) > LARGEST:
        raise ValueError(f"{path.name} has {len(content):,} bytes; a course file has at most {LARGEST:,}")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not written in UTF-8; save it again with that encoding") from None


def _advice(text: str, error: str) -> str:
    """Say what to write in place of a line that is no TOML."""
    place = re.search(r"at line (\d+)", error)
    line = text.split("\n")[int(place[1]) - 1].strip() if place else ""
    fits = (advice for pattern, advice in ADVICE.items() if re.search(pattern, line))
    if "overwrite" in error or "twice" in error:
        return "The same name stands there twice; keep one."
    return next(fits, "") or (f"The line is: {line[:80]}" if line else "")


def _files(path: Path) -> dict[str, Path]:
    """Give the notebooks that the names in a course file are compared with: the course's and those beside the file."""
    beside = list(path.resolve().parent.glob("[0-9][0-9]_*.ipynb"))
    try:
        found = {each.stem: each for each in (*notebooks.find(), *beside) if re.match(r"\d\d_", each.name)}
    except ValueError:  # there is no folder of notebooks; without any beside the file, names are taken as written
        found = {each.stem: each for each in beside}
    return dict(sorted(found.items()))


def _exercises() -> tuple[Any, ...]:
    from labkit.workbench.checking import all_exercises  # which asks this module what the course allows

    return all_exercises()


def public_copy(course: Course, only: Iterable[str] | None = None) -> str:
    """Give the text of the course file that is handed out with the notebooks `only` (default: all of the course).

    It has what learners need to know. The teacher's remarks, the questions in words (they stand in the notebooks) and
    whatever belongs to notebooks that are not handed out yet are left out.
    """
    stems = [stem for stem in course.notebooks if only is None or stem in set(only)]
    theirs = _owners(course.points)
    name = course.name or "llm-labkit"  # without a course file there is none, and a course file needs one
    lines = ["# Comes with the notebooks: leave it beside them.", "[course]", f"name = {_quoted(name)}"]
    lines += [f"term = {_quoted(course.term)}"] if course.term else []
    lines += [f"notebooks = [{', '.join(_quoted(stem) for stem in stems)}]", f"seeds = {_quoted(course.seeds)}"]
    lines += [f"{name} = {str(getattr(course, name)).lower()}" for name in ("solutions", "hints")]
    weights = {stem: course.weights[stem] for stem in stems if stem in course.weights}
    lines += _written("weights", {stem: f"{weight:.10g}" for stem, weight in weights.items() if sum(weights.values())})
    deadlines = {stem: course.deadlines[stem] for stem in stems if stem in course.deadlines}
    lines += _written("deadlines", {stem: moment.isoformat() for stem, moment in deadlines.items()})
    late = {"grace_minutes": course.late.grace, "per_day": course.late.per_day, "most": course.late.most}
    lines += _written("late", {name: f"{value:.10g}" for name, value in late.items()} if course.deadlines else {})
    points = {each: value for each, value in course.points.items() if theirs.get(each) in stems}
    lines += _written("points", {_quoted(each): f"{value:.10g}" for each, value in points.items()})
    return "\n".join(lines) + "\n"


def _owners(points: Iterable[str]) -> dict[str, str]:
    return {each.id: each.notebook for each in _exercises()} if list(points) else {}


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _written(table: str, entries: dict[str, str]) -> list[str]:
    return ["", f"[{table}]", *(f"{key} = {value}" for key, value in entries.items())] if entries else []


def in_effect() -> Course | None:
    """Give the course of this kernel: `course.toml` in its working folder or the one above; None without one.

    Never raises: of a file that cannot be read one sentence is shown, once, and the course is as without it.
    """
    try:
        here = Path.cwd()
        path = next((place / FILE for place in (here, here.parent) if (place / FILE).is_file()), None)
        return _cached(path, path.stat().st_mtime_ns) if path else None
    except OSError:  # the folder or the file is gone, or may not be read
        return None


@functools.lru_cache(maxsize=8)
def _cached(path: Path, written: int) -> Course | None:
    try:
        return read_course(path, thorough=False)
    except (ValueError, OSError) as error:
        first = str(error).splitlines()[0].rstrip(";")
        title = "The course file is left aside, since it cannot be read"
        display.publish(f"{title}: {first}", display.card(title, display.paragraphs(first), "quiet"))
        return None
