"""What the extras ask for can be had together: all that comes along is pinned, to a version that each of them takes."""

import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.packaging.building import closure, core, distributions, run
from tests.project import ROOT, pyproject
from tests.test_project import pins

PROJECT = pyproject()["project"]
EXTRAS = PROJECT["optional-dependencies"]
# It comes with the Python that makes the environment.
FREE = {"pip"}
# Other systems and environments take what the ranges allow on the day they are made.
pinned_here = pytest.mark.skipif(
    not (sys.platform == "linux" and Path(sys.prefix).resolve() == (ROOT / ".venv").resolve()),
    reason="the pins are those of the environment that make makes on Linux",
)


def _gathered():
    (line,) = EXTRAS["dev"]
    return line.partition("[")[2].rstrip("]").split(",")


def _together(extras):
    return PROJECT["dependencies"] + [line for extra in extras for line in EXTRAS[extra]]


@pinned_here
@pytest.mark.parametrize("extras", [_gathered(), ["bench"]], ids=["dev", "bench"])
def test_all_that_the_extras_bring_is_pinned_to_a_version_that_everybody_accepts(extras):
    versions = pins()
    wrong = []
    for asked, who in closure(_together(extras)):
        name = canonicalize_name(asked.name)
        pinned = versions.get(name)
        # Pinned by who asks for it, as CUDA's parts are by torch.
        exactly = any(each.operator == "==" for each in asked.specifier)
        if pinned is None and name not in FREE and not exactly:
            wrong.append(f"{name} is not in constraints.txt; {who} brings it")
        elif pinned and not SpecifierSet(str(asked.specifier)).contains(pinned, prereleases=True):
            wrong.append(f"{who} asks for {asked}, but constraints.txt says {pinned}")
    assert wrong == []


def test_dev_gathers_every_extra_but_the_peers_of_the_benchmarks():
    assert sorted(_gathered()) == sorted(set(EXTRAS) - {"dev", "bench"})


@pinned_here
def test_what_is_installed_here_is_what_the_pins_say():
    versions = pins()
    wanted = {canonicalize_name(asked.name) for asked, _ in closure(_together(_gathered()))}
    here = wanted & set(distributions()) & set(versions)
    assert len(here) > 100
    installed = {name: metadata.version(name).partition("+")[0] for name in here}
    assert {name: version for name, version in installed.items() if version != versions[name]} == {}


def test_the_core_brings_neither_a_framework_nor_jupyterlab():
    assert core() & {"torch", "transformers", "jupyterlab", "papermill", "scikit-learn", "scipy", "gensim"} == set()
    assert {"numpy", "ipywidgets", "pooch", "requests"} <= core()


def test_pip_finds_nothing_broken_in_this_environment():
    assert run([sys.executable, "-m", "pip", "check"]) == "No broken requirements found.\n"
