"""Exercises on training with rounding: rounded floats, the gradient that is let through, the gradient of the step."""

from labkit.exercises.attention.softmax import double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")

NOTEBOOK = "20_compression"
GRID = "The grid is symmetric: codes −m … m with m = 2^(bits − 1) − 1, and the number of a code is step · code."


def fake_quantize(x, step, bits):
    """Divide, round, clip the codes, multiply: still floats, but only a few different ones."""
    last = 2 ** (bits - 1) - 1
    return step * (x / step).round().clamp(-last, last)


def _last(bits):
    return 2 ** (bits - 1) - 1


def _cases(draw):
    """Numbers with two decimals and steps of odd hundredths: no number lies halfway between two points."""
    drawn = [
        (random_tensor(draw, *shape), (2 * int(draw.integers(9, 30)) + 1) / 100, bits)
        for shape, bits in (((5,), 3), ((2, 3), 4), ((6,), 2), ((3, 2), 3), ((4,), 5))
    ]
    return [
        (double([0.4, 1.6, -9.0, 3.3]), 1.0, 3),
        (double([-7.0, 0.2, 7.0]), 1.0, 2),
        (double([0.0, 0.1]), 0.5, 8),
        (double([6.2, -9.0, 2.7]), 1.0, 4),
        (double([1.8, -1.2, 0.3]), 0.5, 3),
        (double([-3.9, 3.4, 3.6, -3.4]), 1.0, 3),
        *drawn,
    ]


def _with_gradient(draw):
    cases = _cases(draw)
    return [
        (random_tensor(draw, *x.shape) + 3 * (index % 2), x, step, bits) for index, (x, step, bits) in enumerate(cases)
    ]


FAKE_QUANTIZE = Exercise(
    id="compression.fake_quantize",
    notebook=NOTEBOOK,
    statement=f"Round the tensor `x` to a grid of so many `bits`, and give it back as floats. {GRID}",
    difficulty=1,
    minutes=4,
    hints=(
        "Four moves: to steps, to whole numbers, between the ends, and back.",
        "`(x / step).round()` are the codes. `clamp` them, not x, and multiply by `step`.",
    ),
    solution=fake_quantize,
    wrong=(
        WrongAnswer(
            "codes",
            lambda x, step, bits: (x / step).round().clamp(-_last(bits), _last(bits)),
            "These are the codes. Fake quantization gives the numbers that they mean: multiply by the step.",
        ),
        WrongAnswer(
            "never clipped",
            lambda x, step, bits: step * (x / step).round(),
            "You rounded, and never clipped: so many different numbers need more bits than there are.",
        ),
        WrongAnswer(
            "two's complement",
            lambda x, step, bits: step * (x / step).round().clamp(-_last(bits) - 1, _last(bits)),
            "You used the code −2^(bits − 1) as well. A symmetric grid leaves it out, and ends at −m.",
        ),
        WrongAnswer(
            "rounded down",
            lambda x, step, bits: step * (x / step).floor().clamp(-_last(bits), _last(bits)),
            "You rounded down, so everything becomes smaller by half a step on average. Take the nearest point.",
        ),
        WrongAnswer(
            "ends in the wrong unit",
            lambda x, step, bits: step * (x.clamp(-_last(bits), _last(bits)) / step).round(),
            "You clipped x at ±m. The grid ends at ±m steps: clip the codes.",
        ),
    ),
    cases=_cases,
)


def straight_through(grad, x, step, bits):
    """As if rounding had not happened, and 0 for what was clipped."""
    last = 2 ** (bits - 1) - 1
    return grad * ((x / step).round().abs() <= last)


STRAIGHT_THROUGH = Exercise(
    id="compression.straight_through",
    notebook=NOTEBOOK,
    statement=(
        "`grad` is the gradient of the loss by the rounded numbers. Return the straight-through gradient by `x`: as it "
        f"came where the code round(x / step) is on the grid, 0 where it had to be clipped. {GRID}"
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "Two cases for each number. Which ones can move their rounded number by moving themselves?",
        "Compare `(x / step).round().abs()` with m, and multiply `grad` by that.",
    ),
    solution=straight_through,
    wrong=(
        WrongAnswer(
            "never clipped",
            lambda grad, x, step, bits: grad.clone(),
            "You let everything through. A clipped number does not change what the grid gives, and with a gradient it "
            "would walk away for ever.",
        ),
        WrongAnswer(
            "the true slope",
            lambda grad, x, step, bits: torch.zeros_like(grad),
            "That is the true gradient of a staircase, and with it nothing learns. Pretend there was no rounding.",
        ),
        WrongAnswer(
            "mask turned round",
            lambda grad, x, step, bits: grad - straight_through(grad, x, step, bits),
            "The other way round: yours lets through what was clipped, and stops the rest.",
        ),
        WrongAnswer(
            "half a step too early",
            lambda grad, x, step, bits: grad * (x.abs() <= _last(bits) * step),
            "You stop at the last point of the grid. Up to half a step beyond, rounding still leads to it and nothing "
            "was clipped: look at the rounded code.",
        ),
        WrongAnswer(
            "ends in the wrong unit",
            lambda grad, x, step, bits: grad * (x.abs() <= _last(bits)),
            "You compare x itself with m. Codes end at m: divide by the step, and round, first.",
        ),
        WrongAnswer(
            "times the step",
            lambda grad, x, step, bits: step * straight_through(grad, x, step, bits),
            "You multiplied by the step. It was multiplied on the way out and divided on the way in: it cancels.",
        ),
    ),
    cases=_with_gradient,
)


def step_gradient(grad, x, step, bits):
    """Sum of grad times round(v) − v inside, and times the last code outside, v = x / step."""
    last = 2 ** (bits - 1) - 1
    v = x / step
    codes = v.round()
    slope = torch.where(codes.abs() <= last, codes - v, codes.clamp(-last, last))
    return (grad * slope).sum()


def _slopes(grad, x, step, bits, inside, outside):
    v = x / step
    codes = v.round()
    clipped = codes.clamp(-_last(bits), _last(bits))
    return (grad * torch.where(codes == clipped, inside(v, codes), outside(clipped))).sum()


STEP_GRADIENT = Exercise(
    id="compression.step_gradient",
    notebook=NOTEBOOK,
    statement=(
        "Now the step learns. Let v = x / step. Return the gradient of the loss by `step`, one number, when "
        "rounding passes gradients straight through: differentiate step · round(x / step) with the slope of round "
        f"taken as 1, and step · (±m) where the code was clipped. No further factor. {GRID}"
    ),
    difficulty=3,
    minutes=10,
    hints=(
        "Product rule: step · round(v) changes by round(v), and by step times the change of v, which is −v / step.",
        "Inside, the slope is round(v) − v; clipped it is m or −m. Multiply by `grad` and add up.",
    ),
    solution=step_gradient,
    wrong=(
        WrongAnswer(
            "sign",
            lambda grad, x, step, bits: _slopes(grad, x, step, bits, lambda v, c: v - c, lambda c: c),
            "Inside the sign is the other way round: the slope is round(v) − v.",
        ),
        WrongAnswer(
            "ends forgotten",
            lambda grad, x, step, bits: _slopes(grad, x, step, bits, lambda v, c: c - v, torch.zeros_like),
            "You gave clipped numbers no say. They sit on the end of the grid, m steps away: their slope is ±m.",
        ),
        WrongAnswer(
            "first factor only",
            lambda grad, x, step, bits: _slopes(grad, x, step, bits, lambda v, c: c, lambda c: c),
            "Inside you took the code alone. v depends on the step, too, and that takes v away again: round(v) − v.",
        ),
        WrongAnswer(
            "nothing is clipped",
            lambda grad, x, step, bits: (grad * ((x / step).round() - x / step)).sum(),
            "You took round(v) − v everywhere. Beyond the ends the grid gives ±m steps, whatever v is.",
        ),
        WrongAnswer(
            "mean",
            lambda grad, x, step, bits: step_gradient(grad, x, step, bits) / x.numel(),
            "You averaged. One step serves all numbers, so their gradients add up.",
        ),
    ),
    cases=_with_gradient,
)
