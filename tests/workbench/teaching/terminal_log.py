"""The terminal log of docs/teaching.md, run again: `python tests/workbench/teaching/terminal_log.py` writes it anew.

A fenced block `console` holds commands after `$ ` and what they say; a block `toml` is the course file; a comment
`<!-- happens: name -->` is what people do between two commands, played here by a small class of invented students.
"""

import csv
import os
import re
import shlex
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "teaching.md"
STEP = re.compile(r"```(console|toml)\n(.*?)```|<!-- happens: ([\w ]+) -->", re.DOTALL)
# What no two runs have in common.
CHANGES = (
    (r"\b[0-9a-f]{64}\b", "HASH"),
    (r"\b[0-9a-f]{12}\b", "VERSION"),
    (r"\b\d+(\.\d+)? (s|seconds|a minute|MB)\b", r"N \2"),
    (r"─+", "─"),
    (r" +", " "),
)
WORDS = "Most words that a model meets are rare, so most of its counts are too small to trust."


def masked(text):
    """The text with what changes from run to run taken out, without blanks at the ends of lines."""
    for pattern, instead in CHANGES:
        text = re.sub(pattern, instead, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def in_order(said):
    """What a command says, with the lines of the submissions in one order: two are graded at a time."""
    lines = said.splitlines()
    graded = [number for number, line in enumerate(lines) if re.match(r"\S+ · \S+ · ", line)]
    for number, line in zip(graded, sorted(lines[number] for number in graded), strict=True):
        lines[number] = line
    return "\n".join(lines) + "\n"


def replayed(page, folder):
    """Give the page with the log as it would be now: every command is run in `folder`, in the order of the page."""

    def step(found):
        kind, text, happening = found.groups()
        if kind == "toml":
            (folder / "course.toml").write_text(text, encoding="utf-8")
        elif happening:
            HAPPENINGS[happening](folder)
        else:
            said = [f"$ {command}\n{run(command, folder)}" for command in re.findall(r"^\$ (.+)$", text, re.MULTILINE)]
            return f"```console\n{''.join(said)}```"
        return found[0]

    return STEP.sub(step, page)


def run(command, folder):
    """What a command says. `cat` and `ls` are done here, so that the log is the same on every system."""
    program, *words = shlex.split(command)
    if program == "cat":
        return "".join((folder / word).read_text(encoding="utf-8-sig") for word in words)
    if program == "ls":
        return "  ".join(sorted(path.name for path in (folder / words[0]).iterdir())) + "\n"
    assert program == "labkit", f"the log runs labkit, cat and ls, not {program}"
    about = {**os.environ, "COLUMNS": "110", "PYTHONUTF8": "1"}
    about.pop("LABKIT_NOTEBOOKS", None)  # the page says that nobody needs it
    line = [sys.executable, "-m", "labkit.workbench.cli", *words]
    done = subprocess.run(line, cwd=folder, env=about, capture_output=True, text=True, encoding="utf-8")
    return in_order(done.stdout + done.stderr)


def students_hand_in(folder):
    """Three students: one right, one with every first known mistake, one late with half of it."""
    sys.path.insert(0, str(ROOT))
    from tests.workbench.teaching import class_of_students as classes

    stems = ("00_start_here", "02_ngram_models")
    exercises = {stem: classes.exercises_of(stem) for stem in stems}
    right = {stem: {e.id: "right" for e in found} for stem, found in exercises.items()}
    wrong = {stem: {e.id: f"wrong:{e.wrong[0].name}" for e in found} for stem, found in exercises.items()}
    half = {stem: {e.id: "right" for e in found[: len(found) // 2]} for stem, found in exercises.items()}
    made = [
        classes.Student(f"student-{number:02}", f"student-{number:02}", "log", chosen)
        for number, chosen in enumerate((right, wrong, half), 1)
    ]
    classes.hand_in(made, folder / "handout", folder / "submissions")
    _say_when(folder, made, stems, late={"student-03": timedelta(days=1, hours=2)})
    _write_in_words(folder / "submissions" / "student-01" / "02_ngram_models.ipynb")


def _say_when(folder, students, stems, late):
    from labkit.workbench.coursefile import read_course

    deadline = read_course(folder / "course.toml").deadlines["02_ngram_models"]
    rows = [
        (student.id, stem, (deadline - timedelta(hours=5) + late.get(student.id, timedelta(0))).isoformat())
        for student in students
        for stem in stems
    ]
    with open(folder / "submissions" / "submitted.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("student", "notebook", "submitted"), *rows])


def _write_in_words(path):
    from labkit.workbench import notebooks, storing

    page = notebooks.read(path)
    next(cell for cell in page["cells"] if cell.get("id", "").startswith("answer-"))["source"] = WORDS
    path.write_text(storing.written(page), encoding="utf-8")


def you_read_the_answers(folder):
    """The teacher gives eight points and a comment for the one answer in words."""
    path = folder / "grades" / "by_hand.csv"
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["student"] == "student-01":
            row["points"], row["comment"] = "8", "Good. And what follows for smoothing?"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


HAPPENINGS = {"students hand in": students_hand_in, "you read the answers": you_read_the_answers}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        renewed = replayed(PAGE.read_text(encoding="utf-8"), Path(place))
    PAGE.write_text(renewed, encoding="utf-8", newline="\n")
    print(f"{PAGE.relative_to(ROOT)}: the log is as it is now; look at the difference before you commit it")
