"""What a grading shows while it runs, and what it says at its end."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from labkit.workbench.display import counted

SHAPE = "{desc} |{bar:20}| {n_fmt}/{total_fmt} submissions · {elapsed} · {remaining} left"
STRANGE = ("timeout", "memory", "crashed", "refused")
MOST_LINES = 12


@dataclass(frozen=True)
class Graded:
    """What came of a grading: files by name, how many submissions, marks made and kept, and what a teacher must know.

    `missing` students of the list have handed in nothing; `open` answers in words wait to be marked by hand; `waiting`
    submissions have not been graded yet. `strangers` are in the gradebook from before, and not on the list any more.
    """

    files: Mapping[str, Path]
    submissions: int
    students: int
    graded: int
    kept: int
    missing: int
    open: int
    waiting: int
    strangers: tuple[str, ...]
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]
    said: tuple[str, ...]
    seconds: float
    sandbox: str
    interrupted: bool
    failed: bool = False

    @property
    def exit_code(self) -> int:
        """0 if all was graded, 1 if something could not be read or written, 130 if it was interrupted."""
        if self.interrupted:
            return 130
        return int(bool(self.unreadable) or self.failed)

    def table(self) -> str:
        """What the command prints at the end."""
        lines = [*self.said, self._first_line()]
        if self.interrupted:
            return "\n".join([*lines, "Interrupted. Every mark so far is kept; the same command goes on from here."])
        lines += _listed("could not be read", "file", self.unreadable)
        if self.unreadable:
            lines.append("  Ask for these again, and give the same command when they are there; all else is kept.")
        lines += _listed("worth a look", "note", self.notes)
        if self.missing:
            lines.append(f"{counted(self.missing, 'student')} of the class handed in nothing that could be read.")
        if self.strangers:
            lines.append(
                "In the tables from before, but neither on the list of the class nor handed in now:"
                f" {', '.join(self.strangers[:MOST_LINES])}{', …' if len(self.strangers) > MOST_LINES else ''}."
            )
        if self.waiting:
            lines.append(
                f"{counted(self.waiting, 'submission')} handed in and not graded yet: they count 0 in the tables"
                " until the command is given without --only."
            )
        if self.open:
            lines.append(
                f"{counted(self.open, 'answer')} in words to be marked by hand: fill in the column points of"
                f" {self.files['by_hand']} and give the same command again."
            )
        return "\n".join([*lines, "Written: " + ", ".join(str(path) for path in self.files.values())])

    def _first_line(self) -> str:
        kept = f", {self.kept:,} kept from before" if self.kept else ""
        return (
            f"{counted(self.submissions, 'submission')} of {counted(self.students, 'student')}:"
            f" {counted(self.graded, 'answer')} graded{kept}, in {self.seconds:.0f} s ({self.sandbox})."
        )


def _listed(what: str, unit: str, sentences: Iterable[str]) -> list[str]:
    sentences = list(sentences)
    shown = [f"  {' '.join(sentence.split())[:300]}" for sentence in sentences[:MOST_LINES]]
    more = [f"  … and {len(sentences) - MOST_LINES} more in the report."] if len(sentences) > MOST_LINES else []
    return [f"{counted(len(sentences), unit)} {what}:", *shown, *more] if sentences else []


class Watching:
    """Watches a grading: a bar on a terminal, a line for each submission, and what is worth a look afterwards."""

    def __init__(self, papers: int, shown: bool):
        self.interrupted = self.failed = False
        self._papers, self._shown = papers, shown
        self._counts: dict[int, Counter] = {}
        self._marks = 0
        self._bar: tqdm | None = None

    def __enter__(self) -> "Watching":
        # disable=None: no bar where the output is no terminal, so that logs stay readable.
        disabled = None if self._shown else True
        self._bar = tqdm(desc="grading", total=self._papers, bar_format=SHAPE, file=sys.stderr, disable=disabled)
        return self

    def __exit__(self, *problem: object) -> None:
        self._bar.close()

    def say(self, sentence: str) -> None:
        """Say something at once, beside the bar."""
        if sentence:
            tqdm.write(sentence, file=sys.stderr)

    def see(self, found: Any) -> None:
        """Take notice of a mark, or of a paper that is done."""
        if found is None:
            self._bar.refresh()
            return
        counts = self._counts.setdefault(id(found.paper), Counter())
        if found.question is None:
            self._done(found.paper, self._counts.pop(id(found.paper)))
            return
        self._marks += 1
        counts[found.judged.status] += 1

    def _done(self, paper: Any, counts: Counter) -> None:
        self._bar.update()
        if self._shown:
            said = ", ".join(f"{count} {status}" for status, count in counts.most_common())
            self.say(f"{paper.submission.student} · {paper.submission.notebook} · {said}")

    def graded(self, book: Any, class_: Any, files: Mapping[str, Path], sandbox: str, seconds: float) -> Graded:
        """Give what came of it all."""
        totals, digests = book.totals(), book.digests()
        notes = [f"{each.student}, {each.notebook}: {note}" for each in class_.submissions for note in each.notes]
        done = {place[:2] for place in digests}
        waiting = [s for s in class_.submissions if (s.student, s.notebook) not in done and book.exercises[s.notebook]]
        return Graded(
            files=files,
            submissions=len(class_.submissions),
            students=len(totals),
            graded=self._marks,
            kept=len(digests) - self._marks,
            missing=sum(not total.handed_in for total in totals),
            open=sum(total.open for total in totals),
            waiting=len(waiting),
            strangers=tuple(class_.strangers),
            unreadable=tuple(each.reason for each in class_.unreadable),
            notes=(*strange_marks(book), *notes),
            said=tuple(book.said),
            seconds=seconds,
            sandbox=sandbox,
            interrupted=self.interrupted,
            failed=self.failed,
        )


def strange_marks(book: Any) -> list[str]:
    """What a teacher should look at, also where it was graded before: answers that ended before they answered."""
    return [
        f"{mark.student}, {mark.exercise}: {mark.status}. {mark.message}"
        for mark in book.marks()
        if mark.status in STRANGE
    ]
