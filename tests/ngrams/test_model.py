"""The model as its users meet it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.ngrams import AddK, MaximumLikelihood, NGramModel, Padding, Vocabulary, WittenBell, pad
from labkit.ngrams.lookup import HashIndex, find_sorted

TEXT = [
    ["the", "cat", "sat", "on", "the", "mat"],
    ["the", "dog", "sat", "on", "the", "log"],
    ["the", "cat", "saw", "the", "dog"],
]


def test_a_bigram_probability_by_hand():
    model = NGramModel(2, smoothing=MaximumLikelihood()).fit(TEXT)
    assert model.score("cat", ["the"]) == pytest.approx(2 / 6)
    assert model.score("the", ["<s>"]) == 1.0
    assert model.perplexity([["the", "cat", "sat"]]) == math.inf  # "sat </s>" was never seen: infinite, no exception


def test_fitting_in_parts_is_fitting_at_once():
    whole = NGramModel(3, min_count=2).fit(TEXT)
    parts = NGramModel(3, min_count=2).fit(TEXT[:1])
    parts.score("cat")  # a question in between changes nothing
    parts.fit(TEXT[1:])
    assert parts.vocabulary.tokens == whole.vocabulary.tokens
    assert np.array_equal(parts.full_scores(TEXT).log_probability, whole.full_scores(TEXT).log_probability)


def test_fitting_lines_is_fitting_their_words():
    lines = "\n".join(" ".join(s) for s in TEXT) + "\n"
    assert NGramModel(3).fit_lines(lines).perplexity(TEXT) == NGramModel(3).fit(TEXT).perplexity(TEXT)


def test_another_smoothing_shares_the_counts_and_gives_the_same_model_as_fitting_anew():
    model = NGramModel(3).fit(TEXT)
    other = model.with_smoothing(WittenBell())
    assert other.levels is model.levels
    assert other.perplexity(TEXT) == NGramModel(3, smoothing=WittenBell()).fit(TEXT).perplexity(TEXT)
    with pytest.raises(ValueError, match="shares the text"):
        other.fit(TEXT)


def test_only_the_end_of_a_long_context_counts_and_none_is_no_context():
    model = NGramModel(2).fit(TEXT)
    assert model.score("cat", ["dog", "on", "the"]) == model.score("cat", ["the"])
    assert model.score("cat", None) == model.score("cat", []) == model.score("cat")


def test_an_unseen_context_falls_to_its_shorter_end():
    model = NGramModel(3, smoothing=WittenBell()).fit(TEXT)
    assert model.score("cat", ["log", "the"]) == model.score("cat", ["zebra", "the"]) == model.score("cat", ["the"])


def test_rare_words_become_unknown_and_unknown_words_have_a_score():
    model = NGramModel(2, min_count=2).fit(TEXT)
    assert "mat" not in model.vocabulary
    assert model.score("mat") == model.score("zebra") == model.score("<unk>") > 0
    assert model.vocabulary.coverage([["the", "zebra"]]) == 0.5


def test_a_given_vocabulary_stays_as_it_is():
    model = NGramModel(2, vocabulary=Vocabulary(["the", "cat"])).fit(TEXT)
    assert len(model.vocabulary) == 5
    assert model.score("dog") == model.score("<unk>")


def test_entropy_and_perplexity_are_two_words_for_one_number():
    model = NGramModel(3).fit(TEXT)
    bits, nats = model.entropy(TEXT), model.entropy(TEXT, base=math.e)
    assert math.isclose(2**bits, model.perplexity(TEXT))
    assert math.isclose(bits * math.log(2), nats)
    assert math.isclose(model.logscore("cat", ["the"], base=10), math.log10(model.score("cat", ["the"])))


def test_a_uniform_model_of_ten_digits_hesitates_between_ten():
    digits = [list("0123456789")] * 3
    model = NGramModel(1, smoothing=MaximumLikelihood(), padding=Padding(0, 0)).fit(digits)
    assert model.perplexity(digits) == pytest.approx(10)


def test_the_same_seed_writes_the_same_sentence_and_another_another():
    model = NGramModel(2).fit(TEXT * 3)
    drawn = {tuple(model.generate(seed=s)) for s in range(20)}
    assert model.generate(seed=3) == model.generate(seed=3)
    assert len(drawn) > 3
    assert all("<unk>" not in sentence and "<s>" not in sentence for sentence in drawn)


def test_drawn_words_follow_their_probabilities():
    model = NGramModel(2, smoothing=MaximumLikelihood()).fit([["a"]] * 3 + [["b"]])
    drawn = [model.generate(seed=s)[0] for s in range(2000)]
    assert drawn.count("a") / 2000 == pytest.approx(0.75, abs=0.04)


def test_a_refused_corpus_leaves_nothing_behind():
    model = NGramModel(2, smoothing=MaximumLikelihood())
    for empty in ([[], [], []], []):
        with pytest.raises(ValueError, match="no token"):
            model.fit(empty)
    assert model.fit([["x"]]).score("</s>", ["<s>"]) == 0.0


def test_unknown_words_can_be_left_out_of_the_average():
    model = NGramModel(2).fit(TEXT)
    text = [["the", "zebra", "sat"]]
    logs = model.full_scores(text).log_probability
    assert model.entropy(text, base=math.e, unknown=False) == pytest.approx(-logs[[0, 2, 3]].mean())
    assert model.entropy(text, base=math.e) == pytest.approx(-logs.mean())


def test_with_two_boundaries_on_the_left_only_words_and_the_end_are_scored():
    model = NGramModel(3, padding=Padding(2, 1, predict_start=True)).fit(TEXT)
    assert len(model.full_scores([["the", "cat"], []]).log_probability) == 3 + 1


def test_the_beginning_of_a_sentence_is_never_written_in_the_middle():
    model = NGramModel(3, padding=Padding(2, 2, predict_start=True), smoothing=AddK(5.0)).fit(TEXT)
    assert all("<s>" not in model.generate(seed=s) for s in range(30))


def test_padding_is_explicit():
    assert pad(["a"], left=2, right=1) == ["<s>", "<s>", "a", "</s>"]
    by_hand = NGramModel(2, padding=Padding(0, 0)).fit([pad(s) for s in TEXT])
    assert by_hand.score("cat", ["the"]) == NGramModel(2).fit(TEXT).score("cat", ["the"])


@given(st.lists(st.integers(0, 10**12), min_size=1, unique=True), st.lists(st.integers(0, 50)))
def test_the_hash_table_finds_what_binary_search_finds(keys, others):
    keys = np.array(sorted(keys))
    wanted = np.concatenate([keys, np.array(others, dtype=np.int64)])
    assert np.array_equal(HashIndex(keys).find(wanted), find_sorted(keys, wanted))


@pytest.mark.parametrize("order", [0, 11, -1, 2.5, "3", True])
def test_an_order_outside_one_to_ten_is_refused(order):
    with pytest.raises(ValueError, match="whole number from 1 to 10, got"):
        NGramModel(order)


def test_a_corpus_of_one_word_is_a_model():
    model = NGramModel(5).fit([["only"]])
    assert model.generate() in (["only"], [])
    assert math.isclose(model.distribution(["only"]).sum(), 1)


@pytest.mark.parametrize("text", [[], [[]], [[], []]])
def test_an_empty_corpus_is_refused(text):
    with pytest.raises(ValueError, match="no token"):
        NGramModel(2).fit(text)


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda m: m.score("cat", "the"), "context must be a list of tokens, got the string 'the'"),
        (lambda m: m.score(3), "a token must be a string, got 3"),
        (lambda m: m.score("cat", [None]), "a token must be a string, got None"),
        (lambda m: m.perplexity("the cat"), "a text must be a list of sentences"),
        (lambda m: m.perplexity(["the cat"]), "a sentence must be a list of tokens"),
        (lambda m: m.perplexity([["the", 5]]), "a token must be a string, got 5"),
        (lambda m: m.perplexity([["the", ["x"]]]), "a token must be a string"),
        (lambda m: m.perplexity([]), "nothing to score"),
        (lambda m: m.fit("the cat"), "a text must be a list of sentences"),
        (lambda m: m.fit([["the", 5]]), "a token must be a string, got 5"),
        (lambda m: m.entropy(TEXT, base=1), "base of a logarithm"),
        (lambda m: NGramModel(2).score("a"), "not learned anything yet"),
        (lambda m: Vocabulary(["a"], min_count=0), "min_count must be a whole number of at least 1"),
        (lambda m: Vocabulary("the cat"), "a vocabulary is made of words"),
        (lambda m: Vocabulary([1, 2]), "a token must be a string, got 1"),
        (lambda m: NGramModel(2, min_count=0), "min_count must be a whole number"),
        (lambda m: NGramModel(2, min_count="2"), "min_count must be a whole number"),
        (lambda m: NGramModel(2, smoothing=AddK), "smoothing must be a method such as"),
        (lambda m: NGramModel(2, smoothing="kn"), "smoothing must be a method such as"),
        (lambda m: NGramModel(2, vocabulary=["a"]), "use Vocabulary"),
        (lambda m: m.fit(None), "a text must be a list of sentences, got None"),
        (lambda m: m.fit([None]), "a sentence must be a list of tokens, got None"),
        (lambda m: m.score("a", [None, "the"]), "a token must be a string, got None"),
        (lambda m: m.entropy(TEXT, base="e"), "base of a logarithm"),
        (lambda m: m.entropy(TEXT, base=math.nan), "base of a logarithm"),
        (lambda m: NGramModel(1, padding=Padding(0, 0)).fit(TEXT).perplexity([[]]), "no token to judge"),
        (
            lambda m: NGramModel(1, padding=Padding(0, 0)).fit(TEXT).perplexity([["zebra"]], unknown=False),
            "no token to judge",
        ),
        (lambda m: Padding(left=2), "left must be 0 to 1"),
    ],
)
def test_bad_input_gets_a_sentence_and_loses_nothing(act, sentence):
    model = NGramModel(2, smoothing=AddK(0.5)).fit(TEXT)
    before = model.perplexity(TEXT)
    with pytest.raises(ValueError, match=sentence):
        act(model)
    assert model.perplexity(TEXT) == before
