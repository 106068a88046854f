"""Charts of all methods and of drafts: names that hide nothing, the front as steps, what is refused."""

import itertools

import numpy as np
import pytest
from matplotlib.text import Text

from labkit.figures import style
from labkit.figures.compression.combined import draw_pareto, draw_steps_in_a_row
from labkit.figures.compression.speculative import draw_draft_lengths, draw_rounds
from tests.figures.drawing import drawn

NAMES = ["float32", "int8", "int4", "pruned"]
SIZES, WORSE = [400, 110, 70, 250], [0.0, 0.1, 1.0, 5.0]

DRAWN = {
    "draw_pareto": lambda s=1.0: draw_pareto(
        NAMES,
        SIZES,
        [s * loss for loss in WORSE],
        [2, 1, 0],
        (WORSE, [s * 1.5 * y for y in WORSE]),
        200,
        1,
        title="All",
    ),
    "draw_steps_in_a_row": lambda s=1.0: draw_steps_in_a_row(NAMES[:2], [s * 400e3, 110e3], [0.0, 1.25], title="Two"),
    "draw_rounds": lambda s=1.0: draw_rounds([(2, 1), (2, 2), (1, 0)], list("abcdef")),
    "draw_draft_lengths": lambda s=1.0: draw_draft_lengths(
        [1, 2], {"a": [1.5, 1.75]}, {"a": [1.5, 1.75]}, varies=False
    ),
}
SAID = {
    "draw_pareto": "All. budget 200: int8 is the best within it. 4 variants, 3 on the front: int4 70 at 1.0 %; int8 "
    "110 at 0.1 %; float32 400 at 0.0 %",
    "draw_steps_in_a_row": "Two. float32 400 kB, +0.0 %; int8 110 kB, +1.2 %",
    "draw_rounds": "3 rounds for 6 tokens: 3 of 5 drafts kept",
    "draw_draft_lengths": "a: most 1.75 with 2.0 drafts",
}


def boxes_of(ax):
    figure = style.figure_of(ax)
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer() if hasattr(figure.canvas, "get_renderer") else None
    return [Text.get_window_extent(text, renderer) for text in ax.texts if text.get_text()]  # without its line


@pytest.mark.parametrize("seed", range(6))
def test_names_do_not_lie_on_each_other_or_on_points(seed):
    draw = np.random.default_rng(seed)
    x, y = draw.uniform(90, 700, 18), draw.choice([0.1, 0.4, 1, 5, 11, 40], 18) * draw.uniform(0.9, 1.1, 18)
    ax = draw_pareto([f"a method, {i} bits" for i in range(18)], x, y, [int(x.argmin())])
    assert drawn(ax)
    boxes, frame = boxes_of(ax), ax.get_window_extent()
    assert len(boxes) == 18
    for one, other in itertools.combinations(boxes, 2):
        assert not (one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1)
    places = ax.transData.transform(np.column_stack([x, y]))
    for box in boxes:
        assert not (
            (box.x0 < places[:, 0]) & (places[:, 0] < box.x1) & (box.y0 < places[:, 1]) & (places[:, 1] < box.y1)
        ).any()
        assert box.x0 >= frame.x0 - 1 and box.x1 <= frame.x1 + 1


WILD = ["", " ", "$a$ $", "a\nb", "猫が好き", "x" * 90]
CORNERS = {
    "no variants": lambda: draw_pareto([], [], [], []),
    "one variant": lambda: draw_pareto(["a"], [5], [0.0], [0]),
    "names of every kind": lambda: draw_pareto(WILD, range(1, 7), [0.1 * i for i in range(6)], [0], title="$T_{$"),
    "NaN": lambda: draw_pareto(["a", "b"], [1.0, np.nan], [np.nan, 2.0], []),
    "a better one than float32": lambda: draw_pareto(["a", "b"], [1, 2], [-3.0, 0.0], [0]),
    "nothing fits": lambda: draw_pareto(NAMES, SIZES, WORSE, [2, 1, 0], budget=10),
    "forty times the same point": lambda: draw_pareto(["name"] * 40, [3] * 40, [1] * 40, [0]),
    "times": lambda: draw_pareto(NAMES, [0.4, 0.51, 0.7, 3], WORSE, [0], unit="ms", varies=True),
    "no steps": lambda: draw_steps_in_a_row([], [], []),
    "no rounds": lambda: draw_rounds([]),
    "rounds without drafts": lambda: draw_rounds([(0, 0), (0, 0)]),
    "a long text": lambda: draw_rounds([(4, i % 5) for i in range(30)], ["w"] * 200, varies=True),
    "no lengths": lambda: draw_draft_lengths([], {}),
    "lengths of NaN": lambda: draw_draft_lengths([1], {"$a$": [np.nan]}),
}


@pytest.mark.parametrize("name", CORNERS)
def test_what_sliders_can_reach_draws_without_a_warning(name):
    target = CORNERS[name]()
    assert style.alt_of(target) and drawn(target)


REFUSED = {
    "a front that is not there": (lambda: draw_pareto(NAMES, SIZES, WORSE, [4]), "no point number 4: 4 points"),
    "a choice that is not there": (lambda: draw_pareto(NAMES, SIZES, WORSE, [], chosen=-1), "no point number -1"),
    "a size too few": (lambda: draw_pareto(NAMES, [1], WORSE, []), "4 names, 1 costs"),
    "more kept than drafted": (lambda: draw_rounds([(2, 3)]), "3 of 2 drafts cannot be kept"),
    "too few words": (lambda: draw_rounds([(2, 2)], ["a"]), "3 tokens, 1 words"),
    "a formula of a stranger": (lambda: draw_draft_lengths([1], {"a": [1]}, {"b": [1]}), "came for 'b'"),
    "a row too short": (lambda: draw_draft_lengths([1, 2], {"a": [1]}), "2 drafts, 1 values"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_do_not_fit_are_refused(name):
    draw, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        draw()


def test_the_front_is_steps_and_what_is_beaten_is_grey():
    ax = DRAWN["draw_pareto"]()
    lines = {line.get_label(): line for line in ax.lines}
    steps = lines["nothing is better for less"]
    assert steps.get_drawstyle() == "steps-post" and steps.get_xdata().tolist() == [70, 110, 400]
    assert lines["beaten by another"].get_xdata().tolist() == [250]


def test_every_fate_of_a_draft_has_a_name_in_the_legend():
    names = [text.get_text() for text in DRAWN["draw_rounds"]().get_legend().get_texts()]
    assert names == ["draft, kept", "refused", "behind it, not looked at", "the large model's own"]


def test_words_stand_in_the_boxes_of_short_texts_only():
    assert [text.get_text() for text in DRAWN["draw_rounds"]().texts] == list("abcdef")
    assert not draw_rounds([(5, 4)] * 6, ["w"] * 30).texts
