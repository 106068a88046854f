"""Figures of files and of the time of a step: what they say, the corners, what is refused."""

import numpy as np
import pytest

from labkit.figures import style
from labkit.figures.compression import files
from tests.figures.drawing import drawn

WHOLE = {"codes": 300, "embedding": 100}
SMALL = {"codes": 40, "steps": 20, "embedding": 40}

DRAWN = {
    "draw_file_bytes": lambda s=1.0: files.draw_file_bytes({"float32": WHOLE, "4 bits": SMALL}),
    "draw_least_time": lambda s=1.0: files.draw_least_time(
        [1, 4, 8], {"float32": [0.04 * s, 0.04 * s, 0.08]}, {"float32": 4 * s}
    ),
}
SAID = {
    "draw_file_bytes": "float32: 400 B, 75 % of it codes; 4 bits: 100 B, 40 % of it codes",
    "draw_least_time": "float32 40.0 for the fewest rows, 80.0 for the most, flat up to 4.0 rows",
}


def test_the_bar_of_a_file_says_what_it_is_of_the_first_one():
    ax = files.draw_file_bytes({"float32": WHOLE, "4 bits": SMALL})
    assert ax.get_title() == "4 bits: 25.0 % of float32"
    assert "float32: 400 B, 75 % of it codes; 4 bits: 100 B, 40 % of it codes" in style.alt_of(ax)
    assert drawn(ax) and ax.get_xlabel() and ax.get_ylabel()


def test_the_least_time_is_marked_where_computing_takes_over():
    seconds = {"float32": [0.04, 0.04, 0.08], "8 bits": [0.01, 0.04, 0.08]}
    ax = files.draw_least_time([1, 4, 8], seconds, {"float32": 4, "8 bits": 1})
    said = style.alt_of(ax)
    assert "float32 40.0 for the fewest rows, 80.0 for the most, flat up to 4.0 rows" in said
    assert "8 bits 10.0 for the fewest rows" in said
    marks = [line for line in ax.lines if len(line.get_xdata()) == 1]
    assert [float(np.ravel(line.get_ydata())[0]) for line in marks] == [40.0, 10.0]
    assert [text.get_text() for text in ax.texts] == ["4", "1"]
    assert drawn(ax)


def test_no_way_to_store_has_the_colour_of_a_reference_or_of_something_broken():
    ax = files.draw_least_time([1, 2], {f"{i} bits": [i, i] for i in range(1, 6)})
    colours = {line.get_color() for line in ax.lines}
    assert len(colours) == 5 and not colours & {style.REFERENCE, style.WRONG}


CORNERS = {
    "no file": lambda: files.draw_file_bytes({}),
    "one empty file": lambda: files.draw_file_bytes({"a": {}}),
    "empty beside empty": lambda: files.draw_file_bytes({"a": {"x": 0}, "b": {"x": 0}}),
    "strange names": lambda: files.draw_file_bytes({"$a$ $": {"猫\n": 5, "x" * 90: 3}, "": {"": 1}}, title="$x$ $"),
    "no curve": lambda: files.draw_least_time([], {}),
    "a curve of nothing": lambda: files.draw_least_time([], {"a": []}),
    "one point": lambda: files.draw_least_time([1], {"$a$ $": [0.0]}, {"$a$ $": 9}),
    "NaN": lambda: files.draw_least_time([1, 2], {"a": [np.nan, np.inf], "b": [1.0, 2.0]}, title="$ $"),
}


@pytest.mark.parametrize("name", CORNERS)
def test_corners_are_drawn(name):
    assert drawn(CORNERS[name]())


def test_curves_of_other_lengths_and_marks_of_no_curve_are_refused():
    with pytest.raises(ValueError, match="rows"):
        files.draw_least_time([1, 2], {"a": [1.0]})
    with pytest.raises(ValueError, match="no curve"):
        files.draw_least_time([1], {"a": [1.0]}, {"b": 1})
