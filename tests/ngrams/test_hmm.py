"""Hidden Markov models: published examples, all paths by hand, and NLTK."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.ngrams import HiddenMarkovModel, fit_tagger, forward, span_scores, spans, viterbi

ICE_CREAM = HiddenMarkovModel(
    ("hot", "cold"),
    ("1", "2", "3"),
    np.array([0.8, 0.2]),
    np.array([[0.6, 0.4], [0.5, 0.5]]),
    np.array([[0.2, 0.4, 0.4], [0.5, 0.4, 0.1]]),
)


def all_paths(model, symbols):
    numbers = model.encode(symbols)
    for path in product(range(len(model.states)), repeat=len(numbers)):
        p = model.start[path[0]] * model.emission[path[0], numbers[0]]
        for t in range(1, len(path)):
            p *= model.transition[path[t - 1], path[t]] * model.emission[path[t], numbers[t]]
        yield path, p


@given(st.lists(st.sampled_from("123"), min_size=1, max_size=7))
def test_forward_sums_and_viterbi_takes_the_best_of_all_paths(symbols):
    paths = dict(all_paths(ICE_CREAM, symbols))
    assert math.isclose(np.exp(np.logaddexp.reduce(forward(ICE_CREAM, symbols)[-1])), sum(paths.values()), rel_tol=1e-9)
    states, log_probability = viterbi(ICE_CREAM, symbols)
    assert math.isclose(math.exp(log_probability), max(paths.values()), rel_tol=1e-9)
    assert math.isclose(paths[tuple(ICE_CREAM.states.index(s) for s in states)], max(paths.values()), rel_tol=1e-9)


def test_a_long_text_does_not_underflow():
    assert np.isfinite(forward(ICE_CREAM, ["3", "1"] * 2000)).all()


def test_the_tagger_agrees_with_nltk():
    from nltk.probability import LidstoneProbDist
    from nltk.tag.hmm import HiddenMarkovModelTrainer

    tagged = [
        [("the", "D"), ("cat", "N"), ("sat", "V")],
        [("the", "D"), ("dog", "N")],
        [("cat", "N"), ("saw", "V"), ("the", "D"), ("dog", "N")],
    ]
    ours = fit_tagger(tagged, k=0.1, min_count=1)
    trainer = HiddenMarkovModelTrainer(list(ours.states), list(ours.symbols))
    theirs = trainer.train_supervised(tagged, estimator=lambda fd, bins: LidstoneProbDist(fd, 0.1, bins))
    for sentence in (["the", "dog", "saw", "the", "cat"], ["dog", "sat"], ["cat", "cat", "the"]):
        assert viterbi(ours, sentence)[0] == theirs.best_path(sentence)


def test_an_unknown_word_is_tagged_by_its_neighbours():
    tagged = [[("the", "D"), (noun, "N"), ("runs", "V")] for noun in ["cat", "dog", "cow", "hen", "pig"]]
    assert viterbi(fit_tagger(tagged), ["the", "zebra", "runs"])[0] == ["D", "N", "V"]


def two_states(transition):
    return HiddenMarkovModel(("x", "y"), ("a",), np.array([0.5, 0.5]), np.array(transition), np.ones((2, 1)))


def test_the_tables_of_a_tagger_by_hand():
    tagged = [[("a", "X"), ("b", "Y")], [("a", "X"), ("a", "X"), ("<unk>", "Y")]]
    model = fit_tagger(tagged, k=1, min_count=2)
    assert model.states == ("X", "Y")
    assert model.symbols == ("<unk>", "a")
    assert np.allclose(model.start, [3 / 4, 1 / 4])
    assert np.allclose(model.transition, [[2 / 5, 3 / 5], [1 / 2, 1 / 2]])
    assert np.allclose(model.emission, [[1 / 5, 4 / 5], [3 / 4, 1 / 4]])


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: viterbi(ICE_CREAM, ["4"]), "'4' is not among the 3 symbols"),
        (lambda: forward(ICE_CREAM, []), "nothing to explain"),
        (lambda: fit_tagger([]), "nothing to learn from"),
        (lambda: fit_tagger([[("a", "A")]], k=0), "k must be positive"),
        (lambda: HiddenMarkovModel(("x",), ("a",), np.ones(1), np.ones((1, 1)), np.array([[0.5]])), "add up to 1"),
        (lambda: two_states([[0.7, 0.7], [0.3, 0.3]]), "every row of transition"),
        (lambda: two_states([[1.5, -0.5], [0.5, 0.5]]), "every row of transition"),
        (
            lambda: HiddenMarkovModel(("x",), ("a",), np.ones(1), np.ones((1, 1)), np.ones((1, 2)) / 2),
            "must have shape",
        ),
    ],
)
def test_bad_input_is_refused_with_a_sentence(act, sentence):
    with pytest.raises(ValueError, match=sentence):
        act()


def test_names_are_scored_whole():
    truth = [["B-PER", "I-PER", "O", "B-LOC", "B-PER"]]
    guess = [["B-PER", "O", "O", "B-LOC", "B-PER"]]  # half of the first name is no name
    assert span_scores(truth, guess) == {"LOC": (1.0, 1.0, 1.0), "PER": (0.5, 0.5, 0.5)}
    assert span_scores(truth, [["O"] * 5])["PER"] == (0.0, 0.0, 0.0)
    assert spans(["I-PER", "B-PER", "I-LOC"]) == {(1, 2, "PER")}
    assert span_scores([["O"]], [["B-PER"]]) == {"PER": (0.0, 0.0, 0.0)}  # an invented kind is not forgiven


def test_different_lengths_cannot_be_scored():
    with pytest.raises(ValueError, match="got 1 and 2 tags in document 0"):
        span_scores([["O"]], [["O", "O"]])
    with pytest.raises(ValueError, match="got 1 and 0 documents"):
        span_scores([["O"]], [])
