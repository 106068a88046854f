"""Smoothing: by hand, against nltk.lm, and by the one property that all share."""

import math
from collections import Counter

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
    Katz(2),
    GoodTuring(),
    LinearInterpolation((0.9, 0.6, 0.5)),
]
PROSODY = (
    "1:120 2:40 3:24 4:13 5:15 6:5 7:11 8:2 9:2 10:1 12:3 14:2 15:1 16:1 17:3 19:1 20:3 21:2 23:3 24:3 25:3 26:2 27:2 "
    "28:1 31:2 32:2 33:1 34:2 36:2 41:3 43:1 45:3 46:1 47:1 50:1 71:1 84:1 101:1 105:1 121:1 124:1 146:1 162:1 193:1 "
    "199:1 224:1 226:1 254:1 257:1 339:1 421:1 456:1 481:1 483:1 1140:1 1256:1 1322:1 1530:1 2131:1 2395:1 6925:1 "
    "7846:1"
)
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
    for word in model.vocabulary.tokens:
        assert math.isclose(chances[model.vocabulary.lookup(word)], model.score(word, context), rel_tol=1e-12)


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize(
    "padding", [Padding(), Padding(0, 0), Padding(0, 1), Padding(2, 2, predict_start=True)], ids=str
)
def test_boundaries_inside_a_sentence_do_not_make_the_start_predictable(method, padding):
    text = [["a", "<s>", "b"], ["a", "</s>", "c"], ["<unk>"], [], ["b", "a"]]
    model = NGramModel(3, smoothing=method, padding=padding).fit(text)
    for context in ([], ["a"], ["<s>"], ["a", "<s>"], ["c", "c"], ["</s>"], ["zebra"], ["b", "</s>"]):
        total = sum(model.score(word, context) for word in model.vocabulary.tokens)
        assert math.isclose(total, 1, abs_tol=1e-9)
        if not padding.predict_start:
            assert model.score("<s>", context) == 0


def by_definition(sentences, order):
    """Modified Kneser-Ney from Chen & Goodman's formulas, with dictionaries and nothing else."""
    padded = [("<s>", *s, "</s>") for s in sentences]
    grams = [Counter(p[i : i + n] for p in padded for i in range(len(p) - n + 1)) for n in range(1, order + 1)]
    adjusted = [
        {g: c if n == order or g[0] == "<s>" else len({u[0] for u in grams[n] if u[1:] == g}) for g, c in level.items()}
        for n, level in enumerate(grams, start=1)
    ]
    adjusted[0].pop(("<s>",))
    words = {w for s in sentences for w in s} | {"</s>", "<unk>"}

    def three(counts):
        n = [sum(c == k for c in counts.values()) for k in range(5)]
        if 0 in n[1:4]:
            return 0, 0.5, 1.0, 1.5
        y = n[1] / (n[1] + 2 * n[2])
        found = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        return (0, *found) if all(0 <= d <= k for k, d in enumerate(found, 1)) else (0, 0.5, 1.0, 1.5)

    discounts = [three(level) for level in adjusted]

    def probability(word, context):
        n = len(context) + 1
        below = probability(word, context[1:]) if context else 1 / len(words)
        seen = {g: c for g, c in adjusted[n - 1].items() if g[:-1] == context}
        if not sum(seen.values()):
            return below
        taken = {g: discounts[n - 1][min(c, 3)] for g, c in seen.items()}
        own = seen.get((*context, word), 0) - taken.get((*context, word), 0)
        return (own + sum(taken.values()) * below) / sum(seen.values())

    return probability, words, discounts


@pytest.mark.parametrize("seed", range(6))
def test_modified_kneser_ney_is_what_its_formulas_say(seed):
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 9, int(draw.integers(4, 90)))
    text = [["abcdefghij"[min(9, int(draw.zipf(1.5)) - 1)] for _ in range(n)] for n in lengths]
    model = NGramModel(3).fit(text)
    probability, words, discounts = by_definition(text, 3)
    for level, expected in zip(model.levels, discounts, strict=True):
        assert np.allclose(ModifiedKneserNey().discounts(level), expected)
    for context in [(), ("<s>",), ("a",), ("<s>", "a"), ("a", "b"), ("b", "a"), ("j", "j")]:
        for word in sorted(words):
            assert math.isclose(model.score(word, context), probability(word, context), rel_tol=1e-12)


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
    # nltk's Kneser-Ney does not add up to one behind the boundary alone, so only its contexts of words are compared.
    first = 2 if isinstance(ours, KneserNey) else 0
    for sentence in TEXT:
        padded = ["<s>"] * (order - 1) + sentence
        for i in range(first + order - 1, len(padded)):
            context = padded[i - order + 1 : i]
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
    counts = np.array([0, 120, 40, 24, 13, 9, 5])
    kept = katz_ratios(counts)
    assert (kept[1:6] < 1).all()
    assert math.isclose(((1 - kept[1:6]) * np.arange(1, 6) * counts[1:6]).sum(), 120)


def test_simple_good_turing_reproduces_the_prosody_example_of_gale_and_sampson():
    values, numbers = np.array([pair.split(":") for pair in PROSODY.split()], dtype=int).T
    total = values @ numbers
    reduced = simple_good_turing(values, numbers)
    assert numbers[0] / total == pytest.approx(0.003883, abs=5e-7)
    assert reduced[0] == pytest.approx(0.7628, abs=5e-5)
    assert reduced[-1] / total == pytest.approx(0.2537, abs=5e-5)


def pairs(*counted):
    """Sentences of two words, and a model of nothing but these pairs."""
    return [list(pair) for pair, count in counted for _ in range(count)]


def test_a_backed_off_probability_by_hand():
    # Behind "a": b four times, c once. Ten pairs were seen once, three twice, one three times.
    text = pairs(("ab", 4), ("ac", 1), *((f"{x}z", 1) for x in "ghijklmno"), ("pq", 2), ("qp", 2), ("pp", 2), ("rs", 3))
    model = NGramModel(2, smoothing=Katz(2), padding=Padding(0, 0)).fit(text)
    kept = (2 * 3 / 10 - 3 * 1 / 10) / (1 - 3 * 1 / 10)
    assert model.score("b", ["a"]) == pytest.approx(4 / 5)
    assert model.score("c", ["a"]) == pytest.approx(kept / 5)
    rest = (1 - kept) / 5 / (1 - model.score("b") - model.score("c"))
    assert model.score("z", ["a"]) == pytest.approx(rest * model.score("z"))


def test_where_no_count_is_reduced_one_more_is_added_for_the_unseen():
    model = NGramModel(2, smoothing=Katz(2), padding=Padding(0, 0)).fit(pairs(("ab", 9), ("cd", 9)))
    assert model.score("b", ["a"]) == pytest.approx(9 / 10)


def test_good_turing_reduces_each_count_as_gale_and_sampson_do():
    text = pairs(*((f"a{x}", n) for x, n in zip("bcdefghijk", (1, 1, 1, 1, 1, 2, 2, 3, 4, 7), strict=True)))
    model = NGramModel(2, smoothing=GoodTuring(), padding=Padding(0, 0)).fit(text)
    values, numbers = np.array([1, 2, 3, 4, 7]), np.array([5, 2, 1, 1, 1])
    reduced = simple_good_turing(values, numbers)
    assert model.score("b", ["a"]) == pytest.approx(reduced[0] / 23)
    assert model.score("k", ["a"]) == pytest.approx(reduced[4] / 23)


def test_without_padding_the_edge_of_the_text_is_company_too():
    model = NGramModel(2, padding=Padding(0, 1), smoothing=KneserNey()).fit([["start", x] for x in "xyz"])
    assert model.score("start") > model.score("<unk>")


def test_an_unseen_context_falls_to_its_shorter_end_with_add_k_too():
    model = NGramModel(3, smoothing=AddK(1.0)).fit(TEXT)
    for context in (["zebra"], ["cat", "</s>"], ["</s>"], ["mat", "mat"]):
        assert model.score("cat", context) == model.score("cat", context[1:])


@pytest.mark.parametrize(
    "make",
    [
        lambda: AddK(0.0),
        lambda: AddK(math.inf),
        lambda: AbsoluteDiscounting(1.5),
        lambda: KneserNey(0.0),
        lambda: Katz(1),
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
