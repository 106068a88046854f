"""Figures on ZeRO: the numbers in their alt text, the corners that sliders reach, what is refused."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from labkit.figures import style, zero
from tests.figures.drawing import changed_by_a_last_digit, drawn

STAGES = {
    "stage 0": {"parameters": 2e9, "gradients": 2e9, "optimizer": 12e9},
    "stage 3": {"parameters": 0.5e9, "gradients": 0.5e9, "optimizer": 3e9},
}

TRACE = [[(rank, "compute", "step", 0.0, 2.0), (rank, "communication", "gather", 2.0, 3.0)] for rank in range(2)]
SECONDS = {"stage 0": 2.0, "stage 3": 3.0}

# One call of every function with data whose sentence can be worked out by hand; `s` moves the last digits.
DRAWN = {
    "draw_memory": lambda s=1.0: zero.draw_memory(
        {name: {part: s * size for part, size in row.items()} for name, row in STAGES.items()},
        published={"stage 0": 16e9},
        limit=8e9,
        varies=s != 1,
    ),
    "draw_choice": lambda s=1.0: zero.draw_choice(STAGES, SECONDS, 8e9, "stage 3", TRACE, 1000, title="1 B"),
    "draw_partition": lambda s=1.0: zero.draw_partition([6, 2, 5], ["wte", "ln", "head"], 4),
}
SAID = {
    "draw_memory": "stage 0: 16 GB, most of it optimizer, published 16 GB, does not fit; stage 3: 4 GB, most of it "
    "optimizer",
    "draw_choice": "1 B, 1,000 ranks: stage 3 is the fastest that fits. stage 0 2.0 s a step; stage 3 3.0 s a step",
    "draw_partition": "3 parameters with 13 numbers on 4 ranks: shards of 4, padding 3; 2 parameters are cut between "
    "ranks (wte, head)",
}


def test_every_draw_function_is_tested_here():
    assert set(DRAWN) == set(SAID) == set(zero.__all__)


@pytest.mark.parametrize("name", DRAWN)
def test_each_figure_says_what_its_data_show(name):
    target = DRAWN[name]()
    assert SAID[name] in style.alt_of(target)
    assert drawn(target)


WILD = ["", " ", "$a$ $", "a\nb", "猫が好き", "a\x00b", "x" * 90, r"$\frac{$"]
CORNERS = {
    "nothing": lambda: zero.draw_memory({}),
    "nothing on a rank": lambda: zero.draw_memory({"rank 0": {}, "rank 1": {"parameters": 0.0}}, limit=1.0),
    "names of every kind": lambda: zero.draw_memory({name: {name: 1e3} for name in WILD}, title="$T_{$", varies=True),
    "bytes of NaN": lambda: zero.draw_memory({"a": {"parameters": np.nan, "gradients": np.inf}}),
    "a published figure far away": lambda: zero.draw_memory({"a": {"b": 1.0}}, published={"a": 1e12}),
    "sixty-four ranks": lambda: zero.draw_memory({f"rank {r}": {"state": 1e6 + r} for r in range(64)}),
    "no plan fits": lambda: zero.draw_choice(STAGES, SECONDS, 1.0, None, [], 2),
    "no plan": lambda: zero.draw_choice({}, {}, 1.0, None, [], 2, title="$x$ $"),
    "an empty buffer": lambda: zero.draw_partition([], [], 2),
    "one rank": lambda: zero.draw_partition([5], ["$w$"], 1),
    "more ranks than numbers": lambda: zero.draw_partition([2], ["w"], 100),
    "a thousand parameters": lambda: zero.draw_partition(np.ones(1000), [f"p{i}" for i in range(1000)], 8),
    "padding that is given": lambda: zero.draw_partition([5, 3], WILD[:2], 2, padding=8, title="猫"),
}


@pytest.mark.parametrize("name", CORNERS)
def test_what_sliders_can_reach_draws_without_a_warning(name):
    target = CORNERS[name]()
    assert style.alt_of(target) and drawn(target)


REFUSED = {
    "a published bar that is not there": (
        lambda: zero.draw_memory(STAGES, {"stage 9": 1.0}),
        "published has 'stage 9'",
    ),
    "a plan without seconds": (
        lambda: zero.draw_choice(STAGES, {"stage 0": 1.0}, 1.0, None, [], 2),
        "nothing is known of the plan 'stage 3'",
    ),
    "a best that is no plan": (
        lambda: zero.draw_choice(STAGES, SECONDS, 1.0, "stage 9", [], 2),
        "the plan 'stage 9'; there are stage 0, stage 3",
    ),
    "a name too few": (lambda: zero.draw_partition([1, 2], ["a"], 2), "2 sizes, 1 names"),
    "no rank": (lambda: zero.draw_partition([1], ["a"], 0), "ranks = 0"),
    "shards that are not whole": (lambda: zero.draw_partition([5], ["a"], 2, padding=0), "do not divide among 2 ranks"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_do_not_fit_are_refused(name):
    draw, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        draw()


def test_a_last_digit_does_not_change_what_a_figure_says():
    assert changed_by_a_last_digit(DRAWN["draw_partition"]) == []
    bytes_of = lambda s: style.alt_of(zero.draw_memory({"a": {"state": s * 1e9}}, varies=True))  # noqa: E731
    assert bytes_of(1.0) == "bytes on a rank. a: ‹1 GB›" and bytes_of(1.0004) == "bytes on a rank. a: ‹1 GB›"


def test_figures_can_be_parts_of_another():
    figure, grid = style.new(9, 4, ncols=2)
    assert zero.draw_memory(STAGES, ax=grid[1]) is grid[1] and not grid[0].has_data()
    assert zero.draw_partition([4], ["w"], 2, ax=grid[0]) is grid[0] and drawn(figure)


def test_a_parameter_that_ends_where_a_shard_ends_is_not_cut():
    assert "0 parameters are cut" in style.alt_of(zero.draw_partition([4, 4], ["a", "b"], 2))
    assert "1 parameter is cut between ranks (a)" in style.alt_of(zero.draw_partition([5, 3], ["a", "b"], 2))


def test_bars_over_the_limit_are_grey_and_say_so():
    ax = zero.draw_memory(STAGES, limit=8e9)
    over, under = (to_hex(bar.get_facecolor()) for bar in ax.patches[:2])
    assert over == style.QUIET and under == style.OURS
    assert "stage 0: 16 GB, most of it optimizer, does not fit" in style.alt_of(ax)
    assert [text.get_text() for text in ax.texts] == ["16 GB  does not fit", "4 GB"]


def test_tensors_and_lists_draw_the_same():
    alts = {style.alt_of(zero.draw_partition(sizes, ["a", "b"], 2)) for sizes in ([5, 3], torch.tensor([5, 3]))}
    assert len(alts) == 1


def test_a_total_can_be_read_where_the_limit_crosses_it():
    ax = zero.draw_memory({"stage 3": {"state": 1.0}, "stage 0": {"state": 90.0}}, limit=5.0)
    line = next(each for each in ax.lines if each.get_label().startswith("limit"))
    for text in ax.texts:
        assert text.get_zorder() > line.get_zorder() and text.get_bbox_patch().get_facecolor() == (1, 1, 1, 1)


def test_the_name_of_each_parameter_stands_under_the_middle_of_its_numbers():
    ax = zero.draw_partition([6, 2], ["weight", "bias"], 3)
    places = {text.get_text(): text.get_position() for text in ax.texts}
    assert places["weight"][0] == 3 and places["bias"][0] == 7
    assert places["weight"][1] == places["bias"][1] < 0


def test_where_no_plan_fits_there_is_no_step_to_draw():
    def panels(best):
        return len(style.figure_of(zero.draw_choice(STAGES, SECONDS, 8e9, best, TRACE, 2)).axes)

    assert panels("stage 3") == 2 and panels(None) == 1
