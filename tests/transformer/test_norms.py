"""Norms: by hand, against torch, and their gradients by hand against autograd."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from labkit.transformer import (
    Config,
    LayerNorm,
    RMSNorm,
    layer_norm,
    layer_norm_backward,
    rms_norm,
    rms_norm_backward,
)
from labkit.transformer.norms import new_norm


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_layer_norm_by_hand():
    # Of 1 and 5 the mean is 3 and the variance 4: with eps 5 the divisor is 3.
    x, weight, bias = torch.tensor([1.0, 5.0]), torch.tensor([3.0, 6.0]), torch.tensor([0.0, 1.0])
    assert torch.allclose(layer_norm(x, weight, bias, eps=5.0), torch.tensor([-2.0, 5.0]))


def test_rms_norm_by_hand():
    # Of 1 and 7 the mean square is 25: with eps 11 the divisor is 6.
    assert torch.allclose(
        rms_norm(torch.tensor([1.0, 7.0]), torch.tensor([6.0, 12.0]), eps=11.0), torch.tensor([1.0, 14.0])
    )


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 4, 7)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm_is_torchs_with_its_gradients(shape, bias):
    theirs = nn.LayerNorm(7, eps=1e-12, bias=bias, dtype=torch.float64)
    with torch.no_grad():
        for n, parameter in enumerate(theirs.parameters()):
            parameter.copy_(numbers(7, seed=n))
    ours = LayerNorm(7, eps=1e-12, bias=bias).double()
    ours.load_state_dict(theirs.state_dict())
    compare(ours, theirs, shape)
    x = numbers(*shape)
    assert torch.allclose(layer_norm(x, ours.weight, ours.bias, 1e-12), theirs(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 4, 7)], ids=str)
def test_rms_norm_is_torchs_with_its_gradients(shape):
    theirs = nn.RMSNorm(7, eps=1e-5, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight.copy_(numbers(7, seed=1))
    ours = RMSNorm(7, eps=1e-5).double()
    ours.load_state_dict(theirs.state_dict())
    compare(ours, theirs, shape)
    x = numbers(*shape)
    assert torch.allclose(rms_norm(x, ours.weight, 1e-5), theirs(x), rtol=0, atol=1e-12)


def compare(ours, theirs, shape):
    """Values, and the gradients of everything, of two modules."""
    gradients = []
    for module in (ours, theirs):
        x = numbers(*shape).requires_grad_()
        result = module(x)
        result.backward(numbers(*shape, seed=9))
        gradients.append([result, x.grad, *(p.grad for p in module.parameters())])
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 3, 6)], ids=str)
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_the_gradients_by_hand_are_those_of_autograd(shape, eps):
    x, grad = numbers(*shape).mul(3).add(1).requires_grad_(), numbers(*shape, seed=1)
    weight, bias = numbers(6, seed=2).requires_grad_(), numbers(6, seed=3).requires_grad_()
    expected = torch.autograd.grad(layer_norm(x, weight, bias, eps), (x, weight, bias), grad)
    for ours, theirs in zip(layer_norm_backward(grad, x, weight, eps), expected, strict=True):
        assert (ours - theirs).abs().max() < 1e-10
    expected = torch.autograd.grad(rms_norm(x, weight, eps), (x, weight), grad)
    for ours, theirs in zip(rms_norm_backward(grad, x, weight, eps), expected, strict=True):
        assert (ours - theirs).abs().max() < 1e-10


@given(seed=st.integers(0, 999), shift=st.floats(-5, 5), scale=st.floats(0.1, 10))
def test_layer_norm_forgets_shift_and_scale_and_rms_norm_the_scale_only(seed, shift, scale):
    x, one = numbers(3, 8, seed=seed), torch.ones(8, dtype=torch.float64)
    assert torch.allclose(layer_norm(x * scale + shift, one, eps=1e-12), layer_norm(x, one, eps=1e-12), atol=1e-6)
    assert torch.allclose(rms_norm(x * scale, one, eps=1e-12), rms_norm(x, one, eps=1e-12), atol=1e-6)
    if abs(shift) > 0.1:
        assert not torch.allclose(rms_norm(x + shift, one), rms_norm(x, one), atol=1e-3)


def test_no_gradient_flows_along_the_directions_that_are_forgotten():
    x, grad, one = numbers(4, 9), numbers(4, 9, seed=1), torch.ones(9, dtype=torch.float64)
    dx, _, _ = layer_norm_backward(grad, x, one, eps=0.0)
    assert dx.sum(dim=-1).abs().max() < 1e-12
    assert (dx * layer_norm(x, one, eps=0.0)).sum(dim=-1).abs().max() < 1e-12
    dx, _ = rms_norm_backward(grad, x, one, eps=0.0)
    assert (dx * x).sum(dim=-1).abs().max() < 1e-12


def test_a_token_of_equal_numbers_becomes_the_bias_and_not_nan():
    assert torch.equal(LayerNorm(4)(torch.full((1, 4), 3.0)), torch.zeros(1, 4))
    assert torch.equal(RMSNorm(4)(torch.zeros(1, 4)), torch.zeros(1, 4))


def test_a_config_chooses_its_norm():
    sizes = {"vocabulary": 5, "context": 4, "layers": 1, "heads": 1, "width": 4}
    rms = new_norm(Config(**sizes, norm="rms", norm_eps=0.5))
    assert isinstance(rms, RMSNorm) and rms.eps == 0.5
    layer = new_norm(Config(**sizes, norm_eps=0.5, bias=False))
    assert isinstance(layer, LayerNorm) and layer.eps == 0.5 and layer.bias is None


def test_a_token_of_another_width_is_refused():
    with pytest.raises(RuntimeError, match=r"normalized_shape=\[4\]"):
        LayerNorm(4)(torch.zeros(2, 5))
