"""Eight bits: within the rounding of bfloat16 of the dequantized product, for any shape of input."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labkit.compression.embeddings import CompressedEmbedding, TiedHead
from labkit.compression.grid import dequantize, quantize
from labkit.compression.layers import CompressedLinear
from labkit.compression.linear8 import FEW, Linear8, product8
from labkit.compression.whole import compressed, compressed_parts, fastest, round_model
from labkit.transformer import Config, Decoder, Encoder, generate


def apart(ours, wanted):
    return float(((ours - wanted).norm() / wanted.norm()).detach())


def test_whole_numbers_come_out_exactly():
    codes = torch.tensor([[1, -2, 3] + 13 * [0], [0, 0, 127] + 13 * [9]], dtype=torch.int8)
    x = torch.tensor([[1.0, 1.0, 2.0] + 13 * [0.0]])
    assert product8(x, codes, torch.tensor([0.5, 2.0]), torch.tensor([1.0, 0.0])).tolist() == [[3.5, 508.0]]


@settings(max_examples=30)
@given(rows=st.integers(1, 40), out=st.integers(1, 70), inputs=st.integers(1, 99), bits=st.integers(2, 8))
def test_it_is_the_dequantized_product_for_any_shape(rows, out, inputs, bits):
    draw = torch.Generator().manual_seed(rows * 71 + out)
    weight, x = torch.randn(out, inputs, generator=draw), torch.randn(rows, inputs, generator=draw)
    quantized, bias = quantize(weight, bits), torch.randn(out, generator=draw)
    ours = Linear8(quantized, bias)(x)
    wanted = nn.functional.linear(x, dequantize(quantized), bias)
    sizes = nn.functional.linear(x.abs(), dequantize(quantized).abs(), bias.abs())
    assert bool(((ours - wanted).abs() <= 0.012 * sizes + 1e-6).all())


def test_few_rows_and_many_agree_and_keep_their_shape():
    layer = Linear8(quantize(torch.randn(32, 64), 8))
    x = torch.randn(2, FEW, 64)
    assert layer(x).shape == (2, FEW, 32)
    assert apart(layer(x[:1]), layer(x)[:1]) < 0.01
    assert layer(x[0, 0]).shape == (32,)
    assert layer(torch.randn(3, 0, 64)).shape == (3, 0, 32)
    assert layer.to(torch.float32)(x).dtype == torch.float32


@pytest.mark.parametrize("rows", [1, 2 * FEW])
def test_sums_of_codes_are_not_too_large_for_float16(rows):
    layer = Linear8(quantize(torch.full((4, 64), 0.01), 8)).half()
    assert layer(torch.full((rows, 64), 20.0).half()).float().tolist() == [[pytest.approx(12.8, rel=0.01)] * 4] * rows


def test_a_gradient_flows_to_what_came_before():
    layer, x = Linear8(quantize(torch.randn(4, 8), 8)), torch.randn(1, 8, requires_grad=True)
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad[0], layer.weight.sum(dim=0))


def test_a_step_for_the_whole_tensor_is_taken_too():
    quantized = quantize(torch.randn(16, 32), 8, per="tensor")
    x = torch.randn(1, 32)
    assert apart(Linear8(quantized)(x), x @ dequantize(quantized).T) < 0.01


def test_zero_points_and_groups_are_refused():
    for options in ({"symmetric": False}, {"group": 8}):
        with pytest.raises(ValueError, match="take CompressedLinear"):
            Linear8(quantize(torch.randn(4, 16), 8, **options))


def test_one_byte_for_each_weight_in_memory():
    layer = Linear8(quantize(torch.randn(64, 256), 8), torch.zeros(64))
    assert layer.memory <= 64 * 256 + 2 * 64 * 4
    assert layer.nbytes == 64 * 256 + 2 * 64 * 4


def test_an_embedding_gives_the_rows_that_are_looked_up():
    weight, ids = torch.randn(10, 8), torch.tensor([[3, 3, 0]])
    for options in ({}, {"per": "tensor"}, {"group": 4}, {"symmetric": False}, {"group": 4, "symmetric": False}):
        quantized = quantize(weight, 8, **options)
        table = CompressedEmbedding(quantized)
        assert torch.equal(table(ids), dequantize(quantized)[ids]), options
        x = torch.randn(2, 8)
        assert apart(table.product(x), x @ dequantize(quantized).T) < 0.01
    assert (table.num_embeddings, table.embedding_dim) == (10, 8)


def small(**options):
    shape = {"norm": "rms", "activation": "swiglu", "positions": "rotary", "bias": False, **options}
    return Decoder(Config(64, context=32, layers=2, heads=2, width=32, **shape)).eval()


def test_a_tied_head_stays_tied_and_survives_a_move():
    model = small()
    found = compressed(model, round_model(model, 8), fastest)
    assert isinstance(found.head, TiedHead) and found.head.embedding is found.tokens
    assert isinstance(model.head, nn.Linear)
    ids = torch.randint(64, (1, 5))
    before = found(ids)
    assert found.to("cpu").head.embedding is found.tokens
    assert torch.equal(found(ids), before)
    assert apart(before, model(ids)) < 0.05


@pytest.mark.parametrize("layer", [CompressedLinear, fastest])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_model_in_other_floats_is_compressed_and_stays_in_them(dtype, layer):
    model, ids = small().to(dtype), torch.randint(64, (1, 5))
    found = compressed(model, round_model(model, 8), layer)
    assert found(ids).dtype == dtype
    assert apart(found(ids), model(ids)) < 0.05
    again = compressed(small(), round_model(model, 8), layer).to(dtype)
    assert torch.equal(again(ids), found(ids))


def test_the_copy_computes_from_its_codes_and_the_model_stays_as_it_is():
    model, ids = small(), torch.randint(64, (2, 7))
    before = model(ids)
    found = compressed(model, round_model(model, 8, embedding_bits=None))
    assert torch.equal(model(ids), before)
    assert len(compressed_parts(found)) == 10 and found.head.weight is found.tokens.weight
    assert found.tokens is not model.tokens


def test_text_is_generated_and_a_loss_computed_with_codes():
    model = small()
    found, ids = compressed(model, round_model(model, 8), fastest), torch.randint(64, (1, 4))
    assert torch.equal(generate(found, ids, 3), generate(found, ids, 3, use_cache=False))
    assert abs(found.loss(ids, ids).item() - model.loss(ids, ids).item()) < 0.05


def test_an_encoder_is_compressed_with_its_embeddings_and_its_pooler():
    model = Encoder(Config(64, context=32, layers=1, heads=2, width=32, norm_first=False, segments=2, pooler=True))
    found = compressed(model.eval(), round_model(model, 8), fastest)
    assert {"tokens", "segments", "pooler"} <= set(compressed_parts(found))
    ids = torch.randint(64, (2, 6))
    assert apart(found(ids), model(ids)) < 0.05


def test_parts_that_are_not_there_or_of_another_shape_are_refused():
    model = small()
    with pytest.raises(ValueError, match="no linear layer or embedding 'nothing'"):
        compressed(model, {"nothing": quantize(torch.randn(4, 4), 8)})
    with pytest.raises(ValueError, match="another shape"):
        compressed(model, {"tokens": quantize(torch.randn(4, 4), 8)})


@pytest.mark.parametrize("where", ["tokens", "blocks.0.attention.qkv"])
def test_weights_that_are_no_numbers_are_refused_by_name(where):
    model = small()
    with torch.no_grad():
        model.get_submodule(where).weight[3, 4] = float("nan")
    with pytest.raises(ValueError, match=rf"{where}: 1 of \d+ weights are NaN"):
        round_model(model, 8)


def test_weights_that_are_all_zero_stay_so():
    model = small()
    with torch.no_grad():
        model.blocks[0].feedforward.up.weight.zero_()
    found = compressed(model, round_model(model, 8), fastest)
    assert not found.blocks[0].feedforward.up(torch.randn(1, 32)).any()


def test_a_width_that_the_group_does_not_divide_names_the_layer():
    with pytest.raises(ValueError, match=r"blocks\.0\.attention\.qkv: group = 24"):
        round_model(small(), 4, 24)
    with pytest.raises(ValueError, match="bits = 9"):
        round_model(small(), 9)


def test_a_tied_head_with_zero_points_takes_other_floats():
    table = CompressedEmbedding(quantize(torch.randn(10, 8), 8, symmetric=False))
    x = torch.randn(2, 8)
    assert apart(table.product(x.bfloat16()), table.product(x)) < 0.01
