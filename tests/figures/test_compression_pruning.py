"""Figures on pruning: the numbers in their alt text, the corners that sliders reach, what is refused."""

import numpy as np
import pytest

from labkit.figures import style
from labkit.figures.compression import pruning
from tests.figures.drawing import drawn

MASK = np.array([[1, 0, 1, 0], [0, 0, 0, 0]], dtype=bool)
# One call of every function with data whose sentence can be worked out by hand; `s` moves the last digits.
DRAWN = {
    "draw_pruned_quality": lambda s=1.0: pruning.draw_pruned_quality(
        [0.0, 0.5, 0.8], {"magnitude": [10 * s, 12 * s, 40 * s], "Wanda": [10 * s, 11 * s, 30 * s]}, dense=10 * s
    ),
    "draw_kept": lambda s=1.0: pruning.draw_kept({"anywhere": MASK, "nothing gone": MASK | True}),
    "draw_tickets": lambda s=1.0: pruning.draw_tickets(
        [1.0, 0.25], [[0.9 * s, 0.95 * s], [0.9 * s, 0.9 * s]], [[0.9 * s, 0.9 * s], [0.5 * s, 0.6 * s]]
    ),
    "draw_diet": lambda s=1.0: pruning.draw_diet([1, 2, 3], [0.0, 0.5, 0.8], [4 * s, 4.5 * s, 4.25 * s]),
    "draw_sparse_speed": lambda s=1.0: pruning.draw_sparse_speed(
        {"csr": {0.5: 8.0 * s, 0.02: 0.4 * s}, "2:4": {0.5: 9.0 * s}}, pays={"csr": 0.07 * s, "2:4": 0.0}
    ),
}
SAID = {
    "draw_pruned_quality": "perplexity against the share of zeros: dense 10.0; magnitude 10.0 at 0%, 40.0 at 80%; "
    "Wanda 10.0 at 0%, 30.0 at 80%",
    "draw_kept": "2 masks. anywhere: 2 of 8 weights stay, 1 rows and 2 columns are empty; nothing gone: 8 of 8",
    "draw_tickets": "100 % left: ‹0.925› rewound, ‹0.9› with other weights; 25 % left: ‹0.9› rewound, ‹0.55› with",
    "draw_diet": "3 steps. zeros: starts at 0.0, ends at 0.8; training loss: starts at ‹4.0›, ends at ‹4.25›",
    "draw_sparse_speed": "csr: ‹8.0› of dense with 50% left, ‹0.4› with 2%, pays below a density of ‹0.07›; "
    "2:4: ‹9.0› of dense with 50% left, never pays here",
}


WILD = ["", " ", "$a$ $", "a\nb", "猫が好き", "a\x00b", "x" * 90, r"$\frac{$"]
CORNERS = {
    "no curve": lambda: pruning.draw_pruned_quality([], {}),
    "a share, no curve": lambda: pruning.draw_pruned_quality([0.5], {}, dense=3.0, varies=True),
    "names of every kind": lambda: pruning.draw_pruned_quality([0.5], {name: [2.0] for name in WILD}, title="$x$ $"),
    "quality of NaN": lambda: pruning.draw_pruned_quality(
        [0, 0.5, 0.9], {"a": [np.nan, np.inf, 0.0], "b": [np.nan] * 3}, dense=np.nan
    ),
    "quality below zero": lambda: pruning.draw_pruned_quality([0, 0.5], {"a": [-1.0, 2.0]}, ylabel="score"),
    "perplexity of a broken model": lambda: pruning.draw_pruned_quality([0, 0.9], {"a": [10.0, 1e30]}),
    "one cell": lambda: pruning.draw_kept({"": [[True]]}),
    "a thin weight": lambda: pruning.draw_kept({"row": np.ones((1, 50)), "column": np.zeros((50, 1))}),
    "no cell": lambda: pruning.draw_kept({"empty": np.ones((0, 4))}),
    "nine masks": lambda: pruning.draw_kept({name or str(i): MASK for i, name in enumerate(WILD)}, title="$"),
    "a wide mask": lambda: pruning.draw_kept({"many": np.ones((64, 192))}),
    "no round": lambda: pruning.draw_tickets([], [], []),
    "one net": lambda: pruning.draw_tickets([1.0, 0.5], [[0.9], [0.8]], [[0.9], [np.nan]], title="$x$ $"),
    "nothing left": lambda: pruning.draw_tickets([1.0, 0.0], [[0.9], [0.1]], [[0.9], [0.1]]),
    "no step": lambda: pruning.draw_diet([], [], []),
    "a loss of NaN": lambda: pruning.draw_diet([1, 2], [0.0, np.nan], [np.nan, np.inf], title="$x$ $"),
    "no format": lambda: pruning.draw_sparse_speed({}),
    "no density": lambda: pruning.draw_sparse_speed({"csr": {}}, pays={"csr": 0.0}),
    "times of NaN": lambda: pruning.draw_sparse_speed({"a": {0.5: np.nan, 0.1: np.inf}, "b": {0.0: 1.0}}),
    "no time at all": lambda: pruning.draw_sparse_speed({"a": {0.5: 0.0}}, pays={"other": 0.5}, title="$"),
}


@pytest.mark.parametrize("corner", CORNERS)
def test_corners_are_drawn_without_a_warning(corner):
    target = CORNERS[corner]()
    assert style.alt_of(target) and drawn(target)


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 shares, 1 numbers of 'a'"):
        pruning.draw_pruned_quality([0.1, 0.2], {"a": [1.0]})
    with pytest.raises(ValueError, match="2 shares, 1 rounds"):
        pruning.draw_tickets([1.0, 0.5], [[0.9]], [[0.9], [0.8]])
    with pytest.raises(ValueError, match="there is none"):
        pruning.draw_kept({})
    with pytest.raises(ValueError, match="flat has 1 axes"):
        pruning.draw_kept({"flat": [True]})


def test_the_dense_line_does_not_look_like_a_third_curve():
    curves = {name: [3.0, 2.0] for name in ("magnitude", "wanda", "sparsegpt")}
    ax = pruning.draw_pruned_quality([0.0, 0.5], curves, dense=2.5)
    looks = [(line.get_linestyle(), line.get_linewidth()) for line in ax.get_lines()]
    assert len(looks) == 4 and len(set(looks)) == 4
