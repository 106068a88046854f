"""Suffix arrays against sorting, repeated passages against a table of all windows."""

import itertools
import time
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labkit.cleaning.substrings import cut, longest_common_prefixes, repeated, repeats, suffix_array

SEQUENCE = st.text(alphabet="abc", max_size=40)


def naive_suffixes(text):
    return sorted(range(len(text)), key=lambda i: text[i:])


def naive_repeats(items, length):
    """Places in windows seen before, but not in the first of windows that come again."""
    windows = [tuple(items[i : i + length]) for i in range(len(items) - length + 1)]
    again, kept = set(), set()
    for i, window in enumerate(windows):
        if window in windows[:i]:
            again |= set(range(i, i + length))
        elif window in windows[i + 1 :]:
            kept |= set(range(i, i + length))
    return [place in again - kept for place in range(len(items))]


def test_the_suffixes_of_banana_by_hand():
    assert suffix_array("banana").tolist() == [5, 3, 1, 0, 4, 2]  # a, ana, anana, banana, na, nana
    assert longest_common_prefixes("banana", suffix_array("banana")).tolist() == [0, 1, 3, 0, 0, 2]
    assert suffix_array("").tolist() == [] and suffix_array([7]).tolist() == [0]


@given(SEQUENCE)
@settings(max_examples=80, deadline=None)
def test_the_suffix_array_is_that_of_sorting(text):
    assert suffix_array(text).tolist() == naive_suffixes(text)


@given(SEQUENCE)
@settings(max_examples=40, deadline=None)
def test_common_prefixes_are_those_counted_letter_by_letter(text):
    order = naive_suffixes(text)
    expected = [0] * len(text)
    for k in range(1, len(text)):
        first, second = text[order[k - 1] :], text[order[k] :]
        expected[k] = next(
            (n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
        )
    assert longest_common_prefixes(text, np.array(order, np.int64)).tolist() == expected


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(2, 9))
@settings(max_examples=80, deadline=None)
def test_repeats_are_those_of_a_table_of_all_windows(items, length):
    assert repeats(np.array(items, np.int64), length).tolist() == naive_repeats(items, length)


def test_a_passage_in_two_texts_is_cut_from_the_second_and_its_place_is_told():
    texts = ["we the people of the union", "once we the people of the north"]
    assert repeated(texts, length=4) == [[], [(5, 25)]]
    assert [texts[1][a:b] for a, b in repeated(texts, length=4)[1]] == ["we the people of the"]
    assert cut(texts, repeated(texts, length=4)) == [texts[0], "once north"]
    assert repeated(texts, length=4, keep="none") == [[(0, 20)], [(5, 25)]]
    assert repeated(texts, length=6) == [[], []]


def test_no_passage_runs_over_the_end_of_a_text():
    assert repeated(["a b", "c d", "a b", "c d"], length=3) == [[]] * 4
    assert repeated(["a b c", "", "c a b c a"], length=3) == [[], [], [(2, 7)]]


def test_chinese_is_searched_by_characters():
    texts = ["话说天下大势，分久必合。", "人言天下大势，合久必分。"]
    assert cut(texts, repeated(texts, 5, unit="character")) == [texts[0], "人言合久必分。"]


@given(st.lists(st.text(alphabet="ab ", max_size=30), max_size=4), st.integers(2, 5))
@example(["b a b a"], 2)  # "a b" stands there once and goes with its half: only what repeats is promised to stay
@example(["a b c a b c a b", "c a b"], 3)
@settings(max_examples=60, deadline=None)
def test_after_the_cut_every_passage_that_repeats_still_stands_once(texts, length):
    marked = repeated(texts, length)
    for text, spans in zip(texts, marked, strict=True):
        assert all(0 <= a < b <= len(text) for a, b in spans)
        assert spans == sorted(spans) and all(b < c for (_, b), (c, _) in itertools.pairwise(spans))
    left = [words for text, spans in zip(texts, marked, strict=True) for words in kept_runs(text, spans)]
    windows = Counter(window for text in texts for window in windows_of(text.split(), length))
    still = {window for run in left for window in windows_of(run, length)}
    assert {window for window, count in windows.items() if count > 1} <= still


def windows_of(words, length):
    """All runs of so many words."""
    return [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]


def kept_runs(text, spans):
    """The words between the cuts, run by run."""
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    return [text[a:b].split() for a, b in zip(edges[::2], edges[1::2], strict=True)]


def test_the_work_does_not_explode_on_a_text_of_one_word():
    def seconds(n):
        begin = time.process_time()
        repeated(["a " * n], 50)
        return time.process_time() - begin

    seconds(1000)
    assert seconds(80_000) < 32 * max(seconds(10_000), 0.002)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: repeated(["a"], 1), "length must be 2 or more.*got 1"),
        (lambda: repeated(["a"], 5, unit="line"), "'line'"),
        (lambda: repeated(["a"], 5, keep="last"), "'last'"),
        (lambda: cut(["a"], []), "1 texts and 0 lists of spans"),
    ],
)
def test_impossible_searches_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_many_cuts_of_a_long_text_cost_no_more_each_than_few():
    def seconds(count):
        text, cuts = "ab cd " * count, [(6 * i, 6 * i + 2) for i in range(count)]
        begin = time.process_time()
        assert cut([text], [cuts]) == ["cd " * count]
        return time.process_time() - begin

    seconds(10)
    assert seconds(80_000) < 32 * max(seconds(10_000), 1e-3)


def test_characters_are_searched_with_a_few_numbers_each():
    tracemalloc.start()
    try:
        assert repeated(["abcdefgh" * 8000], 100, "character") == [[(107, 64_000)]]
        assert tracemalloc.get_traced_memory()[1] < 160 * 64_000
    finally:
        tracemalloc.stop()
