"""The perplexity filter: a model whose bits are known, the n-gram model asked one by one, and three parts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning.perplexity import PerplexityFilter, characters, price_of
from labkit.ngrams import NGramModel

CLEAN = ["the cat sat on the mat. ", "the dog sat on the cat. ", "a cat and a dog met on the mat. "] * 5


@pytest.fixture(scope="module")
def model():
    return PerplexityFilter(order=3).fit(CLEAN)


def test_what_is_read_has_small_letters_zeros_for_digits_and_single_blanks():
    assert "".join(characters("  In\t1999,\n\n  U.S. ٣ ")) == "in 0000, u.s. 0"


def test_a_character_that_always_follows_costs_next_to_nothing():
    model = PerplexityFilter(order=2).fit(["ab" * 3000])
    assert model.bits_per_character(["ab" * 200])[0] < 0.1
    assert model.bits_per_character(["bb" * 200])[0] > 5


def test_bits_are_those_of_the_ngram_model_asked_character_by_character(model):
    text = "the dog met a cat?"
    plain = NGramModel(3).fit([characters(t) for t in CLEAN])
    read = [*characters(text), "</s>"]
    bits = [-plain.logscore(c, (["<s>", *read])[: i + 1]) for i, c in enumerate(read)]
    assert model.bits_per_character([text])[0] == pytest.approx(sum(bits) / len(bits))


def test_documents_are_judged_one_by_one(model):
    texts = ["the cat", "", "zzz 999", "the dog sat on the mat."]
    together = model.bits_per_character(texts)
    assert together.tolist() == [model.bits_per_character([t])[0] for t in texts]
    assert math.isinf(together[1])
    assert together[2] > together[0] > 0


def test_learning_in_two_steps_is_learning_at_once(model):
    steps = PerplexityFilter(order=3).fit(CLEAN[:7]).fit(CLEAN[7:])
    assert steps.bits_per_character(["a cat"]) == pytest.approx(model.bits_per_character(["a cat"]))


def test_head_middle_and_tail_are_three_even_parts(model):
    crawl = ["the cat sat.", "a dog", "on the mat", "cat cat", "qwerty", "mat mat the", "the", "a cat met", "xx yy zz"]
    judge = PerplexityFilter(order=3).fit(CLEAN).calibrate(crawl)
    parts = judge.parts(crawl)
    assert [parts.count(part) for part in ("head", "middle", "tail")] == [3, 3, 3]
    bits = judge.bits_per_character(crawl)
    assert max(bits[[p == "head" for p in parts]]) < min(bits[[p == "middle" for p in parts]])
    assert max(bits[[p == "middle" for p in parts]]) < min(bits[[p == "tail" for p in parts]])
    assert judge.limits == pytest.approx(tuple(np.quantile(bits, [1 / 3, 2 / 3])))
    assert judge.part("") == "tail"


@settings(max_examples=20, deadline=None)
@given(st.text(alphabet="the catdogz 19\n中", min_size=1, max_size=30))
def test_capitals_digits_and_blanks_do_not_matter(model, text):
    same = text.upper().replace("1", "7").replace("\n", "  \n")
    assert model.bits_per_character([text]).tolist() == model.bits_per_character([same]).tolist()


def test_what_cannot_be_is_refused(model):
    with pytest.raises(ValueError, match="got one str: put it into brackets"):
        model.bits_per_character("text")
    with pytest.raises(ValueError, match="a text must be a string, got bytes"):
        model.bits_per_character([b"text"])
    with pytest.raises(ValueError, match=r"call calibrate\(texts\)"):
        model.part("text")
    with pytest.raises(ValueError, match="three parts need at least 3 texts that are not empty, got 2"):
        PerplexityFilter(order=2).fit(CLEAN).calibrate(["a", "b", ""])
    with pytest.raises(ValueError, match="no token"):
        PerplexityFilter().fit([""])
    with pytest.raises(ValueError, match="order must be"):
        PerplexityFilter(order=0)
    with pytest.raises(ValueError, match="not learned anything"):
        PerplexityFilter().bits_per_character(["text"])


def test_the_price_of_a_step_by_hand():
    # Without "b", two characters (with the end) are left of four.
    price = price_of([["a", "b"]] * 50, [["a", "b"]] * 4, lambda words: [w for w in words if w != "b"], order=2)
    assert price.left == pytest.approx(2 / 4)
    assert price.original == pytest.approx(price.own / 2)
    assert price.writable == 0.5
    assert price.sample == "a"
    assert "0.50 of the characters left" in str(price)


def test_a_step_that_does_nothing_leaves_everything():
    sentences = [text.split() for text in CLEAN]
    price = price_of(sentences, sentences[:2], lambda words: words, order=3)
    assert (price.left, price.writable) == (1, 1)
    assert price.own == price.original > 0
    small = price_of(sentences, [["The", "cat"]], lambda words: [w.lower() for w in words], order=3)
    assert small.writable == 0.5


def test_a_step_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="no token"):
        price_of([["a"]], [["a"]], lambda words: [])
