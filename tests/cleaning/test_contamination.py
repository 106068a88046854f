"""Contamination: planted leaks are found, and only they."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning import shingles
from labkit.cleaning.contamination import Overlap, contaminated, gram_size, overlaps

RNG = np.random.default_rng(0)


def words(n):
    return " ".join(f"w{i}" for i in RNG.integers(0, 10**6, n))


def naive(train, test, n):
    grams = [[tuple(u[i : i + n]) for i in range(max(1, len(u) - n + 1))] for u in map(shingles.units, train) if u]
    seen = {gram for text in grams for gram in text}
    asked = [shingles.shingles(text, shingles.Shingling(size=n)) for text in test]
    return [i for i, found in enumerate(asked) if found & seen]


def test_two_shared_trigrams_by_hand():
    found = overlaps(["x y", "so A, b c: d!", "a b c"], ["a b c d e", "nothing shared here"], n=3)
    assert found == [Overlap(test=0, train=(1, 2), grams=2, total=3)]
    assert found[0].share == 2 / 3


def test_planted_leaks_are_found_and_only_they(monkeypatch):
    monkeypatch.setattr(shingles, "BLOCK", 500)
    test = [words(30) for _ in range(40)]
    train = [words(50) for _ in range(60)]
    for leak in range(0, 40, 4):
        train[leak] += " " + test[leak].upper().replace(" ", ", ") + ". " + words(5)
    found = overlaps(train, test)
    assert [(f.test, f.train, f.share) for f in found] == [(leak, (leak,), 1.0) for leak in range(0, 40, 4)]


def test_a_short_quotation_is_not_a_leak_of_thirteen_words():
    example = words(30).split()
    for shared, leaked in ((12, []), (13, [0])):
        assert contaminated([" ".join(["begin", *example[5 : 5 + shared], "end"])], [" ".join(example)]) == leaked


def test_phrases_of_many_texts_can_be_ignored():
    phrase = words(13)
    train = [words(3) + " " + phrase for _ in range(11)]
    assert contaminated(train, [phrase]) == [0]
    assert contaminated(train, [phrase], common=10) == [] and contaminated(train, [phrase], common=11) == [0]


def test_the_share_that_makes_an_example_dirty_is_a_choice():
    example = words(25).split()
    train = [" ".join(example[:15])]
    assert overlaps(train, [" ".join(example)])[0].share == 3 / 13
    assert contaminated(train, [" ".join(example)], share=0.2) == [0]
    assert contaminated(train, [" ".join(example)], share=0.3) == []


def test_chinese_leaks_are_found_by_characters():
    assert contaminated(["却说天下大势，分久必合，合久必分云云"], ["天下大势分久必合，合久必分。"], n=12) == [0]


TEXTS = st.lists(st.lists(st.sampled_from("abc"), max_size=8).map(" ".join), max_size=5)


@given(TEXTS, TEXTS, st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_the_dirty_examples_are_those_of_comparing_sets(train, test, n):
    assert contaminated(train, test, n) == naive(train, test, n)


def test_empty_texts_have_nothing_in_common():
    assert overlaps(["", "a"], ["", " "], n=3) == [] and overlaps([], ["a b c"]) == [] and overlaps(["a"], []) == []


def test_the_size_of_grams_follows_the_short_examples():
    assert gram_size([words(n) for n in range(1, 101)]) == 8
    assert gram_size([words(n) for n in range(10, 12)]) == 10
    assert gram_size([words(50)] * 3) == 13
    with pytest.raises(ValueError, match="no examples has no length"):
        gram_size([])


def test_hashes_do_not_confuse_grams():
    grams = [" ".join(p) for p in itertools.permutations("abcdef")]
    assert contaminated(grams[:360], grams[360:], n=6) == []


def test_a_single_text_is_refused():
    with pytest.raises(ValueError, match="put a single text in a list"):
        overlaps("train", ["test"])


def test_texts_may_come_as_an_array():
    texts = np.array(["we know that a b c d is so", "e f"])
    assert gram_size(texts) == 8
    assert [found.test for found in overlaps(texts, texts, 3)] == [0, 1]
