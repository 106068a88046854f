"""Exercises on the backward pass of attention: the two products and their gradients."""

from labkit.exercises.attention.softmax import NOTEBOOK, double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")


def value_gradients(grad, weights, value):
    """Gradients of the weighted average: dV = Pᵀ dO and dP = dO Vᵀ."""
    return weights.transpose(-2, -1) @ grad, grad @ value.transpose(-2, -1)


def _average_inputs(draw, queries, keys, dim, leading=()):
    weights = torch.softmax(random_tensor(draw, *leading, queries, keys), dim=-1)
    return random_tensor(draw, *leading, queries, dim), weights, random_tensor(draw, *leading, keys, dim)


def _through_the_softmax(grad, weights, value):
    grad_value, grad_weights = value_gradients(grad, weights, value)
    return grad_value, weights * (grad_weights - (grad_weights * weights).sum(dim=-1, keepdim=True))


VALUE_GRADIENTS = Exercise(
    id="attention.value_gradients",
    notebook=NOTEBOOK,
    statement=(
        "output = weights @ value, with `weights` (..., queries, keys) and `value` (..., keys, dim). Given `grad`, the "
        "gradient of the output (..., queries, dim), return the tuple (gradient of value, gradient of weights)."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "A gradient has the shape of what it belongs to. Which product of grad and weights has the shape of value?",
        "dV = Pᵀ @ dO and dP = dO @ Vᵀ; transpose with `.transpose(-2, -1)`, since there may be leading dimensions.",
    ),
    solution=value_gradients,
    wrong=(
        WrongAnswer(
            "swapped",
            lambda grad, weights, value: value_gradients(grad, weights, value)[::-1],
            "Both are right, but in the other order: first the gradient of value (keys × dim), then that of weights "
            "(queries × keys).",
        ),
        WrongAnswer(
            "not transposed",
            lambda grad, weights, value: (weights @ grad, grad @ value.transpose(-2, -1)),
            "dV = weights @ grad sends the gradient the way that the values came. Backward it goes from the queries to "
            "the keys: `weights.transpose(-2, -1) @ grad`. With as many queries as keys the shapes do not tell you.",
        ),
        WrongAnswer(
            "through the softmax",
            _through_the_softmax,
            "Your second result went on through the softmax: that is dS. Here dP is asked, the gradient of the weights "
            "themselves, one step earlier on the way back.",
        ),
        WrongAnswer(
            "averaged over the queries",
            lambda grad, weights, value: (
                weights.transpose(-2, -1) @ grad / grad.shape[-2],
                grad @ value.transpose(-2, -1),
            ),
            "You divided dV by the number of queries. A value that several queries read gets the sum of what they send "
            "back, not the mean.",
        ),
    ),
    cases=lambda draw: [
        (double([[3.0]]), double([[1.0]]), double([[2.0]])),
        (double([[1.0], [2.0]]), double([[1.0, 0.0], [0.25, 0.75]]), double([[5.0], [7.0]])),
        _average_inputs(draw, 2, 2, 2),
        _average_inputs(draw, 3, 2, 2),
        _average_inputs(draw, 1, 3, 2),
        _average_inputs(draw, 2, 3, 4, leading=(2, 2)),
    ],
)


def score_gradients(grad_scores, query, key):
    """Gradients of the scaled scores: dQ = dS K / √d and dK = dSᵀ Q / √d."""
    scale = query.shape[-1] ** -0.5
    return grad_scores @ key * scale, grad_scores.transpose(-2, -1) @ query * scale


def _score_inputs(draw, queries, keys, dim, leading=()):
    return tuple(random_tensor(draw, *leading, *shape) for shape in ((queries, keys), (queries, dim), (keys, dim)))


def _scaled(grad_scores, query, key, factor):
    return tuple(factor * gradient for gradient in score_gradients(grad_scores, query, key))


SCORE_GRADIENTS = Exercise(
    id="attention.score_gradients",
    notebook=NOTEBOOK,
    statement=(
        "scores = query @ keyᵀ / √dim, with `query` (..., queries, dim) and `key` (..., keys, dim). Given "
        "`grad_scores` (..., queries, keys) return the tuple (gradient of query, gradient of key)."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "What a query gets back is a weighted sum of the keys it was compared with; a key gets one of the queries.",
        "dQ = dS @ K and dK = dSᵀ @ Q. The scores were divided by √dim, so both gradients are, too.",
    ),
    solution=score_gradients,
    wrong=(
        WrongAnswer(
            "no scale",
            lambda grad_scores, query, key: _scaled(grad_scores, query, key, query.shape[-1] ** 0.5),
            "The factor 1/√dim is missing. The scores were divided by √dim on the way forward, and the chain rule "
            "repeats that factor on the way back.",
        ),
        WrongAnswer(
            "scale upside down",
            lambda grad_scores, query, key: _scaled(grad_scores, query, key, query.shape[-1]),
            "You multiplied with √dim, as if the gradient undid the division. It repeats it: the derivative of x / c "
            "is 1 / c.",
        ),
        WrongAnswer(
            "scaled once",
            lambda grad_scores, query, key: (
                score_gradients(grad_scores, query, key)[0],
                grad_scores.transpose(-2, -1) @ query,
            ),
            "dQ is right, dK lacks the factor 1/√dim. The division concerns the product, so both factors' gradients.",
        ),
        WrongAnswer(
            "not transposed",
            lambda grad_scores, query, key: (
                score_gradients(grad_scores, query, key)[0],
                grad_scores @ query * query.shape[-1] ** -0.5,
            ),
            "dQ is right, dK is not: row j of dK collects from column j of dS, so transpose it. With as many queries "
            "as keys the shapes do not tell you.",
        ),
        WrongAnswer(
            "swapped",
            lambda grad_scores, query, key: score_gradients(grad_scores, query, key)[::-1],
            "Both are right, but in the other order: first the gradient of query, then that of key.",
        ),
    ),
    cases=lambda draw: [
        (double([[2.0]]), double([[1.0, 0.0]]), double([[0.0, 3.0]])),
        (double([[1.0, 0.0], [2.0, 0.0]]), double([[1.0, 2.0], [0.0, 1.0]]), double([[1.0, 1.0], [0.0, 2.0]])),
        _score_inputs(draw, 2, 2, 2),
        _score_inputs(draw, 3, 2, 4),
        _score_inputs(draw, 1, 3, 2),
        _score_inputs(draw, 2, 3, 3, leading=(2, 2)),
    ],
)
