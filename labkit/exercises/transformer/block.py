"""Exercises on the block: the order of its parts, and how large its weights begin."""

import math

from labkit.exercises.attention.softmax import double, random_tensor
from labkit.exercises.transformer.norms import NOTEBOOK
from labkit.workbench.checking import Exercise, WrongAnswer


def attention(x):
    """Stands for attention: each token becomes the sum of itself and the tokens before it."""
    return x.cumsum(dim=-2)


def feedforward(x):
    """Stands for the feed-forward part: every number squared."""
    return x.square()


def norm1(x):
    """Stands for the first norm: every number halved."""
    return x / 2


def norm2(x):
    """Stands for the second norm: every number less one."""
    return x - 1


def pre_norm_block(x, attention, feedforward, norm1, norm2):
    """Each part reads the residual stream through its norm and adds what it has to say."""
    x = x + attention(norm1(x))
    return x + feedforward(norm2(x))


def _post_norm(x, attention, feedforward, norm1, norm2):
    x = norm1(x + attention(x))
    return norm2(x + feedforward(x))


def _stream_through_the_norms(x, attention, feedforward, norm1, norm2):
    x = norm1(x)
    x = norm2(x + attention(x))
    return x + feedforward(x)


PRE_NORM_BLOCK = Exercise(
    id="transformer.pre_norm_block",
    notebook=NOTEBOOK,
    statement=(
        "`attention`, `feedforward`, `norm1` and `norm2` are functions of a tensor (..., tokens, width). Return the "
        "output of a pre-norm block for the residual stream `x`; norm1 belongs to attention. (The checks use "
        "stand-ins: attention adds up the tokens so far, feedforward squares, norm1 halves, norm2 subtracts 1.)"
    ),
    difficulty=2,
    minutes=5,
    hints=(
        "Pre-norm: a part reads a normalised copy of the stream, and its result is added to the stream itself.",
        "`x = x + attention(norm1(x))`, and then the same once more with feedforward and norm2.",
    ),
    solution=pre_norm_block,
    wrong=(
        WrongAnswer(
            "post-norm",
            _post_norm,
            "That is the post-norm block of the original transformer: it normalises the sum. In a pre-norm block the "
            "stream itself is never normalised, only what the parts read.",
        ),
        WrongAnswer(
            "stream through the norms",
            _stream_through_the_norms,
            "You overwrote the stream with its normalised copy, and the sum starts from there. Keep x and normalise "
            "only the argument: `x + attention(norm1(x))`. Otherwise no straight path leads through the model.",
        ),
        WrongAnswer(
            "in parallel",
            lambda x, attention, feedforward, norm1, norm2: x + attention(norm1(x)) + feedforward(norm2(x)),
            "Your feed-forward part reads the stream as it was before attention. (Some models do that on purpose, to "
            "compute both at once.) Here it reads what attention has added to.",
        ),
        WrongAnswer(
            "one norm for both",
            lambda x, attention, feedforward, norm1, norm2: pre_norm_block(x, attention, feedforward, norm1, norm1),
            "norm1 stands before both parts. Each norm has learned weights of its own: norm2 belongs to feedforward.",
        ),
        WrongAnswer(
            "no residual",
            lambda x, attention, feedforward, norm1, norm2: feedforward(norm2(attention(norm1(x)))),
            "The residual connections are missing: each part's result is added to the stream, it does not replace it.",
        ),
        WrongAnswer(
            "second residual missing",
            lambda x, attention, feedforward, norm1, norm2: feedforward(norm2(x + attention(norm1(x)))),
            "The second residual connection is missing: add the result of feedforward to the stream as well.",
        ),
    ),
    cases=lambda draw: [
        (double([[2.0]]), attention, feedforward, norm1, norm2),
        (double([[1.0], [4.0]]), attention, feedforward, norm1, norm2),
        *((random_tensor(draw, *shape), attention, feedforward, norm1, norm2) for shape in ((1, 3), (3, 2), (2, 3, 2))),
    ],
)


def output_std(layers, std=0.02):
    """Two parts of every layer add to the stream, and variances of independent terms add up."""
    return std / math.sqrt(2 * layers)


OUTPUT_STD = Exercise(
    id="transformer.output_std",
    notebook=NOTEBOOK,
    statement=(
        "Weights begin with the standard deviation `std`, but in GPT-2 the projections that write to the residual "
        "stream (the last of attention and of the feed-forward part) begin smaller, so that the sum of all writes of a "
        "model with `layers` layers does not grow with its depth. Return their standard deviation."
    ),
    difficulty=1,
    minutes=3,
    hints=(
        "How many times does a model with `layers` layers write to the stream? The variance of a sum of independent "
        "terms is the sum of their variances.",
        "There are 2 · layers writes, so the variance must shrink by that, and the standard deviation by its root.",
    ),
    solution=output_std,
    wrong=(
        WrongAnswer(
            "one write per layer",
            lambda layers, std=0.02: std / math.sqrt(layers),
            "You counted one write for each layer. There are two: attention and the feed-forward part.",
        ),
        WrongAnswer(
            "no root",
            lambda layers, std=0.02: std / (2 * layers),
            "You divided by the number of writes. Their variances add up, not their standard deviations: divide by the "
            "root of the number.",
        ),
        WrongAnswer(
            "not scaled",
            lambda layers, std=0.02: std,
            "That is the standard deviation of all other weights. With it the stream's variance grows with every "
            "layer.",
        ),
        WrongAnswer(
            "larger",
            lambda layers, std=0.02: std * math.sqrt(2 * layers),
            "You made them larger. The deeper the model, the more terms add up, and the smaller each must be.",
        ),
    ),
    cases=lambda draw: [
        (1,),
        (2, 0.1),
        (12,),
        *(
            (int(n), float(s))
            for n, s in zip(draw.integers(3, 99, 4), draw.uniform(0.01, 0.1, 4).round(3), strict=True)
        ),
    ],
)
