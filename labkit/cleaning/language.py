"""Which language is a text in? Our own naive Bayes on character n-grams, and py3langid for 140 languages and varieties.

identify("Das ist ein Satz.")                          # Identified(language='de', score=…, runner_up=…)
ours = NaiveBayes().fit(texts, labels)                 # trained on the spot
paragraphs_in(document, "en").kept                     # what of a mixed document is English
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Float

from labkit.cleaning.limits import refuse_no_text
from labkit.corpora.extras import need

UNDETERMINED = "und"  # the code of ISO 639-2 for "we cannot say"
LOOKED_AT = 4000  # characters: more of a text of one language changes nothing
SHORT = 20  # letters: paragraphs below this are not judged by themselves
_NO_LETTERS = re.compile(r"[\W\d_]+")


@dataclass(frozen=True)
class Identified:
    """The language (a code of ISO 639, or "und"), its probability, and the second most probable language."""

    language: str
    score: float
    runner_up: str


@dataclass(frozen=True)
class Paragraphs:
    """What was kept of a document, its paragraphs joined again, and the paragraphs that were dropped."""

    kept: str
    dropped: tuple[str, ...]


def letters(text: str | Any) -> str:
    """The words of a text in small letters, with one blank before and behind each; digits and marks are left out.

    >>> letters("Ein Haus, 2 Hunde!")
    ' ein haus hunde '

    Raises:
        ValueError: if the text is no string.
    """
    refuse_no_text(text)
    return f" {_NO_LETTERS.sub(' ', text[:LOOKED_AT].lower()).strip()} "


def grams(text: str, orders: Sequence[int] = (1, 2, 3)) -> list[str]:
    """All pieces of `n` characters of a text, for every order n; they overlap.

    >>> grams("abc", (2, 3))
    ['ab', 'bc', 'abc']
    """
    return [text[i : i + n] for n in orders for i in range(len(text) - n + 1)]


class NaiveBayes:
    """Naive Bayes on character n-grams: every language is a table of how often it uses each n-gram.

    Args:
        orders: lengths of the n-grams; all of them lie in one bag.
        pseudo_count: added to every count, so that nothing is impossible.

    Languages are equally probable before a text is read; n-grams that no language has shown are passed over.
    Source: Cavnar & Trenkle (1994) for the n-grams; McCallum & Nigam (1998), multinomial model, eq. 5 and 6.

    >>> NaiveBayes().fit(["the dog and the cat", "der Hund und die Katze"], ["en", "de"]).identify("und der").language
    'de'
    """

    def __init__(self, orders: Sequence[int] = (1, 2, 3), pseudo_count: float | int = 0.5):
        if not orders or min(orders) < 1 or not pseudo_count > 0:
            raise ValueError(f"orders must be from 1 on and pseudo_count above 0, got {orders!r} and {pseudo_count!r}")
        self.orders, self.pseudo_count = tuple(orders), pseudo_count
        self.index: dict[str, int] = {}
        self.languages: tuple[str, ...] = ()
        self.table = np.zeros((0, 0))  # languages × n-grams: the logarithm of P(n-gram | language)

    def fit(self, texts: Sequence[str] | Any, labels: Sequence[str] | Any) -> "NaiveBayes":
        """Count the n-grams of each language; whatever was learned before is forgotten.

        Raises:
            ValueError: if there are no texts, or not one label for each.
        """
        if not len(texts) or len(texts) != len(labels):
            raise ValueError(f"give one label for each text and at least one, got {len(texts)} and {len(labels)}")
        counts = {language: Counter() for language in sorted(set(labels))}
        for text, language in zip(texts, labels, strict=True):
            counts[language].update(grams(letters(text), self.orders))
        self.languages = tuple(counts)
        self.index = {gram: i for i, gram in enumerate(dict.fromkeys(chain.from_iterable(counts.values())))}
        table = np.full((len(counts), len(self.index)), float(self.pseudo_count))
        for row, counter in zip(table, counts.values(), strict=True):
            row[[self.index[gram] for gram in counter]] += list(counter.values())
        self.table = np.log(table / table.sum(axis=1, keepdims=True))
        return self

    def known(self) -> tuple[str, ...]:
        """The languages it was shown."""
        return self.languages

    def log_scores(self, text: str | Any) -> Float[np.ndarray, " languages"]:
        """log P(text | language) for every language, in natural logarithms."""
        if not self.languages:
            raise ValueError("the model has not learned anything yet: call fit(texts, labels) first")
        seen = [self.index[gram] for gram in grams(letters(text), self.orders) if gram in self.index]
        return self.table[:, seen].sum(axis=1)

    def probabilities(self, text: str | Any) -> Float[np.ndarray, " languages"]:
        """P(language | text) by Bayes' rule; they add up to 1."""
        scores = self.log_scores(text)
        chances = np.exp(scores - scores.max())
        return chances / chances.sum()

    def identify(self, text: str | Any, *, threshold: float | int = 0.5) -> Identified:
        """The most probable language, "und" when its probability is below the threshold or the text has no letter."""
        chances = self.probabilities(text)
        ranked = [(self.languages[i], float(chances[i])) for i in np.argsort(-chances, kind="stable")]
        return _decided(ranked, text, threshold)


def lessons(each: int = 14, *, seed: int = 0) -> tuple[list[str], list[str]]:
    """Paragraphs at hand and their languages, `each` of every language: texts and labels for `NaiveBayes.fit`.

    English from Wikipedia, Chinese from a novel, 17 more made of Faker's word lists (real words, no grammar).

    Raises:
        ModuleNotFoundError: without Faker.
    """
    from labkit.corpora import crawl, load

    made = crawl.foreign(each * len(crawl.LANGUAGES), seed=seed)
    for name, code in (("wikipedia", "en"), ("sanguo", "zh")):
        paragraphs = [line for text in load(name, quiet=True).documents for line in text.split("\n") if len(line) > 80]
        made += [(text, code) for text in paragraphs[seed % 50 :: max(1, len(paragraphs) // (each + 50))][:each]]
    return [text for text, _ in made], [code for _, code in made]


def identify(text: str | Any, *, threshold: float | int = 0.5, among: Sequence[str] | None = None) -> Identified:
    """The language of a text by py3langid, with probabilities that add up to 1.

    Args:
        threshold: below this probability the answer is "und".
        among: the languages that come into question; all that are known otherwise.

    Only the first 4,000 characters are looked at.

    Raises:
        ValueError: if the text is no string or `among` names an unknown language. ModuleNotFoundError without the
            package.
    Source: Lui & Baldwin (2012), langid.py: an off-the-shelf language identification tool.
    """
    refuse_no_text(text)
    if among is not None and (strange := [code for code in among if code not in known()] or not among):
        raise ValueError(f"among must name languages of known(), got {strange if among else 'none'}")
    ranked = _langid().rank(text[:LOOKED_AT])
    if among is not None:
        ranked = [(code, chance) for code, chance in ranked if code in among]
        total = sum(chance for _, chance in ranked) or 1.0
        ranked = [(code, chance / total) for code, chance in ranked]
    return _decided(ranked, text, threshold)


@cache
def known() -> tuple[str, ...]:
    """The codes of the languages that `identify` can answer, in alphabetical order."""
    return tuple(sorted(_langid().labels))


def paragraphs_in(
    text: str, wanted: str, *, identify: Callable[[str], Identified] = identify, short: int = SHORT
) -> Paragraphs:
    """Keep the paragraphs of a mixed document that are in the wanted language.

    A paragraph of fewer than `short` letters shares the fate of the one before it; at the beginning it is kept.
    """
    kept, dropped, here = [], [], True
    for paragraph in text.split("\n\n"):
        if sum(map(str.isalpha, paragraph[:LOOKED_AT])) >= short:
            here = identify(paragraph).language == wanted
        (kept if here else dropped).append(paragraph)
    return Paragraphs("\n\n".join(kept), tuple(dropped))


def _decided(ranked: list[tuple[str, float]], text: str, threshold: float | int) -> Identified:
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be a probability from 0 to 1, got {threshold!r}")
    (best, score), (second, _) = [*ranked, (UNDETERMINED, 0.0)][:2]
    if not any(map(str.isalpha, text[:LOOKED_AT])):
        return Identified(UNDETERMINED, 0.0, UNDETERMINED)
    return Identified(best, score, second) if score >= threshold else Identified(UNDETERMINED, score, best)


@cache
def _langid() -> Any:
    langid = need("py3langid.langid", why="to identify 140 languages and varieties")
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
