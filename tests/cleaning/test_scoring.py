"""Precision, recall and F1."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning.scoring import Score, score_labels, score_sets, score_spans, score_text


def test_scores_by_hand():
    score = score_sets({"a", "b", "c", "d"}, {"b", "c", "d", "e", "f"})
    assert score == Score(3, 1, 2)
    assert (score.precision, score.recall, score.f1) == (0.75, 0.6, pytest.approx(2 / 3))
    assert str(score) == "precision 0.75, recall 0.6, F1 0.667"


def test_nothing_to_find_and_nothing_found_is_perfect():
    assert str(score_sets([], [])) == "precision 1, recall 1, F1 1"
    assert score_sets([1], []).precision == 0
    assert score_sets([], [1]).recall == 0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
@settings(max_examples=30)
def test_labels_score_as_scikit_learn_does(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    found, truth = map(list, zip(*pairs, strict=True))
    score = score_labels(found, truth, True)
    if any(found) and any(truth):
        expected = metrics.precision_recall_fscore_support(truth, found, average="binary", zero_division=0)
        assert (score.precision, score.recall, score.f1) == pytest.approx(expected[:3])


def test_a_span_counts_only_if_start_end_and_kind_are_right():
    found = [[(0, 5, "email"), (9, 12, "phone")], [SimpleNamespace(start=1, end=3, kind="url")]]
    truth = [[(0, 5, "email"), (9, 13, "phone")], [(1, 3, "url"), (5, 6, "url")]]
    assert score_spans(found, truth) == Score(2, 1, 2)


def test_text_is_scored_as_words_and_chinese_as_characters():
    assert score_text("a a b", "a b b") == Score(2, 1, 1)
    assert score_text("天下，大势", "天下大事", language="zh") == Score(3, 1, 1)
    assert score_text("x y", "y\n\nx") == Score(2, 0, 0), "order and white space do not count"


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
@settings(max_examples=30)
def test_changing_sides_exchanges_precision_and_recall(a, b):
    one, other = score_sets(a, b), score_sets(b, a)
    assert (one.precision, one.recall, one.f1) == (other.recall, other.precision, other.f1)
    assert one + other == Score(2 * one.true_positives, len(a ^ b), len(a ^ b))


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="1 results came with 2 truths"):
        score_labels([True], [True, False], True)
    with pytest.raises(ValueError, match="0 results came with 1 truths"):
        score_spans([], [[]])
    with pytest.raises(ValueError, match="negative count"):
        Score(-1, 0, 0)


def test_what_is_no_span_or_no_text_is_named():
    with pytest.raises(ValueError, match=r"a span is \(start, end, kind\), got 1; put the spans of one document"):
        score_spans([(1, 2, "email")], [(1, 2, "email")])
    with pytest.raises(ValueError, match="as strings, got bytes and str"):
        score_text(b"a", "a")
