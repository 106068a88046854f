"""Smoothing: by hand, against nltk.lm, and by the one property that all share."""

import math

import nltk.lm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.lm.preprocessing import padded_everygram_pipeline

from labkit.ngrams import (
    AbsoluteDiscounting,
    AddK,
    GoodTuring,
    Katz,
    KneserNey,
    LinearInterpolation,
    MaximumLikelihood,
    ModifiedKneserNey,
    NGramModel,
    Padding,
    StupidBackoff,
    WittenBell,
    katz_ratios,
    simple_good_turing,
    turing,
)
from labkit.ngrams.vocabulary import BOS_ID

METHODS = [
    MaximumLikelihood(),
    AddK(1.0),
    AddK(0.01),
    WittenBell(),
    AbsoluteDiscounting(0.6),
    KneserNey(0.75),
    ModifiedKneserNey(),
    Katz(5),
    Katz(1),
    GoodTuring(),
    LinearInterpolation((0.9, 0.6, 0.5)),
]
TEXT = [
    ["the", "cat", "sat", "on", "the", "mat"],
    ["the", "dog", "sat", "on", "the", "log"],
    ["a", "cat", "saw", "the", "dog", "and", "the", "dog", "saw", "the", "cat"],
    ["on", "the", "mat", "sat", "a", "dog"],
]
SENTENCES = st.lists(st.lists(st.sampled_from("abcde"), max_size=7), min_size=1, max_size=10).filter(any)


@pytest.mark.parametrize("method", METHODS, ids=str)
@given(sentences=SENTENCES, context=st.lists(st.sampled_from("abcdexyz"), max_size=4))
@settings(max_examples=25, deadline=None)
def test_probabilities_after_any_context_add_up_to_one(method, sentences, context):
    model = NGramModel(3, smoothing=method).fit(sentences)
    distribution = model.distribution(context)
    assert distribution.min() >= 0
    assert math.isclose(distribution.sum(), 1, abs_tol=1e-9)
    assert distribution[BOS_ID] == 0


@pytest.mark.parametrize("method", [*METHODS, StupidBackoff()], ids=str)
@given(sentences=SENTENCES, text=SENTENCES)
@settings(max_examples=20, deadline=None)
def test_one_word_a_whole_text_and_a_distribution_tell_the_same(method, sentences, text):
    model = NGramModel(3, smoothing=method).fit(sentences)
    text = [[*s, "new"] for s in text]
    one_by_one = [
        model.logscore(word, ["<s>", *s][: i + 1], base=np.e) for s in text for i, word in enumerate([*s, "</s>"])
    ]
    assert np.allclose(model.full_scores(text).log_probability, one_by_one, rtol=1e-9)
    context = text[0]
    chances = model.distribution(context)
    for word in "abe":
        assert math.isclose(chances[model.vocabulary.lookup(word)], model.score(word, context), rel_tol=1e-12)


SHARED = [
    (MaximumLikelihood(), lambda n: nltk.lm.MLE(n)),
    (AddK(1.0), lambda n: nltk.lm.Laplace(n)),
    (AddK(0.3), lambda n: nltk.lm.Lidstone(0.3, n)),
    (WittenBell(uniform=False), lambda n: nltk.lm.WittenBellInterpolated(n)),
    (AbsoluteDiscounting(0.75, uniform=False), lambda n: nltk.lm.AbsoluteDiscountingInterpolated(n, discount=0.75)),
    (KneserNey(0.1, uniform=False), lambda n: nltk.lm.KneserNeyInterpolated(n, discount=0.1)),
    (StupidBackoff(0.4), lambda n: nltk.lm.StupidBackoff(alpha=0.4, order=n)),
]


@pytest.mark.parametrize(("ours", "theirs"), SHARED, ids=lambda x: str(x) if not callable(x) else "")
@pytest.mark.parametrize("order", [2, 3, 4])
def test_every_shared_method_agrees_with_nltk(ours, theirs, order):
    reference = theirs(order)
    reference.fit(*padded_everygram_pipeline(order, TEXT))
    model = NGramModel(order, smoothing=ours, padding=Padding(order - 1, order - 1, predict_start=True)).fit(TEXT)
    for sentence in TEXT:
        for i in range(2, len(sentence)):
            context = sentence[max(0, i - order + 1) : i]
            for word in ["the", "cat", "log", "and", "unseen"]:
                word = reference.vocab.lookup(word)
                expected = reference.unmasked_score(word, tuple(context))
                ours_word = word.replace("<UNK>", "<unk>")
                assert math.isclose(model.score(ours_word, context), expected, rel_tol=1e-9, abs_tol=1e-12)


def test_add_one_by_hand():
    model = NGramModel(2, smoothing=AddK(1.0)).fit([["a", "b"], ["a", "a"]])
    # after a: b once, a once, </s> once; words to predict: a, b, </s>, <unk>
    assert model.score("b", ["a"]) == pytest.approx((1 + 1) / (3 + 4))


def test_kneser_ney_asks_for_company_not_for_frequency():
    text = [["san", "francisco"]] * 9 + [["a", "glass"], ["my", "glass"], ["the", "glass"]]
    by_count = NGramModel(2, smoothing=AbsoluteDiscounting(0.75)).fit(text)
    by_company = NGramModel(2, smoothing=KneserNey(0.75)).fit(text)
    assert by_count.score("francisco", ["unseen"]) > by_count.score("glass", ["unseen"])
    assert by_company.score("francisco", ["unseen"]) < by_company.score("glass", ["unseen"])


def test_the_three_discounts_follow_from_counts_of_counts():
    model = NGramModel(1, smoothing=ModifiedKneserNey()).fit(
        [["a"] * 4 + ["b"] * 3 + ["c"] * 2 + ["d", "e", "f"], ["g", "g", "h"]]
    )
    level = model.levels[0]
    n1, n2, n3, n4 = level.counts_of_counts(4, adjusted=True)[1:]
    y = n1 / (n1 + 2 * n2)
    expected = [0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
    assert np.allclose(model.smoothing.discounts(level), expected)


def test_turing_reproduces_church_and_gale():
    n = np.array([74_671_100_000, 2_018_046, 449_721, 188_933, 105_668, 68_379, 48_190])
    assert np.allclose(turing(n), [0.0000270, 0.446, 1.26, 2.24, 3.24, 4.22], rtol=3e-3)


def test_good_turing_keeps_turings_mass_for_the_unseen():
    values, numbers = np.array([1, 2, 3, 4, 5, 7, 12]), np.array([50, 20, 9, 6, 3, 1, 1])
    total = values @ numbers
    assert math.isclose(simple_good_turing(values, numbers) @ numbers / total, 1 - 50 / total)


def test_katz_takes_off_exactly_what_turing_gives_to_the_unseen():
    counts = np.array([0, 120, 40, 24, 13, 15, 5])
    kept = katz_ratios(counts)
    r = np.arange(1, 6)
    usable = kept[1:6] < 1
    assert usable[:2].all()
    if usable.all():
        assert math.isclose(((1 - kept[1:6]) * r * counts[1:6]).sum(), counts[1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: AddK(0.0),
        lambda: AbsoluteDiscounting(1.5),
        lambda: KneserNey(0.0),
        lambda: Katz(0),
        lambda: StupidBackoff(0.0),
        lambda: LinearInterpolation((1.2,)),
        lambda: ModifiedKneserNey(fallback=(2.0, 1.0, 1.0)),
    ],
)
def test_a_parameter_out_of_range_is_refused_with_its_range(make):
    with pytest.raises(ValueError, match=r"must be .* got"):
        make()


def test_too_few_weights_are_refused():
    with pytest.raises(ValueError, match="needs as many weights"):
        NGramModel(3, smoothing=LinearInterpolation((0.5, 0.5))).fit(TEXT).score("cat")
