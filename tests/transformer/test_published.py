"""The printed figures of papers come out of our own modules."""

import pytest
import torch

from labkit.attention import saved_bytes
from labkit.transformer.counting import cache_bytes, parameters, rule_of_six, training_flops
from labkit.transformer.published import (
    GPT2_AS_PRINTED,
    SHAPES,
    TRAINING_COMPUTE,
    TRAINING_TOKENS,
    PaperLayer,
    built_parameters,
    layer_activation_bytes,
)

# Counted in the released checkpoints, to the last parameter.
RELEASED = {
    "GPT-2 small": 124_439_808,
    "GPT-2 medium": 354_823_168,
    "GPT-2 large": 774_030_080,
    "GPT-2 XL": 1_557_611_200,
    "BERT base": 109_482_240,
    "BERT large": 335_141_888,
    "Llama 2 7B": 6_738_415_616,
    "Llama 2 13B": 13_015_864_320,
    "Llama 2 70B": 68_976_648_192,
}


def test_the_nineteen_shapes_are_there():
    assert len(SHAPES) == 19
    assert all(shape.name == name and shape.source for name, shape in SHAPES.items())


@pytest.mark.parametrize("name", SHAPES)
def test_a_published_count_is_that_of_the_built_module(name):
    shape = SHAPES[name]
    built = built_parameters(shape)
    assert abs(built - shape.published) <= shape.tolerance
    assert shape.tolerance <= 0.05 * shape.published or shape.published == 7e9  # "7B" has one digit
    assert built == sum(parameters(shape.config, shape.kind).values())


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_checkpoint_has_exactly_as_many(name):
    assert built_parameters(SHAPES[name]) == RELEASED[name]


def test_the_smallest_gpt3_is_the_smallest_gpt2_with_twice_the_context():
    assert built_parameters(SHAPES["GPT-3 Small"]) - RELEASED["GPT-2 small"] == 1024 * 768


def test_building_the_largest_takes_no_memory():
    assert built_parameters(SHAPES["GPT-3 175B"]) > 174e9


@pytest.mark.parametrize("name", GPT2_AS_PRINTED)
def test_the_sizes_that_the_paper_of_gpt2_printed_are_those_with_the_vocabulary_of_gpt(name):
    printed = GPT2_AS_PRINTED[name]
    assert round(built_parameters(printed) / 1e6) == printed.published / 1e6
    assert built_parameters(SHAPES[name]) - built_parameters(printed) == (50_257 - 40_478) * printed.config.width


@pytest.mark.parametrize("name", TRAINING_COMPUTE)
def test_the_training_compute_of_gpt3_is_six_n_d(name):
    millions, operations = TRAINING_COMPUTE[name]
    built = built_parameters(SHAPES[name])
    assert built == pytest.approx(millions, rel=0.005)
    assert rule_of_six(built, TRAINING_TOKENS) == pytest.approx(operations, rel=0.006)


def test_six_n_d_is_close_to_every_product_of_gpt3():
    config = SHAPES["GPT-3 175B"].config
    exact = training_flops(config, 1, 2048) / 2048 * TRAINING_TOKENS
    assert exact / TRAINING_COMPUTE["GPT-3 175B"][1] == pytest.approx(1.03, abs=0.01)


@pytest.mark.parametrize(("batch", "tokens", "width", "heads"), [(2, 64, 128, 4), (3, 32, 64, 8), (2, 96, 96, 3)])
def test_the_activations_of_a_layer_are_those_of_the_paper(batch, tokens, width, heads):
    layer = PaperLayer(width, heads).bfloat16()
    x = torch.randn(batch, tokens, width).bfloat16().requires_grad_()
    statistics = (
        2 * 2 * batch * tokens * 2
    )  # a mean and a deviation for each token and norm, which the paper leaves out
    assert saved_bytes(layer, x) == layer_activation_bytes(batch, tokens, width, heads) + statistics


def test_what_attention_keeps_dominates_a_layer_of_gpt3():
    config = SHAPES["GPT-3 175B"].config
    linear = 34 * 2048 * config.width
    quadratic = layer_activation_bytes(1, 2048, config.width, config.heads) - linear
    assert quadratic / linear == pytest.approx(80 / 34)  # section 4.1: 5 a s / h is 80 for GPT-3


def test_the_cache_of_a_token_of_opt_13b_takes_800_kilobytes():
    # Kwon et al. (2023), section 3: 2 vectors · 5120 · 40 layers · 2 bytes. OPT-13B has the shape of GPT-3 13B.
    assert cache_bytes(SHAPES["GPT-3 13B"].config, 1, 1, bytes_per_number=2) == 800 * 1024


def test_grouped_queries_make_the_cache_of_llama_2_70b_eight_times_smaller():
    config = SHAPES["Llama 2 70B"].config
    assert cache_bytes(config, 1, 4096, 2) * 8 == 2 * 80 * 4096 * 8192 * 2
