"""Figures on distillation and low rank: their sentences by hand, what sliders reach, what is refused."""

import numpy as np
import pytest

from labkit.figures.compression import distillation, low_rank
from tests.figures.drawing import drawn

DRAWN = {
    "draw_soft_targets": lambda s=1.0: distillation.draw_soft_targets(
        ["cat", "dog"], [0.75 * s, 0.25], [0.5 * s, 0.5], [1, 2, 4], [0.4 * s, 0.2, 0.05], [0.4, 0.8, 0.8 * s], 2
    ),
    "draw_unseen": lambda s=1.0: distillation.draw_unseen([1, 4], [0.0, 0.8 * s], [0.9, 0.9], 0.0, "the 3s"),
    "draw_readers": lambda s=1.0: distillation.draw_readers(
        {"teacher": (0.6 * s, 0.5, 0.7), "student": (0.5, 0.4, 0.6 * s)}, chance=1 / 6, target=0.57
    ),
    "draw_spectra": lambda s=1.0: low_rank.draw_spectra({"query": [0.5 * s, 0.95, 1.0], "up": [0.3, 0.6, 1.0]}),
    "draw_rank_errors": lambda s=1.0: low_rank.draw_rank_errors([1, 8], {"plain": [0.5 * s, 0.1]}, even_at=6),
}
SAID = {
    "draw_soft_targets": "Teacher and student at T = 2.0: cat 0.75 and 0.5; dog 0.25 and 0.5. Gradient from T = 1.0 to "
    "4.0: 0.4 to 0.05 without T², 0.4 to 0.8 with it",
    "draw_unseen": "the 3s, never seen: at T = 4.0 ‹0.8› right; from labels alone ‹0.0›",
    "draw_readers": "share answered rightly: teacher ‹0.6› (‹0.5› to ‹0.7›); student ‹0.5› (‹0.4› to ‹0.6›)",
    "draw_spectra": "directions that hold 0.9 of the energy: query: 2 of 3; up: 3 of 3",
    "draw_rank_errors": "share of the output lost: plain 0.5 at rank 1, 0.1 at 8",
}


WILD = ["", "$a$ $", "a\nb", "猫が好き", "x" * 90, r"$\frac{$"]
CORNERS = {
    "no class": lambda: distillation.draw_soft_targets([], [], [], [], [], [], 1),
    "agreement: no gradient at all": lambda: distillation.draw_soft_targets(
        ["a", "b"], [0.5, 0.5], [0.5, 0.5], [1, 100], [0, 0], [0, 0], 100, title="$T_{$"
    ),
    "classes of every kind": lambda: distillation.draw_soft_targets(
        WILD, np.full(6, 1 / 6), [np.nan] * 6, [1], [np.inf], [1e-300], 1
    ),
    "no temperature": lambda: distillation.draw_unseen([], [], []),
    "shares of NaN": lambda: distillation.draw_unseen([1, 2], [np.nan, np.nan], [np.nan, 1.0], name="$"),
    "no reader": lambda: distillation.draw_readers({}),
    "readers of every kind": lambda: distillation.draw_readers(dict.fromkeys(WILD, (0.5, 0.6, 0.4))),
    "no matrix": lambda: low_rank.draw_spectra({}),
    "matrices of every kind": lambda: low_rank.draw_spectra({name: [np.nan, 1.0] for name in WILD}, 1.0, title="$"),
    "one direction": lambda: low_rank.draw_spectra({"a": [1.0]}),
    "a share that is never reached": lambda: low_rank.draw_spectra({"a": [0.2, 0.4]}),
    "no rank": lambda: low_rank.draw_rank_errors([], {"a": []}),
    "no method": lambda: low_rank.draw_rank_errors([1, 2], {}),
    "no error left": lambda: low_rank.draw_rank_errors([1, 2], {name: [0.0, np.nan] for name in WILD}, even_at=1),
}


@pytest.mark.parametrize("name", CORNERS)
def test_sliders_may_go_anywhere(name):
    assert drawn(CORNERS[name]())


REFUSED = {
    "a probability too few": lambda: distillation.draw_soft_targets(["a"], [1.0], [], [1], [1], [1], 1),
    "a gradient too few": lambda: distillation.draw_soft_targets(["a"], [1.0], [1.0], [1, 2], [1], [1, 2], 1),
    "a share too many": lambda: distillation.draw_unseen([1], [0.5, 0.6], [0.5]),
    "an error too few": lambda: low_rank.draw_rank_errors([1, 2], {"a": [0.5]}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_rows_of_different_lengths_are_refused(name):
    with pytest.raises(ValueError, match="give as many of each"):
        REFUSED[name]()


def test_a_score_without_its_interval_is_refused():
    with pytest.raises(ValueError, match="give \\(score, low, high\\)"):
        distillation.draw_readers({"teacher": (0.5,)})


def test_shares_lost_are_written_in_percent_and_few_enough_to_read():
    ax = low_rank.draw_rank_errors([16, 96, 160], {"SVD": [0.38, 0.14, 0.06], "whitened": [0.23, 0.05, 0.018]})
    assert drawn(ax)
    low, high = ax.get_ylim()
    ticks = [*ax.yaxis.get_major_ticks(), *ax.yaxis.get_minor_ticks()]
    words = {tick.label1.get_text() for tick in ticks if low <= tick.get_loc() <= high} - {""}
    assert words == {"2 %", "5 %", "10 %", "20 %"}


def test_context_does_not_look_like_a_third_curve():
    thirds = {"a": [0.5, 1.0], "b": [0.6, 1.0], "c": [0.7, 1.0]}
    for ax in (low_rank.draw_spectra(thirds), low_rank.draw_rank_errors([1, 2], thirds, even_at=1.5)):
        named = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
        looks = [(line.get_linestyle(), line.get_linewidth()) for line in named]
        assert len(named) > 3 and len(set(looks)) == len(looks)


def test_a_student_like_its_teacher_has_no_gradient_and_the_picture_says_so():
    figure = distillation.draw_soft_targets(["a", "b"], [0.6, 0.4], [0.6, 0.4], [1, 10, 50], [0.0] * 3, [0.0] * 3, 20)
    assert drawn(figure)
    right = figure.axes[1]
    assert right.get_title() == "No gradient at any temperature" and right.get_xlim() == (1, 50)
    assert [tick.get_text() for tick in right.get_xticklabels(minor=True) if tick.get_text()] == []
