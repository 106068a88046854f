"""Figures of the class report: the numbers in their alt text, nobody and everybody, names that are no names."""

import matplotlib
import numpy as np
import pytest

from labkit.figures import grading, style
from tests.figures.drawing import changed_by_a_last_digit, drawn

DRAWN = {
    "draw_hard_exercises": lambda s=1.0: grading.draw_hard_exercises(["a.b", "c.d"], [[1, 0, 2, 1], [4, 0, 0, 0]]),
    "draw_mistakes": lambda s=1.0: grading.draw_mistakes(["no end · a.b", "swapped · c.d"], [3, 1], 4),
    "draw_totals": lambda s=1.0: grading.draw_totals(s * np.array([72.2, 81.3, 100.0])),
    "draw_difficulty": lambda s=1.0: grading.draw_difficulty(
        ["a.b", "c.d", "e.f"], [1, 1, 3], s * np.array([0.9, 0.302, 0.504]), odd=[1]
    ),
    "draw_handed_in": lambda s=1.0: grading.draw_handed_in(["02 · ngram models"], [[7, 2, 1]]),
}
SAID = {
    "draw_hard_exercises": "2 exercises, the hardest 2 shown. The first: a.b 1 correct, 2 not right, 1 not started; "
    "c.d 4 correct",
    "draw_mistakes": "2 mistakes made, the 2 most common shown: no end · a.b 3; swapped · c.d 1",
    "draw_totals": "final marks of 3 students: median 81, lowest 72, highest 100. 70 to 80: 1; 80 to 90: 1; "
    "90 to 100: 1",
    "draw_difficulty": "points reached by rated difficulty. easy (1): 2 exercises, median 60 %; hard (3): 1 exercise, "
    "median 50 %. Out of line: c.d 30 %",
    "draw_handed_in": "handed in, by notebook: 02 · ngram models 7 in time, 2 late, 1 not handed in",
}
TITLES = {
    "draw_hard_exercises": "Hardest: a.b, 1 of 4 correct",
    "draw_mistakes": "3 of 4 students: no end · a.b",
    "draw_totals": "Half of the class has 81 of 100 or more (dashed line)",
    "draw_difficulty": "Harder exercises got fewer points (bars: medians)",
    "draw_handed_in": "9 of 10 notebooks came in, 2 late",
}
NOBODY = {
    "draw_hard_exercises": ([], []),
    "draw_mistakes": ([], [], 0),
    "draw_totals": ([],),
    "draw_difficulty": ([], [], []),
    "draw_handed_in": ([], []),
}


@pytest.fixture(autouse=True)
def _theme():
    with matplotlib.rc_context(style.theme()):
        yield


def test_every_draw_function_is_tested_here():
    assert set(DRAWN) == {name for name in vars(grading) if name.startswith("draw_")}


@pytest.mark.parametrize("name", DRAWN)
def test_each_figure_says_what_its_data_show_and_its_title_is_the_finding(name):
    ax = DRAWN[name]()
    assert style.alt_of(ax) == SAID[name] and ax.get_title(loc="left") == TITLES[name]
    assert (ax.get_xlabel() or name == "draw_difficulty") and drawn(ax)


@pytest.mark.parametrize("name", DRAWN)
def test_a_last_digit_does_not_change_what_a_figure_says(name):
    assert changed_by_a_last_digit(DRAWN[name]) == []


@pytest.mark.parametrize("name", DRAWN)
def test_a_class_without_answers_makes_a_figure_that_says_so(name):
    ax = getattr(grading, name)(*NOBODY[name])
    assert ("none" in style.alt_of(ax) or "yet" in style.alt_of(ax)) and drawn(ax)


def test_of_many_exercises_the_hardest_are_drawn_and_the_others_counted():
    ax = grading.draw_hard_exercises([f"topic.exercise_{i}" for i in range(154)], [[100, 50, 200, 50]] * 154)
    assert len(ax.get_yticklabels()) == grading.MOST_BARS and drawn(ax)
    assert style.alt_of(ax).startswith("154 exercises, the hardest 20 shown")


def test_no_part_of_a_bar_differs_from_another_by_colour_alone():
    for parts in (grading.PARTS, grading.ON_TIME):
        dark = [colour for colour, hatch, _ in parts.values() if not hatch]
        assert len(dark) <= 2 and len({hatch for _, hatch, _ in parts.values()}) >= len(parts) - 1
    ax = DRAWN["draw_hard_exercises"]()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(grading.PARTS)
    assert {"1", "2", "4"} <= {text.get_text() for text in ax.texts}  # the counts stand on the bars


def test_one_student_and_marks_beyond_the_ends_are_drawn():
    assert grading.draw_totals([50]).get_title(loc="left") == "One student"
    assert "lowest -3, highest 104" in style.alt_of(grading.draw_totals([-3, 104]))


def test_ratings_that_do_not_follow_the_points_are_told():
    ax = grading.draw_difficulty(["a", "b"], [1, 3], [0.2, 0.8])
    assert ax.get_title(loc="left").startswith("The ratings do not follow the points") and drawn(ax)


def test_names_with_formulas_missing_glyphs_and_halves_of_characters_are_drawn():
    for name in ("$x$ \\frac", "猫\ud800\x00\u202e", "x" * 500, ""):
        assert drawn(grading.draw_hard_exercises([name], [[1, 1, 1, 1]]))
        assert drawn(grading.draw_mistakes([name], [1], 1)) and drawn(grading.draw_handed_in([name], [[1, 1, 1]]))
        assert drawn(grading.draw_difficulty([name], [2], [0.1], odd=[0]))


@pytest.mark.parametrize("draw", [grading.draw_hard_exercises, grading.draw_handed_in])
def test_names_and_counts_that_do_not_fit_are_refused(draw):
    with pytest.raises(ValueError, match="2 names came with 1 numbers"):
        draw(["a", "b"], [1])
