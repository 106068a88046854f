"""A package that is imported on its first use."""

import copy
import inspect
import subprocess
import sys

import pytest

from labkit.workbench.later import Later


def test_nothing_is_imported_before_the_first_use():
    code = (
        "import sys; from labkit.workbench.later import Later; later = Later('colorsys'); "
        "before = 'colorsys' in sys.modules; later.rgb_to_hsv; print(before, 'colorsys' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_what_it_gives_is_what_the_package_gives():
    import math

    assert Later("math").floor is math.floor
    assert Later("os").path.join is __import__("os").path.join


def test_a_name_that_the_package_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = Later("math").no_such_name


def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'torch'; get it with pip install .*\[torch\]"):
        _ = Later("torch").exp


def test_an_import_that_fails_inside_the_package_is_not_taken_for_its_absence(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import not_there_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'not_there_at_all'$"):
        _ = Later("half_there").anything


def test_looking_at_it_imports_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    later = Later("torch")
    assert inspect.unwrap(later) is later
    assert not hasattr(later, "__wrapped__") and copy.copy(later) is not later
