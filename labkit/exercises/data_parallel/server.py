"""Exercises on the parameter server: how old a gradient is, and an average that is taken seldom."""

from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "16_data_parallel"


def staleness_of(pushes):
    """Every worker pulls as soon as it has pushed; all pulled at the start."""
    pulled, found = {}, []
    for version, worker in enumerate(pushes):
        found.append(version - pulled.get(worker, 0))
        pulled[worker] = version + 1
    return found


def _by_turns(pushes):
    return [
        max(0, version - 1 - pushes[:version][::-1].index(w)) if w in pushes[:version] else 0
        for version, w in enumerate(pushes)
    ]


def _own_counts(pushes):
    pulled, found = {}, []
    for version, worker in enumerate(pushes):
        found.append(version - pulled.get(worker, 0))
        pulled[worker] = version
    return found


def _fresh_start(pushes):
    pulled, found = {}, []
    for version, worker in enumerate(pushes):
        found.append(version - pulled.get(worker, version))
        pulled[worker] = version + 1
    return found


def _number_of_others(pushes):
    return [len(set(pushes)) - 1] * len(pushes)


STALENESS = Exercise(
    id="data_parallel.staleness",
    notebook=NOTEBOOK,
    statement=(
        "An asynchronous server made an update for each entry of `pushes`, a list of workers in their order. All "
        "workers pulled the first weights before it began, and each pulls anew right after its push. Return the list "
        "of how many updates happened between the pull and the push of each gradient."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "Number the updates from 0. Before the first one, a worker has version 0; after its push is used as update "
        "number v, what it pulls is version v + 1.",
        "Keep a dictionary from worker to the version it has. The staleness at update v is v minus that version.",
    ),
    solution=staleness_of,
    wrong=(
        WrongAnswer(
            "own update counted",
            _own_counts,
            "A worker that is alone has fresh gradients, but you say 1: its own update was made before it pulled. It "
            "has version v + 1 after update v.",
        ),
        WrongAnswer(
            "a first gradient is always fresh",
            _fresh_start,
            "All pulled at the start. A worker whose first gradient comes as the third update has seen none of the "
            "two before.",
        ),
        WrongAnswer(
            "number of the others",
            _number_of_others,
            "The number of other workers is only the mean (of a long run): count, update by update, who came between.",
        ),
    ),
    cases=lambda draw: [
        ([0, 1, 0, 1],),
        ([7, 7, 7],),
        ([2, 0, 0, 1, 2],),
        ([],),
        *(([int(w) for w in draw.integers(0, workers, 12)] + [0],) for workers in (2, 3, 5)),
    ],
)


def average_seldom(starts, gradients, lr, period):
    """Every rank descends by itself; after each `period` steps all take the mean."""
    weights = torch.stack([starts] * gradients.shape[1])
    for step, of_ranks in enumerate(gradients, start=1):
        weights = weights - lr * of_ranks
        if step % period == 0:
            weights = weights.mean(0, keepdim=True).expand_as(weights)
    return weights


def _always(starts, gradients, lr, period):
    return average_seldom(starts, gradients, lr, 1)


def _never(starts, gradients, lr, period):
    return average_seldom(starts, gradients, lr, len(gradients) + 1)


def _too_early(starts, gradients, lr, period):
    weights = torch.stack([starts] * gradients.shape[1])
    for step, of_ranks in enumerate(gradients):
        weights = weights - lr * of_ranks
        if step % period == 0:
            weights = weights.mean(0, keepdim=True).expand_as(weights)
    return weights


def _run(draw, steps, ranks, size, period):
    gradients = torch.from_numpy(draw.normal(size=(steps, ranks, size)))
    return torch.from_numpy(draw.normal(size=size)), gradients, 0.5, period


LOCAL = Exercise(
    id="data_parallel.local_steps",
    notebook=NOTEBOOK,
    statement=(
        "Local SGD: all ranks begin with `start` (n,). `gradients` (steps, ranks, n) are what they find step by step; "
        "each takes its own step with learning rate `lr`, and after every `period`-th step all ranks set their "
        "weights to the mean of all. Return the weights after the last step, (ranks, n)."
    ),
    difficulty=2,
    minutes=8,
    hints=(
        "Keep one row of weights for each rank; a step moves every row by its own gradient. When is the first mean "
        "taken, with a period of 4?",
        "Count steps from 1: `if step % period == 0: weights = weights.mean(0, keepdim=True).expand_as(weights)`.",
    ),
    solution=average_seldom,
    wrong=(
        WrongAnswer(
            "a mean after each step",
            _always,
            "Your ranks end with equal weights also where the last step does not end a period: you average after "
            "every step, `period` times the traffic, or once more at the end.",
        ),
        WrongAnswer(
            "no mean",
            _never,
            "Your ranks never meet: each has trained a model of its own.",
        ),
        WrongAnswer(
            "counted from 0",
            _too_early,
            "Your first mean comes after the first step and not after `period` steps: count them from 1.",
        ),
    ),
    cases=lambda draw: [_run(draw, *sizes) for sizes in ((4, 2, 3, 2), (5, 3, 2, 3), (7, 2, 1, 4), (6, 4, 2, 4))],
)

EXERCISES = (STALENESS, LOCAL)
