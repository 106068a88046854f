"""Exercises on heads and on the key-value cache: shapes that fit although the numbers are in the wrong place."""

from labkit.exercises.attention.softmax import NOTEBOOK, double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")


def merge_heads(x):
    """The heads of each token side by side."""
    batch, heads, tokens, dim = x.shape
    return x.transpose(1, 2).reshape(batch, tokens, heads * dim)


def _counted(*shape):
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)


MERGE_HEADS = Exercise(
    id="attention.merge_heads",
    notebook=NOTEBOOK,
    statement=(
        "Turn `x` (batch, heads, tokens, dim) into (batch, tokens, heads · dim): for each token the outputs of all "
        "heads side by side, head 0 first."
    ),
    difficulty=1,
    minutes=4,
    hints=(
        "`reshape` keeps the order in which the numbers lie: what shall stand side by side must be neighbours before "
        "it.",
        "First `x.transpose(1, 2)`, which gives (batch, tokens, heads, dim), then `.reshape(batch, tokens, -1)`.",
    ),
    solution=merge_heads,
    wrong=(
        WrongAnswer(
            "no transpose",
            lambda x: x.reshape(x.shape[0], x.shape[2], -1),
            "The shape is right, the numbers are mixed up: reshape alone puts numbers of different tokens into one "
            "row. Exchange heads and tokens first. Try it with `torch.arange(8).reshape(1, 2, 2, 2)`.",
        ),
        WrongAnswer(
            "interleaved",
            lambda x: x.permute(0, 2, 3, 1).flatten(-2),
            "You put number 0 of all heads first, then number 1 of all heads. Each head's numbers stay together.",
        ),
        WrongAnswer(
            "added up",
            lambda x: x.sum(dim=1),
            "You added the heads. They are put side by side; the output projection after this mixes them.",
        ),
        WrongAnswer(
            "not flattened",
            lambda x: x.transpose(1, 2),
            "Heads and tokens are exchanged as they should be, but the heads are still a dimension of their own: join "
            "the last two with `.flatten(-2)` or `.reshape`.",
        ),
    ),
    cases=lambda draw: [
        (_counted(1, 2, 2, 1),),
        (_counted(1, 2, 2, 2),),
        (_counted(1, 1, 3, 2),),
        (_counted(2, 3, 1, 2),),
        (random_tensor(draw, 1, 3, 2, 2),),
        (random_tensor(draw, 2, 2, 3, 4),),
    ],
)


def repeat_heads(keys, times):
    """Every head `times` times in a row."""
    return keys.repeat_interleave(times, dim=1)


REPEAT_HEADS = Exercise(
    id="attention.repeat_heads",
    notebook=NOTEBOOK,
    statement=(
        "Grouped queries: the first `times` query heads use key head 0, the next `times` use key head 1, and so on. "
        "Expand `keys` (batch, kv_heads, tokens, dim) to (batch, kv_heads · times, tokens, dim) accordingly."
    ),
    difficulty=2,
    minutes=4,
    hints=(
        "With two key heads a, b and times = 2 the four query heads need a, a, b, b.",
        "torch has two functions that repeat: `repeat` gives a, b, a, b, and `repeat_interleave` gives a, a, b, b.",
    ),
    solution=repeat_heads,
    wrong=(
        WrongAnswer(
            "repeat",
            lambda keys, times: keys.repeat(1, times, 1, 1),
            "The heads come as a, b, a, b, but query heads 0 and 1 share key head a: a, a, b, b is needed. The shapes "
            "fit, and training from scratch would work, but a pretrained model talks nonsense. Use "
            "`repeat_interleave(times, dim=1)`.",
        ),
        WrongAnswer(
            "along the batch",
            lambda keys, times: keys.repeat_interleave(times, dim=0),
            "You repeated along dim=0, the batch. The heads are dim=1.",
        ),
        WrongAnswer(
            "along the tokens",
            lambda keys, times: keys.repeat_interleave(times, dim=2),
            "You repeated along dim=2: each query would see every token several times. The heads are dim=1.",
        ),
    ),
    cases=lambda draw: [
        (_counted(1, 2, 1, 1), 2),
        (_counted(1, 1, 2, 1), 3),
        (_counted(1, 2, 2, 1), 1),
        (_counted(1, 3, 1, 2), 2),
        (random_tensor(draw, 1, 2, 2, 2), 3),
        (random_tensor(draw, 2, 2, 3, 2), 2),
    ],
)


def cache_step(query, key, value, past_keys, past_values):
    """Append the new key and value, then let the new query attend to everything there is: no mask is needed."""
    keys = torch.cat([past_keys, key], dim=-2)
    values = torch.cat([past_values, value], dim=-2)
    weights = torch.softmax(query @ keys.transpose(-2, -1) / query.shape[-1] ** 0.5, dim=-1)
    return weights @ values, keys, values


def _one_more(query, key, value, past_keys, past_values):
    return cache_step(query, key, value, past_keys, past_values)[1:]


def _past_only(query, key, value, past_keys, past_values):
    weights = torch.softmax(query @ past_keys.transpose(-2, -1) / query.shape[-1] ** 0.5, dim=-1)
    return weights @ past_values, *_one_more(query, key, value, past_keys, past_values)


def _first_key_only(query, key, value, past_keys, past_values):
    keys, values = _one_more(query, key, value, past_keys, past_values)
    return values[..., :1, :], keys, values


def _not_scaled(query, key, value, past_keys, past_values):
    return cache_step(query * query.shape[-1] ** 0.5, key, value, past_keys, past_values)


def _not_kept(query, key, value, past_keys, past_values):
    return cache_step(query, key, value, past_keys, past_values)[0], past_keys, past_values


def _step(draw, past, dim, leading=(1,)):
    return tuple(random_tensor(draw, *leading, tokens, dim) for tokens in (1, 1, 1, past, past))


CACHE_STEP = Exercise(
    id="attention.cache_step",
    notebook=NOTEBOOK,
    statement=(
        "Causal attention for one new token: `query`, `key`, `value` are (..., 1, dim), `past_keys` and `past_values` "
        "(..., n, dim) hold the n tokens before it, n = 0 included. Return the tuple (output (..., 1, dim), all keys, "
        "all values), both with the new token at the end."
    ),
    difficulty=3,
    minutes=8,
    hints=(
        "The new token sees the whole past and itself. So first the cache grows, then the query attends to all of it.",
        "`keys = torch.cat([past_keys, key], dim=-2)`, the same for values; then scaled dot-product attention without "
        "any mask; return three things.",
    ),
    solution=cache_step,
    wrong=(
        WrongAnswer(
            "past only",
            _past_only,
            "The new token does not see itself: its key and value must be in the cache before it attends. In full "
            "recomputation the causal mask allows the diagonal, too.",
        ),
        WrongAnswer(
            "first key only",
            _first_key_only,
            "Your query looks at the very first key only. A causal mask for 1 query and n + 1 keys that starts in the "
            "upper left corner (torch's `is_causal=True`) does that. The newest token needs no mask at all.",
        ),
        WrongAnswer(
            "new token in front",
            lambda query, key, value, past_keys, past_values: cache_step(query, past_keys, past_values, key, value),
            "The new token is in front of the past. The output does not show it, since attention knows no order, but "
            "the next step, and every position taken from the cache, would be wrong.",
        ),
        WrongAnswer(
            "not scaled",
            _not_scaled,
            "The scores were not divided by √dim. The step must give what full recomputation gives, scale included.",
        ),
        WrongAnswer(
            "nothing kept",
            _not_kept,
            "The output is right, but you return the old keys and values: the next token would not see this one.",
        ),
    ),
    cases=lambda draw: [
        (
            double([[1.0, 0.0]]),
            double([[2.0, 0.0]]),
            double([[3.0, 4.0]]),
            torch.zeros(0, 2).double(),
            torch.zeros(0, 2).double(),
        ),
        (double([[2.0]]), double([[1.0]]), double([[8.0]]), double([[0.0]]), double([[4.0]])),
        (double([[2.0, 0.0]]), double([[1.0, 0.0]]), double([[8.0, 0.0]]), double([[0.0, 1.0]]), double([[0.0, 4.0]])),
        _step(draw, 1, 2),
        _step(draw, 2, 3),
        _step(draw, 4, 4, leading=(2, 2)),
    ],
)
