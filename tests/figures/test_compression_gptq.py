"""Figures on rounding with the inputs in view: what they say, the corners that sliders reach, what is refused."""

import numpy as np
import pytest

from labkit.figures.compression import gptq as pictures
from tests.figures.drawing import changed_by_a_last_digit, drawn

GRAM = np.array([[6.0, 4.0], [4.0, 6.0]])

DRAWN = {
    "draw_rounding_plane": lambda s=1.0: pictures.draw_rounding_plane(
        [0.4 * s, 0.4], GRAM, {"nearest": [0, 0], "GPTQ": [0, 1]}, path=[[0.4, 0.4], [0, 0.667], [0, 1]]
    ),
    "draw_pairs": lambda s=1.0: pictures.draw_pairs([102, 103, 102], [101, 104, 101], baseline=97),
    "draw_levels": lambda s=1.0: pictures.draw_levels(
        [0.1 * s, -0.2, 0.3], {"even": [-1, 0, 1], "NF4": [0, 1 * s]}, {"NF4": 0.0123 * s}
    ),
}
SAID = {
    "draw_rounding_plane": "weights (0.4, 0.4); nearest ends at (0, 0), error 1.6, GPTQ ends at (0, 1), error 0.6",
    "draw_pairs": "perplexity: GPTQ lower on 2 of 3 seeds; means: round to nearest 102.3, GPTQ 102; float32 97",
    "draw_levels": "3 weights; even: 3 levels; NF4: 2 levels, error 1.23e-02",
}
TITLES = {
    "draw_rounding_plane": "GPTQ errs least: 0.60",
    "draw_pairs": "GPTQ is lower on 2 of 3 seeds",
    "draw_levels": "3 weights and levels for them",
}


@pytest.mark.parametrize("name", DRAWN)
def test_each_title_tells_the_finding_and_both_axes_have_a_name(name):
    target = DRAWN[name]()
    assert target.get_title() == TITLES[name]
    assert target.get_xlabel() and target.get_ylabel()


WILD = ["", "$a$ $", "a\nb", "猫が好き", "x" * 90]
CORNERS = {
    "inputs that say the same": lambda: pictures.draw_rounding_plane([0.4, -0.4], np.ones((2, 2)), {"a": [0, 0]}),
    "no inputs": lambda: pictures.draw_rounding_plane([0.0, 0.0], np.zeros((2, 2)), {}),
    "negative weights, small steps": lambda: pictures.draw_rounding_plane([-3, 2], GRAM, {"a": [-6, 4]}, step=0.5),
    "ways of every name": lambda: pictures.draw_rounding_plane([0, 0], GRAM, {name: [0, 0] for name in WILD}),
    "no seed": lambda: pictures.draw_pairs([], []),
    "one seed without a number": lambda: pictures.draw_pairs([np.nan], [1.0], title="$x$ $"),
    "no weight": lambda: pictures.draw_levels([], {}),
    "weights of one value": lambda: pictures.draw_levels(np.zeros(5), {name: [0.0] for name in WILD}),
    "weights of NaN": lambda: pictures.draw_levels([np.nan, np.inf, 1.0], {"a": [np.nan]}),
}


@pytest.mark.parametrize("corner", CORNERS)
def test_corners_are_drawn(corner):
    assert drawn(CORNERS[corner]())


def test_what_varies_between_machines_is_marked_so():
    said = changed_by_a_last_digit(lambda s=1.0: pictures.draw_pairs([s * 102.3], [s * 101.2], varies=True))
    assert not said


def test_levels_for_weights_trained_here_are_marked_and_the_title_names_the_least_error():
    sets, errors = {"even": [-1, 0, 1], "learned": [-0.2, 0.1]}, {"even": 0.02, "learned": 0.01}
    assert not changed_by_a_last_digit(
        lambda s=1.0: pictures.draw_levels([0.1, 0.2], sets, {name: s * e for name, e in errors.items()}, varies=True)
    )
    assert pictures.draw_levels([0.1, 0.2], sets, errors).get_title() == "Least error: learned"


def test_other_trials_than_seeds_are_called_by_their_name():
    drawing = pictures.draw_pairs([102.3, 102.3], [101.2, 101.0], trial="sample")
    assert drawing.get_xlabel() == "sample" and "2 of 2 samples" in drawing.get_title()


def test_two_ways_to_one_place_are_called_equal():
    drawing = pictures.draw_rounding_plane([0.4, 0.1], GRAM, {"nearest": [0, 0], "GPTQ": [0, 0]})
    assert drawing.get_title() == "No way errs less than another: 0.67"


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="two weights"):
        pictures.draw_rounding_plane([0.4, 0.4, 0.4], GRAM, {})
    with pytest.raises(ValueError, match="two names"):
        pictures.draw_pairs([1.0], [2.0], names=("one",))
    with pytest.raises(ValueError, match="before"):
        pictures.draw_pairs([1.0, 2.0], [2.0])
