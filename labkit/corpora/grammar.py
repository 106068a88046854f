"""Probabilistic context-free grammars: text whose true entropy is known, so that perplexity has a floor to approach."""

import math
import random
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

Rule = tuple[float, tuple[str, ...]]  # (probability, symbols on the right-hand side)


@dataclass(frozen=True, eq=False)
class Grammar:
    """Rules {nonterminal: ((probability, symbols), ...)}; a symbol without rules is a word (terminal).

    A symbol in capital letters is meant as a nonterminal, so one without rules is refused as a slip.

    >>> coin = Grammar({"S": ((0.5, ("heads",)), (0.5, ("tails", "S")))})
    >>> coin.entropy(), coin.expected_length(), coin.entropy_per_token()
    (2.0, 2.0, 0.6666666666666666)
    >>> coin.logprob(["tails", "heads"])
    -2.0

    Raises: ValueError when a rule list is empty or does not sum to 1, a probability is not above 0, a right-hand side
    is empty, a nonterminal has no rules or cannot be reached, or sentences have no finite expected length.
    """

    rules: Mapping[str, tuple[Rule, ...]]
    start: str = "S"

    def __post_init__(self) -> None:
        for name, rules in self.rules.items():
            _check_rules(name, rules, self.rules)
        reached = _reachable(self.rules, self.start)
        if lost := [name for name in self.rules if name not in reached]:
            raise ValueError(f"{lost[0]} cannot be reached from {self.start}; use it in a rule or take it out")
        self.expected_length()  # refuses a grammar whose sentences never end

    def sample(self, n: int, seed: int) -> list[list[str]]:
        """Return n sentences as lists of words; equal seeds give equal sentences on every machine."""
        return [[word for word, _ in sentence] for sentence in self.sample_tagged(n, seed)]

    def sample_tagged(self, n: int, seed: int) -> list[list[tuple[str, str]]]:
        """Return n sentences as lists of (word, tag); the tag is the nonterminal whose rule wrote the word."""
        chance, compiled = random.Random(seed).random, self._compiled
        sentences = []
        for _ in range(n):
            sentence, waiting = [], [(self.start, self.start)]
            while waiting:
                symbol, parent = waiting.pop()
                if symbol in compiled:
                    limits, expansions = compiled[symbol]
                    waiting.extend(expansions[bisect(limits, chance())])
                else:
                    sentence.append((symbol, parent))
            sentences.append(sentence)
        return sentences

    def entropy(self) -> float:
        """Return the entropy of a derivation in bits: of a sentence too when no sentence has two derivations.

        Source: U. Grenander (1967), Syntax-controlled probabilities: H = h + M H, with h the entropy of the choice of
        a rule and M the expected number of each nonterminal that one rewriting leaves.
        """
        return self._expected(lambda probability, _: -math.log2(probability))[self.start]

    def expected_length(self) -> float:
        """Return the expected number of words of a sentence."""
        return self._expected(lambda _, symbols: sum(s not in self.rules for s in symbols))[self.start]

    def entropy_per_token(self) -> float:
        """Return bits per predicted token, counting the end of the sentence as one token like a language model."""
        return self.entropy() / (self.expected_length() + 1)

    def perplexity_floor(self) -> float:
        """Return the perplexity per token that no model can beat on unlimited text of this grammar."""
        return 2.0 ** self.entropy_per_token()

    def logprob(self, tokens: Sequence[str]) -> float:
        """Return log2 of the probability of a whole sentence, its end included; -inf for one it cannot produce.

        Raises: ValueError for a grammar with left recursion (A → A …), which this top-down search cannot follow.
        """
        if self._left_recursive:
            raise ValueError(f"{self._left_recursive} can begin with itself; write the rule right-recursive")
        ends = self._ends(self.start, 0, tuple(tokens), {})
        return math.log2(ends[len(tokens)]) if ends.get(len(tokens)) else -math.inf

    def as_characters(self) -> "Grammar":
        """Return the same grammar with every word written as its characters: for models over characters."""

        def spell(symbols: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(part for s in symbols for part in ((s,) if s in self.rules else s))

        spelt = {name: tuple((p, spell(symbols)) for p, symbols in rules) for name, rules in self.rules.items()}
        return Grammar(spelt, self.start)

    @cached_property
    def _compiled(self) -> dict[str, tuple[list[float], list[tuple[tuple[str, str], ...]]]]:
        """Per nonterminal: inner limits of the cumulative probabilities, and (symbol, parent) pairs, last one first."""
        return {
            name: (
                list(accumulate(p for p, _ in rules))[:-1],
                [tuple((symbol, name) for symbol in reversed(symbols)) for _, symbols in rules],
            )
            for name, rules in self.rules.items()
        }

    @cached_property
    def _left_recursive(self) -> str | None:
        firsts = {name: {symbols[0] for _, symbols in rules} & set(self.rules) for name, rules in self.rules.items()}
        for name in firsts:
            seen, waiting = set(), list(firsts[name])
            while waiting:
                symbol = waiting.pop()
                if symbol == name:
                    return name
                if symbol not in seen:
                    seen.add(symbol)
                    waiting.extend(firsts[symbol])
        return None

    def _expected(self, cost: Callable[[float, tuple[str, ...]], float]) -> dict[str, float]:
        """Return for each nonterminal the expected sum of `cost` over the rules of its derivation: x = c + M x."""
        names = list(self.rules)
        place = {name: i for i, name in enumerate(names)}
        matrix = [[float(i == j) for j in range(len(names))] for i in range(len(names))]
        costs = [sum(p * cost(p, symbols) for p, symbols in self.rules[name]) for name in names]
        for name in names:
            for p, symbols in self.rules[name]:
                for symbol in symbols:
                    if symbol in place:
                        matrix[place[name]][place[symbol]] -= p
        return dict(zip(names, _solve(matrix, costs), strict=True))

    def _ends(self, symbol: str, i: int, tokens: tuple[str, ...], known: dict) -> dict[int, float]:
        """Return where a symbol that begins at token i can end, with the probability of all ways to do so."""
        if symbol not in self.rules:
            return {i + 1: 1.0} if i < len(tokens) and tokens[i] == symbol else {}
        if (symbol, i) not in known:
            total: dict[int, float] = {}
            for p, symbols in self.rules[symbol]:
                for j, q in self._sequence_ends(symbols, i, tokens, known):
                    total[j] = total.get(j, 0.0) + p * q
            known[symbol, i] = total
        return known[symbol, i]

    def _sequence_ends(
        self, symbols: tuple[str, ...], i: int, tokens: tuple[str, ...], known: dict
    ) -> Iterator[tuple[int, float]]:
        for j, p in self._ends(symbols[0], i, tokens, known).items():
            if len(symbols) == 1:
                yield j, p
            else:
                yield from ((k, p * q) for k, q in self._sequence_ends(symbols[1:], j, tokens, known))


def _check_rules(name: str, rules: tuple[Rule, ...], all_rules: Mapping[str, tuple[Rule, ...]]) -> None:
    total = math.fsum(p for p, _ in rules)
    if not math.isclose(total, 1.0, abs_tol=1e-9):
        raise ValueError(f"the probabilities of {name} sum to {total:.6g}, expected 1; check its {len(rules)} rules")
    for p, symbols in rules:
        if not p > 0:
            raise ValueError(f"{name} has a rule with probability {p}, expected more than 0; take the rule out")
        if not symbols or "" in symbols:
            raise ValueError(f"{name} has a rule that writes nothing; give every rule at least one word or nonterminal")
        for symbol in symbols:
            if symbol not in all_rules and symbol.isascii() and symbol.isupper():
                raise ValueError(f"{name} uses {symbol}, which has no rules; add them or write words in small letters")


def _reachable(rules: Mapping[str, tuple[Rule, ...]], start: str) -> set[str]:
    if start not in rules:
        raise ValueError(f"the start symbol {start} has no rules; the nonterminals are {', '.join(rules)}")
    reached, waiting = {start}, [start]
    while waiting:
        new = {s for _, symbols in rules[waiting.pop()] for s in symbols if s in rules} - reached
        reached |= new
        waiting.extend(new)
    return reached


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Return x with (1 - M) x = right by Gaussian elimination, in place.

    Without exchanging rows every pivot is positive exactly when the expected number of rewritings is finite (1 - M is
    then an M-matrix), so a pivot that is not says that the grammar does not end.

    Source: A. Berman, R. Plemmons (1994), Nonnegative Matrices in the Mathematical Sciences, chapter 6, theorem 2.3.
    """
    size = len(right)
    for i in range(size):
        if matrix[i][i] <= 1e-9:
            raise ValueError("sentences have no finite expected length; give the recursive rules less probability")
        for j in range(i + 1, size):
            factor = matrix[j][i] / matrix[i][i]
            if factor:
                matrix[j] = [a - factor * b for a, b in zip(matrix[j], matrix[i], strict=True)]
                right[j] -= factor * right[i]
    for i in reversed(range(size)):
        right[i] = (right[i] - sum(matrix[i][j] * right[j] for j in range(i + 1, size))) / matrix[i][i]
    return right
