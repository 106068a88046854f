"""Explorables: every control to its corners, one redraw after the last change, a static twin, errors in place."""

import asyncio
import html
import re

import ipywidgets as widgets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.figures import style
from labkit.workbench import explore as exploring
from labkit.workbench.controls import make_control
from labkit.workbench.explore import Explorer, explore


def draw(order=2, k=0.5, method="add", log=False, word="the"):
    ax = style.axes(width=3, height=2)
    ax.plot([order, k])
    style.describe(ax, f"order {order}, k {k:.2f}, {method}, log {log}, word '{word}'")
    return ax


CONTROLS = {"order": (1, 5), "k": (0.0, 1.0, 0.1), "method": ["add", "kneser"], "log": False, "word": "the"}


def counting(calls):
    def counted(order=2, k=0.5):
        calls.append((order, k))
        return draw(order, k)

    return counted


def parts(row):
    return row.children if isinstance(row, widgets.HBox) else (row,)


def test_controls_start_at_the_defaults_of_the_function():
    assert explore(draw, **CONTROLS).values == {"order": 2, "k": 0.5, "method": "add", "log": False, "word": "the"}


def test_without_defaults_controls_start_in_the_middle_or_at_the_first_choice():
    def plain(order, share, method):
        return draw(order, share, method)

    explorer = explore(plain, order=(1, 5), share=(0.0, 1.0), method={"Kneser–Ney": "kneser", "add": "add"})
    assert explorer.values == {"order": 3, "share": 0.5, "method": "kneser"}
    assert "method = Kneser–Ney" in explorer._repr_mimebundle_()["text/html"]


def test_every_control_has_a_label_and_a_way_to_use_it_from_the_keyboard():
    explorer = explore(draw, **CONTROLS)
    keyboard = (widgets.BoundedIntText, widgets.BoundedFloatText, widgets.Dropdown, widgets.Checkbox, widgets.Text)
    rows = explorer.children[:-1]
    assert [parts(row)[0].description for row in rows] == list(CONTROLS)
    assert all(isinstance(parts(row)[0], keyboard) for row in rows)


def test_slider_and_number_box_follow_each_other():
    explorer = explore(draw, **CONTROLS)
    box, slider = explorer.children[0].children
    box.value = 4
    assert slider.value == 4 and explorer.values["order"] == 4
    slider.value = 1
    assert box.value == 1 and explorer.alt.startswith("order 1,")
    assert not slider.continuous_update


def test_moving_a_control_changes_the_picture_at_once_without_a_kernel():
    explorer = explore(draw, **CONTROLS)
    before = explorer.picture
    explorer.children[2].value = "kneser"
    assert explorer.alt == "order 2, k 0.50, kneser, log False, word 'the'"
    assert explorer.picture != before and explorer.children[-1].value == explorer.picture


def test_every_corner_draws_a_figure_of_one_size():
    explorer = explore(draw, **CONTROLS)
    corners = list(explorer.corners())
    sizes, seen = set(), set()
    for corner in corners:
        explorer.set(**corner)
        assert explorer.error == "" and explorer.values == corner
        sizes.add(re.search(r'width="\d+" height="\d+"', explorer.picture)[0])
        seen.add(explorer.alt)
    assert len(sizes) == 1
    assert {"order": 1, "k": 0.0, "method": "add", "log": False, "word": ""} in corners
    assert {"order": 5, "k": 1.0, "method": "kneser", "log": True, "word": "the"} in corners
    assert len(seen) == 10


def test_setting_several_controls_draws_once():
    calls = []
    explorer = explore(counting(calls), order=(1, 5), k=(0.0, 1.0))
    explorer.set(order=5, k=0.25)
    assert calls == [(2, 0.5), (5, 0.25)]


def test_in_a_running_loop_only_the_last_of_many_changes_is_drawn(monkeypatch):
    monkeypatch.setattr(exploring, "PAUSE", 0.01)
    calls = []

    async def drag():
        explorer = explore(counting(calls), order=(1, 5), k=(0.0, 1.0))
        slider = explorer.children[0].children[1]
        for order in (3, 4, 5):
            slider.value = order
        assert calls == [(2, 0.5)]
        await asyncio.sleep(0.1)
        assert calls == [(2, 0.5), (5, 0.5)]
        return explorer

    assert asyncio.run(drag()).alt.startswith("order 5")


def test_what_is_shown_or_asked_for_during_the_pause_is_up_to_date():
    async def look():
        explorer = explore(draw, **CONTROLS)
        for order, seen in ((3, "alt"), (4, "picture"), (5, "bundle")):
            explorer.children[0].children[1].value = order
            text = explorer._repr_mimebundle_()["text/plain"] if seen == "bundle" else getattr(explorer, seen)
            assert f"order {order}," in text

    asyncio.run(look())


def test_a_page_without_a_kernel_gets_the_picture_its_sentence_and_the_values():
    bundle = explore(draw, **CONTROLS)._repr_mimebundle_()
    page = bundle["text/html"]
    sentence = "order 2, k 0.50, add, log False, word 'the'"
    assert bundle["text/plain"] == sentence
    assert f'alt="{sentence.replace(chr(39), "&#x27;")}"' in page and 'aria-live="polite"' in page
    assert "order = 2, k = 0.5, method = add, log = False, word = &#x27;the&#x27; (run the notebook" in page
    assert page.count("<figcaption") == page.count("<figure") == 1


def test_the_live_picture_has_no_line_for_pages_without_a_kernel():
    explorer = explore(draw, **CONTROLS)
    explorer._repr_mimebundle_()
    assert "run the notebook" not in explorer.children[-1].value


def test_ipython_gets_widget_html_and_text_from_one_object():
    pytest.importorskip("IPython")
    from IPython.core.formatters import DisplayFormatter

    explorer = explore(draw, order=(1, 5))
    data, _ = DisplayFormatter().format(explorer)
    assert sorted(data) == ["application/vnd.jupyter.widget-view+json", "text/html", "text/plain"]
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
    assert isinstance(explorer, Explorer | widgets.VBox) and repr(explorer) == "Explorer(draw: order = 2)"


def marked(text="a b", limit=0.5):
    if text == "boom":
        raise RuntimeError("<boom>")
    return style.Marked(f"<div>{html.escape(text)}</div>", f"{len(text)} characters, limit {limit:.2f}, {text[:20]}")


def test_a_text_is_shown_where_a_picture_would_be_with_its_sentence_below():
    explorer = explore(marked, text="猫 b", limit=(0.0, 1.0, 0.1))
    assert explorer.alt == "3 characters, limit 0.50, 猫 b" and explorer.error == ""
    assert "<div>猫 b</div>" in explorer.picture and "<img" not in explorer.picture
    assert explorer.picture.endswith(f'<span aria-live="polite">{explorer.alt}</span></figcaption></figure>')
    assert "background:#ffffff" in explorer.picture and f"color:{style.INK}" in explorer.picture
    page = explorer._repr_mimebundle_()["text/html"]
    assert "limit = 0.5 (run the notebook to change these)</figcaption></figure>" in page
    explorer.set(limit=0.6)
    assert "limit 0.60" in explorer.alt and "limit 0.60" in explorer.children[-1].value


def test_every_corner_of_a_text_is_shown_and_an_error_stands_in_its_place():
    explorer = explore(marked, text="two\nlines", limit=(0.0, 1.0))
    for corner in explorer.corners():
        explorer.set(**corner)
        assert explorer.error == "" and explorer.values == corner
    explorer.set(text="boom")
    assert 'role="alert"' in explorer.picture and "&lt;boom&gt;" in explorer.picture
    explorer.set(text="well")
    assert explorer.error == "" and "<div>well</div>" in explorer.picture


@pytest.mark.parametrize("text", ["</figcaption></figure><script>alert(1)</script>", "<img src=x onerror=y>\n<!--"])
def test_what_a_reader_types_is_shown_and_never_obeyed(text):
    explorer = explore(marked, text=text)
    for page in (explorer.picture, explorer._repr_mimebundle_()["text/html"]):
        assert page.count("<figure") == page.count("</figure>") == page.count("</figcaption>") == 1
        assert "<script" not in page and "<img" not in page and "<!--" not in page


def test_a_text_with_a_line_break_gets_a_box_that_is_followed_while_typing():
    one, typed = explore(marked, text="one"), explore(marked, as_typed=True, text="one")
    box = explore(marked, text="two\nlines").children[0]
    assert isinstance(box, widgets.Textarea) and box.continuous_update and box.rows == 3 and box.description == "text"
    assert explore(marked, text="\n" * 99).children[0].rows == 12
    for explorer, live in ((one, False), (typed, True)):
        assert isinstance(explorer.children[0], widgets.Text) and explorer.children[0].continuous_update is live


def test_a_page_of_text_is_made_once_for_a_burst_of_keys(monkeypatch):
    monkeypatch.setattr(exploring, "PAUSE", 0.01)
    seen = []

    def watched(text):
        seen.append(text)
        return marked(text)

    async def typing():
        explorer = explore(watched, text="a\n")
        for text in ("a\nb", "a\nbc", "a\nbcd"):
            explorer.children[0].value = text
        await asyncio.sleep(0.1)
        return explorer

    assert "5 characters" in asyncio.run(typing()).alt and seen == ["a\n", "a\nbcd"]


def failing(order=1, k=0.5):
    if order > 3:
        raise ZeroDivisionError(f"no counts of order {order} <yet>")
    return draw(order, k)


def test_an_error_takes_the_place_of_the_picture_and_the_controls_stay():
    explorer = explore(failing, order=(1, 5))
    explorer.children[0].children[0].value = 5
    assert explorer.error == "ZeroDivisionError: no counts of order 5 <yet>"
    assert explorer.alt == "No figure for order = 5: ZeroDivisionError: no counts of order 5 <yet>"
    assert 'role="alert"' in explorer.picture and "&lt;yet&gt;" in explorer.picture and "<img" not in explorer.picture
    assert "min-height:220px" in explorer.picture  # as high as the figure of 3 by 2 inches was
    assert explorer._repr_mimebundle_()["text/plain"] == explorer.alt
    explorer.children[0].children[0].value = 2
    assert explorer.error == "" and "<img" in explorer.picture


def test_a_figure_of_another_size_is_drawn_in_the_size_of_the_first():
    def growing(order=1):
        ax = style.axes(width=3 + order, height=2)
        style.describe(ax, f"order {order}")
        return ax.get_figure()

    explorer = explore(growing, order=(1, 3))
    explorer.set(order=3)
    assert 'width="440" height="220"' in explorer.picture


@pytest.mark.parametrize("result", [None, "picture", 3])
def test_a_draw_that_gives_no_figure_says_so(result):
    assert "must return a Figure or an Axes" in explore(lambda order=1: result, order=(1, 2)).error


def test_a_figure_without_alt_text_is_an_error_in_the_picture():
    assert "no alt text" in explore(lambda order=1: style.axes(), order=(1, 2)).error


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({}, "at least one"),
        ({"ordre": (1, 5)}, "did you mean 'order'"),
        ({"order": (5, 1)}, "is no range"),
        ({"order": (1, 1)}, "is no range"),
        ({"order": (1, 5, 0)}, "is no range"),
        ({"order": (1, 5, 9)}, "is no range"),
        ({"order": (3, 5)}, "order = 2 is not a whole number from 3 to 5"),
        ({"k": (0.6, 1.0)}, r"k = 0\.5 is not from 0\.6 to 1\.0"),
        ({"k": (0.0, float("inf"))}, "is no control"),
        ({"log": (True, False)}, "is no control"),
        ({"order": (1,)}, "is no control"),
        ({"order": 3}, "is no control"),
        ({"method": []}, "no choices"),
        ({"method": ["kneser"]}, "method = 'add' is none of the choices kneser"),
    ],
)
def test_controls_that_do_not_fit_are_refused_in_words(controls, words):
    with pytest.raises(ValueError, match=words):
        explore(draw, **controls)


def test_a_parameter_that_nothing_gives_is_named():
    with pytest.raises(ValueError, match="draw needs corpus"):
        explore(lambda corpus, order: None, order=(1, 2))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"order": 6}, "order = 6 is not a whole number from 1 to 5"),
        ({"order": 1.5}, "whole number"),
        ({"k": -0.1}, "from 0.0 to 1.0"),
        ({"k": float("nan")}, "from 0.0 to 1.0"),
        ({"method": "katz"}, "none of the choices add, kneser"),
        ({"log": 1}, "neither True nor False"),
        ({"word": 3}, "not a string"),
        ({"wrod": "a"}, "did you mean 'word'"),
    ],
)
def test_a_value_that_a_control_cannot_take_is_refused_and_nothing_changes(values, words):
    explorer = explore(draw, **CONTROLS)
    before = explorer.values
    with pytest.raises(ValueError, match=words):
        explorer.set(order=4, **values) if "order" not in values else explorer.set(**values)
    assert explorer.values == before


@given(st.integers(-50, 50), st.integers(1, 60), st.floats(0, 1))
@settings(max_examples=30)
def test_a_slider_starts_inside_its_range_and_ends_at_its_ends(low, width, share):
    whole, real = make_control("n", (low, low + width)), make_control("x", (low, low + width + share))
    for control in (whole, real):
        assert control.ends[0] <= control.value <= control.ends[1]
    assert isinstance(whole.value, int) and isinstance(real.value, int | float)
