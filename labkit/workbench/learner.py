"""What a learner has done, what is next and what is left: `labkit progress` and a card on the start page."""

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from labkit.workbench import coursefile, display, learnerfile
from labkit.workbench.coursevalues import fitting
from labkit.workbench.learnerfile import Record
from labkit.workbench.marking import Exercise
from labkit.workbench.names import unknown

COLUMNS = ("notebook", "done", "minutes done", "minutes left", "hints", "solutions seen")


@dataclass(frozen=True)
class Standing:
    """How far a learner is in one notebook: exercises done of all, minutes by estimate, help taken."""

    notebook: str
    done: int
    exercises: int
    minutes_done: int
    minutes_left: int
    hints: int
    solutions_seen: int


@dataclass(frozen=True)
class Progress:
    """A learner's standing in each notebook and the exercise that is next, None when all are done."""

    standings: tuple[Standing, ...]
    next: Exercise | None
    records: dict[str, Record]

    def total(self, name: str) -> int:
        """Add up one figure over all notebooks."""
        return sum(getattr(standing, name) for standing in self.standings)


def standing(only: Iterable[str] = ()) -> Progress:
    """Work out how far the learner is, in the notebooks named by `only` or in the whole course.

    Raises:
        ValueError: if there is no such notebook with exercises.
        RuntimeError: if the file is there and cannot be read now.
    """
    exercises = _exercises(list(only))
    kept = learnerfile.records()
    asked = {each.id for each in exercises}
    records = {name: record for name, record in kept.items() if name in asked}
    stems = dict.fromkeys(each.notebook for each in exercises)
    standings = tuple(_standing(stem, [e for e in exercises if e.notebook == stem], records) for stem in stems)
    return Progress(standings, _next(exercises, records), records)


def _exercises(only: Sequence[str]) -> list[Exercise]:
    from labkit.workbench.checking import all_exercises  # which asks the learner's file

    found = all_exercises()
    stems = list(dict.fromkeys(each.notebook for each in found))
    course = coursefile.in_effect()
    wanted = [stem for stem in stems if stem in course.notebooks] if course else []
    if only:
        wanted = [stem for name in only for stem in fitting(name, stems)]
        for name in (name for name in only if not fitting(name, stems)):
            raise ValueError(unknown("notebook with exercises", name, stems))
    return [each for each in found if not wanted or each.notebook in wanted]


def _standing(notebook: str, exercises: list[Exercise], records: dict[str, Record]) -> Standing:
    done = [each for each in exercises if each.id in records and records[each.id].solved]
    seen = [records[each.id] for each in exercises if each.id in records]
    return Standing(
        notebook=notebook,
        done=len(done),
        exercises=len(exercises),
        minutes_done=sum(each.minutes for each in done),
        minutes_left=sum(each.minutes for each in exercises if each not in done),
        hints=sum(record.hints for record in seen),
        solutions_seen=sum(record.solution_seen for record in seen),
    )


def _next(exercises: list[Exercise], records: dict[str, Record]) -> Exercise | None:
    """Give the first exercise that is not solved: in the notebook worked on last, or else in the first one."""
    open_ones = [each for each in exercises if each.id not in records or not records[each.id].solved]
    last = next(reversed(records.values()), None)  # not by the clock: it may have been set back
    here = [each for each in open_ones if last and each.notebook == last.notebook]
    return next(iter(here or open_ones), None)


def progress() -> None:
    """Show the learner's progress: what is done, what is next, what is left."""
    try:
        found = standing()
    except (RuntimeError, OSError) as error:  # the file is busy or locked away; a page must not stop for that
        display.publish(f"Your progress: {error}", display.card("Your progress", display.paragraphs(str(error))))
        return
    title, sentences = _title(found), [*_sentences(found), _kept()]
    table = _html_table(found) if found.records else ""
    body = display.paragraphs("\n".join(sentences))
    display.publish(_plain([title, *sentences], found), display.card(title, table + body, "good" if table else "calm"))


def _kept() -> str:
    if learnerfile.is_off():
        why = "this Python has no sqlite3" if learnerfile.sqlite3 is None else f"{learnerfile.VARIABLE} is off"
        return f"Nothing is kept on this machine: {why}."
    return "It is kept in one file on this machine; it is yours."


def _title(found: Progress) -> str:
    return f"Your progress: {found.total('done')} of {display.counted(found.total('exercises'), 'exercise')} done" \
        if found.records else "Your progress: nothing is tried yet"  # fmt: skip


def _sentences(found: Progress) -> list[str]:
    sentences = []
    if found.next is None:
        sentences.append("All is done. Well done!")
    else:
        first = "Next" if found.records else "Begin with"
        effort = f"difficulty {found.next.difficulty} of 3, about {display.counted(found.next.minutes, 'minute')}"
        sentences.append(f"{first}: `{found.next.id}` in {found.next.notebook} ({effort}).")
    if found.records:
        done, left = (_time(found.total(name)) for name in ("minutes_done", "minutes_left"))
        hints = display.counted(found.total("hints"), "hint")
        sentences.append(f"By estimate: {done} done, {left} left. Help: {hints} taken.")
    return sentences


def _time(minutes: int) -> str:
    return display.counted(minutes, "minute") if minutes < 120 else f"about {round(minutes / 60)} hours"


def _rows(found: Progress) -> list[tuple[str, ...]]:
    """Give a row for each notebook that was begun, in the order of the columns."""
    begun = {record.notebook for record in found.records.values()}
    return [
        (
            each.notebook,
            f"{each.done} of {each.exercises}",
            str(each.minutes_done),
            str(each.minutes_left),
            str(each.hints),
            str(each.solutions_seen),
        )
        for each in found.standings
        if each.notebook in begun
    ]


def _plain(sentences: list[str], found: Progress) -> str:
    from labkit.workbench import report

    said = [sentence.replace("`", "") for sentence in sentences]
    table = report.table(COLUMNS, _rows(found), right=(1, 2, 3, 4, 5)) if found.records else ""
    return "\n".join(filter(None, [said[0], table, *said[1:]]))


def _html_table(found: Progress) -> str:
    cell = f"padding:2px 12px 2px 0;text-align:left;color:{display.INK};background:{display.CARD}"
    head = "".join(f'<th scope="col" style="{cell}">{display.escape(name)}</th>' for name in COLUMNS)
    body = "".join(
        f"<tr>{''.join(f'<td style={chr(34)}{cell}{chr(34)}>{display.escape(text)}</td>' for text in row)}</tr>"
        for row in _rows(found)
    )
    style = f'style="margin-top:6px;border-collapse:collapse;background:{display.CARD}"'
    return f"<table {style}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def command(only: Iterable[str] = (), as_json: bool = False, forget: bool = False, yes: bool = False) -> int:
    """Do what `labkit progress` is asked for, and give its exit code.

    Raises:
        ValueError: if there is no such notebook, or the options contradict each other.
        OSError: if the file cannot be deleted.
    """
    if forget:
        if as_json or tuple(only):
            raise ValueError("--forget deletes the whole file; leave --json and --notebook away")
        return _forget(yes)
    if yes:
        raise ValueError("--yes only goes with --forget")
    found = standing(only)
    if as_json:
        from labkit.workbench.forgiving import as_text

        print(as_text(_as_object(found)))
        return 0
    print(_plain([_title(found), *_sentences(found)], found))
    print(_whereabouts())
    return 0


def _whereabouts() -> str:
    path = learnerfile.place()
    if path is None:
        return f"Nothing is kept on this machine: {learnerfile.VARIABLE} says so, or this is a run that nobody sits at."
    if not path.is_file():
        return f"It will be kept in {path}."
    return f"Kept in {path}; labkit progress --forget deletes it."


def _as_object(found: Progress) -> dict[str, Any]:
    path = learnerfile.place()
    return {
        "file": str(path) if path else None,
        "next": {"exercise": found.next.id, "notebook": found.next.notebook, "difficulty": found.next.difficulty,
                 "minutes": found.next.minutes} if found.next else None,
        "notebooks": [asdict(each) for each in found.standings],
        "exercises": [{**asdict(record), "first": _moment(record.first), "last": _moment(record.last)}
                      for record in found.records.values()],
    }  # fmt: skip


def _moment(seconds: float) -> str | None:
    """Give a time as the clock here shows it, with its offset; None for one that no clock shows."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return None


def _forget(yes: bool) -> int:
    files = learnerfile.files()
    if not files:
        print("There is no progress to forget.")
        return 0
    try:
        kept = display.counted(len(learnerfile.records()), "exercise")
    except (RuntimeError, OSError):  # it cannot be looked into now
        kept = "your exercises"
    print(f"This deletes what is kept of {kept}: which were tried and solved, with which mistakes, and when.")
    for path in learnerfile.files():
        print(f"  {path}")
    if not yes and not _agreed():
        print("Nothing was deleted.")
        return 1
    learnerfile.forget()
    print("Deleted.")
    return 0


def _agreed() -> bool:
    if not sys.stdin or not sys.stdin.isatty():
        print("There is nobody to ask here; labkit progress --forget --yes deletes it.")
        return False
    import click

    return click.confirm("Delete it?", default=False)
