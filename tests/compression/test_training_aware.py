"""Rounding in the forward pass, a straight line in the backward pass: by hand, by torch, and in a model that learns."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import nn

from labkit.compression.grid import code_range, dequantize, grid_of, quantize
from labkit.compression.layers import CompressedLinear, linears
from labkit.compression.training_aware import (
    FakeQuantLinear,
    convert,
    fake_quantize,
    learned_step_quantize,
    quantized_weights,
    train_quantized,
    with_fake_quantization,
)
from labkit.compression.whole import compressed
from labkit.optimizers import AdamW
from labkit.training import train
from labkit.transformer import Config, Decoder


def drawn(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small_decoder(seed=0):
    return Decoder(Config(vocabulary=24, context=8, layers=1, heads=2, width=16, bias=True), seed=seed)


def counting(length=64, batch=8):
    """Texts that count: the next token is one more."""
    draw = torch.Generator().manual_seed(0)
    while True:
        ids = (torch.randint(24, (batch, 1), generator=draw) + torch.arange(9)) % 24
        yield ids[:, :-1], ids[:, 1:]


def test_by_hand_on_a_grid_of_seven_points():
    x = torch.tensor([0.4, -0.2, 1.7, 1.8, -9.0], requires_grad=True)
    y = fake_quantize(x, torch.tensor(0.5), 3)
    assert y.tolist() == [0.5, 0.0, 1.5, 1.5, -1.5]
    (3 * y).sum().backward()
    assert x.grad.tolist() == [3, 3, 3, 0, 0]  # 1.7 is 3.4 steps and rounds to the last point; 1.8 would be the fourth


def test_rounding_itself_has_slope_zero():
    x = drawn(10).requires_grad_()
    x.round().sum().backward()
    assert not x.grad.any()


@settings(deadline=None, max_examples=25)
@given(bits=some.integers(2, 8), affine=some.booleans(), seed=some.integers(0, 99), step=some.floats(0.01, 2))
def test_values_and_gradient_are_those_of_torch(bits, affine, seed, step):
    x, above = drawn(40, seed=seed).requires_grad_(), drawn(40, seed=seed + 1)
    low, high = code_range(bits, signed=not affine)
    zero = 2 ** (bits - 1) - 1 if affine else 0
    ours = fake_quantize(x, torch.tensor(step), bits, zero if affine else None)
    theirs = torch.fake_quantize_per_tensor_affine(x, step, zero, low + (not affine), high)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    gradients = [torch.autograd.grad(y, x, above)[0] for y in (ours, theirs)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_a_learned_step_has_the_gradients_of_torch(bits):
    x, high = drawn(6, 32).requires_grad_(), 2 ** (bits - 1) - 1
    step, factor = (0.3 + drawn(6, seed=3).abs() / high).requires_grad_(), (32 * high) ** -0.5
    ours = learned_step_quantize(x, step[:, None], bits)
    kernel = torch._fake_quantize_learnable_per_channel_affine
    theirs = kernel(x, step, torch.zeros(6), 0, -high, high, factor)
    above = drawn(6, 32, seed=4)
    for mine, torchs in zip(*(torch.autograd.grad(y, (x, step), above) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-5, atol=1e-5)


def test_the_slope_of_the_step_is_that_of_the_paper_by_hand():
    """Esser et al., equation 3 at 3 bits: −v + round(v) inside, ± 3 outside; divided by √(4 · 3)."""
    for value, slope in ((0.2, -0.2), (0.8, 0.2), (9.0, 3.0), (-9.0, -3.0)):
        step = torch.tensor(1.0, requires_grad=True)
        learned_step_quantize(torch.tensor([value]), step, 3).sum().backward()
        assert float(step.grad) == pytest.approx(slope / 3**0.5, rel=1e-5)


def test_the_step_goes_where_the_error_gets_smaller():
    x, step = drawn(1000), torch.tensor(2.0, requires_grad=True)
    error = lambda: (learned_step_quantize(x, step, 3) - x).square().mean()  # noqa: E731
    before = error()
    for _ in range(100):
        (slope,) = torch.autograd.grad(error(), step)
        with torch.no_grad():
            step -= 5 * slope
    best = min((x - fake_quantize(x, torch.tensor(s / 100), 3)).square().mean() for s in range(20, 200))
    assert error() < 0.5 * before and error() < 1.05 * best


@pytest.mark.parametrize("step", ["learned", "range"])
@pytest.mark.parametrize(("bits", "group"), [(2, None), (3, 8), (4, None), (8, 16)])
def test_whole_numbers_give_the_same_outputs_bit_for_bit(step, bits, group):
    trained = with_fake_quantization(small_decoder(), bits, group=group, step=step).eval()
    ids = torch.arange(8)[None]
    whole = convert(trained)
    assert torch.equal(whole(ids), trained(ids))
    found = quantized_weights(trained)
    assert set(found) == set(linears(small_decoder()))
    for name, quantized in found.items():
        assert isinstance(whole.get_submodule(name), CompressedLinear)
        assert torch.equal(dequantize(quantized), trained.get_submodule(name).rounded())
        assert quantized.codes.abs().max() <= 2 ** (bits - 1) - 1 and quantized.bits == bits


def test_a_step_from_the_range_is_rounding_to_nearest():
    model = small_decoder()
    nearest = compressed(model, {name: quantize(layer.weight, 3) for name, layer in linears(model).items()})
    ids = torch.arange(8)[None]
    assert torch.equal(with_fake_quantization(model, 3, step="range")(ids), nearest(ids))


def test_the_model_that_was_given_stays_as_it_was():
    model = small_decoder()
    before = copy.deepcopy(model.state_dict())
    learned = train_quantized(model, counting(), 2, steps=2).model
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    assert learned.head.weight is learned.tokens.weight, "a tied head stays tied"


def test_training_makes_up_for_two_bits():
    model, batch = small_decoder(), next(counting())
    train(model, counting(), AdamW(model.parameters(), lr=1e-2), steps=120)
    nearest = compressed(model, {name: quantize(layer.weight, 2) for name, layer in linears(model).items()})
    result = train_quantized(model, counting(), 2, steps=60)
    with torch.no_grad():
        losses = [float(net.eval().loss(*batch)) for net in (model, nearest, convert(result.model))]
    assert losses[2] < 0.5 * losses[1] and losses[0] < losses[1], losses
    assert len(result.losses) == 60


def test_steps_stay_above_zero_whatever_was_learned():
    layer = FakeQuantLinear(nn.Linear(4, 2), 3)
    with torch.no_grad():
        layer.learned.copy_(torch.tensor([[[-0.5]], [[0.0]]]))
    assert (layer.quantized().scale > 0).all() and torch.isfinite(layer(torch.ones(1, 4))).all()


def test_weights_of_zero_are_no_trouble():
    layer = nn.Linear(4, 2)
    nn.init.zeros_(layer.weight)
    for step in ("learned", "range"):
        fake = FakeQuantLinear(layer, 4, step=step)
        assert not fake.rounded().any() and not fake.quantized().codes.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 1}, "from 2 to 8"),
        ({"bits": 9}, "from 2 to 8"),
        ({"bits": 3.0}, "from 2 to 8"),
        ({"bits": 4, "group": 5}, "does not divide the width 16"),
        ({"bits": 4, "step": "guess"}, "one of learned, range"),
        ({"bits": 4, "names": ["blocks.7.up"]}, "no linear layer 'blocks.7.up'"),
        ({"bits": 4, "names": []}, "no linear layer"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        with_fake_quantization(small_decoder(), **arguments)


def test_nan_weights_and_models_without_rounding_are_refused():
    broken = nn.Linear(4, 2)
    with torch.no_grad():
        broken.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite"):
        FakeQuantLinear(broken, 4)
    with pytest.raises(ValueError, match="with_fake_quantization"):
        convert(small_decoder())
    with pytest.raises(ValueError, match="no linear layer"):
        with_fake_quantization(nn.Sequential(nn.ReLU()), 4)


def test_no_batches_are_refused():
    with pytest.raises(ValueError):
        train_quantized(small_decoder(), [], 3, steps=2)


def test_a_grid_with_a_zero_point_reaches_its_own_ends():
    x = torch.tensor([-0.6, -0.3, 0.0, 1.2, 3.0], requires_grad=True)
    step, zero = grid_of(-0.3, 1.2, 4, symmetric=False)
    y = fake_quantize(x, step, 4, zero)
    y.sum().backward()
    torch.testing.assert_close(y, torch.tensor([-0.3, -0.3, 0.0, 1.2, 1.2]))
    assert x.grad.tolist() == [0, 1, 1, 1, 0]
