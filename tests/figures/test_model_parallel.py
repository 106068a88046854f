"""Figures on model parallelism: the numbers in their alt text, the corners that sliders reach, what is refused."""

import numpy as np
import pytest
import torch

from labkit.figures import model_parallel, style
from tests.figures.drawing import changed_by_a_last_digit, drawn

# Two stages, one micro-batch: F takes 1, B 2; each rank works 3 of 6 seconds.
PIPELINE = [
    [(0, "compute", "F0.0", 0.0, 1.0), (0, "compute", "B0.0", 4.0, 6.0)],
    [(1, "compute", "F1.0", 1.0, 2.0), (1, "compute", "B1.0", 2.0, 4.0)],
]
PARTS = {"4 data": {"compute": 2.0, "data": 1.0}, "2 data × 2 tensor": {"compute": 2.0, "tensor": 0.5}}


def scaled(s):
    """The pipeline with all times multiplied by `s`."""
    return [[(rank, kind, name, s * a, s * b) for rank, kind, name, a, b in row] for row in PIPELINE]


def stage_lanes(s=1.0):
    """Two stages over 8 seconds: 5 of compute, 1 of which hides a message, and 1 of talk; then 3 of compute and 1."""
    rows = [
        [("compute", 0, 5), ("communication", 4, 6)],
        [("compute", 5, 6), ("communication", 2, 3), ("compute", 6, 8), ("idle", 0, 2)],
    ]
    return [[(rank, kind, "", s * a, s * b) for kind, a, b in row] for rank, row in enumerate(rows)]


# One call of every function with data whose sentence can be worked out by hand; `s` moves the last digits.
DRAWN = {
    "draw_schedule": lambda s=1.0: model_parallel.draw_schedule(scaled(s), title="GPipe"),
    "draw_matrix_split": lambda s=1.0: model_parallel.draw_matrix_split([[0], [1]], [[-1]], [[0], [1]], title="rows"),
    "draw_mesh": lambda s=1.0: model_parallel.draw_mesh([[0, 1], [2, 3]]),
    "draw_experts": lambda s=1.0: model_parallel.draw_experts(np.array([[4, 0], [2, 2]]), capacity=5),
    "draw_plan": lambda s=1.0: model_parallel.draw_plan(
        {name: {part: s * value for part, value in row.items()} for name, row in PARTS.items()},
        {"2 data × 2 tensor": False},
    ),
    "draw_prediction": lambda s=1.0: model_parallel.draw_prediction(
        {name: {part: s * value for part, value in row.items()} for name, row in PARTS.items()}, stage_lanes(s)
    ),
}
SAID = {
    "draw_schedule": "GPipe. 2 ranks, 2 stages, 1 micro-batch: 2 forward, 2 backward; it takes 6.0 seconds, of which "
    "50.0% are bubble",
    "draw_matrix_split": "rows. blocks by owner. A: 0 / 1; B: all; C: 0 / 1",
    "draw_mesh": "2 data × 2 tensor, 4 ranks. 2 data groups of 2: 0 2, 1 3; 2 tensor groups of 2: 0 1, 2 3",
    "draw_experts": "8 tokens to 2 experts: the busiest is expert 0 with 1.5 times the mean, the least busy has 0.5 "
    "times it; capacity 5.0: 12.5% of the tokens are lost",
    "draw_plan": "2 plans, 1 of which do not fit; the best is 4 data with 3.0 seconds. 4 data: 3.0 seconds, most of "
    "what is not compute is data; 2 data × 2 tensor: 2.5 seconds, most of what is not compute is tensor",
    "draw_prediction": "One pipeline of the first plan. 2 stages, 8.0 seconds: 50.0% compute, 12.5% communication, "
    "37.5% idle",
}


def test_every_draw_function_is_tested_here():
    assert set(DRAWN) == set(SAID) == set(model_parallel.__all__)


@pytest.mark.parametrize("name", DRAWN)
def test_each_figure_says_what_its_data_show(name):
    target = DRAWN[name]()
    assert SAID[name] in style.alt_of(target)
    assert drawn(target)


@pytest.mark.parametrize("name", DRAWN)
def test_a_last_digit_does_not_change_what_a_figure_says(name):
    assert changed_by_a_last_digit(DRAWN[name]) == []


def test_figures_can_be_parts_of_another():
    figure, grid = style.new(9, 4, ncols=2)
    assert model_parallel.draw_mesh([[0, 1]], ax=grid[1]) is grid[1] and not grid[0].has_data()
    assert model_parallel.draw_schedule(PIPELINE, ax=grid[0]) is grid[0] and drawn(figure)


WILD = ["", " ", "$a$ $", "a\nb", "猫が好き", "a\x00b", "x" * 90, r"$\frac{$"]
CORNERS = {
    "no ranks": lambda: model_parallel.draw_schedule([]),
    "nothing to do": lambda: model_parallel.draw_schedule([[], []]),
    "names of every kind": lambda: model_parallel.draw_schedule(
        [[(0, "compute", name, i, i + 1) for i, name in enumerate([*WILD, "W1.2", "F 3, 12"])]], title="$T_{$"
    ),
    "communication is not an operation": lambda: model_parallel.draw_schedule([[(0, "communication", "F0.0", 0, 1)]]),
    "forty ranks": lambda: model_parallel.draw_schedule(
        [[(r, "compute", f"F{r}.{m}", r + m, r + m + 1) for m in range(64)] for r in range(40)], varies=True
    ),
    "an instant": lambda: model_parallel.draw_schedule([[(0, "compute", "F0.0", 1, 1)]]),
    "blocks of many": lambda: model_parallel.draw_matrix_split(*[np.arange(400).reshape(20, 20)] * 3),
    "a mesh of one": lambda: model_parallel.draw_mesh([0], ("data",)),
    "a line of ranks": lambda: model_parallel.draw_mesh(np.arange(8), ("$tensor",)),
    "a cube of ranks": lambda: model_parallel.draw_mesh(np.arange(16).reshape(2, 4, 2), ("data", "pipeline", "tensor")),
    "a large mesh": lambda: model_parallel.draw_mesh(np.arange(10_000).reshape(100, 100)),
    "a large cube": lambda: model_parallel.draw_mesh(np.arange(3072).reshape(6, 64, 8), ("a", "b", "c"), group="c"),
    "no tokens": lambda: model_parallel.draw_experts([0, 0, 0], capacity=2),
    "sixty experts": lambda: model_parallel.draw_experts(np.arange(60)),
    "nothing lost": lambda: model_parallel.draw_experts([1, 2], capacity=9, varies=True),
    "eleven ranks": lambda: model_parallel.draw_experts(np.ones((11, 4))),
    "no plan": lambda: model_parallel.draw_plan({}),
    "no plan that fits": lambda: model_parallel.draw_plan(PARTS, dict.fromkeys(PARTS, False)),
    "plans of every kind": lambda: model_parallel.draw_plan({name: {name: 1.0} for name in WILD}, varies=True),
    "a prediction of nothing": lambda: model_parallel.draw_prediction({}, []),
    "a prediction without an event": lambda: model_parallel.draw_prediction(PARTS, [[], []]),
    "a prediction of an instant": lambda: model_parallel.draw_prediction(PARTS, [[(0, "compute", "", 1.0, 1.0)]]),
    "a prediction of forty stages": lambda: model_parallel.draw_prediction(
        PARTS,
        [[(r, "compute", "", (r + m) / 7, (r + m + 1) / 7) for m in range(900)] for r in range(40)],
        dict.fromkeys(PARTS, False),
        varies=True,
        title="$x$",
        below="a $ b",
    ),
    "a plan of NaN": lambda: model_parallel.draw_plan({"a": {"compute": np.nan, "data": np.inf}}),
}


@pytest.mark.parametrize("name", CORNERS)
def test_what_sliders_can_reach_draws_without_a_warning(name):
    target = CORNERS[name]()
    assert style.alt_of(target) and drawn(target)


REFUSED = {
    "a row of owners": (lambda: model_parallel.draw_matrix_split([0], [[0]], [[0]]), r"A has shape \(1,\)"),
    "a mesh without names": (lambda: model_parallel.draw_mesh([[0]], ("data",)), r"a mesh of shape \(1, 1\)"),
    "a mesh of four dimensions": (lambda: model_parallel.draw_mesh(np.zeros((1, 1, 1, 1)), "abcd"), "one to three"),
    "an unknown group": (lambda: model_parallel.draw_mesh([[0]], group="expert"), "the dimensions are data, tensor"),
    "a cube of tokens": (lambda: model_parallel.draw_experts(np.zeros((1, 1, 1))), r"counts of shape \(1, 1, 1\)"),
    "less than no token": (lambda: model_parallel.draw_experts([-1]), "from 0 on"),
    "fits of another plan": (lambda: model_parallel.draw_plan(PARTS, {"8 data": True}), "fits has '8 data'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_do_not_fit_are_refused(name):
    draw, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        draw()


def test_later_stages_of_a_rank_are_paler():
    ax = model_parallel.draw_schedule([[(0, "compute", "F0.0", 0, 1), (0, "compute", "F2.0", 1, 2)]])
    first, second = (tuple(collection.get_facecolor()[0][:3]) for collection in ax.collections[1:])
    assert sum(second) > sum(first)


def test_boxes_carry_the_number_of_their_micro_batch():
    ax = model_parallel.draw_schedule([[(0, "compute", f"F0.{m}", m, m + 1) for m in range(12)]])
    assert [text.get_text() for text in ax.texts] == [str(m) for m in range(12)]


def test_every_kind_of_group_can_be_shown_alone():
    mesh = np.arange(8).reshape(2, 2, 2)
    alts = {name: style.alt_of(model_parallel.draw_mesh(mesh, "abc", group=name)) for name in "abc"}
    assert "4 a groups of 2: 0 4, 1 5, 2 6, 3 7" in alts["a"]
    assert "4 b groups of 2: 0 2, 1 3, 4 6, 5 7" in alts["b"]
    assert "4 c groups of 2: 0 1, 2 3, 4 5, 6 7" in alts["c"]


def test_the_best_plan_that_fits_is_bold():
    ax = model_parallel.draw_plan(PARTS, {"2 data × 2 tensor": False})
    assert [label.get_fontweight() for label in ax.get_yticklabels()] == ["bold", "normal"]
    assert "the best is" not in style.alt_of(model_parallel.draw_plan(PARTS, dict.fromkeys(PARTS, False)))


def test_tensors_and_lists_draw_the_same():
    given = [[3, 1], [2, 2]]
    alts = {style.alt_of(model_parallel.draw_experts(each)) for each in (given, torch.tensor(given), np.array(given))}
    assert len(alts) == 1


def test_a_lane_shows_the_share_of_operations_thinner_than_a_pixel():
    # 2,000 operations of a second, after each as long a pause: half of every moment is work, however fine it is.
    row = [(0, "compute", "", 2 * i, 2 * i + 1) for i in range(2000)]
    figure = model_parallel.draw_prediction(PARTS, [row])
    heights = [each.get_paths()[0].get_extents().height for each in figure.axes[1].collections]
    assert heights[0] == pytest.approx(0.8) and 0.35 < heights[1] < 0.5  # of a lane of 0.8, and of its compute
    assert "50.01% compute, 0.0% communication, 49.99% idle" in style.alt_of(figure)


def test_eight_of_many_stages_are_drawn_the_first_and_the_last_among_them():
    rows = [[(r, "compute", "", r, r + 1)] for r in range(48)]
    labels = [label.get_text() for label in model_parallel.draw_prediction(PARTS, rows).axes[1].get_yticklabels()]
    assert len(labels) == 8 and labels[0] == "stage 0" and labels[-1] == "stage 47"
