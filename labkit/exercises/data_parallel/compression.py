"""Exercises on gradients that travel small: what is kept back, what is projected, and what it costs."""

from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "16_data_parallel"


def send_with_feedback(gradient, residual, count):
    """The largest numbers of the gradient and what waited; the rest waits on."""
    wanted = gradient + residual
    places = wanted.abs().topk(count).indices
    sent = torch.zeros_like(wanted)
    sent[places] = wanted[places]
    return sent, wanted - sent


def _forgets(gradient, residual, count):
    sent, rest = send_with_feedback(gradient, torch.zeros_like(residual), count)
    return sent, rest


def _adds_up_outside(gradient, residual, count):
    sent, rest = send_with_feedback(gradient, torch.zeros_like(residual), count)
    return sent, rest + residual


def _keeps_all(gradient, residual, count):
    return send_with_feedback(gradient, residual, count)[0], gradient + residual


def _signed(gradient, residual, count):
    wanted = gradient + residual
    places = wanted.topk(count).indices
    sent = torch.zeros_like(wanted)
    sent[places] = wanted[places]
    return sent, wanted - sent


def _vector(draw, size):
    return torch.from_numpy(draw.permutation(size * 4)[:size] - 2.0 * size + 0.25)


SEND_WITH_FEEDBACK = Exercise(
    id="data_parallel.error_feedback",
    notebook=NOTEBOOK,
    statement=(
        "Top-k with error feedback on one rank: given `gradient` (n,), the `residual` (n,) that earlier steps kept "
        "back, and how many numbers may travel, return (sent, residual), both (n,): `sent` has the `count` numbers "
        "farthest from zero of all that is due, and zeros elsewhere. Change nothing in place."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "What is due is the gradient and all that was kept back. After this step the sum of `sent` and the new "
        "residual must be exactly that.",
        "`wanted = gradient + residual`, `places = wanted.abs().topk(count).indices`, copy those places into zeros; "
        "the new residual is `wanted - sent`.",
    ),
    solution=send_with_feedback,
    wrong=(
        WrongAnswer(
            "no feedback",
            _forgets,
            "Your old residual has no influence: what earlier steps kept back is lost for good. Add it to the "
            "gradient before you choose.",
        ),
        WrongAnswer(
            "feedback after choosing",
            _adds_up_outside,
            "You choose from the gradient alone and only then add the old residual, so it grows and is never sent. "
            "Choose from their sum.",
        ),
        WrongAnswer(
            "sent twice",
            _keeps_all,
            "Your new residual still holds what was just sent: it would be sent again. Subtract `sent`.",
        ),
        WrongAnswer(
            "largest instead of farthest",
            _signed,
            "You took the largest numbers; a gradient of −9 says more than one of 2. Compare absolute values.",
        ),
    ),
    cases=lambda draw: [
        (torch.tensor([1.0, -5.0, 2.0]), torch.tensor([0.0, 0.0, 4.0]), 1),
        (torch.tensor([3.0, -4.0]), torch.tensor([0.5, 1.5]), 2),
        *((_vector(draw, n), _vector(draw, n) / 8, k) for n, k in ((4, 1), (6, 2), (9, 4))),
    ],
)


def low_rank_mean(matrices, q):
    """One step of power iteration on the mean of the ranks' matrices, with what may travel: thin ones."""
    p = torch.stack([matrix @ q for matrix in matrices]).mean(0)
    p = torch.linalg.qr(p).Q
    back = torch.stack([matrix.T @ p for matrix in matrices]).mean(0)
    return p @ back.T


def _not_orthogonal(matrices, q):
    p = sum(matrix @ q for matrix in matrices) / len(matrices)
    back = sum(matrix.T @ p for matrix in matrices) / len(matrices)
    return p @ back.T


def _own_bases(matrices, q):
    products = []
    for matrix in matrices:
        p = torch.linalg.qr(matrix @ q).Q
        products.append(p @ (matrix.T @ p).T)
    return sum(products) / len(products)


def _summed(matrices, q):
    return low_rank_mean(matrices, q) * len(matrices)


def _first_q(matrices, q):
    p = torch.linalg.qr(sum(matrix @ q for matrix in matrices)).Q
    return p @ q.T


def _matrices(draw, ranks, rows, columns, rank):
    numbers = draw.normal(size=(ranks, rows, columns))
    return list(torch.from_numpy(numbers).unbind()), torch.from_numpy(draw.normal(size=(columns, rank)))


LOW_RANK = Exercise(
    id="data_parallel.low_rank_mean",
    notebook=NOTEBOOK,
    statement=(
        "PowerSGD without processes: `matrices` is the list of the ranks' gradients (rows, columns), `q` (columns, r) "
        "what the step begins with, on all of them. Only matrices with r columns may be averaged over the ranks. "
        "Return the product (rows, columns) that stands for the mean gradient. `torch.linalg.qr` may orthogonalise."
    ),
    difficulty=3,
    minutes=10,
    hints=(
        "Two averages: of each rank's `matrix @ q`, and, with the orthonormal columns p that come of it, of each "
        "rank's `matrix.T @ p`.",
        "`p = torch.linalg.qr(mean of matrix @ q).Q`, then `q = mean of matrix.T @ p`; the product is `p @ q.T`.",
    ),
    solution=low_rank_mean,
    wrong=(
        WrongAnswer(
            "not orthogonal",
            _not_orthogonal,
            "The columns of p are not orthonormal, so `p @ p.T` is no projection and the product has another size. "
            "Orthogonalise p after it is averaged.",
        ),
        WrongAnswer(
            "every rank its own p",
            _own_bases,
            "You orthogonalised on each rank before averaging: each then projects on another space, and the mean of "
            "such products needs whole matrices to travel. Average `matrix @ q` first.",
        ),
        WrongAnswer(
            "sum instead of mean",
            _summed,
            "Your product stands for the sum of the gradients: it grows with the number of ranks, as if the learning "
            "rate did. Divide by how many there are.",
        ),
        WrongAnswer(
            "the old q",
            _first_q,
            "You multiplied with the q that the step began with, which knows nothing of this gradient. Compute it "
            "anew: the mean of `matrix.T @ p`.",
        ),
    ),
    cases=lambda draw: [_matrices(draw, *sizes) for sizes in ((1, 3, 2, 1), (2, 5, 4, 2), (3, 4, 6, 1), (4, 7, 5, 3))],
)


def bytes_of_top_k(size, count, ranks):
    """Bytes that a rank sends: as an all-reduce in float32, and as top-k to all others."""
    return 2 * (ranks - 1) / ranks * 4 * size, (ranks - 1) * 8 * count


def _values_only(size, count, ranks):
    return 2 * (ranks - 1) / ranks * 4 * size, (ranks - 1) * 4 * count


def _like_all_reduce(size, count, ranks):
    return 2 * (ranks - 1) / ranks * 4 * size, 2 * (ranks - 1) / ranks * 8 * count


def _one_message(size, count, ranks):
    return 2 * (ranks - 1) / ranks * 4 * size, 8 * count


COSTS = Exercise(
    id="data_parallel.compression_bytes",
    notebook=NOTEBOOK,
    statement=(
        "A gradient of `size` float32 numbers on `ranks` ranks. Return how many bytes one rank sends (whole, sparse): "
        "for a ring all-reduce of everything, and when it sends its `count` chosen numbers with their places (int32) "
        "to every other rank."
    ),
    difficulty=1,
    minutes=4,
    hints=(
        "Other ranks choose other places, so sparse gradients cannot be summed on the way: each goes to all.",
        "Ring: 2 (n − 1) / n · 4 · size. Sparse: n − 1 receivers, and 4 + 4 bytes for each number.",
    ),
    solution=bytes_of_top_k,
    wrong=(
        WrongAnswer(
            "no places",
            _values_only,
            "Numbers alone do not say where they belong: each needs its place, 4 more bytes.",
        ),
        WrongAnswer(
            "reduced on the way",
            _like_all_reduce,
            "You count sparse gradients as an all-reduce. Two ranks that chose different places make twice as many "
            "numbers, not a sum: everything goes to everybody, n − 1 times.",
        ),
        WrongAnswer(
            "sent once",
            _one_message,
            "There are n − 1 other ranks, and each needs what this one chose.",
        ),
    ),
    cases=lambda draw: [
        (100, 1, 2),
        (1000, 10, 1),
        *((int(draw.integers(1000, 9999)), int(draw.integers(5, 99)), ranks) for ranks in (3, 8, 64)),
    ],
)

EXERCISES = (SEND_WITH_FEEDBACK, LOW_RANK, COSTS)
