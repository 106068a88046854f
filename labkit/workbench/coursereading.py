"""One reading of a course file: every table in turn, each slip noted with its line and what to write."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from labkit.workbench import coursevalues as values
from labkit.workbench import notebooks
from labkit.workbench.course import Course, LateRule, Manual, scaled
from labkit.workbench.coursevalues import Refusal, fitting, line_of, said
from labkit.workbench.names import nearest, unknown

# The tables of a course file and their settings; None where the keys are names of notebooks or exercises.
TABLES: dict[str, tuple[str, ...] | None] = {
    "course": ("name", "term", "notebooks", "seeds", "solutions", "hints", "timezone"),
    "weights": None,
    "deadlines": None,
    "late": ("grace_minutes", "per_day", "most"),
    "points": None,
    "question": ("notebook", "id", "after", "points", "text"),
}


class Reading:
    """The tables of one course file while they become a `Course`; `problems` has a sentence for each slip.

    `files` are the notebooks that there are (stem -> file); without any, whole names are taken as they are written.
    `trusting` takes every name as it is written.
    """

    def __init__(
        self,
        called: str,
        text: str,
        tables: Mapping[str, Any],
        files: Mapping[str, Path],
        exercises: Iterable[Any] = (),
        trusting: bool = False,
    ):
        self.called, self.lines, self.tables = called, text.splitlines(), tables
        self.files, self.exercises, self.trusting = files, exercises, trusting
        self.problems: list[str] = []
        self.notebooks: tuple[str, ...] = ()

    def course(self) -> Course:
        """Read every table."""
        self._refuse_unknown_tables()
        head = self._settings("course", self._table("course"))
        self.notebooks = self._get("course", head, "notebooks", self._names, tuple(self.files))
        if not self.notebooks and "notebooks" not in head:
            self.note("course", "", 'say under [course] what belongs to it, as in notebooks = ["02_ngram_models"]')
        if "name" not in head:
            self.note("course", "", 'the course needs a name; write name = "Language models" under [course]')
        zone = self._get("course", head, "timezone", values.zone, None)
        return Course(
            name=self._get("course", head, "name", values.words, ""),
            term=self._get("course", head, "term", values.text, ""),
            notebooks=self.notebooks,
            weights=self._weights(),
            deadlines=self._deadlines(zone),
            late=self._late(),
            points=self._points(),
            solutions=self._get("course", head, "solutions", values.switch, True),
            hints=self._get("course", head, "hints", values.switch, True),
            seeds=self._get("course", head, "seeds", values.one_of("same", "student"), "same"),
            manual=self._manual(),
        )

    def note(self, table: str, key: str, sentence: str, number: int = 0) -> None:
        """Keep a slip, with the line where it stands."""
        line = line_of(self.lines, table, key, number)
        self.problems.append(f"line {line}: {sentence}" if line else sentence)

    def refusal(self) -> str:
        """Give all slips, a line for each; the file is named once."""
        between = ", " if self.problems[0].startswith("line ") else ": "
        return f"{self.called}{between}" + ";\n".join(self.problems)

    def _refuse_unknown_tables(self) -> None:
        for name, found in self.tables.items():
            home = next((home for home, keys in TABLES.items() if keys and name in keys), None)
            if name not in TABLES and isinstance(found, dict | list):
                self.note(name, "", unknown("table", name, TABLES))
            elif name not in TABLES:
                advice = f"; write it below a line [{home}]" if home else "; no setting is called so"
                self.note("", name, f"{name} stands outside of every table{advice}")

    def _table(self, name: str) -> dict[str, Any]:
        table = self.tables.get(name, {})
        if not isinstance(table, dict):
            self.note("", name, f"{name} is {said(table)}; it is a table: write [{name}] on a line of its own")
            return {}
        return table

    def _settings(self, table: str, found: dict[str, Any], number: int = 0) -> dict[str, Any]:
        """Give the settings of a table that there are, and refuse the others."""
        for key in [key for key in found if key not in (TABLES[table] or ())]:
            home = next((home for home, keys in TABLES.items() if keys and key in keys), None)
            hint = f"; {key} belongs below [{home}]" if home else ""
            self.note(table, key, f"{unknown(f'setting in [{table}] called', key, TABLES[table] or ())}{hint}", number)
        return {key: value for key, value in found.items() if key in (TABLES[table] or ())}

    def _get(
        self,
        table: str,
        found: Mapping[str, Any],
        key: str,
        take: Callable[[Any], Any],
        default: Any = None,
        number: int = 0,
    ) -> Any:
        if key not in found:
            return default
        try:
            return take(found[key])
        except Refusal as error:
            self.note(table, key, f"{key} in [{table}] is {said(found[key])}; {error}", number)
            return default

    def _names(self, found: Any) -> tuple[str, ...]:
        if not isinstance(found, list) or not found or not all(isinstance(each, str) for each in found):
            raise Refusal('a list of names was expected, as in ["02_ngram_models", "13"]')
        stems: list[str] = []
        strange = [name for name in found if self.files and not self.trusting and not fitting(name, self.files)]
        if len(strange) > 1:
            self.note("course", "notebooks", _none_of(strange, self.files))
        for name in found if len(strange) < 2 else [name for name in found if name not in strange]:
            stems += self._stems(name, self.files, "course", "notebooks")
        twice = sorted({stem for stem in stems if stems.count(stem) > 1})
        if twice:
            raise Refusal(f"{twice[0]} belongs to it twice; keep one")
        return tuple(stems)

    def _stems(self, name: str, known: Collection[str], table: str, key: str, number: int = 0) -> list[str]:
        found = fitting(name, known)
        if not found and (self.trusting or (not known and re.fullmatch(r"\d\d_[a-z0-9_]+", name))):
            return [name]
        if not found and known:
            first = not any("(known: " in problem for problem in self.problems)
            self.note(table, key, unknown("notebook", name, known) if first else _no("notebook", name, known), number)
        elif not found:
            self.note(table, key, f"{name!r} is no notebook; write its whole name, as in 02_ngram_models", number)
        return found

    def _by_notebook(self, table: str) -> dict[str, tuple[str, Any]]:
        """Give what a table says of each notebook of the course: stem -> (key as written, value)."""
        found: dict[str, tuple[str, Any]] = {}
        for key, value in self._table(table).items() if self.notebooks else ():
            stems = self._stems(key, self.notebooks, table, key)
            if len(stems) > 1:
                self.note(table, key, f"{key} in [{table}] may be {' or '.join(stems)}; write the whole name")
                stems = []
            for stem in stems:
                if stem in found:
                    self.note(table, key, f"[{table}] has {stem} twice, as {found[stem][0]} and as {key}; keep one")
                found[stem] = key, value
        return found

    def _weights(self) -> dict[str, float]:
        if "weights" not in self.tables:
            return scaled(dict.fromkeys(self.notebooks, 1.0))
        before = len(self.problems)
        given = {
            stem: self._get("weights", {key: value}, key, values.amount, 0.0)
            for stem, (key, value) in self._by_notebook("weights").items()
        }
        if len(self.problems) == before:  # else the sentences below would only follow from those above
            missing = [stem for stem in self.notebooks if stem not in given]
            if missing:
                say = f"[weights] has no {', '.join(missing)}; write {missing[0]} = 1, or 0 if it does not count"
                self.note("weights", "", say)
        if len(self.problems) == before and self.notebooks and not sum(given.values()):
            self.note("weights", "", "every weight is 0, so nothing would count; write at least one that is larger")
        return scaled({stem: given.get(stem, 0.0) for stem in self.notebooks})

    def _deadlines(self, zone: ZoneInfo | None) -> dict[str, datetime]:
        found = {
            stem: self._get("deadlines", {key: value}, key, lambda it: values.moment(it, zone))
            for stem, (key, value) in self._by_notebook("deadlines").items()
        }
        return {stem: moment for stem, moment in found.items() if moment is not None}

    def _late(self) -> LateRule:
        rule = self._settings("late", self._table("late"))
        return LateRule(
            per_day=self._get("late", rule, "per_day", values.share, 0.0),
            grace=self._get("late", rule, "grace_minutes", values.minutes, 0),
            most=self._get("late", rule, "most", values.share, 1.0),
        )

    def _points(self) -> dict[str, float]:
        table = _flat(self._table("points"))
        known = {exercise.id: exercise.notebook for exercise in self.exercises}
        ours = [each for each, notebook in known.items() if notebook in self.notebooks]
        for key in [key for key in table if known and self.notebooks and key not in ours]:
            sentence = _no("exercise", key, ours)
            if key in known:
                sentence = f"exercise {key!r} belongs to {known[key]}, which is not in this course; leave it out"
            self.note("points", key, sentence)
        return {key: self._get("points", table, key, values.amount, 0.0) for key in table}

    def _manual(self) -> dict[str, tuple[Manual, ...]]:
        found = self.tables.get("question", [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            self.note("question", "", "a question begins with a line [[question]], in double brackets")
            return {}
        questions = [each for number, table in enumerate(found) for each in self._question(number, table)]
        ids = [question.id for question in questions]
        for name in sorted({name for name in ids if ids.count(name) > 1}):
            second = [number for number, table in enumerate(found) if table.get("id") == name][1]
            self.note("question", "id", f"two questions have the id {name!r}; give each its own", second)
        stems = dict.fromkeys(question.notebook for question in questions)
        return {stem: tuple(question for question in questions if question.notebook == stem) for stem in stems}

    def _question(self, number: int, table: dict[str, Any]) -> list[Manual]:
        before = len(self.problems)
        table = self._settings("question", table, number)
        missing = [key for key in TABLES["question"] or () if key not in table]
        if missing:
            self.note("question", "", f"question {number + 1} lacks {', '.join(missing)}", number)

        def get(key: str, take: Callable[[Any], Any]) -> Any:
            return self._get("question", table, key, take, None, number)

        name, cell, after = get("notebook", values.words), get("id", _cell_id), get("after", values.words)
        points, text = get("points", values.amount), get("text", values.words)
        stems = self._stems(name, self.notebooks, "question", "notebook", number) if name and self.notebooks else []
        if len(stems) > 1:
            self.note("question", "notebook", f"{name!r} may be {' or '.join(stems)}; write the whole name", number)
        if len(self.problems) > before or not stems:
            return []
        question = Manual(stems[0], cell, text, points, after)
        self._refuse_cells(question, number)
        return [question] if len(self.problems) == before else []

    def _refuse_cells(self, question: Manual, number: int) -> None:
        if self.trusting or question.notebook not in self.files:
            return
        cells = [cell.get("id", "") for cell in notebooks.read(self.files[question.notebook])["cells"]]
        if question.after not in cells:
            sentence = _no(f"cell in {question.notebook} called", question.after, cells)
            self.note("question", "after", sentence, number)


def _none_of(names: list[str], known: Collection[str]) -> str:
    """Refuse several names at once, each with the nearest right one; the known ones are said once."""
    guesses = [(name, nearest(name, known)) for name in names]
    said_of = ", ".join(f"{name!r}" + (f" (did you mean {guess!r}?)" if guess else "") for name, guess in guesses)
    return f"there are no notebooks {said_of} (known: {', '.join(known)})"


def _no(what: str, name: str, known: Collection[str]) -> str:
    """Refuse a name where the known ones are too many to list them all."""
    guess = nearest(name, known)
    return f"there is no {what} {name!r}" + (f"; did you mean {guess!r}?" if guess else "")


def _cell_id(value: Any) -> str:
    found = values.words(value)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,50}", found):
        raise Refusal("letters, digits, - and _ were expected, at most 50, as in why-zero")
    return found


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """Give `ngrams.bigrams = 20` as it was meant: without quotes TOML takes it for a table in a table."""
    found = {}
    for key, value in table.items():
        found |= {f"{key}.{inner}": each for inner, each in value.items()} if isinstance(value, dict) else {key: value}
    return found
