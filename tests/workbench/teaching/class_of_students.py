"""A class of invented students, their answers as they would write them, and the marks that they should get.

Nobody here is real. What a student answers is taken from the exercises themselves: the solution, each known mistake,
nothing at all, what is malicious, and handed in tidily, late, untidily, or as something that is no notebook.
"""

import copy
import inspect
import json
import random
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from labkit.workbench import notebooks
from labkit.workbench.checking import Exercise, all_exercises
from tests.workbench.teaching.malice import MALICE
from tests.workbench.teaching.ruined_notebooks import MALFORMED, UNTIDY
from tests.workbench.teaching.written_answers import literal, written

ATTACKS = 11  # that one malicious student tries
NAMES = (
    "Zoë Müller-Lüdenscheidt",
    "O'Brien, Síle",
    'Anna "Nan" Muster, jr.',
    "王小明",
    "山田 花子",
    "نور الهدى",
    "דנה כהן",
    "Łukasz Żółć",
    "Ὑπατία Θέωνος",
    "=SUM(A1:A9)",
    "<b>Robin</b> & Söhne",
    "../../Otto Oben",
    "Maxi Maximiliane " + "von und zu Langenname " * 8 + "der Dritte",
    "Kim Beispiel",
    "Kim Beispiel",  # two people with one name
    "İpek Çağlayan",
    "Ada  Doppel  Leerzeichen",
    "😀 Smiley",
)
PLAIN = ("Alex", "Bo", "Chris", "Dele", "Eli", "Fran", "Gil", "Hadi", "Ira", "Jo")


@dataclass(frozen=True)
class Student:
    """One of the class: what is answered (`chosen`: notebook -> exercise id -> key of `answers_of`), how it comes in.

    `shape` tells what the file looks like: "tidy", one of UNTIDY (which lose nothing) or of MALFORMED (not readable).
    """

    id: str
    name: str
    kind: str
    chosen: Mapping[str, Mapping[str, str]]
    shape: str = "tidy"
    late: timedelta = timedelta(0)
    dropped: frozenset[str] = field(default_factory=frozenset)


def exercises_of(stem: str) -> list[Exercise]:
    """The exercises of a notebook, in the order of the page."""
    return [exercise for exercise in all_exercises() if exercise.notebook == stem]


@cache
def _page(stem: str) -> dict[str, Any]:
    return notebooks.read(notebooks.folder() / f"{stem}.ipynb")


def cell_of(notebook: Mapping[str, Any], exercise_id: str) -> dict[str, Any]:
    """The cell of a notebook in which an exercise is answered."""
    return next(cell for cell in notebooks.code_cells(notebook) if f'labkit.check("{exercise_id}"' in cell["source"])


def hole_of(exercise: Exercise) -> str:
    """The name of the function in the page's hole; "" where a value is asked for."""
    source = cell_of(_page(exercise.notebook), exercise.id)["source"]
    return source.partition("\ndef ")[2].partition("(")[0]


@cache
def _answers(exercise_id: str) -> dict[str, str]:
    exercise = next(e for e in all_exercises() if e.id == exercise_id)
    keys = {"right": exercise.solution} | {f"wrong:{wrong.name}": wrong.answer for wrong in exercise.wrong}
    empty = cell_of(_page(exercise.notebook), exercise.id)["source"]
    return {"empty": empty} | {key: answer_source(exercise, answer) for key, answer in keys.items()}


def answers_of(exercise: Exercise) -> dict[str, str]:
    """Every answer to an exercise that is known here, as the source of its cell: "right", "empty", "wrong:<name>"."""
    return dict(_answers(exercise.id))


def answer_source(exercise: Exercise, answer: Any) -> str:
    """The source of an exercise's cell, with this function or value as the answer."""
    if exercise.kind != "value":
        return written(answer, hole_of(exercise), f'@labkit.check("{exercise.id}")')
    page = cell_of(_page(exercise.notebook), exercise.id)["source"]
    if not callable(answer):
        return page.replace("...", literal(answer))
    givens = f'labkit.given("{exercise.id}")'
    several = exercise.cases is not None and inspect.unwrap(answer).__code__.co_argcount > 1
    given = "" if exercise.cases is None else ("*" if several else "") + givens
    return f"{written(answer, 'worked_out')}\n\n\n{page.replace('...', f'worked_out({given})')}"


def fill(notebook: Mapping[str, Any], answers: Mapping[str, str]) -> dict[str, Any]:
    """Give a copy of a notebook with these sources in the cells of their exercises, as Jupyter would leave it.

    The outputs say that everything is right, whatever was answered: outputs are no grades.
    """
    filled = copy.deepcopy(dict(notebook))
    for count, cell in enumerate(notebooks.code_cells(filled), 1):
        cell["execution_count"] = count
    for exercise_id, source in answers.items():
        cell = cell_of(filled, exercise_id)
        cell["source"] = source
        said = f"✓ {exercise_id}: correct on 7 fresh inputs, edge cases included"
        data = {"text/plain": said, "text/html": f"<b>{said}</b>"}
        cell["outputs"] = [{"output_type": "display_data", "data": data, "metadata": {}}]
    return filled


def a_class(seed: int = 0, n: int = 40, stems: Iterable[str] = ("00_start_here", "02_ngram_models")) -> list[Student]:
    """Invent a class: every known mistake of these notebooks is made by somebody, and everything else that happens."""
    rng, stems = random.Random(seed), tuple(stems)
    names = [*NAMES, *(f"{PLAIN[i % 10]} Beispiel-{i:02}" for i in range(n))][:n]
    kinds = _kinds(stems)
    kinds += [("malicious", _malicious(start), "tidy") for start in range(0, 3 * ATTACKS, ATTACKS)]
    if n < len(kinds):
        raise ValueError(f"a class with everything in it has at least {len(kinds)} students, and {n} were asked for")
    kinds += [("mixed", _mixed, "tidy")] * (n - len(kinds))
    students = []
    for number, ((kind, choose, shape), name) in enumerate(zip(kinds, names, strict=True), 1):
        chosen = {stem: {e.id: choose(rng, e) for e in exercises_of(stem)} for stem in stems}
        late = timedelta(hours=5) if kind == "late" else timedelta(0)
        dropped = frozenset(list(chosen[stems[-1]])[1:3]) if shape == "deleted" else frozenset()
        students.append(Student(f"student-{number:02}", name, kind, chosen, shape, late, dropped))
    return students


def _kinds(stems: tuple[str, ...]) -> list[tuple[str, Callable, str]]:
    most = max(len(exercise.wrong) for stem in stems for exercise in exercises_of(stem))
    wrong = [(f"wrong {i}", _wrong(i), "tidy") for i in range(most)]
    right = [("right", _right, "tidy")] * 3
    untidy = [(f"untidy {shape}", _right, shape) for shape in UNTIDY]
    malformed = [(f"malformed {shape}", _right, shape) for shape in MALFORMED]
    return [*right, *wrong, ("empty", _empty, "tidy"), ("late", _right, "tidy"), *untidy, *malformed]


def _right(rng: random.Random, exercise: Exercise) -> str:
    return "right"


def _empty(rng: random.Random, exercise: Exercise) -> str:
    return "empty"


def _wrong(number: int) -> Callable:
    return lambda rng, exercise: f"wrong:{exercise.wrong[number % len(exercise.wrong)].name}"


def _mixed(rng: random.Random, exercise: Exercise) -> str:
    return rng.choice(sorted(answers_of(exercise)))


def _malicious(start: int) -> Callable:
    """Every exercise is answered by another attack, from the one with the number `start` on."""
    attacks = iter([name for name, attack in MALICE.items() if not attack.costly][start:])
    return lambda rng, exercise: "empty" if exercise.kind == "value" else f"malice:{next(attacks)}"


def expected_marks(student: Student) -> dict[tuple[str, str], tuple[str, str]]:
    """(notebook, exercise) -> (status, name of the mistake); nothing for files that cannot be read.

    A known mistake may be "partly" right where it errs on some inputs only; that is counted as "wrong" here.
    """
    if student.shape in MALFORMED:
        return {}
    return {
        (stem, exercise_id): _expected(key, exercise_id in student.dropped)
        for stem, answers in student.chosen.items()
        for exercise_id, key in answers.items()
    }


def _expected(key: str, dropped: bool) -> tuple[str, str]:
    if dropped:
        return "missing", ""
    kind, _, name = key.partition(":")
    return {"right": "correct", "empty": "not started", "wrong": "wrong", "malice": "wrong"}[kind], name


def submission(released: Mapping[str, Any], student: Student, stem: str) -> bytes:
    """The file that a student hands in for a notebook."""
    sources = {
        exercise.id: _source(exercise, student.chosen[stem][exercise.id])
        for exercise in exercises_of(stem)
        if student.chosen[stem].get(exercise.id, "empty") != "empty"
    }
    filled = fill(released, sources)
    for cell in filled["cells"]:
        if "course-student" in cell.get("metadata", {}).get("tags", []):
            cell["source"] = cell["source"].replace('student = ""', f"student = {student.id!r}")
    untidy, malformed = UNTIDY.get(student.shape), MALFORMED.get(student.shape)
    if untidy:
        untidy(filled, student.dropped)
    raw = json.dumps(filled, ensure_ascii=False, indent=1).encode()
    return malformed(raw) if malformed else raw


def _source(exercise: Exercise, key: str) -> str:
    if not key.startswith("malice:"):
        return answers_of(exercise)[key]
    attack = MALICE[key.removeprefix("malice:")].source(hole_of(exercise))
    return attack.replace(f"def {hole_of(exercise)}(", f'@labkit.check("{exercise.id}")\ndef {hole_of(exercise)}(', 1)


def hand_in(students: Iterable[Student], released: Path, folder: Path) -> None:
    """Write folder/<student>/<notebook>.ipynb for a whole class, from a release (a folder or a zip)."""
    pages = _released(released)
    for student in students:
        for stem in student.chosen:
            path = folder / student.id / f"{stem}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(submission(pages[stem], student, stem))


def _released(place: Path) -> dict[str, Any]:
    if place.is_dir():
        return {path.stem: notebooks.read(path) for path in place.rglob("*.ipynb")}
    with zipfile.ZipFile(place) as archive:
        files = [name for name in archive.namelist() if name.endswith(".ipynb")]
        return {Path(name).stem: notebooks.checked(json.loads(archive.read(name))) for name in files}
