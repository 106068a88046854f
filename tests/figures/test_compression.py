"""All figures of notebook 20: each draw function is tested by its topic, says what its axes are, and keeps its word."""

import importlib
from pathlib import Path

import pytest

from labkit.figures import compression, style
from tests.figures.drawing import changed_by_a_last_digit, drawn

TOPICS = sorted(path.stem for path in Path(__file__).parent.glob("test_compression_*.py"))
DRAWN = {}  # every function of the package: a call of it, as the tests of its topic make it; `s` moves last digits
SAID = {}  # what it has to say then
for topic in TOPICS:
    module = importlib.import_module(f"tests.figures.{topic}")
    DRAWN |= module.DRAWN
    SAID |= module.SAID


def test_every_draw_function_is_tested_with_those_of_its_topic():
    assert set(DRAWN) == set(SAID) == set(compression.__all__)
    assert list(compression.__all__) == sorted(set(compression.__all__))


@pytest.mark.parametrize("name", DRAWN)
def test_each_figure_says_what_its_data_show(name):
    target = DRAWN[name]()
    assert SAID[name] in style.alt_of(target)
    assert drawn(target)


def unnamed(axes):
    """Whether numbers stand along these axes and none of them says of what; panels side by side say it once."""
    marks = [text.get_text() for axis in axes if axis.get_visible() for text in axis.get_ticklabels()]
    numbers = any(mark.strip("−-+.,% ").replace(".", "").isdigit() for mark in marks)
    return numbers and not any(axis.get_label_text() for axis in axes)


@pytest.mark.parametrize("name", DRAWN)
def test_numbers_along_an_axis_have_a_name_and_no_title_is_cut_off(name):
    target = DRAWN[name]()
    assert drawn(target)
    figure = style.figure_of(target)
    figure.draw_without_rendering()
    assert not unnamed([ax.xaxis for ax in figure.axes]) and not unnamed([ax.yaxis for ax in figure.axes])
    titles = [title for ax in figure.axes for title in (ax.title, ax._left_title) if title.get_text()]
    assert titles and max(title.get_window_extent().x1 for title in titles) <= figure.bbox.x1


@pytest.mark.parametrize("name", DRAWN)
def test_a_last_digit_does_not_change_what_a_figure_says(name):
    assert changed_by_a_last_digit(DRAWN[name]) == []
