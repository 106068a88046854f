"""Exercises on LayerNorm and RMSNorm: forward, and backward without autograd."""

from labkit.exercises.attention.softmax import double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "07_transformer"
REAL_WEIGHTS = "07_weights"  # the second page


def layer_norm(x, weight, bias, eps):
    """Each token's numbers with mean 0 and variance 1, then stretched and shifted."""
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred / torch.sqrt(variance + eps) * weight + bias


def _normalised(x, deviation, weight, bias=0.0):
    return (x - x.mean(dim=-1, keepdim=True)) / deviation * weight + bias


def _deviation(x, eps=0.0, correction=0):
    return torch.sqrt(x.var(dim=-1, keepdim=True, correction=correction) + eps)


def _over_the_tokens(x, weight, bias, eps):
    centred = x - x.mean(dim=-2, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(dim=-2, keepdim=True) + eps) * weight + bias


def _norm_inputs(draw, eps, *shape):
    width = shape[-1]
    return random_tensor(draw, *shape), random_tensor(draw, width), random_tensor(draw, width), eps


LAYER_NORM = Exercise(
    id="transformer.layer_norm",
    notebook=NOTEBOOK,
    statement=(
        "Return LayerNorm of `x` (..., width) over the last dimension, with `weight` and `bias` (width,) and `eps`, "
        "without torch's own."
    ),
    difficulty=1,
    minutes=5,
    hints=(
        "Subtract each token's mean, divide by the square root of its variance plus eps, then weight and bias. The "
        "variance is the plain mean of the squared deviations.",
        "`x.var(dim=-1, keepdim=True, correction=0)`: torch divides by width − 1 unless you say correction=0.",
    ),
    solution=layer_norm,
    wrong=(
        WrongAnswer(
            "width - 1",
            lambda x, weight, bias, eps: _normalised(x, _deviation(x, eps, correction=1), weight, bias),
            "Your variance divides by width − 1: that is the default of `x.var` and `x.std`. LayerNorm divides by "
            "width: `correction=0` (or the mean of the squares).",
        ),
        WrongAnswer(
            "eps outside the root",
            lambda x, weight, bias, eps: _normalised(x, _deviation(x) + eps, weight, bias),
            "You added eps to the standard deviation. It belongs under the root, added to the variance: √(variance + "
            "eps). The difference is small, but pretrained weights expect the exact formula.",
        ),
        WrongAnswer(
            "no eps",
            lambda x, weight, bias, eps: _normalised(x, _deviation(x), weight, bias),
            "eps is missing: add it to the variance, under the root. Where all numbers of a token are equal the "
            "variance is 0, and 0 / 0 is NaN.",
        ),
        WrongAnswer(
            "no root",
            lambda x, weight, bias, eps: _normalised(x, _deviation(x, eps).square(), weight, bias),
            "You divided by the variance. Divide by its square root, the standard deviation, or the result does not "
            "have variance 1.",
        ),
        WrongAnswer(
            "over the tokens",
            _over_the_tokens,
            "Mean and variance run over the tokens (dim=-2). Each token is normalised by itself, over its own numbers: "
            "dim=-1. In your version a later token changes an earlier one.",
        ),
        WrongAnswer(
            "no weight and bias",
            lambda x, weight, bias, eps: layer_norm(x, 1.0, 0.0, eps),
            "The learned part is missing: multiply by `weight` and add `bias` at the end.",
        ),
    ),
    cases=lambda draw: [
        (double([[2.0, 2.0]]), double([1.0, 3.0]), double([5.0, 7.0]), 0.1),
        (double([[1.0, 3.0]]), double([1.0, 1.0]), double([0.0, 0.0]), 1.0),
        (double([[1.0, 3.0]]), double([2.0, 1.0]), double([0.0, 1.0]), 1.0),
        _norm_inputs(draw, 1e-5, 2, 3),
        _norm_inputs(draw, 0.1, 3, 4),
        _norm_inputs(draw, 1e-5, 2, 3, 4),
    ],
)


def rms_norm(x, weight, eps):
    """Each token divided by its root mean square, then stretched."""
    mean_square = x.square().mean(dim=-1, keepdim=True)
    return x / torch.sqrt(mean_square + eps) * weight


def _rms(x, eps=0.0):
    return torch.sqrt(x.square().mean(dim=-1, keepdim=True) + eps)


RMS_NORM = Exercise(
    id="transformer.rms_norm",
    notebook=NOTEBOOK,
    statement="Return RMSNorm of `x` (..., width) over the last dimension, with `weight` (width,) and `eps`.",
    difficulty=1,
    minutes=4,
    hints=(
        "RMSNorm is LayerNorm without the mean and without the bias: divide by the root of the mean of the squares.",
        "`x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight`",
    ),
    solution=rms_norm,
    wrong=(
        WrongAnswer(
            "mean subtracted",
            lambda x, weight, eps: layer_norm(x, weight, 0.0, eps),
            "You subtracted the mean: that is LayerNorm without a bias. RMSNorm leaves the mean where it is.",
        ),
        WrongAnswer(
            "length instead of root mean square",
            lambda x, weight, eps: x / torch.sqrt(x.square().sum(dim=-1, keepdim=True) + eps) * weight,
            "You divided by the length of the vector, the root of the sum of the squares. With the mean the numbers "
            "keep a size of about 1 at any width.",
        ),
        WrongAnswer(
            "eps outside the root",
            lambda x, weight, eps: x / (_rms(x) + eps) * weight,
            "You added eps to the root. It belongs under the root: √(mean of squares + eps).",
        ),
        WrongAnswer(
            "no root",
            lambda x, weight, eps: x / _rms(x, eps).square() * weight,
            "You divided by the mean of the squares. Take its square root: then twice as large an input gives the same "
            "output.",
        ),
        WrongAnswer(
            "no weight",
            lambda x, weight, eps: x / _rms(x, eps),
            "The learned `weight` is missing: multiply by it at the end.",
        ),
    ),
    cases=lambda draw: [
        (double([[3.0, 4.0]]), double([1.0, 1.0]), 0.5),
        (double([[0.0, 0.0]]), double([1.0, 2.0]), 1e-5),
        (double([[1.0, 3.0]]), double([2.0, 1.0]), 4.0),
        *(
            (random_tensor(draw, *shape), random_tensor(draw, shape[-1]), eps)
            for eps, shape in ((1e-5, (2, 3)), (0.1, (3, 4)), (1e-6, (2, 3, 4)))
        ),
    ],
)


def layer_norm_backward(grad, x, weight, eps):
    """Take out of the gradient what shifts or stretches a whole token: LayerNorm does not see that."""
    centred = x - x.mean(dim=-1, keepdim=True)
    deviation = torch.sqrt(centred.square().mean(dim=-1, keepdim=True) + eps)
    normal, grad = centred / deviation, grad * weight
    along = (grad * normal).mean(dim=-1, keepdim=True)
    return (grad - grad.mean(dim=-1, keepdim=True) - normal * along) / deviation


def _backward(grad, x, eps, mean, along):
    """The gradient with its two corrections switched on or off."""
    deviation = _deviation(x, eps)
    normal = (x - x.mean(dim=-1, keepdim=True)) / deviation
    corrections = mean * grad.mean(dim=-1, keepdim=True) + along * normal * (grad * normal).mean(dim=-1, keepdim=True)
    return (grad - corrections) / deviation


def _backward_inputs(draw, eps, *shape):
    return random_tensor(draw, *shape), random_tensor(draw, *shape), random_tensor(draw, shape[-1]), eps


LAYER_NORM_BACKWARD = Exercise(
    id="transformer.layer_norm_backward",
    notebook=NOTEBOOK,
    statement=(
        "Given `grad`, the gradient of LayerNorm's output (..., width), with its `x` (..., width), `weight` (width,) "
        "and `eps`, return the gradient of `x`, without autograd."
    ),
    difficulty=3,
    minutes=12,
    hints=(
        "The output is normal · weight + bias with normal = (x − mean) / σ and σ = √(variance + eps). Mean and σ "
        "depend on every number of the token, so three terms come together.",
        "With g = grad · weight: adding a constant to a token changes nothing, so the mean of g is subtracted; "
        "stretching it changes (almost) nothing, so normal · mean(g · normal) is subtracted. All of it is divided by "
        "σ.",
    ),
    solution=layer_norm_backward,
    wrong=(
        WrongAnswer(
            "statistics as constants",
            lambda grad, x, weight, eps: _backward(grad * weight, x, eps, mean=0, along=0),
            "You treated mean and σ as constants. They depend on x: if all numbers of a token grow by 1, the output "
            "stays, so the gradient of x must add up to 0 in each token.",
        ),
        WrongAnswer(
            "σ as a constant",
            lambda grad, x, weight, eps: _backward(grad * weight, x, eps, mean=1, along=0),
            "The path through the mean is there, the one through σ is missing: − normal · mean(g · normal).",
        ),
        WrongAnswer(
            "mean as a constant",
            lambda grad, x, weight, eps: _backward(grad * weight, x, eps, mean=0, along=1),
            "The path through σ is there, the one through the mean is missing: − mean(g).",
        ),
        WrongAnswer(
            "no weight",
            lambda grad, x, weight, eps: _backward(grad, x, eps, mean=1, along=1),
            "`weight` is missing. It comes last on the way forward and so first on the way back: g = grad · weight.",
        ),
        WrongAnswer(
            "not divided",
            lambda grad, x, weight, eps: _backward(grad * weight, x, eps, mean=1, along=1) * _deviation(x, eps),
            "The division by σ is missing: x was divided by it on the way forward, and the chain rule repeats that.",
        ),
        WrongAnswer(
            "weight too late",
            lambda grad, x, weight, eps: _backward(grad, x, eps, mean=1, along=1) * weight,
            "You multiplied with `weight` at the end. It must be part of g before the two means are taken, since it "
            "differs from number to number.",
        ),
    ),
    cases=lambda draw: [
        (double([[1.0, 0.0, 0.0]]), double([[1.0, 0.0, 2.0]]), double([1.0, 2.0, 1.0]), 0.5),
        (double([[1.0, 1.0]]), double([[3.0, 1.0]]), double([1.0, 1.0]), 0.0),
        (double([[1.0, 2.0]]), double([[2.0, 2.0]]), double([1.0, 1.0]), 1.0),
        _backward_inputs(draw, 1e-5, 1, 3),
        _backward_inputs(draw, 0.1, 2, 4),
        _backward_inputs(draw, 1e-5, 2, 2, 3),
    ],
)
