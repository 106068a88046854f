"""Counting: against a dictionary of tuples, on the same text."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.ngrams import counting, encoding
from labkit.ngrams.counting import count_ngrams
from labkit.ngrams.encoding import Encoder, pad_numbers
from labkit.ngrams.vocabulary import BOS_ID, EOS_ID

SENTENCES = st.lists(st.lists(st.sampled_from("abcd"), max_size=8), min_size=1, max_size=8).filter(any)


def levels_of(sentences, order):
    encoder = Encoder()
    encoder.add(sentences)
    vocabulary = encoder.vocabulary()
    tokens, lengths = pad_numbers(*encoder.encoded(vocabulary), left=1, right=1)
    return count_ngrams(tokens, lengths, order=order, vocabulary_size=len(vocabulary)), vocabulary


def spelled(levels, n):
    """The n-grams of a level as tuples of word numbers, in their order."""
    if n == 1:
        return [(int(w),) for w in levels[0].word]
    contexts = spelled(levels, n - 1)
    level = levels[n - 1]
    return [(*contexts[c], int(w)) for c, w in zip(level.context, level.word, strict=True)]


def by_dictionary(sentences, vocabulary, order):
    counts = Counter()
    for sentence in sentences:
        padded = (BOS_ID, *(vocabulary.lookup(t) for t in sentence), EOS_ID)
        for n in range(1, order + 1):
            counts.update(padded[i : i + n] for i in range(len(padded) - n + 1))
    return counts


def test_a_text_counted_by_hand():
    levels, vocabulary = levels_of([["a", "b", "a", "b"], ["a"]], order=2)
    a, b = vocabulary.lookup("a"), vocabulary.lookup("b")
    assert dict(zip(spelled(levels, 2), levels[1].count.tolist(), strict=True)) == {
        (BOS_ID, a): 2, (a, b): 2, (b, a): 1, (b, EOS_ID): 1, (a, EOS_ID): 1,
    }  # fmt: skip
    assert levels[0].count[a] == 3
    assert levels[0].count[BOS_ID] == 0  # context only, never predicted
    assert levels[0].adjusted[a] == 2  # behind <s> and behind b


@given(SENTENCES, st.integers(1, 5))
def test_the_sort_counts_what_a_dictionary_counts(sentences, order):
    levels, vocabulary = levels_of(sentences, order)
    expected = by_dictionary(sentences, vocabulary, order)
    for n in range(2, order + 1):
        found = dict(zip(spelled(levels, n), levels[n - 1].count.tolist(), strict=True))
        assert found == {gram: c for gram, c in expected.items() if len(gram) == n}
        assert spelled(levels, n) == sorted(found)


@given(SENTENCES)
def test_suffixes_and_continuations_are_those_of_the_words(sentences):
    levels, vocabulary = levels_of(sentences, 4)
    before = defaultdict(set)
    for gram in by_dictionary(sentences, vocabulary, 4):
        if len(gram) > 1:
            before[gram[1:]].add(gram[0])
    for n in (2, 3):
        grams, lower = spelled(levels, n), spelled(levels, n - 1)
        level = levels[n - 1]
        assert [lower[s] for s in level.suffix] == [g[1:] for g in grams]
        for gram, adjusted, count in zip(grams, level.adjusted, level.count, strict=True):
            assert adjusted == (count if gram[0] == BOS_ID else len(before[gram]))


@given(SENTENCES)
def test_sums_over_a_context_are_those_of_its_ngrams(sentences):
    level = levels_of(sentences, 3)[0][2]
    expected = np.bincount(level.context, weights=level.count, minlength=len(level.start) - 1)
    assert np.array_equal(level.sum(level.count), expected)
    assert np.allclose(level.sum(level.count * 0.5), expected / 2)
    assert np.array_equal(level.spread(level.sum(level.count)), expected[level.context])


@pytest.mark.parametrize(("name", "value"), [("RADIX", 6), ("CHUNK", 3), ("CHUNK", 1)])
def test_rare_words_and_small_chunks_are_sorted_like_all_others(monkeypatch, name, value):
    text = [list("abcdefgabcdgfedcba"), list("gfedcbaabc"), list("aaaaa")]
    expected, _ = levels_of(text, 4)
    monkeypatch.setattr(counting, name, value)  # with RADIX 6 most words are "rare"
    found, _ = levels_of(text, 4)
    for a, b in zip(expected, found, strict=True):
        for field in ("context", "word", "suffix", "count", "adjusted", "start"):
            assert np.array_equal(getattr(a, field), getattr(b, field))


def test_a_text_that_is_split_in_pieces_is_the_same_text(monkeypatch):
    text = "a b c\n\nd e\na a a a\nb\n" * 3
    whole, pieces = Encoder(), Encoder()
    whole.add_lines(text)
    monkeypatch.setattr(encoding, "PIECE", 4)
    pieces.add_lines(text)
    for a, b in zip(whole.text(), pieces.text(), strict=True):
        assert np.array_equal(a, b)


@given(st.lists(st.lists(st.sampled_from(["a", "bb", "c."]), max_size=5), min_size=1, max_size=6).filter(any))
def test_lines_of_text_are_sentences_of_tokens(sentences):
    by_lists, by_lines = Encoder(), Encoder()
    by_lists.add(sentences)
    by_lines.add_lines("\n".join(" ".join(s) for s in sentences) + "\n")
    (words, lengths), (words_by_lines, lengths_by_lines) = by_lists.text(), by_lines.text()
    spelling = list(by_lines.index)
    assert [spelling[i] for i in words_by_lines] == [list(by_lists.index)[i] for i in words]
    assert lengths_by_lines.tolist() == lengths.tolist()


@pytest.mark.parametrize("bad", [[["a", 3]], [["a", ["b"]]], ["a b"], [["new", None]]])
def test_a_refused_sentence_leaves_the_text_as_it_was(bad):
    encoder = Encoder()
    encoder.add([["a", "b"]])
    with pytest.raises(ValueError, match="got"):
        encoder.add(bad)
    assert list(encoder.index) == ["a", "b"]
    assert encoder.text()[0].tolist() == [0, 1]


@pytest.mark.parametrize("text", [b"a b", ["a b"], "a \ue000 b", "", "\n\n"])
def test_lines_that_are_no_text_are_refused_and_leave_nothing_behind(text):
    encoder = Encoder()
    with pytest.raises(ValueError, match=r"got bytes|got list|private-use|no token"):
        encoder.add_lines(text)
    assert encoder.size == 0
    assert len(encoder.text()[1]) == 0


@pytest.mark.parametrize("size", [65_533, 65_534, 65_535, 65_536, 70_000])
def test_vocabularies_around_sixteen_bits_are_counted_alike(size):
    tokens = np.array([3, size - 1, 4, size - 1, 4, size - 2, 3], dtype=np.int32)
    level = count_ngrams(tokens, np.array([len(tokens)]), order=2, vocabulary_size=size)[1]
    pairs = dict(zip(zip(level.context.tolist(), level.word.tolist(), strict=True), level.count.tolist(), strict=True))
    assert pairs == Counter(zip(tokens.tolist(), tokens.tolist()[1:], strict=False))
