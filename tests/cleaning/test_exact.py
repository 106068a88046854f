"""Exact duplicates of documents, paragraphs and lines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning import exact
from labkit.cleaning.exact import duplicates

TEXTS = st.lists(st.text(alphabet="aB \n", max_size=8), max_size=8)


def test_the_first_of_equal_documents_stays_or_none_does():
    texts = ["a", "b", "a", "c", "a"]
    found = duplicates(texts)
    assert (found.kept, found.removed, found.of) == ([0, 1, 3], [2, 4], {2: 0, 4: 0})
    found = duplicates(texts, keep="none")
    assert (found.kept, found.of, found.texts) == ([1, 3], {0: 2, 2: 0, 4: 0}, ["b", "c"])


def test_case_and_space_count_unless_normalised():
    texts = ["The end", "the  end ", "The end\n"]
    assert duplicates(texts).kept == [0, 1, 2]
    assert duplicates(texts, normalise=True).of == {1: 0, 2: 0}


def test_lines_that_stand_in_several_texts_go_where_they_come_again():
    found = duplicates(["Menu\nfirst\n\nFooter", "Menu\nsecond\n\nFooter", "Menu\nFooter"], by="line")
    assert found.texts == ["Menu\nfirst\n\nFooter", "second\n", ""]
    assert found.parts == {(1, 0): (0, 0), (1, 3): (0, 3), (2, 0): (0, 0), (2, 1): (0, 3)}
    assert found.removed == [2] and found.kept == [0, 1]


def test_paragraphs_are_parted_by_blank_lines():
    found = duplicates(["one\ntwo\n\nthree", "three\n \n\nfour\n\nthree"], by="paragraph")
    assert found.texts == ["one\ntwo\n\nthree", "four"]
    assert duplicates(["a\n\n\n\nb"], by="paragraph").texts == ["a\n\n\n\nb"]


def test_empty_texts_are_copies_only_if_asked_and_blank_lines_never():
    assert duplicates(["", " ", ""]).kept == [0, 1, 2]
    assert duplicates(["", " ", ""], empty=True).of == {2: 0}
    assert duplicates(["", " ", ""], empty=True, normalise=True).of == {1: 0, 2: 0}
    assert duplicates(["a\n\n\nb\n"], by="line", empty=True).texts == ["a\n\n\nb\n"]


@given(TEXTS)
@settings(max_examples=60, deadline=None)
def test_documents_kept_are_those_of_pandas(texts):
    pandas = pytest.importorskip("pandas")
    for keep, theirs in (("first", "first"), ("none", False)):
        column = pandas.Series(texts, dtype=object)
        expected = column[~column.duplicated(keep=theirs) | (column.str.strip() == "")].index.tolist()
        assert duplicates(texts, keep).kept == expected


@given(TEXTS, st.sampled_from(["line", "paragraph"]))
@settings(max_examples=60, deadline=None)
def test_a_second_pass_finds_nothing_more(texts, by):
    left = duplicates(texts, by=by).texts
    assert duplicates(left, by=by).texts == left


def test_splitting_paragraphs_takes_no_longer_for_hostile_blanks():
    import time

    def seconds(n):
        begin = time.process_time()
        for text in ("\n" + " " * n + "x", " \n" * n, ("\n" + " " * 50) * (n // 50)):
            exact._split(text, "paragraph")
        return time.process_time() - begin

    seconds(1000)
    assert seconds(400_000) < 32 * max(seconds(50_000), 0.001)


def test_text_that_cannot_be_encoded_is_compared_all_the_same():
    assert duplicates(["\ud800", "\ud800"]).of == {1: 0}


@pytest.mark.parametrize("wrong", [{"keep": "last"}, {"by": "word"}])
def test_unknown_ways_are_refused(wrong):
    with pytest.raises(ValueError, match=r"'last'|'word'"):
        duplicates(["a"], **wrong)
    with pytest.raises(ValueError, match="put a single text in a list"):
        duplicates("a text")


def test_line_ends_of_windows_make_no_difference_between_lines_and_paragraphs():
    assert duplicates(["Menu\r\nNews\r\nMenu"], by="line").texts == ["Menu\r\nNews"]
    assert duplicates(["Menu\r\n\r\nNews", "Menu\n\nMore"], by="paragraph").texts == ["Menu\r\n\r\nNews", "More"]
