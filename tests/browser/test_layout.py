"""Golden pictures: another font, other words, another line are no broken layout; what breaks a layout is seen.

The page of these tests holds one of everything that labkit draws into a page, so its pictures are kept, too.
"""

import io

import pytest
from PIL import Image, ImageDraw

from tests.browser import axe, keyboard, layout
from tests.browser.lab import PAINTED, THEMES
from tests.browser.pages import NOT_OURS, OURS, SCREENSHOTS, dead_controls, unwanted
from tests.browser.writing import written

pytestmark = pytest.mark.browser
EVERYTHING = [
    """\
import labkit
from labkit.figures import style
def draw(order=2, k=0.5, method="add", marked=False, words="of the", lines="a\\nb"):
    figure, axes = style.new()
    axes.bar([0, 1, 2], [order, 6 * k, 3 + marked])
    style.describe(figure, f"bars of {order}, {k:.2f}, {method}, {marked}, {words!r}, {lines!r}")
    return figure
labkit.explore(draw, order=(1, 5), k=(0.0, 1.0), method=["add", "discount"], marked=False, words="of the",
               lines="a\\nb")""",
    'labkit.check("workbench.sequences", ...)',
    'labkit.check("workbench.sequences", 3)',
    'labkit.hint("workbench.sequences")',
    "from labkit.workbench.names import unknown\nlabkit.show(unknown)",
    # A source without a blank must not make the table wider than its cell.
    'labkit.claim("equation", "two and two", 2 + 2, 4, source="arithmetic." * 12)\nlabkit.ledger()',
    'style.Marked("<p>kept</p><p><s>struck out</s></p>", "2 blocks: 1 kept")',
    "import pandas\npandas.DataFrame({'tokens': [1, 2]}, index=['a', 'b'])",
]
# What another machine or an author changes, and what nobody should.
HARMLESS = {
    "another font": "figcaption, [role=note], td, th { font-family: serif !important; font-size: 105%; }",
    "more space between lines": "[role=note] div, figcaption { line-height: 1.6 !important; }",
    "a longer caption": "figcaption::after { content: ' and a few more words that an author has added to this line'; }",
}
BREAKING = {
    "a figure without its ground": "figure.labkit { background: none !important } figure.labkit > img { opacity: 0 }",
    "a figure that shrank": "figure.labkit > img { width: 120px !important }",
    "cards side by side": ".jp-OutputArea { display: flex; flex-flow: row } .jp-Cell { width: 40% }",
    "everything pushed to the right": ".jp-OutputArea-output { padding-left: 45% !important }",
}
# Where things are is held by numbers, too, whatever the colours.
MISPLACED = {
    "a picture over its controls": (".widget-vbox figure.labkit { margin-top: -220px !important }", "covers"),
    "a figure wider than its cell": ("figure.labkit > img { min-width: 2500px }", "sticks out"),
    "a control that is gone": (".widget-vbox select { display: none }", "without a size"),
    "a card of no height": (
        "[role=note] { height: 0; padding: 0 !important; overflow: hidden }",
        "nothing is to be seen",
    ),
}


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return written(tmp_path_factory.mktemp("page") / "everything.ipynb", *EVERYTHING)


def test_one_of_everything_looks_right_follows_the_keyboard_and_a_broken_layout_is_seen(open_notebook, everything):
    page = open_notebook(everything)
    page.run_all()
    assert list(unwanted(page.cells())) == []
    for theme in THEMES:
        assert page.screenshots(SCREENSHOTS, "everything", theme)
        assert axe.faults(page.page, *OURS, leave_out=NOT_OURS) == []
        assert layout.broken(page.page) == []
        assert layout.unlike(f"everything-{theme}", layout.shot(page.page)) == []
    shares = {name: away(page.page, rule) for name, rule in {**HARMLESS, **BREAKING}.items()}
    assert {name: share for name, share in shares.items() if (share > layout.MOST) is (name in HARMLESS)} == {}, shares
    for name, (rule, words) in MISPLACED.items():
        with styled(page.page, rule):
            assert any(words in sentence for sentence in layout.broken(page.page)), name
    (explorable,) = keyboard.explorables(page)
    moves = keyboard.drive(page, 0, explorable)
    assert [move.control for move in moves[::3]] == ["order", "k", "method", "marked", "words", "lines"]
    assert [move.place for move in moves[9:]] == [False, True, False, "", "of the", "of the", "", "a\nb", "a\nb"]
    assert list(dead_controls(page)) == []


def away(page, rule):
    """How far a page is from its golden picture with one rule of style more: what `layout.unlike` decides by."""
    golden = layout.small(layout.shot(page))
    with styled(page, rule):
        return layout.far_off(layout.small(layout.shot(page)), golden)


class styled:
    """A page with one rule of style more, for as long as a block lasts."""

    def __init__(self, page, rule):
        self.page, self.rule = page, rule

    def __enter__(self):
        self.tag = self.page.add_style_tag(content=self.rule)
        self.page.evaluate(PAINTED)

    def __exit__(self, *about):
        self.tag.evaluate("tag => tag.remove()")


def drawing(*boxes, height=300, ground=17):
    """A golden picture of grey boxes (left, top, right, bottom, grey) on a dark ground."""
    picture = Image.new("L", (layout.WIDTH, height), ground)
    for *box, grey in boxes:
        ImageDraw.Draw(picture).rectangle(box, fill=grey)
    return picture


FIGURE = (10, 50, 150, 150, 255)
TEXT = [(10, top, 150, top + 2, 80) for top in range(10, 40, 10)]


def test_lines_of_text_may_come_and_go():
    assert layout.far_off(drawing(FIGURE, *TEXT), drawing(FIGURE)) == 0
    lower = drawing((10, 60, 150, 160, 255), height=310)
    assert layout.far_off(lower, drawing(FIGURE)) < layout.MOST


@pytest.mark.parametrize(
    "other",
    [(), [(10, 50, 70, 150, 255)], [(60, 50, 160, 150, 255)], [(10, 50, 150, 220, 255)], [(10, 50, 150, 150, 17)]],
    ids=["gone", "narrow", "to the right", "taller", "black"],
)
def test_a_figure_that_is_gone_or_has_another_size_is_far_off(other):
    assert layout.far_off(drawing(*other, *TEXT), drawing(FIGURE, *TEXT)) > layout.MOST


def test_a_page_without_a_golden_picture_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(layout, "GOLDEN", tmp_path)
    monkeypatch.delenv("LABKIT_GOLDEN", raising=False)
    buffer = io.BytesIO()
    drawing(FIGURE).save(buffer, format="PNG")
    (sentence,) = layout.unlike("a-page", buffer.getvalue())
    assert "LABKIT_GOLDEN=write" in sentence
    monkeypatch.setenv("LABKIT_GOLDEN", "write")
    assert layout.unlike("a-page", buffer.getvalue()) == []
    monkeypatch.delenv("LABKIT_GOLDEN")
    assert layout.unlike("a-page", buffer.getvalue()) == []
    assert (tmp_path / "a-page.png").stat().st_size < 4000
