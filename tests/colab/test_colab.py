"""The proof that pages run on Colab: what it takes for Colab, what it notices, and that pages ask for what they use."""

import ast
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks import results
from labkit.workbench import installing, notebooks
from tests.colab import kinds, machine, section, trial
from tests.colab.kinds import PLAIN, TORCH
from tests.project import ROOT, pyproject

PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
requirements = cache(installing.requirements)


def pins(kind):
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in kind.wanted}


@pytest.mark.parametrize("kind", [PLAIN, TORCH], ids=lambda kind: kind.python)
def test_the_core_accepts_the_versions_of_colab(kind):
    there = pins(kind)
    assert len(there) == len(kind.wanted)
    for text in pyproject()["project"]["dependencies"]:
        asked = Requirement(text)
        if (pin := there.get(canonicalize_name(asked.name))) is not None:
            (version,) = pin.specifier
            assert asked.specifier.contains(version.version), text


def test_the_files_say_where_they_come_from_and_torch_is_never_another_one():
    for file in TORCH.files:
        assert "googlecolab/backend-info" in file.read_text(encoding="utf-8"), file.name
    assert str(pins(TORCH)["torch"]) == "torch==2.13.0"
    assert "torch" not in pins(PLAIN)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_asks_for_the_extras_of_what_it_imports_where_colab_has_it_not(page):
    needs, kind, asked = kinds.needs_of(page), kinds.kind_of(page), requirements()
    assert set(needs) <= set(asked)
    covered = {
        canonicalize_name(installing.parse(text).name) for each in (installing.CORE, *needs) for text in asked[each]
    }
    covered |= set(pins(kind))
    for cell in notebooks.code_cells(notebooks.read(page)):
        for name in imported(cell["source"]) - set(sys.stdlib_module_names) - {"labkit"}:
            assert canonicalize_name(DISTRIBUTIONS.get(name, name)) in covered, f"{page.name}, {cell['id']}: {name}"


def imported(source):
    """The packages that a cell imports in any case; an import below an `if` or a `try` has its own answer."""
    lines = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    found = {alias.name for line in lines if isinstance(line, ast.Import) for alias in line.names}
    found |= {line.module for line in lines if isinstance(line, ast.ImportFrom)}
    return {name.partition(".")[0] for name in found}


def test_the_machine_of_a_page_is_read_from_its_code():
    by_name = {page.stem: page for page in PAGES}
    assert kinds.kind_of(by_name["00_start_here"]) == PLAIN
    assert kinds.kind_of(by_name["06_attention_math"]) == TORCH
    assert kinds.kind_of(by_name["13_data_cleaning"]) == PLAIN
    assert kinds.kind_of(by_name["13_data_pipelines"]) == TORCH  # it trains a model near its end
    assert kinds.needs_of(by_name["06_attention_math"]) == ()
    assert "deepspeed" in kinds.needs_of(by_name["18_zero_and_deepspeed"])


def test_a_page_without_its_first_cell_is_named(tmp_path):
    page = tmp_path / "empty.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), page)
    with pytest.raises(ValueError, match=r"empty.ipynb has no cell with labkit.start"):
        kinds.options_of(page)


def test_the_interpreter_that_is_named_comes_first_and_a_wrong_one_is_passed_over(monkeypatch):
    versions = {"named": "3.12", "right": "3.13"}
    monkeypatch.setattr(kinds, "_candidates", lambda kind: ["no-such-file", "named", "right"])

    def run(line, **options):
        if line[0] not in versions:
            raise FileNotFoundError(line[0])
        return SimpleNamespace(returncode=0, stdout=versions[line[0]] + "\n")

    monkeypatch.setattr(kinds.subprocess, "run", run)
    assert kinds.interpreter(PLAIN) == "right"
    versions["named"] = "3.13"
    assert kinds.interpreter(PLAIN) == "named"
    versions.clear()
    with pytest.raises(RuntimeError, match=r"no Python 3\.13 here.*PYTHON313=/path/to/python3\.13"):
        kinds.interpreter(PLAIN)


def test_interpreters_are_looked_for_in_the_variable_on_the_path_and_where_pyenv_keeps_them(monkeypatch, tmp_path):
    python = tmp_path / "versions" / "3.13.7" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    for name, value in (("PYTHON313", "mine"), ("PATH", ""), ("PYENV_ROOT", str(tmp_path))):
        monkeypatch.setenv(name, value)
    assert list(kinds._candidates(PLAIN)) == ["mine", str(python)]


MACHINE = machine.Machine(PLAIN, Path("somewhere"), (Path("wheels"), Path("texts")))
GOOD = trial.Trial(
    page="02_ngram_models",
    python="3.13",
    seconds=12.4,
    claims=({"statement": "a", "passed": True}, {"statement": "b", "passed": True}),
    stored=2,
    before={"numpy": "2.1.3", "pip": "24.2"},
    after={"numpy": "2.1.3", "pip": "24.2", "gensim": "4.4.0", "llm-labkit": "0.1.0"},
    widgets={"explorables": 2, "corners": 8, "problems": []},
)


def test_a_page_in_order_has_no_problems_and_what_it_added_is_listed():
    assert GOOD.problems == [] and GOOD.moved == []
    assert GOOD.added == {"gensim": "4.4.0"}
    assert section.line(GOOD) == (
        "02_ngram_models        Python 3.13  ok    12 s  2 of 2 claims  2 explorables  + gensim"
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"after": {"numpy": "2.2.0", "pip": "24.2"}}, "a preinstalled package moved: numpy 2.1.3 → 2.2.0"),
        ({"after": {"numpy": "2.1.3"}}, "a preinstalled package moved: pip 24.2 → gone"),
        ({"claims": ({"statement": "a is b", "passed": False},)}, "a claim does not hold: a is b"),
        ({"claims": ()}, "the page made no claim, though the stored one does"),
        ({"failure": "it ended with KeyError: 3"}, "it ended with KeyError: 3"),
        ({"widgets": {"problems": ["explorable 1: no"]}}, "explorable 1: no"),
        ({"widgets": {}}, "its explorables were not looked at"),
    ],
)
def test_what_is_not_in_order_is_said(change, problem):
    assert replace(GOOD, **change).problems == [problem]


def test_the_environment_is_colabs_with_wheels_in_reach_and_nothing_of_ours(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "ours")
    monkeypatch.setenv("LABKIT_CACHE", "ours")
    monkeypatch.setenv("PIP_INDEX_URL", "ours")
    found = trial.environment(MACHINE, tmp_path)
    assert found["PIP_NO_INDEX"] == "1" and found["PIP_FIND_LINKS"] == "wheels texts"
    assert found["COLAB_RELEASE_TAG"] and found["HOME"] == str(tmp_path / "home")
    assert "ours" not in found.values()
    assert found["PATH"].split(os.pathsep)[0] == str(Path(MACHINE.python).parent)


def test_a_page_is_alone_in_its_folder():
    with trial.empty_folder() as folder:
        assert folder.name == "content" and list(folder.iterdir()) == [] == list((folder.parent / "home").iterdir())
    assert not folder.exists()


@pytest.mark.skipif(not trial.cut_off(), reason="bubblewrap is not installed or may not cut the network here")
def test_the_network_is_cut_but_for_loopback():
    code = "import socket; a = socket.create_server(('127.0.0.1', 0)); socket.create_connection(a.getsockname())\n"
    code += "try: socket.create_connection(('192.0.2.1', 80), 5)\nexcept OSError as error: print(error.errno)"
    done = subprocess.run([*trial.cut_off(), sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "101", done.stderr  # network is unreachable


def test_a_page_replaces_its_old_row_and_rows_stand_in_the_order_of_the_course():
    course = ["00_start_here", "02_ngram_models"]
    first = section.merged(None, [GOOD], "48 passed", course)
    results.check("colab", first)
    bad = replace(GOOD, failure="it ended early")
    both = section.merged(first, [bad, replace(GOOD, page="00_start_here", stored=3)], "", course)
    assert [(row[0], row[3], row[-1]) for row in both["rows"]] == [
        ("00_start_here", "2 of 2 (3 are stored)", "yes"),
        ("02_ngram_models", "2 of 2", "it ended early"),
    ]
    assert (first["passed"], both["passed"]) == (True, False)
    assert both["verdict"].startswith("1 of 2 pages")
    assert any("48 passed" in note for note in both["notes"])


PAGE = """
from labkit.figures import style
from labkit.workbench.explore import explore
def draw(n=1):
    return style.Marked("<b>x</b>", f"n is {n}")
def refuse(n=1):
    return draw(1 // (3 - n))
def stand(n=1):
    return draw()
made = [explore(each, n=(1, 3)) for each in (draw, refuse, stand)]
"""


def test_every_explorable_of_a_page_is_moved_to_its_corners(tmp_path):
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(PAGE, id="play")])
    nbformat.write(page, tmp_path / "page.ipynb")
    line = [sys.executable, str(trial.EXECUTE), "page.ipynb", "executed.ipynb"]
    done = subprocess.run(
        line, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = trial.widgets_of(notebooks.read(tmp_path / "executed.ipynb"))
    assert (told["explorables"], told["corners"]) == (3, 6)
    said = sorted(problem.partition(":")[2].strip() for problem in told["problems"])
    assert len(said) == 2 and "ZeroDivisionError" in " ".join(said) and "never changes" in " ".join(said)


def test_lines_on_stderr_are_told_with_their_cell():
    output = {"output_type": "stream", "name": "stderr", "text": "a warning\n\n"}
    assert list(
        trial.stderr_of({"cells": [{"cell_type": "code", "id": "load", "source": "", "outputs": [output]}]})
    ) == ["load: a warning"]


def test_only_what_is_not_there_is_fetched_and_torch_cannot_come_along(monkeypatch, tmp_path):
    lines = []

    def run(*line, **options):
        lines.append(line)
        if "--report" in line:
            report = {"install": [{"metadata": {"name": "ftfy", "version": "6.3.1"}}]}
            Path(line[line.index("--report") + 1]).write_text(json.dumps(report))
        return "[]"

    monkeypatch.setattr(machine, "run", run)
    monkeypatch.setattr(machine.Machine, "installed", lambda self: {"numpy": "2.1.3", "torchao": "0.10.0"})
    table = {"core": ["numpy>=2"], "cleaning": ["ftfy>=6", "torchao>=0.12"]}
    monkeypatch.setattr(machine.installing, "requirements", lambda: table)
    machine._fill(tmp_path / "wheels", MACHINE, ["cleaning"])
    assert lines[0][-1] == "ftfy>=6" and "--dry-run" in lines[0]
    assert "wheel" in lines[1] and lines[1][-1] == "ftfy==6.3.1"
    held = (tmp_path / "wheels" / "constraints.txt").read_text().splitlines()
    assert held == ["numpy==2.1.3", "torchao==0.10.0", "torch<0"]
    machine._fill(tmp_path / "wheels", MACHINE, ["cleaning"])
    assert len(lines) == 2  # the folder is complete


def test_what_a_killed_trial_left_is_taken_away(monkeypatch, tmp_path):
    lines = []
    monkeypatch.setattr(machine, "run", lambda *line, **options: lines.append(line))
    monkeypatch.setattr(machine.Machine, "installed", lambda self: {"numpy": "2.1.3", "llm-labkit": "1", "ftfy": "6"})
    (tmp_path / machine.HAD).write_text('{"numpy": "2.1.3"}')
    replace(MACHINE, folder=tmp_path).restore()
    ((*_, first, second),) = lines
    assert (first, second) == ("ftfy", "llm-labkit")
