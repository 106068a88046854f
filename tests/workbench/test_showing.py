"""What the page shows is the source that runs: functions, classes, modules, with and without docstrings."""

import functools
import json
import math
import sys

import pytest

import labkit
from labkit.workbench import bounds, display, showing
from labkit.workbench.showing import location, named, show, source_html, source_of, without_docstrings


class Sample:
    """A class to show."""

    scale = 2

    def doubled(self, number):
        """Twice the number.

        A line with less indentation than the method.
        """
        return self.scale * number

    @property
    def half(self):
        return 1 / self.scale

    @functools.cached_property
    def quarter(self):
        return self.half / 2


def decorated(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)

    return wrapper


@decorated
def triple(number):
    "Three times."
    return 3 * number


def test_a_function_is_shown_as_it_is_written(capsys):
    show(triple)
    assert capsys.readouterr().out == '@decorated\ndef triple(number):\n    "Three times."\n    return 3 * number\n'


def test_the_docstring_can_be_left_out(capsys):
    show(triple, doc=False)
    assert capsys.readouterr().out == "@decorated\ndef triple(number):\n    return 3 * number\n"


def test_a_method_loses_the_indentation_of_its_class():
    lines = source_of(Sample.doubled).splitlines()
    assert lines[0] == "def doubled(self, number):" and lines[-1] == "    return self.scale * number"
    assert source_of(Sample.doubled, doc=False).splitlines() == [lines[0], lines[-1]]


def test_properties_classes_and_bound_methods_have_sources():
    assert source_of(Sample.half).startswith("@property")
    assert source_of(Sample.__dict__["quarter"]).startswith("@functools.cached_property")
    assert source_of(Sample().doubled) == source_of(Sample.doubled)
    assert source_of(Sample, doc=False).startswith("class Sample:\n    scale = 2\n")


def test_several_objects_are_shown_one_after_the_other(capsys):
    show(bounds.at_least, bounds.at_most, doc=False)
    out = capsys.readouterr().out
    assert out.index("def at_least") < out.index("def at_most") and '"""' not in out


def test_a_module_is_shown_whole_and_named_by_its_place_in_the_package():
    assert source_of(bounds).startswith('"""Bounds')
    assert named(bounds) == ("labkit.workbench.bounds", "labkit/workbench/bounds.py")
    assert location(labkit.workbench) == "labkit/workbench/__init__.py"
    assert location(json.decoder) == "json/decoder.py"


def test_the_heading_has_no_line_numbers_and_no_absolute_path():
    page = source_html(source_of(bounds.Bound), *named(bounds.Bound))
    assert "labkit.workbench.bounds.Bound" in page and "labkit/workbench/bounds.py" in page
    assert str(sys.prefix) not in page and bounds.__file__ not in page


def test_what_stands_in_a_notebook_cell_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", sys.modules[__name__])
    monkeypatch.setattr(sys.modules[__name__], "__name__", "__main__")
    monkeypatch.setattr(triple.__wrapped__, "__module__", "__main__")
    assert named(triple) == ("triple", "this notebook")


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (len, "built into Python"),
        (math.log, "built into Python"),
        (str.join, "built into Python"),
        (int.__add__, "built into Python"),
        (int, "no source that can be found"),
        (functools.partial(triple, 3), r"show\(triple\)"),
        (Sample(), r"show\(Sample\)"),
        (3.5, "value of type float"),
        (None, "value of type NoneType"),
        ("labkit.workbench", "value of type str"),
        (sys, "no source that can be found"),
        (eval("lambda: 3"), "no source that can be found"),
    ],
)
def test_what_has_no_source_is_refused_in_words(shown, words):
    with pytest.raises(ValueError, match=words):
        show(shown)


def test_nothing_to_show_is_refused():
    with pytest.raises(ValueError, match="nothing to show"):
        show()


def test_a_body_that_was_only_a_docstring_becomes_dots():
    assert without_docstrings('def f():\n    """Only words."""\n') == "def f():\n    ..."
    assert without_docstrings('class A:\n    """Words."""\n\n    x = 1') == "class A:\n    x = 1"
    assert without_docstrings(
        '"""Module."""\n\nx = "é"\n\n\ndef f():\n    """Words,\n\n    more."""\n    return x'
    ) == ('x = "é"\n\n\ndef f():\n    return x')


def test_a_docstring_on_the_line_of_its_function_stays():
    for source in ('def f(): "words"', 'def f():\n    """éé""";x'):
        assert without_docstrings(source) == source


def test_code_without_docstrings_still_runs_the_same():
    space = {}
    exec(without_docstrings(source_of(bounds)), space)
    assert str(space["between"](1, 2)) == "between 1 and 2"


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(ink, paper):
    high, low = sorted((luminance(ink.strip("#")), luminance(paper.strip("#"))), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_colour_of_the_code_can_be_read_on_its_card():
    from pygments.styles import get_style_by_name

    colours = {style["color"] for _, style in get_style_by_name(showing.HIGHLIGHTING) if style["color"]}
    assert len(colours) > 4
    assert min(contrast(colour, display.CARD) for colour in colours) > 4.5


def test_every_tone_of_the_cards_can_be_read():
    for ink, _ in display.TONES.values():
        assert contrast(ink, display.CARD) > 4.5
    assert contrast(display.INK, display.CARD) > 7


def test_the_code_carries_its_own_colours_and_is_escaped():
    page = source_html("def f():\n    return '<b>' < 3", "f", "this notebook")
    assert "color:" in page and "background:" in page and "<b>" not in page and "class=" not in page


def test_cards_escape_and_mark_code():
    page = display.card("a < b", display.paragraphs("use `x < 1` here\n\na ` alone"), "good")
    assert "a &lt; b" in page and ">x &lt; 1</code>" in page and "a ` alone" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (3.0, "3.0"),
        (1e20, "1e+20"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ({"b", "a", "c"}, "{'a', 'b', 'c'}"),
        ({"b": 1, "a": 2.0}, "{'b': 1, 'a': 2.0}"),
        (triple, "triple"),
        ([1] * 13, "[" + "1, " * 12 + "...]"),
        (True, "True"),
    ],
)
def test_values_are_worded_the_same_in_every_process(value, text):
    assert display.brief(value) == text


def test_numpy_values_addresses_and_long_texts_are_worded_briefly():
    np = pytest.importorskip("numpy")
    assert display.brief(np.float64(0.5)) == "0.5"
    assert display.brief(np.array([1, 2])) == "array([1, 2])"
    assert "0x" not in display.brief(object())
    assert len(display.brief("x" * 1000)) <= 160
    assert display.brief({"deep": {"deep": {"deep": {"deep": {"deep": 1}}}}}).endswith("{…}}}}}")
