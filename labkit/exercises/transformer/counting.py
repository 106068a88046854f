"""Exercises on counting: parameters of a block, FLOPs of a training step, bytes of a cache."""

from labkit.exercises.transformer.norms import NOTEBOOK, REAL_WEIGHTS
from labkit.workbench.checking import Exercise, WrongAnswer


def block_parameters(width, heads, kv_heads, hidden):
    """Query and output are square; keys and values are narrower; three matrices feed forward; two norms."""
    kv_width = kv_heads * (width // heads)
    attention = 2 * width * width + 2 * width * kv_width
    return attention + 3 * width * hidden + 2 * width


def _blocks(draw):
    for _ in range(4):
        kv_heads, group, dim = (int(n) for n in draw.integers(2, 5, 3))
        heads = kv_heads * group
        yield heads * 2 * dim, heads, kv_heads, 8 * int(draw.integers(3, 30))


BLOCK_PARAMETERS = Exercise(
    id="transformer.block_parameters",
    notebook=NOTEBOOK,
    statement=(
        "How many parameters has one block of the Llama family? No biases; `heads` query heads and `kv_heads` key and "
        "value heads of width // heads numbers each; an output projection; SwiGLU with `hidden` units; two RMSNorms."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "List the matrices: four in attention, three in SwiGLU. The key heads together are how many numbers wide?",
        "Query and output: width · width each. Key and value: width · kv_heads · (width // heads) each. Gate, up and "
        "down: width · hidden each. A norm: width.",
    ),
    solution=block_parameters,
    wrong=(
        WrongAnswer(
            "keys and values in full",
            lambda width, heads, kv_heads, hidden: 4 * width * width + 3 * width * hidden + 2 * width,
            "You gave keys and values as many heads as the queries. With grouped queries their projections are "
            "kv_heads · (width // heads) wide.",
        ),
        WrongAnswer(
            "two matrices in the feed-forward part",
            lambda width, heads, kv_heads, hidden: block_parameters(width, heads, kv_heads, hidden) - width * hidden,
            "One matrix of width · hidden is missing: SwiGLU has three, gate, up and down.",
        ),
        WrongAnswer(
            "no output projection",
            lambda width, heads, kv_heads, hidden: block_parameters(width, heads, kv_heads, hidden) - width * width,
            "The output projection of attention is missing: width · width, whatever kv_heads is.",
        ),
        WrongAnswer(
            "no norms",
            lambda width, heads, kv_heads, hidden: block_parameters(width, heads, kv_heads, hidden) - 2 * width,
            "The weights of the two norms are missing: width each.",
        ),
        WrongAnswer(
            "norms with biases",
            lambda width, heads, kv_heads, hidden: block_parameters(width, heads, kv_heads, hidden) + 2 * width,
            "You gave each norm a bias, as LayerNorm has. RMSNorm has a weight only: width numbers.",
        ),
        WrongAnswer(
            "heads of one number",
            lambda width, heads, kv_heads, hidden: (
                2 * width * width + 2 * width * kv_heads + 3 * width * hidden + 2 * width
            ),
            "You took the number of key heads for their width. Each head is width // heads numbers wide.",
        ),
    ),
    cases=lambda draw: [(4, 2, 1, 8), (4, 2, 2, 8), *_blocks(draw)],
)


def step_flops(parameters, layers, width, context, batch):
    """Six for each parameter and token, and twelve for each token's scores and averages in each layer."""
    tokens = batch * context
    return 6 * parameters * tokens + 12 * layers * width * context * tokens


def _attention_term(layers, width, context, batch):
    return 12 * layers * width * context * batch * context


STEP_FLOPS = Exercise(
    id="transformer.step_flops",
    notebook=NOTEBOOK,
    statement=(
        "Return the FLOPs of one training step, forward and backward, for `batch` sequences of `context` tokens: the "
        "6ND rule for `parameters` (N), plus, in each layer, the products of attention that have no parameters, Q Kᵀ "
        "and P V, whose heads are `width` wide together. Nothing is recomputed, and nothing deducted for causality."
    ),
    difficulty=2,
    minutes=8,
    hints=(
        "A product of an a × b and a b × c matrix costs 2abc FLOPs; the backward pass costs twice the forward pass. D "
        "is the number of all tokens of the step. What do Q Kᵀ and P V cost for one token in one layer?",
        "Forward, each of the two products costs 2 · context · width for each token and layer. So with tokens = batch "
        "· context the result is tokens · (6 · parameters + 12 · layers · width · context).",
    ),
    solution=step_flops,
    wrong=(
        WrongAnswer(
            "no attention term",
            lambda parameters, layers, width, context, batch: 6 * parameters * batch * context,
            "Scores and averages are products without parameters, so 6ND does not see them. Add the attention term.",
        ),
        WrongAnswer(
            "forward only",
            lambda parameters, layers, width, context, batch: (
                step_flops(parameters, layers, width, context, batch) // 3
            ),
            "That is the forward pass. The backward pass makes two products for each one of the forward pass: three "
            "times as much in all.",
        ),
        WrongAnswer(
            "forward for attention",
            lambda parameters, layers, width, context, batch: (
                6 * parameters * batch * context + _attention_term(layers, width, context, batch) // 3
            ),
            "Your attention term is the forward pass only, 4 · layers · width · context for each token. It is trained "
            "through, too: 12.",
        ),
        WrongAnswer(
            "attention once per sequence",
            lambda parameters, layers, width, context, batch: (
                6 * parameters * batch * context + _attention_term(layers, width, context, batch) // context
            ),
            "Your attention term is for one token of each sequence. Every token attends to the whole context: it grows "
            "with the square of the context.",
        ),
        WrongAnswer(
            "one sequence",
            lambda parameters, layers, width, context, batch: step_flops(parameters, layers, width, context, 1),
            "That is for one sequence. D is the number of all tokens of the step: batch · context.",
        ),
        WrongAnswer(
            "multiply-adds",
            lambda parameters, layers, width, context, batch: (
                step_flops(parameters, layers, width, context, batch) // 2
            ),
            "You counted a multiplication with its addition as one. The convention counts two FLOPs.",
        ),
    ),
    cases=lambda draw: [
        (10, 1, 2, 5, 1),
        (100, 2, 4, 3, 2),
        *(
            (1000 * int(n), int(layers), 8 * int(width), 2 * int(context), int(batch))
            for n, layers, width, context, batch in draw.integers(2, 40, (4, 5))
        ),
    ],
)


def cache_bytes(layers, kv_heads, head_dim, batch, tokens, bytes_per_number):
    """A key and a value for each layer, head, sequence and token."""
    return 2 * layers * kv_heads * head_dim * batch * tokens * bytes_per_number


CACHE_BYTES = Exercise(
    id="transformer.cache_bytes",
    notebook=REAL_WEIGHTS,
    statement=(
        "Return the bytes of the key-value cache of a model with `layers` layers and `kv_heads` key heads of "
        "`head_dim` numbers, for `batch` sequences of `tokens` tokens."
    ),
    difficulty=1,
    minutes=4,
    hints=(
        "What is kept for one token, in one layer? A vector for each head, and not of one kind only.",
        "2 (keys and values) · layers · kv_heads · head_dim · batch · tokens · bytes_per_number.",
    ),
    solution=cache_bytes,
    wrong=(
        WrongAnswer(
            "keys only",
            lambda layers, kv_heads, head_dim, batch, tokens, bytes_per_number: (
                layers * kv_heads * head_dim * batch * tokens * bytes_per_number
            ),
            "That is half of it: the values are kept as well as the keys.",
        ),
        WrongAnswer(
            "one layer",
            lambda layers, kv_heads, head_dim, batch, tokens, bytes_per_number: (
                2 * kv_heads * head_dim * batch * tokens * bytes_per_number
            ),
            "That is one layer. Each layer makes its own keys and values, and needs a cache of its own.",
        ),
        WrongAnswer(
            "one sequence",
            lambda layers, kv_heads, head_dim, batch, tokens, bytes_per_number: (
                2 * layers * kv_heads * head_dim * tokens * bytes_per_number
            ),
            "That is for one sequence. Sequences of a batch share no keys: multiply by batch.",
        ),
        WrongAnswer(
            "square of the tokens",
            lambda layers, kv_heads, head_dim, batch, tokens, bytes_per_number: (
                2 * layers * kv_heads * head_dim * batch * tokens**2 * bytes_per_number
            ),
            "The cache grows with the tokens, not with their square: the weights of a step are not kept.",
        ),
        WrongAnswer(
            "numbers",
            lambda layers, kv_heads, head_dim, batch, tokens, bytes_per_number: (
                2 * layers * kv_heads * head_dim * batch * tokens
            ),
            "That is how many numbers there are. Multiply by `bytes_per_number`.",
        ),
        WrongAnswer(
            "one head",
            lambda layers, kv_heads, head_dim, batch, tokens, bytes_per_number: (
                2 * layers * head_dim * batch * tokens * bytes_per_number
            ),
            "That is for one key head. Each of the `kv_heads` heads keeps vectors of `head_dim` numbers.",
        ),
    ),
    cases=lambda draw: [
        (1, 1, 1, 1, 1, 2),
        (3, 5, 2, 7, 11, 4),
        *(
            (int(layers), int(kv_heads), 8 * int(dim), int(batch), int(tokens), int(2 * half))
            for layers, kv_heads, dim, batch, tokens, half in draw.integers(
                (2, 2, 1, 2, 9, 1), (33, 9, 9, 9, 99, 3), (4, 6)
            )
        ),
    ],
)
