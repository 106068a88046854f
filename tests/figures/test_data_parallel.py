"""Figures on data parallelism: the numbers in their alt text, the corners that sliders reach, what is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from labkit.figures import data_parallel, style
from tests.figures.drawing import changed_by_a_last_digit, drawn

# Two ranks, four seconds: rank 0 computes 0-2 and sends 1-3, rank 1 computes 0-4.
LINE = [
    [(0, "compute", "forward", 0.0, 2.0), (0, "communication", "bucket 0", 1.0, 3.0)],
    [(1, "compute", "forward", 0.0, 4.0)],
]
# A ring of two: chunk 0 goes from 0 to 1 and chunk 1 back, then the sums return.
PROGRESS = np.array([[[1, 1], [1, 1]], [[1, 2], [2, 1]], [[2, 2], [2, 2]]])
MOVES = [(0, 0, 1, 0, True), (0, 1, 0, 1, True), (1, 0, 1, 1, False), (1, 1, 0, 0, False)]


def scaled(s):
    """The timeline with all times multiplied by `s`."""
    return [[(rank, kind, name, s * a, s * b) for rank, kind, name, a, b in row] for row in LINE]


# One call of every function with data whose sentence can be worked out by hand; `s` moves the last digits.
DRAWN = {
    "draw_timeline": lambda s=1.0: data_parallel.draw_timeline(scaled(s), title="2 ranks"),
    "draw_collective": lambda s=1.0: data_parallel.draw_collective(PROGRESS, MOVES, 1),
    "draw_collective_strip": lambda s=1.0: data_parallel.draw_collective_strip(PROGRESS, title="ring"),
    "draw_bytes": lambda s=1.0: data_parallel.draw_bytes(
        [2, 4], {"ring": [1e6, 1.5e6], "naive": [2e6, 6e6]}, {"ring": [s * 1e6, np.nan]}
    ),
    "draw_scaling": lambda s=1.0: data_parallel.draw_scaling([1, 2], {"ours": [10.0, s * 18.0]}, varies=False),
    "draw_convergence": lambda s=1.0: data_parallel.draw_convergence(
        {"synchronous": s * np.array([4.0, 2.0, 1.0]), "local": ([0, 8], [4.0, 1.5])}
    ),
    "draw_predicted": lambda s=1.0: data_parallel.draw_predicted(
        {"flat": s * 40.0, "cut": 30.0}, {"flat": 44, "cut": 36}
    ),
    "draw_staleness": lambda s=1.0: data_parallel.draw_staleness({"2 workers": [0, 1, 1, 2]}),
}
SAID = {
    "draw_timeline": "2 ranks. 2 ranks, 4.0 seconds: rank 0 computes 50.0%, communicates 50.0%, is idle 25.0%; "
    "rank 1 computes 100.0%, communicates 0.0%, is idle 0.0%",
    "draw_collective": "after step 1 of 2, 2 ranks with 2 chunks: 2 of 4 are complete (2 is complete); rank 0 holds "
    "1, 2; rank 1 holds 2, 1. 2 messages arrived: chunk 0 from 0 to 1, chunk 1 from 1 to 0",
    "draw_collective_strip": "ring. 2 ranks, 2 chunks; complete sums of 4: 0 after step 0, 2 after step 1, 4 after",
    "draw_bytes": "ring: 1 MB with 2 ranks, 1.5 MB with 4 ranks; naive: 2 MB with 2 ranks, 6 MB with 4 ranks; ring, "
    "counted at 1 number of ranks: 1.0 to 1.0 times the formula",
    "draw_scaling": "ours: 10.0 with 1 rank, 18.0 with 2 ranks, 90.0% of the ideal",
    "draw_convergence": "synchronous starts at 4.0, ends at 1.0; local starts at 4.0, ends at 1.5",
    "draw_predicted": "in ms. flat: predicted 40.0, measured 44.0; cut: predicted 30.0, measured 36.0",
    "draw_staleness": "2 workers: 4 updates, on average 1.0 old, at most 2, 25.0% fresh",
}


def test_every_draw_function_is_tested_here():
    assert set(DRAWN) == set(SAID) == set(data_parallel.__all__)


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
    assert data_parallel.draw_timeline(LINE, ax=grid[1]) is grid[1] and not grid[0].has_data()
    assert data_parallel.draw_collective(PROGRESS, ax=grid[0]) is grid[0] and drawn(figure)


WILD = ["", " ", "$a$ $", "a\nb", "猫が好き", "a\x00b", "x" * 90, r"$\frac{$"]
MANY = [[(r, "compute", "step", 0, r + 1)] for r in range(40)]
CORNERS = {
    "no ranks": lambda: data_parallel.draw_timeline([]),
    "nothing happened": lambda: data_parallel.draw_timeline([[], []]),
    "an instant": lambda: data_parallel.draw_timeline([[(0, "compute", "", 1.0, 1.0)]]),
    "microseconds": lambda: data_parallel.draw_timeline(scaled(1e-6), varies=True),
    "names of every kind": lambda: data_parallel.draw_timeline(
        [[(0, "compute", name, i, i + 1) for i, name in enumerate(WILD)]], title="$T_{$"
    ),
    "more ranks than rows": lambda: data_parallel.draw_timeline(MANY),
    "ranks of which few are given": lambda: data_parallel.draw_timeline(LINE, ranks=10_000),
    "a thousand events": lambda: data_parallel.draw_timeline(
        [[(0, "communication", f"{i}", i, i + 0.5) for i in range(1000)]]
    ),
    "before anything travels": lambda: data_parallel.draw_collective(PROGRESS, MOVES),
    "forty ranks": lambda: data_parallel.draw_collective(
        np.ones((2, 40, 40), int), [(0, r, r - 1, r, True) for r in range(1, 40)], 1
    ),
    "one rank": lambda: data_parallel.draw_collective([[[1]]]),
    "nothing anywhere": lambda: data_parallel.draw_collective(np.zeros((1, 3, 1), int)),
    "twenty steps": lambda: data_parallel.draw_collective_strip(np.ones((20, 3, 3), int)),
    "one step": lambda: data_parallel.draw_collective_strip(PROGRESS, steps=[2]),
    "no formula": lambda: data_parallel.draw_bytes([1, 2], {}, {"counted only": [0.0, 5.0]}),
    "no ranks and no bytes": lambda: data_parallel.draw_bytes([], {}),
    "bytes of NaN": lambda: data_parallel.draw_bytes([1], {"$x$": [np.nan]}, {"$x$": [np.nan]}),
    "no rate": lambda: data_parallel.draw_scaling([], {}),
    "rates of NaN and zero": lambda: data_parallel.draw_scaling([1, 2], {"a": [np.nan, np.nan], "b": [0.0, 1.0]}),
    "a thousand ranks": lambda: data_parallel.draw_scaling(2 ** np.arange(11), {"a": 2.0 ** np.arange(11)}),
    "one point": lambda: data_parallel.draw_scaling([2], {name: [1.0] for name in WILD}),
    "no curve": lambda: data_parallel.draw_convergence({}),
    "a diverging curve": lambda: data_parallel.draw_convergence({"$": [1.0, 1e9, np.inf, np.nan]}, title="猫"),
    "a million steps": lambda: data_parallel.draw_convergence({"a": np.linspace(9, 1, 10**6)}),
    "nothing predicted": lambda: data_parallel.draw_predicted({}, {}),
    "predictions of NaN": lambda: data_parallel.draw_predicted(
        dict.fromkeys(WILD, np.nan), dict.fromkeys(WILD, np.inf), varies=True
    ),
    "no update": lambda: data_parallel.draw_staleness({"a": []}),
    "no worker": lambda: data_parallel.draw_staleness({}),
    "very stale": lambda: data_parallel.draw_staleness({"a": [0, 300], "b": [7]}, varies=True),
}


@pytest.mark.parametrize("name", CORNERS)
def test_what_sliders_can_reach_draws_without_a_warning(name):
    target = CORNERS[name]()
    assert style.alt_of(target) and drawn(target)


REFUSED = {
    "no rank to draw": (lambda: data_parallel.draw_timeline(LINE, most=0), "most = 0"),
    "an unknown kind": (lambda: data_parallel.draw_timeline([[(0, "sleep", "", 0, 1)]]), "unknown kind 'sleep'"),
    "progress of one step": (lambda: data_parallel.draw_collective(PROGRESS[0]), r"progress of shape \(2, 2\)"),
    "a step too far": (lambda: data_parallel.draw_collective(PROGRESS, MOVES, 3), r"step = 3; there are steps 0 … 2"),
    "a strip of no step": (lambda: data_parallel.draw_collective_strip(PROGRESS, []), "choose some of 0 … 2"),
    "a number of bytes too few": (lambda: data_parallel.draw_bytes([1, 2], {"ring": [1.0]}), "2 ranks, 1 ring"),
    "a rate too few": (lambda: data_parallel.draw_scaling([1, 2], {"a": [1.0]}), "2 worlds, 1 rates"),
    "a pair that does not fit": (lambda: data_parallel.draw_convergence({"a": ([1, 2], [1.0])}), "2 places, 1 losses"),
    "other names": (lambda: data_parallel.draw_predicted({"a": 1}, {"b": 1}), "predicted a and measured b"),
    "a negative delay": (lambda: data_parallel.draw_staleness({"a": [-1]}), "a delay is negative"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_do_not_fit_are_refused(name):
    draw, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        draw()


def test_every_step_of_a_collective_says_something_else():
    alts = {style.alt_of(data_parallel.draw_collective(PROGRESS, MOVES, step)) for step in range(3)}
    assert len(alts) == 3


def test_measured_figures_are_masked_and_predicted_ones_are_not():
    measured = style.alt_of(data_parallel.draw_timeline(LINE, varies=True))
    assert "computes ‹50.0›%" in measured and "‹4.0› seconds" in measured
    assert "‹" not in style.alt_of(data_parallel.draw_timeline(LINE))


def test_the_mean_of_the_ranks_that_are_not_drawn_is_a_row_of_its_own():
    ax = data_parallel.draw_timeline(MANY, most=4)
    assert [label.get_text() for label in ax.get_yticklabels()][-2:] == ["rank 3", "mean of the other 36"]
    assert "40 ranks" in style.alt_of(ax) and "idle from 0.0% to 97.5%" in style.alt_of(ax)


def test_a_title_may_have_two_lines():
    ax = data_parallel.draw_timeline(LINE, title="now: 1 s\nbest plan: $ 0.5 s")
    assert ax.get_title(loc=plt.rcParams["axes.titlelocation"]) == "now: 1 s\nbest plan: \\$ 0.5 s"
    assert style.alt_of(ax).startswith("now: 1 s; best plan: $ 0.5 s. ")


def test_of_ranks_that_are_only_counted_no_mean_is_drawn():
    ax = data_parallel.draw_timeline(MANY[:16], ranks=64, most=4)
    assert [label.get_text() for label in ax.get_yticklabels()] == [f"rank {r}" for r in range(4)]
    assert "the first 4\nof 64 ranks" in [text.get_text() for text in ax.texts]


def bars(ax):
    """The left, right, top and bottom edge of all boxes that are drawn, idle ones left out."""
    paths = [path.get_extents() for each in ax.collections if not each.get_hatch() for path in each.get_paths()]
    return [(box.x0, box.x1, box.y0, box.y1) for box in paths]


def test_buckets_under_way_at_once_lie_above_one_another_and_no_name_covers_another():
    waits = [(0, "communication", f"bucket {k}", 1 + 0.1 * k, 4.0) for k in range(6)]
    line = [(0, "compute", "forward", 0.0, 1.0), (0, "compute", "backward", 1.0, 2.0), *waits]
    ax = data_parallel.draw_timeline([line, line])
    found = bars(ax)
    assert len(found) == 16
    for k, (left, right, low, high) in enumerate(found):
        for other in found[:k]:
            apart = (
                left >= other[1] - 1e-9 or right <= other[0] + 1e-9 or low >= other[3] - 1e-9 or high <= other[2] + 1e-9
            )
            assert apart, (found[k], other)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == 16
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])


def test_a_measured_timeline_is_as_high_however_many_boxes_happened_to_be_under_way_at_once():
    def high(count):
        waits = [(0, "communication", f"bucket {k}", 1.0, 4.0) for k in range(count)]
        return data_parallel.draw_timeline([waits, waits], varies=True).figure.get_size_inches()[1]

    assert high(1) == high(3) == high(5) == high(6) == high(20)


def test_more_at_once_than_there_are_levels_leave_no_name_under_a_box():
    many = [(0, "communication", f"bucket {k}", 0.1 * k, 10.0) for k in range(20)]
    ax = data_parallel.draw_timeline([many])
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert boxes and not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])


def test_an_instant_among_seconds_is_seen_and_not_covered_by_its_edge():
    ax = data_parallel.draw_timeline([[(0, "compute", "work", 0, 4), (0, "communication", "all_reduce", 4, 4.01)]])
    edges = {each.get_edgecolor().tobytes() == each.get_facecolor().tobytes(): each for each in ax.collections[1:]}
    (left, right, *_) = bars(ax)[-1]
    assert right - left == pytest.approx(0.01) and edges[True].get_linewidth()[0] > 0


def test_boxes_that_only_touch_share_a_level_and_narrow_ones_keep_their_number():
    steps = [(0, "communication", f"bucket {k}", 10 * k, 10 * k + 10.01) for k in range(20)]
    ax = data_parallel.draw_timeline([steps])
    assert len({low for _, _, low, _ in bars(ax)}) == 1
    assert [text.get_text() for text in ax.texts] == [str(k) for k in range(20)]


def test_lanes_that_overlap_count_once_as_busy():
    both = [[(0, "compute", "", 0, 4), (0, "communication", "", 1, 3), (0, "idle", "", 4, 8)]]
    assert "computes 50.0%, communicates 25.0%, is idle 50.0%" in style.alt_of(data_parallel.draw_timeline(both))


def test_tensors_and_lists_draw_the_same():
    alts = {
        style.alt_of(data_parallel.draw_collective(given, MOVES, 1))
        for given in (PROGRESS, PROGRESS.tolist(), torch.tensor(PROGRESS))
    }
    assert len(alts) == 1
