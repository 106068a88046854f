"""Gopher's verdicts: the first broken rule by name, equal to datatrove's and to a plain reading, limits moved."""

import random
from dataclasses import fields, replace

import pytest

from labkit import corpora
from labkit.cleaning.gopher_rules import (
    GOPHER,
    GOPHER_ZH,
    QUALITY,
    REPETITION,
    GopherRules,
    Verdict,
    broken,
    checklist,
    gopher,
)
from labkit.cleaning.quality import MEASURES, MORE_BULLETS, Page
from labkit.corpora.crawl import junk
from tests.cleaning.plain_counting import gopher_quality, gopher_repetition

# Our names -> datatrove's: the first eight have two sides each.
REASONS = {
    "gopher_short_doc": "word_count",
    "gopher_long_doc": "word_count",
    "gopher_below_avg_threshold": "mean_word_length",
    "gopher_above_avg_threshold": "mean_word_length",
    "gopher_too_many_hashes": "hash_ratio",
    "gopher_too_many_ellipsis": "ellipsis_ratio",
    "gopher_too_many_bullets": "bullet_lines",
    "gopher_too_many_end_ellipsis": "ellipsis_lines",
    "gopher_below_alpha_threshold": "alphabetic_words",
    "gopher_enough_stop_words": "stop_words",
    "dup_para_frac": "duplicate_paragraphs",
    "dup_para_char_frac": "duplicate_paragraph_characters",
    "dup_line_frac": "duplicate_lines",
    "dup_line_char_frac": "duplicate_line_characters",
    **{f"top_{n}_gram": f"top_{n}_gram" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"duplicate_{n}_grams" for n in range(5, 11)},
}


ORNAMENTS = ["- ", "• ", "# ", "...", "…", "1 2 3", "the with", "buy now today"]


class NoLetterOrDigit:
    """All characters that make no word."""

    def __contains__(self, character):
        return not character.isalnum()


def spoiled(draw, sentences):
    """A text that comes near a limit, from either side: some sentences, some of them again, and some ornaments."""
    some = draw.choices(sentences, k=draw.randint(1, 12))
    again = [draw.choice(some) for _ in range(draw.choice([0, 0, 1, 3]))]
    ornaments = draw.choices(ORNAMENTS, k=draw.choice([0, 2, 9]))
    pieces = some + again + ornaments
    draw.shuffle(pieces)
    return draw.choice([" ", "\n", "\n\n", "\n- "]).join(pieces) + draw.choice(["", "\n", " end..."])


@pytest.fixture(scope="module")
def texts():
    draw = random.Random(5)
    sentences = [" ".join(words) for words in corpora.ENGLISH.sample(400, seed=5)]
    return [spoiled(draw, sentences) for _ in range(700)] + [text for text, _ in junk(120, seed=5)]


def first_rule(text, rules):
    return gopher(text, only=rules).rule


def test_the_verdicts_and_the_rules_named_equal_a_plain_reading_of_the_paper(texts):
    named = [(first_rule(text, QUALITY), first_rule(text, REPETITION)) for text in texts]
    assert named == [(gopher_quality(text), gopher_repetition(text)) for text in texts]
    rules = {rule for pair in named for rule in pair}
    assert len(rules) >= 16, f"these texts break too few rules: {sorted(rules)}"


def test_the_verdicts_and_the_rules_named_equal_those_of_datatrove(texts, monkeypatch):
    quality = pytest.importorskip("datatrove.pipeline.filters.gopher_quality_filter")
    repetition = pytest.importorskip("datatrove.pipeline.filters.gopher_repetition_filter")
    for module in (quality, repetition):  # the same words for both; its own come from spaCy
        monkeypatch.setattr(module, "split_into_words", lambda text, language: text.split())
    monkeypatch.setattr(quality, "PUNCTUATION_SET", NoLetterOrDigit())  # its list lacks "•", which it takes for a word
    filters = quality.GopherQualityFilter(), repetition.GopherRepetitionFilter()
    for text in texts:
        document = quality.Document(text=text, id="")
        for theirs, rules in zip(filters, (QUALITY, REPETITION), strict=True):
            verdict = theirs.filter(document)
            assert first_rule(text, rules) == ("" if verdict is True else REASONS[verdict[1]]), text


def test_a_verdict_names_rule_value_and_limit():
    verdict = gopher("one two three")
    assert verdict == Verdict(False, "word_count", 3, 50, "at least")
    assert str(verdict) == "removed by word_count: 3, at least 50 wanted"
    assert str(gopher("three words and that", replace(GOPHER, word_count=None), only=QUALITY)) == "kept"


def test_only_the_first_of_several_broken_rules_is_named_and_all_can_be_asked_for():
    text = "# ... # ..."
    assert gopher(text).rule == "word_count"
    first_four = ["word_count", "mean_word_length", "hash_ratio", "ellipsis_ratio"]
    assert [verdict.rule for verdict in broken(text)][:4] == first_four
    assert broken(text)[0] == gopher(text)


def test_the_checklist_asks_every_rule_with_a_limit_and_agrees_with_the_verdicts():
    text = "# ... # ..."
    asked = checklist(text, replace(GOPHER, stop_words=None))
    assert [row.rule for row in asked] == [rule for rule in QUALITY + REPETITION if rule != "stop_words"]
    assert asked[0] == ("word_count", 0, "at least 50, at most 100,000", False)
    assert [row.rule for row in asked if not row.passed] == [v.rule for v in broken(text) if v.rule != "stop_words"]


def test_a_value_at_the_limit_is_kept():
    fifty = " ".join(f"word{i}" for i in range(48)) + " the of"
    assert gopher(fifty).kept
    assert gopher(fifty.removesuffix(" of")).rule == "word_count"
    assert gopher(fifty, replace(GOPHER, word_count=(None, 49))).limit == 49


def test_each_limit_can_be_moved_or_left_out():
    text = " ".join(f"word{i}" for i in range(60)) + " the of"
    for field in fields(GopherRules):
        value = MEASURES[field.name](Page(text))
        narrow = replace(GOPHER, **{field.name: (value + 1, None)})
        assert gopher(text, narrow, only=[field.name]) == Verdict(False, field.name, value, value + 1, "at least")
        assert gopher(text, replace(narrow, **{field.name: None})).kept
        assert gopher(text, replace(narrow, **{field.name: (None, None)})).kept


def test_chinese_rules_keep_chinese_that_the_english_ones_remove():
    text = "诸葛亮在城上焚香操琴，笑容可掬；城门大开，二十余军士洒扫街道，旁若无人。司马懿看了，大疑，便教后军作前军。"
    assert gopher(text).rule == "word_count"  # one token without a space
    assert [verdict.rule for verdict in broken(text, GOPHER_ZH, "zh")] == ["word_count"]
    text += "他不是有这一个在。"
    assert gopher(text, language="zh").rule == "mean_word_length"  # each character is a word of length 1
    assert gopher(text, GOPHER_ZH, "zh").kept


def test_other_bullets_can_be_named():
    text = "\n".join(f"* the present list holds entry {i} and nothing that follows" for i in range(20))
    assert gopher(text, only=QUALITY).kept
    assert gopher(text, only=QUALITY, bullets=MORE_BULLETS).rule == "bullet_lines"


def test_an_unknown_rule_and_what_is_no_text_are_refused():
    with pytest.raises(ValueError, match="no rule 'length' among Gopher's; the rules are word_count, mean_word_length"):
        gopher("a", only=["length"])
    with pytest.raises(ValueError, match="a text is a string, not bytes"):
        gopher(b"a")


@pytest.mark.parametrize("limits", [50, (1, 2, 3), ("50", None), (100, 50), "no"])
def test_limits_that_are_no_pair_are_refused_by_the_name_of_their_rule(limits):
    with pytest.raises(ValueError, match=r"word_count=.* no pair of limits: give"):
        replace(GOPHER, word_count=limits)
