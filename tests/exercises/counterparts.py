"""What labkit itself has for an exercise: a function of the package that must pass the exercise's own check.

An entry names what of the package is used, and a function that puts arguments and answer into the shape of
the exercise. What is the exercise already, argument by argument, stands in `DIRECT`. Where the package has
nothing, without_counterpart.py gives the reason.
"""

import importlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from labkit.workbench.later import Later
from tests.exercises.counterparts_of_systems import SYSTEMS
from tests.exercises.counterparts_of_training import TRAINING

torch = Later("torch")

DIRECT = {
    "attention.stable_softmax": "attention.softmax.softmax",
    "attention.softmax_backward": "attention.softmax.softmax_backward",
    "attention.cross_entropy": "attention.softmax.cross_entropy",
    "attention.cross_entropy_gradient": "attention.softmax.cross_entropy_gradient",
    "attention.attend": "attention.dot_product.attention",
    "attention.causal_mask": "attention.masks.causal_mask",
    "attention.merge_heads": "attention.multihead.merge_heads",
    "attention.rotate": "attention.positions.rotate",
    "attention.repeat_heads": "attention.dot_product.repeat_heads",
    "transformer.layer_norm": "transformer.norms.layer_norm",
    "transformer.rms_norm": "transformer.norms.rms_norm",
    "transformer.gelu": "transformer.feedforward.gelu",
    "optimizers.soft_threshold": "optimizers.priors.soft_threshold",
    "training.smoothed_loss": "training.regularisation.smoothed_cross_entropy",
    "cleaning.weighted_mod_11": "cleaning.checksums.chinese_id_character",
    "compression.pareto_front": "compression.combined.pareto_front",
    "zero.subword_labels": "zero.token_classification.first_tokens",
}


def _direct(function: Callable, *case: Any) -> Any:
    return function(*case)


def _markov(hmm: Any, start: Any, transition: Any, emission: Any) -> Any:
    """A model that says "before" in every state, and then "now" with the probabilities of `emission`."""
    states, total = tuple(map(str, range(len(start)))), start.sum()
    seen = np.stack([np.full(len(start), 0.5), emission / 2, (1 - emission) / 2], axis=1)
    rows = transition / transition.sum(axis=1, keepdims=True)
    return hmm.HiddenMarkovModel(states, ("before", "now", "other"), start / total, rows, seen), total * 4


def _forward_step(hmm, alpha, transition, emission):
    model, factor = _markov(hmm, alpha, transition, emission)
    return np.exp(hmm.forward(model, ["before", "now"])[1]) * factor


def _three_discounts(f, n1, n2, n3, n4):
    counts = np.repeat([1, 2, 3, 4], [n1, n2, n3, n4])
    none = np.zeros(len(counts), dtype=np.int64)
    start, first = np.array([0, len(counts)]), np.zeros(len(counts), dtype=bool)
    level = importlib.import_module("labkit.ngrams.counting").Level(
        1, none, none, none, counts, counts, start, first, len(counts)
    )
    return f().discounts(level)[1:].tolist()


def _value_gradients(f, grad, weights, value):
    """Logarithms of the weights are scores whose softmax they are, and the identity as keys leaves them alone."""
    identity = torch.eye(weights.shape[-1], dtype=weights.dtype).expand(*weights.shape[:-2], -1, -1)
    found = f(grad, weights.log().clamp(min=-700), identity, value, scale=1.0)
    return found.value, found.weights


def _causal_tiles(f, n, tile):
    tiles = f(torch.zeros(1, n, 1), torch.zeros(1, n, 1), True, 1.0, tile)
    return sum(len(list(tiles.columns(rows))) for rows in tiles.rows())


def _greedy(f, model, ids, tokens):
    for _ in range(tokens):
        ids = torch.cat([ids, f(model(ids)[:, -1].double())[:, None]], dim=1)
    return ids


def _block_parameters(counting, width, heads, kv_heads, hidden):
    config = importlib.import_module("labkit.transformer.config").Config
    sizes = {"heads": heads, "width": width, "kv_heads": kv_heads, "hidden": hidden}
    model = config(8, 8, layers=1, **sizes, norm="rms", activation="swiglu", positions="none", bias=False)
    parts = counting.parameters(model)
    return parts["attention"] + parts["feedforward"] + parts["norms"] - width  # less the norm at the end


def _windows(f, ids, context):
    count = (len(ids) - 1) // context
    if not count:
        return ids.new_zeros(0, context), ids.new_zeros(0, context)
    return next(iter(f(ids[: count * context + 1], context, context, count)))


def _cache_step(f, query, key, value, past_keys, past_values):
    keys, values = torch.cat([past_keys, key], -2), torch.cat([past_values, value], -2)
    return f(query, keys, values, causal=True), keys, values


def _swiglu(f, x, gate, up, down):
    return (f(x @ gate.T) * (x @ up.T)) @ down.T


def _compute_optimal(chinchilla, flops, a, b, alpha, beta):
    found = chinchilla.compute_optimal(flops, chinchilla.Constants(1.0, a, b, alpha, beta, "an exercise"))
    return found.parameters, found.tokens


def _cache_bytes(counting, layers, kv_heads, head_dim, batch, tokens, size):
    config = importlib.import_module("labkit.transformer.config").Config
    model = config(16, 16, layers=layers, heads=kv_heads, width=kv_heads * head_dim)
    return counting.cache_bytes(model, batch, tokens, size)


ADAPTED = {
    "ngrams.bigrams": ("ngrams.vocabulary.pad", lambda f, sentence: list(pairwise(f(sentence)))),
    "ngrams.relative_frequency": (
        "ngrams.smoothing.ratio",
        lambda f, pairs, before, word: f(
            np.array([pairs.get((before, word), 0)]),
            np.array([sum(count for (first, _), count in pairs.items() if first == before)]),
            empty=0.0,
        )[0],
    ),
    "ngrams.forward_step": ("ngrams.hmm", _forward_step),
    "attention.padding_mask": ("attention.masks.padding_mask", lambda f, lengths, keys: ~f(lengths, keys)[:, 0, 0]),
    "attention.masked_weights": ("attention.softmax.softmax", lambda f, s, may: f(s.masked_fill(~may, -torch.inf))),
    "attention.sinusoidal": ("attention.positions.sinusoidal", _direct),
    "attention.value_gradients": ("attention.dot_product.attention_backward", _value_gradients),
    "attention.causal_tiles": ("attention.tiled.Tiles", _causal_tiles),
    "ngrams.three_discounts": ("ngrams.smoothing.ModifiedKneserNey", _three_discounts),
    "transformer.layer_norm_backward": ("transformer.norms.layer_norm_backward", lambda f, *case: f(*case)[0]),
    "transformer.greedy": ("transformer.generation.choose", _greedy),
    "transformer.block_parameters": ("transformer.counting", _block_parameters),
    "transformer.cache_bytes": ("transformer.counting", _cache_bytes),
    "pretraining.nucleus": ("transformer.generation.nucleus", lambda f, p, share: f(p.log(), share).softmax(-1)),
    "pretraining.power_law_exponent": (
        "pretraining.scaling.power_law",
        lambda f, x1, y1, x2, y2: f([x1, x2, float(np.sqrt(x1 * x2))], [y1, y2, float(np.sqrt(y1 * y2))]).exponent,
    ),
    "pretraining.compute_optimal": ("pretraining.chinchilla", _compute_optimal),
    "pretraining.windows": ("pretraining.measuring.sliding_windows", _windows),
    "attention.cache_step": ("attention.dot_product.attention", _cache_step),
    "transformer.swiglu": ("transformer.feedforward.swish", _swiglu),
    "transformer.next_probabilities": (
        "transformer.generation.truncate",
        lambda f, logits, temperature, k: f(logits / temperature, k).softmax(-1),
    ),
    "pretraining.top_k": (
        "transformer.generation.truncate",
        lambda f, logits, k: f(logits, min(k, logits.shape[-1])),
    ),
}
COUNTERPARTS = {exercise: (path, _direct) for exercise, path in DIRECT.items()} | ADAPTED | TRAINING | SYSTEMS


def counterpart(exercise_id: str) -> Callable:
    """Give the package's answer to an exercise, as a function of the exercise's arguments."""
    path, adapted = COUNTERPARTS[exercise_id]
    try:
        used = importlib.import_module(f"labkit.{path}")
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        used = getattr(importlib.import_module(f"labkit.{module}"), name)
    return lambda *case: adapted(used, *case)
