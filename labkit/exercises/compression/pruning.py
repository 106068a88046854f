"""Exercises on pruning: a pattern that hardware follows, a schedule, a score with inputs in view, and the surgeon."""

from labkit.exercises.attention.softmax import double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "20_smaller_models"


def n_of_m_mask(weight, n, m):
    """In every group of m neighbours the n largest stay."""
    groups = weight.abs().unflatten(-1, (-1, m))
    kept = groups.topk(n, dim=-1).indices
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, kept, True).flatten(-2)


def _in_columns(weight, n, m):
    if len(weight) % m:  # too few rows for a group: all stay
        return torch.ones_like(weight, dtype=torch.bool)
    return n_of_m_mask(weight.T.contiguous(), n, m).T


def _no_two_equal(draw, rows, width):
    """Numbers of both signs, no two of one size."""
    sizes = draw.permutation(rows * width) + 1
    return double((sizes * draw.choice([-1, 1], size=rows * width) / 10).tolist()).view(rows, width)


def _largest_in_row(weight, n, m):
    size = weight.abs()
    kept = size.topk(size.shape[1] * n // m, dim=1).indices
    return torch.zeros_like(size, dtype=torch.bool).scatter_(1, kept, True)


N_OF_M_MASK = Exercise(
    id="compression.n_of_m_mask",
    notebook=NOTEBOOK,
    statement=(
        "Return the mask (bool, True = kept, same shape) that keeps, in every `m` neighbours of a row of `weight` (out "
        "× in), the `n` of largest magnitude. `m` divides the width, and no two magnitudes are equal."
    ),
    difficulty=2,
    minutes=8,
    hints=(
        "Give the neighbours an axis of their own: `weight.abs().unflatten(-1, (-1, m))` is out × groups × m.",
        "`topk(n, dim=-1).indices` of that, and `scatter_(-1, indices, True)` into zeros of type bool; then "
        "`flatten(-2)`.",
    ),
    solution=n_of_m_mask,
    wrong=(
        WrongAnswer(
            "n go",
            lambda weight, n, m: ~n_of_m_mask(-1 / weight, n, m) if n < m else weight != weight,
            "You leave out n of m. In `2:4` both readings agree; in 1:4 they do not: n says how many are kept.",
        ),
        WrongAnswer(
            "signed",
            lambda weight, n, m: n_of_m_mask(weight - weight.min() + 1, n, m),
            "You kept the largest numbers with their sign: −9 goes and 0.1 stays. Compare magnitudes.",
        ),
        WrongAnswer(
            "smallest kept",
            lambda weight, n, m: n_of_m_mask(1 / weight, n, m),
            "You kept the smallest magnitudes of each group. They are what should go.",
        ),
        WrongAnswer(
            "anywhere in the row",
            _largest_in_row,
            "Your row keeps the right number of weights, but some groups of m keep more than n and others fewer. "
            "Hardware counts on n in every group.",
        ),
        WrongAnswer(
            "down the columns",
            _in_columns,
            "You grouped weights below each other. Those that one output adds up stand in a row.",
        ),
    ),
    cases=lambda draw: [
        (double([[1.0, -9.0, 3.0, 2.0]]), 2, 4),
        (double([[4.0, -3.0, 2.0, 0.5]]), 1, 4),
        (double([[1.0, -2.0]]), 2, 2),
        *((_no_two_equal(draw, 4 * rows, 8), n, 4) for rows, n in ((1, 2), (2, 1), (1, 3), (2, 2))),
    ],
)


def gradual_sparsity(step, begin, end, initial, final):
    """From initial to final along a cubic that is steep at first."""
    left = 1 - min(1, max(0, (step - begin) / (end - begin)))
    return final + (initial - final) * left**3


def _along(step, begin, end, initial, final, power=3, clip=True):
    part = (step - begin) / (end - begin)
    return final + (initial - final) * (1 - (min(1, max(0, part)) if clip else part)) ** power


GRADUAL_SPARSITY = Exercise(
    id="compression.gradual_sparsity",
    notebook=NOTEBOOK,
    statement=(
        "Zhu & Gupta's schedule: which share of the weights should be zero at `step`? It is `initial` up to the step "
        "`begin`, `final` from `end` on, and between them final + (initial − final)(1 − t)³, where t goes from 0 to 1."
    ),
    difficulty=1,
    minutes=5,
    hints=(
        "t = (step − begin) / (end − begin), held between 0 and 1.",
        "At t = 0 the formula must give `initial`, at t = 1 `final`. With t held in bounds no `if` is needed.",
    ),
    solution=gradual_sparsity,
    wrong=(
        WrongAnswer(
            "straight",
            lambda *case: _along(*case, power=1),
            "Your line is straight. The cubic takes most weights early, while many are superfluous, and slows down.",
        ),
        WrongAnswer(
            "not held",
            lambda *case: _along(*case, clip=False),
            "Before `begin` or after `end` your share leaves the schedule: hold t between 0 and 1.",
        ),
        WrongAnswer(
            "slow at first",
            lambda step, begin, end, initial, final: (
                initial + (final - initial) * (1 - _along(step, begin, end, 1.0, 0.0, power=1)) ** 3
            ),
            "You have t³ instead of 1 − (1 − t)³: gentle first and steep at the end, when every weight counts.",
        ),
        WrongAnswer(
            "begin forgotten",
            lambda step, begin, end, initial, final: _along(step, 0, end, initial, final),
            "You divided by `end`: the schedule begins at `begin`, and lasts end − begin steps.",
        ),
    ),
    cases=lambda draw: [
        (2, 0, 4, 0.0, 0.8),
        (0, 10, 20, 0.1, 0.9),
        (25, 10, 20, 0.1, 0.9),
        (10, 10, 20, 0.2, 0.9),
        *(
            (int(begin + draw.integers(1, 30)), int(begin), int(begin + 30), 0.05, round(draw.uniform(0.5, 0.95), 2))
            for begin in draw.integers(1, 40, 4)
        ),
    ],
)


def wanda_mask(weight, x, sparsity):
    """|W| times the norm of each input over all tokens, compared within each row."""
    scores = weight.abs() * torch.linalg.vector_norm(x, dim=0)
    gone = scores.topk(round(sparsity * weight.shape[1]), dim=1, largest=False).indices
    return torch.ones_like(scores, dtype=torch.bool).scatter(1, gone, False)


def _keep(scores, sparsity):
    gone = scores.topk(round(sparsity * scores.shape[1]), dim=1, largest=False).indices
    return torch.ones_like(scores, dtype=torch.bool).scatter_(1, gone, False)


def _over_the_layer(weight, x, sparsity):
    return _keep((weight.abs() * torch.linalg.vector_norm(x, dim=0)).reshape(1, -1), sparsity).view_as(weight)


def _uneven(draw, tokens, inputs):
    """Inputs of very different sizes, as a language model has them."""
    return random_tensor(draw, tokens, inputs) * double([10.0 ** float(p) for p in draw.uniform(-1, 1, inputs)])


WANDA_MASK = Exercise(
    id="compression.wanda_mask",
    notebook=NOTEBOOK,
    statement=(
        "Wanda's mask (bool, True = kept) for a `weight` (out × in) whose inputs on calibration text were `x` (tokens "
        "× in). The score of a weight is |W_ij| · ‖x_j‖₂; in every row the share `sparsity` with the smallest scores "
        "goes. `sparsity` times the width is a whole number, and no two scores of a row are equal."
    ),
    difficulty=2,
    minutes=8,
    hints=(
        "‖x_j‖₂ is one number for each input: the norm over all tokens, `torch.linalg.vector_norm(x, dim=0)`.",
        "`scores.topk(k, dim=1, largest=False).indices` are the places of the k smallest in each row.",
    ),
    solution=wanda_mask,
    wrong=(
        WrongAnswer(
            "magnitude",
            lambda weight, x, sparsity: _keep(weight.abs(), sparsity),
            "You judged weights by their own size. A small weight at an input that is always large matters.",
        ),
        WrongAnswer(
            "over the layer",
            _over_the_layer,
            "You compared all scores of the layer. Wanda compares within a row, so that each output keeps its share.",
        ),
        WrongAnswer(
            "mean with its sign",
            lambda weight, x, sparsity: _keep(weight.abs() * x.mean(0).abs(), sparsity),
            "You took the mean of the inputs: one that is +5 and −5 in turn would count as nothing. Take the norm.",
        ),
        WrongAnswer(
            "true means gone",
            lambda weight, x, sparsity: ~wanda_mask(weight, x, sparsity),
            "True and False are exchanged: here True means that a weight stays.",
        ),
        WrongAnswer(
            "divided",
            lambda weight, x, sparsity: _keep(weight.abs() / torch.linalg.vector_norm(x, dim=0), sparsity),
            "You divided by the norm. The larger an input, the more its weight matters: multiply.",
        ),
    ),
    cases=lambda draw: [
        (double([[4.0, -1.0], [1.0, -1.0]]), double([[1.0, 8.0], [1.0, -8.5]]), 0.5),
        (double([[4.0, -1.0, 2.0, 3.0]]), double([[0.1, 3.0, 0.5, 1.0]]), 0.25),
        (double([[1.0, 2.0], [30.0, 40.0]]), double([[1.0, 1.0], [1.0, -1.0]]), 0.5),
        *((_no_two_equal(draw, 3, 8), _uneven(draw, 5, 8), share) for share in (0.5, 0.25, 0.75, 0.5)),
    ],
)


def surgeon_step(weights, hessian):
    """The cheapest weight goes, and the others make up for it."""
    inverse = torch.linalg.inv(hessian)
    q = (weights**2 / inverse.diagonal()).argmin()
    moved = weights - weights[q] / inverse[q, q] * inverse[:, q]
    moved[q] = 0
    return moved


def _chosen_by(weights, hessian, cost, repair=True, sign=-1.0):
    inverse = torch.linalg.inv(hessian)
    q = int(cost(weights, inverse).argmin())
    moved = weights + sign * repair * weights[q] / inverse[q, q] * inverse[:, q]
    return torch.where(torch.arange(len(weights)) == q, torch.zeros_like(moved), moved)


def _costs(weights, inverse):
    return weights**2 / inverse.diagonal()


def _hessian(draw, size):
    x = random_tensor(draw, 3 * size, size) @ random_tensor(draw, size, size)
    return 2 * x.T @ x / len(x) + 0.1 * torch.eye(size, dtype=x.dtype)


def _tempting(draw, size):
    """Weights whose smallest is not the cheapest to lose."""
    while True:
        weights, hessian = random_tensor(draw, size), _hessian(draw, size)
        if int(_costs(weights, torch.linalg.inv(hessian)).argmin()) != int(weights.abs().argmin()):
            return weights, hessian


SURGEON_STEP = Exercise(
    id="compression.surgeon_step",
    notebook=NOTEBOOK,
    statement=(
        "One step of the optimal brain surgeon on a row of `weights` with the `hessian` of its squared error: take out "
        "the weight q with the smallest w_q² / (2 [H⁻¹]_qq), and move the others by −w_q / [H⁻¹]_qq · H⁻¹[:, q]. "
        "Return the new row, with an exact 0 at q. Leave what you were given as it is."
    ),
    difficulty=3,
    minutes=10,
    hints=(
        "`inverse = torch.linalg.inv(hessian)`; the costs are `weights**2 / (2 * inverse.diagonal())`.",
        "With `q = costs.argmin()` the row is `weights - weights[q] / inverse[q, q] * inverse[:, q]`; at q rounding "
        "may leave 1e-17, so set it to 0.",
    ),
    solution=surgeon_step,
    wrong=(
        WrongAnswer(
            "the smallest",
            lambda weights, hessian: _chosen_by(weights, hessian, lambda w, inverse: w.abs()),
            "You took out the smallest weight. A larger one may cost less, if the others can stand in for it.",
        ),
        WrongAnswer(
            "no repair",
            lambda weights, hessian: _chosen_by(weights, hessian, _costs, repair=False),
            "The right weight is gone, and the others stand where they were. Moving them is half of the method.",
        ),
        WrongAnswer(
            "the wrong way",
            lambda weights, hessian: _chosen_by(weights, hessian, _costs, sign=1.0),
            "You moved the others the wrong way: the sign of the update is minus. With plus, weight q would double.",
        ),
        WrongAnswer(
            "curvature alone",
            lambda weights, hessian: _chosen_by(weights, hessian, lambda w, i: w**2 * torch.linalg.inv(i).diagonal()),
            "You chose by w² H_qq: the cost if the others could not move (optimal brain damage). The surgeon divides "
            "by the diagonal of the inverse, which knows that they can.",
        ),
    ),
    cases=lambda draw: [
        (double([1.0, 2.0]), double([[2.0, 1.0], [1.0, 2.0]])),
        (double([1.0, -1.5, 4.0]), double([[4.0, 0.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.5, 1.0]])),
        (double([1.5, 2.0, 3.0]), double([[2.0, 0.0, 0.0], [0.0, 2.0, 1.5], [0.0, 1.5, 2.0]])),
        *(_tempting(draw, size) for size in (3, 4, 6, 6)),
    ],
)
