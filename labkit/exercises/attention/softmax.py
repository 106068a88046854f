"""Exercises on softmax: stable forward, and backward without autograd."""

import numpy as np

from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "06_attention_math"


def random_tensor(draw: np.random.Generator, *shape: int):
    """A float64 tensor of standard normal numbers with two decimals, so that a failing example is short to print."""
    return torch.from_numpy(draw.normal(size=shape).round(2))


def double(numbers):
    """A float64 tensor of the numbers given."""
    return torch.tensor(numbers, dtype=torch.float64)


def stable_softmax(scores):
    """Exponentials of the distances to the row's largest score, divided by their sum."""
    exponentials = torch.exp(scores - scores.amax(dim=-1, keepdim=True))
    return exponentials / exponentials.sum(dim=-1, keepdim=True)


def _softmax_from(scores, shift):
    exponentials = torch.exp(scores - shift)
    return exponentials / exponentials.sum(dim=-1, keepdim=True)


STABLE_SOFTMAX = Exercise(
    id="attention.stable_softmax",
    notebook=NOTEBOOK,
    statement=(
        "Return the softmax of `scores` (..., n) over the last dimension, without torch.softmax. It must also hold for "
        "scores of 1000 and of -1000."
    ),
    difficulty=1,
    minutes=4,
    hints=(
        "Softmax does not change when one number is subtracted from all scores of a row. Which number keeps exp from "
        "overflowing?",
        "Subtract `scores.amax(dim=-1, keepdim=True)`, take `torch.exp`, divide by the sum over dim=-1 (keepdim=True).",
    ),
    solution=stable_softmax,
    wrong=(
        WrongAnswer(
            "overflow",
            lambda scores: _softmax_from(scores, 0.0),
            "The formula is right, but exp(1000) is too large for a float: it becomes inf, and inf / inf is NaN. (And "
            "exp(-1000) becomes 0, and 0 / 0 is NaN.) Subtract the row's largest score first; that cancels out.",
        ),
        WrongAnswer(
            "one maximum for all",
            lambda scores: _softmax_from(scores, scores.max()),
            "You subtract the largest score of the whole tensor. In a row that lies far below it every exponential "
            "becomes 0, and 0 / 0 is NaN. Subtract each row's own maximum: `amax(dim=-1, keepdim=True)`.",
        ),
        WrongAnswer(
            "one sum for all",
            lambda scores: stable_softmax(scores.flatten()).reshape(scores.shape),
            "Now the whole tensor adds up to 1. Each row is a distribution of its own: sum over dim=-1 only, and print "
            "`.sum(dim=-1)` of your answer to see that it is 1 everywhere.",
        ),
        WrongAnswer(
            "first dimension",
            lambda scores: torch.softmax(scores, dim=0),
            "Your columns add up to 1, not your rows. The last dimension is dim=-1; dim=0 is the first one.",
        ),
        WrongAnswer(
            "logarithms",
            lambda scores: torch.log_softmax(scores, dim=-1),
            "These are the logarithms of the probabilities: they are negative. Take the exponential, or divide by the "
            "sum instead of subtracting its logarithm.",
        ),
    ),
    cases=lambda draw: [
        (double([1000.0, 999.0]),),
        (double([5.0]),),
        (double([[0.0, 1.0], [2.0, 0.0]]),),
        (double([[1000.0, 1001.0], [-1000.0, -999.0]]),),
        (double([-1000.0, 1000.0, 999.0]),),
        (random_tensor(draw, 3),),
        (random_tensor(draw, 3, 4),),
        (random_tensor(draw, 2, 3, 4),),
    ],
)


def softmax_backward(grad, probabilities):
    """The vector-Jacobian product of softmax: P ∘ (dP − rowsum(dP ∘ P))."""
    average = (grad * probabilities).sum(dim=-1, keepdim=True)
    return probabilities * (grad - average)


def _gradient_and_probabilities(draw, *shape):
    return random_tensor(draw, *shape), torch.softmax(random_tensor(draw, *shape), dim=-1)


SOFTMAX_BACKWARD = Exercise(
    id="attention.softmax_backward",
    notebook=NOTEBOOK,
    statement=(
        "P = softmax(S) over the last dimension. Given `grad` = dP and `probabilities` = P, both (..., n), return dS "
        "(..., n), without autograd and without building the n × n Jacobian."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "The Jacobian of softmax is diag(p) − p pᵀ. Multiply it with dP on paper: which part needs only elementwise "
        "products, which part is one number for each row?",
        "dS = P * (dP − a), where a is the sum over the row of dP * P; keep the dimension (keepdim=True).",
    ),
    solution=softmax_backward,
    wrong=(
        WrongAnswer(
            "no coupling",
            lambda grad, probabilities: grad * probabilities,
            "You used the diagonal p of the Jacobian only; the part −p pᵀ is missing. All scores share one "
            "denominator, so raising all of them by the same amount changes nothing: dS must add up to 0 in each row.",
        ),
        WrongAnswer(
            "sigmoid",
            lambda grad, probabilities: grad * probabilities * (1 - probabilities),
            "p (1 − p) is the derivative of each probability by its own score: the diagonal of the Jacobian. A score "
            "also lowers all other probabilities of its row; those terms, −pᵢ pⱼ, are missing.",
        ),
        WrongAnswer(
            "plain mean",
            lambda grad, probabilities: probabilities * (grad - grad.mean(dim=-1, keepdim=True)),
            "You subtract the plain mean of dP. The Jacobian asks for its average weighted with P: sum of dP * P.",
        ),
        WrongAnswer(
            "rows mixed",
            lambda grad, probabilities: probabilities * (grad - (grad * probabilities).sum()),
            "You summed dP * P over the whole tensor. Each row has its own softmax and its own sum: dim=-1, "
            "keepdim=True.",
        ),
        WrongAnswer(
            "dimension lost",
            lambda grad, probabilities: probabilities * (grad - (grad * probabilities).sum(dim=-1)),
            "The sum over each row lost its dimension, so it no longer lines up with the rows (or lines up with the "
            "wrong ones, without an error): keepdim=True.",
        ),
        WrongAnswer(
            "sign",
            lambda grad, probabilities: -softmax_backward(grad, probabilities),
            "The sign is the other way round: dS is positive where dP is larger than its average over the row.",
        ),
    ),
    cases=lambda draw: [
        (double([1.0, 0.0]), double([0.75, 0.25])),
        (double([3.0]), double([1.0])),
        (double([2.0, 2.0]), double([0.5, 0.5])),
        (double([[1.0, 0.0], [0.0, 4.0]]), double([[0.5, 0.5], [0.75, 0.25]])),
        _gradient_and_probabilities(draw, 3),
        _gradient_and_probabilities(draw, 2, 4),
        _gradient_and_probabilities(draw, 2, 3, 3),
    ],
)
