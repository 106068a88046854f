"""Near-duplicates: nothing wrong is removed, nearly everything is found, and each removal says why."""

import itertools

import numpy as np
import pytest

from labkit.cleaning import near as module
from labkit.cleaning.banding import Bands, candidates, candidates_on_disk, choose, keys, write_keys
from labkit.cleaning.minhash import MinHash
from labkit.cleaning.near import decide, near_duplicates, similarities, verified
from labkit.cleaning.shingles import Shingling, hash_shingles, jaccard, shingles

RNG = np.random.default_rng(0)
WORDS = [f"w{i}" for i in range(4000)]


def text_of(*parts):
    return " ".join(word for part in parts for word in part)


def edited(words, places):
    copy = list(words)
    for place in places:
        copy[place] = "changed"
    return copy


def planted(originals=60, words=80):
    """Texts and near copies of half of them with one to three words changed, in a fixed mixed order."""
    base = [list(RNG.choice(WORDS, words)) for _ in range(originals)]
    copies = [edited(base[i], RNG.choice(words, i % 3 + 1)) for i in range(0, originals, 2)]
    texts = [" ".join(t) for t in base + copies]
    return [texts[i] for i in RNG.permutation(len(texts))]


def all_pairs(texts, threshold):
    sets = [shingles(text) for text in texts]
    found = ((i, j, jaccard(sets[i], sets[j])) for i, j in itertools.combinations(range(len(texts)), 2))
    return [pair for pair in found if pair[2] >= threshold]


def test_a_copy_with_other_case_and_space_goes_and_says_of_what_it_is_one():
    found = near_duplicates(["One two three four five six.", "other words", "one  TWO three four, five six"])
    assert (found.kept, found.removed, found.of, found.similarity) == ([0, 1], [2], {2: 0}, {2: 1.0})
    assert str(found) == "kept 2, removed 1 (1 pairs of near-duplicates)"


def test_the_pairs_are_those_that_comparing_all_would_give():
    texts = planted()
    assert near_duplicates(texts, 0.7).pairs == all_pairs(texts, 0.7)


def test_a_chain_goes_together_and_shows_its_small_similarity():
    words = WORDS[:60]
    chain = [text_of(words), text_of(edited(words, [20])), text_of(edited(words, [20, 40]))]
    sets = [shingles(text) for text in chain]
    assert jaccard(sets[0], sets[2]) < 0.8 <= min(jaccard(sets[0], sets[1]), jaccard(sets[1], sets[2]))
    found = near_duplicates(chain)
    assert found.of == {1: 0, 2: 0} and found.similarity[2] == jaccard(sets[0], sets[2])
    direct = near_duplicates(chain, chains=False)
    assert direct.kept == [0, 2] and direct.of == {1: 0}


def test_without_chains_every_removed_text_is_similar_to_a_kept_one_and_no_two_kept_ones_are():
    words = WORDS[:60]
    texts = [text_of(edited(words, range(3, 3 + i))) for i in range(8)] + planted(20)
    found = near_duplicates(texts, chains=False)
    assert min(found.similarity.values()) >= 0.8 and not set(found.of.values()) & set(found.removed)
    kept = set(found.kept)
    assert not [pair for pair in found.pairs if pair[0] in kept and pair[1] in kept]


def test_texts_without_a_word_are_copies_only_if_asked():
    texts = ["", "a b", "...", " "]
    assert near_duplicates(texts).kept == [0, 1, 2, 3]
    found = near_duplicates(texts, empty=True)
    assert (found.kept, found.of, found.similarity) == ([0, 1], {2: 0, 3: 0}, {2: 1.0, 3: 1.0})
    assert near_duplicates(["a"], empty=True).kept == [0] and near_duplicates([]).kept == []


def test_short_texts_are_copies_when_all_their_words_are_the_same():
    assert near_duplicates(["Read more", "read more!", "Read less"]).of == {1: 0}


def test_chinese_is_compared_by_characters():
    first = "话说天下大势分久必合合久必分周末七国分争并入于秦及秦灭之后楚汉分争又并入于汉朝自高祖斩白蛇而起义一统天下"
    pair = [first, first[:20] + "变" + first[21:]]
    found = near_duplicates([*pair, "却说董卓字仲颖陇西临洮人也官拜河东太守自来骄傲"])
    assert found.of == {1: 0} and found.similarity[1] == jaccard(*(shingles(text) for text in pair)) < 1


def test_similarities_are_exact_for_large_and_small_pairs(monkeypatch):
    monkeypatch.setattr(module, "PAIRS", 7)
    monkeypatch.setattr(module, "SHINGLES", 300)
    texts = [*planted(16), "", "w1", "w1 w1", text_of(WORDS[:900]), text_of(WORDS[:890]), "w1 " * 50]
    pairs = np.array(list(itertools.combinations(range(len(texts)), 2)))
    sets = [shingles(text) for text in texts]
    expected = [jaccard(sets[i], sets[j]) for i, j in pairs]
    assert similarities(hash_shingles(texts), pairs).tolist() == expected
    assert len(similarities(hash_shingles(texts), pairs[:0])) == 0


def test_streamed_from_disk_the_result_is_that_of_all_texts_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FETCHED", 8)
    words, texts = WORDS[:60], planted(30)
    texts += [text_of(edited(words, range(3, 3 + i))) for i in range(6)] + ["same page " * 9] * 70
    bands, fetched = choose(0.8, module.HASHES), []

    def fetch(numbers):
        fetched.append(len(numbers))
        return [texts[i] for i in numbers]

    for first in range(0, len(texts), 25):
        signatures = MinHash(bands.hashes).signatures(texts[first : first + 25])
        write_keys(tmp_path / f"{first:04}.npy", keys(signatures, bands), first)
    pairs = set()
    for part in candidates_on_disk(sorted(tmp_path.iterdir()), partitions=5):
        pairs |= set(verified(part, fetch, 0.8))
    assert decide(len(texts), pairs, fetch) == near_duplicates(texts)
    assert max(fetched) <= 16


def test_own_bands_and_shingles_are_used():
    texts = planted(20)
    assert near_duplicates(texts, 0.8, bands=Bands(1, 64)).pairs != all_pairs(texts, 0.8)
    assert near_duplicates(["a b", "b a"], how=Shingling(size=1)).of == {1: 0}
    assert near_duplicates(["a b", "b a"]).of == {}


def test_candidates_are_few_among_many_strangers():
    texts = [text_of(RNG.choice(WORDS, 60)) for _ in range(400)]
    bands = choose(0.8)
    assert len(candidates(keys(MinHash(bands.hashes).signatures(texts), bands))) == 0


@pytest.mark.parametrize("threshold", [0, 1, 80])
def test_an_impossible_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match=f"between 0 and 1, got {threshold}; for equal texts"):
        near_duplicates(["a"], threshold)


def test_a_threshold_that_needs_more_hashes_says_which_bands_to_give():
    with pytest.raises(ValueError, match=r"bands=choose\(0\.05, 104\)"):
        near_duplicates(["a b c"], 0.05)
    assert near_duplicates(["a b c"], 0.05, bands=choose(0.05, 104)).kept == [0]


@pytest.mark.parametrize("threshold", [None, "0.8"])
def test_a_threshold_that_is_no_number_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold must lie between 0 and 1"):
        near_duplicates(["a b c"], threshold)
