"""Four bits that stay four bits in memory: the same product, and the same codes read back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labkit.compression.grid import dequantize, quantize
from labkit.compression.layers import CompressedLinear
from labkit.compression.linear4 import Linear4
from labkit.compression.whole import compressed, fastest, round_model
from labkit.transformer import Config, Decoder


def near(layer, quantized, x, bias=None):
    wanted = nn.functional.linear(x, dequantize(quantized), bias)
    sizes = nn.functional.linear(x.abs(), dequantize(quantized).abs(), None if bias is None else bias.abs())
    return bool(((layer(x) - wanted).abs() <= 0.015 * sizes + 1e-5).all())


@settings(max_examples=30)
@given(
    rows=st.integers(1, 20),
    out=st.integers(1, 4),
    groups=st.integers(1, 3),
    group=st.sampled_from([32, 64, 128, None]),
    bits=st.integers(2, 4),
    symmetric=st.booleans(),
)
def test_it_is_the_dequantized_product(rows, out, groups, group, bits, symmetric):
    draw = torch.Generator().manual_seed(rows + 100 * out)
    weight = torch.randn(16 * out, groups * (group or 96), generator=draw) + 0.3
    quantized = quantize(weight, bits, group=group, symmetric=symmetric)
    bias, x = torch.randn(16 * out, generator=draw), torch.randn(rows, weight.shape[1], generator=draw)
    layer = Linear4(quantized, bias)
    assert layer.packed is not None
    assert near(layer, quantized, x, bias)
    back = layer.quantized
    assert torch.equal(back.codes, quantized.codes) and back.codes.dtype == quantized.codes.dtype
    assert torch.equal(dequantize(back), dequantize(quantized))


@pytest.mark.parametrize(("out", "inputs", "group"), [(10, 64, 64), (16, 48, 16), (16, 20, None)])
def test_what_the_kernel_does_not_take_is_computed_from_floats(out, inputs, group):
    quantized, x = quantize(torch.randn(out, inputs), 4, group=group), torch.randn(2, 3, inputs)
    layer = Linear4(quantized)
    assert layer.packed is None
    torch.testing.assert_close(layer(x), x @ dequantize(quantized).T)
    assert torch.equal(layer.quantized.codes, quantized.codes)


def test_a_gradient_flows_to_what_came_before():
    quantized = quantize(torch.randn(16, 32), 4, group=32)
    layer, x = Linear4(quantized), torch.randn(1, 32, requires_grad=True)
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad[0], dequantize(quantized).sum(dim=0))


def test_half_a_byte_and_its_steps_in_memory():
    layer = Linear4(quantize(torch.randn(64, 256), 4, group=64))
    codes, steps = 64 * 256 // 2, 64 * 4
    assert layer.nbytes == codes + 4 * steps
    assert layer.memory == codes + 4 * steps + 4 * steps  # the kernel's own: a step and a shift in bfloat16
    assert layer.nbytes <= 0.15 * 4 * 64 * 256


def test_more_than_four_bits_are_refused():
    with pytest.raises(ValueError, match="take Linear8"):
        Linear4(quantize(torch.randn(16, 32), 5))


def test_a_model_in_four_bits_computes_what_its_dequantized_twin_does():
    model = Decoder(Config(64, context=32, layers=2, heads=2, width=64, bias=False, activation="swiglu")).eval()
    found = round_model(model, 4, 64)
    ids = torch.randint(64, (1, 9))
    packed, floats = (compressed(model, found, layer)(ids) for layer in (fastest, CompressedLinear))
    assert ((packed - floats).norm() / floats.norm()).item() < 0.02
