"""Damage, copies, personal data and junk: each with its truth."""

import re
import time
from collections import Counter
from difflib import SequenceMatcher

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.corpora.crawl import (
    DEFECTS,
    KINDS,
    KINDS_OF_DAMAGE,
    damaged,
    junk,
    mojibake,
    near_copies,
    personal_documents,
    true_jaccard,
    word_shingles,
)
from labkit.corpora.crawl.identities import card_number, id_cn, luhn_digit
from labkit.corpora.crawl.prose import clean_paragraphs, sentences

TEXTS = [
    " ".join(f"w{(i * 7919 + j * j) % 1009}" for j in range(120)) + "\n\n" + " ".join(f"v{i}x{j}" for j in range(60))
    for i in range(6)
]


def test_mojibake_by_hand():
    assert mojibake("é") == "Ã©"
    assert mojibake("’") == "â€™"
    assert mojibake("ç", written="latin-1", read="utf-8") == "\ufffd"
    assert mojibake("中", written="gb18030", read="cp1252") == "ÖÐ"
    assert mojibake("Á") == "Ã\x81", "a byte that cp1252 leaves undefined becomes a control character, as in browsers"


@given(st.text())
@settings(max_examples=40)
def test_utf8_read_as_cp1252_can_be_undone_byte_for_byte(text):
    undone = bytes(ord(c) if ord(c) < 256 else c.encode("cp1252")[0] for c in mojibake(text.replace("\ud800", "")))
    assert undone.decode() == text


def test_damaged_texts_differ_from_their_originals_and_others_do_not():
    texts = ["Plain ASCII only, it's true.", "Café – naïve “words”.", "话说天下大势，分久必合，合久必分。"] * 30
    made = damaged(texts, share=0.5, seed=1)
    assert made == damaged(texts, share=0.5, seed=1)
    assert {one.kind for one in made} == {*KINDS_OF_DAMAGE, ""}
    for text, one in zip(texts, made, strict=True):
        assert (one.text != one.original) == bool(one.kind)
        assert one.kind or one.text == text
        assert SequenceMatcher(None, one.original, text).ratio() > 0.9
    assert not any(one.kind for one in damaged(texts, share=0, seed=1))


def test_damage_refuses_a_share_that_is_none_and_empty_texts():
    with pytest.raises(ValueError, match=r"share=1\.5"):
        damaged(["a"], share=1.5, seed=0)
    with pytest.raises(ValueError, match="empty text"):
        damaged([" "], seed=0)


def test_jaccard_by_hand():
    assert true_jaccard("a b c d e f", "a b c d e g") == 1 / 3
    assert true_jaccard("天下大势分久必合", "天下大势 分久必合", language="zh") == 1
    assert word_shingles("only three words") == {"only three words"}


def test_copies_have_the_similarity_that_is_told_for_all_pairs_of_a_family():
    made = near_copies(TEXTS, similarities=(0.5, 0.8, 0.95), copies=2, seed=4)
    assert made.texts[: len(TEXTS)] == TEXTS
    assert len(made.texts) == 3 * len(TEXTS)
    assert len(made.pairs) == 3 * len(TEXTS), "an original with two copies makes three pairs"
    for i, j, similarity in made.pairs:
        assert i < j
        assert similarity == true_jaccard(made.texts[i], made.texts[j])
    told = {(i, j) for i, j, _ in made.pairs}
    for i, first in enumerate(made.texts):
        for j in range(i + 1, len(made.texts)):
            assert (i, j) in told or true_jaccard(first, made.texts[j]) < 0.2


@pytest.mark.parametrize("target", [0.5, 0.7, 0.9, 0.95])
def test_similarities_lie_at_their_target_or_just_below(target):
    made = near_copies(TEXTS, similarities=(target,), copies=4, seed=2)
    found = [similarity for i, _, similarity in made.pairs if i < len(TEXTS) and _ >= len(TEXTS)]
    found = found[: 4 * len(TEXTS)]
    assert all(target - 0.1 < s <= target for i, j, s in made.pairs if i < len(TEXTS)), found


def test_copies_refuse_what_cannot_be_edited():
    with pytest.raises(ValueError, match="3 words is too short"):
        near_copies(["only three words"], seed=0)
    with pytest.raises(ValueError, match="similarities between 0 and 1"):
        near_copies(TEXTS, similarities=(1.0,), seed=0)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("templates", [1, 2])
def test_spans_of_personal_data_are_exact_and_look_like_their_kind(language, templates):
    form = {
        "email": r"[\w.+-]+@[\w.-]+\.(com|org|net|edu)", "phone": r"[+(\d][\d ().-]{7,18}\d",
        "url": r"(https?|ftp)://\S+|www\.\S+",
        "ipv4": r"(\d{1,3}\.){3}\d{1,3}", "ipv6": r"[0-9a-fA-F:]+(:[\d.]+)?", "card": r"\d[\d -]{13,18}",
        "ssn": r"\d{3}-\d\d-\d{4}",
        "id_cn": r"\d{17}[\dX]",
    }  # fmt: skip
    made = personal_documents(150, seed=9, language=language, templates=templates)
    assert made == personal_documents(150, seed=9, language=language, templates=templates)
    kinds = Counter()
    for one in made:
        ends = 0
        for start, end, kind in one.spans:
            assert start >= ends
            ends = end
            assert re.fullmatch(form[kind], one.text[start:end], re.I), (kind, one.text[start:end])
            kinds[kind] += 1
    assert set(kinds) == set(KINDS) - ({"id_cn"} if language == "en" else {"ssn"})
    assert any(not one.spans for one in made)


def test_the_two_sets_share_no_sentence():
    from labkit.corpora.crawl.letters import SENTENCES

    for language in ("en", "zh"):
        assert not set(SENTENCES[language, 1]) & set(SENTENCES[language, 2])


def test_check_digits_of_published_examples():
    assert luhn_digit("7992739871") == "3", "the example that textbooks give for Luhn's test"
    assert luhn_digit("411111111111111") == "1"


def test_right_numbers_pass_their_check_and_near_misses_do_not():
    import random

    rng = random.Random(0)
    for right in (True, False):
        for _ in range(50):
            number = card_number(rng, right=right)
            assert (luhn_digit(number[:-1]) == number[-1]) == right
            identity = id_cn(rng, right=right)
            total = sum(int(d) * 2 ** (17 - i) for i, d in enumerate(identity[:17]))
            assert ("10X98765432"[total % 11] == identity[-1]) == right, "ISO 7064, MOD 11-2: weights are powers of 2"


def test_personal_documents_refuse_a_set_that_does_not_exist():
    with pytest.raises(ValueError, match="templates=3"):
        personal_documents(1, seed=0, templates=3)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_junk_breaks_the_rule_that_it_was_built_for(language):
    made = junk(80, seed=2, language=language)
    assert made == junk(80, seed=2, language=language)
    defects = Counter(defect for _, defect in made)
    assert set(defects) <= {*DEFECTS, "good"}
    assert 4 <= defects["good"] <= 12
    for text, defect in made:
        words, lines = text.split(), text.split("\n")
        if defect == "too_short":
            assert len(words if language == "en" else text) < 50
        elif defect == "bullets":
            assert all(line.startswith(("•", "-", "*")) for line in lines)
        elif defect == "ellipsis":
            assert sum(line.endswith(("...", "…")) for line in lines) > 0.3 * len(lines)
        elif defect == "repeated_lines":
            assert len(set(lines)) <= 0.7 * len(lines)
        elif defect == "repeated_paragraphs":
            assert len(set(text.split("\n\n"))) < len(text.split("\n\n"))
        elif defect == "word_length":
            assert not 3 <= sum(map(len, words)) / len(words) <= 10
        elif defect == "alphabetic":
            assert sum(any(map(str.isalpha, word)) for word in words) < 0.8 * len(words)
        elif defect == "curly":
            assert "{" in text
        elif defect in ("lorem", "javascript"):
            assert defect in text.lower()


def test_clean_paragraphs_hold_no_personal_data_that_nobody_planted():
    pattern = re.compile(r"\S+@\S+\.\w|https?:|\b\d{3}-\d{2}-\d{4}\b|\b\d{15,}\b")
    for language in ("en", "zh"):
        assert not [p for p in clean_paragraphs(language) if pattern.search(p)]


def test_copies_without_a_similarity_are_refused():
    with pytest.raises(ValueError, match=r"similarities=\(\)"):
        near_copies(["a b c " * 20], similarities=(), seed=0)


def test_chinese_sentences_are_cut_in_one_pass_and_a_rest_without_an_end_is_left_out():
    assert sentences("甲说：“好！”乙。丙", "zh") == ["甲说：“好！”", "乙。"]
    assert sentences("没有结尾", "zh") == ["没有结尾"]

    def seconds(count):
        begin = time.process_time()
        assert len(sentences("中”" * count, "zh")) == 1
        return time.process_time() - begin

    assert seconds(80_000) < 32 * max(seconds(10_000), 1e-3)
