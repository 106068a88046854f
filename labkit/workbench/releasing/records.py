"""What was released: the record beside the notebooks, and the stamp by which grading knows a version again."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from labkit.workbench.course import Course
from labkit.workbench.notebooks import DISTRIBUTION

RECORD = "release.json"


@dataclass(frozen=True)
class HandedOut:
    """One notebook of a release: cells of exercises and questions, points of both (a question is `question:<id>`)."""

    notebook: str
    path: Path
    version: str
    exercises: dict[str, str]
    points: dict[str, float]
    questions: dict[str, str] = field(default_factory=dict)
    deadline: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Released:
    """A release: its folder, the notebooks handed out now, the names of all files, the zip and its sha256."""

    folder: Path
    course: str
    term: str
    notebooks: tuple[HandedOut, ...]
    files: dict[str, str]
    archive: Path | None = None
    sha256: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the teacher should know, one sentence each."""
        return tuple(f"{each.notebook}: {note}" for each in self.notebooks for note in each.notes)

    def summary(self) -> str:
        """Give the text that the command prints."""
        from labkit.workbench import report

        rows = [
            (
                each.notebook,
                len(each.exercises),
                len(each.questions),
                f"{sum(each.points.values()):g}",
                each.deadline or "-",
                each.version,
            )
            for each in self.notebooks
        ]
        head = ("notebook", "exercises", "questions", "points", "deadline", "version")
        table = report.table(head, rows, right=(1, 2, 3))
        total = f"\n{sum(len(each.exercises) for each in self.notebooks)} exercises, "
        total += f"{sum(sum(each.points.values()) for each in self.notebooks):g} points"
        written = f"written to {self.folder}: {', '.join(_shortened(self.files))}"
        zipped = [f"sha256 of {self.archive.name}: {self.sha256}"] if self.archive else []
        given = self.archive.name if self.archive else "the notebooks and course.toml"
        after = f"Give your students {given}, and keep {self.folder}: labkit grade SUBMISSIONS --released {self.folder}"
        return "\n".join([table, total, written, *zipped, *self.notes, after])


def _shortened(files: Iterable[str]) -> list[str]:
    """Give the names of files; those of students, which may be many, as their number."""
    own = [name for name in files if not name.startswith("students/")]
    personal = sum(name.startswith("students/") for name in files)
    return [*own, *([f"students/ ({personal} zips)"] if personal else [])]


def labkit_version() -> str:
    """Give the version of the installed package; "0" for a checkout that is not installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0"


def version_of(
    course: Course, notebook: str, exercise_points: Mapping[str, float], question_ids: Iterable[str] = ()
) -> str:
    """Give the stamp of a handed-out notebook: it changes with its exercises, points, questions, course and package."""
    told = [labkit_version(), course.key, course.seeds, notebook, list(exercise_points.items()), list(question_ids)]
    return hashlib.sha256(json.dumps(told, ensure_ascii=False).encode()).hexdigest()[:12]


def as_record(released: Released, earlier: Iterable[HandedOut] = ()) -> dict[str, Any]:
    """Give a release as what is written down, with the notebooks that were handed out before into the same folder."""
    every = [*earlier, *released.notebooks]
    pages = {each.notebook: {**asdict(each), "path": each.path.name} for each in every}
    return {
        "course": released.course,
        "term": released.term,
        "notebooks": dict(sorted(pages.items())),
        "files": dict(sorted(released.files.items())),
        "archive": released.archive.name if released.archive else None,
        "sha256": released.sha256,
    }


def read_release(folder: str | Path) -> Released:
    """Read what was released into a folder.

    Raises:
        ValueError: if the folder holds no release, or its record cannot be read.
    """
    folder = Path(folder)
    try:
        told = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        pages = [
            HandedOut(**{**page, "path": folder / page["path"], "notes": tuple(page["notes"])})
            for page in told["notebooks"].values()
        ]
        archive = folder / told["archive"] if told["archive"] else None
        return Released(folder, told["course"], told["term"], tuple(pages), told["files"], archive, told["sha256"])
    except FileNotFoundError:
        raise ValueError(
            f"{folder} holds no release: there is no {RECORD} in it; `labkit release` writes one"
        ) from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{folder / RECORD} cannot be read ({error}); release into an empty folder again") from None
