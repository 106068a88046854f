"""Exercises on masks: who may look where, and what True means."""

from labkit.exercises.attention.softmax import NOTEBOOK, double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")


def causal_mask(queries, keys):
    """True on and below the diagonal that ends in the lower right corner."""
    return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)


def _allowed_up_to(queries, keys, diagonal):
    return torch.ones(queries, keys, dtype=torch.bool).tril(diagonal)


CAUSAL_MASK = Exercise(
    id="attention.causal_mask",
    notebook=NOTEBOOK,
    statement=(
        "Return the causal mask: a bool tensor (queries, keys), True where a query may attend. The queries are the "
        "last `queries` of the `keys` tokens, so the last query sees every key, and each one before it one key less."
    ),
    difficulty=2,
    minutes=5,
    hints=(
        "Query i is token i + (keys − queries) of the sequence. It may see the keys up to its own place.",
        "`torch.ones(queries, keys, dtype=torch.bool).tril(diagonal)`; which diagonal ends in the lower right corner?",
    ),
    solution=causal_mask,
    wrong=(
        WrongAnswer(
            "aligned at the start",
            lambda queries, keys: _allowed_up_to(queries, keys, 0),
            "Your diagonal starts in the upper left corner. With a cache the queries are the last tokens: here a "
            "single new token would see nothing but the very first key. (torch's `is_causal=True` does just that.)",
        ),
        WrongAnswer(
            "not itself",
            lambda queries, keys: _allowed_up_to(queries, keys, keys - queries - 1),
            "A token may look at itself, too. Without the diagonal the first token has nowhere to look, and its "
            "softmax is 0 / 0.",
        ),
        WrongAnswer(
            "one too far",
            lambda queries, keys: _allowed_up_to(queries, keys, keys - queries + 1),
            "Each token sees the next one: the very token that it should predict. Training would show a loss that is "
            "too good to be true.",
        ),
        WrongAnswer(
            "future instead of past",
            lambda queries, keys: torch.ones(queries, keys, dtype=torch.bool).triu(keys - queries),
            "You kept the upper triangle: each token sees itself and the future. `tril` keeps the lower one, the past.",
        ),
        WrongAnswer(
            "true means forbidden",
            lambda queries, keys: ~causal_mask(queries, keys),
            "The shape is right and True and False are exchanged. Here True means `may attend`, as in "
            "`scaled_dot_product_attention`; `nn.MultiheadAttention` wants the opposite.",
        ),
    ),
    cases=lambda draw: [
        (1, 1),
        (1, 3),
        (2, 2),
        (2, 3),
        *((int(q), int(q + more)) for q, more in zip(draw.integers(1, 6, 4), draw.integers(0, 5, 4), strict=True)),
    ],
)


def padding_mask(lengths, keys):
    """True behind the last real token of each sequence."""
    return torch.arange(keys, device=lengths.device) >= lengths[:, None]


PADDING_MASK = Exercise(
    id="attention.padding_mask",
    notebook=NOTEBOOK,
    statement=(
        "Sequences of `lengths` (batch,) tokens are padded at the end to `keys` tokens. Return the bool mask (batch, "
        "keys) as `nn.MultiheadAttention` wants its `key_padding_mask`: True means `ignore this key`."
    ),
    difficulty=1,
    minutes=4,
    hints=(
        "A sequence of length 3 has real tokens at the places 0, 1 and 2. Compare every place with the length.",
        "`torch.arange(keys)` has shape (keys,), `lengths[:, None]` has (batch, 1); comparing them gives (batch, "
        "keys).",
    ),
    solution=padding_mask,
    wrong=(
        WrongAnswer(
            "true means attend",
            lambda lengths, keys: ~padding_mask(lengths, keys),
            "True and False are exchanged: your True marks the real tokens. That is what "
            "`scaled_dot_product_attention` wants. Nothing would crash here: the model would read the padding only.",
        ),
        WrongAnswer(
            "off by one",
            lambda lengths, keys: torch.arange(keys) > lengths[:, None],
            "The first padding token is not marked: places count from 0, so the place `length` is padding already.",
        ),
        WrongAnswer(
            "one token too many",
            lambda lengths, keys: torch.arange(keys) >= lengths[:, None] - 1,
            "The last real token is marked as padding: it stands at the place length − 1.",
        ),
        WrongAnswer(
            "padding in front",
            lambda lengths, keys: torch.arange(keys) < keys - lengths[:, None],
            "You marked the first places. These sequences are padded at the end.",
        ),
        WrongAnswer(
            "one length for all",
            lambda lengths, keys: (torch.arange(keys) >= lengths.max()).expand(len(lengths), keys),
            "You compared with the longest sequence only. Each sequence has its own length: `lengths[:, None]`.",
        ),
    ),
    cases=lambda draw: [
        (torch.tensor([3]), 3),
        (torch.tensor([1]), 3),
        (torch.tensor([1, 2]), 3),
        *((torch.from_numpy(draw.integers(1, keys + 1, batch)), keys) for batch, keys in ((2, 4), (3, 5), (4, 7))),
    ],
)


def masked_weights(scores, may_attend):
    """Softmax of scores that are −∞ where nobody may look."""
    return torch.softmax(scores.masked_fill(~may_attend, -torch.inf), dim=-1)


def _renormalised(scores, may_attend):
    weights = torch.softmax(scores, dim=-1) * may_attend
    return weights / weights.sum(dim=-1, keepdim=True)


def _scores_and_mask(draw, *shape):
    allowed = torch.from_numpy(draw.random(shape) < 0.6)
    allowed[..., 0] |= ~allowed.any(dim=-1)  # nobody is left without a place to look
    return random_tensor(draw, *shape), allowed


MASKED_WEIGHTS = Exercise(
    id="attention.masked_weights",
    notebook=NOTEBOOK,
    statement=(
        "Return the softmax of `scores` (..., queries, keys) over the keys where the bool mask `may_attend` (same "
        "shape) is True. All other weights are exactly 0. Each query may look somewhere."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "The forbidden scores must vanish before the softmax divides. For which score is the exponential exactly 0?",
        "`scores.masked_fill(~may_attend, -torch.inf)`, and then the softmax over dim=-1.",
    ),
    solution=masked_weights,
    wrong=(
        WrongAnswer(
            "zero as score",
            lambda scores, may_attend: torch.softmax(scores * may_attend, dim=-1),
            "A score of 0 is not `no attention`: exp(0) = 1, often more than an allowed key has. The forbidden score "
            "must be −∞. (Filling in 1e-9 instead of -1e9 does the same as 0.)",
        ),
        WrongAnswer(
            "masked after the softmax",
            lambda scores, may_attend: torch.softmax(scores, dim=-1) * may_attend,
            "You set weights to 0 after the softmax: the weights of a query no longer add up to 1, since the forbidden "
            "keys still are in the denominator.",
        ),
        WrongAnswer(
            "divided again",
            _renormalised,
            "Softmax, mask, divide again: right on paper. But if a forbidden score is 1000 above the others, the "
            "allowed weights are rounded to 0, and 0 / 0 is NaN. Mask the scores before the softmax.",
        ),
        WrongAnswer(
            "polarity",
            lambda scores, may_attend: torch.softmax(scores.masked_fill(may_attend, -torch.inf), dim=-1),
            "You hid the allowed keys. Here True means `may attend`, so fill in −∞ where the mask is False: "
            "`~may_attend`.",
        ),
        WrongAnswer(
            "mask added",
            lambda scores, may_attend: torch.softmax(scores + may_attend, dim=-1),
            "Adding a bool mask adds 1 where it is True and 0 where it is False: the forbidden keys stay. An additive "
            "mask needs 0 and −∞.",
        ),
    ),
    cases=lambda draw: [
        (double([[1.0, 2.0]]), torch.tensor([[True, False]])),
        (double([[-1.0, -1.0, 3.0]]), torch.tensor([[True, True, False]])),
        (double([[0.0, 1.0, 1000.0]]), torch.tensor([[True, True, False]])),
        (double([[5.0]]), torch.tensor([[True]])),
        _scores_and_mask(draw, 2, 3),
        _scores_and_mask(draw, 3, 4),
        _scores_and_mask(draw, 2, 2, 3, 4),
    ],
)
