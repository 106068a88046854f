"""Languages: Bayes' rule by hand, scikit-learn's naive Bayes, py3langid's ranking, and texts that do not tell."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning import language
from labkit.cleaning.language import UNDETERMINED, NaiveBayes, grams, identify, known, letters, paragraphs_in

TEXTS = [
    "the cat sat on the mat and the dog was there",
    "der Hund und die Katze sind nicht im Haus",
    "le chat est sur la table et le chien dort",
    "我们在这里看书，他们不来。",
]
LABELS = ["en", "de", "fr", "zh"]


@pytest.fixture(scope="module")
def ours():
    return NaiveBayes().fit(TEXTS, LABELS)


def test_bayes_rule_by_hand():
    model = NaiveBayes(orders=(1,), pseudo_count=1).fit(["ab", "bb"], ["x", "y"])
    # Blank, a, b: "x" has 2, 1, 1 of them and "y" 2, 0, 2; one is added to each.
    assert dict(zip(model.known(), model.probabilities("a"), strict=True)) == pytest.approx(
        {"x": (3 * 3 * 2) / (3 * 3 * 2 + 3 * 3 * 1), "y": 1 / 3}
    )
    assert model.log_scores("a")[0] == pytest.approx(math.log(3 * 3 * 2 / 7**3))


def test_it_is_the_multinomial_naive_bayes_of_scikit_learn(ours):
    text = pytest.importorskip("sklearn.feature_extraction.text")
    from sklearn.naive_bayes import MultinomialNB

    counter = text.CountVectorizer(analyzer="char", ngram_range=(1, 3), lowercase=False)
    theirs = MultinomialNB(alpha=0.5, fit_prior=False).fit(counter.fit_transform(map(letters, TEXTS)), LABELS)
    asked = ["the house", "das Haus", "la maison?", "看书", "a cat et un Hund"]
    expected = theirs.predict_proba(counter.transform(map(letters, asked)))
    assert list(theirs.classes_) == list(ours.known())
    np.testing.assert_allclose([ours.probabilities(t) for t in asked], expected, rtol=1e-9)


def test_pieces_overlap_and_words_have_a_blank_on_either_side():
    assert letters("  Ab2c, D!") == " ab c d "
    assert grams(" a ", (1, 2)) == [" ", "a", " ", " a", "a "]


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=30))
def test_probabilities_add_up_to_one_and_letters_decide(ours, text):
    chances = ours.probabilities(text)
    assert chances.sum() == pytest.approx(1)
    assert (chances >= 0).all()
    if not any(map(str.isalpha, text)):
        assert ours.identify(text).language == UNDETERMINED


def test_the_order_of_the_texts_does_not_matter(ours):
    other = NaiveBayes().fit(TEXTS[::-1], LABELS[::-1])
    assert other.identify("the dog and the cat") == ours.identify("the dog and the cat")


def test_languages_are_told_apart(ours):
    assert [
        ours.identify(t).language for t in ("where is the cat", "das ist die Katze", "le chien", "他们看书")
    ] == LABELS
    assert ours.identify("the dog").runner_up in LABELS


def test_below_the_threshold_the_answer_is_undetermined(ours):
    sure = ours.identify("the", threshold=0)
    doubtful = ours.identify("the", threshold=1)
    assert (sure.language, doubtful.language, doubtful.runner_up) == ("en", UNDETERMINED, "en")
    assert sure.score == doubtful.score < 1


def test_a_text_longer_than_any_float_can_hold_has_a_probability(ours):
    assert ours.identify("the cat " * 400).score == pytest.approx(1)


def test_py3langid_is_asked_with_its_own_probabilities():
    langid = pytest.importorskip("py3langid.langid")
    theirs = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    for text in TEXTS:
        ranked = theirs.rank(text)
        found = identify(text, threshold=0)
        assert (found.language, found.runner_up) == (ranked[0][0], ranked[1][0])
        assert found.score == pytest.approx(ranked[0][1])
    assert sum(chance for _, chance in ranked) == pytest.approx(1, abs=1e-5)


def test_known_languages_and_a_choice_among_them():
    pytest.importorskip("py3langid")
    assert {"en", "zh", "de", "fr", "ru", "ja"} <= set(known())
    assert list(known()) == sorted(set(known()))
    few = identify("The cat sat", among=("en", "de"))
    assert few.language == "en"
    assert few.score > identify("The cat sat", threshold=0).score
    with pytest.raises(ValueError, match=r"among must name languages of known\(\), got \['klingon'\]"):
        identify("text", among=["klingon"])
    with pytest.raises(ValueError, match="got none"):
        identify("text", among=[])


@pytest.mark.parametrize("text", ["", "  ", "12:30 – 14:00", "!!! ???", "\x00\x01"])
def test_a_text_without_letters_has_no_language(ours, text):
    assert identify(text).language == ours.identify(text).language == UNDETERMINED


def test_of_a_mixed_document_the_paragraphs_in_one_language_stay(ours):
    english, german = "The dog and the cat were there on the mat.", "Der Hund und die Katze sind nicht da im Haus."
    mixed = "\n\n".join(["Title", english, "* * *", german, "(1999)", english])
    found = paragraphs_in(mixed, "en", identify=ours.identify)
    assert found.kept == "\n\n".join(["Title", english, "* * *", english])
    assert found.dropped == (german, "(1999)")


def test_the_lessons_are_even_and_enough_for_nineteen_languages():
    pytest.importorskip("faker")
    from labkit.corpora import crawl

    texts, labels = language.lessons(5, seed=1)
    assert {labels.count(code) for code in set(labels)} == {5}
    assert set(labels) == {"en", "zh", *crawl.LANGUAGES}
    model = NaiveBayes().fit(texts, labels)
    assert model.identify("The history of the town begins with a river.").language == "en"
    assert model.identify("却说曹操引兵来到城下。").language == "zh"
    others, truth = language.lessons(2, seed=2)
    assert np.mean([model.identify(text).language == code for text, code in zip(others, truth, strict=True)]) > 0.95


@pytest.mark.parametrize("unit", ["a", " ", "1", "_", "a ", "é", "中", "\n"])
def test_hostile_text_costs_in_proportion_to_its_length_until_it_is_cut(ours, unit):
    def cost(size):
        begun = time.process_time()
        ours.identify(unit * size)
        return time.process_time() - begun

    assert cost(3_200_000) <= 32 * max(cost(400_000), 0.01)


def test_what_cannot_be_is_refused(ours):
    with pytest.raises(ValueError, match="a text must be a string, got bytes"):
        ours.identify(b"bytes")
    with pytest.raises(ValueError, match="a text must be a string, got bytes"):
        identify(b"bytes")
    with pytest.raises(ValueError, match="call fit"):
        NaiveBayes().identify("text")
    with pytest.raises(ValueError, match="one label for each text"):
        NaiveBayes().fit(["a"], ["x", "y"])
    with pytest.raises(ValueError, match="one label for each text"):
        NaiveBayes().fit([], [])
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.5"):
        ours.identify("text", threshold=1.5)
    for arguments in ({"orders": ()}, {"orders": (0,)}, {"pseudo_count": 0}):
        with pytest.raises(ValueError, match="orders must be from 1 on"):
            NaiveBayes(**arguments)


def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "py3langid.langid", None)
    language._langid.cache_clear()
    try:
        with pytest.raises(ModuleNotFoundError, match=r"py3langid is needed .*pip install .*llm-labkit"):
            identify("text")
    finally:
        language._langid.cache_clear()
