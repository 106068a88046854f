"""Each statistic against a text small enough to count, and all of them together against each alone."""

import time
from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning import quality
from labkit.cleaning.c4_rules import C4, c4
from labkit.cleaning.quality import Statistics, sentences, split_words, statistics

TEXT = "The cat - and 3 dogs ...\n• sat, # with us…\n\n- A line.\nA line."
TOKENS = ["the", "Dog,", "…", "#1", "3", "-", "...", "ÿ", "的", "don't", "²", "'tis"]


def test_words_worked_by_hand():
    words = TEXT.split()
    assert len(words) == 17
    assert quality.punctuation(TEXT) == ["-", "...", "•", "#", "-"]
    assert quality.word_count(TEXT) == 12
    # The cat and 3 dogs sat, with us… A line. A line.: 3 + 3 + 3 + 1 + 4 + 4 + 4 + 3 + 1 + 5 + 1 + 5
    assert quality.mean_word_length(TEXT) == 37 / 12
    assert quality.without_letters(TEXT) == ["-", "3", "...", "•", "#", "-"]
    assert quality.alphabetic_words(TEXT) == 11 / 17
    assert quality.stop_words(TEXT) == 2  # "and" and "with"; "The" has a capital
    assert quality.stop_words(TEXT.lower()) == 3


def test_symbols_and_lines_worked_by_hand():
    assert quality.hash_ratio(TEXT) == 1 / 17
    assert quality.ellipsis_ratio(TEXT) == 2 / 17
    assert quality.bullet_lines(TEXT) == 2 / 5
    assert quality.ellipsis_lines(TEXT) == 2 / 5
    assert quality.bullet_lines("* one\ntwo", bullets=("*",)) == 1 / 2


def test_what_c4_looks_at_worked_by_hand():
    page = "Please enable JavaScript.\nLorem ipsum dolor\nif (x) { y; }\n\n“He left.”"
    assert quality.javascript_lines(page) == 1 / 5
    assert quality.lorem_ipsum(page) == 1
    assert quality.curly_braces(page) == 2
    assert quality.terminal_punctuation(page) == 1 / 4
    assert quality.terminal_punctuation(page, quality.CHINESE_TERMINAL) == 2 / 4


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("   \n", 0),
        ("No end", 1),
        ("One. Two! Three?", 3),
        ("Wait... what?!", 2),
        ('She said "no." Then (he said) nothing', 2),
        ("Version 3.11.2 is out.", 1),
        ("他来了。“他走了！”真的？", 3),
    ],
)
def test_sentences_are_counted_by_their_ends(text, count):
    assert sentences(text) == count


def test_chinese_words_are_characters_and_latin_runs_stay_together():
    assert split_words("用GPT 4写 诗。", "zh") == ["用", "GPT", "4", "写", "诗", "。"]
    counted = statistics("用GPT写诗。用GPT写诗。", "zh")
    assert counted.word_count == 8 and counted.alphabetic_words == 0.8
    assert counted.terminal_punctuation == 1 and counted.sentences == 2


def test_words_of_a_tokenizer_are_counted_instead():
    assert statistics("我们喜欢语言模型", "zh", words=["我们", "喜欢", "语言", "模型"]).word_count == 4


@settings(max_examples=60)
@given(st.lists(st.sampled_from(TOKENS), max_size=30))
def test_all_statistics_at_once_equal_each_by_itself(words):
    text = " ".join(words)
    together = statistics(text)
    for name in ("word_count", "mean_word_length", "alphabetic_words", "stop_words"):
        assert getattr(together, name) == pytest.approx(getattr(quality, name)(text)), name
    for name in ("hash_ratio", "ellipsis_ratio", "bullet_lines", "ellipsis_lines", "terminal_punctuation"):
        assert getattr(together, name) == getattr(quality, name)(text), name
    for name in ("sentences", "curly_braces", "javascript_lines", "lorem_ipsum"):
        assert getattr(together, name) == getattr(quality, name)(text), name


def test_every_statistic_has_a_measure_and_an_empty_text_has_all_of_them_zero():
    assert set(quality.MEASURES) == {field.name for field in fields(Statistics)}
    for language in ("en", "zh"):
        assert set(asdict(statistics("", language)).values()) == {0}


@pytest.mark.parametrize("text", [b"bytes", None, 3, ["a", "list"]])
def test_what_is_no_text_is_refused(text):
    with pytest.raises(ValueError, match="a text is a string, not"):
        statistics(text)
    with pytest.raises(ValueError, match="a text is a string, not"):
        statistics(text, words=["one"])


def test_words_that_are_empty_strings_do_not_stop_it():
    assert quality.word_count(["", "one"]) == 1
    assert quality.alphabetic_words(["", "one"]) == 0.5


EVERYTHING_COUNTED = replace(C4, curly_braces=False, terminal=(), word_length=None)  # no rule stops early
HOSTILE = {
    "citations": "[1",
    "ends": ".",
    "ends and quotes": '."',
    "quotes": "\"'",
    "chinese quotes": "。”",
    "spaces": " ",
    "line ends": "\n",
    "line ends and spaces": "\n ",
    "braces": "{",
    "one letter": "a",
    "one word": "a ",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_eight_times_the_hostile_text_is_about_eight_times_the_work(piece):
    def seconds(copies):
        text, times = piece * copies, []
        for _ in range(2):
            begin = time.process_time()
            statistics(text), statistics(text, "zh"), c4(text, EVERYTHING_COUNTED)
            times.append(time.process_time() - begin)
        return min(times)

    short, long = seconds(1_500), seconds(12_000)
    assert long <= 8 * 4 * short + 0.003  # quadratic work would be 64 times as much
