"""A learner's own progress as a page to keep or to print, in the look of the feedback pages."""

from collections.abc import Mapping
from typing import Any

from labkit.workbench.checking import Exercise
from labkit.workbench.grading.reports import page
from labkit.workbench.grading.reports.feedback import known_exercise


def progress_page(found: Any, exercises: Mapping[str, Exercise] | None = None) -> str:
    """Give the HTML page on what `learner.standing()` found; it needs no other file and runs no script."""
    done, asked = found.total("done"), found.total("exercises")
    rows = [
        {"title": page.title_of(each.notebook), "standing": each, "tried": _tried(each.notebook, found, exercises)}
        for each in found.standings
    ]
    values = {
        "done": done,
        "asked": asked,
        "share": done / asked if asked else 0.0,
        "rows": rows,
        "next": found.next,
        "next_title": page.title_of(found.next.notebook) if found.next else "",
        "minutes": (found.total("minutes_done"), found.total("minutes_left")),
        "hints": found.total("hints"),
    }
    return page.render("progress.html", values)


def _tried(notebook: str, found: Any, exercises: Mapping[str, Exercise] | None) -> list[dict[str, Any]]:
    """The exercises of a notebook that the learner tried, with the mistakes that were met on the way."""
    tried = []
    for record in found.records.values():
        if record.notebook != notebook:
            continue
        exercise = exercises.get(record.exercise) if exercises is not None else known_exercise(record.exercise)
        said = {wrong.name: wrong.message for wrong in exercise.wrong} if exercise else {}
        met = [said[name] for name in dict.fromkeys(record.mistakes) if name in said]
        tried.append({"record": record, "statement": exercise.statement if exercise else "", "met": met})
    return tried
