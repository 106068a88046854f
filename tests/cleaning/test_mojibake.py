"""Mojibake: by hand, as ftfy repairs it, and what the cheap pattern must never miss."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning.mojibake import SETTINGS, Misread, Repaired, misread_as, repair, suspicious, to_bytes
from labkit.corpora.crawl.encodings import damaged, mojibake

ftfy = pytest.importorskip("ftfy")
TEXTS = (
    "The café “Zum Löwen” – naïve, isn’t it?",
    "Größe & Maß: 5 € für alle…",
    "Он читает книгу.",
    "你好，世界。这是书。",
)
CHARACTERS = "".join(ftfy.badness.MOJIBAKE_CATEGORIES.values()).replace("-", "") + "aZ .-ÂÃàœŒ×вЂВГўØÙ\x81\xad"


def test_undoing_is_writing_what_was_read_and_reading_what_was_written():
    assert misread_as("cafÃ©") == Misread("utf-8", "cp1252", "café")
    assert misread_as("浣犲ソ锛屼笘鐣屻") is None  # a byte is missing
    assert misread_as("ÄãºÃ£¬ÊÀ½ç¡£") == Misread("gb18030", "cp1252", "你好，世界。")
    assert misread_as("浣犲ソ") == Misread("utf-8", "gb18030", "你好")


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_is_right_stays(text):
    assert misread_as(text) is None and repair(text).text == text


@pytest.mark.parametrize("text", [*TEXTS[:2], TEXTS[3]])
@pytest.mark.parametrize("read", ["cp1252", "latin-1"])
def test_an_accident_is_explained_and_repaired(text, read):
    broken = mojibake(text, read=read)
    assert misread_as(broken).text == text == repair(broken).text


def test_every_byte_has_a_character_in_cp1252_as_in_browsers():
    everything = bytes(range(256))
    assert to_bytes(mojibake(everything.decode("latin-1"), written="latin-1"), "cp1252") == everything


def test_ftfy_gives_the_same_on_a_damaged_page():
    page = [d.text for d in damaged([t * (i % 3 + 1) for i in range(40) for t in TEXTS], share=0.5, seed=1)]
    for text in ("\n".join(page), "&eacute;\n<b>&eacute;\nÃ©\n", "\r\nÃ©\r", "Ã©", "&lt;\nx<y &amp;\n&amp;"):
        assert repair(text, chinese=False).text == ftfy.fix_text(text, **SETTINGS)


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from(CHARACTERS), max_size=8))
def test_the_gate_lets_everything_through_that_ftfy_calls_bad(line):
    assert suspicious(line) or not ftfy.is_bad(line)


def test_no_pair_of_characters_that_ftfy_calls_bad_slips_through_the_gate():
    characters = sorted(set(CHARACTERS))
    lines = (f"{a}{b} {a}" for a in characters for b in characters)
    assert [line for line in lines if not suspicious(line) and ftfy.is_bad(line)] == []


@settings(max_examples=80, deadline=None)
@given(st.text(st.sampled_from(CHARACTERS + "\n\n&;<é"), max_size=30))
def test_any_text_is_repaired_as_ftfy_does(text):
    assert repair(text, chinese=False).text == ftfy.fix_text(text, **SETTINGS)


def test_utf_8_read_as_gbk_comes_back_but_for_lost_bytes():
    text = "话说天下大势，分久必合，合久必分。周末七国分争，并入于秦。"
    found = repair(mojibake(text, read="gbk")).text
    assert sum(a == b for a, b in zip(found, text, strict=False)) >= 0.8 * len(text)


def test_only_lines_that_could_need_it_are_looked_at():
    assert repair("one\ncafÃ©\ncafé\n“two” – 三。\n") == Repaired("one\ncafé\ncafé\n“two” – 三。\n", 4, 1, 1)


@pytest.mark.parametrize("line", ["Ã", "â€", "&amp", "&#", "“”", "锛", "ÃÂ é", "в", "\ufffd"])
def test_hostile_lines_cost_in_proportion_to_their_length(line):
    def seconds(times):
        begin = time.process_time()
        for _ in range(4):
            suspicious(line * times)
            misread_as(line * times)
        return time.process_time() - begin

    seconds(1_000)
    assert seconds(32_000) <= 8 * 4 * seconds(4_000) + 0.05


def test_a_text_above_the_limit_is_refused():
    with pytest.raises(ValueError, match="this text has 12 characters, more than the limit of 10"):
        repair("x" * 12, limit=10)
