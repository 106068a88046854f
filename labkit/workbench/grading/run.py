"""The command `labkit grade`: collect, grade what is new, keep every mark at once, write tables and pages."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit.workbench.coursefile import FILE, Course, default_course, read_course
from labkit.workbench.grading.byhand import merge_words, read_by_hand, write_by_hand
from labkit.workbench.grading.exports import CANVAS, MOODLE, write_exports
from labkit.workbench.grading.gradebook import Gradebook, exercises_of
from labkit.workbench.grading.graded import Graded, Watching
from labkit.workbench.grading.handing_in.collecting import collect
from labkit.workbench.grading.handing_in.roster import read_roster
from labkit.workbench.grading.handing_in.submissions import Submission, Unreadable
from labkit.workbench.grading.marks import Question
from labkit.workbench.grading.pool import Paper, Pool
from labkit.workbench.grading.sandboxing import sandbox as sandboxes
from labkit.workbench.names import unknown

BOOK, BY_HAND, REPORT, FEEDBACK = "gradebook.sqlite", "by_hand.csv", "report.html", "feedback"


def grade(
    submissions_folder: str | Path,
    course: Course | str | Path | None = None,
    out: str | Path = "grades.csv",
    *,
    released: str | Path | None = None,
    students: str | Path | None = None,
    by_hand: str | Path | None = None,
    submitted: str | Path | None = None,
    jobs: int = 2,
    seed: int | None = None,
    only: Iterable[str] | None = None,
    again: bool = False,
    anonymous: bool = False,
    limits: Any = None,
    sandbox: Callable[..., Any] | None = None,
    progress: bool = True,
) -> Graded:
    """Grade what a class has handed in, and write marks, tables, pages and a report beside `out`.

    What the gradebook beside `out` has already is kept unless the answer, the exercise or the seed has changed, or
    `again`. With `anonymous` the report names nobody. `sandbox(limits, imports)` gives what runs answers; by default
    the safest that this machine has.

    Raises:
        ValueError: for what the teacher can set right, before anything is graded or written.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    begun, folder, out = time.perf_counter(), Path(submissions_folder), _table(out)
    course = _course_of(course, folder, released)
    roster = read_roster(students) if students else None
    found = collect(folder, course, released, students=roster, times=submitted)
    course = course or default_course(sorted({each.notebook for each in found if each.notebook}))
    class_ = _Class(course, found, _chosen(only, course), roster.students if roster else ())
    _make(out.parent)
    with Gradebook(out.parent / BOOK, course, exercises_of(course), seed) as book:
        class_.enter(book)
        class_.take_points(book, Path(by_hand) if by_hand else None, out.parent / BY_HAND)
        papers = class_.papers(book, again)
        watching = Watching(len(papers), progress)
        if not sandbox:
            watching.say(sandboxes.warning())
        files = {}
        try:
            _grade(papers, book, jobs, sandbox or _sandbox, limits, watching)
            files = _write(book, out, class_, watching, names=not anonymous)
        except KeyboardInterrupt:
            watching.interrupted = True
        kind = "as given" if sandbox else sandboxes.kind_of_sandbox()
        return watching.graded(book, class_, files, kind, time.perf_counter() - begun)


def _table(out: str | Path) -> Path:
    out = Path(out)
    if out.is_dir():
        return out / "grades.csv"
    if out.suffix.lower() != ".csv":
        raise ValueError(f"--out is {str(out)!r}; the name of a table was expected, as in grades.csv")
    return out


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"--out lies in {str(folder)!r}, which is no folder and cannot be made one: {error.strerror or error}"
        ) from None


def _course_of(course: Course | str | Path | None, folder: Path, released: str | Path | None) -> Course | None:
    if course is None:
        places = [folder, folder.resolve().parent, Path(), *([Path(released)] if released else [])]
        course = next((place / FILE for place in places if (place / FILE).is_file()), None)
    return course if course is None or isinstance(course, Course) else read_course(course)


def _chosen(only: Iterable[str] | None, course: Course) -> set[str]:
    chosen: set[str] = set()
    for name in only or course.notebooks:
        stems = [stem for stem in course.notebooks if stem == name or stem.startswith(f"{name}_")]
        if not stems:
            raise ValueError(unknown("notebook of this course", name, course.notebooks))
        chosen |= set(stems)
    return chosen


@dataclass
class _Class:
    """What was collected, and who is on the list of the class."""

    course: Course
    found: list[Submission | Unreadable]
    chosen: set[str]
    roster: Iterable[Any] = ()
    submissions: list[Submission] = field(init=False)
    unreadable: list[Unreadable] = field(init=False)
    strangers: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.submissions = [each for each in self.found if isinstance(each, Submission)]
        self.unreadable = [each for each in self.found if isinstance(each, Unreadable)]

    def enter(self, book: Gradebook) -> None:
        """Note who there is and what came; a file that cannot be read takes nothing away that came before."""
        known, graded = book.people(), {key[:2] for key in book.digests()}
        listed = {p.id: (p.id, p.name, p.email, _ids(p.numbers)) for p in self.roster}
        for each in self.found:
            if each.student and each.student not in listed:
                before = known.get(each.student, {"name": "", "email": "", "numbers": {}})
                mail = getattr(each, "email", "") or before["email"]
                # The list of the class, which may have been given before, knows names better than files do.
                name = before["name"] if before["name"] not in ("", each.student) else each.name
                listed[each.student] = (each.student, name, mail, before["numbers"])
        book.enrol(listed.values())
        self.strangers = sorted(known.keys() - listed.keys()) if self.roster else []
        papers = [(s.student, s.notebook, s.submitted, s.notes, "") for s in self.submissions]
        book.hand_in(
            [
                (u.student, u.notebook, u.submitted, u.notes, u.reason)
                for u in self.unreadable
                if u.student and (u.student, u.notebook) not in graded
            ]
            + papers
        )

    def take_points(self, book: Gradebook, given: Path | None, beside: Path) -> None:
        """Put answers in words into the book, and the points that a teacher has filled in."""
        tables = ([beside] if beside.is_file() else []) + ([given] if given else [])
        # The one that is given wins; the one beside is written anew, so that what stands in it must not be lost.
        points = {place: got for t in tables for place, got in read_by_hand(t, self.course, book.people()).items()}
        asked = {(name, one.id) for name, several in self.course.manual.items() for one in several}
        words = {
            (s.student, s.notebook, question): text
            for s in self.submissions
            for question, text in s.words.items()
            if (s.notebook, question) in asked
        }
        merge_words(book, words, points)

    def papers(self, book: Gradebook, again: bool) -> list[Paper]:
        """Give what is to be graded: what is new, and what has changed."""
        known = {} if again else book.digests()
        papers = []
        for submission in self.submissions:
            if submission.notebook not in self.chosen:
                continue
            asked = [Question(submission, e, self.course, book.seed) for e in book.exercises[submission.notebook]]
            digests = [(question, question.digest) for question in asked]
            place = submission.student, submission.notebook
            changed = [(q, digest) for q, digest in digests if known.get((*place, q.exercise.id)) != digest]
            if changed:
                papers.append(Paper(submission, tuple(changed)))
        return papers


def _ids(line: Mapping[str, str]) -> dict[str, str]:
    """What learning platforms know a student by; what else stands in the list of a class is nobody's business."""
    return {name: line[name] for name in (*MOODLE[:3], "Maximum Grade", *CANVAS) if line.get(name)}


def _sandbox(limits: Any, imports: tuple[str, ...]) -> Any:
    return sandboxes.Sandbox(limits or sandboxes.Limits(), imports=imports).warm()


def _grade(papers: list[Paper], book: Gradebook, jobs: int, sandbox: Callable, limits: Any, watching: Watching) -> None:
    """Grade papers, each mark kept as soon as it is there."""

    def open_box(sources: list[str]) -> Any:
        return sandbox(limits, sandboxes.imports_of(sources))

    with watching, Pool(papers, min(jobs, max(1, len(papers))), open_box) as pool:
        for found in pool:
            if found and found.question:
                own = found.paper.submission
                book.keep(own.student, own.notebook, found.question.exercise.id, found.digest, found.judged)
            watching.see(found)


def _write(book: Gradebook, out: Path, class_: _Class, watching: Watching, names: bool) -> dict[str, Path]:
    place = out.parent
    files = {**write_exports(book, out), "book": book.path}
    if any(class_.course.manual.values()):
        files["by_hand"] = place / BY_HAND
        write_by_hand(files["by_hand"], book)
    try:
        files |= _write_pages(book, place, class_, names)
    except Exception as error:  # marks are there and right, whatever a page or a picture of them does
        if os.environ.get("LABKIT_DEBUG") == "1":
            raise
        watching.say(f"The pages could not be written: {type(error).__name__}: {error}")
        watching.failed = True
    return files


def _write_pages(book: Gradebook, place: Path, class_: _Class, names: bool) -> dict[str, Path]:
    from labkit.workbench.grading.reports.classreport import class_report
    from labkit.workbench.grading.reports.feedback import feedback_page, file_name

    folder = place / FEEDBACK
    folder.mkdir(exist_ok=True)
    marks, totals, came = book.by_student(), book.totals(), defaultdict(list)
    for each in class_.submissions:
        came[each.student].append(each)
    for one in totals:
        own, handed = marks[one.student], came[one.student]
        page = feedback_page(one.student, own, class_.course, submissions=handed, total=one.total, name=one.name)
        (folder / file_name(one.student)).write_text(page, encoding="utf-8")
    report = class_report(
        book, class_.course, submissions=class_.submissions, unreadable=class_.unreadable,
        totals={one.student: one.total for one in totals}, names=names,
    )  # fmt: skip
    (place / REPORT).write_text(report, encoding="utf-8")
    return {"feedback": folder, "report": place / REPORT}
