"""Figures of arithmetic in whole numbers, outliers and caches: what they say, the corners, what is refused."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from labkit.figures import style
from labkit.figures.compression import integer, smoothing
from tests.figures.drawing import changed_by_a_last_digit, drawn

X, W = [1.0, 2.0, 64.0], [1.0, 1.0, 4.0]

# One call of every function with data whose sentence can be worked out by hand.
DRAWN = {
    "draw_sums": lambda s=1.0: integer.draw_sums([0, 100, -32_768, 32_768]),
    "draw_cache_cost": lambda s=1.0: integer.draw_cache_cost([8, 4], {"keys": [0.001 * s, 0.02 * s]}, [0.3, 0.2]),
    "draw_requantized": lambda s=1.0: integer.draw_requantized([1.2, 3.0, 900.0 * s], [1, 3, 127]),
    "draw_channels": lambda s=1.0: smoothing.draw_channels([s * x for x in X], W, [1.0, 2.0, 4.0 * s]),
    "draw_outliers": lambda s=1.0: smoothing.draw_outliers(["a", "b", "c"], [9, 2, 9], [20.0 * s, 3.0, 1000.0 * s]),
    "draw_alpha": lambda s=1.0: smoothing.draw_alpha(
        [0, 0.5, 1], {"one": [0.04 * s, 0.01 * s, 0.02]}, {"one": 0.05 * s}, chosen=0.5
    ),
}
SAID = {
    "draw_sums": "25.0 % of 4 sums do not fit into 16 bits",
    "draw_cache_cost": "keys: 8 bits 0.1 %, 4 bits 2.0 %",
    "draw_requantized": "3 outputs, 1 at an end; the others are off by at most 0.2 steps",
    "draw_channels": "the largest channel: 16.0 times the median of activations, 8.0 times the median of weights",
    "draw_outliers": "Channel 9 is the largest in 2 of 3 layers; up to 1,000.0 times the median",
    "draw_alpha": "one: least at α = 0.5 with 1.0 %, 5.0 % without factors",
}


@pytest.mark.parametrize("name", DRAWN)
def test_both_axes_and_the_picture_have_a_name(name):
    target = DRAWN[name]()
    assert target.get_xlabel() and target.get_ylabel() and target.get_title()


VARYING = {
    "draw_sums": lambda varies: integer.draw_sums([0, 100, -32_768, 32_768], varies=varies),
    "draw_cache_cost": lambda varies: integer.draw_cache_cost([8], {"keys": [0.001]}, [0.3], varies=varies),
    "draw_requantized": lambda varies: integer.draw_requantized([1.2, 900.0], [1, 127], varies=varies),
}
MARKED = {
    "draw_sums": "‹25.0› % of 4 sums",
    "draw_cache_cost": "keys: 8 bits ‹0.1› %",
    "draw_requantized": "2 outputs, ‹1› at an end; the others are off by at most ‹0.2› steps",
}


@pytest.mark.parametrize("name", VARYING)
def test_figures_of_a_network_trained_here_are_marked_in_the_sentence_and_nowhere_in_the_picture(name):
    marked = VARYING[name](True)
    assert MARKED[name] in style.alt_of(marked)
    assert "‹" not in marked.get_title()
    assert "‹" not in style.alt_of(VARYING[name](False))


def test_weights_are_open_so_that_activations_under_them_stay_visible():
    weights = DRAWN["draw_channels"]().lines[-1]
    assert weights.get_label() == "weights" and weights.get_fillstyle() == "none"


WILD = ["", "$a$ $", "猫\n", "x" * 90]
CORNERS = {
    "no sums": lambda: integer.draw_sums([]),
    "sums of NaN": lambda: integer.draw_sums([np.nan, np.inf, 3.0], bits=2),
    "one sum far away": lambda: integer.draw_sums([2.0**31], bits=16, title="$x$ $"),
    "no cache": lambda: integer.draw_cache_cost([], {}, []),
    "no error at all": lambda: integer.draw_cache_cost([8], {"$k$": [0.0]}, [0.3]),
    "errors of NaN": lambda: integer.draw_cache_cost([8, 4], {"a": [np.nan, np.inf], "b": [0.1, 0.1]}, [0.3, 0.2]),
    "no outputs": lambda: integer.draw_requantized([], []),
    "only ends": lambda: integer.draw_requantized([1e9, -1e9], [127, -128]),
    "no channels": lambda: smoothing.draw_channels([], []),
    "channels of zeros": lambda: smoothing.draw_channels([0.0, 0.0], [0.0, 1.0], [1.0, 0.0]),
    "NaN in a channel": lambda: smoothing.draw_channels([np.nan, 1e300], [1.0, 1.0]),
    "no layers": lambda: smoothing.draw_outliers([], [], []),
    "names of every kind": lambda: smoothing.draw_outliers(WILD, [1, 2, 3, 4], [1.0, np.nan, 0.0, 5.0]),
    "a hundred layers": lambda: smoothing.draw_outliers([f"l{i}" for i in range(100)], range(100), np.ones(100)),
    "no curves": lambda: smoothing.draw_alpha([0, 1], {}),
    "an error of zero": lambda: smoothing.draw_alpha([0, 1], {"$a$": [0.0, 0.0]}, {"$a$": 0.0}),
    "one α": lambda: smoothing.draw_alpha([0.5], {"a": [0.1]}),
}


@pytest.mark.parametrize("name", CORNERS)
def test_what_sliders_can_reach_draws_without_a_warning(name):
    target = CORNERS[name]()
    assert style.alt_of(target) and drawn(target)


REFUSED = {
    "one bit": (lambda: integer.draw_sums([1], bits=1), "bits = 1; give at least 2"),
    "a point too few": (lambda: integer.draw_cache_cost([8, 4], {"a": [0.1]}, [0.3, 0.2]), "as many of each"),
    "a code too few": (lambda: integer.draw_requantized([1.0, 2.0], [1]), "2 outputs, 1 codes"),
    "a weight too few": (lambda: smoothing.draw_channels([1.0, 2.0], [1.0]), "2 activations, 1 weights"),
    "a layer too few": (lambda: smoothing.draw_outliers(["a"], [1, 2], [1.0, 2.0]), "1 layers, 2 channels"),
    "an α too few": (lambda: smoothing.draw_alpha([0.5], {"a": [0.1, 0.2]}), "1 alphas, 2 points of a"),
    "a line of no curve": (lambda: smoothing.draw_alpha([0.5], {"a": [0.1]}, {"b": 1.0}), "without has 'b'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_do_not_fit_are_refused(name):
    draw, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        draw()


def test_a_last_digit_does_not_change_what_a_figure_says():
    assert changed_by_a_last_digit(lambda s=1: smoothing.draw_channels([s, 2 * s, 64 * s], W)) == []
    assert changed_by_a_last_digit(lambda s=1: smoothing.draw_alpha([0, 1], {"a": [0.02 * s, 0.03]})) == []


def test_a_channel_that_comes_again_has_the_accent():
    bars = [to_hex(bar.get_facecolor()) for bar in DRAWN["draw_outliers"]().patches]
    assert bars == [style.ACCENT, style.OURS, style.ACCENT]
    alone = smoothing.draw_outliers(["a", "b"], [1, 2], [3.0, 4.0])
    assert {to_hex(bar.get_facecolor()) for bar in alone.patches} == {style.OURS}


def test_figures_can_be_parts_of_another_and_take_tensors():
    figure, grid = style.new(9, 4, ncols=2)
    assert smoothing.draw_channels(torch.tensor(X), torch.tensor(W), ax=grid[0]) is grid[0]
    assert integer.draw_sums(torch.tensor([1, 2], dtype=torch.int32), ax=grid[1]) is grid[1] and drawn(figure)
