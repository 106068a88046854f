"""Hidden Markov models: a bigram model of states that cannot be seen, each of which says a word that can.

Probabilities are kept as natural logarithms, so that long texts do not underflow.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from labkit.ngrams.vocabulary import UNK

Tagged = list[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class HiddenMarkovModel:
    """States, symbols and three tables of probabilities. Unknown symbols are looked up as `<unk>` if that is a symbol.

    Raises:
        ValueError: if the shapes do not fit or a row does not add up to one.
    """

    states: tuple[str, ...]
    symbols: tuple[str, ...]
    start: Float[np.ndarray, " states"]
    transition: Float[np.ndarray, "states states"]  # from row to column
    emission: Float[np.ndarray, "states symbols"]

    def __post_init__(self):
        shapes = {"start": (len(self.states),), "transition": (len(self.states),) * 2}
        shapes["emission"] = (len(self.states), len(self.symbols))
        for name, shape in shapes.items():
            table = getattr(self, name)
            if table.shape != shape:
                raise ValueError(f"{name} must have shape {shape} for these states and symbols, got {table.shape}")
            if not np.allclose(table.sum(axis=-1), 1) or (table < 0).any():
                sums = table.sum(axis=-1)
                raise ValueError(f"every row of {name} must hold probabilities that add up to 1, got sums {sums}")

    @cached_property
    def _index(self) -> dict[str, int]:
        return {symbol: i for i, symbol in enumerate(self.symbols)}

    def encode(self, symbols: Iterable[str]) -> Int[np.ndarray, " time"]:
        """Symbols as numbers.

        Raises:
            ValueError: if a symbol is unknown and the model has no `<unk>`, or if there is none at all.
        """
        symbols = list(symbols)
        unknown = [s for s in symbols if s not in self._index]
        if unknown and UNK not in self._index:
            raise ValueError(f"{unknown[0]!r} is not among the {len(self.symbols)} symbols and there is no {UNK}")
        if not symbols:
            raise ValueError("there is nothing to explain: give at least one symbol")
        return np.array([self._index.get(s, self._index.get(UNK, -1)) for s in symbols])


def _log(table: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(table)


def forward(model: HiddenMarkovModel, symbols: Sequence[str]) -> Float[np.ndarray, "time states"]:
    """log α: for each time and state the log-probability of all symbols so far and of being in that state.

    The log-probability of the whole sequence is `np.logaddexp.reduce(forward(model, symbols)[-1])`.
    Source: Rabiner (1989), eq. 19-20.
    """
    emission = _log(model.emission)[:, model.encode(symbols)].T
    transition = _log(model.transition)
    alpha = np.empty_like(emission)
    alpha[0] = _log(model.start) + emission[0]
    for t in range(1, len(alpha)):
        alpha[t] = np.logaddexp.reduce(alpha[t - 1][:, None] + transition, axis=0) + emission[t]
    return alpha


def viterbi(model: HiddenMarkovModel, symbols: Sequence[str]) -> tuple[list[str], float]:
    """The most probable states behind the symbols, and the log-probability of both together.

    Source: Viterbi (1967); Rabiner (1989), eq. 32-35.
    """
    emission = _log(model.emission)[:, model.encode(symbols)].T
    transition = _log(model.transition)
    best = _log(model.start) + emission[0]
    came_from = np.zeros(emission.shape, dtype=int)
    for t in range(1, len(emission)):
        reach = best[:, None] + transition
        came_from[t] = reach.argmax(axis=0)
        best = reach.max(axis=0) + emission[t]
    path = [int(best.argmax())]
    for t in range(len(emission) - 1, 0, -1):
        path.append(int(came_from[t, path[-1]]))
    return [model.states[i] for i in reversed(path)], float(best.max())


def fit_tagger(sentences: Iterable[Tagged], *, k: float | int = 0.1, min_count: int = 2) -> HiddenMarkovModel:
    """A tagger from sentences of (symbol, tag): relative frequencies with `k` added to every count.

    Symbols seen less often than `min_count` teach the model what an unknown word looks like.

    Raises:
        ValueError: if there is no tagged symbol or `k` is not positive.
    """
    sentences = [sentence for sentence in sentences if sentence]
    if not sentences:
        raise ValueError("there is nothing to learn from: give at least one sentence of (symbol, tag) pairs")
    if k <= 0:
        raise ValueError(f"k must be positive, got {k}: otherwise an unseen pair would be impossible for ever")
    counts = Counter(symbol for sentence in sentences for symbol, _ in sentence)
    symbols = (UNK, *(symbol for symbol, n in counts.items() if n >= min_count and symbol != UNK))
    states = tuple(sorted({tag for sentence in sentences for _, tag in sentence}))
    symbol_of = {symbol: i for i, symbol in enumerate(symbols)}
    state_of = {state: i for i, state in enumerate(states)}
    start, transition, emission = (
        np.full(shape, k) for shape in ((1, len(states)), (len(states),) * 2, (len(states), len(symbols)))
    )
    for sentence in sentences:
        tags = [state_of[tag] for _, tag in sentence]
        start[0, tags[0]] += 1
        np.add.at(transition, (tags[:-1], tags[1:]), 1)
        np.add.at(emission, (tags, [symbol_of.get(symbol, 0) for symbol, _ in sentence]), 1)
    start, transition, emission = (table / table.sum(axis=1, keepdims=True) for table in (start, transition, emission))
    return HiddenMarkovModel(states, symbols, start[0], transition, emission)
