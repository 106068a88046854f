"""Bytes become text: marks, labels right and wrong, and encodings that nobody declared."""

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning.decoding import Decoded, binary, codec, decode, guess, plausibility
from labkit.corpora.extras import need

SAMPLES = {
    "cp1252": "Le café était fermé à midi, où l’on mangeait très bien — 5 €.",
    "gb18030": "话说天下大势，分久必合，合久必分。周末七国分争，并入于秦。",
    "big5hkscs": "話說天下大勢，分久必合，合久必分。周末七國分爭，並入於秦。",
    "shift_jis": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "euc_jp": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "euc_kr": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "cp1251": "Все люди рождаются свободными и равными в своем достоинстве.",
    "koi8-r": "Все люди рождаются свободными и равными в своем достоинстве.",
    "cp1250": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
    "cp1253": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια",
    "cp1254": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.",
    "cp1256": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق",
}


@pytest.mark.parametrize("encoding", SAMPLES)
@pytest.mark.parametrize("declared", [None, "utf-8", "iso-8859-1"])
def test_old_encodings_are_recognised_in_spite_of_the_label(encoding, declared):
    raw = SAMPLES[encoding].encode(encoding)
    assert decode(raw, declared).text == SAMPLES[encoding]


@pytest.mark.parametrize("encoding", SAMPLES)
def test_a_true_label_is_taken(encoding):
    found = decode(SAMPLES[encoding].encode(encoding), encoding)
    assert (found.text, found.encoding, found.source) == (SAMPLES[encoding], encoding, "declared")


def test_a_byte_order_mark_comes_before_every_label():
    assert decode(codecs.BOM_UTF8 + b"a", "gbk") == Decoded("a", "utf-8", "bom", 0)
    assert decode("中a".encode("utf-16"), "utf-8") == Decoded("中a", "utf-16-le", "bom", 0)


def test_valid_utf_8_overrules_a_wrong_label():
    assert decode("naïve 中文".encode(), "iso-8859-1") == Decoded("naïve 中文", "utf-8", "utf-8", 0)


@pytest.mark.parametrize("head", [b"<meta charset=gb2312>", b"<?xml version='1.0' encoding='GBK'?>"])
def test_a_page_may_say_it_itself(head):
    found = decode(head + SAMPLES["gb18030"].encode("gb18030"))
    assert (found.encoding, found.source) == ("gb18030", "meta")


def test_some_broken_bytes_in_utf_8_are_counted_and_the_rest_is_read():
    raw = ("学习" * 30).encode() + b"\xff\xfe" + ("语言" * 30).encode()
    assert decode(raw, "utf-8") == Decoded("学习" * 30 + "\ufffd\ufffd" + "语言" * 30, "utf-8", "declared", 2)


def test_labels_mean_what_browsers_make_of_them():
    pairs = {"latin-1": "cp1252", "ASCII": "cp1252", "GB2312": "gb18030", " utf8 ": "utf-8", "big5": "big5hkscs"}
    assert {label: codec(label) for label in pairs} == pairs
    assert [codec(label) for label in ("", "x-unknown", "rot13", "zip", "idna", "\0")] == [None] * 6


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([None, "utf-8", "gbk", "nonsense", "utf-16", "shift_jis"]))
def test_no_bytes_stop_it(raw, declared):
    assert isinstance(decode(raw, declared).text, str)


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_utf_8_comes_back_whole(text):
    raw = text.encode()
    assert decode(raw).text == text.removeprefix("\ufeff") or raw[:2] in (b"\xff\xfe", b"\xfe\xff")


def test_plausible_text_scores_above_the_same_bytes_misread():
    assert plausibility("plain") == plausibility("café") == 1.0
    assert plausibility("中文的书") > 0.7 > plausibility("中文的书".encode("gb18030").decode("latin-1")) + 0.5
    assert [score for _, score in guess(b"abc")] == [1.0] * 14


def test_files_that_are_no_text_are_named():
    assert binary(b"PK\x03\x04...") == "a zip archive" and binary(bytes(range(32)) * 9) == "84% control bytes"
    assert [binary(raw) for raw in (b"", b"text\n", "中".encode("gbk"), "Grüße".encode("utf-16"))] == [""] * 4


def test_a_document_above_the_limit_is_refused_with_both_sizes():
    with pytest.raises(ValueError, match=r"11 bytes, more than the limit of 10.*quarantine"):
        decode(b"x" * 11, limit=10)


def test_a_missing_package_is_named_with_the_command_that_brings_it():
    with pytest.raises(ModuleNotFoundError, match=r"needed to fly.*pip install nowhere .*llm-labkit\[scale\]"):
        need("nowhere.inside", extra="scale", why="to fly")


@pytest.mark.parametrize("label", ["undefined", "unicode_escape", "raw_unicode_escape", "utf-7", "mbcs", "charmap"])
def test_codecs_that_no_browser_has_are_no_encoding_of_a_page(label):
    assert codec(label) is None
    assert decode(b"caf\xe9 +AOk-", label).text == "café +AOk-"


def test_labels_that_nobody_knows_do_not_fill_the_memory():
    for number in range(5000):
        codec(f"label-{number}")
    assert codec.cache_info().currsize <= 4096
