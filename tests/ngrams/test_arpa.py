"""ARPA files: ours read by KenLM, others read by us, and damaged ones refused."""

import gzip
import math

import numpy as np
import pytest

from labkit.ngrams import (
    AddK,
    Katz,
    MaximumLikelihood,
    NGramModel,
    Padding,
    StupidBackoff,
    WittenBell,
    read_arpa,
    write_arpa,
)

TEXT = [
    ["the", "cat", "sat", "on", "the", "mat"],
    ["the", "dog", "sat", "on", "the", "log"],
    ["the", "cat", "saw", "the", "dog"],
] * 2
TEST = [["the", "dog", "saw", "the", "mat"], ["a", "zebra", "sat", "on", "the", "cat"], []]

PRUNED = """\\data\\
ngram 1=5
ngram 2=1
ngram 3=1

\\1-grams:
-99\t<s>\t-0.5
-1.0\t</s>
-0.5\ta\t-0.2
-0.6\tb\t-0.3
-0.7\tc\t-0.1

\\2-grams:
-0.3\ta b\t-0.4

\\3-grams:
-0.1\tb c a

\\end\\
"""


@pytest.mark.parametrize("name", ["model.arpa", "model.arpa.gz"])
@pytest.mark.parametrize("method", [None, WittenBell(), Katz(), MaximumLikelihood()], ids=str)
def test_what_is_written_is_read_again(tmp_path, name, method):
    model = NGramModel(3, smoothing=method).fit(TEXT)
    again = read_arpa(write_arpa(model, tmp_path / name))
    ours, theirs = (m.full_scores(TEXT + ([] if method == MaximumLikelihood() else TEST)) for m in (model, again))
    assert np.allclose(ours.log_probability, theirs.log_probability, rtol=1e-7)
    assert np.array_equal(ours.matched, theirs.matched)


def test_kenlm_reads_our_file_and_gives_our_scores(tmp_path):
    kenlm = pytest.importorskip("kenlm", reason="KenLM's Python module has no wheel for this platform")
    model = NGramModel(4).fit(TEXT)
    reference = kenlm.Model(str(write_arpa(model, tmp_path / "model.arpa")))
    for sentence in TEXT + TEST:
        ours = model.full_scores([sentence])
        theirs = list(reference.full_scores(" ".join(sentence)))
        assert np.allclose(ours.log_probability / math.log(10), [p for p, _, _ in theirs], atol=1e-5)
        assert ours.matched.tolist() == [n for _, n, _ in theirs]


def test_missing_intermediate_ngrams_are_backed_off_by_hand(tmp_path):
    (tmp_path / "pruned.arpa").write_text(PRUNED)
    model = read_arpa(tmp_path / "pruned.arpa")
    assert model.query("a", ["b", "c"]) == pytest.approx((-0.1, 3))  # its context "b c" is not in the file
    assert model.query("c", ["b"]) == pytest.approx((-0.3 - 0.7, 1))  # back-off weight of b, then c; no match of 2
    assert model.query("b", ["c", "a"]) == pytest.approx((-0.3, 2))
    assert model.query("c", ["a", "b"]) == pytest.approx((-0.4 - 0.3 - 0.7, 1))
    assert model.score("zebra") == 0.0


def test_kenlm_agrees_about_missing_ngrams(tmp_path):
    kenlm = pytest.importorskip("kenlm", reason="KenLM's Python module has no wheel for this platform")
    model = NGramModel(3).fit(TEXT)
    lines = write_arpa(model, tmp_path / "model.arpa").read_text().splitlines(keepends=True)
    kept = [line for line in lines if "\tcat sat\t" not in line]  # "the cat sat" and "cat sat on" stay
    count = len(model.levels[1])
    (tmp_path / "pruned.arpa").write_text("".join(kept).replace(f"ngram 2={count}", f"ngram 2={count - 1}"))
    ours, theirs = read_arpa(tmp_path / "pruned.arpa"), kenlm.Model(str(tmp_path / "pruned.arpa"))
    for sentence in [*TEXT, *TEST, ["mat", "cat", "sat", "on"]]:
        expected = [p for p, _, _ in theirs.full_scores(" ".join(sentence))]
        assert np.allclose(ours.full_scores([sentence]).log_probability / math.log(10), expected, atol=1e-5)


@pytest.mark.parametrize("method", [AddK(1.0), StupidBackoff()], ids=str)
def test_what_the_format_cannot_say_is_refused_and_no_file_is_left(tmp_path, method):
    with pytest.raises(ValueError, match="choose another smoothing"):
        write_arpa(NGramModel(2, smoothing=method).fit(TEXT), tmp_path / "model.arpa")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t[: len(t) // 2], "cut short or damaged"),
        (lambda t: t.replace("\\end\\", ""), "does not end with"),
        (lambda t: "no model at all", "no line says"),
        (lambda t: "", "no line says"),
        (lambda t: t.replace("ngram 2=1", "ngram 2=2"), "promises"),
        (lambda t: t.replace("ngram 2=1", "ngram two=1"), "expected 'ngram 2=1234'"),
        (lambda t: t.replace("-0.3\ta b", "much\ta b"), "line 14: expected a log10 probability of at most 0, 2 words"),
        (lambda t: t.replace("\ta b\t", "\ta b c\t"), "line 14: expected a log10 probability of at most 0, 2 words"),
        (lambda t: t.replace("-0.3\ta b", "nan\ta b"), "line 14"),
        (lambda t: t.replace("-0.3\ta b", "0.3\ta b"), "line 14"),
        (lambda t: t.replace("a b\t-0.4", "a b\tinf"), "line 14"),
        (lambda t: t.replace("\\2-grams:", "\\3-grams:"), "line 13: expected .2-grams:"),
        (lambda t: t.replace("-0.6\tb", "-0.6\ta"), "the word 'a' is listed twice"),
        (
            lambda t: t.replace("ngram 2=1", "ngram 2=2").replace("-0.3\ta b\t-0.4", "-0.3\ta b\t-0.4\n-0.2\ta b"),
            "twice",
        ),
        (lambda t: t.replace("\tb c a", "\tb x a"), "'x', which is not among the 1-grams"),
    ],
)
def test_a_damaged_file_is_refused_with_a_sentence(tmp_path, change, sentence):
    (tmp_path / "bad.arpa").write_text(change(PRUNED))
    with pytest.raises(ValueError, match=sentence):
        read_arpa(tmp_path / "bad.arpa")


def test_a_gz_file_that_is_not_gz_or_is_cut_in_half_is_refused(tmp_path):
    (tmp_path / "plain.arpa.gz").write_text(PRUNED)
    (tmp_path / "half.arpa.gz").write_bytes(gzip.compress(PRUNED.encode())[:90])
    for name in ("plain.arpa.gz", "half.arpa.gz"):
        with pytest.raises(ValueError, match="not a complete gzip file"):
            read_arpa(tmp_path / name)


def test_a_model_from_a_file_cannot_be_fitted(tmp_path):
    model = read_arpa(write_arpa(NGramModel(2).fit(TEXT), tmp_path / "model.arpa"))
    with pytest.raises(ValueError, match="read from a file"):
        model.fit(TEXT)
    with pytest.raises(ValueError, match="read from a file"):
        _ = model.levels


@pytest.mark.parametrize("token", ["New York", "", "tab\tulator", "line\nbreak", "re\rturn"])
def test_a_token_that_would_break_the_file_is_refused_before_anything_is_written(tmp_path, token):
    with pytest.raises(ValueError, match="cannot hold the token"):
        write_arpa(NGramModel(2).fit([["a", token]]), tmp_path / "model.arpa")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_writing_leaves_no_part_of_a_file(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_arpa(NGramModel(2).fit([["a", "\ud800"]]), tmp_path / "model.arpa")
    assert list(tmp_path.iterdir()) == []


def test_a_padding_that_readers_would_not_guess_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does not tell how sentences are padded"):
        write_arpa(NGramModel(2, padding=Padding(1, 1, predict_start=True)).fit(TEXT), tmp_path / "model.arpa")


def test_a_damaged_gz_body_is_refused(tmp_path):
    body = bytearray(gzip.compress(PRUNED.encode()))
    body[len(body) // 2] ^= 0xFF
    (tmp_path / "bad.arpa.gz").write_bytes(bytes(body))
    with pytest.raises(ValueError):
        read_arpa(tmp_path / "bad.arpa.gz")


def test_connecting_entries_are_neither_matched_nor_written(tmp_path):
    (tmp_path / "pruned.arpa").write_text(PRUNED)
    model = read_arpa(tmp_path / "pruned.arpa")
    assert model.full_scores([["b", "c", "a"]]).matched.tolist() == [1, 1, 3, 1]
    again = write_arpa(model, tmp_path / "again.arpa").read_text()
    assert "ngram 2=1\n" in again
    assert "\tb c\t" not in again
    assert read_arpa(tmp_path / "again.arpa").query("a", ["b", "c"]) == pytest.approx((-0.1, 3))


@pytest.mark.parametrize(
    "change", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n"), lambda t: t.replace("\t", " ")]
)
def test_a_byte_order_mark_windows_line_ends_and_blanks_for_tabs_are_read(tmp_path, change):
    (tmp_path / "other.arpa").write_bytes(change(PRUNED).encode())
    assert read_arpa(tmp_path / "other.arpa").query("b", ["a"]) == pytest.approx((-0.3, 2))


def test_minus_99_is_impossible_and_the_other_spelling_of_unknown_is_known(tmp_path):
    (tmp_path / "m.arpa").write_text(PRUNED.replace("-0.7\tc", "-0.7\t<UNK>").replace("b c a", "a b a"))
    model = read_arpa(tmp_path / "m.arpa")
    assert model.score("<s>") == 0.0
    assert model.score("zebra") == pytest.approx(10**-0.7)
