"""Numbers of one's own: a student's seed, and the numbers that a question is asked with."""

import ast
import inspect
import json
from typing import Any

from labkit.workbench import coursefile, display
from labkit.workbench.course import Course, normalised, seed_of
from labkit.workbench.marking import Exercise, givens

LONGEST_NAME = 200
STUDENT_CELL = "course-student"  # the id, and a tag, of the cell of `student_cell`
# Who works in this kernel, and in which course; empty until seed_for is called.
_here = {"student": "", "course": ""}


def student_cell(course: Course) -> str:
    """Give the source of the cell in which a student fills in who they are; it comes after the parameters."""
    return (
        'student = ""  # your number or name, as your teacher has it\n'
        "import labkit\n"
        f"seed = labkit.seed_for(student, {json.dumps(course.key, ensure_ascii=False)}) or seed"
    )


def typed_student(source: str) -> str:
    """Give what stands in the cell of `student_cell`, as far as it is a plain string or number; nothing is run."""
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return ""
    found = ""
    for statement in statements:
        assigned = isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None
        targets = getattr(statement, "targets", [getattr(statement, "target", None)]) if assigned else []
        if any(isinstance(each, ast.Name) and each.id == "student" for each in targets):
            found = _literal(statement.value)  # the last one counts, as in a kernel
    return found


def _literal(node: ast.expr) -> str:
    """Give a name or number that is written out, else ""; an f"…" without braces is one too."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    try:
        values = [ast.literal_eval(part) for part in parts]
    except (ValueError, TypeError):
        return ""
    plain = all(isinstance(value, str | int) and not isinstance(value, bool) for value in values)
    return _name("".join(map(str, values))) if plain else ""


def _name(student: str | int) -> str:
    return str(student).strip()[:LONGEST_NAME]


def seed_for(student: str | int | Any, course: str = "") -> int:
    """Give the seed of a student's notebooks, and ask the questions that have numbers with the student's from now on.

    Without a name it is 0, the numbers of the page. Spaces and capitals make no difference. `course` says of which
    course; as it is handed out, the cell says so itself.

    Raises:
        ValueError: if what is given is neither a name nor a number.
    """
    if isinstance(student, bool) or not isinstance(student, str | int):
        raise ValueError(f'the student is {student!r}; write a name or a number in quotes, as in student = "4711"')
    here = coursefile.in_effect()
    same = here is not None and here.seeds == "same"
    _here["student"] = "" if same else _name(student)
    _here["course"] = course or (here.key if here else "")
    if same:
        title, body = "In this course all have the same numbers", "Nothing has to be filled in."
        display.publish(f"{title}. {body}", display.card(title, display.paragraphs(body), "calm"))
        return 0
    if not normalised(_here["student"]):
        title = "No name is filled in yet: these are the numbers of the page"
        body = 'Write your number or name between the quotes of `student = ""`, as your teacher has it.'
        display.publish(f"{title}. {body.replace('`', '')}", display.card(title, display.paragraphs(body), "calm"))
    else:
        title = f"Numbers of your own, for {_here['student']!r}"
        display.publish(title, display.card(title, "", "calm"))
    return seed_of(_here["course"], _here["student"])


def has_own_numbers() -> bool:
    """Tell whether this kernel works with the numbers of one student instead of those of the page."""
    return seed_of(_here["course"], _here["student"]) != 0


def seed_here(exercise: Exercise) -> int:
    """Give the seed of a question's numbers in this kernel: the student's, or 0 for those of the page."""
    return seed_of(_here["course"], _here["student"], exercise.id)


def given(exercise_id: str) -> Any:
    """Give the numbers that a question is asked with: one as it is, several as a tuple.

    Raises:
        ValueError: if there is no such exercise, or its question has no numbers that could differ.
    """
    from labkit.workbench.checking import find  # which asks this module for a seed

    exercise = find(exercise_id)
    if exercise.kind != "value" or exercise.cases is None:
        raise ValueError(f"exercise {exercise.id!r} is asked with the same numbers for everybody; none are given")
    return given_by(exercise, seed_here(exercise))


def given_by(exercise: Exercise, seed: int) -> Any:
    """Give the numbers of a question for one seed: one as it is, several as a tuple, None where there are none."""
    if exercise.kind != "value" or exercise.cases is None:
        return None
    found = givens(exercise, seed) or tuple(each.default for each in _parameters(exercise))
    return found[0] if len(found) == 1 else found


def own_numbers(exercise: Exercise) -> str:
    """Give the sentence that says with which numbers this student is asked; "" where it is those of the page."""
    found = givens(exercise, seed_here(exercise)) if exercise.kind == "value" else ()
    names = [each.name for each in _parameters(exercise)]
    pairs = [f"{name} = {display.brief(number)}" for name, number in zip(names, found, strict=True)] if found else []
    return f"With numbers of your own: {', '.join(pairs)}." if pairs else ""


def _parameters(exercise: Exercise) -> list[inspect.Parameter]:
    """Give the numbers of a question as its solution takes them; its defaults are the numbers of the page."""
    return list(inspect.signature(exercise.solution).parameters.values())
