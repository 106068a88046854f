"""The n-gram model: fit on sentences, score a word, a text, or write a new one."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from labkit.ngrams.counting import Level, count_ngrams
from labkit.ngrams.encoding import Encoder, pad_numbers
from labkit.ngrams.smoothing import ModifiedKneserNey, Smoothing
from labkit.ngrams.tables import Scores, Tables
from labkit.ngrams.vocabulary import (
    BOS_ID,
    EOS_ID,
    UNK_ID,
    Sentence,
    Text,
    Token,
    Vocabulary,
    check_min_count,
    check_token,
    checked,
)

HIGHEST_ORDER = 10


@dataclass(frozen=True)
class Padding:
    """How the boundaries of a sentence are made explicit: `left` times `<s>` before it, `right` times `</s>` behind.

    With `predict_start=False` the model never predicts `<s>`; it is context only. That is what KenLM and the textbooks
    do. `predict_start=True` counts `<s>` as a word, as `nltk.lm` does.
    """

    left: int = 1
    right: int = 1
    predict_start: bool = False

    def __post_init__(self):
        most = HIGHEST_ORDER if self.predict_start else 1
        if not (0 <= self.left <= most and 0 <= self.right <= HIGHEST_ORDER):
            raise ValueError(f"Padding: left must be 0 to {most} and right 0 to {HIGHEST_ORDER}, got {self}")


class NGramModel:
    """A language model of order n: the next word depends on the n-1 words before it.

    Args:
        order: n, from 1 to 10.
        smoothing: how counts become probabilities; see `labkit.ngrams.smoothing`.
        min_count: words seen less often become `<unk>` (unless a vocabulary is given).
        vocabulary: a fixed vocabulary; otherwise it is learned from everything the model was fitted on.
        padding: what stands at the boundaries of a sentence.

    Raises:
        ValueError: if the order is not a whole number from 1 to 10.

    >>> model = NGramModel(2).fit([["a", "cat", "sat"], ["a", "dog", "sat"]])
    >>> model.score("cat", ["a"]) > model.score("sat", ["a"])
    True
    """

    def __init__(
        self,
        order: int | Any,
        *,
        smoothing: Smoothing | Any = None,
        min_count: int | Any = 1,
        vocabulary: Vocabulary | Any = None,
        padding: Padding | None = None,
    ):
        if not isinstance(order, int) or isinstance(order, bool) or not 1 <= order <= HIGHEST_ORDER:
            raise ValueError(f"order must be a whole number from 1 to {HIGHEST_ORDER}, got {order!r}")
        if not isinstance(smoothing, Smoothing | None):
            raise ValueError(f"smoothing must be a method such as WittenBell(), got {smoothing!r}: add the brackets?")
        if vocabulary is not None and not isinstance(vocabulary, Vocabulary):
            raise ValueError(f"vocabulary must be a Vocabulary, got {type(vocabulary).__name__}: use Vocabulary(words)")
        check_min_count(min_count)
        self.order = order
        self.smoothing = ModifiedKneserNey() if smoothing is None else smoothing
        self.min_count = min_count
        self.padding = Padding() if padding is None else padding
        self._given_vocabulary = vocabulary
        self._encoder = Encoder()
        self._levels: list[Level] | None = None
        self._tables: Tables | None = None
        self._vocabulary = vocabulary
        self._frozen = False  # read from a file: no counts
        self._shares_text = False

    def __repr__(self) -> str:
        method = "probabilities read from a file" if self._frozen else f"smoothing={self.smoothing}"
        return f"NGramModel(order={self.order}, {method})"

    @classmethod
    def from_tables(cls, vocabulary: Vocabulary, tables: Tables) -> "NGramModel":
        """A model of given probabilities; it answers questions but has no counts and cannot be fitted."""
        model = cls(len(tables.orders), vocabulary=vocabulary)
        model._tables, model._frozen = tables, True
        return model

    def fit(self, sentences: Text) -> "NGramModel":
        """Learn from more sentences, each a list of tokens without boundaries; returns the model.

        Fitting twice gives the same model as fitting once on everything. The counting is done at the first question.

        Raises:
            ValueError: if a sentence is a string or a token is not one; what was learned before stays.
        """
        self._refuse_frozen()
        self._refuse_sharing()
        self._encoder.add(sentences)
        return self._changed()

    def fit_lines(self, text: str | Any) -> "NGramModel":
        """Learn from a text with one sentence a line and tokens separated by white space, as a file holds it."""
        self._refuse_frozen()
        self._refuse_sharing()
        self._encoder.add_lines(text)
        return self._changed()

    def with_smoothing(self, smoothing: Smoothing) -> "NGramModel":
        """A model of the same text that smooths differently; the counts are shared, not counted again."""
        self._refuse_frozen()
        model = NGramModel(
            self.order,
            smoothing=smoothing,
            min_count=self.min_count,
            vocabulary=self.vocabulary,
            padding=self.padding,
        )
        model._encoder, model._levels, model._shares_text = self._encoder, self.levels, True
        return model

    def _changed(self) -> "NGramModel":
        self._levels = self._tables = None
        self._vocabulary = self._given_vocabulary
        return self

    @property
    def vocabulary(self) -> Vocabulary:
        """The words the model knows."""
        if self._vocabulary is None:
            self._require_text()
            self._vocabulary = self._encoder.vocabulary(min_count=self.min_count)
        return self._vocabulary

    @property
    def levels(self) -> list[Level]:
        """The counts: all distinct n-grams of order 1, 2, …; counted when first asked for."""
        if self._levels is None:
            self._require_text()
            words, lengths = self._encoder.encoded(self.vocabulary)
            tokens, padded = pad_numbers(words, lengths, left=self.padding.left, right=self.padding.right)
            self._levels = count_ngrams(
                tokens,
                padded,
                order=self.order,
                vocabulary_size=len(self.vocabulary),
                predict_start=self.padding.predict_start,
            )
        return self._levels

    @property
    def tables(self) -> Tables:
        """The probabilities and back-off weights of all n-grams, estimated when first asked for."""
        if self._tables is None:
            self._tables = Tables.estimate(self.levels, self.smoothing)
        return self._tables

    def _require_text(self) -> None:
        self._refuse_frozen()
        if not self._encoder.size:
            raise ValueError("the model has not learned anything yet: call fit(sentences) first")

    def _refuse_frozen(self) -> None:
        if self._frozen:
            raise ValueError("this model was read from a file: it holds probabilities but no counts to fit or look at")

    def _refuse_sharing(self) -> None:
        if self._shares_text:
            raise ValueError("this model shares the text of another one: fit that one, or a new NGramModel")

    def _context(self, context: Sentence | None) -> list[int]:
        if isinstance(context, str):
            raise ValueError(
                f"a context must be a list of tokens, got the string {context!r}: use context.split(), "
                "or list(context) for a model of characters"
            )
        if context is not None and not isinstance(context, Iterable):
            raise ValueError(f"a context must be a list of tokens, got {context!r}")
        known = [] if context is None else list(context)
        for token in known:
            check_token(token)
        return [self.vocabulary.lookup(token) for token in known[max(0, len(known) - self.order + 1) :]]

    def score(self, word: Token, context: Sentence | None = None) -> float:
        """P(word | context), from 0 to 1; of the context only the last n-1 tokens count.

        A context that was never seen falls back to its shorter end. An unknown word is scored as `<unk>`.

        Raises:
            ValueError: if the context is a string or a token is not one.
        """
        return self.tables.score(self.vocabulary.lookup(word), self._context(context))

    def logscore(self, word: Token, context: Sentence | None = None, *, base: float | Any = 2.0) -> float:
        """The logarithm of `score`, minus infinity for an impossible word."""
        with np.errstate(divide="ignore"):
            return float(np.log(self.score(word, context)) / _log_of(base))

    def query(self, word: Token, context: Sentence | None = None) -> tuple[float, int]:
        """log10 P(word | context) and the length of the longest n-gram found, as readers of ARPA files give it."""
        numbers = [*self._context(context), self.vocabulary.lookup(word)]
        for n in range(len(numbers), 1, -1):
            place = self.tables.number(numbers[-n:])
            if place >= 0 and (self.tables.orders[n - 1].present is None or self.tables.orders[n - 1].present[place]):
                break
        else:
            n = 1
        return self.logscore(word, context, base=10.0), n

    def distribution(self, context: Sentence | None = None) -> Float[np.ndarray, " vocabulary"]:
        """P(w | context) for every word of the vocabulary, in its order."""
        return self.tables.distribution(self._context(context))

    def full_scores(self, sentences: Text) -> Scores:
        """The score of every token of a text and of every `</s>`, all at once.

        Raises:
            ValueError: if there is no sentence, a sentence is a string or a token is not one.
        """
        sentences = list(checked(sentences))
        lengths = np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences))
        if not len(lengths):
            raise ValueError("there is nothing to score: give at least one sentence")
        words = self.vocabulary.encode_all(sentences)
        tokens, padded = pad_numbers(words, lengths, left=self.padding.left, right=self.padding.right)
        return self.tables.full_scores(tokens, padded, skip=self.padding.left)

    def entropy(self, sentences: Text, *, base: float | Any = 2.0, unknown: bool = True) -> float:
        """The cross entropy of the model on a text, per token and `</s>`; in bits unless another base is chosen.

        Args:
            unknown: whether unknown words are part of the average (they are scored as `<unk>`).
        """
        scores = self.full_scores(sentences)
        chosen = scores.log_probability if unknown else scores.log_probability[scores.word != UNK_ID]
        if not len(chosen):
            raise ValueError("there is no token to judge: give a text with at least one (known) word")
        return float(-chosen.mean() / _log_of(base))

    def perplexity(self, sentences: Text, *, unknown: bool = True) -> float:
        """How many equally likely words the model hesitates between, on average; infinite if one is impossible."""
        return float(np.exp(self.entropy(sentences, base=np.e, unknown=unknown)))

    def generate(
        self, context: Sentence | None = None, *, most: int = 30, seed: int = 0, unknown: bool = False
    ) -> list[str]:
        """A continuation drawn word by word, until `</s>` or `most` words; the same seed gives the same words.

        Args:
            context: what was said before; nothing means the beginning of a sentence.
            unknown: whether `<unk>` may be drawn.
        """
        generator = np.random.default_rng(seed)
        numbers = self._context(context) or [BOS_ID] * self.padding.left
        drawn: list[str] = []
        while len(drawn) < most:
            chances = self.tables.distribution(numbers[max(0, len(numbers) - self.order + 1) :])
            chances[BOS_ID] = 0.0
            chances[UNK_ID] *= unknown
            running = np.cumsum(chances)
            if not running[-1]:
                break
            word = int(np.searchsorted(running, generator.random() * running[-1], side="right"))
            if word == EOS_ID:
                break
            numbers.append(word)
            drawn.append(self.vocabulary.token(word))
        return drawn


def _log_of(base: float | Any) -> float:
    if not (isinstance(base, int | float) and 0 < base < np.inf and base != 1):
        raise ValueError(f"the base of a logarithm must be a positive number other than 1, got {base!r}")
    return float(np.log(base))
