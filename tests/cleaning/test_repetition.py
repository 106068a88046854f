"""Repetition shares against counting by hand, against plain reference functions, and against what must always hold."""

import random
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labkit.cleaning.quality import split_words
from labkit.cleaning.repetition import NGrams, duplicate_lines, duplicate_ngrams, duplicate_paragraphs, top_ngram
from labkit.exercises.cleaning.quality import duplicate_share
from tests.cleaning.plain_counting import all_characters, later_characters, shares, top_characters

few_words = st.lists(st.sampled_from(["a", "bb", "a.", "ccc", "d"]), max_size=40)


def test_lines_worked_by_hand():
    # Three lines of 3, 3 and 4 characters with two line ends: 12 characters, of which 3 come again.
    assert duplicate_lines("buy\nbuy\nread") == (1 / 3, 3 / 12)
    assert duplicate_lines("") == (0, 0)


def test_paragraphs_worked_by_hand_and_a_line_inside_is_no_paragraph():
    assert duplicate_paragraphs("one\ntwo\n\nthree\n\n\none\ntwo") == (1 / 3, 7 / 24)
    assert duplicate_paragraphs("one\none\none") == (0, 0)


def test_ngrams_worked_by_hand():
    text = "to be or not to be"
    assert top_ngram(text, 2) == 2 * 5 / 18  # "to be" has five characters and comes twice
    assert top_ngram("a a a", 2) == 2 * 3 / 5  # overlapping: more than the text has
    assert duplicate_ngrams(text, 2) == 4 / 18  # of the second "to be", four letters
    assert duplicate_ngrams(text, 2, counted="all") == 8 / 18
    assert duplicate_ngrams("x x x x x", 2) == 4 / 9  # the second pair overlaps the first; the fifth x has no partner


def test_chinese_ngrams_have_no_gap_between_characters():
    text = "北京北京，上海"
    words = split_words(text, "zh")
    assert top_ngram(text, 2, words=words, gap=0) == 4 / 7
    assert top_ngram(text, 2, words=words) == 6 / 7


@settings(max_examples=150)
@given(few_words, st.integers(1, 12), st.sampled_from([0, 1]))
@example(["a"] * 30, 5, 1)
@example([], 2, 1)
def test_ngrams_equal_plain_counting(words, n, gap):
    ngrams = NGrams(words)
    assert ngrams.top(n, gap) == top_characters(words, n, gap)
    assert ngrams.later(n) == later_characters(words, n)
    assert ngrams.all(n) == all_characters(words, n)


@given(st.text(alphabet="a b\n", max_size=60))
@example("\n\na\n")
@example("a\n\n\n\n\na")
def test_lines_and_paragraphs_equal_splitting_at_runs_of_line_ends(text):
    assert duplicate_lines(text) == shares(re.split("\n+", text), text)
    assert duplicate_paragraphs(text) == shares(re.split("\n{2,}", text.strip()), text)


@settings(max_examples=50)
@given(few_words, st.integers(1, 8))
def test_what_comes_again_is_part_of_what_has_a_twin_and_longer_ngrams_cover_less(words, n):
    ngrams = NGrams(words)
    assert 0 <= ngrams.later(n) <= ngrams.all(n) <= sum(map(len, words))
    assert ngrams.all(n + 1) <= ngrams.all(n)


def test_words_glued_alike_are_different_ngrams():
    # "ab c …" and "a bc …" have the same letters: keys made by joining without a space would take them for the same.
    words = ["ab", "c", "x", "y", "z", "a", "bc", "x", "y", "z"]
    assert NGrams(words).later(5) == 0
    assert later_characters(list("".join(words)), 6) > 0


def test_a_long_document_is_counted_exactly():
    draw = random.Random(1)
    words = [str(draw.randrange(40)) for _ in range(3000)]
    ngrams = NGrams(words)
    for n in (2, 3, 4):
        assert (ngrams.top(n), ngrams.later(n)) == (top_characters(words, n), later_characters(words, n))


@settings(max_examples=30)
@given(few_words, st.integers(1, 6))
def test_the_worked_exercise_gives_the_same_share(words, n):
    letters = sum(map(len, words))
    assert duplicate_share(words, n) * letters == pytest.approx(NGrams(words).later(n))


@pytest.mark.parametrize("n", [0, -1, 2.0, "2", None])
def test_an_order_that_is_no_whole_number_is_refused(n):
    with pytest.raises(ValueError, match="whole number of words from 1 up"):
        top_ngram("a b", n)
    with pytest.raises(ValueError, match="whole number of words from 1 up"):
        duplicate_ngrams("a b", n)


def test_an_unknown_way_of_counting_is_refused():
    with pytest.raises(ValueError, match='"later" or "all"'):
        duplicate_ngrams("a b", 2, counted="both")


def test_an_order_of_thousands_is_counted_without_deep_recursion():
    assert duplicate_ngrams("a b c", 3000) == 0.0
    assert duplicate_ngrams("a " * 6000, 3000, counted="all") == 0.5
