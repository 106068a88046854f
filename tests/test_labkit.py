"""The public face: instant to import, complete, and helpful when a name is mistyped."""

import subprocess
import sys
from importlib import metadata

import pytest

import labkit

HEAVY = ("numpy", "matplotlib", "torch", "pandas", "IPython", "ipywidgets", "nltk", "pygments", "labkit.workbench")


def modules_after(code):
    command = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_labkit_imports_nothing_heavy():
    assert modules_after("import labkit; dir(labkit)").isdisjoint(HEAVY)


def test_the_classroom_does_not_import_torch_pandas_or_pyplot():
    loaded = modules_after("import labkit; labkit.start, labkit.claim, labkit.check, labkit.show, labkit.explore")
    assert loaded.isdisjoint({"torch", "pandas", "matplotlib.pyplot", "nltk"})


@pytest.mark.parametrize("name", sorted(labkit._FACE))
def test_every_public_name_is_a_documented_function(name):
    found = getattr(labkit, name)
    assert callable(found) and found.__name__ == name and found.__doc__
    assert name in dir(labkit)


def test_submodules_are_loaded_when_first_used():
    loaded = modules_after("import labkit; labkit.figures; assert 'figures' in dir(labkit)")
    assert "labkit.figures" in loaded and "matplotlib" not in loaded


def test_the_version_is_that_of_the_distribution(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: f"1.2.3 of {name}")
    monkeypatch.delitem(vars(labkit), "__version__", raising=False)
    assert labkit.__version__ == "1.2.3 of llm-labkit"
    monkeypatch.delitem(vars(labkit), "__version__")


@pytest.mark.parametrize(("name", "near"), [("strat", "start"), ("hints", "hint"), ("figure", "figures")])
def test_a_mistyped_name_is_answered_with_the_nearest_right_one(name, near):
    with pytest.raises(AttributeError, match=f"did you mean '{near}'"):
        getattr(labkit, name)


@pytest.mark.parametrize("name", ["zzzzzzzz", "_private", "__wrapped__"])
def test_an_unknown_name_is_an_attribute_error(name):
    assert not hasattr(labkit, name)
