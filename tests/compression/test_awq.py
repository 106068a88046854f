"""AWQ: the scale by hand, never worse than no scale, and nothing changes when a norm takes it."""

import copy

import pytest
import torch

from labkit.compression.awq import awq, awq_model, awq_scale, effective, fold
from labkit.compression.gptq import layer_error
from labkit.compression.grid import dequantize, quantize
from labkit.compression.layers import Inputs, linears
from labkit.transformer import Config, Decoder


def inputs(width=16, loud=(), count=200, seed=0):
    """What comes into a layer; some inputs are thirty times as large as the others."""
    x = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    x[:, list(loud)] *= 30
    return Inputs(count, x.abs().mean(0), x.amin(0), x.amax(0), 2 * x.T @ x / count), x


def weights(rows=12, width=16, seed=1):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def test_the_scale_by_hand():
    assert awq_scale(torch.tensor([1.0, 4.0, 16.0]), 0.5).tolist() == pytest.approx([0.5, 1, 2])
    assert awq_scale(torch.tensor([1.0, 4.0]), 0).tolist() == [1, 1]


def test_the_scale_never_makes_it_worse_than_rounding_to_nearest():
    for bits in (2, 3, 4, 8):
        given, _ = inputs(loud=(2, 7))
        nearest = layer_error(weights(), dequantize(quantize(weights(), bits, group=8)), given.gram)
        assert awq(weights(), given, bits, group=8).error <= float(nearest)


def test_loud_inputs_are_found_and_their_weights_made_finer():
    given, x = inputs(loud=(2, 7))
    found = awq(weights(), given, 3)
    assert found.alpha > 0
    assert set(found.scale.topk(2).indices.tolist()) == {2, 7}
    nearest = layer_error(weights(), dequantize(quantize(weights(), 3)), given.gram)
    assert found.error < 0.7 * float(nearest)
    assert found.error == pytest.approx(float(((weights() - effective(found)) @ x.T).square().sum() / 200), rel=1e-4)


def test_inputs_of_one_size_leave_nothing_to_scale():
    given = Inputs(9, torch.ones(16), -torch.ones(16), torch.ones(16), torch.eye(16))
    assert awq(weights(), given, 4).alpha == 0


def test_an_input_that_is_always_zero_does_no_harm():
    given, _ = inputs()
    given.mean_abs[3] = 0
    given.gram[3], given.gram[:, 3] = 0, 0
    assert effective(awq(weights(), given, 4)).isfinite().all()


def test_a_norm_takes_the_scale_and_the_model_says_what_it_said():
    for norm in ("rms", "layer"):
        model = Decoder(Config(50, 16, 1, 2, 32, norm=norm, activation="swiglu", positions="rotary"), seed=0)
        ids = torch.arange(32).view(2, 16)
        block = model.blocks[0]
        if norm == "layer":
            torch.nn.init.normal_(block.norm2.bias)
        before = model(ids)
        scale = torch.linspace(0.5, 3, 32)
        old = copy.deepcopy(block.norm2)
        fold(block.norm2, [block.feedforward.up, block.feedforward.gate], scale)
        torch.testing.assert_close(model(ids), before)
        torch.testing.assert_close(block.norm2.weight * scale, old.weight)


def test_every_layer_of_a_model_gets_its_scale():
    model = Decoder(Config(50, 16, 2, 2, 32, positions="rotary"), seed=0)
    found = awq_model(model, lambda: model(torch.arange(32).view(2, 16)), 4, 16, steps=4)
    assert list(found) == list(linears(model))
    assert all(effective(one).shape == linears(model)[name].weight.shape for name, one in found.items())


def test_what_cannot_be_is_refused():
    given, _ = inputs()
    with pytest.raises(ValueError, match="bits = 12"):
        awq(weights(), given, 12)
    with pytest.raises(ValueError, match="with 8 inputs"):
        awq(weights(width=8), given, 4)
    with pytest.raises(ValueError, match="gram=True"):
        awq(weights(), Inputs(1, torch.ones(16), torch.ones(16), torch.ones(16)), 4)
    with pytest.raises(ValueError, match="steps"):
        awq(weights(), given, 4, steps=0)
    with pytest.raises(ValueError, match="positive scale"):
        fold(torch.nn.LayerNorm(8), [torch.nn.Linear(8, 2)], torch.ones(9))
    with pytest.raises(ValueError, match="positive scale"):
        fold(torch.nn.LayerNorm(8), [torch.nn.Linear(8, 2)], torch.zeros(8))
