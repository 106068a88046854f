"""The page of measurements and the program that fills it; the benchmarks themselves run in `make bench`."""

import doctest
import json
import pickle
import re
import sys
from pathlib import Path

import pytest

from benchmarks import budget, results, results_page, run_all
from benchmarks.peers import ROWS, Ratio, Row, compared, tell

ROOT = Path(__file__).parents[1]
SECTION = {
    "title": "Counting words",
    "about": "All words are counted.",
    "command": "python -m benchmarks.run_all ngrams",
    "date": "2026-11-23",
    "machine": {"processor": "a processor", "cores": "2", "memory": "4 GiB", "system": "Linux", "Python": "3.11.7"},
    "versions": {"numpy": "2.4.6", "kenlm": "missing"},
    "headers": ["what", "seconds"],
    "rows": [["counting | writing", 1.25]],
    "notes": ["A note."],
}
FAST = Row("counting, a peer", "s", 1.0, 2.5, Ratio.of([2.0, 2.5, 4.0]), 2.0, "a note")
SLOW = Row("writing, a peer", "s", 2.0, 1.0, Ratio.of([0.5]), 1.0)
GONE = Row("reading, another peer", note="not installed", missing="another")


def scripts(folder, **sources):
    """Benchmarks that take no time: a script for each name, which adds its rows as the real ones do."""
    head = '"""A title of two\nlines.\n\n    python x.py\n\nWhat it does,\nin words.\n"""\nimport os, sys\n'
    for name, source in sources.items():
        (folder / f"bench_{name}.py").write_text(head + source, encoding="utf-8")
    return folder


def adding(*rows):
    """Source that adds these rows."""
    lines = "".join(json.dumps(row.record()) + "\n" for row in rows)
    return f"open(os.environ[{ROWS!r}], 'a', encoding='utf-8').write({lines!r})\n"


def ran(folder, names, quick=False):
    """What `run` says has died, and the sections that it wrote."""
    written = {}
    died = run_all.run(names, quick, folder, lambda name, section: written.update({name: section}))
    for name, section in written.items():
        results.check(name, section)
    return died, written


def test_the_median_of_ratios_keeps_how_far_the_rounds_were_apart():
    ours, theirs, ratio = compared([(1.0, 2.0), (2.0, 2.0), (1.0, 5.0)])
    assert (ours, theirs, ratio) == (1.0, 2.0, 2.0)
    assert (ratio.low, ratio.high) == (1.0, 5.0)
    travelled = pickle.loads(pickle.dumps(ratio))  # ranks send theirs back
    assert (travelled, travelled.low, travelled.high) == (2.0, 1.0, 5.0)


def test_a_row_knows_whether_what_was_asked_for_is_met():
    assert [row.met for row in (FAST, SLOW, GONE, Row("x", "s", 1, 2, 2.0))] == [True, False, None, None]
    assert "asked 2: yes" in str(FAST)
    assert "(2.00 to 4.00)" in str(FAST)
    assert "asked 1: NO" in str(SLOW)
    assert str(GONE).endswith("not installed")


def test_told_rows_are_printed_and_kept_where_asked_for(tmp_path, monkeypatch, capsys):
    tell(GONE)
    monkeypatch.setenv(ROWS, str(tmp_path / "rows"))
    tell(FAST, SLOW)
    assert len(capsys.readouterr().out.splitlines()) == 3
    kept = [json.loads(line) for line in (tmp_path / "rows").read_text(encoding="utf-8").splitlines()]
    assert kept[0] == FAST.record() | {"spread": [2.0, 4.0]}
    assert kept[1]["met"] is False


def test_a_section_is_written_and_read_again(tmp_path):
    place = results.write("ngrams", SECTION, tmp_path)
    assert place == tmp_path / "ngrams.json"
    assert results.sections(tmp_path) == {"ngrams": SECTION}
    results.write("ngrams", {**SECTION, "title": "Anew"}, tmp_path)
    assert results.sections(tmp_path)["ngrams"]["title"] == "Anew"
    assert [path.name for path in tmp_path.iterdir()] == ["ngrams.json"]


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("words", {}, "no section is called 'words'"),
        ("ngrams", {"extra": 1}, r"unknown keys \['extra'\]"),
        ("ngrams", {"date": "today"}, "the date is 'today'"),
        ("ngrams", {"machine": "mine"}, "machine is 'mine', expected a dict"),
        ("ngrams", {"rows": [["a"], ["a", 1]]}, r"rows of \[1\] cells below 2 headers"),
        ("ngrams", {"notes": [f"see {ROOT}/x"]}, "give paths from the folder of the course"),
        ("ngrams", {"rows": [["in", str(Path("~").expanduser() / "x")]]}, "give paths from the folder of the course"),
    ],
)
def test_a_section_that_no_stranger_could_read_is_refused(tmp_path, name, changes, said):
    with pytest.raises(ValueError, match=said):
        results.write(name, {**SECTION, **changes}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_section_without_a_key_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"missing keys \['about'\]"):
        results.write("ngrams", {key: value for key, value in SECTION.items() if key != "about"}, tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"title"', '{"title": "x"}', "\xff"])
def test_a_file_that_holds_no_section_is_named(tmp_path, text):
    results.write("ngrams", SECTION, tmp_path)
    (tmp_path / "colab.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"colab\.json is no section .*; measure it anew, or delete it"):
        results.sections(tmp_path)


def test_a_path_of_the_course_does_not_name_a_folder_at_the_root_of_the_machine(monkeypatch):
    monkeypatch.setattr(results, "ROOT", Path("/data"))
    assert results.places_in("see tests/data and ../data") == []
    assert results.places_in("see /data/x, '/data'") == ["/data"]


def test_the_machine_is_told_without_its_name():
    told = results.machine()
    assert set(told) == {"processor", "cores", "memory", "system", "Python"}
    assert told["Python"] == sys.version.split()[0]
    assert all(told.values())
    assert results.versions(["numpy", "no-such-package"])["no-such-package"] == "missing"


def test_the_page_begins_with_what_was_asked_for_and_names_who_is_missing():
    rows = [row.record() for row in (FAST, SLOW, GONE, Row("nobody asked", "s", 1.0, 2.0, Ratio.of([2.0])))]
    page = results_page.page({"ngrams": {**SECTION, "summary": rows}})
    glance = page[page.index("## At a glance") : page.index("## Counting words")]
    assert "1 of 2 ratios that were asked for are met." in glance
    assert "| [ngrams](#counting-words) | counting, a peer | 1 | 2.5 | s | 2.50 | 2.00 to 4.00 | 2.00 | met |" in glance
    assert "| 0.50 | 0.50 to 0.50 | 1.00 | **missed** |" in glance
    assert "nobody asked" not in glance
    assert "Missing on the machine, so nothing was compared with them: another." in glance
    assert "counting \\| writing" in page
    assert "a processor, 2 cores, 4 GiB, Linux; Python 3.11.7, numpy 2.4.6; not installed: kenlm." in page
    assert "Not measured yet: attention, " in page


def test_proofs_have_a_verdict_at_the_top_and_their_section_after_the_benchmarks():
    survived = {**SECTION, "title": "Endurance", "verdict": "All survived.", "passed": True}
    page = results_page.page({"endurance": survived, "ngrams": SECTION})
    assert "| [endurance](#endurance) | All survived. | met | 2026-11-23 |" in page
    assert page.index("## Counting words") < page.index("## Endurance")
    missed = results_page.page({"endurance": {**survived, "passed": False}})
    assert "| All survived. | **missed** |" in missed


def test_every_table_of_the_page_has_rows_as_wide_as_its_head():
    rows = [row.record() for row in (FAST, SLOW, GONE)]
    page = results_page.page({"ngrams": {**SECTION, "summary": rows}, "colab": SECTION})
    for table in re.findall(r"(?:^\|.*\n?)+", page, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_every_benchmark_runs_even_if_one_before_it_dies(tmp_path):
    dies = adding(FAST) + f"sys.exit('no memory in {tmp_path}')"
    folder = scripts(tmp_path, ngrams=dies, attention=adding(SLOW, GONE), training="os.kill(os.getpid(), 9)")
    died, written = ran(folder, ["ngrams", "training", "attention"])
    assert set(died) == {"ngrams", "training"}
    assert died["ngrams"].startswith("exit code 1, no memory in ")
    assert list(written) == ["ngrams", "training", "attention"]
    assert [row[0] for row in written["ngrams"]["rows"]] == ["counting, a peer"]  # those before its death
    assert written["ngrams"]["passed"] is False
    assert any("died before its end: exit code 1" in note for note in written["ngrams"]["notes"])
    assert "passed" not in written["attention"]
    assert "Missing on this machine: another." in written["attention"]["notes"]


def test_a_section_says_what_its_script_says_of_itself(tmp_path):
    folder = scripts(tmp_path, ngrams=adding(FAST))
    _, written = ran(folder, ["ngrams"])
    found = written["ngrams"]
    assert (found["title"], found["about"]) == ("A title of two lines", "What it does, in words.")
    assert found["command"] == "python -m benchmarks.run_all ngrams"
    assert found["headers"] == [*results_page.COMPARED, "note"]
    assert found["rows"] == [["counting, a peer", 1.0, 2.5, "s", "2.50", "2.00 to 4.00", "2.00", "met", "a note"]]


def test_few_rounds_are_asked_for_and_told(tmp_path):
    source = "assert '--rounds' in sys.argv\n" + adding(FAST)
    died, written = ran(scripts(tmp_path, attention=source), ["attention"], quick=True)
    assert died == {}
    assert written["attention"]["command"].endswith(" --quick")
    assert any(note.startswith("Few rounds") for note in written["attention"]["notes"])


def test_the_exit_code_tells_of_a_death_and_not_of_a_ratio_that_was_missed(tmp_path, monkeypatch, capsys):
    written = []
    monkeypatch.setattr(results, "main", lambda: written.append("page"))
    for died, code in (({}, 0), ({"ngrams": "exit code 1, no memory"}, 1)):
        monkeypatch.setattr(run_all, "run", lambda names, quick, died=died: died)
        assert run_all.main(["ngrams"]) == code
    assert written == ["page", "page"]
    assert "ngrams died: exit code 1, no memory" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_all.main(["words"])


def test_no_folder_of_this_machine_is_named():
    home = Path("~").expanduser()
    assert run_all.without_places(f"no file {ROOT}/data/x and {home}/y") == "no file …/data/x and …/y"


@pytest.mark.parametrize("name", run_all.BENCHES)
def test_every_benchmark_has_a_script_that_knows_its_few_rounds(name):
    source = (ROOT / "benchmarks" / f"bench_{name}.py").read_text(encoding="utf-8")
    known = {"--rounds", "--only"} if "run_subjects" in source else set(re.findall(r'"(--[a-z-]+)"', source))
    assert {flag for flag in run_all.BENCHES[name].quick if flag.startswith("--")} <= known
    title, about = run_all.told(ROOT / "benchmarks" / f"bench_{name}.py")
    assert 20 < len(title) < 130
    assert len(about) > 100
    assert "run_subjects(" in source or "tell(" in source


def test_no_benchmark_is_forgotten():
    there = {path.stem.removeprefix("bench_") for path in (ROOT / "benchmarks").glob("bench_*.py")}
    assert there == set(run_all.BENCHES) == set(results.BENCHMARKS)


def test_what_was_measured_here_is_what_the_page_shows():
    sections = results.sections()
    for name, section in sections.items():
        results.check(name, section)
    page = ROOT / "benchmarks" / "RESULTS.md"
    if page.is_file():
        assert page.read_text(encoding="utf-8") == results_page.page(sections), "python -m benchmarks.results"


def record(name, seconds=10.0, gibibytes=1.0, **changes):
    """A notebook in results.json."""
    cells = [["tools", 1.0], ["train", seconds / 2]]
    made = {"name": name, "path": "none.ipynb", "seconds": seconds, "peak_bytes": int(gibibytes * 2**30)}
    made |= {"claims": [{"passed": True}], "claims_expected": 1, "executed": None, "report": None, "failure": None}
    return {**made, "startup": 2.0, "cells": cells, **changes}


def test_the_budget_is_kept_when_nothing_is_over_it(tmp_path):
    found = budget.section([record("01_a"), record("02_b", 59.0, 1.9)])
    results.write("budget", found, tmp_path)
    assert found["passed"] is True
    assert found["verdict"] == (
        "2 notebooks in 1.1 minutes, one after the other (asked 10); the slowest 59 s (asked 60), "
        "the largest 1.90 GiB (asked 2)."
    )
    assert found["rows"][0] == ["01_a", 10.0, 2.0, 0.0, 6.0, 2.0, "train 5.0 s, tools 1.0 s", 1024, "1 of 1"]
    assert found["rows"][-1][:2] == ["together", 69.0]
    assert found["notes"] == []


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([record("01_a", 61.0)], "01_a took 61 s; 60 are asked."),
        ([record("01_a", gibibytes=2.5)], "01_a held 2.50 GiB; 2 are asked."),
        ([record("01_a", failure={"sentence": "x"})], "01_a did not run to its end."),
        ([record(f"{n:02}_a", 55.0) for n in range(12)], None),  # each within its minute, all together not
    ],
)
def test_whatever_is_over_the_budget_is_named(runs, said):
    found = budget.section(runs)
    assert found["passed"] is False
    assert found["notes"] == [said] * (said is not None)


def test_the_clock_counts_where_notebooks_ran_several_at_a_time():
    runs = [record(f"{n:02}_a", 55.0) for n in range(12)]
    found = budget.section(runs, minutes=6.0)
    assert found["passed"] is True
    assert "12 notebooks in 6.0 minutes, several at a time" in found["verdict"]


def test_an_old_run_without_seconds_of_cells_has_a_budget_too(tmp_path):
    found = budget.section([record("01_a", cells=[])])
    results.write("budget", found, tmp_path)
    assert found["rows"][0][1:6] == [10.0, None, None, None, None]


def test_the_examples_of_the_page_are_right():
    assert doctest.testmod(results_page) == (0, 2)
