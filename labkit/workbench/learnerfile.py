"""The learner's own progress: one small file on this machine, which the learner may look at, move and delete.

It holds which exercises were tried and solved, when, with which known mistakes, and the hints and solutions that were
looked at; no answers and no names. A fault of the file never stops a check: it is set aside, with a sentence.
"""

import glob
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

try:
    import sqlite3
except ImportError:  # a Python in the browser, or one that was built without it: nothing is kept there
    sqlite3 = None

VARIABLE = "LABKIT_PROGRESS"
FILE = "progress.db"
KINDS = ("correct", "wrong", "error", "hint", "solution")
PATIENCE = 2.0  # seconds to wait for another kernel that is writing; a learner waits for a check
IN_VAIN = 0.1  # and once that was in vain: a drive without locks does not get better by waiting
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    time REAL NOT NULL, notebook TEXT NOT NULL, exercise TEXT NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL
)"""
OURS = SCHEMA.strip().replace("IF NOT EXISTS ", "").encode()  # stands so on the first page of every learner's file
_said: set[str] = set()  # each remark once in a kernel


@dataclass(frozen=True)
class Event:
    """One thing that happened: a check (`detail` names a known mistake), a hint (its number) or a solution shown."""

    time: float
    notebook: str
    exercise: str
    kind: str
    detail: str = ""


@dataclass(frozen=True)
class Record:
    """What the file says of one exercise; times are seconds since 1970."""

    notebook: str
    exercise: str
    solved: bool
    checks: int
    hints: int
    solution_seen: bool
    mistakes: tuple[str, ...]
    first: float
    last: float


def place() -> Path | None:
    """Give the learner's file: what LABKIT_PROGRESS names, else one in the user's data folder; None when it is off.

    It is off with LABKIT_PROGRESS=off, and in runs that nobody sits at (labkit run, tests) unless a file is named.
    """
    named = os.environ.get(VARIABLE, "").strip()
    if is_off():
        return None
    if named:
        path = _named(named)
        return path / FILE if path.is_dir() else path
    if os.environ.get("LABKIT_HEADLESS") or "PYTEST_VERSION" in os.environ:
        return None
    return _data_folder() / "llm-labkit" / FILE


def is_off() -> bool:
    """Tell whether nothing is kept here because somebody said so, or because this Python cannot."""
    return sqlite3 is None or os.environ.get(VARIABLE, "").strip().lower() in ("off", "0", "no", "false", os.devnull)


def _named(name: str) -> Path:
    try:
        return Path(name).expanduser().absolute()
    except RuntimeError:
        raise RuntimeError(f"{VARIABLE} is {name!r}, and there is no such home folder; write the whole path") from None


def _data_folder() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def note(notebook: str, exercise: str, kind: str, detail: str = "") -> None:
    """Write down that something happened; whatever is wrong with the file, this only says so, once."""
    try:
        path = place()
        if path is not None:
            _keep(path, Event(time.time(), notebook, exercise, kind, detail))
    except (OSError, sqlite3.Error, RuntimeError) as error:  # RuntimeError: there is no home folder
        _say(f"your progress could not be kept ({error}); {VARIABLE}=off turns that off")


def _keep(path: Path, event: Event) -> None:
    try:
        _insert(path, event)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        _set_aside(path)
        _insert(path, event)


def _insert(path: Path, event: Event) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path) as base, base:  # the inner one is a transaction: all of it is kept, or nothing
        _refuse_others(base, path)
        base.execute(SCHEMA)
        values = (event.time, event.notebook, event.exercise, event.kind, event.detail)
        base.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", values)


@contextmanager
def _opened(path: Path) -> "Iterator[sqlite3.Connection]":
    patience = IN_VAIN if any("locked" in sentence for sentence in _said) else PATIENCE
    with closing(sqlite3.connect(path, timeout=patience)) as base:
        yield base


def _refuse_others(base: "sqlite3.Connection", path: Path) -> None:
    tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if any(name != "events" and not name.startswith("sqlite_") for name in tables):
        raise OSError(f"{path} is kept by another program")


def _is_damage(error: Exception) -> bool:
    """Tell a damaged file (or one of another program) from one that is only busy, full or read-only."""
    if not isinstance(error, sqlite3.OperationalError):
        return True
    return any(words in str(error) for words in ("no such column", "columns but"))


def _set_aside(path: Path) -> None:
    """Give a damaged file another name beside it, and say so."""
    names = (path.with_name(f"{path.stem}-damaged{number or ''}{path.suffix}") for number in range(10_000))
    spare = next(name for name in names if not name.exists())
    try:
        path.replace(spare)
    except FileNotFoundError:  # another kernel was faster
        return
    for ending in ("-journal", "-wal"):  # what belonged to the damaged one must not be mixed into the next
        path.with_name(path.name + ending).unlink(missing_ok=True)
    _say(f"the file of your progress was damaged; it is now {spare}, and a new one was begun")


def _say(sentence: str) -> None:
    if sentence not in _said:
        _said.add(sentence)
        print(f"labkit: {sentence}", file=sys.stderr, flush=True)


def events() -> list[Event]:
    """Give everything that the file holds, in order; nothing where there is no file or it is off."""
    path = place()
    if path is None or not path.is_file():
        return []
    try:
        with _opened(path) as base:
            rows = base.execute("SELECT time, notebook, exercise, kind, detail FROM events ORDER BY rowid")
            return [Event(*row) for row in rows if _is_event(row)]
    except sqlite3.DatabaseError as error:
        if "no such table" in str(error):  # begun, and nothing written yet
            return []
        if _is_damage(error):
            _set_aside(path)
            return []
        raise RuntimeError(f"the file of your progress, {path}, cannot be read now: {error}") from None


def _is_event(row: tuple) -> bool:
    when, *words = row
    return isinstance(when, int | float) and all(isinstance(word, str) for word in words) and row[3] in KINDS


def records() -> dict[str, Record]:
    """Give what the file says of each exercise that was begun, by its id; the one worked on last comes last."""
    by_exercise: dict[str, list[Event]] = {}
    for event in events():
        found = by_exercise.pop(event.exercise, [])
        found.append(event)
        by_exercise[event.exercise] = found
    return {name: _record(found) for name, found in by_exercise.items()}


def _record(found: list[Event]) -> Record:
    kinds = Counter(event.kind for event in found)
    return Record(
        notebook=found[-1].notebook,
        exercise=found[-1].exercise,
        solved=kinds["correct"] > 0,
        checks=kinds["correct"] + kinds["wrong"] + kinds["error"],
        hints=len({event.detail for event in found if event.kind == "hint"}),  # seen again, it is still one hint
        solution_seen=kinds["solution"] > 0,
        mistakes=tuple(dict.fromkeys(event.detail for event in found if event.kind == "wrong" and event.detail)),
        first=found[0].time,
        last=found[-1].time,
    )


def files() -> list[Path]:
    """Give the files that there are: the learner's, what a crash in the middle left beside it, damaged ones.

    What was never a learner's file is not among them, whatever its name: `forget` must not delete it.
    """
    path = place()
    if path is None:
        return []
    beside = [path.with_name(path.name + ending) for ending in ("-journal", "-wal", "-shm")]
    damaged = sorted(path.parent.glob(f"{glob.escape(path.stem)}-damaged*{glob.escape(path.suffix)}"))
    if path.is_file() and not _is_ours(path):
        return []
    return [each for each in (path, *beside, *filter(_is_ours, damaged)) if each.is_file()]


def _is_ours(path: Path) -> bool:
    """Tell whether a file was begun as a learner's, damaged since or not; an empty one is nobody's loss."""
    with path.open("rb") as file:
        start = file.read(4096)
    return not start or OURS in start


def forget() -> None:
    """Delete the learner's file and what lies beside it.

    Raises:
        OSError: if a file cannot be deleted.
    """
    for path in files():
        path.unlink(missing_ok=True)
