"""Figures on training with rounding: their sentences by hand, what sliders reach, what is refused."""

import numpy as np
import pytest

from labkit.figures import style
from labkit.figures.compression import training
from tests.figures.drawing import drawn

LOSSES = {"2 bits": {"nearest": 5.2, "trained": 4.7}, "3 bits": {"nearest": 4.64, "trained": 4.6}}

DRAWN = {
    "draw_staircase": lambda s=1.0: training.draw_staircase(
        [-1.0, -0.2 * s, 0.2 * s, 1.0], [-0.5, 0.0, 0.0, 0.5], [0, 1, 1, 0]
    ),
    "draw_regained": lambda s=1.0: training.draw_regained(
        {bits: {way: s * value for way, value in row.items()} for bits, row in LOSSES.items()}, base=4.5 * s
    ),
    "draw_drift": lambda s=1.0: training.draw_drift({"no mask": [0.0, 1.0, 2.5 * s], "mask": [0, 1, 1]}, -1, 1, 1.4),
}
SAID = {
    "draw_staircase": "3 levels; the gradient passes from -0.2 to 0.2",
    "draw_regained": "2 bits: nearest 5.2, trained 4.7; 3 bits: nearest 4.64, trained 4.6; float 4.5",
    "draw_drift": "The grid reaches from -1.0 to 1.0; no mask ends at 2.5; mask ends at 1.0",
}


@pytest.mark.parametrize("name", DRAWN)
def test_the_axis_and_the_picture_have_a_name(name):
    target = DRAWN[name]()
    assert target.get_ylabel() and target.get_title()


def test_the_title_names_what_is_best_everywhere_and_only_then():
    assert training.draw_regained(LOSSES).get_title() == "Least lost everywhere: trained"
    mixed = LOSSES | {"4 bits": {"nearest": 4.5, "trained": 4.6}}
    assert training.draw_regained(mixed).get_title() == "Ways to few bits"


WILD = ["", "$a$ $", "a\nb", "猫が好き", "x" * 90, r"$\frac{$"]
ODD = [np.nan, np.inf, 0.0, 1e30, -1.0, 2.0]
CORNERS = {
    "no number": lambda: training.draw_staircase([], [], []),
    "nothing passes": lambda: training.draw_staircase([0.0, 1.0], [0.0, 0.0], [0, 0], title="$x$ $"),
    "everything passes": lambda: training.draw_staircase(np.linspace(-1, 1, 3000), np.zeros(3000), np.ones(3000)),
    "a staircase of NaN": lambda: training.draw_staircase([0.0, 1.0], [np.nan, np.inf], [1, 1]),
    "no losses": lambda: training.draw_regained({}),
    "no way": lambda: training.draw_regained({"2 bits": {}}, base=np.nan),
    "losses of every kind": lambda: training.draw_regained({n: {n: v, "b": 1} for n, v in zip(WILD, ODD, strict=True)}),
    "no walk": lambda: training.draw_drift({}, 0, 0),
    "walks of every kind": lambda: training.draw_drift({name: [np.nan, 1e300] for name in WILD}, -1, 1, np.nan),
    "a walk without a step": lambda: training.draw_drift({"a": []}, -1, 1, title="$"),
}  # fmt: skip


@pytest.mark.parametrize("name", CORNERS)
def test_sliders_may_go_anywhere(name):
    target = CORNERS[name]()
    assert style.alt_of(target) and drawn(target)


def test_rows_of_different_lengths_and_a_band_turned_round_are_refused():
    with pytest.raises(ValueError, match="give as many of each"):
        training.draw_staircase([1.0], [1.0], [])
    with pytest.raises(ValueError, match="lower end first"):
        training.draw_drift({}, 1, -1)
