"""Exercises on cross entropy: from logits, and its gradient without autograd."""

from labkit.exercises.attention.softmax import NOTEBOOK, double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")


def cross_entropy(logits, targets):
    """Log-sum-exp of all logits minus the logit of the right class, averaged."""
    correct = logits.gather(-1, targets[:, None])[:, 0]
    return (torch.logsumexp(logits, dim=-1) - correct).mean()


def _logits_and_targets(draw, batch, classes):
    return random_tensor(draw, batch, classes), torch.from_numpy(draw.integers(0, classes, batch))


def _correct(values, targets):
    return values[torch.arange(len(targets)), targets]


CROSS_ENTROPY = Exercise(
    id="attention.cross_entropy",
    notebook=NOTEBOOK,
    statement=(
        "Return the mean cross entropy (natural logarithm) of `logits` (batch, classes) with the right classes "
        "`targets` (batch,). It must stay exact for logits of 1000. torch.logsumexp is allowed, "
        "torch.nn.functional.cross_entropy is not."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "−log softmax(logits)[target] is log-sum-exp of the row minus the target's logit. No exponential is left over.",
        "The target's logits: `logits[torch.arange(len(targets)), targets]`. Subtract them from "
        "`torch.logsumexp(logits, dim=-1)` and take the mean.",
    ),
    solution=cross_entropy,
    wrong=(
        WrongAnswer(
            "log of a zero",
            lambda logits, targets: -torch.log(_correct(torch.softmax(logits, dim=-1), targets)).mean(),
            "Softmax first and logarithm after: a class that lies 1000 below the best gets the probability 0.0, and "
            "−log 0 is inf, though the loss is 1000. Simplify the formula before you compute: log and exp cancel.",
        ),
        WrongAnswer(
            "overflow",
            lambda logits, targets: (torch.log(torch.exp(logits).sum(dim=-1)) - _correct(logits, targets)).mean(),
            "exp(1000) is inf, so the logarithm of the sum is inf too. `torch.logsumexp` subtracts the largest logit "
            "first and adds it again after the logarithm.",
        ),
        WrongAnswer(
            "softmax twice",
            lambda logits, targets: cross_entropy(torch.softmax(logits, dim=-1), targets),
            "You took log-sum-exp of probabilities, so softmax was applied twice. Such a loss cannot come near 0, "
            "however sure the model is, and it trains slowly. Give it the logits themselves.",
        ),
        WrongAnswer(
            "sum",
            lambda logits, targets: cross_entropy(logits, targets) * len(targets),
            "You added up the losses. The mean over the batch is asked: otherwise a larger batch gives a larger loss.",
        ),
        WrongAnswer(
            "sign",
            lambda logits, targets: -cross_entropy(logits, targets),
            "The sign is the other way round: a probability is at most 1, its logarithm at most 0, so −log p is at "
            "least 0. It is log-sum-exp minus the logit, not the other way.",
        ),
    ),
    cases=lambda draw: [
        (double([[0.0, 0.0]]), torch.tensor([0])),
        (double([[1000.0, 0.0]]), torch.tensor([0])),
        (double([[1000.0, 0.0]]), torch.tensor([1])),
        (double([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([1, 0])),
        *(_logits_and_targets(draw, batch, classes) for batch, classes in ((1, 3), (3, 2), (4, 5))),
    ],
)


def cross_entropy_gradient(logits, targets):
    """Probabilities minus one-hot targets, divided by the batch size."""
    gradient = torch.softmax(logits, dim=-1)
    gradient[torch.arange(len(targets)), targets] -= 1
    return gradient / len(targets)


def _only_the_target(logits, targets):
    rows = torch.arange(len(targets))
    gradient = torch.zeros_like(logits)
    gradient[rows, targets] = cross_entropy_gradient(logits, targets)[rows, targets]
    return gradient


CROSS_ENTROPY_GRADIENT = Exercise(
    id="attention.cross_entropy_gradient",
    notebook=NOTEBOOK,
    statement=(
        "Return the gradient (batch, classes) of the mean cross entropy with respect to `logits` (batch, classes), for "
        "the right classes `targets` (batch,). Without autograd; torch.softmax is allowed."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "For one example the gradient is p − y: probabilities minus the one-hot vector of the target. What does the "
        "mean over the batch add?",
        "Take the softmax, subtract 1 at `[torch.arange(len(targets)), targets]`, divide by `len(targets)`.",
    ),
    solution=cross_entropy_gradient,
    wrong=(
        WrongAnswer(
            "not averaged",
            lambda logits, targets: cross_entropy_gradient(logits, targets) * len(targets),
            "p − y is the gradient of each example's own loss. The loss is their mean, so divide by the batch size.",
        ),
        WrongAnswer(
            "sign",
            lambda logits, targets: -cross_entropy_gradient(logits, targets),
            "That is y − p, the direction in which the loss falls. The gradient points to where it rises: p − y is "
            "negative at the right class.",
        ),
        WrongAnswer(
            "no targets",
            lambda logits, targets: torch.softmax(logits, dim=-1) / len(targets),
            "The one-hot targets are missing: this is p, not p − y. The gradient of a row must add up to 0.",
        ),
        WrongAnswer(
            "mean over the classes too",
            lambda logits, targets: cross_entropy_gradient(logits, targets) / logits.shape[-1],
            "You divided by the number of entries, batch times classes. The mean runs over the batch only.",
        ),
        WrongAnswer(
            "only the target",
            _only_the_target,
            "You filled in the right class only. The other logits are in the denominator of the softmax: pushing them "
            "up costs as well, by their probability.",
        ),
    ),
    cases=lambda draw: [
        (double([[0.0, 0.0]]), torch.tensor([0])),
        (double([[1000.0, 0.0]]), torch.tensor([1])),
        (double([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([1, 0])),
        *(_logits_and_targets(draw, batch, classes) for batch, classes in ((1, 3), (3, 2), (4, 5))),
    ],
)
