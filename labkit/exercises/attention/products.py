"""Exercises on the products of attention: how large scores are, what they weigh, how much memory they take."""

from labkit.exercises.attention.softmax import NOTEBOOK, double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")


def score_variance(entries=64, deviation=2):
    """One product for each entry; the variance of each is that of the query times that of the key."""
    return entries * deviation**2 * deviation**2


def _entries(draw):
    """Numbers with which no two mistakes give the same."""
    return [(int(draw.choice([36, 49, 100, 144, 196, 400])), int(draw.integers(2, 6)))]


SCORE_VARIANCE = Exercise(
    id="attention.score_variance",
    notebook=NOTEBOOK,
    statement=(
        "Query and key have 64 entries each, all independent, with mean 0 and standard deviation 2. What is the "
        "variance of their dot product, before it is scaled?"
    ),
    difficulty=1,
    minutes=3,
    hints=(
        "For independent numbers with mean 0 the variance of a product is the product of the variances. A standard "
        "deviation of 2 is which variance?",
        "A product for each entry, each with the variance deviation² · deviation²; variances of independent terms "
        "add up.",
    ),
    solution=score_variance,
    wrong=(
        WrongAnswer(
            "standard deviations of 1",
            lambda entries=64, deviation=2: entries,
            "That would be right for entries with standard deviation 1. Here each of the products varies more.",
        ),
        WrongAnswer(
            "one of the two",
            lambda entries=64, deviation=2: entries * deviation**2,
            "You counted the variance of one of the two vectors. Each term is a product of a query's entry and a key's "
            "entry, and both vary.",
        ),
        WrongAnswer(
            "standard deviation",
            lambda entries=64, deviation=2: entries**0.5 * deviation**2,
            "That is the standard deviation of the dot product. The variance is its square.",
        ),
        WrongAnswer(
            "scaled",
            lambda entries=64, deviation=2: deviation**4,
            "That is the variance after the division by the root of the number of entries. The question is about the "
            "score before it is scaled.",
        ),
        WrongAnswer(
            "not squared",
            lambda entries=64, deviation=2: entries * deviation,
            "You multiplied with the standard deviation. A variance is a square: scaling a number by 2 makes its "
            "variance 4 times as large, and here both factors are scaled.",
        ),
    ),
    cases=_entries,
    kind="value",
)


def attend(query, key, value):
    """Every query's average of the values, weighted by the softmax of its scaled scores."""
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    weights = torch.softmax(scores, dim=-1)
    return weights @ value


def _scores(query, key):
    return query @ key.transpose(-2, -1)


def _overflowing(query, key, value):
    exponentials = torch.exp(_scores(query, key) / query.shape[-1] ** 0.5)
    return exponentials / exponentials.sum(dim=-1, keepdim=True) @ value


def _triple(draw, queries, keys, dim, value_dim, leading=()):
    return tuple(random_tensor(draw, *leading, n, d) for n, d in ((queries, dim), (keys, dim), (keys, value_dim)))


ATTEND = Exercise(
    id="attention.attend",
    notebook=NOTEBOOK,
    statement=(
        "Return scaled dot-product attention (..., queries, value_dim) of `query` (..., queries, dim), `key` (..., "
        "keys, dim) and `value` (..., keys, value_dim), without a mask and without torch's own attention."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "Three steps: scores of every query with every key, divided by √dim; softmax over the keys; average of values.",
        "`query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5`, then `torch.softmax(…, dim=-1)`, then `@ value`.",
    ),
    solution=attend,
    wrong=(
        WrongAnswer(
            "not scaled",
            lambda query, key, value: torch.softmax(_scores(query, key), dim=-1) @ value,
            "The division by √dim is missing. The variance of a score grows with dim; without the division softmax "
            "puts nearly everything on one key, and its gradient vanishes.",
        ),
        WrongAnswer(
            "divided by dim",
            lambda query, key, value: torch.softmax(_scores(query, key) / query.shape[-1], dim=-1) @ value,
            "You divided by dim. The variance of a score is proportional to dim, so its typical size is √dim: divide "
            "by that.",
        ),
        WrongAnswer(
            "softmax over the queries",
            lambda query, key, value: torch.softmax(_scores(query, key) / query.shape[-1] ** 0.5, dim=-2) @ value,
            "Your softmax runs over the queries (dim=-2). Each query spreads its attention over the keys: dim=-1. "
            "Print `weights.sum(dim=-1)` and see that it is not 1.",
        ),
        WrongAnswer(
            "scaled too late",
            lambda query, key, value: torch.softmax(_scores(query, key), dim=-1) / query.shape[-1] ** 0.5 @ value,
            "You divide after the softmax: the weights of a query now add up to 1/√dim. Divide the scores.",
        ),
        WrongAnswer(
            "dim of the values",
            lambda query, key, value: torch.softmax(_scores(query, key) / value.shape[-1] ** 0.5, dim=-1) @ value,
            "You took dim from the values. A score is a sum over the entries of query and key: their dim counts. Often "
            "the two are equal, and then the mistake stays hidden.",
        ),
        WrongAnswer(
            "overflow",
            _overflowing,
            "Right for small scores, but exp of a score of 1000 is inf, and inf / inf is NaN. Use `torch.softmax`, or "
            "subtract each row's largest score first.",
        ),
    ),
    cases=lambda draw: [
        (double([[2.0, 0.0]]), double([[1.0, 0.0], [0.0, 1.0]]), double([[1.0], [0.0]])),
        (double([[1.0, 2.0]]), double([[3.0, 4.0]]), double([[5.0]])),
        (double([[100.0, 0.0]]), double([[100.0, 0.0], [0.0, 100.0]]), double([[1.0], [0.0]])),
        _triple(draw, 2, 2, 2, 1),
        _triple(draw, 2, 3, 4, 2),
        _triple(draw, 3, 2, 3, 5, leading=(2, 2)),
    ],
)


def weights_bytes(batch=16, heads=8, tokens=4096):
    """One number of 4 bytes for each sequence, head, query and key."""
    return batch * heads * tokens * tokens * 4


def _layer(draw):
    """A batch, heads and tokens with which no two mistakes give the same."""
    batch, heads = (int(number) for number in draw.choice([6, 10, 12, 14, 20, 24], size=2, replace=False))
    return [(batch, heads, int(draw.choice([512, 1024, 2048, 8192])))]


WEIGHTS_BYTES = Exercise(
    id="attention.weights_bytes",
    notebook=NOTEBOOK,
    statement=(
        "How many bytes do the attention weights of one layer take in float32, for a batch of 16 sequences, 8 heads "
        "and 4096 tokens (queries = keys)?"
    ),
    difficulty=1,
    minutes=3,
    hints=(
        "Each sequence and each head has a weight for every pair of a query and a key. How many pairs are that?",
        "batch × heads × tokens × tokens numbers, of 4 bytes each.",
    ),
    solution=weights_bytes,
    wrong=(
        WrongAnswer(
            "one per token",
            lambda batch=16, heads=8, tokens=4096: batch * heads * tokens * 4,
            "You counted one weight for each token. Every token has a weight for every other: tokens × tokens.",
        ),
        WrongAnswer(
            "one head",
            lambda batch=16, heads=8, tokens=4096: batch * tokens**2 * 4,
            "That is for one head. More heads make each head narrower, but each has a full matrix of weights.",
        ),
        WrongAnswer(
            "one sequence",
            lambda batch=16, heads=8, tokens=4096: heads * tokens**2 * 4,
            "That is for one sequence. There are more in the batch.",
        ),
        WrongAnswer(
            "numbers",
            lambda batch=16, heads=8, tokens=4096: batch * heads * tokens**2,
            "That is how many numbers there are. A float32 number takes 4 bytes.",
        ),
        WrongAnswer(
            "bits",
            lambda batch=16, heads=8, tokens=4096: batch * heads * tokens**2 * 32,
            "You counted bits: 32 for each number. A byte has 8.",
        ),
        WrongAnswer(
            "one head, one sequence",
            lambda batch=16, heads=8, tokens=4096: tokens**2 * 4,
            "That is a single matrix. Each sequence of the batch has one for each of the heads.",
        ),
    ),
    cases=_layer,
    kind="value",
)
