"""Shingles: the fast hashes are those of the readable functions, and near misses of equality are decided on purpose."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning import shingles as module
from labkit.cleaning.shingles import (
    Shingling,
    hash_shingles,
    jaccard,
    shingle_hash,
    shingle_hashes,
    shingles,
    units,
)

SETTINGS = [
    Shingling(),
    Shingling(size=1),
    Shingling(size=3, unit="character"),
    Shingling(size=2, keep_case=True, keep_punctuation=True),
]
ODD = [
    "",
    " \n",
    "a",
    "A b",
    "，。！",
    "三国演义abc第一回",
    "straße İ ﬁ\ud800x",
    "𠀀𠀁 \U000e0100",
    "ก็ไทย",
    "a-b_c don't",
    "é e\u0301",
]


def readable(text, how):
    return {shingle_hash(shingle) for shingle in shingles(text, how)}


def test_four_words_have_two_shingles_of_three():
    assert shingles("To be, or NOT", Shingling(size=3)) == {("to", "be", "or"), ("be", "or", "not")}
    assert len(shingle_hashes("To be, or NOT", size=3)) == 2


def test_the_hash_of_a_word_by_hand():
    number = ord("a") + ord("b") * module.BASE
    word = ((number % 2**64) ^ (number % 2**64) >> 32) * module.MIXER % 2**64
    assert shingle_hash(["ab"]) == (word ^ word >> 32) * module.MIXER % 2**64


@pytest.mark.parametrize("how", SETTINGS, ids=str)
def test_the_fast_hashes_are_those_of_the_readable_functions(how):
    found = hash_shingles(ODD, how)
    assert len(found) == len(ODD)
    for i, text in enumerate(ODD):
        assert set(found.of(i).tolist()) == readable(text, how), text


@given(st.lists(st.text(alphabet="ab C.，\n三国é\u0301", max_size=30), max_size=6), st.sampled_from(SETTINGS))
@settings(max_examples=60, deadline=None)
def test_any_texts_have_the_hashes_of_the_readable_functions(texts, how):
    found = hash_shingles(texts, how)
    assert [set(found.of(i).tolist()) for i in range(len(texts))] == [readable(text, how) for text in texts]


def test_a_text_in_a_block_has_the_hashes_that_it_has_alone(monkeypatch):
    draw = random.Random(0)
    texts = [" ".join(draw.choices(["to", "be", "or", "not", "三国"], k=draw.randrange(40))) for _ in range(60)]
    alone = [hash_shingles([text]).hashes.tolist() for text in texts]
    monkeypatch.setattr(module, "BLOCK", 200)
    found = hash_shingles(texts)
    assert [found.of(i).tolist() for i in range(len(texts))] == alone


def test_a_text_longer_than_a_block_has_the_hashes_of_its_parts(monkeypatch):
    words = [f"word{i}" for i in range(150)] + ["w" * 300] + [f"word{i}" for i in range(150, 199)]
    whole = shingle_hashes(" ".join(words))
    monkeypatch.setattr(module, "BLOCK", 64)
    assert shingle_hashes(" ".join(words)).tolist() == whole.tolist()
    parts = hash_shingles([" ".join(words[i : i + 5]) for i in range(196)])
    assert set(parts.hashes.tolist()) == set(whole.tolist())


def test_case_space_and_punctuation_do_not_count_unless_kept():
    first, second = "The end, of all things!", "the  END of\nall things"
    assert shingles(first) == shingles(second)
    assert units(first, Shingling(keep_case=True)) != units(second, Shingling(keep_case=True))
    assert units(first, Shingling(keep_punctuation=True)) == ["the", "end,", "of", "all", "things!"]
    assert shingle_hashes(first, keep_case=True).tolist() != shingle_hashes(second, keep_case=True).tolist()


def test_chinese_characters_are_words_and_latin_words_between_them_stay_whole():
    assert units("天下大势，分久必合abc def三") == [*"天下大势分久必合", "abc", "def", "三"]
    assert units("天下 ab", Shingling(unit="character")) == ["天", "下", "a", "b"]


def test_a_text_shorter_than_a_shingle_has_one_shingle_of_what_there_is():
    assert shingles("only three words") == {("only", "three", "words")}
    assert len(shingle_hashes("only three words")) == 1
    assert shingles(" ,. ") == set() and len(shingle_hashes("")) == 0


def test_jaccard_of_sets_and_of_arrays():
    assert jaccard({1, 2, 3}, {3, 4}) == 0.25
    assert jaccard(np.array([1, 2, 3]), np.array([3, 4, 4])) == 0.25
    assert jaccard([], []) == 0.0 and jaccard("ab", "ba") == 1.0


def test_words_that_differ_in_one_letter_or_in_order_have_different_hashes():
    draw = random.Random(1)
    words = {"".join(draw.choices("abcdef", k=draw.randint(1, 8))) for _ in range(20_000)}
    assert len({shingle_hash([word]) for word in words}) == len(words)
    assert shingle_hash(["a", "b"]) != shingle_hash(["b", "a"]) != shingle_hash(["ab"])


def test_hashes_of_real_shingles_fill_every_bit():
    found = shingle_hashes(" ".join(f"word{i}" for i in range(4000)))
    ones = np.unpackbits(found.view(np.uint8)).reshape(len(found), 64).mean(axis=0)
    assert abs(ones - 0.5).max() < 0.04


@pytest.mark.parametrize(
    ("texts", "says"), [("a text", "put a single text in a list"), ([b"x"], "text 0 is bytes"), ([None], "NoneType")]
)
def test_what_is_no_list_of_texts_is_refused(texts, says):
    with pytest.raises(ValueError, match=says):
        module.check_texts(texts)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"unit": "line"}])
def test_impossible_shingles_are_refused(wrong):
    with pytest.raises(ValueError, match=r"size=0|'line'"):
        Shingling(**wrong)


def test_a_shingle_longer_than_any_text_is_the_whole_text_and_costs_no_more():
    texts = ["a b c", "d", "", "a b c d e"]
    assert hash_shingles(texts, Shingling(10**12)).hashes.tolist() == hash_shingles(texts, Shingling(6)).hashes.tolist()


@pytest.mark.parametrize("texts", [{"a b", "c"}, {0: "a b"}, iter(["a"])], ids=["set", "dictionary", "iterator"])
def test_what_has_no_order_is_no_list_of_texts(texts):
    with pytest.raises(ValueError, match="a list of texts is expected"):
        hash_shingles(texts)


def test_a_size_that_is_no_whole_number_is_refused():
    with pytest.raises(ValueError, match=r"size=2\.5"):
        Shingling(size=2.5)
