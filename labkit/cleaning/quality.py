"""What simple counts say about a document: words, symbols, lines and repetition, as Gopher and C4 measured them.

    word_count("one two , three")          # 3: a token without a letter or digit is no word
    bullet_lines(text)                     # share of lines that begin with a bullet
    statistics(text)                       # all of them at once
    statistics(text, words=jieba_words)    # with words of your own

Which document is thrown away for which of them: labkit.cleaning.gopher_rules and labkit.cleaning.c4_rules.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import filterfalse
from types import MappingProxyType
from typing import Any

from labkit.cleaning.repetition import NGrams, Shares, duplicate_lines, duplicate_paragraphs

BULLETS = ("•", "-")  # Gopher says "a bullet point"; these two are datatrove's reading
MORE_BULLETS = (*BULLETS, "*", "·", "‣", "◦", "○", "▪", "■", "●", "–", "—", "►")
ELLIPSES = ("...", "…")
STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])  # Gopher's eight, section A.1.1
CHINESE_STOP_WORDS = frozenset("的一不是了在有我他这")  # our choice: what stands in nearly every Chinese text
TERMINAL = (".", "?", "!", '"')  # C4's four
CHINESE_TERMINAL = ("。", "？", "！", "”", "…", *TERMINAL)


def split_words(text: str | Any, language: str = "en") -> list[str]:
    """The tokens that the rules count: what stands between white space; in Chinese ("zh") each character by itself.

    Other languages without spaces (Japanese, Thai) need a tokenizer of their own: pass its words to the rules.

    >>> split_words("GPT是模型。", "zh")
    ['GPT', '是', '模', '型', '。']

    Raises:
        ValueError: if the text is no string.
    """
    refuse_bytes(text)
    return re.findall(r"[a-zA-Z0-9]+|\S", text) if language == "zh" else text.split()


def refuse_bytes(text: Any) -> None:
    """Do nothing for a string; a ValueError for anything else."""
    if not isinstance(text, str):
        kind = type(text).__name__
        raise ValueError(f"a text is a string, not {kind}; decode bytes first (labkit.cleaning.decoding)")


def _tokens(words: Any) -> Any:
    return split_words(words) if isinstance(words, str) else words


def punctuation(words: str | Iterable[str]) -> list[str]:
    """The tokens without any letter or digit; they do not count as words."""
    odd = filterfalse(str.isalnum, _tokens(words))  # one in seven; most of them are a word with a comma behind it
    return [word for word in odd if not (word[:1].isalnum() or any(map(str.isalnum, word)))]


def word_count(words: str | Sequence[str]) -> int:
    """The number of words, tokens of punctuation not counted. Gopher keeps 50 to 100,000."""
    words = _tokens(words)
    return len(words) - len(punctuation(words))


def mean_word_length(words: str | Sequence[str]) -> float:
    """Characters per word, tokens of punctuation left out; 0 without a word. Gopher keeps 3 to 10."""
    words = _tokens(words)
    marks = punctuation(words)
    return (sum(map(len, words)) - sum(map(len, marks))) / max(1, len(words) - len(marks))


def hash_ratio(text: str, words: Sequence[str] | None = None) -> float:
    """Hash signs per token. Gopher keeps up to 0.1."""
    return text.count("#") / max(1, len(_tokens(text if words is None else words)))


def ellipsis_ratio(text: str, words: Sequence[str] | None = None) -> float:
    """Ellipses ("..." or "…") per token. Gopher keeps up to 0.1."""
    return sum(map(text.count, ELLIPSES)) / max(1, len(_tokens(text if words is None else words)))


def bullet_lines(text: str, bullets: tuple[str, ...] = BULLETS) -> float:
    """The share of lines that begin with a bullet. Gopher keeps up to 0.9."""
    lines = text.splitlines()
    return sum(line.lstrip().startswith(bullets) for line in lines) / max(1, len(lines))


def ellipsis_lines(text: str) -> float:
    """The share of lines that end with an ellipsis, as teasers do. Gopher keeps up to 0.3."""
    lines = text.splitlines()
    return sum(line.rstrip().endswith(ELLIPSES) for line in lines) / max(1, len(lines))


def without_letters(words: str | Iterable[str]) -> list[str]:
    """The tokens that hold no letter of any alphabet: numbers and punctuation."""
    odd = filterfalse(str.isalpha, _tokens(words))
    return [word for word in odd if not (word[:1].isalpha() or any(map(str.isalpha, word)))]


def alphabetic_words(words: str | Sequence[str]) -> float:
    """The share of tokens that hold a letter of any alphabet, Chinese included. Gopher wants at least 0.8."""
    words = _tokens(words)
    return (len(words) - len(without_letters(words))) / max(1, len(words))


def stop_words(words: str | Iterable[str], listed: Collection[str] = STOP_WORDS) -> int:
    """How many *different* stop words of the list occur. Gopher wants at least 2 of its 8; capitals do not count."""
    return len(frozenset(listed).intersection(_tokens(words)))


def terminal_punctuation(text: str, marks: tuple[str, ...] = TERMINAL) -> float:
    """The share of lines with text that end like a sentence. C4 drops the other lines."""
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    return sum(line.endswith(marks) for line in lines) / max(1, len(lines))


def sentences(text: str) -> int:
    """The number of sentences, by their ends: . ? ! before a space, or 。？！; a rest without an end counts as one.

    "Dr. Who" counts as two: good enough for a threshold, not for cutting (labkit.cleaning.tokens does that).

    >>> sentences('He said "go." She went! And')
    3
    """
    last = count = 0
    for end in re.finditer(r"[.?!。？！]++[\"'”’)\]」』）]*+", text):
        if end[0][0] in "。？！" or not text[end.end() : end.end() + 1].strip():  # "3.11" and "e.g.," go on
            last, count = end.end(), count + 1
    return count + bool(text[last:].strip())


def curly_braces(text: str) -> int:
    """How many curly brackets open or close. C4 removes a page with one: they are rare in prose, not in code."""
    return text.count("{") + text.count("}")


def javascript_lines(text: str) -> float:
    """The share of lines that speak of Javascript ("please enable Javascript …"). C4 drops them."""
    lines = text.splitlines()
    return sum("javascript" in line.lower() for line in lines) / max(1, len(lines))


def lorem_ipsum(text: str) -> int:
    """How often the filler "lorem ipsum" occurs. C4 removes a page with one."""
    return text.lower().count("lorem ipsum")


class Page:
    """A text with its words, and what several statistics share; each part is made when first asked for."""

    def __init__(
        self,
        text: str | Any,
        words: Sequence[str] | None = None,
        language: str = "en",
        bullets: tuple[str, ...] = BULLETS,
    ) -> None:
        refuse_bytes(text)
        self.text, self.language, self.bullets = text, language, bullets
        self.words = split_words(text, language) if words is None else words
        self.gap = 0 if language == "zh" else 1

    @cached_property
    def ngrams(self) -> NGrams:
        """The n-grams that repeat."""
        return NGrams(self.words)

    @cached_property
    def word_count(self) -> int:
        """The number of words: every different token is looked at once."""
        return len(self.words) - self.occurrences(self.marks)

    @cached_property
    def marks(self) -> list[str]:
        """The different tokens of punctuation."""
        return punctuation(self.ngrams.counts)

    def occurrences(self, tokens: Iterable[str]) -> int:
        """How often these different tokens occur, all together."""
        return sum(map(self.ngrams.counts.__getitem__, tokens))

    def mean_word_length(self) -> float:
        """Characters per word."""
        marks = sum(self.ngrams.counts[mark] * len(mark) for mark in self.marks)
        return (int(self.ngrams.ends[-1]) - marks) / max(1, self.word_count)

    def alphabetic_words(self) -> float:
        """The share of tokens with a letter."""
        tokens = len(self.words)
        return (tokens - self.occurrences(without_letters(self.ngrams.counts))) / max(1, tokens)

    @cached_property
    def lines(self) -> Shares:
        """What lines repeat."""
        return duplicate_lines(self.text)

    @cached_property
    def paragraphs(self) -> Shares:
        """What paragraphs repeat."""
        return duplicate_paragraphs(self.text)

    def top(self, n: int) -> float:
        """The share of characters in the most frequent n-gram."""
        return self.ngrams.top(n, self.gap) / max(1, len(self.text))

    def later(self, n: int) -> float:
        """The share of characters in n-grams that had come before."""
        return self.ngrams.later(n) / max(1, len(self.text))

    def stop_words(self) -> int:
        """How many different stop words of its language occur."""
        return stop_words(self.ngrams.counts, CHINESE_STOP_WORDS if self.language == "zh" else STOP_WORDS)


@dataclass(frozen=True)
class Statistics:
    """Every statistic of a document by its name; shares are between 0 and 1, ratios and top_n_gram may exceed 1."""

    word_count: int
    mean_word_length: float
    hash_ratio: float
    ellipsis_ratio: float
    bullet_lines: float
    ellipsis_lines: float
    alphabetic_words: float
    stop_words: int
    duplicate_paragraphs: float
    duplicate_paragraph_characters: float
    duplicate_lines: float
    duplicate_line_characters: float
    top_2_gram: float
    top_3_gram: float
    top_4_gram: float
    duplicate_5_grams: float
    duplicate_6_grams: float
    duplicate_7_grams: float
    duplicate_8_grams: float
    duplicate_9_grams: float
    duplicate_10_grams: float
    terminal_punctuation: float
    sentences: int
    curly_braces: int
    javascript_lines: float
    lorem_ipsum: int


# The statistics by name, each a function of a page: what a rule measures is looked up here.
MEASURES: Mapping[str, Callable[[Page], Any]] = MappingProxyType(
    {
        "word_count": lambda page: page.word_count,
        "mean_word_length": Page.mean_word_length,
        "hash_ratio": lambda page: hash_ratio(page.text, page.words),
        "ellipsis_ratio": lambda page: ellipsis_ratio(page.text, page.words),
        "bullet_lines": lambda page: bullet_lines(page.text, page.bullets),
        "ellipsis_lines": lambda page: ellipsis_lines(page.text),
        "alphabetic_words": Page.alphabetic_words,
        "stop_words": Page.stop_words,
        "duplicate_paragraphs": lambda page: page.paragraphs.count,
        "duplicate_paragraph_characters": lambda page: page.paragraphs.characters,
        "duplicate_lines": lambda page: page.lines.count,
        "duplicate_line_characters": lambda page: page.lines.characters,
        **{f"top_{n}_gram": lambda page, n=n: page.top(n) for n in (2, 3, 4)},
        **{f"duplicate_{n}_grams": lambda page, n=n: page.later(n) for n in range(5, 11)},
        "terminal_punctuation": lambda page: terminal_punctuation(
            page.text, CHINESE_TERMINAL if page.language == "zh" else TERMINAL
        ),
        "sentences": lambda page: sentences(page.text),
        "curly_braces": lambda page: curly_braces(page.text),
        "javascript_lines": lambda page: javascript_lines(page.text),
        "lorem_ipsum": lambda page: lorem_ipsum(page.text),
    }
)


def statistics(text: str | Any, language: str = "en", *, words: Sequence[str] | None = None) -> Statistics:
    """Every statistic of a text.

    Args:
        language: "zh" counts characters as words, without gaps between them.
        words: the words of the text, from a tokenizer of your choice.

    Raises:
        ValueError: if the text is no string.
    """
    page = Page(text, words, language)
    return Statistics(**{field.name: MEASURES[field.name](page) for field in fields(Statistics)})
