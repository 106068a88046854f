"""Exercises on what a pipeline computes: half a backward pass, the loss of micro-batches, the queues of experts."""

from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "17_model_parallel"


def split_backward(x, weight, grad):
    """B, which the stage before waits for, and W, which can wait: of y = x Wᵀ."""
    return grad @ weight, grad.T @ x


def _transposed(x, weight, grad):
    return grad @ weight, x.T @ grad


def _mean_over_rows(x, weight, grad):
    return grad @ weight, grad.T @ x / len(x)


def _other_order(x, weight, grad):
    return grad.T @ x, grad @ weight


def _of_the_output(x, weight, grad):
    return grad @ weight, grad.T @ (x @ weight.T)


def _without_grad(x, weight, grad):
    return torch.ones_like(grad) @ weight, grad.T @ x


def _matrices(draw, rows, inputs, outputs):
    numbers = (draw.normal(size=size) for size in ((rows, inputs), (outputs, inputs), (rows, outputs)))
    return tuple(torch.from_numpy(x) for x in numbers)


SPLIT_BACKWARD = Exercise(
    id="model_parallel.split_backward",
    notebook=NOTEBOOK,
    statement=(
        "A linear layer y = x Wᵀ: x (rows, inputs), `weight` W (outputs, inputs), and `grad`, the gradient of the loss "
        "for y (rows, outputs). Return what the zero-bubble schedule computes as B and as W: the gradient for x and "
        "that for the weight, in this order, each of the shape of what it belongs to."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "B needs `grad` and the weight, W needs `grad` and what F kept, x. Write the shapes of each product: only one "
        "order fits.",
        "(rows, outputs) @ (outputs, inputs) gives B. (outputs, rows) @ (rows, inputs) gives W: it adds up over rows.",
    ),
    solution=split_backward,
    wrong=(
        WrongAnswer(
            "weight gradient transposed",
            _transposed,
            "The gradient of the weight is transposed: it must be (outputs, inputs) as the weight is. With a square "
            "weight nothing would fail, and the model would learn nonsense.",
        ),
        WrongAnswer(
            "mean over rows",
            _mean_over_rows,
            "You divided W by the number of rows. A mean over rows is already in `grad` if the loss takes one; here "
            "rows are added up.",
        ),
        WrongAnswer(
            "W first",
            _other_order,
            "Right products, in the wrong order: first the gradient for x, for which the rank before waits.",
        ),
        WrongAnswer(
            "from the output",
            _of_the_output,
            "You multiplied `grad` with y. The layer's *input* is what a weight is multiplied with, and so what its "
            "gradient needs: that is why F keeps x.",
        ),
        WrongAnswer(
            "grad left out of B",
            _without_grad,
            "B is the slope of y's sum: `grad`, which says how much the loss cares about each output, is missing.",
        ),
    ),
    cases=lambda draw: [_matrices(draw, *sizes) for sizes in ((1, 2, 3), (3, 2, 2), (4, 3, 5), (2, 4, 1), (5, 3, 3))],
)


def batch_loss(losses, counts):
    """The mean over all targets: each micro-batch weighs as much as it has targets."""
    return sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)


def _empty_ones_too(losses, counts):
    weights = [max(1, count) for count in counts]
    return sum(loss * weight for loss, weight in zip(losses, weights, strict=True)) / sum(weights)


def _losses(draw, micro_batches):
    counts = draw.integers(0, 9, micro_batches)
    counts[0] += 1
    return [round(float(x), 3) if n else 0.0 for x, n in zip(draw.uniform(1, 5, micro_batches), counts, strict=True)], [
        int(n) for n in counts
    ]


BATCH_LOSS = Exercise(
    id="model_parallel.batch_loss",
    notebook=NOTEBOOK,
    statement=(
        "The loss of a whole batch from those of its micro-batches: `losses[i]` is the mean over the `counts[i]` "
        "targets of micro-batch i. One of padding alone has count 0 and loss 0.0; there is at least one target in all."
    ),
    difficulty=1,
    minutes=5,
    hints=(
        "One process would take the mean over all targets at once. How much of that mean is micro-batch 0?",
        "Undo every mean, `loss * count`, add up, and divide by the number of all targets.",
    ),
    solution=batch_loss,
    wrong=(
        WrongAnswer(
            "mean of means",
            lambda losses, counts: sum(losses) / len(losses),
            "The mean of the means: right only if all micro-batches have as many targets. With padding, tokens of "
            "short micro-batches would count more than others, and training would not equal that of one process.",
        ),
        WrongAnswer(
            "sum",
            lambda losses, counts: float(sum(losses)),
            "You added up the means: loss and gradients grow with the number of micro-batches, as with a larger "
            "learning rate.",
        ),
        WrongAnswer(
            "not divided",
            lambda losses, counts: float(
                sum(loss * count for loss, count in zip(losses, counts, strict=True)) / len(losses)
            ),
            "Weighted by the targets, but divided by the number of micro-batches. Divide by the number of targets.",
        ),
        WrongAnswer(
            "empty ones left out",
            lambda losses, counts: sum(losses) / sum(count > 0 for count in counts),
            "You took the mean over the micro-batches that have targets. How many they have matters too.",
        ),
        WrongAnswer(
            "empty ones count",
            _empty_ones_too,
            "A micro-batch without targets weighs 0, not 1: nobody asked it for anything.",
        ),
    ),
    cases=lambda draw: [
        ([2.0], [5]),
        ([1.0, 4.0], [3, 1]),
        ([3.0, 0.0], [2, 0]),
        ([2.5, 0.0, 4.0], [4, 0, 1]),
        *(_losses(draw, m) for m in (3, 4, 6)),
    ],
)


def served_tokens(experts, places):
    """In the order of the tokens, as long as the expert has places."""
    taken, served = {}, []
    for expert in experts:
        taken[expert] = taken.get(expert, 0) + 1
        served.append(taken[expert] <= places)
    return served


def _one_too_many(experts, places):
    return served_tokens(experts, places + 1)


def _last_ones(experts, places):
    return served_tokens(experts[::-1], places)[::-1]


def _places_for_all(experts, places):
    return [i < places * (max(experts) + 1) for i in range(len(experts))]


def _whole_experts(experts, places):
    return [experts.count(expert) <= places for expert in experts]


SERVED_TOKENS = Exercise(
    id="model_parallel.served_tokens",
    notebook=NOTEBOOK,
    statement=(
        "Which tokens does a mixture of experts serve? `experts[t]` is the number of the expert that token t chose, "
        "and each expert has `places` places, given in the order of the tokens. Return a list with True or False for "
        "each token; those that find no place are dropped."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "Each expert has a queue. A token's place in it is the number of earlier tokens that chose the same expert.",
        "Keep a dict from expert to how many came so far; a token is served if its place, counted from 0, is below "
        "`places`.",
    ),
    solution=served_tokens,
    wrong=(
        WrongAnswer(
            "one too many",
            _one_too_many,
            "One token too many per expert: places are numbered from 0, so place number `places` is beyond the end of "
            "the buffer.",
        ),
        WrongAnswer(
            "the last ones",
            _last_ones,
            "You kept the last tokens of each queue. Whoever comes first is served first.",
        ),
        WrongAnswer(
            "places for all",
            _places_for_all,
            "You counted all places together. A place of expert 0 is of no use to a token that chose expert 1: that is "
            "why an uneven router drops tokens while others idle.",
        ),
        WrongAnswer(
            "crowded experts serve nobody",
            _whole_experts,
            "You dropped everybody who chose a crowded expert. The first `places` of them are served.",
        ),
        WrongAnswer(
            "nobody is dropped",
            lambda experts, places: [True] * len(experts),
            "You serve every token. Buffers have a fixed size, so that all ranks exchange as much: who finds no place "
            "passes by on the residual stream.",
        ),
    ),
    cases=lambda draw: [
        ([0, 0, 1, 0], 2),
        ([1, 0, 1, 1, 0, 2], 1),
        ([0, 1, 2], 1),
        ([0], 0),
        *(([int(e) for e in draw.integers(0, 3, n)], places) for n, places in ((6, 2), (9, 2), (8, 3))),
    ],
)
