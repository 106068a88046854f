"""The look of figures: alt text, small pictures, no pyplot, and what IPython shows."""

import base64
import io
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from labkit.figures import style


def line(sentence="loss: starts at 4.00, ends at 0.58"):
    ax = style.axes()
    ax.plot([0, 1, 2], [4.0, 1.0, 0.58])
    if sentence:
        style.describe(ax, sentence)
    return ax


def test_a_new_figure_has_one_axes_or_an_array_of_them():
    figure, ax = style.new(4, 3)
    assert isinstance(figure, Figure) and ax.get_figure() is figure and figure.get_size_inches().tolist() == [4, 3]
    assert style.new(ncols=2)[1].shape == (2,) and style.new(ncols=3, nrows=2)[1].shape == (2, 3)


def test_draw_functions_draw_on_the_axes_they_are_given():
    ax = line()
    assert style.axes(ax) is ax and style.axes(None) is not ax


def test_making_a_figure_leaves_the_settings_of_matplotlib_alone():
    before = dict(matplotlib.rcParams)
    style.png(line())
    assert dict(matplotlib.rcParams) == before


def test_the_alt_text_is_stored_on_the_figure_with_its_spaces_tidied():
    ax = line("two\n   lines")
    assert style.alt_of(ax) == style.alt_of(ax.get_figure()) == ax.get_figure().labkit_alt == "two lines"


def test_the_sentences_of_several_axes_are_joined_in_their_order():
    figure, (left, right) = style.new(ncols=2)
    style.describe(right, "right: 2")
    style.describe(left, "left: 1.")
    assert style.alt_of(figure) == "left: 1. right: 2."
    style.describe(left, "left: 3")
    assert style.alt_of(figure) == "left: 3. right: 2."
    style.describe(figure, "the whole")
    assert style.alt_of(left) == "the whole"


@pytest.mark.parametrize("show", [style.alt_of, style.html, style.show])
def test_a_figure_without_alt_text_is_refused_with_the_way_out(show):
    with pytest.raises(ValueError, match=r"labkit\.figures\.style\.describe"):
        show(line(sentence=""))


def test_an_empty_alt_text_is_refused():
    with pytest.raises(ValueError, match="empty"):
        style.describe(style.axes(), "  \n ")


def test_a_picture_is_small_white_and_has_the_size_it_says():
    figure, ax = style.new(6, 4)
    for k in range(5):
        ax.plot(np.sin(np.arange(60) / (k + 2)), label=str(k), **style.series(k))
    ax.legend()
    style.describe(ax, "five waves")
    data = style.png(figure)
    image = Image.open(io.BytesIO(data))
    assert image.size == (660, 440) and image.mode == "P" and len(data) < 40_000
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert 'width="660" height="440"' in style.html(figure)


def test_the_same_figure_gives_the_same_picture():
    assert style.png(line()) == style.png(line())


def test_the_html_has_alt_text_and_caption_escaped_and_the_picture_inside():
    page = style.html(line('a < b & "c"'), caption="<caption>")
    assert 'alt="a &lt; b &amp; &quot;c&quot;"' in page and "&lt;caption&gt;</figcaption>" in page
    picture = re.search(r'src="data:image/png;base64,([A-Za-z0-9+/=]+)"', page)[1]
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    assert "background:#ffffff" in page and f"color:{style.INK}" in page
    assert "figcaption" not in style.html(line())


def test_marked_text_stands_on_the_same_card_with_its_sentence():
    page = style.Marked("<div>a &lt; b</div>", "two\n letters <")
    assert style.alt_of(page) == page.alt == "two letters <" and repr(page) == "Marked('two letters <')"
    assert "<div>a &lt; b</div></figure>" in style.html(page) and "background:#ffffff" in style.html(page)
    bundle = page._repr_mimebundle_()
    assert bundle["text/plain"] == "Figure: two letters <"
    assert (
        bundle["text/html"] == style.html(page, caption="two letters <") and "letters &lt;</fig" in bundle["text/html"]
    )


def test_marked_text_without_a_sentence_is_refused():
    with pytest.raises(ValueError, match="alt text is empty"):
        style.Marked("<div></div>", " \n")


def test_ipython_shows_marked_text_as_html():
    formatters = pytest.importorskip("IPython.core.formatters")
    data, _ = formatters.DisplayFormatter().format(style.Marked("<div>a</div>", "a letter"))
    assert sorted(data) == ["text/html", "text/plain"] and data["text/plain"] == "Figure: a letter"


def test_no_two_series_differ_by_colour_alone():
    looks = [style.series(k) for k in range(len(style.CYCLE))]
    for key in ("color", "linestyle", "marker"):
        assert len({str(look[key]) for look in looks}) == len(looks)
    assert style.series(len(style.CYCLE)) == style.series(0)


def test_the_named_colours_differ_and_lead_the_cycle():
    named = [style.OURS, style.REFERENCE, style.DATA, style.ACCENT, style.WRONG]
    assert len({*named, style.QUIET}) == 6 and list(style.CYCLE[:5]) == named


def test_the_settings_are_ones_that_matplotlib_knows():
    with matplotlib.rc_context(style.theme()):
        assert matplotlib.rcParams["font.family"] == ["DejaVu Sans"]


def test_without_ipython_there_is_nothing_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert style.install() is False


IN_IPYTHON = """
import sys
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
shell = InteractiveShell.instance()
from labkit.figures import style
assert style.install()
if {pyplot}:
    import matplotlib.pyplot
    from matplotlib_inline.backend_inline import configure_inline_support
    configure_inline_support(shell, "module://matplotlib_inline.backend_inline")
ax = style.axes()
style.describe(ax, "empty axes")
for shown in (ax, ax.get_figure()):
    with capture_output() as captured:
        shell.display_formatter.format(shown)
    data = [output.data for output in captured.outputs]
    assert [sorted(d) for d in data] == [["text/html", "text/plain"]], data
    assert data[0]["text/plain"] == "Figure: empty axes" and 'alt="empty axes"' in data[0]["text/html"]
with capture_output() as captured:
    shell.display_formatter.format(style.axes())
assert "this figure has no alt text" in captured.stdout + captured.stderr and not captured.outputs
assert {pyplot} or "matplotlib.pyplot" not in sys.modules
"""


@pytest.mark.parametrize("pyplot", [False, True])
def test_ipython_shows_figures_and_axes_once_as_html_with_alt_text(pyplot):
    pytest.importorskip("matplotlib_inline")
    code = IN_IPYTHON.format(pyplot=pyplot)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
