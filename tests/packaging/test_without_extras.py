"""`pip install llm-labkit` without extras, from the wheel, where nothing is installed but what the core asks for."""

import json
import os
import shutil
import subprocess

import pytest
from packaging.utils import canonicalize_name

from labkit.corpora import cache_folder
from tests.packaging.building import build, core, core_environment, pip
from tests.project import ROOT, files, pyproject

VERSION = pyproject()["project"]["version"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """An environment with the core, a home of its own, and a copy of the notebooks."""
    place = tmp_path_factory.mktemp("core only")
    (wheel,) = build(place / "dist", "--wheel")
    core_environment(place / "venv", wheel)
    (place / "home").mkdir()
    shutil.copytree(ROOT / "notebooks", place / "course" / "notebooks")
    return place


def python_of(machine):
    return machine / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def call(machine, *command, cwd="course"):
    """Exit code and output of a program of the environment, in the course or elsewhere."""
    program = python_of(machine).with_name(command[0])
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT") if name in os.environ}
    home = {"HOME": str(machine / "home"), "USERPROFILE": str(machine / "home"), "PYTHONUTF8": "1"}
    home["LABKIT_CACHE"] = str(cache_folder())  # texts are of no environment; preparing one takes half a minute
    done = subprocess.run(
        [str(program), *command[1:]],
        cwd=machine / cwd,
        env=keep | home,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def test_nothing_that_the_core_asks_for_is_missing(machine):
    assert "No broken requirements found." in pip(python_of(machine), "check")
    names = "print(*(each.metadata['Name'] for each in metadata.distributions()))"
    told = call(machine, "python", "-c", f"from importlib import metadata; {names}")[1]
    assert {canonicalize_name(name) for name in told.split()} == core() | {"llm-labkit"}


def test_the_command_says_its_version(machine):
    assert call(machine, "labkit", "--version", cwd="home") == (0, f"llm-labkit {VERSION}\n")


def test_labkit_is_imported_from_the_wheel_at_once_without_anything_heavy(machine):
    heavy = "{'numpy', 'pandas', 'matplotlib', 'torch', 'nltk', 'IPython'} & set(sys.modules)"
    code, told = call(machine, "python", "-c", f"import sys, labkit; print(labkit.__file__, {heavy})", cwd="home")
    assert code == 0 and str(machine / "venv") in told and told.endswith("set()\n")


def test_the_doctor_finds_the_core_fine_and_says_how_to_get_each_extra(machine):
    code, told = call(machine, "labkit", "doctor")
    assert code == 0 and "The core is fine." in told
    for extra in ("torch", "lab", "text", "models"):
        assert f"pip install 'llm-labkit[{extra}] @ git+" in told


def test_the_first_page_runs_without_an_extra_and_all_its_claims_hold(machine):
    page = machine / "course" / "notebooks" / "00_start_here.ipynb"
    stored = [cell for cell in json.loads(page.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    code, told = call(machine, "python", str(ROOT / "tests" / "packaging" / "core_page.py"), str(page))
    assert code == 0, told
    assert f"ran {len(stored)} cells with {machine / 'venv'}" in told
    assert told.count("✓") + told.count("passed") >= 3 and "✗" not in told


@pytest.mark.parametrize("command", [["exercises"], ["progress"], ["data", "list"], ["claims", "00"], ["--help"]])
def test_commands_that_need_no_extra_work_without_one(machine, command):
    code, told = call(machine, "labkit", *command)
    assert code == 0 and told


@pytest.mark.parametrize(
    ("command", "extra"),
    [(["lab"], "lab"), (["run", "00"], "lab"), (["save", "00"], "lab"), (["slides", "00"], "site"), (["site"], "site")],
)
def test_commands_that_need_an_extra_name_it_in_one_sentence(machine, command, extra):
    code, told = call(machine, "labkit", *command)
    assert code == 1
    assert len(told.strip().splitlines()) == 1 and f"llm-labkit[{extra}]" in told


def test_uninstalling_leaves_nothing_of_labkit_in_the_environment(machine):
    pip(python_of(machine), "uninstall", "--yes", "--quiet", "llm-labkit")
    left = [path for path in (machine / "venv").rglob("*labkit*") if "__pycache__" not in path.parts]
    assert left == []
    code, told = call(
        machine, "python", "-c", "import importlib.util; print(importlib.util.find_spec('labkit'))", cwd="home"
    )
    assert (code, told) == (0, "None\n")


def test_the_wheel_is_no_larger_than_its_files(machine):
    (wheel,) = (machine / "dist").iterdir()
    assert wheel.stat().st_size < sum((ROOT / path).stat().st_size for path in files() if path.parts[0] == "labkit")
