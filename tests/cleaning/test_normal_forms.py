"""Normal forms: the standard's own examples, Python's tables, and characters that nobody sees."""

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning.normal_forms import clean_characters, decompose, lost

HARD = st.text(st.sampled_from("aé ǭ각힣ﬁ½ẛ̣Å\u0323\u0307\u0301\u0345가각中Ａ"), max_size=12)


# Unicode Standard Annex 15, figures 3 to 6: the source, then NFD, NFC, NFKD, NFKC of it.
STANDARD = [
    ("\u212b", "A\u030a", "\u00c5", "A\u030a", "\u00c5"),
    ("\u2126", "\u03a9", "\u03a9", "\u03a9", "\u03a9"),
    ("\u1e69", "s\u0323\u0307", "\u1e69", "s\u0323\u0307", "\u1e69"),
    ("\u1e0b\u0323", "d\u0323\u0307", "\u1e0d\u0307", "d\u0323\u0307", "\u1e0d\u0307"),
    ("q\u0307\u0323", "q\u0323\u0307", "q\u0323\u0307", "q\u0323\u0307", "q\u0323\u0307"),
    ("\ufb01", "\ufb01", "\ufb01", "fi", "fi"),
    ("2\u2075", "2\u2075", "2\u2075", "25", "25"),
    ("\u1e9b\u0323", "\u017f\u0323\u0307", "\u1e9b\u0323", "s\u0323\u0307", "\u1e69"),
]


@pytest.mark.parametrize(("source", "nfd", "nfc", "nfkd", "nfkc"), STANDARD)
def test_examples_of_the_standard(source, nfd, nfc, nfkd, nfkc):
    found = [clean_characters(source, form).text for form in ("NFD", "NFC", "NFKD", "NFKC")]
    assert found == [nfd, nfc, nfkd, nfkc] and decompose(source) == nfd


@settings(max_examples=60, deadline=None)
@given(st.one_of(HARD, st.text(max_size=20)))
def test_our_decomposition_is_pythons(text):
    assert decompose(text) == unicodedata.normalize("NFD", text)


def test_every_assigned_character_decomposes_as_in_pythons_table():
    characters = [chr(n) for n in [*range(0x3000), *range(0xF900, 0x10000), *range(0xAC00, 0xD7B0, 97)]]
    assert [c for c in characters if decompose(c) != unicodedata.normalize("NFD", c)] == []


def test_what_nobody_sees_is_removed_and_counted_by_group():
    dirty = "\ufeffa\0b\r\nc\rd\u2028e\u200bf\xadg\u202eh\xa0i\ud800"
    clean = clean_characters(dirty)
    assert clean.text == "ab\nc\nd\nefgh i\ufffd"
    assert clean.removed == {
        **{"line ends": 3, "control": 1, "byte order mark": 1, "soft hyphen": 1},
        **{"bidi": 1, "zero width": 1, "surrogate": 1, "space": 1},
    }


@pytest.mark.parametrize("text", ["👩\u200d👧", "می\u200cخواهم", "क\u094d\u200dष", "a\tb\n", "中文，。", "①②"])
def test_what_carries_meaning_stays(text):
    assert clean_characters(text, None).text == text and clean_characters(text, None).removed == {}


def test_a_joiner_after_latin_or_chinese_goes():
    assert clean_characters("co\u200dop 中\u200d文").text == "coop 中文"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30))
def test_cleaning_twice_changes_nothing_more(text):
    once = clean_characters(text)
    again = clean_characters(once.text)
    assert again.text == once.text and again.removed == {}


def test_compatibility_forms_lose_what_they_exchange():
    assert lost("½ ﬁ é x² ") == {"½": "1⁄2", "ﬁ": "fi", "²": "2"}
    assert lost("é", "NFKD") == {}


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="'nfc' is no Unicode normal form; choose one of NFC"):
        clean_characters("a", "nfc")


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_thousands_of_marks_on_one_letter_are_put_in_order_in_time_that_grows_with_their_number(form):
    def seconds(pairs):
        text = "é" + "\u0300\u0316" * pairs + "ﬁ"
        begin = time.process_time()
        result = clean_characters(text, form).text
        spent = time.process_time() - begin
        return spent, result

    assert seconds(300)[1] == unicodedata.normalize(form, "é" + "\u0300\u0316" * 300 + "ﬁ")
    assert seconds(40_000)[0] < 32 * max(seconds(5_000)[0], 1e-3)
