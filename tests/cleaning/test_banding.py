"""Banding: the S-curve of the textbook, candidates as all pairs would give them, in memory and from disk."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning import banding as module
from labkit.cleaning.banding import (
    NO_KEY,
    Bands,
    candidates,
    candidates_on_disk,
    choose,
    keys,
    probability,
    threshold,
    write_keys,
)
from labkit.cleaning.minhash import NOTHING, MinHash

RNG = np.random.default_rng(0)


def by_all_pairs(signatures, bands):
    cut = signatures[:, : bands.hashes].reshape(len(signatures), bands.bands, bands.rows)
    return [[i, j] for i, j in itertools.combinations(range(len(cut)), 2) if (cut[i] == cut[j]).all(axis=1).any()]


def test_the_s_curve_is_that_of_the_textbook():
    printed = {0.2: 0.006, 0.3: 0.047, 0.4: 0.186, 0.5: 0.470, 0.6: 0.802, 0.7: 0.975, 0.8: 0.9996}
    for similarity, value in printed.items():  # Mining of massive datasets, figure 3.8
        assert probability(similarity, bands=20, rows=5) == pytest.approx(value, abs=0.0006)
    assert threshold(16, 4) == 0.5  # section 3.4.2


def test_the_s_curve_is_how_often_random_signatures_meet():
    same = RNG.random((20_000, 20)) < 0.6
    met = same.reshape(-1, 5, 4).all(axis=2).any(axis=1).mean()
    assert met == pytest.approx(probability(0.6, 5, 4), abs=0.015)


@given(st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), max_size=12))
@settings(max_examples=60, deadline=None)
def test_candidates_are_the_pairs_that_agree_in_a_band(rows):
    signatures = np.array(rows, np.uint32).reshape(-1, 6)
    bands = Bands(3, 2)
    assert candidates(keys(signatures, bands)).tolist() == by_all_pairs(signatures, bands)


def test_keys_of_different_bands_never_meet_and_empty_texts_have_none():
    found = keys(np.full((2, 6), 7, np.uint32), Bands(3, 2))
    assert len(set(found[0].tolist())) == 3 and (found[0] == found[1]).all()
    empty = keys(np.full((3, 6), NOTHING), Bands(3, 2))
    assert (empty == NO_KEY).all() and len(candidates(empty)) == 0


def test_a_crowded_bucket_pairs_each_text_with_the_first_and_the_one_before():
    found = keys(np.full((70, 4), 5, np.uint32), Bands(2, 2))
    expected = sorted({(0, i) for i in range(1, 70)} | {(i - 1, i) for i in range(1, 70)})
    assert candidates(found).tolist() == [list(pair) for pair in expected]
    assert len(candidates(found, crowd=70)) == 70 * 69 // 2
    assert len(candidates(found[:64])) == 64 * 63 // 2


@pytest.mark.parametrize("partitions", [1, 7, 64])
def test_candidates_from_disk_are_those_in_memory(tmp_path, partitions):
    signatures = RNG.integers(0, 6, (300, 12), dtype=np.uint32)
    signatures[100:170] = signatures[99]  # a crowd, over two shards
    signatures[::50] = NOTHING
    bands = Bands(4, 3)
    shards = [(0, 120), (120, 121), (121, 121), (121, 300)]
    for first, end in shards:
        write_keys(tmp_path / f"{first}-{end}.npy", keys(signatures[first:end], bands), first)
    parts = list(candidates_on_disk(sorted(tmp_path.glob("*.npy")), partitions=partitions))
    assert len(parts) == partitions and not list(tmp_path.glob("*.part"))
    found = {tuple(pair) for part in parts for pair in part.tolist()}
    assert found == {tuple(pair) for pair in candidates(keys(signatures, bands)).tolist()}


def test_only_one_part_of_the_keys_is_in_memory_at_a_time(tmp_path, monkeypatch):
    sizes = []

    def pairs(key, text, crowd):
        sizes.append(len(key))
        return np.zeros((0, 2), np.int64)

    monkeypatch.setattr(module, "_pairs", pairs)
    found = keys(RNG.integers(0, 2**32, (500, 12), dtype=np.uint32), Bands(4, 3))
    for first in range(0, 500, 50):
        write_keys(tmp_path / f"{first}.npy", found[first : first + 50], first)
    list(candidates_on_disk(tmp_path.iterdir(), partitions=8))
    assert sum(sizes) == 2000 and len(sizes) == 8 and max(sizes) < 2 * 2000 / 8


def test_the_order_of_the_shards_does_not_matter(tmp_path):
    found = keys(RNG.integers(0, 3, (40, 6), dtype=np.uint32), Bands(3, 2))
    for first in (20, 0):
        write_keys(tmp_path / f"{first}.npy", found[first : first + 20], first)
    once, again = (
        [part.tolist() for part in candidates_on_disk(paths)]
        for paths in ([tmp_path / "0.npy", tmp_path / "20.npy"], [tmp_path / "20.npy", tmp_path / "0.npy"])
    )
    assert once == again and sum(map(len, once)) > 0


def test_the_chosen_bands_find_what_was_asked_with_the_hashes_given():
    for goal, hashes in itertools.product((0.5, 0.7, 0.8, 0.9), (64, 128, 256)):
        found = choose(goal, hashes)
        assert found.hashes <= hashes and found.probability(goal) >= 0.995
        steeper = found.rows + 1
        needed = next(b for b in range(1, 10_000) if probability(goal, b, steeper) >= 0.995)
        assert needed * steeper > hashes


def test_more_hashes_let_fewer_different_texts_through():
    assert choose(0.8, 256).probability(0.5) < choose(0.8, 128).probability(0.5) < choose(0.8, 64).probability(0.5)


def test_candidates_of_real_signatures_hold_a_near_copy_and_no_stranger():
    words = [f"word{i}" for i in range(100)]
    texts = [" ".join(words), " ".join(words[::-1]), " ".join(["other", *words[1:]])]
    bands = choose(0.8)
    assert candidates(keys(MinHash(bands.hashes).signatures(texts), bands)).tolist() == [[0, 2]]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Bands(0, 5), "at least 1, got 0 bands"),
        (lambda: choose(1.2), "between 0 and 1, got 1.2"),
        (lambda: choose(0.1, hashes=10), "10 hashes cannot find 99.5% at similarity 0.1: give at least 51"),
        (lambda: keys(np.zeros((1, 9), np.uint32), Bands(2, 5)), "need 10 hashes, the signatures have 9"),
    ],
)
def test_impossible_bands_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
