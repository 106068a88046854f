"""The learner's own progress: what is noted, that no fault of the file stops a check, what is shown and how it goes."""

import json
import multiprocessing
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

import labkit
from labkit.workbench import checking, coursefile, learner, learnerfile, personal
from labkit.workbench.checking import check, hint, solution
from labkit.workbench.learnerfile import Event, events, note, records
from labkit.workbench.marking import Exercise, WrongAnswer
from tests.project import ROOT


def double(number):
    return 2 * number


def numbers(generator):
    return [(3,), (int(generator.integers(4, 99)),)]


DOUBLE = Exercise(
    id="demo.double",
    notebook="00_demo",
    statement="Double it.",
    difficulty=1,
    minutes=3,
    hints=("Twice.", "2 * number"),
    solution=double,
    wrong=(WrongAnswer("square", lambda number: number**2, "That is the square."),),
    cases=numbers,
)
OTHERS = (replace(DOUBLE, id="demo.again", minutes=5), replace(DOUBLE, id="late.one", notebook="07_late", minutes=20))


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "all_exercises", lambda: (DOUBLE, *OTHERS))
    monkeypatch.setattr(checking, "_checks", {})
    monkeypatch.setattr(checking, "_hints", {})
    monkeypatch.setattr(learnerfile, "_said", set())
    monkeypatch.setattr(personal, "_here", {"student": "", "course": ""})
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path / "mine" / "progress.db"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine" / "progress.db"


def kinds():
    return [(event.exercise, event.kind, event.detail) for event in events()]


def test_checks_hints_and_solutions_are_noted_in_order(capsys):
    check("demo.double")(lambda number: number**2)
    check("demo.double")(lambda number: number.no_such_thing)
    hint("demo.double")
    check("demo.double")(lambda number: number + number)
    solution("demo.again")
    assert kinds() == [
        ("demo.double", "wrong", "square"),
        ("demo.double", "error", ""),
        ("demo.double", "hint", "1"),
        ("demo.double", "correct", ""),
        ("demo.again", "solution", ""),
    ]
    record = records()["demo.double"]
    assert (record.solved, record.checks, record.hints, record.mistakes) == (True, 3, 1, ("square",))
    assert record.first <= record.last and capsys.readouterr().err == ""


def test_a_hole_is_not_noted_and_the_same_hint_counts_once(file):
    check("demo.double")(...)
    assert not file.exists()
    for _ in range(4):
        hint("demo.double")
    assert records()["demo.double"].hints == 2


def test_neither_answers_nor_names_are_kept(file, tmp_path):
    (tmp_path / "course.toml").write_text('[course]\nname = "A"\nseeds = "student"')
    labkit.seed_for("Ada Beispiel")

    def my_own_idea(number):
        return 41 * number

    check("demo.double")(my_own_idea)
    kept = file.read_bytes().lower()
    assert b"demo.double" in kept and not any(word in kept for word in (b"beispiel", b"my_own", b"41"))


@pytest.mark.parametrize("word", ["off", "OFF", "0", "no"])
def test_it_can_be_turned_off(monkeypatch, word, tmp_path):
    monkeypatch.setenv("LABKIT_PROGRESS", word)
    note("00_demo", "demo.double", "correct")
    assert learnerfile.place() is None and events() == [] and list(tmp_path.iterdir()) == []


def test_runs_that_nobody_sits_at_keep_nothing_unless_a_file_is_named(monkeypatch, file):
    assert learnerfile.place() == file
    monkeypatch.delenv("LABKIT_PROGRESS")
    assert learnerfile.place() is None  # here is pytest
    monkeypatch.delenv("PYTEST_VERSION")
    monkeypatch.setenv("LABKIT_HEADLESS", "1")
    assert learnerfile.place() is None  # labkit run
    monkeypatch.delenv("LABKIT_HEADLESS")
    assert learnerfile.place().parts[-2:] == ("llm-labkit", "progress.db")


@pytest.mark.parametrize(
    ("platform", "variable", "end"),
    [
        ("linux", "XDG_DATA_HOME", "data/llm-labkit/progress.db"),
        ("linux", "", "home/.local/share/llm-labkit/progress.db"),
        ("darwin", "", "home/Library/Application Support/llm-labkit/progress.db"),
        ("win32", "LOCALAPPDATA", "data/llm-labkit/progress.db"),
        ("win32", "", "home/AppData/Local/llm-labkit/progress.db"),
    ],
)
def test_the_file_lies_where_the_platform_keeps_data(monkeypatch, tmp_path, platform, variable, end):
    for name in ("LABKIT_PROGRESS", "LABKIT_HEADLESS", "PYTEST_VERSION", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "data"))
    assert learnerfile.place() == tmp_path / end


def test_a_folder_may_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path))
    assert learnerfile.place() == tmp_path / "progress.db"


def write_many(who):
    for number in range(25):
        note("00_demo", f"demo.{who}", "hint", str(number))


def test_two_kernels_at_once_lose_nothing():
    fresh = multiprocessing.get_context("spawn")
    writers = [fresh.Process(target=write_many, args=(name,)) for name in ("one", "two")]
    for writer in writers:
        writer.start()
    write_many("three")
    for writer in writers:
        writer.join()
    assert {name: record.hints for name, record in records().items()} == {
        "demo.one": 25,
        "demo.two": 25,
        "demo.three": 25,
    }


def test_a_crash_in_the_middle_of_writing_leaves_what_was_there(file):
    note("00_demo", "demo.double", "correct")
    program = (
        "import os, sqlite3, sys\n"
        "base = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "base.execute('PRAGMA cache_size = 1'); base.execute('BEGIN')\n"
        "row = ('a' * 99, 'b', 'hint', '1')\n"
        "for n in range(9999): base.execute('INSERT INTO events VALUES (1.0, ?, ?, ?, ?)', row)\n"
        "os._exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(file)], check=False)
    assert ended.returncode == 9 and file.with_name("progress.db-journal").exists()
    note("00_demo", "demo.again", "correct")
    assert [name for name, _, _ in kinds()] == ["demo.double", "demo.again"]


def half_a_file(path):
    note("00_demo", "demo.double", "correct")
    with sqlite3.connect(path) as base:
        base.executemany("INSERT INTO events VALUES (1.0, 'a', ?, 'correct', '')", [["b" * 99]] * 200)
    base.close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_another_program(path):
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE events (something TEXT)")
    base.close()


def with_other_columns(path):
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE events (time REAL, notebook TEXT, exercise TEXT, kind TEXT)")
    base.close()


def garbage(path):
    path.write_bytes(b"no base of data " * 99)


@pytest.mark.parametrize("damage", [half_a_file, of_another_program, with_other_columns, garbage])
@pytest.mark.parametrize("first", ["look", "check"])
def test_a_damaged_file_is_set_aside_with_a_sentence_and_checks_go_on(file, damage, first, capsys):
    file.parent.mkdir()
    damage(file)
    if first == "look":
        assert events() == []
    check("demo.double")(double)
    heard = capsys.readouterr()
    assert heard.out.startswith("✓ demo.double") and kinds() == [("demo.double", "correct", "")]
    assert heard.err.count("\n") == 1 and "was damaged; it is now" in heard.err
    assert {path.name for path in file.parent.iterdir()} == {"progress.db", "progress-damaged.db"}
    left = {"progress-damaged.db"} - {path.name for path in learnerfile.files()}
    assert bool(left) == (damage is not half_a_file)  # what never was a learner's file is not deleted


def test_the_second_damaged_file_does_not_replace_the_first(file):
    file.parent.mkdir()
    for _ in range(2):
        garbage(file)
        assert events() == []
    assert {path.name for path in file.parent.iterdir()} == {"progress-damaged.db", "progress-damaged1.db"}


def test_an_empty_file_is_begun_and_strange_rows_are_passed_over(file, capsys):
    file.parent.mkdir()
    file.touch()
    assert events() == []
    note("00_demo", "demo.double", "correct")
    with sqlite3.connect(file) as base:
        base.execute("INSERT INTO events VALUES ('when', 'a', 'b', 'hint', '1')")
        base.execute("INSERT INTO events VALUES (1.0, 'a', 'b', 'danced', '1')")
        base.execute("INSERT INTO events VALUES (1.0, 'a', x'00', 'hint', '1')")
    base.close()
    assert kinds() == [("demo.double", "correct", "")] and capsys.readouterr().err == ""


def test_where_nothing_can_be_written_one_sentence_says_so_and_checks_go_on(file, monkeypatch, capsys):
    file.parent.write_text("a file where the folder should be")
    for _ in range(2):
        check("demo.double")(double)
    heard = capsys.readouterr()
    assert heard.out.count("✓") == 2 and heard.err.count("\n") == 1
    assert "your progress could not be kept" in heard.err and "LABKIT_PROGRESS=off" in heard.err


def test_a_file_that_another_program_holds_is_waited_for_and_then_left(file, monkeypatch, capsys):
    note("00_demo", "demo.double", "correct")
    monkeypatch.setattr(learnerfile, "PATIENCE", 0.05)
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    check("demo.again")(double)
    assert "could not be kept (database is locked)" in capsys.readouterr().err
    labkit.progress()
    assert "cannot be read now" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="cannot be read now"):
        learner.command()
    holder.close()
    assert kinds() == [("demo.double", "correct", "")]


def test_without_sqlite_nothing_is_kept_and_nothing_stops(monkeypatch, capsys):
    monkeypatch.setattr(learnerfile, "sqlite3", None)
    check("demo.double")(double)
    labkit.progress()
    assert events() == [] and "nothing is tried yet" in capsys.readouterr().out


EMPTY = """\
Your progress: nothing is tried yet
Begin with: demo.double in 00_demo (difficulty 1 of 3, about 3 minutes).
It is kept in one file on this machine; it is yours.
"""


def test_an_empty_progress_says_where_to_begin_the_same_in_every_run(monkeypatch, capsys):
    labkit.progress()
    monkeypatch.delenv("LABKIT_PROGRESS")  # off too, but as a page that is stored needs it
    labkit.progress()
    assert capsys.readouterr().out == EMPTY * 2
    monkeypatch.setenv("LABKIT_PROGRESS", "off")
    labkit.progress()
    assert capsys.readouterr().out.endswith("Nothing is kept on this machine: LABKIT_PROGRESS is off.\n")


def test_progress_says_what_is_done_what_is_next_and_what_is_left(capsys):
    note("07_late", "late.one", "wrong", "square")
    note("00_demo", "demo.double", "correct")
    note("00_demo", "demo.double", "hint", "1")
    note("00_demo", "gone.exercise", "correct")  # of another version of the course
    labkit.progress()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Your progress: 1 of 3 exercises done"
    assert [line.split() for line in lines[3:5]] == [
        ["00_demo", "1", "of", "2", "3", "5", "1", "0"],
        ["07_late", "0", "of", "1", "0", "20", "0", "0"],
    ]
    assert lines[5] == "Next: demo.again in 00_demo (difficulty 1 of 3, about 5 minutes)."
    assert lines[6] == "By estimate: 3 minutes done, 25 minutes left. Help: 1 hint taken."


def test_what_is_next_stays_in_the_notebook_of_the_last_work_and_then_goes_to_the_first_gap(capsys):
    note("07_late", "late.one", "wrong")
    assert learner.standing().next.id == "late.one"
    note("07_late", "late.one", "correct")
    assert learner.standing().next.id == "demo.double"
    for each in ("demo.double", "demo.again"):
        note("00_demo", each, "correct")
    note("00_demo", "demo.again", "wrong")  # tried again for fun: what was solved stays solved
    labkit.progress()
    assert "All is done." in capsys.readouterr().out and learner.standing().next is None


def test_a_course_file_chooses_the_notebooks(tmp_path):
    coursefile._cached.cache_clear()
    (tmp_path / "course.toml").write_text('[course]\nname = "A"\nnotebooks = ["07_late", "99_unknown"]')
    assert [each.notebook for each in learner.standing().standings] == ["07_late"]
    assert [each.notebook for each in learner.standing(["00"]).standings] == ["00_demo"]


def test_the_card_is_html_without_a_hole_for_scripts(monkeypatch):
    note("00_demo", "demo.double", "correct")
    monkeypatch.setattr(checking, "all_exercises", lambda: (DOUBLE, replace(DOUBLE, id="demo.<b>", notebook="00_demo")))
    shown = []
    monkeypatch.setattr(learner.display, "publish", lambda plain, html: shown.append(html))
    labkit.progress()
    assert "<table" in shown[0] and "<td" in shown[0] and "<b>" not in shown[0] and "demo.&lt;b&gt;" in shown[0]


def run(*arguments, **kwargs):
    from labkit.workbench.cli import cli

    return CliRunner().invoke(cli, ["progress", *arguments], **kwargs)


def test_the_command_shows_the_same_and_where_the_file_is(file):
    assert run().output == EMPTY.replace(
        "It is kept in one file on this machine; it is yours.", f"It will be kept in {file}."
    )
    note("00_demo", "demo.double", "correct")
    assert f"Kept in {file}; labkit progress --forget deletes it." in run().output
    assert "Nothing is kept on this machine" in run(env={"LABKIT_PROGRESS": "off"}).output


def test_the_command_gives_json(file):
    note("00_demo", "demo.double", "correct")
    found = json.loads(run("--json", "-n", "00").output)
    assert found["file"] == str(file) and found["next"]["exercise"] == "demo.again"
    assert found["notebooks"][0]["done"] == 1 and found["exercises"][0]["exercise"] == "demo.double"
    assert json.loads(run("--json", env={"LABKIT_PROGRESS": "off"}).output)["file"] is None


def test_a_mistyped_notebook_gets_the_nearest():
    result = run("-n", "07_lat")
    assert result.exit_code == 0  # the beginning of a name is a name
    result = run("-n", "07_lte")
    assert result.exit_code == 2 and "did you mean '07_late'" in result.output


def test_forgetting_shows_what_goes_and_asks(file):
    assert "There is no progress to forget." in run("--forget").output
    note("00_demo", "demo.double", "correct")
    file.with_name("progress-damaged.db").write_bytes(file.read_bytes()[:4096])
    refused = run("--forget")
    assert refused.exit_code == 1 and "nobody to ask here" in refused.output and file.exists()
    done = run("--forget", "--yes")
    assert done.exit_code == 0 and "what is kept of 1 exercise:" in done.output and str(file) in done.output
    assert list(file.parent.iterdir()) == []
    assert run("--yes").exit_code == run("--forget", "--json").exit_code == 2


def test_what_somebody_else_wrote_is_never_deleted(file, monkeypatch, capsys):
    file.parent.mkdir()
    thesis, photos = file.with_name("thesis.txt"), file.with_name("photos.db")
    thesis.write_text("my thesis")
    with sqlite3.connect(photos) as base:
        base.execute("CREATE TABLE photos (name TEXT)")
    base.close()
    before = photos.read_bytes()
    for path in (thesis, photos):
        monkeypatch.setenv("LABKIT_PROGRESS", str(path))
        check("demo.double")(double)
        run("--forget", "--yes")
    assert photos.read_bytes() == before and "photos.db is kept by another program" in capsys.readouterr().err
    assert file.with_name("thesis-damaged.txt").read_text() == "my thesis"


def test_a_clock_that_was_set_back_and_times_that_no_clock_shows_stop_nothing(file, monkeypatch):
    for exercise, moment in (("demo.double", 4e9), ("late.one", 1e300), ("demo.again", 5.0)):
        monkeypatch.setattr(learnerfile.time, "time", lambda moment=moment: moment)
        note("07_late" if exercise == "late.one" else "00_demo", exercise, "wrong")
    assert learner.standing().next.notebook == "00_demo"  # worked on last, whatever the clock said
    assert [each["last"] is None for each in json.loads(run("--json").output)["exercises"]] == [False, True, False]


def test_a_drive_without_locks_is_waited_for_once(file, monkeypatch):
    waited = []
    real = sqlite3.connect
    monkeypatch.setattr(learnerfile, "PATIENCE", 0.05)
    monkeypatch.setattr(learnerfile, "IN_VAIN", 0.01)
    monkeypatch.setattr(
        learnerfile.sqlite3, "connect", lambda path, timeout: waited.append(timeout) or real(path, timeout=timeout)
    )
    note("00_demo", "demo.double", "correct")
    holder = real(file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    note("00_demo", "demo.double", "wrong")
    note("00_demo", "demo.double", "wrong")
    holder.close()
    assert waited == [0.05, 0.05, 0.01]


def test_somebody_at_the_terminal_is_asked(file, monkeypatch):
    note("00_demo", "demo.double", "correct")
    monkeypatch.setattr(learner, "_agreed", lambda: False)
    assert "Nothing was deleted." in run("--forget").output and file.exists()
    monkeypatch.setattr(learner, "_agreed", lambda: True)
    assert run("--forget").exit_code == 0 and not file.exists()


def test_the_real_course_has_a_first_step_without_a_heavy_import():
    program = "import labkit, sys; labkit.progress(); print('torch' in sys.modules)"
    environment = {**os.environ, "LABKIT_PROGRESS": "off"}
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    assert "Begin with: workbench.sequences in 00_start_here" in ended.stdout and ended.stdout.endswith("False\n")


def test_an_event_is_what_was_said():
    note("00_demo", "demo.double", "hint", "1")
    assert replace(events()[0], time=0.0) == Event(0.0, "00_demo", "demo.double", "hint", "1")
