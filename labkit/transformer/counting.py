"""What a transformer costs, by formula: parameters, arithmetic, memory for training and memory for generating.

Every formula is checked against the built module: parameters against its tensors, arithmetic against torch's own
counter, memory against what autograd keeps, to the byte. So they hold for shapes that no machine here could build.
"""

from dataclasses import replace

from torch import nn

from labkit.transformer.config import Config
from labkit.transformer.loss import LOGITS_AT_ONCE, ROWS_AT_LEAST

KINDS = ("decoder", "encoder", "encoder_decoder")


def count(module: nn.Module) -> int:
    """The parameters a module has, each once, however many names a tied one has.

    >>> count(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in module.parameters())


def parameters(config: Config, kind: str = "decoder") -> dict[str, int]:
    """The parameters of a `Decoder`, an `Encoder` or an `EncoderDecoder`, part by part; their sum is the model's size.

    Attention has four matrices of width × (heads · head_dim), where keys and values may have fewer heads; the
    feed-forward layer has two of width × hidden, SwiGLU three. Parts that a model does not have are left out.

    Raises:
        ValueError: for another kind of model.
    Source: Kaplan et al. (2020), "Scaling laws for neural language models", table 1 (without biases and norms).

    >>> parameters(Config(vocabulary=10, context=4, layers=1, heads=1, width=2, bias=False))
    {'tokens': 20, 'positions': 8, 'attention': 16, 'feedforward': 32, 'norms': 6}
    """
    _check_kind(kind)
    crossing = config.layers if kind == "encoder_decoder" else 0  # blocks that look at an encoder's result
    blocks = config.layers + crossing
    width, vocabulary = config.width, config.vocabulary
    parts = {
        "tokens": vocabulary * width,
        "positions": config.context * width if config.positions == "learned" else 0,
        "segments": config.segments * width if kind == "encoder" else 0,
        "attention": blocks * _attention_parameters(config),
        "cross_attention": crossing * _attention_parameters(config),
        "feedforward": blocks * _feedforward_parameters(config),
        "norms": _norms(config, kind) * _norm_parameters(config),
        "pooler": width * width + width if kind == "encoder" and config.pooler else 0,
        "head": 0 if config.tied or kind == "encoder" else vocabulary * width,
    }
    return {part: number for part, number in parts.items() if number}


def _attention_parameters(config: Config) -> int:
    ours, theirs = config.heads * config.head_dim, config.kv_heads * config.head_dim
    biases = ours + 2 * theirs + config.width if config.bias else 0
    return config.width * (ours + 2 * theirs) + ours * config.width + biases


def _feedforward_parameters(config: Config) -> int:
    into = 2 if config.activation == "swiglu" else 1
    biases = into * config.hidden + config.width if config.bias else 0
    return (into + 1) * config.width * config.hidden + biases


def _norm_parameters(config: Config) -> int:
    return config.width * (2 if config.norm == "layer" and config.bias else 1)


def _norms(config: Config, kind: str) -> int:
    """How many norms a model has: one per sublayer, and one at each end of a pre-norm stack (at its start for BERT)."""
    sublayers = config.layers * {"decoder": 2, "encoder": 2, "encoder_decoder": 5}[kind]
    ends = 2 if kind == "encoder_decoder" else 1
    return sublayers + (ends if config.norm_first or kind == "encoder" else 0)


def flops(
    config: Config, batch: int, tokens: int, kind: str = "decoder", source_tokens: int | None = None
) -> dict[str, int]:
    """The floating-point operations of one forward pass, part by part: two for each multiply-and-add of its products.

    What is no matrix product (norms, softmax, bends) is left out, as everywhere in the literature: it costs time, but
    hardly arithmetic. Scores are counted for all pairs of tokens, as a kernel without tiles computes them; a causal
    kernel that skips what is masked does half. A training step costs three times as much: see `training_flops`.

    Args:
        source_tokens: length of what an encoder–decoder reads; `tokens` if left out, which it writes.

    Raises:
        ValueError: for another kind of model.
    Source: Kaplan et al. (2020), section 2.1 and table 1.
    """
    _check_kind(kind)
    rows, width = batch * tokens, config.width
    parts = dict.fromkeys(("projections", "scores", "feedforward"), 0)
    _add_blocks(parts, config, batch, tokens)
    if kind == "encoder_decoder":
        source = tokens if source_tokens is None else source_tokens
        _add_blocks(parts, config, batch, source)
        ours, theirs = config.heads * config.head_dim, config.kv_heads * config.head_dim
        crossing = rows * 2 * ours + batch * source * 2 * theirs  # queries and output; keys and values
        parts["projections"] += config.layers * 2 * width * crossing
        parts["scores"] += config.layers * 4 * batch * tokens * source * ours
    if kind != "encoder":
        parts["head"] = 2 * rows * width * config.vocabulary
    return parts


def _add_blocks(parts: dict[str, int], config: Config, batch: int, tokens: int) -> None:
    """Add one stack of blocks without cross-attention."""
    rows, width = batch * tokens, config.width
    ours, theirs = config.heads * config.head_dim, config.kv_heads * config.head_dim
    matrices = 3 if config.activation == "swiglu" else 2
    parts["projections"] += config.layers * 2 * rows * width * (2 * ours + 2 * theirs)
    parts["scores"] += config.layers * 2 * 2 * batch * tokens * tokens * ours  # Q Kᵀ and P V
    parts["feedforward"] += config.layers * 2 * rows * width * config.hidden * matrices


def training_flops(config: Config, batch: int, tokens: int, kind: str = "decoder") -> int:
    """The floating-point operations of one training step: a product in the forward pass makes two in the backward pass.

    One gives the gradient of what came in, one that of the weight.
    Source: Kaplan et al. (2020), section 2.1.
    """
    return 3 * sum(flops(config, batch, tokens, kind).values())


def rule_of_six(parameters: float | int, tokens: float | int) -> float | int:
    """6 N D: the arithmetic of training N parameters on D tokens, without the scores of attention.

    Each weight is multiplied and added once per token forward, twice backward: six operations. With N without
    embeddings (the head is a product all the same) and short contexts it is within a few per cent of `training_flops`.

    Source: Kaplan et al. (2020), section 2.1; Brown et al. (2020), appendix D.

    >>> f"{rule_of_six(174_600e6, 300e9):.2e}"  # GPT-3
    '3.14e+23'
    """
    return 6 * parameters * tokens


def cache_bytes(config: Config, batch: int, tokens: int, bytes_per_number: int = 4) -> int:
    """What a key-value cache of so many tokens takes: a key and a value for each layer, head of keys, and token.

    Source: Pope et al. (2022), "Efficiently scaling transformer inference", section 2.1.

    >>> cache_bytes(Config(50_272, 2048, layers=40, heads=40, width=5120), batch=1, tokens=1, bytes_per_number=2)
    819200
    """
    return 2 * config.layers * batch * config.kv_heads * tokens * config.head_dim * bytes_per_number


def activation_bytes(config: Config, batch: int, tokens: int, bytes_per_number: int = 4) -> dict[str, int]:
    """What the forward pass of `Decoder.loss` keeps for the backward pass, part by part, for the config's kernel.

    A product keeps what it was given, to find the gradient of its weight; a norm its input and its statistics; GELU
    its input; softmax its result. Only "plain" attention keeps matrices of tokens × tokens, and `scores` outgrows the
    rest. Weights are not counted; dropout must be 0; all numbers are of one type, float32 or float64; with a single
    sequence or head torch copies a little less.

    Raises:
        ValueError: for a kernel of which nothing is known here, or with dropout.
    Source: Korthikanti et al. (2022), "Reducing activation recomputation in large transformer models", section 4.1.
    """
    if config.dropout:
        raise ValueError(f"activation_bytes counts without dropout, got dropout={config.dropout}")
    if config.kernel not in _KEPT_BY_ATTENTION:
        raise ValueError(f"activation_bytes knows the kernels {', '.join(_KEPT_BY_ATTENTION)}, got {config.kernel!r}")
    rows = batch * tokens
    attention, scores, mask = _KEPT_BY_ATTENTION[config.kernel](config, batch, tokens)
    angles = 2 * tokens * config.head_dim if config.positions == "rotary" else 0  # cos and sin for queries and keys
    entering = rows * config.width  # what each of the two sublayers is given
    norms = 2 * config.layers + (1 if config.norm_first else 0)
    hidden = {"relu": 1, "swiglu": 4}.get(config.activation, 2) * rows * config.hidden
    numbers = {
        "norms": norms * _kept_by_norm(config, rows),
        "attention": config.layers * (entering + attention + angles),
        "scores": config.layers * scores,
        "feedforward": config.layers * (entering + hidden),
        "loss": rows * config.width + config.vocabulary * config.width,  # gradients: see `next_token_loss`
    }
    parts = {part: number * bytes_per_number for part, number in numbers.items()}
    parts["scores"] += config.layers * mask
    places = tokens if config.positions == "learned" else 0
    return {"ids": 8 * (rows + places), **parts}


def training_bytes(config: Config, batch: int, tokens: int, bytes_per_number: int = 4) -> dict[str, int]:
    """What training a `Decoder` with Adam takes at the most, part by part: what stays, what a step keeps, what passes.

    Four numbers for each parameter (itself, its gradient, Adam's two averages), what the forward pass keeps, one mask
    for each dropout and two matrices of tokens × tokens for that of attention, and the logits of one chunk. So it is on
    a CPU; a GPU's masks take a byte per number, and its fused kernels keep no matrix.

    Source: Rajbhandari et al. (2020), "ZeRO", section 3.1; Korthikanti et al. (2022), section 4.1.

    >>> sum(training_bytes(Config(64, 128, layers=8, heads=8, width=512, positions="rotary"), 8, 128).values()) // 10**6
    728
    """
    size = sum(parameters(config).values()) * bytes_per_number
    stream, matrices = batch * tokens * config.width, batch * config.heads * tokens**2
    dropped = stream + config.layers * 2 * (stream + matrices) if config.dropout else 0
    chunk = min(batch * tokens, max(ROWS_AT_LEAST, LOGITS_AT_ONCE // config.vocabulary))
    return {
        "weights": size,
        "gradients": size,
        "averages": 2 * size,
        "activations": sum(activation_bytes(replace(config, dropout=0.0), batch, tokens, bytes_per_number).values()),
        "dropout": dropped * bytes_per_number,
        "logits": 2 * chunk * config.vocabulary * bytes_per_number,
    }


def _kept_by_norm(config: Config, rows: int) -> int:
    """Layer norm: its input, a mean and a deviation per token; RMS norm: input, normalised input, one root."""
    return rows * (config.width + 2) if config.norm == "layer" else rows * (2 * config.width + 1)


def _plain(config: Config, batch: int, tokens: int) -> tuple[int, int, int]:
    """Numbers kept: queries, keys, values and their mean; exponentials and weights; and bytes of the mask."""
    vectors = 4 * batch * tokens * config.heads * config.head_dim
    return vectors, batch * config.heads * tokens * (2 * tokens + 1), tokens * tokens


def _fused(config: Config, batch: int, tokens: int) -> tuple[int, int, int]:
    """Queries, keys, values, their mean, and one log-sum-exp for each query.

    Views of the projection keep all of it alive; turned queries and keys are new, and they change the layout of the
    result, so that merging its heads makes a copy.
    """
    ours, theirs = config.heads * config.head_dim, config.kv_heads * config.head_dim
    vectors = ours + 2 * theirs + ours
    if config.positions == "rotary":
        vectors += ours + theirs + ours
    return batch * tokens * vectors, batch * config.heads * tokens, 0


def _tiled(config: Config, batch: int, tokens: int) -> tuple[int, int, int]:
    """As `_fused`, but keys and values that several heads share are repeated, and repeated ones are copies."""
    ours, theirs = config.heads * config.head_dim, config.kv_heads * config.head_dim
    if ours == theirs:
        return _fused(config, batch, tokens)
    vectors = 3 * ours + (2 * ours if config.positions == "rotary" else ours + 2 * theirs)
    return batch * tokens * vectors, batch * config.heads * tokens, 0


_KEPT_BY_ATTENTION = {"plain": _plain, "fused": _fused, "tiled": _tiled}


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
