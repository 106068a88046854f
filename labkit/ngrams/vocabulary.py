"""Words as numbers: which words a model knows, and the three symbols that every model needs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, compress, repeat
from typing import Any

import numpy as np
from jaxtyping import Int

# What learners hand in is checked here and by hand: they get a sentence that helps, not a type checker's report.
Token = str | Any
Sentence = Sequence[str] | Any
Text = Iterable[Sentence] | Any

UNK, BOS, EOS = "<unk>", "<s>", "</s>"
SPECIAL = (UNK, BOS, EOS)
UNK_ID, BOS_ID, EOS_ID = range(3)


class Vocabulary:
    """The words that occur at least `min_count` times; every other word is looked up as `<unk>`.

    Identifiers 0, 1 and 2 are `<unk>`, `<s>` and `</s>`; words follow in the order of `counts`.

    Args:
        counts: how often each word was seen, or just the words (each then counts as often as it is listed).
        min_count: words seen less often than this become `<unk>`.

    Raises:
        ValueError: if `min_count` is below 1.

    >>> v = Vocabulary(["the", "cat", "the"], min_count=2)
    >>> v.lookup("the"), v.lookup("cat"), v.token(0)
    (3, 0, '<unk>')
    """

    def __init__(self, counts: Mapping[str, int] | Iterable[str] | Any, *, min_count: int | Any = 1):
        check_min_count(min_count)
        if isinstance(counts, str):
            raise ValueError(f"a vocabulary is made of words, got the string {counts[:40]!r}: split it first")
        counts = counts if isinstance(counts, Mapping) else Counter(counts)
        self.min_count = min_count
        self.counts = dict(counts)
        if set(map(type, self.counts)) - {str}:
            for token in self.counts:
                check_token(token)
        words = [word for word, n in self.counts.items() if n >= min_count]
        self.tokens: list[str] = [*SPECIAL, *(w for w in words if w not in SPECIAL)]
        self.index: dict[str, int] = dict(zip(self.tokens, range(len(self.tokens)), strict=True))

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self.index

    def __repr__(self) -> str:
        return f"Vocabulary({len(self) - len(SPECIAL):,} words and {', '.join(SPECIAL)}; min_count={self.min_count})"

    def lookup(self, token: Token) -> int:
        """The identifier of `token`, that of `<unk>` if the token is unknown.

        Raises:
            ValueError: if `token` is not a string.
        """
        check_token(token)
        return self.index.get(token, UNK_ID)

    def token(self, identifier: int) -> str:
        """The word behind an identifier."""
        return self.tokens[identifier]

    def encode(self, tokens: Iterable[Token]) -> Int[np.ndarray, " tokens"]:
        """The identifiers of many tokens at once, unknown ones as `<unk>`."""
        return np.fromiter(map(self.index.get, tokens, repeat(UNK_ID)), dtype=np.int32)

    def encode_all(self, sentences: list[Sentence]) -> Int[np.ndarray, " tokens"]:
        """The identifiers of all tokens of a text, one sentence behind the other.

        Raises:
            ValueError: if a token is not a string.
        """
        try:
            numbers = self.encode(chain.from_iterable(sentences))
        except TypeError as error:
            raise ValueError(f"a token must be a string, got one that is not ({error}): use str(token)") from error
        # Only an unknown token can be something else than a string, and there are few.
        for token in compress(chain.from_iterable(sentences), (numbers == UNK_ID).tolist()):
            check_token(token)
        return numbers

    def coverage(self, sentences: Text) -> float:
        """The share of running words that the vocabulary knows, between 0 and 1.

        Raises:
            ValueError: if there is no word to look up.
        """
        numbers = self.encode_all(list(checked(sentences)))
        if not len(numbers):
            raise ValueError("coverage needs at least one word, got an empty text")
        return float((numbers != UNK_ID).mean())


def check_min_count(min_count: int | Any) -> None:
    """Refuse what is not a whole number from 1 on."""
    if isinstance(min_count, bool) or not isinstance(min_count, int) or min_count < 1:
        raise ValueError(f"min_count must be a whole number of at least 1, got {min_count!r}: 1 keeps every word seen")


def check_token(token: Token) -> None:
    """Refuse what is not a string, before it silently becomes an unknown word."""
    if not isinstance(token, str):
        raise ValueError(f"a token must be a string, got {token!r} of type {type(token).__name__}: use str(token)")


def checked(sentences: Text) -> Iterator[Sentence]:
    """The sentences one by one, refusing a text that was not split into tokens.

    Raises:
        ValueError: if the text or a sentence is a plain string.
    """
    if isinstance(sentences, str):
        raise ValueError(f"a text must be a list of sentences, got the string {sentences[:40]!r}: split it first")
    if not isinstance(sentences, Iterable):
        raise ValueError(f"a text must be a list of sentences, got {sentences!r}")
    for sentence in sentences:
        if not isinstance(sentence, Iterable):
            raise ValueError(f"a sentence must be a list of tokens, got {sentence!r}")
        if isinstance(sentence, str):
            raise ValueError(
                f"a sentence must be a list of tokens, got the string {sentence[:40]!r}: split it, "
                "with sentence.split() or list(sentence) for characters"
            )
        yield sentence


def pad(sentence: list[str], *, left: int = 1, right: int = 1) -> list[str]:
    """A sentence with its boundaries made explicit.

    >>> pad(["a", "cat"], left=2)
    ['<s>', '<s>', 'a', 'cat', '</s>']
    """
    return [BOS] * left + list(sentence) + [EOS] * right
