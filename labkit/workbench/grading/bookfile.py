"""The file of a gradebook: opened by one process at a time, tried for damage, and never overwritten when damaged.

Every row ends with a seal, worked out from the rest of it: a disk that changes a digit changes no grade unnoticed.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL, seal TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS students (student TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL,
    numbers TEXT NOT NULL, seal TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS handed (student TEXT, notebook TEXT, submitted TEXT, notes TEXT NOT NULL,
    unreadable TEXT NOT NULL, seal TEXT NOT NULL, PRIMARY KEY (student, notebook));
CREATE TABLE IF NOT EXISTS marks (student TEXT, notebook TEXT, exercise TEXT, digest TEXT NOT NULL,
    status TEXT NOT NULL, share REAL NOT NULL, mistake TEXT NOT NULL, message TEXT NOT NULL, seconds REAL NOT NULL,
    right INTEGER NOT NULL, cases INTEGER NOT NULL, seal TEXT NOT NULL,
    PRIMARY KEY (student, notebook, exercise));
CREATE TABLE IF NOT EXISTS words (student TEXT, notebook TEXT, question TEXT, answer TEXT NOT NULL, points REAL,
    comment TEXT NOT NULL, marked TEXT NOT NULL, seal TEXT NOT NULL, PRIMARY KEY (student, notebook, question));
"""
DAMAGED = (sqlite3.Error, UnicodeDecodeError)  # the second: SQLite's own words may hold what is no text
COLUMNS = {
    "facts": "name, value",
    "students": "student, name, email, numbers",
    "handed": "student, notebook, submitted, notes, unreadable",
    "marks": "student, notebook, exercise, digest, status, share, mistake, message, seconds, right, cases",
    "words": "student, notebook, question, answer, points, comment, marked",
}


def opened(path: Path) -> tuple[sqlite3.Connection, str]:
    """Open a gradebook, or begin one; give it with a sentence that says if a damaged one was set aside, else "".

    Raises:
        ValueError: if another process has it open, it cannot be written, or it is a file of another program.
    """
    try:
        return _connected(path), ""
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise ValueError(
                f"{path} is open in another grading; wait until that has ended, or choose another --out"
            ) from None
        raise ValueError(
            f"cannot open the gradebook {path}: {error}. Every mark in it is as it was; set right what is said,"
            " or choose another --out"
        ) from None
    except sqlite3.DatabaseError as error:
        aside = _set_aside(path)
        database = _connected(path)
        kept = _take_over(aside, database)
        return database, (
            f"The gradebook {path.name} is damaged ({error}). It is kept as {aside.name}; {kept:,}"
            f" mark{'s' * (kept != 1)} that can still be trusted {'were' if kept != 1 else 'was'} taken over. What is"
            " missing is graded anew where it was handed in; compare with the tables of before, and fill in by_hand.csv"
            " where points for answers in words are gone."
        )


def _connected(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=0.5, isolation_level=None)
    try:
        # An exclusive lock that lasts until the file is closed: the system takes it off a process that is killed.
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        database.execute("PRAGMA journal_mode=TRUNCATE")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("BEGIN EXCLUSIVE")
        database.execute("COMMIT")
        if (found := database.execute("PRAGMA quick_check").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(" ".join(found.split())[:100])
        _refuse_strangers(database, path)
        database.executescript(TABLES)
        _check_seals(database)
        return database
    except UnicodeDecodeError:  # in the words with which SQLite would say what is wrong
        database.close()
        raise sqlite3.DatabaseError("it holds what is no text") from None
    except BaseException:
        database.close()
        raise


def _check_seals(database: sqlite3.Connection) -> None:
    for table, columns in COLUMNS.items():
        query = database.execute(f"SELECT {columns}, seal FROM {table}")
        try:
            broken = sum(seal != seal_of(row) for *row, seal in query)
        except sqlite3.Error as error:  # bytes that are no text
            raise sqlite3.DatabaseError(str(error)) from None
        if broken:
            raise sqlite3.DatabaseError(f"{broken} of the {table} in it changed from outside")


def seal_of(row: Iterable[Any]) -> str:
    """Give the seal of a row, the same before it is written and after it is read."""
    plain = [float(value) if isinstance(value, int | float) else value for value in row]
    return sha256(repr(plain).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def write_row(database: sqlite3.Connection, table: str, row: Iterable[Any]) -> None:
    """Write one row with its seal; it replaces the one with the same key."""
    row = list(row)
    marks = ", ".join("?" * (len(row) + 1))
    database.execute(f"INSERT OR REPLACE INTO {table} ({COLUMNS[table]}, seal) VALUES ({marks})", [*row, seal_of(row)])


def _take_over(aside: Path, database: sqlite3.Connection) -> int:
    """Copy every row of a damaged book whose seal is whole; give how many of them are marks."""
    taken = 0
    with contextlib.suppress(*DAMAGED), contextlib.closing(_only_to_read(aside)) as damaged:
        for table, columns in COLUMNS.items():
            with contextlib.suppress(*DAMAGED), transaction(database):
                for row in _whole_rows(damaged, table, columns):
                    write_row(database, table, row)
                    taken += table == "marks"
    return taken


def _only_to_read(path: Path) -> sqlite3.Connection:
    damaged = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    damaged.text_factory = lambda content: content.decode("utf-8", "replace")
    return damaged


def _whole_rows(damaged: sqlite3.Connection, table: str, columns: str) -> Iterator[list[Any]]:
    with contextlib.suppress(*DAMAGED):  # as far as it goes
        for *row, seal in damaged.execute(f"SELECT {columns}, seal FROM {table}"):
            if seal == seal_of(row):
                yield row


def closed(database: sqlite3.Connection) -> None:
    """Close a gradebook and leave one file; closing it twice does no harm."""
    with contextlib.suppress(sqlite3.Error):
        database.execute("PRAGMA journal_mode=DELETE")
    database.close()


def _refuse_strangers(database: sqlite3.Connection, path: Path) -> None:
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "facts" not in tables:
        raise ValueError(f"{path} is no gradebook but a database of something else; choose another --out")


def _set_aside(path: Path) -> Path:
    """Give a damaged file a name that nothing has."""
    names = (path.with_suffix(f".damaged-{number}{path.suffix}") for number in range(1, 10_000))
    aside = next(name for name in names if not name.exists())
    path.rename(aside)
    journal = Path(f"{path}-journal")
    if journal.exists():
        journal.rename(f"{aside}-journal")
    return aside


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All that is written within the block is kept, or none of it.

    Raises:
        OSError: if the disk is full or gone; what was kept before is still there.
    """
    try:
        database.execute("BEGIN")
        yield
        database.execute("COMMIT")
    except BaseException as error:
        with contextlib.suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise OSError(
                f"the gradebook cannot be written ({error}); every mark before is kept, and the same command goes on"
                " from there"
            ) from error
        raise
