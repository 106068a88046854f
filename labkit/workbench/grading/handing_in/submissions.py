"""What collecting finds: notebooks that can be graded, and files that cannot be read, each with a sentence."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Definition:
    """One statement at the top of a cell: what it binds or changes, what it needs when it runs and when it is called.

    `plain` says that it may be taken from a cell of the course: an import, a function, a class or a constant. `sets`
    are global names that a function changes when it is called, `calls` the function that a statement calls, and the
    names it is given.
    """

    position: int
    cell: str
    own: bool
    source: str
    binds: frozenset[str]
    changes: frozenset[str]
    now: frozenset[str]
    later: frozenset[str]
    plain: bool
    sets: frozenset[str] = frozenset()
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one notebook holds, read and never executed.

    `answers` maps the id of an exercise to the source that defines the answer, `names` to the expression that gives it
    once that source has run after `definitions.preamble`. `troubles` are answers that cannot be compiled, `untouched`
    those that are still the hole, `missing` those that stand nowhere. `words` are the answers to questions in words.
    """

    answers: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    untouched: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    words: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    typed: str = ""
    places: dict[str, int] = field(default_factory=dict, repr=False, compare=False)
    definitions: tuple[Definition, ...] = field(default=(), repr=False, compare=False)
    lost: dict[str, str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Submission(Found):
    """One notebook of one student: what it holds, whose it is, and when it was handed in."""

    student: str
    path: Path
    notebook: str
    version: str = ""
    submitted: datetime | None = None
    submitted_from: str = ""
    name: str = ""
    email: str = ""


@dataclass(frozen=True)
class Unreadable:
    """A file that was handed in and cannot be graded; `reason` names it and says what to hand in instead."""

    student: str
    path: Path
    reason: str
    notebook: str = ""
    submitted: datetime | None = None
    submitted_from: str = ""
    name: str = ""
    notes: tuple[str, ...] = ()
