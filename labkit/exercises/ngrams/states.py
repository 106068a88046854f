"""Exercises on hidden Markov models."""

import numpy as np

from labkit.exercises.ngrams.counting import NOTEBOOK
from labkit.workbench.checking import Exercise, WrongAnswer


def _tables(draw: np.random.Generator, states: int) -> tuple:
    def rows(shape):
        table = draw.uniform(0.1, 1, shape)
        return table / table.sum(axis=-1, keepdims=True)

    return draw.uniform(0.01, 1, states), rows((states, states)), draw.uniform(0.1, 0.9, states)


def _cases(draw):
    start = np.array([0.32, 0.02]), np.array([[0.6, 0.4], [0.5, 0.5]]), np.array([0.2, 0.5])
    return [start, *(_tables(draw, n) for n in (1, 2, 3, 4))]


def forward_step(alpha, transition, emission):
    """One column of the forward trellis from the one before."""
    return (alpha @ transition) * emission


FORWARD_STEP = Exercise(
    id="ngrams.forward_step",
    notebook=NOTEBOOK,
    statement=(
        "`alpha[i]` is the forward probability of state i, `transition[i, j]` the probability of going from i"
        " to j, `emission[j]` that of the next symbol in state j. Return the next alpha."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "A state j can be reached from every state i: add up alpha[i] times transition[i, j], then let j speak.",
        "The sum over i is a product of a vector and a matrix: alpha @ transition.",
    ),
    solution=forward_step,
    wrong=(
        WrongAnswer(
            "backwards",
            lambda alpha, transition, emission: (transition @ alpha) * emission,
            "You multiplied from the other side, as if the rows of `transition` said where a state is reached from.",
        ),
        WrongAnswer(
            "silent",
            lambda alpha, transition, emission: alpha @ transition,
            "The new symbol is missing: multiply by its probability in each state.",
        ),
        WrongAnswer(
            "best instead of sum",
            lambda alpha, transition, emission: (alpha[:, None] * transition).max(axis=0) * emission,
            "You kept the best way into each state: that is Viterbi. Forward adds up all ways.",
        ),
    ),
    cases=_cases,
)


def viterbi_step(best, transition, emission):
    """The best probability of reaching each state, and the state it came from."""
    reach = best[:, None] * transition
    return reach.max(axis=0) * emission, reach.argmax(axis=0)


def _greedy(best, transition, emission):
    came_from = int(best.argmax())
    return best[came_from] * transition[came_from] * emission, np.full(len(best), came_from)


VITERBI_STEP = Exercise(
    id="ngrams.viterbi_step",
    notebook=NOTEBOOK,
    statement=(
        "Like the forward step, but keep the best way only: return the new `best` and, for each state, the "
        "number of the state it was reached from."
    ),
    difficulty=3,
    minutes=8,
    hints=(
        "reach[i, j] = best[i] * transition[i, j]. For each j, which i is best? That is a maximum over rows.",
        "reach = best[:, None] * transition; then reach.max(axis=0) and reach.argmax(axis=0).",
    ),
    solution=viterbi_step,
    wrong=(
        WrongAnswer(
            "sum instead of best",
            lambda best, transition, emission: (
                (best @ transition) * emission,
                (best[:, None] * transition).argmax(axis=0),
            ),
            "You added up all ways: that is the forward step. Viterbi keeps the best one.",
        ),
        WrongAnswer(
            "wrong axis",
            lambda best, transition, emission: (
                (best[:, None] * transition).max(axis=1) * emission,
                (best[:, None] * transition).argmax(axis=1),
            ),
            "The maximum runs over the wrong axis: for each state j look at all states i it could come from.",
        ),
        WrongAnswer(
            "no way back",
            lambda best, transition, emission: (best[:, None] * transition).max(axis=0) * emission,
            "Return two things: the new best, and for each state the number of the state it was reached from.",
        ),
        WrongAnswer(
            "silent",
            lambda best, transition, emission: (
                (best[:, None] * transition).max(axis=0),
                (best[:, None] * transition).argmax(axis=0),
            ),
            "The new symbol is missing: multiply by its probability in each state.",
        ),
        WrongAnswer(
            "greedy",
            _greedy,
            "You took the state that is best so far for all. Each new state has its own best way in.",
        ),
    ),
    cases=lambda draw: [
        (np.array([0.5, 0.4]), np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([0.5, 0.8])),
        *_cases(draw)[:1],
        *_cases(draw)[2:],
    ],
)
