"""Before a large case: what it needs, what this machine has, and what to do when that is too little."""

import math

import numpy as np
import pytest

from labkit.workbench import room
from labkit.workbench.session import Lab

SIZES = {"ci": 1e6, "laptop": 2e9, "gpu": 61e9}


def lab(scale, device="cuda"):
    made = Lab(scale, 0, "local")
    vars(made)["device"] = device
    return made


@pytest.fixture
def has(monkeypatch):
    return lambda number: monkeypatch.setattr(room, "free", lambda device: number)


def test_need_and_room_are_said_before_the_value_is_given(has, capsys):
    has(15e9)
    assert lab("laptop").room("a model", lambda size: size, **SIZES) == 2e9
    assert capsys.readouterr().out == "a model needs 2.0 GB, ‹this GPU has 15 GB free›\n"


def test_parts_are_added_up_and_a_scale_that_is_left_out_is_the_smaller_one(has, capsys):
    has(15e9)
    assert lab("gpu", "cpu").room("it", lambda n: {"weights": n, "rest": 1}, ci=1, laptop=2_999) == 2_999
    assert capsys.readouterr().out == "it needs 3.0 kB, ‹this CPU has 15 GB free›\n"


@pytest.mark.parametrize(("free", "advice"), [(15e9, 'scale = "laptop", which needs 2.0 GB'), (1e3, "no smaller")])
def test_a_gpu_that_is_too_small_is_refused_with_the_scale_that_fits(has, free, advice):
    has(free)
    with pytest.raises(ValueError, match=r"a model needs 61 GB .* this GPU has .* free") as refused:
        lab("gpu").room("a model", lambda size: size, **SIZES)
    assert advice in str(refused.value)


def test_at_a_smaller_scale_it_is_a_warning_between_the_marks(has, capsys):
    has(1e9)
    assert lab("laptop").room("a model", lambda size: size, **SIZES) == 2e9
    warning = capsys.readouterr().out.splitlines()[1]
    assert warning[0] + warning[-1] == "‹›" and 'set scale = "ci", which needs 1.0 MB' in warning


def test_what_nobody_knows_is_said_and_refuses_nothing(has, capsys):
    has(None)
    assert lab("gpu").room("a model", lambda size: size, **SIZES) == 61e9
    assert "‹this GPU does not say what it has›" in capsys.readouterr().out


def test_a_need_that_numpy_has_counted_is_a_number_too():
    assert room.total({"weights": np.int64(4) * 2, "rest": np.float32(0.5)}) == 8.5


@pytest.mark.parametrize("need", [0, -1, math.inf, math.nan, True, "1 GB", {}])
def test_a_need_that_is_no_number_of_bytes_is_refused(need):
    with pytest.raises(ValueError, match="positive number of bytes"):
        room.total(need)


def test_this_machine_has_some_memory_and_an_unknown_device_says_nothing():
    assert room.free("cpu") > 1e6
    assert room.free("quantum:0") is None


def test_without_psutil_the_system_is_asked(monkeypatch):
    monkeypatch.setattr(room.util, "find_spec", lambda name: None)
    found = room.free("cpu")
    assert found is None or found > 1e6
