"""Figures on cleaning: the numbers in their alt text, hostile texts shown as text, the corners that sliders reach."""

import html
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.figures import cleaning, style
from labkit.figures.cleaning.pages import spoken, visible
from tests.figures.drawing import changed_by_a_last_digit, drawn

BLOCKS = [("Home | News", False, "navigation"), ("The river is long.", True, "long"), ("© 2026", False, "footer")]
TEXT = "Mail ann@example.org, 是 13800138000."
SPANS = [(24, 35, "phone"), (5, 20, "email")]
VERDICTS = [("word count", 4, "at least 50", False), ("symbol ratio", 0.0, 0.1, True)]
GRID = np.linspace(0, 1, 11)
PAIRS = [(0.9, True), (0.95, True), (0.85, False), (0.5, True), (0.4, True), (0.3, True), (0.2, False)]


# One call of every function with data whose sentence can be worked out by hand; `s` moves the last digits.
DRAWN = {
    "mark_blocks": lambda s=1.0: cleaning.mark_blocks(BLOCKS, title=f"links at most {s * 0.33:.4f}"),
    "mark_spans": lambda s=1.0: cleaning.mark_spans(TEXT, SPANS, [*VERDICTS, ("mean length", s * 12.5, 10, False)]),
    "mark_bytes": lambda s=1.0: cleaning.mark_bytes(
        b"\xc4\xe3", {"utf-8": None, "gb18030": "你", "replaced": "\ufffd\ufffd"}, chosen="gb18030"
    ),
    "draw_s_curve": lambda s=1.0: cleaning.draw_s_curve(
        GRID, s * (1 - (1 - GRID**2) ** 3), 0.8, PAIRS, {"other": s * GRID / 1.25}
    ),
    "draw_estimates": lambda s=1.0: cleaning.draw_estimates([0.5, 0.5, 1.0], [0.5 + s * 0.4, 0.5 + s * 0.05, 1.0], 100),
    "draw_clusters": lambda s=1.0: cleaning.draw_clusters([1, 1, 3, 2]),
    "draw_funnel": lambda s=1.0: cleaning.draw_funnel(["raw", "html", "pii"], [100, 90, 90], [0, 1, 0]),
    "draw_scores": lambda s=1.0: cleaning.draw_scores({"html": (s * 0.8, 1.0, s * 0.9)}, asked=0.85),
    "draw_statistics": lambda s=1.0: cleaning.draw_statistics(
        {"words": {"good": s * np.array([60.0, 80.0, 100.0]), "junk": [3.0]}, "share": {"junk": [0.5]}},
        {"words": (50, None), "share": (0.1, 0.9)},
    ),
    "draw_perplexity": lambda s=1.0: cleaning.draw_perplexity({"good": s * np.array([1.0, 2.5, 4.0])}, (2, 3)),
    "draw_confusion": lambda s=1.0: cleaning.draw_confusion(["en", "de"], [[5, 0], [2, 3]]),
    "draw_balance": lambda s=1.0: cleaning.draw_balance(["en", "zh"], [30, 10], [20, 20], even=True),
    "draw_training": lambda s=1.0: cleaning.draw_training(
        {"raw": ([1e5, 1e6], s * np.array([3.0, 2.0])), "clean": ([1e6], [s * 1.5])}, floor=1.0, varies=False
    ),
    "draw_forecast": lambda s=1.0: cleaning.draw_forecast(
        {"decode": {"1 TB": s * 2.0, "1 PB": s * 2000}, "html": s * 30.0}, varies=False
    ),
    "draw_growth": lambda s=1.0: cleaning.draw_growth([10, 100, 1000], {"email": s * np.array([10.0, 100.0, 1000.0])}),
}
SAID = {
    "mark_blocks": "links at most 0.3300. 3 blocks: 1 kept with 18 characters, 2 struck out with 17 characters "
    "(1 navigation, 1 footer)",
    "mark_spans": "36 characters, 2 spans: email “ann@example.org”; phone “13800138000”. 1 of 3 rules passed; "
    "failed: word count 4 (limit at least 50); mean length 12.5 (limit 10)",
    "mark_bytes": "2 bytes in 3 decodings. utf-8: not valid; gb18030: “你”, 1 character; replaced: “\ufffd\ufffd”, "
    "2 characters, 2 unreadable. Taken: gb18030",
    "draw_s_curve": "a pair of similarity 0.8 becomes a candidate with probability 0.9533, one in two from similarity "
    "0.5; other: a pair of similarity 0.8 becomes a candidate with probability 0.64, one in two from similarity 0.7; "
    "of 7 pairs, 3 are at or above the threshold: 1 false negative (not found); 3 false positives below it (found)",
    "draw_estimates": "3 pairs from 100 hashes: mean error 0.15, largest 0.4; 2 of 3 within two standard deviations",
    "draw_clusters": "7 documents: 2 without a duplicate, 2 groups of duplicates; the largest has 3 documents; "
    "keeping one of each removes 3",
    "draw_funnel": "raw: 100; html: 90 (10 removed, 1 of them good); pii: 90",
    "draw_scores": "1 step. html: precision 0.8, recall 1.0, F1 0.9",
    "draw_statistics": "words at least 50: good 3 of 3 pass, median 80.0, junk 0 of 1 pass, median 3.0; "
    "share from 0.1 to 0.9: junk 1 of 1 pass, median 0.5",
    "draw_perplexity": "cut at 2.0, 3.0. good: 1 head, 1 middle, 1 tail, median 2.5",
    "draw_confusion": "10 documents in 2 languages: 8 rightly named; most often de taken for en 2 times",
    "draw_balance": "2 labels. en: 30 before, 20 after; zh: 10 before, 20 after",
    "draw_training": "raw: 3.0 after 100 k, 2.0 after 1 M tokens; clean: 1.5 after 1 M tokens; the floor is 1.0",
    "draw_forecast": "2 steps. decode: 2.0 for 1 TB, 2,000.0 for 1 PB; html: 30.0",
    "draw_growth": "email grows with the power 1.0, to 1,000.0 at 1 k",
}


def shown(target):
    """A picture is drawn, a text is read as a browser would: every opened tag is closed, no script, no stray text."""
    if not isinstance(target, style.Marked):
        return drawn(target)
    page = Tags()
    page.feed(style.html(target, caption=target.alt))
    page.close()
    assert page.open == [] and page.tags <= HARMLESS
    return True


HARMLESS = {"figure", "figcaption", "div", "span", "del", "mark", "wbr", "table", "thead", "tbody", "tr", "th", "td"}


class Tags(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], set(), ""

    def handle_starttag(self, tag, attrs):
        if tag != "wbr":  # has no end
            self.open.append(tag)
        self.tags.add(tag)
        assert {name for name, _ in attrs} <= {"class", "style", "role", "tabindex", "aria-label", "scope"}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_every_draw_function_is_tested_here():
    assert set(DRAWN) == set(SAID) == set(cleaning.__all__)


@pytest.mark.parametrize("name", DRAWN)
def test_each_figure_says_what_its_data_show(name):
    target = DRAWN[name]()
    assert SAID[name] in style.alt_of(target)
    assert shown(target)


@pytest.mark.parametrize("name", DRAWN)
def test_a_last_digit_does_not_change_what_a_figure_says(name):
    assert changed_by_a_last_digit(DRAWN[name]) == []


EMPTY = {
    "draw_balance": ([], [], []),
    "draw_clusters": ([],),
    "draw_confusion": ([], []),
    "draw_estimates": ([], [], 9),
    "draw_funnel": ([], []),
    "draw_growth": ([], {}),
    "draw_s_curve": ([], [], 0.8),
}


@pytest.mark.parametrize("name", [name for name in DRAWN if name.startswith("draw_")])
def test_each_title_leads_the_sentence_and_a_slider_in_it_changes_the_words(name):
    given = EMPTY.get(name, ({},))
    titles = [f"threshold {value:.2f}" for value in (0.1, 0.11)]
    first, second = (style.alt_of(getattr(cleaning, name)(*given, title=title)) for title in titles)
    assert first.startswith(titles[0]) and first != second


def test_figures_can_be_parts_of_another():
    figure, grid = style.new(9, 4, ncols=2)
    assert cleaning.draw_funnel(["a"], [1], ax=grid[1]) is grid[1] and not grid[0].has_data()
    assert cleaning.draw_scores({"a": (1, 1, 1)}, ax=grid[0]) is grid[0] and drawn(figure)


def test_what_is_struck_out_is_struck_out_and_says_why():
    page = cleaning.mark_blocks(BLOCKS).html
    assert re.findall(r"<del[^>]*>(.*?)</del>", page) == ["Home | News", "© 2026"]
    assert "✗ navigation" in page and "✗ footer" in page and "✓ long" in page


def test_each_span_stands_in_brackets_before_its_label():
    page, marked = Tags(), cleaning.mark_spans(TEXT, SPANS, VERDICTS).html
    page.feed(marked)
    assert not re.search(r"<th[^>]*></th>", marked)  # a column without a name is not read aloud
    assert "Mail [ann@example.org]email, 是 [13800138000]phone." in page.text
    assert "✗ failsword count4at\u00a0least\u00a050" in page.text and "✓ passessymbol ratio0.00.1" in page.text


HOSTILE = "<script>alert(1)</script> </figure></div> \"&amp;' \x00\u202e\u200b\ud800 <img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    "mark",
    [
        lambda text: cleaning.mark_blocks([(text, True, text), (text, False, text)], title=text),
        lambda text: cleaning.mark_spans(text, [(0, 8, text)], [(text, text, text, False)], title=text),
        lambda text: cleaning.mark_bytes(b"", {text: text}, chosen=text, title=text),
        lambda text: cleaning.mark_bytes(b"", {text: None}),
    ],
)
def test_markup_of_a_reader_is_shown_and_not_obeyed(mark):
    target = mark(HOSTILE)
    assert shown(target)
    page = style.html(target, caption=target.alt)
    page.encode("utf-8")  # half a surrogate pair would stop a message to the browser
    assert "&lt;script&gt;" in page and not re.search("[\x00\u202e\u200b]", page)


@given(st.text(st.characters(exclude_categories=())))
@settings(max_examples=60)
def test_every_character_of_a_text_is_shown_as_itself_or_by_its_number(text):
    pieces = re.split(r"<span[^>]*>U\+([0-9A-F]{4,6})</span>", visible(text))
    assert "".join(chr(int(each, 16)) if i % 2 else html.unescape(each) for i, each in enumerate(pieces)) == text
    visible(text).encode("utf-8")
    spoken(text).encode("utf-8")


def test_a_text_of_any_length_makes_a_page_of_bounded_length():
    long = "x" * 3_000_000
    for target in (
        cleaning.mark_spans(long, [(0, 2_999_999, "url")]),
        cleaning.mark_blocks([(long, False, long)] * 2 + [("a", True, "")] * 5_000),
        cleaning.mark_bytes(long.encode(), {"utf-8": long}),
    ):
        assert len(target.html) < 120_000 and len(target.alt) < 2_500
    assert "2,994,000 more characters" in cleaning.mark_spans(long).html


def test_the_same_texts_give_the_same_page():
    assert all(DRAWN[name]().html == DRAWN[name]().html for name in DRAWN if name.startswith("mark_"))


WILD = ["", " ", "$a$ $", "a\nb", "猫が好き", "a\x00b", "x" * 90, r"$\frac{$"]
NOTHING = np.array([np.nan, np.inf, -np.inf])
CORNERS = {
    "no blocks": lambda: cleaning.mark_blocks([]),
    "empty blocks": lambda: cleaning.mark_blocks([("", True, ""), (" \n", False, "")]),
    "200 blocks": lambda: cleaning.mark_blocks([(word * 9, i % 2, word) for i, word in enumerate(WILD * 25)]),
    "no text": lambda: cleaning.mark_spans(""),
    "spans beside each other": lambda: cleaning.mark_spans("abc", [(0, 1, "x"), (1, 2, "y"), (2, 3, "")]),
    "verdicts of every type": lambda: cleaning.mark_spans(
        "a", [], [("a", np.float64("nan"), None, 1), ("b", np.int64(3), "", 0), ("c", True, 1e9, True)]
    ),
    "forty verdicts": lambda: cleaning.mark_spans(
        "a", [], [("top_2_gram", 0.5, "at least 1", i % 2) for i in range(40)]
    ),
    "a hundred spans": lambda: cleaning.mark_spans("a" * 200, [(2 * i, 2 * i + 1, f"k{i}") for i in range(100)]),
    "no bytes": lambda: cleaning.mark_bytes(b"", {}),
    "many bytes": lambda: cleaning.mark_bytes(bytes(range(256)), {"latin-1": bytes(range(256)).decode("latin-1")}),
    "no curve": lambda: cleaning.draw_s_curve([], [], 0.5),
    "a curve of NaN": lambda: cleaning.draw_s_curve([0, 1], [np.nan, np.nan], 0.5, [(np.nan, True)]),
    "a threshold at the end": lambda: cleaning.draw_s_curve(GRID, GRID, 1.0, [(1.0, False)] * 5, title="$"),
    "a threshold of nothing": lambda: cleaning.draw_s_curve(GRID[::-1], GRID[::-1], 0.0, [(0.0, True)]),
    "many pairs": lambda: cleaning.draw_s_curve(GRID, GRID, 0.5, [(i / 9999, i % 3 > 0) for i in range(9999)]),
    "no estimates": lambda: cleaning.draw_estimates([], [], 1),
    "estimates of NaN": lambda: cleaning.draw_estimates(NOTHING, NOTHING, 10),
    "a thousand estimates": lambda: cleaning.draw_estimates(np.linspace(0, 1, 1000), np.linspace(0, 1, 1000), 10),
    "no clusters": lambda: cleaning.draw_clusters([]),
    "one alone": lambda: cleaning.draw_clusters([1]),
    "a giant cluster": lambda: cleaning.draw_clusters([1] * 9000 + [2] * 40 + [5000, 0, np.nan]),
    "no steps": lambda: cleaning.draw_funnel([], []),
    "nothing left": lambda: cleaning.draw_funnel(["raw", "all"], [0, 0], [0, 0]),
    "more after than before": lambda: cleaning.draw_funnel(["raw", "split", "lost"], [5, 9, np.nan]),
    "steps of every name": lambda: cleaning.draw_funnel(WILD, range(8, 0, -1), [1] * 8, title="猫 $"),
    "no scores": lambda: cleaning.draw_scores({}),
    "scores of NaN": lambda: cleaning.draw_scores({"a": NOTHING, "b": (0.0, 0.0, 0.0)}, asked=0.99),
    "perfect scores": lambda: cleaning.draw_scores(dict.fromkeys(WILD, (1.0, 1.0, 1.0)), of="language"),
    "no statistics": lambda: cleaning.draw_statistics({}),
    "a statistic of nothing": lambda: cleaning.draw_statistics({"a": {}, "b": {"good": [], "bad": NOTHING}}),
    "limits far away": lambda: cleaning.draw_statistics(
        {"a": {"good": [1.0, 1.0]}, "b": {"x": [1e-9, 1e9]}, "c": {"x": [0]}},
        {"a": (-1e12, 1e12), "b": (0, 1), "c": (None, None)},
    ),
    "five statistics of 200": lambda: cleaning.draw_statistics(
        {f"{word}{i}": {word: np.arange(200.0) for word in WILD} for i, word in enumerate(WILD[:5])}, title="$"
    ),
    "no documents": lambda: cleaning.draw_perplexity({}),
    "bits of NaN": lambda: cleaning.draw_perplexity({"a": NOTHING, "$": [1.0, 1.0]}, (1.0, 1.0)),
    "cuts far away": lambda: cleaning.draw_perplexity({"a": [1.0]}, (50.0,), parts=("kept", "not")),
    "no languages": lambda: cleaning.draw_confusion([], []),
    "one language": lambda: cleaning.draw_confusion(["en"], [[0]]),
    "twenty languages": lambda: cleaning.draw_confusion([f"{i}" for i in range(20)], np.ones((20, 20)) * 1000),
    "other columns": lambda: cleaning.draw_confusion(
        ["en", "de"], [[1, 0, 2], [0, 0, np.nan]], ["en", "de", "unknown"]
    ),
    "no labels": lambda: cleaning.draw_balance([], [], [], even=True),
    "labels of every name": lambda: cleaning.draw_balance(WILD, [0] * 8, [np.nan, 1e6] * 4),
    "no runs": lambda: cleaning.draw_training({}),
    "runs of NaN": lambda: cleaning.draw_training({"a": (NOTHING, NOTHING), "$b": ([], [])}, floor=np.nan),
    "no costs": lambda: cleaning.draw_forecast({}),
    "costs of nothing": lambda: cleaning.draw_forecast({"a": 0, "b": {}, "c": {"x": np.nan, "$": -1.0}}),
    "bytes of every size": lambda: cleaning.draw_forecast({word: 10.0**i for i, word in enumerate(WILD)}, "bytes"),
    "no lengths": lambda: cleaning.draw_growth([], {"a": []}),
    "work of NaN": lambda: cleaning.draw_growth([1, 2, 3], {"a": NOTHING, "b": [0, 0, 0], "$": [1, 1, 1]}),
    "one length": lambda: cleaning.draw_growth([5], {"a": [1]}),
}


@pytest.mark.parametrize("name", CORNERS)
def test_what_sliders_can_reach_draws_without_a_warning(name):
    target = CORNERS[name]()
    assert style.alt_of(target) and shown(target)


REFUSED = {
    "a span outside": (lambda: cleaning.mark_spans("abc", [(1, 4, "x")]), "not inside a text of 3 characters"),
    "an empty span": (lambda: cleaning.mark_spans("abc", [(1, 1, "x")]), "not inside"),
    "spans that overlap": (lambda: cleaning.mark_spans("abc", [(0, 2, "x"), (1, 3, "y")]), "overlaps the one before"),
    "an unknown choice": (lambda: cleaning.mark_bytes(b"", {"a": ""}, chosen="b"), "no decoding is called 'b'"),
    "a probability too few": (lambda: cleaning.draw_s_curve([0, 1], [0], 0.5), "2 similarity, 1 probability"),
    "another curve too short": (lambda: cleaning.draw_s_curve([0], [0], 0.5, (), {"b": []}), "1 similarity, 0 others"),
    "an estimate too few": (lambda: cleaning.draw_estimates([0.5], [], 9), "1 exact, 0 estimated"),
    "no hash": (lambda: cleaning.draw_estimates([], [], 0), "hashes = 0"),
    "a step too few": (lambda: cleaning.draw_funnel(["a"], [2, 1]), "1 steps, 2 kept"),
    "two scores": (lambda: cleaning.draw_scores({"a": (1, 1)}), "a has 2 numbers"),
    "a cut without a part": (lambda: cleaning.draw_perplexity({}, (1,)), "3 parts head, middle, tail"),
    "cuts that fall": (lambda: cleaning.draw_perplexity({}, (2, 1)), "do not rise"),
    "a row too few": (lambda: cleaning.draw_confusion(["a", "b"], [[1, 2]]), r"shape \(1, 2\); give 2 rows"),
    "a label too few": (lambda: cleaning.draw_balance(["a"], [1, 2], [1]), "1 labels, 2 before, 1 after"),
    "a token too few": (lambda: cleaning.draw_training({"a": ([1], [1, 2])}), "1 tokens, 2 bits"),
    "a length too few": (lambda: cleaning.draw_growth([1], {"a": [1, 2]}), "1 lengths, 2 work"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_do_not_fit_are_refused(name):
    draw, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        draw()
