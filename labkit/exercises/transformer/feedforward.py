"""Exercises on the feed-forward part: GELU and SwiGLU."""

from labkit.exercises.attention.softmax import double, random_tensor
from labkit.exercises.transformer.norms import NOTEBOOK
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")


def gelu(x):
    """x times the share of a standard normal distribution that lies below x."""
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def _gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


GELU = Exercise(
    id="transformer.gelu",
    notebook=NOTEBOOK,
    statement=(
        "Return the exact GELU of every number of `x` (any shape): x · Φ(x), where Φ is the distribution function of "
        "the standard normal distribution. torch.erf is allowed, torch.nn.functional.gelu is not."
    ),
    difficulty=1,
    minutes=4,
    hints=(
        "The error function belongs to another scale: erf(z) = 2 Φ(√2 z) − 1. Solve it for Φ.",
        "Φ(x) = (1 + erf(x / √2)) / 2, and GELU multiplies it with x.",
    ),
    solution=gelu,
    wrong=(
        WrongAnswer(
            "tanh",
            _gelu_tanh,
            "That is the approximation with tanh, off by less than 0.001. GPT-2 was trained with it, and pretrained "
            "weights want the one they know; the exact GELU uses the error function.",
        ),
        WrongAnswer(
            "sigmoid",
            lambda x: x * torch.sigmoid(1.702 * x),
            "x · sigmoid(1.702 x) is the coarse approximation, off by up to 0.02. The exact one uses the error "
            "function.",
        ),
        WrongAnswer(
            "no √2",
            lambda x: x * 0.5 * (1 + torch.erf(x)),
            "The √2 is missing: erf belongs to a normal distribution with variance 1/2. Φ(x) = (1 + erf(x / √2)) / 2.",
        ),
        WrongAnswer(
            "Φ alone",
            lambda x: 0.5 * (1 + torch.erf(x / 2**0.5)),
            "That is Φ(x), between 0 and 1. GELU is x · Φ(x): for large x it should be about x.",
        ),
        WrongAnswer(
            "ReLU",
            lambda x: torch.relu(x),
            "That is ReLU. GELU is smooth, and slightly negative for negative x: −0.159 at −1.",
        ),
        WrongAnswer(
            "swish",
            lambda x: x * torch.sigmoid(x),
            "That is swish (SiLU), x · sigmoid(x). GELU takes the normal distribution in place of the sigmoid.",
        ),
    ),
    cases=lambda draw: [
        (double([0.0]),),
        (double([1.0]),),
        (double([-1.0]),),
        (double([-30.0, 30.0]),),
        (random_tensor(draw, 3),),
        (random_tensor(draw, 2, 2, 2),),
    ],
)


def swiglu(x, gate, up, down):
    """Swish of one projection opens and closes the other; a third leads back."""
    opened = torch.nn.functional.silu(x @ gate.T) * (x @ up.T)
    return opened @ down.T


def _silu(x):
    return x * torch.sigmoid(x)


def _weights(draw, *shape, hidden=3):
    width = shape[-1]
    return tuple(random_tensor(draw, *size) for size in (shape, (hidden, width), (hidden, width), (width, hidden)))


SWIGLU = Exercise(
    id="transformer.swiglu",
    notebook=NOTEBOOK,
    statement=(
        "Return the SwiGLU feed-forward of `x` (..., width): project with `gate` and with `up`, both (hidden, width), "
        "multiply the second with swish of the first, project back with `down` (width, hidden). The weights are stored "
        "as in nn.Linear; there are no biases."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "nn.Linear computes x @ weight.T. Swish is x · sigmoid(x), in torch `torch.nn.functional.silu`.",
        "`(silu(x @ gate.T) * (x @ up.T)) @ down.T`: swish for the gate only, then an elementwise product.",
    ),
    solution=swiglu,
    wrong=(
        WrongAnswer(
            "swish on the wrong side",
            lambda x, gate, up, down: swiglu(x, up, gate, down),
            "You applied swish to the `up` projection. It belongs to `gate`. Trained from scratch either would do, but "
            "pretrained weights are not symmetric.",
        ),
        WrongAnswer(
            "sigmoid",
            lambda x, gate, up, down: (torch.sigmoid(x @ gate.T) * (x @ up.T)) @ down.T,
            "You gated with the sigmoid: that is GLU, the original. SwiGLU gates with swish, x · sigmoid(x).",
        ),
        WrongAnswer(
            "added",
            lambda x, gate, up, down: (_silu(x @ gate.T) + x @ up.T) @ down.T,
            "You added the two projections. A gate multiplies: where it is 0, nothing passes.",
        ),
        WrongAnswer(
            "no gate",
            lambda x, gate, up, down: _silu(x @ up.T) @ down.T,
            "`gate` is not used: this is the ordinary feed-forward with swish as its activation.",
        ),
        WrongAnswer(
            "swish of the product",
            lambda x, gate, up, down: _silu((x @ gate.T) * (x @ up.T)) @ down.T,
            "You applied swish to the product. Apply it to the gate alone, before you multiply.",
        ),
    ),
    cases=lambda draw: [
        (double([[1.0]]), double([[2.0]]), double([[3.0]]), double([[1.0]])),
        (double([[0.0, 0.0]]), double([[1.0, 2.0]]), double([[3.0, 1.0]]), double([[1.0], [2.0]])),
        _weights(draw, 1, 2, hidden=2),
        _weights(draw, 2, 2),
        _weights(draw, 2, 3, 2, hidden=4),
    ],
)
