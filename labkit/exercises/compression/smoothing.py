"""An exercise on SmoothQuant: how much of an outlier each side takes over."""

from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "20_compression"


def smooth_scales(x, weight, alpha):
    """|x|^α / |w|^(1−α), each the largest of its channel."""
    largest_x = x.abs().amax(dim=0)
    largest_w = weight.abs().amax(dim=0)
    return largest_x**alpha / largest_w ** (1 - alpha)


def _tensor(draw, *shape):
    return torch.tensor(draw.normal(size=shape) + 0.1, dtype=torch.float64)


def _case(draw, rows, channels, out, alpha):
    x = _tensor(draw, rows, channels)
    x[:, 0] *= 60.0
    return x, _tensor(draw, out, channels), alpha


SMOOTH_SCALES = Exercise(
    id="compression.smooth_scales",
    notebook=NOTEBOOK,
    statement=(
        "The factors of SmoothQuant for a layer y = x Wᵀ: `x` (tokens × channels) are calibration activations, "
        "`weight` (out × channels) is W, and s_j = (largest |x| of channel j)^α / (largest |w| of channel j)^(1−α). "
        "Return s, a tensor of one factor for each channel; x / s will meet W · s. No channel is all zero."
    ),
    difficulty=1,
    minutes=6,
    hints=(
        "A channel is a column of both matrices: `x[:, j]` and `weight[:, j]`. Take the largest size of each column.",
        "`x.abs().amax(dim=0) ** alpha / weight.abs().amax(dim=0) ** (1 - alpha)`.",
    ),
    solution=smooth_scales,
    wrong=(
        WrongAnswer(
            "largest without a sign",
            lambda x, weight, alpha: x.amax(dim=0).abs() ** alpha / weight.amax(dim=0).abs() ** (1 - alpha),
            "You took the largest number of each channel. A channel at −60 is as large as one at 60: first `abs()`.",
        ),
        WrongAnswer(
            "α on the wrong side",
            lambda x, weight, alpha: smooth_scales(x, weight, 1 - alpha),
            "Your α belongs to the weights. In the formula a larger α moves more of the difficulty out of the "
            "activations, so it is their exponent; the weights have 1 − α.",
        ),
        WrongAnswer(
            "multiplied",
            lambda x, weight, alpha: x.abs().amax(dim=0) ** alpha * weight.abs().amax(dim=0) ** (1 - alpha),
            "You multiplied the two. A channel whose weights are large already must not take more: divide by them.",
        ),
        WrongAnswer(
            "the factor upside down",
            lambda x, weight, alpha: 1 / smooth_scales(x, weight, alpha),
            "That is 1 / s. Activations are divided by s, so s must be large where they are.",
        ),
        WrongAnswer(
            "the mean",
            lambda x, weight, alpha: x.abs().mean(dim=0) ** alpha / weight.abs().mean(dim=0) ** (1 - alpha),
            "You used the mean size of a channel. The step of the codes follows from the largest number, so the "
            "largest decides here, too.",
        ),
        WrongAnswer(
            "rows of the weight",
            lambda x, weight, alpha: x.abs().amax(dim=0) ** alpha / weight.abs().amax(dim=1) ** (1 - alpha),
            "You took the largest weight of each row, that is of each output. x's channel j meets column j of W.",
        ),
    ),
    cases=lambda draw: [
        (_case(draw, 3, 4, 4, 0.25)),
        *(_case(draw, 5, 6, 6, float(draw.uniform(0.6, 0.9))) for _ in range(3)),
        (_case(draw, 4, 3, 5, 1)),
        (_case(draw, 4, 3, 5, 0)),
    ],
)
