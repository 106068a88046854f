"""C4's rules line by line, against datatrove and a plain reading of the code that made C4; the paper's page rules."""

import random
import re
from dataclasses import replace

import pytest

from labkit import corpora
from labkit.cleaning.c4_rules import C4, C4_DATATROVE, C4_ZH, POLICY, c4
from labkit.cleaning.quality import sentences

FOUR = "This line is one sentence. This is another one here.\nHere stands a third sentence. And here is the fourth!"


def test_a_page_of_sentences_is_kept_word_for_word():
    page = c4(FOUR)
    assert (page.text, page.verdict.kept, page.cut) == (FOUR, True, {})


def test_each_rule_for_lines_cuts_its_line_and_is_counted():
    page = c4(
        "\n".join(
            [
                "Home | About | Contact",
                FOUR,
                "Too short a.",
                "Read the rest of this story...",
                "Please enable Javascript to see this page.",
                "By staying you accept our use of cookies here.",
                "x" * 1001 + " is a word that is too long.",
            ]
        )
    )
    assert page.text == FOUR
    assert page.cut == {"terminal_punctuation": 2, "words_in_line": 1, "javascript": 1, "policy": 1, "word_length": 1}


def test_citations_are_taken_out_of_a_line():
    line = "This was shown in a study.[12] It was repeated later on.[citation needed] Nobody[edit] knows why.[]"
    assert c4(line).text == "This was shown in a study. It was repeated later on. Nobody knows why."
    assert c4(line, replace(C4, citations=False)).cut == {"terminal_punctuation": 1}


@pytest.mark.parametrize(
    ("text", "rule", "value"),
    [
        (FOUR + "\nLorem ipsum dolor sit amet", "lorem_ipsum", 1),
        (FOUR + "\nif (x) { y; }", "curly_braces", 1),
        ("This page has only one sentence here.", "sentences", 1),
        ("", "sentences", 0),
    ],
)
def test_each_rule_for_pages_removes_the_page_and_is_named(text, rule, value):
    page = c4(text)
    assert (page.text, page.verdict.kept, page.verdict.rule, page.verdict.value) == ("", False, rule, value)


def test_a_bracket_in_a_line_that_is_cut_removes_the_page_by_the_paper_but_not_by_the_code_of_c4():
    page = FOUR + "\nif (x) { y; }"
    assert c4(page).verdict.rule == "curly_braces"
    assert c4(page, replace(C4, whole_page=False)).text == FOUR
    assert c4(FOUR + "\nHe wrote { and } around it.", replace(C4, whole_page=False)).verdict.rule == "curly_braces"


def test_banned_words_are_whole_words_and_yours_to_give():
    rules = replace(C4, banned=("sex",))
    assert c4(FOUR + "\nThe county of Essex is in England.", rules).verdict.kept
    assert c4(FOUR + "\nThe sex of a turtle depends on warmth.", rules).verdict.rule == "banned"


def test_rules_can_be_left_out():
    everything_off = replace(
        C4, sentences=None, words_in_line=None, word_length=None, terminal=(), policy=(), citations=False
    )
    everything_off = replace(everything_off, javascript=False, lorem_ipsum=False, curly_braces=False)
    text = "{ lorem ipsum\njavascript cookie policy [1] " + "x" * 2000
    assert c4(text, everything_off).text == text


def test_chinese_sentences_end_otherwise():
    text = "话说天下大势，分久必合，合久必分。周末七国分争，并入于秦。\n及秦灭之后，楚、汉分争，又并入于汉。"
    assert c4(text).verdict.rule == "sentences"
    assert c4(text, C4_ZH, "zh").text == text
    assert c4("首页 关于我们\n" + text, C4_ZH, "zh").text == text


def plain(text):
    """The code that made C4, in datatrove's version, written down plainly: the reason and what is left."""
    kept, count = [], 0
    for line in map(str.strip, text.splitlines()):
        words = line.split()
        line = re.sub(r"\[\d*\]|\[edit\]|\[citation needed\]", "", line)
        lower = line.lower()
        too_long = any(len(word) > 1000 for word in words)
        if too_long or not line.endswith((".", "?", "!", '"', "'")) or line.endswith("...") or len(words) < 3:
            continue
        if "lorem ipsum" in lower:
            return "lorem_ipsum", ""
        if "javascript" in lower:
            continue
        if "{" in line:
            return "curly_braces", ""
        if any(phrase in lower for phrase in POLICY):
            continue
        kept.append(line)
        count += sentences(line)
    return ("sentences", "") if count < 5 else ("", "\n".join(kept).strip())


SPICES = [
    "Menu",
    "{",
    "a { b.",
    "Use Javascript.",
    "We use cookies here.",
    "Lorem ipsum is here.",
    "See [1].",
    "Wait...",
]
REASONS = {"too_few_sentences": "sentences", "lorem_ipsum": "lorem_ipsum", "curly_bracket": "curly_braces"}


@pytest.fixture(scope="module")
def texts():
    draw = random.Random(3)
    words = corpora.ENGLISH.sample(300, seed=3)
    lines = [" ".join(line) + draw.choice([".", "!", "", '"', "[3].", "..."]) for line in words]
    return ["\n".join(a_page(draw, lines)) for _ in range(800)]


def a_page(draw, lines):
    page = draw.choices(lines, k=draw.randint(3, 14)) + draw.choices(SPICES, k=draw.choice([0, 0, 1, 3]))
    draw.shuffle(page)
    return page


def test_verdicts_and_texts_equal_a_plain_reading_of_the_code(texts):
    found = [c4(text, C4_DATATROVE) for text in texts]
    assert [(page.verdict.rule, page.text) for page in found] == [plain(text) for text in texts]
    assert {page.verdict.rule for page in found} == {"", "sentences", "lorem_ipsum", "curly_braces"}


def test_verdicts_and_texts_equal_those_of_datatrove(texts, monkeypatch):
    filters = pytest.importorskip("datatrove.pipeline.filters.c4_filters")
    monkeypatch.setattr(filters, "split_into_sentences", lambda line, language: ["one"] * sentences(line))
    theirs = filters.C4QualityFilter()
    for text in texts:
        document, page = filters.Document(text=text, id=""), c4(text, C4_DATATROVE)
        verdict = theirs.filter(document)
        assert page.verdict.rule == ("" if verdict is True else REASONS[verdict[1]]), text
        assert not page.verdict.kept or page.text == document.text


def test_what_is_no_text_is_refused():
    with pytest.raises(ValueError, match="a text is a string, not bytes"):
        c4(b"bytes")


@pytest.mark.parametrize(
    ("banned", "text", "found"),
    [
        (("Bad",), "This is a BAD line of a page.", 1),
        (("bad line",), "This is a bad line of a page.", 1),
        ("bad", "This is a bad line of a page.", 1),
        (("脏话",), "这里有一句脏话在中间。", 1),
        (("ad", "lin", "line of"), "This is a bad line of a page.", 1),
        (("ad", "lin"), "This is a bad line of a page.", None),
    ],
)
def test_banned_words_may_have_capitals_be_phrases_or_stand_in_chinese(banned, text, found):
    verdict = c4(text, replace(C4, banned=banned, sentences=None, terminal=())).verdict
    assert (verdict.value, verdict.kept) == (found, found is None)
