"""The quality classifier: bags by hand, slopes by differences, scikit-learn's weights, and GPT-3's rule in numbers."""

import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning import classifier
from labkit.cleaning.classifier import (
    QualityClassifier,
    bucket,
    conjugate_gradients,
    hashed,
    keep,
    keep_probability,
    loss_and_gradient,
    newton,
    pieces,
    sigmoid,
)

GOOD = [
    "The river rises in the hills and flows to the sea.",
    "She wrote books about birds.",
    "河流入海，两岸有山。",
]
BAD = ["BUY NOW !!! cheap cheap cheap", "click here click here to win", "便宜！便宜！点击购买！"]
LABELS = np.repeat([1.0, 0.0], [len(GOOD), len(BAD)])


@pytest.fixture(scope="module")
def bags():
    return hashed(GOOD + BAD, 64)


def test_a_bag_by_hand():
    found = hashed(["a b a b", "c"], 1000)
    # a, b and "a b" twice, "b a" once: 1 + log 2 three times and 1, scaled to length 1.
    twice = 1 + np.log(2)
    row = found.dense()[0]
    assert pieces("a b a b") == ["a", "b", "a", "b", "a b", "b a", "a b"]
    assert row[bucket("a b", 1000)] == pytest.approx(twice / np.sqrt(3 * twice**2 + 1))
    assert row[bucket("b a", 1000)] == pytest.approx(1 / np.sqrt(3 * twice**2 + 1))
    assert found.dense()[1].tolist().count(1.0) == 1


def test_chinese_characters_are_words_of_their_own():
    assert pieces("买Book！") == ["买", "book", "！", "买 book", "book ！"]


def test_another_process_puts_a_word_into_the_same_bucket_which_hash_would_not():
    ask = "from labkit.cleaning.classifier import bucket; print(bucket('word', 2**20), hash('word'))"
    ran = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    theirs, salted = ran.stdout.split()
    assert int(theirs) == bucket("word", 2**20) == 95_505
    assert int(salted) != hash("word")


def test_products_with_a_bag_are_those_with_the_full_matrix(bags):
    draw = np.random.default_rng(0)
    weights, errors = draw.normal(size=65), draw.normal(size=6)
    np.testing.assert_allclose(bags.times(weights), bags.dense() @ weights[:-1] + weights[-1])
    np.testing.assert_allclose(bags.transposed_times(errors), [*(bags.dense().T @ errors), errors.sum()])


def test_as_a_sparse_matrix_it_is_the_same(bags):
    pytest.importorskip("scipy")
    assert (bags.sparse().toarray() == bags.dense()).all()


def test_the_slope_is_what_differences_give(bags):
    weights = np.random.default_rng(1).normal(size=65)
    slope = loss_and_gradient(weights, bags, LABELS, 0.3)[1]
    for i in (0, 17, bags.columns[0], 64):
        step = np.zeros(65)
        step[i] = 1e-6
        sides = [loss_and_gradient(weights + s * step, bags, LABELS, 0.3)[0] for s in (1, -1)]
        assert slope[i] == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-7)


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_its_weights_are_those_of_scikit_learn(bags, penalty):
    linear = pytest.importorskip("sklearn.linear_model")
    theirs = linear.LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-12).fit(bags.dense(), LABELS)
    ours = newton(bags, LABELS, penalty)
    np.testing.assert_allclose(ours[:-1], theirs.coef_[0], atol=1e-8)
    assert ours[-1] == pytest.approx(theirs.intercept_[0], abs=1e-8)


def test_conjugate_gradients_solve_a_system():
    matrix = np.array([[4.0, 1, 0], [1, 3, 1], [0, 1, 2]])
    wanted = np.array([1.0, 2, 3])
    np.testing.assert_allclose(conjugate_gradients(lambda v: matrix @ v, wanted), np.linalg.solve(matrix, wanted))
    assert conjugate_gradients(lambda v: matrix @ v, np.zeros(3)).tolist() == [0, 0, 0]


def test_it_tells_what_it_learned_from_what_it_did_not():
    judge = QualityClassifier(buckets=1024).fit(GOOD, BAD)
    assert (judge.score(GOOD) > 0.5).all()
    assert (judge.score(BAD) < 0.5).all()
    assert judge.score(["cheap, buy now!"])[0] < 0.5 < judge.score(["Birds flow to the hills and rivers."])[0]
    against = judge.reasons("cheap birds", most=2)
    assert against[0][0] == "cheap"
    assert against[0][1] < 0


def test_an_empty_text_gets_the_constant_alone():
    judge = QualityClassifier(buckets=64).fit(GOOD, BAD)
    assert judge.score(["", " "]).tolist() == [sigmoid(judge.weights[-1:])[0]] * 2
    assert judge.score([]).shape == (0,)


def test_gpt3_keeps_every_perfect_document_and_one_in_512_of_the_worst():
    assert keep_probability(np.array([1.0, 0.0])).tolist() == [1.0, 1 / 512]
    kept = keep(np.full(200_000, 0.5), seed=3)
    assert kept.mean() == pytest.approx(1.5**-9, abs=0.002)
    assert keep(np.ones(1000)).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(0.5, 20))
def test_a_better_document_is_never_kept_less_often(scores, alpha):
    chances = keep_probability(np.sort(scores), alpha=alpha)
    assert (np.diff(chances) >= 0).all()
    assert ((chances > 0) & (chances <= 1)).all()


def test_the_rule_is_the_line_in_the_paper():
    scores = np.random.default_rng(0).random(500)
    published = np.random.default_rng(7).pareto(9, 500) > 1 - scores
    assert (keep(scores, seed=7) == published).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(alphabet="ab !中", max_size=12), max_size=4))
def test_every_bag_has_length_one_or_is_empty(texts):
    bags = hashed(texts, 16)
    lengths = np.bincount(bags.rows, bags.values**2, minlength=len(texts))
    assert lengths == pytest.approx([float(bool(pieces(text))) for text in texts])
    assert Counter(bags.rows.tolist()) == Counter(
        i for i, t in enumerate(texts) for _ in {bucket(piece, 16) for piece in pieces(t)}
    )


@pytest.mark.parametrize("unit", ["a", " ", "!", "a ", "中", "_-", "\x00"])
def test_hostile_text_costs_in_proportion_to_its_length(unit):
    def cost(size):
        begun = time.process_time()
        pieces(unit * (size // len(unit)))
        return time.process_time() - begun

    assert cost(240_000) <= 32 * max(cost(30_000), 0.003)


def test_what_cannot_be_is_refused():
    judge = QualityClassifier(buckets=8)
    with pytest.raises(ValueError, match=r"call fit\(good, bad\) first"):
        judge.score(["text"])
    with pytest.raises(ValueError, match="call fit"):
        judge.reasons("text")
    with pytest.raises(ValueError, match="got 1 good and 0 bad"):
        judge.fit(["good"], [])
    with pytest.raises(ValueError, match="got one str: put it into brackets"):
        hashed("a text")
    with pytest.raises(ValueError, match="a text must be a string, got int"):
        hashed([3])
    with pytest.raises(ValueError, match="whole number from 1 on, got 0"):
        hashed(["text"], 0)
    with pytest.raises(ValueError, match="penalty above 0"):
        QualityClassifier(penalty=0)
    for wrong in (1.2, -0.1, float("nan")):
        with pytest.raises(ValueError, match="probabilities from 0 to 1"):
            keep(np.array([0.5, wrong]))


def test_the_pattern_waits_until_it_is_needed():
    assert classifier._pattern().findall("A1 b_c") == ["A1", "b_c"]


def test_a_single_text_is_no_list_of_texts_to_learn_from():
    with pytest.raises(ValueError, match="got a single text"):
        QualityClassifier(64).fit("a good text", ["a bad one"])
