"""Exercises on layers cut across ranks; what every rank holds comes as a list, so that no process is needed."""

from labkit.exercises.attention.softmax import double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "17_model_parallel"


def column_then_row(x, ups, downs, bias):
    """Every rank bends its own hidden units; the partial results are added, and the bias once."""
    return sum(torch.relu(x @ up.T) @ down.T for up, down in zip(ups, downs, strict=True)) + bias


def _parts(x, ups, downs):
    return [torch.relu(x @ up.T) @ down.T for up, down in zip(ups, downs, strict=True)]


def _bent_after_the_sum(x, ups, downs, bias):
    return torch.relu(sum(x @ up.T @ down.T for up, down in zip(ups, downs, strict=True))) + bias


def _layer(draw, ranks, own):
    ups, downs = ([random_tensor(draw, *shape) for _ in range(ranks)] for shape in ((own, 3), (2, own)))
    return random_tensor(draw, 2, 3), ups, downs, random_tensor(draw, 2)


def _layer_by_hand():
    ups, downs = [double([[1.0]]), double([[-2.0]])], [double([[3.0]]), double([[5.0]])]
    return double([[1.0], [-1.0]]), ups, downs, double([0.5])


COLUMN_THEN_ROW = Exercise(
    id="model_parallel.column_then_row",
    notebook=NOTEBOOK,
    statement=(
        "A feed-forward layer on several ranks, ReLU between its matrices. Rank r has `ups[r]` (hidden / n, width) and "
        "`downs[r]` (width, hidden / n), stored as in torch (y = x Wᵀ); all ranks have `x` (tokens, width) and `bias` "
        "(width,) of the second matrix. Return what the whole layer gives, as the all-reduce would make it."
    ),
    difficulty=1,
    minutes=5,
    hints=(
        "Each hidden unit belongs to one rank, so each rank can bend its own. What does a product over hidden units "
        "become when they lie on several ranks?",
        "`sum(torch.relu(x @ up.T) @ down.T for up, down in zip(ups, downs)) + bias`",
    ),
    solution=column_then_row,
    wrong=(
        WrongAnswer(
            "bias on every rank",
            lambda x, ups, downs, bias: sum(part + bias for part in _parts(x, ups, downs)),
            "Every rank added the bias before the sum, so it is there n times. With two ranks the model still runs, "
            "and is wrong by one bias. Add it after the all-reduce.",
        ),
        WrongAnswer(
            "mean",
            lambda x, ups, downs, bias: sum(_parts(x, ups, downs)) / len(ups) + bias,
            "You averaged, as data parallel does with gradients. Here the parts are terms of one sum.",
        ),
        WrongAnswer(
            "one rank",
            lambda x, ups, downs, bias: _parts(x, ups, downs)[0] + bias,
            "That is what the first rank knows. The hidden units of the others are missing.",
        ),
        WrongAnswer(
            "side by side",
            lambda x, ups, downs, bias: torch.cat(_parts(x, ups, downs), dim=-1),
            "You put the parts side by side. Each has the full width already: after a matrix cut by its inputs they "
            "are added.",
        ),
        WrongAnswer(
            "bent after the sum",
            _bent_after_the_sum,
            "You bent the sum. ReLU belongs between the two matrices, on each rank's hidden units; ReLU of a sum is "
            "not the sum of ReLUs. That is why the first matrix is cut by columns.",
        ),
    ),
    cases=lambda draw: [_layer_by_hand(), *(_layer(draw, ranks, own) for ranks, own in ((2, 2), (3, 1), (4, 2)))],
)


def own_heads(qkv, heads, rank, ranks):
    """Queries, keys and values apart; of each the rows of this rank's heads."""
    return torch.cat([part.chunk(ranks)[rank] for part in qkv.chunk(3)])


def _every_other_head(qkv, heads, rank, ranks):
    dim = len(qkv) // 3 // heads
    return qkv.view(3, heads, dim, -1)[:, rank::ranks].reshape(-1, qkv.shape[1])


def _rows_that_alternate(qkv, heads, rank, ranks):
    return torch.cat([part[rank::ranks] for part in qkv.chunk(3)])


def _numbered(heads, dim, width=1):
    return torch.arange(3 * heads * dim * width).view(-1, width).double()


OWN_HEADS = Exercise(
    id="model_parallel.own_heads",
    notebook=NOTEBOOK,
    statement=(
        "One matrix `qkv` (3 · heads · dim, width) makes all queries, then all keys, then all values; in each third "
        "the heads follow one another. Return the rows of rank `rank` of `ranks`: the queries, then keys, then values "
        "of its heads, which are heads / ranks neighbours."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "With two ranks, which rows belong to the first head's keys? Are they in the upper half of the matrix?",
        "Cut three times: `for part in qkv.chunk(3)`, of each `part.chunk(ranks)[rank]`, then `torch.cat`.",
    ),
    solution=own_heads,
    wrong=(
        WrongAnswer(
            "in one piece",
            lambda qkv, heads, rank, ranks: qkv.chunk(ranks)[rank],
            "You cut the matrix in one piece: the first rank has all queries and some keys, the last all values. The "
            "shapes fit, so nothing fails; the model just talks nonsense. Queries, keys and values are cut each.",
        ),
        WrongAnswer(
            "every other head",
            _every_other_head,
            "Your ranks take turns head by head. The matrix after attention is cut in neighbours: its columns would "
            "meet other heads' results.",
        ),
        WrongAnswer(
            "every other row",
            _rows_that_alternate,
            "Your rows alternate between the ranks, which tears the heads apart: each rank would have a part of every "
            "head, and no whole score.",
        ),
        WrongAnswer(
            "counted from the end",
            lambda qkv, heads, rank, ranks: own_heads(qkv, heads, ranks - 1 - rank, ranks),
            "These are the heads of another rank, counted from the end. Rank 0 has the first ones.",
        ),
    ),
    cases=lambda draw: [
        (_numbered(2, 1), 2, 0, 2),
        (_numbered(4, 1), 4, 1, 2),
        (_numbered(2, 2), 2, 1, 2),
        (_numbered(1, 2), 1, 0, 1),
        *((random_tensor(draw, 3 * h * 2, 2), h, r, n) for h, r, n in ((4, 1, 2), (4, 0, 2), (8, 3, 4), (6, 2, 3))),
    ],
)


def gradient_norm(cut, shared):
    """What is cut counts on every rank, what all hold counts once."""
    squares = sum(grad.square().sum() for own in cut for grad in own)
    return (squares + sum(grad.square().sum() for grad in shared[0])).sqrt()


def _norms(cut, shared):
    return [torch.cat([grad.flatten() for grad in [*a, *b]]).norm() for a, b in zip(cut, shared, strict=True)]


def _gradients(draw, ranks):
    same = [random_tensor(draw, 2)]
    cut = [[random_tensor(draw, 2, 2), random_tensor(draw, 2)] for _ in range(ranks)]
    return cut, [[grad.clone() for grad in same] for _ in range(ranks)]


GRADIENT_NORM = Exercise(
    id="model_parallel.gradient_norm",
    notebook=NOTEBOOK,
    statement=(
        "For clipping: the norm of the whole model's gradient. `cut[r]` is a list of rank r's gradients of its own "
        "parts of matrices, `shared[r]` a list of its gradients of the weights that every rank holds (they all have "
        "the same there). Return the norm that one process would find."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "A norm is the root of a sum of squares. Of which numbers does one process have one, and the ranks together n?",
        "Add the squares of all `cut` gradients of all ranks, those of `shared[0]` once, and take the root at the end.",
    ),
    solution=gradient_norm,
    wrong=(
        WrongAnswer(
            "shared n times",
            lambda cut, shared: torch.stack(_norms(cut, shared)).square().sum().sqrt(),
            "You added the squares of all ranks, so what all hold is there n times. The gradient is then clipped a "
            "little more with every rank.",
        ),
        WrongAnswer(
            "own norm",
            lambda cut, shared: _norms(cut, shared)[0],
            "That is the norm of what the first rank has. Each rank would find another, scale by another factor, and "
            "the weights that all hold would drift apart: this is what `clip_grad_norm_` does here.",
        ),
        WrongAnswer(
            "sum of norms",
            lambda cut, shared: torch.stack(_norms(cut, shared)).sum(),
            "You added norms. Squares add up, norms do not.",
        ),
        WrongAnswer(
            "mean of norms",
            lambda cut, shared: torch.stack(_norms(cut, shared)).mean(),
            "You averaged the ranks' norms. The parts are pieces of one long vector: their squares add up.",
        ),
        WrongAnswer(
            "shared left out",
            lambda cut, shared: sum(grad.square().sum() for own in cut for grad in own).sqrt(),
            "The weights that all ranks hold are missing. They count, once.",
        ),
    ),
    cases=lambda draw: [
        ([[double([3.0])], [double([0.0])]], [[double([4.0])], [double([4.0])]]),
        ([[double([1.0])], [double([2.0])]], [[double([2.0])], [double([2.0])]]),
        *(_gradients(draw, ranks) for ranks in (2, 3, 4)),
    ],
)
