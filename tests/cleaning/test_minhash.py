"""MinHash: equal places are as likely as shared shingles, and the estimate's variance is that of the theory."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from labkit.cleaning import minhash as module
from labkit.cleaning.minhash import NOTHING, MinHash
from labkit.cleaning.shingles import Shingling, hash_shingles, jaccard, shingle_hashes

RNG = np.random.default_rng(0)


def hashes(n):
    return RNG.integers(0, 2**64, n, dtype=np.uint64)


def test_a_signature_by_hand():
    found = MinHash(hashes=3, seed=1)
    shingles = np.array([5 << 32, 7 << 32], np.uint64)
    by_hand = [min(int(m) * 5 % 2**32, int(m) * 7 % 2**32) for m in found.multipliers]
    assert found.signature(shingles).tolist() == by_hand
    assert (found.multipliers % 2 == 1).all()


def test_over_all_orders_of_a_small_universe_the_minima_agree_as_often_as_elements_are_shared():
    first, second, orders = {0, 1, 2, 3}, {2, 3, 4}, list(itertools.permutations(range(6)))
    agree = sum(min(order[x] for x in first) == min(order[x] for x in second) for order in orders)
    assert Fraction(agree, len(orders)) == Fraction(len(first & second), len(first | second))


def test_signatures_of_many_texts_are_those_of_one_set_at_a_time(monkeypatch):
    monkeypatch.setattr(module, "AT_A_TIME", 50)
    texts = [
        "",
        "one",
        "a b c d e f g h",
        " ",
        "三国演义第一回宴桃园豪杰三结义",
        *(" ".join(map(str, range(n))) for n in (30, 90, 5)),
    ]
    found = MinHash(hashes=16, seed=3)
    one_by_one = [found.signature(shingle_hashes(text)) for text in texts]
    assert found.signatures(texts).tolist() == np.array(one_by_one).tolist()
    assert (found.signatures(texts)[[0, 3]] == NOTHING).all()
    assert found.signatures([]).shape == (0, 16)


def test_repeats_and_order_do_not_change_a_signature():
    shingles = hashes(50)
    found = MinHash(hashes=32)
    assert (found.signature(shingles) == found.signature(RNG.permutation(np.repeat(shingles, 2)))).all()


def test_the_seed_decides_the_signature():
    text = ["a b c d e f g"]
    assert (MinHash(32, seed=1).signatures(text) == MinHash(32, seed=1).signatures(text)).all()
    assert (MinHash(32, seed=1).signatures(text) != MinHash(32, seed=2).signatures(text)).any()


@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.8])
def test_the_estimate_is_right_on_average_and_varies_as_the_theory_says(similarity):
    common = round(200 * similarity / (1 + similarity))
    exact, hashes_, estimates = common / (200 - common), 100, []
    for seed in range(600):
        universe, found = hashes(200 - common), MinHash(hashes_, seed)
        estimates.append(found.estimate(found.signature(universe[:100]), found.signature(universe[100 - common :])))
    assert abs(np.mean(estimates) - exact) < 4 * np.sqrt(exact * (1 - exact) / hashes_ / len(estimates))
    assert np.var(estimates) / (exact * (1 - exact) / hashes_) == pytest.approx(1, abs=0.25)


def test_estimates_agree_with_those_of_datasketch():
    datasketch = pytest.importorskip("datasketch")
    words = [f"word{i}" for i in range(120)]
    texts = [" ".join(words), " ".join([*words[:100], "new", "words", *words[104:]])]
    exact = jaccard(*(shingle_hashes(text) for text in texts))
    theirs = []
    for text in texts:
        theirs.append(datasketch.MinHash(num_perm=512))
        theirs[-1].update_batch([shingle.tobytes() for shingle in shingle_hashes(text)])
    ours = MinHash(512).estimate(*MinHash(512).signatures(texts))
    spread = 4 * np.sqrt(exact * (1 - exact) / 512)
    assert abs(ours - exact) < spread and abs(theirs[0].jaccard(theirs[1]) - exact) < spread


def test_estimates_of_many_pairs_come_as_an_array():
    found = MinHash(64).signatures(["a b c d e f", "A B C D E F", "quite another text of words"])
    assert MinHash.estimate(found[:1], found).tolist() == [1.0, 1.0, 0.0]


def test_how_shingles_are_made_is_the_callers_choice():
    pair = ["天下大势分久必合", "天下大势，分久必合！"]
    assert MinHash.estimate(*MinHash(32).signatures(pair)) == 1.0
    kept = MinHash(32, how=Shingling(keep_punctuation=True))
    assert MinHash.estimate(*kept.signatures(pair)) < 1.0
    assert (kept.of(hash_shingles(pair, kept.how)) == kept.signatures(pair)).all()


def test_impossible_signatures_are_refused():
    with pytest.raises(ValueError, match="at least one hash, got 0"):
        MinHash(0)
    with pytest.raises(ValueError, match="8 and 4 hashes"):
        MinHash.estimate(np.zeros(8, np.uint32), np.zeros(4, np.uint32))
