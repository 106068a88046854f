"""A corpus: documents with their titles, licence and source, and the simple tokenizers the course starts from."""

import random
import re
from dataclasses import dataclass, field, replace
from functools import cached_property

from labkit.corpora.cache import sha256_of

# A number with its separators, a word with inner apostrophes, an ellipsis, or one mark of punctuation.
_TOKEN = re.compile(r"\d+(?:[.,]\d+)+|\w+(?:['’]\w+)*|\.{3}|[^\w\s]")
# The end of an English sentence: . ! or ?, closing quotes, blanks, and then a capital letter or a digit.
_ENGLISH_END = re.compile(r"[.!?]+[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[^\W_a-z])")
_CHINESE_SENTENCE = re.compile(r"[^。！？\n]*[。！？]+[”’」』）】]*|[^。！？\n]+")
_BEFORE_THE_DOT = re.compile(r"(\S+)$")
_ABBREVIATED = """
mr mrs ms dr prof st sr jr gen col lt capt sgt rev hon gov sen rep vs etc cf e.g i.e al fig figs eq eqs no nos vol vols
ed eds pp ca c b d approx dept inc ltd co corp u.s u.k jan feb mar apr jun jul aug sep sept oct nov dec
"""
_ABBREVIATIONS = frozenset(_ABBREVIATED.split())


@dataclass(frozen=True)
class Loaded:
    """What every corpus has: the name asked for, the one really used, licence, source and layer (see catalogue)."""

    name: str
    used: str
    licence: str
    source: str
    layer: int


@dataclass(frozen=True)
class Corpus(Loaded):
    """Text as a tuple of documents, each with a title; `language` is "en", "zh" or "words" (blank-separated)."""

    documents: tuple[str, ...] = field(repr=False)
    titles: tuple[str, ...] = field(repr=False)
    language: str = "en"
    separator: str = field(default="\n\n", repr=False)
    varies: bool = field(default=False, repr=False)  # True when another machine has another text under this name

    def __post_init__(self) -> None:
        if len(self.documents) != len(self.titles):
            raise ValueError(f"{len(self.documents)} documents came with {len(self.titles)} titles; give one for each")

    @cached_property
    def text(self) -> str:
        """All documents in order as one string."""
        return self.separator.join(self.documents)

    @cached_property
    def sha256(self) -> str:
        """The sha256 of the text written as UTF-8."""
        return sha256_of(self.text)

    @cached_property
    def words(self) -> int:
        """The number of words: runs without blanks, or for Chinese the characters that are no blanks."""
        return sum(map(len, self.text.split())) if self.language == "zh" else len(self.text.split())

    @property
    def line(self) -> str:
        """One line that names the text, its size, licence and source; what differs by machine stands in ‹ ›."""
        documents = f"{len(self.documents):,} document{'' if len(self.documents) == 1 else 's'}"
        unit = "characters without blanks" if self.language == "zh" else "words"
        size = f"{self.words:,} {unit}, {len(self.text):,} characters in {documents}"
        size = f"‹{size}›" if self.varies else size
        return f"{self.used}: {size} · {self.licence} · {self.source}"

    def sentences(self, *, lower: bool = True) -> list[list[str]]:
        """Return the sentences of every document in order, each a list of tokens (see `sentences_of`)."""
        return [tokens for text in self.documents for tokens in sentences_of(text, language=self.language, lower=lower)]

    def split(self, held_out: float = 0.1, *, seed: int | None = None) -> tuple["Corpus", "Corpus"]:
        """Return (train, held out): the last tenth of the documents held out, or with a seed a random tenth.

        Neighbouring documents resemble each other, so a random split is easier to predict than the last tenth.

        Raises: ValueError when a side would be empty.
        """
        count = round(len(self.documents) * held_out)
        if not 0 < count < len(self.documents):
            raise ValueError(
                f"held_out={held_out} of {len(self.documents)} documents leaves one side empty; "
                "give a share between 0 and 1 and a corpus of several documents"
            )
        order = list(range(len(self.documents)))
        if seed is not None:
            random.Random(seed).shuffle(order)
        train, held = sorted(order[:-count]), sorted(order[-count:])
        return self._only(train), self._only(held)

    def _only(self, kept: list[int]) -> "Corpus":
        documents = tuple(self.documents[i] for i in kept)
        return replace(self, documents=documents, titles=tuple(self.titles[i] for i in kept))


def tokenize(text: str, *, lower: bool = True) -> list[str]:
    """Return words, numbers and single marks of punctuation, in order and without blanks.

    >>> tokenize("Don't pay $1,000.50 for it!")
    ["don't", 'pay', '$', '1,000.50', 'for', 'it', '!']
    """
    return _TOKEN.findall(text.lower() if lower else text)


def sentences_of(text: str, *, language: str = "en", lower: bool = True) -> list[list[str]]:
    """Return the sentences of a text, each a list of tokens.

    "en": split at . ! ? before a capital letter or digit, not after initials and common abbreviations, and at blank
    lines; tokens by `tokenize`. "zh": split at 。！？ and line ends; tokens are characters. "words": a sentence a line,
    tokens between blanks.

    >>> sentences_of("Dr. No left. Who saw J. R. Smith?")
    [['dr', '.', 'no', 'left', '.'], ['who', 'saw', 'j', '.', 'r', '.', 'smith', '?']]
    >>> sentences_of("来了！他曰：“善。”", language="zh")
    [['来', '了', '！'], ['他', '曰', '：', '“', '善', '。', '”']]

    Raises: ValueError for another language.
    """
    if language == "en":
        found = [tokenize(s, lower=lower) for block in re.split(r"\n\s*\n", text) for s in _english_sentences(block)]
    elif language == "zh":
        found = [[c for c in s if not c.isspace()] for s in _CHINESE_SENTENCE.findall(text)]
    elif language == "words":
        found = [line.split() for line in text.splitlines()]
    else:
        raise ValueError(f"language {language!r} is not known; use 'en', 'zh' or 'words'")
    return [tokens for tokens in found if tokens]


def _english_sentences(block: str) -> list[str]:
    sentences, start = [], 0
    for end in _ENGLISH_END.finditer(block):
        if block[end.start()] == "." and _is_abbreviated(block[start : end.start()]):
            continue
        sentences.append(block[start : end.end()])
        start = end.end()
    return [*sentences, block[start:]]


def _is_abbreviated(before: str) -> bool:
    """Return True when the word before a full stop is an initial or an abbreviation."""
    last = _BEFORE_THE_DOT.search(before)
    word = last.group(1).lstrip("\"'“‘([") if last else ""
    return (len(word) == 1 and word.isalpha() and word.isupper()) or word.lower() in _ABBREVIATIONS
