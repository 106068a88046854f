"""Probabilities and back-off weights in sorted arrays, and looking them up: one by one, or a whole text at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from labkit.ngrams.counting import Level
from labkit.ngrams.lookup import HashIndex, find_sorted
from labkit.ngrams.smoothing import Smoothing
from labkit.ngrams.vocabulary import BOS_ID


@dataclass(eq=False)
class Table:
    """The n-grams of one order. `key` is context number × vocabulary size + word, ascending."""

    key: Int[np.ndarray, " ngrams"]
    probability: Float[np.ndarray, " ngrams"]
    backoff: Float[np.ndarray, " ngrams"]  # the weight of this n-gram as a context; 1 at the highest order
    present: Bool[np.ndarray, " ngrams"] | None = None  # False for n-grams that only connect others; None: all there
    asked: int = 0  # questions so far

    def __len__(self) -> int:
        return len(self.key)

    @cached_property
    def log_probability(self) -> Float[np.ndarray, " ngrams"]:
        """Natural logarithms, minus infinity for what is impossible."""
        with np.errstate(divide="ignore"):
            return np.log(self.probability)

    @cached_property
    def log_backoff(self) -> Float[np.ndarray, " ngrams"]:
        """Natural logarithms of the back-off weights."""
        with np.errstate(divide="ignore"):
            return np.log(self.backoff)

    @cached_property
    def index(self) -> HashIndex:
        """A hash table of the keys, built when a long text is scored for the first time."""
        return HashIndex(self.key)

    def find(self, keys: Int[np.ndarray, " questions"]) -> Integer[np.ndarray, " questions"]:
        """Where each key stands, -1 where it is not there."""
        self.asked += len(keys)
        # Building the index costs about as much as a binary search for every n-gram; many questions are worth it.
        worth_it = "index" in self.__dict__ or 4 * self.asked > len(self.key)
        return self.index.find(keys) if worth_it else find_sorted(self.key, keys)

    def find_one(self, key: int) -> int:
        """Where one key stands, -1 if it is not there."""
        place = int(np.searchsorted(self.key, key))
        return place if place < len(self.key) and self.key[place] == key else -1


@dataclass(frozen=True, eq=False)
class Scores:
    """One entry for each scored token, sentence after sentence: natural logarithm, length of the n-gram found, word."""

    log_probability: Float[np.ndarray, " tokens"]
    matched: Int[np.ndarray, " tokens"]
    word: Int[np.ndarray, " tokens"]


@dataclass(frozen=True, eq=False)
class Tables:
    """A model ready for questions: one table for each order."""

    orders: list[Table]
    events: int
    to_uniform: bool = False
    unseen_context: float = 1.0

    @property
    def size(self) -> int:
        """The number of words, boundaries and `<unk>` included."""
        return len(self.orders[0].key)

    @cached_property
    def floor(self) -> Float[np.ndarray, " vocabulary"]:
        """What each word gets where the rest is shared equally; 0 for what is never predicted."""
        return np.where(self.orders[0].probability > 0, 1 / self.events, 0.0)

    @classmethod
    def estimate(cls, levels: list[Level], smoothing: Smoothing) -> "Tables":
        """The tables of a smoothing method, order by order from the unigrams up."""
        size, events = len(levels[0]), levels[0].events
        lower = np.full(size, 1 / events)
        if events < size:
            lower[BOS_ID] = 0.0
        probabilities, backoffs = [], []
        for level in levels:
            probability, backoff = smoothing.estimate(level, lower.take(level.suffix) if level.order > 1 else lower)
            probabilities.append(probability)
            backoffs.append(backoff)
            lower = probability
        backoffs.append(np.ones(len(levels[-1])))
        orders = [
            Table(level.context.astype(np.int64) * size + level.word, probability, backoff)
            for level, probability, backoff in zip(levels, probabilities, backoffs[1:], strict=True)
        ]
        return cls(orders, events, smoothing.to_uniform, smoothing.unseen_context)

    def number(self, words: Sequence[int]) -> int:
        """The number of an n-gram in its table, -1 if it is not there."""
        number = words[0]
        for table, word in zip(self.orders[1:], words[1:], strict=False):
            number = table.find_one(number * self.size + word)
            if number < 0:
                break
        return number

    def score(self, word: int, context: Sequence[int]) -> float:
        """P(word | context), from the unigram up to the longest context given."""
        probability = float(self.orders[0].probability[word])
        for n in range(1, min(len(context), len(self.orders) - 1) + 1):
            before = self.number(context[len(context) - n :])
            if before < 0 or np.isnan(self.orders[n - 1].backoff[before]):
                probability *= self.unseen_context
                continue
            place = self.orders[n].find_one(before * self.size + word)
            if place >= 0:
                probability = float(self.orders[n].probability[place])
            else:
                rest = float(self.floor[word]) if self.to_uniform else probability
                probability = float(self.orders[n - 1].backoff[before]) * rest
        return probability

    def distribution(self, context: Sequence[int]) -> Float[np.ndarray, " vocabulary"]:
        """P(w | context) for every word w."""
        result = self.orders[0].probability.copy()
        for n in range(1, min(len(context), len(self.orders) - 1) + 1):
            before = self.number(context[len(context) - n :])
            if before < 0 or np.isnan(self.orders[n - 1].backoff[before]):
                result *= self.unseen_context
                continue
            table = self.orders[n]
            first, last = np.searchsorted(table.key, [before * self.size, (before + 1) * self.size])
            result = float(self.orders[n - 1].backoff[before]) * (self.floor if self.to_uniform else result)
            result[table.key[first:last] - before * self.size] = table.probability[first:last]
        return result

    def walk(
        self, tokens: Int[np.ndarray, " tokens"], depth: Int[np.ndarray, " tokens"]
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """For n = 2, 3, …: the places in a text whose n-1 words before are known, their number, and the n-gram's or -1.

        `depth` is 0 at the beginning of every sentence and grows by one from token to token.
        """
        place = np.flatnonzero(depth)
        before = tokens[place - 1]
        for n, table in enumerate(self.orders[1:], start=2):
            number = table.find(before.astype(np.int64) * self.size + tokens[place])
            yield n, place, before, number
            found = number >= 0
            place, before = place[found] + 1, number[found]
            inside = np.append(depth, 0)[place] > 0
            place, before = place[inside], before[inside]

    def full_scores(
        self, tokens: Int[np.ndarray, " tokens"], lengths: Int[np.ndarray, " sentences"], *, skip: int
    ) -> Scores:
        """Scores of a padded text; the first `skip` tokens of every sentence are context only."""
        depth = depths(lengths)
        score = self.orders[0].log_probability[tokens]
        with np.errstate(divide="ignore"):
            log_floor = np.log(self.floor)
        matched = np.ones(len(tokens), dtype=np.int8)
        for n, place, before, number in self.walk(tokens, depth):
            if self.unseen_context != 1.0:
                unseen = depth >= n - 1
                unseen[place] = False
                score[unseen] += np.log(self.unseen_context)
            shorter, table = self.orders[n - 2 : n]
            hit = number >= 0
            missing, found, at = place[~hit], place[hit], number[hit]
            weight = shorter.log_backoff[before[~hit]]
            if self.to_uniform:  # a context that nothing follows is no context
                missing, weight = missing[~np.isnan(weight)], weight[~np.isnan(weight)]
            score[missing] = weight + (log_floor[tokens[missing]] if self.to_uniform else score[missing])
            score[found] = table.log_probability[at]
            matched[found if table.present is None else found[table.present[at]]] = n
        chosen = depth >= skip
        return Scores(score[chosen], matched[chosen], tokens[chosen])


def depths(lengths: Int[np.ndarray, " sentences"]) -> Int[np.ndarray, " tokens"]:
    """How many tokens stand before each token in its sentence."""
    return np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
