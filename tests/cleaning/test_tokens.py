"""Tokens: sentences cut by hand, NLTK's own answers, tags read by a person, and what is left without any data."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning import tokens
from labkit.corpora import CorpusUnavailable, nltk_data

nltk = pytest.importorskip("nltk")
SMALL_TEXT = "Dr. Smith's dog, aged 5, didn't bark. It slept!"
# Tagged by hand with the universal parts of speech; a token and its tag.
READ_BY_A_PERSON = """
The/DET old/ADJ man/NOUN walks/VERB home/ADV slowly/ADV ./PUNCT
Her/PRON long/ADJ walks/NOUN were/AUX famous/ADJ in/ADP London/PROPN ./PUNCT
We/PRON will/AUX not/PART sell/VERB the/DET house/NOUN because/SCONJ they/PRON built/VERB it/PRON ./PUNCT
Two/NUM books/NOUN and/CCONJ a/DET map/NOUN lay/VERB on/ADP the/DET table/NOUN ./PUNCT
Did/AUX you/PRON see/VERB the/DET red/ADJ car/NOUN ?/PUNCT
In/ADP 1815/NUM Napoleon/PROPN lost/VERB the/DET battle/NOUN of/ADP Waterloo/PROPN ./PUNCT
"""


@pytest.fixture
def data():
    try:
        nltk_data.NLTK_FILES.read()
        nltk_data.TAGGER.read()
    except CorpusUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def no_data(monkeypatch):
    def refuse(self):
        raise CorpusUnavailable("pip is not there.")

    monkeypatch.setattr(nltk_data.Bundle, "read", refuse)
    for kept in (tokens.stop_words, tokens._punkt, tokens._tagger):
        kept.cache_clear()
    yield
    for kept in (tokens.stop_words, tokens._punkt, tokens._tagger):
        kept.cache_clear()


def test_a_full_stop_after_a_title_does_not_end_a_sentence():
    assert tokens.sentences(SMALL_TEXT) == ["Dr. Smith's dog, aged 5, didn't bark.", "It slept!"]
    assert tokens.sentences("来了！他曰：“善。”走。", "zh") == ["来了！", "他曰：“善。”", "走。"]


def test_words_are_those_of_the_penn_treebank():
    assert tokens.words(SMALL_TEXT)[:9] == ["Dr.", "Smith", "'s", "dog", ",", "aged", "5", ",", "did"]
    assert tokens.words('She said "no".')[-4:] == ["``", "no", "''", "."]


def test_words_are_what_nltk_gives_for_each_sentence():
    text = "Can't we go? I'd say so (e.g. to-morrow), for $3.50; it's cheap."
    expected = [w for s in tokens.sentences(text) for w in nltk.word_tokenize(s, preserve_line=True)]
    assert tokens.words(text) == expected


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet="aB. !?'\"\n1,中。", max_size=40))
def test_no_letter_is_lost_or_invented(text):
    def signs(pieces):
        return [c for c in "".join(pieces) if c.isalnum()]

    assert signs(tokens.sentences(text)) == signs(tokens.words(text)) == signs(text)


def test_tags_are_those_a_person_gives_in_at_least_nine_cases_of_ten(data):
    pairs = [tuple(item.rsplit("/", 1)) for item in READ_BY_A_PERSON.split()]
    found = tokens.tags(" ".join(word for word, _ in pairs))
    assert [word for word, _ in found] == [word for word, _ in pairs]
    right = sum(tag == wanted for (_, tag), (_, wanted) in zip(found, pairs, strict=True))
    assert right >= 0.9 * len(pairs)
    assert found[3] == ("walks", "VERB")
    assert found[9] == ("walks", "NOUN")


def test_marks_do_not_reach_the_tagger():
    class Tagger:
        def tag(self, words):
            assert words == ["Yes", "no"]
            return [(word, "INTJ|-") for word in words]

    assert tokens.tag_words(["Yes", ",", "no", "..."], Tagger()) == [
        ("Yes", "INTJ"),
        (",", "PUNCT"),
        ("no", "INTJ"),
        ("...", "PUNCT"),
    ]


def test_the_features_of_a_word_read_its_neighbours_and_the_tags_before():
    context = ["<s>", "<s>", "we", "met", "ann", "</s>", "</s>"]
    found = tokens.tag_features(4, "Ann", context, "VERB", "PRON")
    assert {"shape X", "w ann", "suf2 nn", "w-1 met", "w-2 we", "w+1 </s>", "w+2 </s>", "t-1 w VERB ann"} <= set(found)
    assert len(found) == len(set(found)) == 15


def test_chinese_words_and_their_tags():
    pytest.importorskip("jieba")
    assert tokens.words("他来到北京大学。", "zh") == ["他", "来到", "北京大学", "。"]
    found = tokens.tags("他来到北京大学，有3个人。", "zh")
    assert ("他", "PRON") in found
    assert ("来到", "VERB") in found
    assert ("，", "PUNCT") in found
    assert ("3", "NUM") in found


def test_the_most_famous_question_consists_of_stop_words(data):
    stop = tokens.stop_words()
    assert len(stop) == 198
    assert {"的", "了"} <= tokens.stop_words("zh")
    assert tokens.reduced(["To", "be", "or", "not", "to", "be"], stop=stop) == []
    assert tokens.reduced(["Not", "good"], stop=stop) == ["good"] == tokens.reduced(["good"], stop=stop)


def test_each_step_of_the_reduction_can_be_taken_alone():
    sentence = ["The", "cats", "were", "Running"]
    assert tokens.reduced(sentence) == sentence
    assert tokens.reduced(sentence, lower=True) == ["the", "cats", "were", "running"]
    assert tokens.reduced(sentence, stop={"the", "were"}) == ["cats", "Running"]
    assert tokens.reduced(sentence, stem=True) == ["the", "cat", "were", "run"]


def test_without_the_data_a_line_says_what_is_used_instead(no_data, capsys):
    assert "the" in tokens.stop_words()
    assert tokens.stop_words("zh") == tokens.FEW_STOP_WORDS["zh"]
    assert tokens.sentences(SMALL_TEXT) == ["Dr. Smith's dog, aged 5, didn't bark.", "It slept!"]
    assert tokens.tags("The dogs quickly jumped.")[2:] == [("quickly", "ADV"), ("jumped", "VERB"), (".", "PUNCT")]
    tokens.tags("Once more.")
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4
    assert all("not available: pip is not there. Used instead: " in line for line in said)


def test_every_function_says_what_it_needs():
    lines = "\n".join(map(str, tokens.data()))
    for word in ("words", "sentences", "stop_words", "tags", "zh", "Without: "):
        assert word in lines


@pytest.mark.parametrize("unit", ["a", ". ", "A.B.", "?!", "'s ", "\n", "\t", "1,", "--"])
def test_hostile_text_costs_in_proportion_to_its_length(unit):
    def cost(size):
        begun = time.process_time()
        tokens.words(unit * (size // len(unit)))
        return time.process_time() - begun

    tokens.words("Warm up.")
    assert cost(8_000) <= 32 * max(cost(1_000), 0.002)


@pytest.mark.parametrize("text", [b"bytes", None, 3])
def test_what_is_no_text_is_refused(text):
    for function in (tokens.words, tokens.sentences, tokens.tags):
        with pytest.raises(ValueError, match="a text must be a string, got"):
            function(text)


def test_an_unknown_language_is_refused():
    for function in (tokens.words, tokens.sentences, tokens.tags):
        with pytest.raises(ValueError, match=r"language 'xx' is not known here; use one of: en, zh"):
            function("text", "xx")
    with pytest.raises(ValueError, match="'xx'"):
        tokens.stop_words("xx")
    with pytest.raises(ValueError, match="no stop words for 'xx'"):
        nltk_data.stop_word_list("xx")
