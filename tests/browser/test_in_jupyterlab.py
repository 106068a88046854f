"""A page in a real JupyterLab: controls move pictures, errors are seen, wrong words and dead pictures are found."""

import pytest

from tests.browser import axe, keyboard
from tests.browser.pages import NOT_OURS, OURS, dead_controls, failed_corners, unwanted
from tests.browser.writing import written

pytestmark = pytest.mark.browser
EXPLORABLE = """\
import labkit
from labkit.figures import style
def draw(order=2, k=0.5):
    figure, axes = style.new()
    axes.bar([0, 1], [order, k])
    style.describe(figure, f"two bars, {order} and {k:.2f}")
    return figure
labkit.explore(draw, order=(1, 5), k=(0.0, 1.0))"""
DEAD = EXPLORABLE.replace("{order}", "some")
UNREADABLE = """\
from IPython.display import HTML
HTML('<div style="background:#ffffff"><h2>one</h2><h5>five</h5><span style="color:#cccccc">pale</span>'
     '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="><input type="text"></div>')"""


def test_sliders_move_their_picture_by_keyboard_to_both_ends_and_back(open_notebook, tmp_path):
    page = open_notebook(written(tmp_path / "explorable.ipynb", EXPLORABLE))
    page.run_all()
    assert list(unwanted(page.cells())) == []
    (explorable,) = keyboard.explorables(page)
    moves = keyboard.drive(page, 0, explorable)
    assert [(move.control, move.place) for move in moves] == [
        ("order", 1),
        ("order", 5),
        ("order", 2),
        ("k", 0),
        ("k", 1),
        ("k", 0.5),
    ]
    said = ["1 and 0.50", "5 and 0.50", "2 and 0.50", "2 and 0.00", "2 and 1.00", "2 and 0.50"]
    assert [move.words for move in moves] == [f"two bars, {bars}" for bars in said]
    assert list(failed_corners(page)) == []
    assert keyboard.read(page)[0]["alt"] == "two bars, 2 and 0.50"


def test_a_dead_slider_an_error_a_warning_and_what_cannot_be_read_are_found(open_notebook, tmp_path):
    sources = ("import sys\nprint('careful', file=sys.stderr)", "1 / 0", UNREADABLE, DEAD)
    page = open_notebook(written(tmp_path / "broken.ipynb", *sources))
    page.run_all()
    page.run_cell(page.cells()[2]["id"], sources[2])
    page.run_cell(page.cells()[3]["id"], sources[3])
    assert list(unwanted(page.cells())) == [
        "cell 1 on stderr: careful\n",
        "cell 2: ZeroDivisionError: division by zero",
    ]
    found = axe.faults(page.page, *OURS, leave_out=NOT_OURS)
    for rule in ("color-contrast", "heading-order", "image-alt", "label"):
        assert any(sentence.startswith(rule) for sentence in found), (rule, found)
    assert list(dead_controls(page)) == ["order of explorable 1 can be moved, and the words below the picture stay"]
