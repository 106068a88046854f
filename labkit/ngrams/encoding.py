"""From sentences to numbers: collecting a text in parts, and padding it."""

from collections.abc import Iterable
from itertools import chain, islice
from typing import Any

import numpy as np
from jaxtyping import Int

from labkit.ngrams.vocabulary import BOS_ID, EOS_ID, Text, Token, Vocabulary, check_token, checked

NEWLINE = "\ue000"  # stands for a line break while a text is split; a private-use character
PIECE = 2**20  # characters of a text that are split at a time


class Encoder:
    """Collects sentences as numbers, so that a text can arrive in parts and is counted once it is needed."""

    def __init__(self):
        self.index = _Numbering()
        self._words: list[np.ndarray] = []
        self._lengths: list[np.ndarray] = []
        self.size = 0  # tokens collected

    def add(self, sentences: Text) -> None:
        """Append sentences; a refused one leaves everything as it was.

        Raises:
            ValueError: if a sentence is a string or a token is not one.
        """
        sentences = [sentence if isinstance(sentence, list) else list(sentence) for sentence in checked(sentences)]
        words = self._number(chain.from_iterable(sentences), count=sum(map(len, sentences)))
        self._append(words, np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences)))

    def add_lines(self, text: str | Any) -> None:
        """Append a text with one sentence a line and tokens separated by white space, without a list for each line.

        Raises:
            ValueError: if the text is not a string, or holds the private character that marks line breaks here.
        """
        if not isinstance(text, str):
            raise ValueError(f"a text must be a string, got {type(text).__name__}: decode bytes, and use fit for lists")
        if NEWLINE in text:
            raise ValueError(f"the text holds the private-use character {NEWLINE!r}, which is needed here: replace it")
        known, parts, begin = len(self.index), [], 0
        text = text.removesuffix("\n")
        while begin <= len(text):  # piece by piece, so that the words of a piece are gone before the next one comes
            end = text.find("\n", begin + PIECE)
            end = len(text) if end < 0 else end
            tokens = f"{text[begin:end]}\n".replace("\n", f" {NEWLINE} ").split()
            parts.append(self._number(tokens, count=len(tokens)))
            begin = end + 1
        words = np.concatenate(parts)
        ends = np.flatnonzero(words == self.index[NEWLINE])
        if len(ends) == len(words):
            self._forget(known)
        self._append(np.delete(words, ends), np.diff(ends, prepend=-1) - 1)

    def _append(self, words: Int[np.ndarray, " words"], lengths: Int[np.ndarray, " sentences"]) -> None:
        if not self.size + len(words):
            raise ValueError("there is nothing to learn from: the corpus has no token. Give at least one sentence")
        self._words.append(words)
        self._lengths.append(lengths)
        self.size += len(words)

    def _number(self, tokens: Iterable[Token], *, count: int) -> Int[np.ndarray, " words"]:
        known = len(self.index)
        try:
            words = np.fromiter(map(self.index.__getitem__, tokens), dtype=np.int32, count=count)
            for token in islice(self.index, known, None):
                check_token(token)
        except (TypeError, ValueError) as error:
            self._forget(known)
            if isinstance(error, TypeError):
                raise ValueError(f"a token must be a string, got one that is not ({error}): use str(token)") from error
            raise
        return words

    def _forget(self, known: int) -> None:
        for token in list(islice(self.index, known, None)):
            del self.index[token]

    def text(self) -> tuple[Int[np.ndarray, " words"], Int[np.ndarray, " sentences"]]:
        """All words as numbers in order of first appearance, and the length of every sentence."""
        for parts, kind in ((self._words, np.int32), (self._lengths, np.int64)):
            parts[:] = [np.concatenate(parts) if parts else np.zeros(0, dtype=kind)]
        return self._words[0], self._lengths[0]

    def vocabulary(self, *, min_count: int = 1) -> Vocabulary:
        """The vocabulary of what was seen so far, frequent words first."""
        counts = np.bincount(self.text()[0], minlength=len(self.index))
        tokens = list(self.index)
        frequent = np.argsort(-counts, kind="stable")
        ordered = {tokens[i]: n for i, n in zip(frequent.tolist(), counts[frequent].tolist(), strict=True) if n}
        return Vocabulary(ordered, min_count=min_count)

    def encoded(self, vocabulary: Vocabulary) -> tuple[Int[np.ndarray, " words"], Int[np.ndarray, " sentences"]]:
        """The text in the numbers of a vocabulary, unknown words as `<unk>`, and the length of every sentence."""
        words, lengths = self.text()
        return vocabulary.encode(self.index)[words], lengths


class _Numbering(dict):
    """A dictionary that numbers its keys as they come."""

    def __missing__(self, key: Token) -> int:
        self[key] = number = len(self)
        return number


def pad_numbers(
    words: Int[np.ndarray, " words"], lengths: Int[np.ndarray, " sentences"], *, left: int, right: int
) -> tuple[Int[np.ndarray, " tokens"], Int[np.ndarray, " sentences"]]:
    """The sentences with `<s>` and `</s>` around each, one behind the other, and their new lengths."""
    padded = lengths + (left + right)
    tokens = np.full(len(words) + (left + right) * len(lengths), EOS_ID, dtype=np.int32)
    begins, inside = np.cumsum(padded) - padded, np.ones(len(tokens), dtype=bool)
    for i in range(left):
        tokens[begins + i], inside[begins + i] = BOS_ID, False
    for i in range(right):
        inside[begins + padded - 1 - i] = False
    tokens[inside] = words
    return tokens, padded
