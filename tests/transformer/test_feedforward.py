"""The feed-forward layer: its bends by hand and against torch, and the whole layer in each kind."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from labkit.transformer import Config, FeedForward, gelu, gelu_tanh, swish

EVERYWHERE = torch.linspace(-12, 12, 4801, dtype=torch.float64)


def test_gelu_by_hand():
    # Φ(1) = 0.84134, Φ(-2) = 0.02275, from any table of the normal distribution
    assert torch.allclose(gelu(torch.tensor([0.0, 1.0, -2.0])), torch.tensor([0.0, 0.84134, -2 * 0.02275]), atol=1e-5)


def test_swish_by_hand():
    assert swish(torch.tensor(math.log(3.0))).item() == pytest.approx(math.log(3) * 3 / 4)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(gelu, nn.GELU()), (gelu_tanh, nn.GELU(approximate="tanh")), (swish, nn.SiLU())],
    ids=["gelu", "gelu_tanh", "swish"],
)
def test_each_bend_is_torchs_with_its_gradient(ours, theirs):
    x = EVERYWHERE.clone().requires_grad_()
    assert torch.allclose(ours(x), theirs(x), rtol=0, atol=1e-13)
    gradients = [torch.autograd.grad(f(x).sum(), x)[0] for f in (ours, theirs)]
    assert torch.allclose(*gradients, rtol=0, atol=1e-12)


def test_the_approximation_is_as_close_as_is_said():
    assert 0.0004 < (gelu(EVERYWHERE) - gelu_tanh(EVERYWHERE)).abs().max() < 0.0005


@given(x=st.floats(-20, 20))
def test_a_bend_of_x_less_the_bend_of_minus_x_is_x(x):
    # Φ(x) + Φ(-x) = 1, and so with the sigmoid and with tanh's approximation of Φ
    here = torch.tensor(x, dtype=torch.float64)
    for bend in (gelu, gelu_tanh, swish):
        assert math.isclose(bend(here) - bend(-here), x, abs_tol=1e-12)


def config(**changes):
    return Config(**{"vocabulary": 5, "context": 4, "layers": 1, "heads": 1, "width": 6, "hidden": 10, **changes})


@pytest.mark.parametrize(
    ("activation", "bend"),
    [("gelu", nn.GELU()), ("gelu_tanh", nn.GELU(approximate="tanh")), ("relu", nn.ReLU())],
)
@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_two_linear_layers_around_a_bend(activation, bend, bias):
    layer = FeedForward(config(activation=activation, bias=bias))
    same = nn.Sequential(nn.Linear(6, 10, bias=bias), bend, nn.Linear(10, 6, bias=bias))
    same.load_state_dict(dict(zip(same.state_dict(), layer.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(layer(x), same(x))


def test_swiglu_is_the_formula_of_the_paper():
    layer = FeedForward(config(activation="swiglu", bias=False))
    w, v, w2 = layer.gate.weight.T, layer.up.weight.T, layer.down.weight.T  # the paper's names and orientation
    x = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(layer(x), (swish(x @ w) * (x @ v)) @ w2, atol=1e-6)


def test_each_token_is_for_itself():
    layer, x = FeedForward(config()), torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(layer(x)[1, 2], layer(x[1, 2]), atol=1e-6)
    assert torch.allclose(layer(x.flip(1)).flip(1), layer(x), atol=1e-6)


def test_an_unknown_bend_is_refused():
    with pytest.raises(ValueError, match="activation must be one of"):
        FeedForward(config(activation="mish"))
