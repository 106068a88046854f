"""What the formulas of labkit.transformer.counting say is what the built modules have, do and keep."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from labkit.attention import saved_bytes
from labkit.transformer import Config, Decoder, Encoder, EncoderDecoder
from labkit.transformer.counting import (
    activation_bytes,
    cache_bytes,
    count,
    flops,
    parameters,
    rule_of_six,
    training_flops,
)

SIZES = {"vocabulary": 50, "context": 24, "layers": 2, "heads": 4, "width": 32, "kernel": "plain"}
LLAMA = {"norm": "rms", "activation": "swiglu", "positions": "rotary", "kv_heads": 2, "bias": False, "tied": False}
VARIANTS = [
    {},
    LLAMA,
    {"positions": "sinusoidal", "activation": "relu", "norm_first": False},
    {"positions": "none", "head_dim": 6, "hidden": 72},
    {"norm": "rms", "norm_first": False, "kv_heads": 1},
    {"bias": False, "tied": False, "rotary_layout": "interleaved", "positions": "rotary"},
]
MODELS = {"decoder": Decoder, "encoder": Encoder, "encoder_decoder": EncoderDecoder}
BATCH, TOKENS = 3, 16


def ids(tokens=TOKENS):
    return torch.randint(50, (BATCH, tokens), generator=torch.Generator().manual_seed(0))


def counted(run):
    """Floating-point operations of the matrix products in a call, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_parts_add_up_to_the_parameters_of_the_module(kind, variant):
    config = Config(**SIZES, **variant)
    assert sum(parameters(config, kind).values()) == count(MODELS[kind](config))


def test_segments_and_pooler_are_counted_where_there_are_any():
    config = Config(**SIZES, norm_first=False, segments=2, pooler=True)
    parts = parameters(config, "encoder")
    assert parts["segments"] == 2 * 32 and parts["pooler"] == 32 * 32 + 32
    assert sum(parts.values()) == count(Encoder(config))


def test_the_parameters_of_a_tiny_decoder_by_hand():
    parts = parameters(Config(vocabulary=7, context=5, layers=1, heads=2, width=4))
    attention = (4 * 12 + 12) + (4 * 4 + 4)
    feedforward = (4 * 16 + 16) + (16 * 4 + 4)
    assert parts == {"tokens": 28, "positions": 20, "attention": attention, "feedforward": feedforward, "norms": 3 * 8}


def test_each_part_is_that_part_of_the_module():
    model = Decoder(Config(**SIZES, **LLAMA))
    parts = parameters(model.config)
    assert parts["attention"] == sum(count(block.attention) for block in model.blocks)
    assert parts["feedforward"] == sum(count(block.feedforward) for block in model.blocks)
    assert parts["head"] == count(model.head) and parts["tokens"] == count(model.tokens)


def test_without_embeddings_biases_and_norms_a_block_has_twelve_width_squared():
    parts = parameters(Config(50, 24, layers=3, heads=4, width=64, bias=False))
    assert parts["attention"] + parts["feedforward"] == 12 * 3 * 64**2


def test_a_tied_head_counts_once():
    tied, untied = (count(Decoder(Config(**SIZES, tied=tied))) for tied in (True, False))
    assert untied - tied == 50 * 32


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_flops_of_a_decoder_are_those_that_torch_counts(variant):
    model = Decoder(Config(**SIZES, **variant))
    assert sum(flops(model.config, BATCH, TOKENS).values()) == counted(lambda: model(ids()))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_training_step_costs_three_forward_passes(variant):
    model = Decoder(Config(**SIZES, **variant))
    assert training_flops(model.config, BATCH, TOKENS) == counted(lambda: model(ids()).sum().backward())


def test_flops_of_an_encoder_and_an_encoder_decoder():
    config = Config(**SIZES, kv_heads=2)
    encoder, both = Encoder(config), EncoderDecoder(config)
    assert sum(flops(config, BATCH, TOKENS, "encoder").values()) == counted(lambda: encoder(ids()))
    expected = flops(config, BATCH, TOKENS, "encoder_decoder", source_tokens=9)
    assert sum(expected.values()) == counted(lambda: both(ids(9), ids()))
    learning = counted(lambda: both(ids(), ids()).sum().backward())
    assert training_flops(config, BATCH, TOKENS, "encoder_decoder") == learning
    assert flops(config, BATCH, TOKENS, "encoder_decoder") == flops(config, BATCH, TOKENS, "encoder_decoder", TOKENS)


def test_flops_of_one_layer_by_hand():
    config = Config(vocabulary=7, context=5, layers=1, heads=2, width=4)
    assert flops(config, batch=1, tokens=3) == {
        "projections": 2 * 3 * (4 * 12 + 4 * 4),
        "scores": 2 * (2 * 3 * 3 * 4),
        "feedforward": 2 * 3 * (4 * 16 + 16 * 4),
        "head": 2 * 3 * 4 * 7,
    }


@given(layers=st.integers(1, 60), width=st.sampled_from([512, 1024, 4096]), tokens=st.sampled_from([64, 256, 512]))
def test_six_n_d_is_training_without_scores(layers, width, tokens):
    config = Config(50_257, 2048, layers=layers, heads=width // 64, width=width, bias=False, positions="none")
    parts = parameters(config)
    multiplied = parts["tokens"] + parts["attention"] + parts["feedforward"]  # the embedding is the head
    scores = 3 * flops(config, 1, tokens)["scores"]
    assert rule_of_six(multiplied, tokens) == training_flops(config, 1, tokens) - scores


def test_scores_outgrow_the_rest_at_six_widths():
    config = Config(1, 10**6, layers=2, heads=4, width=64, bias=False)
    parts = flops(config, 1, 6 * 64)
    assert parts["scores"] == parts["projections"] + parts["feedforward"]


@pytest.mark.parametrize("kernel", ["plain", "fused", "tiled"])
@pytest.mark.parametrize("variant", [*VARIANTS, {"activation": "gelu_tanh"}, {**LLAMA, "kv_heads": 4}], ids=str)
def test_activation_bytes_are_what_autograd_keeps(kernel, variant):
    model = Decoder(Config(**{**SIZES, **variant, "kernel": kernel}))
    assert sum(activation_bytes(model.config, BATCH, TOKENS).values()) == saved_bytes(model.loss, ids(), ids())


def test_activation_bytes_in_double_precision():
    model = Decoder(Config(**SIZES)).double()
    expected = activation_bytes(model.config, BATCH, TOKENS, bytes_per_number=8)
    assert sum(expected.values()) == saved_bytes(model.loss, ids(), ids())


def test_only_plain_attention_keeps_a_square_of_the_tokens():
    config = Config(**{**SIZES, "context": 1 << 20})
    for kernel, growth in {"plain": 4, "tiled": 2, "fused": 2}.items():
        once, twice = (activation_bytes(replace(config, kernel=kernel), 2, n)["scores"] for n in (1 << 18, 1 << 19))
        assert twice / once == pytest.approx(growth, rel=1e-4)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_cache_bytes_are_those_of_the_cache(variant):
    model = Decoder(Config(**SIZES, **variant))
    assert cache_bytes(model.config, 5, 12) == sum(cache.bytes for cache in model.new_cache(5, 12))
    half = model.to(torch.bfloat16)
    assert cache_bytes(model.config, 5, 12, bytes_per_number=2) == sum(cache.bytes for cache in half.new_cache(5, 12))


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: parameters(Config(**SIZES), "coder"), "decoder, encoder, encoder_decoder, got 'coder'"),
        (lambda: flops(Config(**SIZES), 1, 1, "gpt"), "got 'gpt'"),
        (lambda: activation_bytes(Config(**SIZES, dropout=0.1), 1, 1), "dropout=0.1"),
        (lambda: activation_bytes(Config(**{**SIZES, "kernel": max}), 1, 1), "kernels plain, fused, tiled"),
    ],
)
def test_what_cannot_be_counted_is_refused(ask, words):
    with pytest.raises(ValueError, match=words):
        ask()
