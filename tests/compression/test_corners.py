"""Corners of rounding a model: half precision, errors on the way, what is shared, what is done already."""

import math

import pytest
import torch
from torch import nn

from labkit.compression import training_aware
from labkit.compression.awq import awq
from labkit.compression.gptq import gptq, gptq_model, layer_error, replaced
from labkit.compression.grid import dequantize, quantize
from labkit.compression.integer import Affine, Int8Linear, IntegerLinear, calibrate, to_int8
from labkit.compression.layers import CompressedLinear, Inputs, linears, swap
from labkit.compression.references import which_ran
from labkit.compression.smoothing import plant_outliers, rows_into, smooth_scales
from labkit.optimizers import AdamW
from labkit.transformer import Config, Decoder

IDS = torch.randint(0, 50, (4, 16), generator=torch.Generator().manual_seed(1))
HALVES = [torch.float16, torch.bfloat16]


def small(**more):
    kind = {"norm": "rms", "activation": "swiglu", "positions": "rotary", "bias": False, **more}
    return Decoder(Config(50, 16, 2, 2, 16, **kind), seed=0)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gram_of(x):
    return 2 * x.T @ x / len(x)


class Shared(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.a(x).relu())


@pytest.mark.parametrize("dtype", [*HALVES, torch.float64])
def test_a_gram_matrix_of_any_precision_is_factorised(dtype):
    weight, gram = drawn(4, 16), gram_of(drawn(100, 16, seed=1))
    found = dequantize(gptq(weight.to(dtype), gram.to(dtype).requires_grad_(), 4))
    nearest = dequantize(quantize(weight, 4))
    assert float(layer_error(weight, found, gram)) < float(layer_error(weight, nearest, gram))


@pytest.mark.parametrize("how", [{}, {"order": True}, {"order": True, "group": 4, "block": 2}, {"group": 4}])
@pytest.mark.parametrize("symmetric", [True, False])
def test_fewer_inputs_than_width_and_inputs_of_zero_still_beat_nearest(how, symmetric):
    weight, x = drawn(8, 16), drawn(5, 16, seed=3)
    x[:, [2, 11]] = 0
    gram, per = gram_of(x), "group" if "group" in how else "channel"
    nearest = dequantize(quantize(weight, 4, symmetric=symmetric, per=per, group=how.get("group")))
    found = gptq(weight, gram, 4, symmetric=symmetric, **how)
    assert float(layer_error(weight, dequantize(found), gram)) < 0.5 * float(layer_error(weight, nearest, gram))


@pytest.mark.parametrize("dtype", HALVES)
def test_a_model_of_half_precision_is_itself_again_bit_for_bit(dtype):
    model = small().to(dtype)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    found = gptq_model(model, lambda: model(IDS), 4, 4, order=True)
    assert len(found) == len(linears(model)) and all(q.scale.dtype == torch.float32 for q in found.values())
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_block_that_is_compressed_already_is_passed_through():
    model = small()
    for name, layer in linears(model).items():
        if name.startswith("blocks.0."):
            swap(model, name, CompressedLinear(quantize(layer.weight.detach(), 8)))
    assert list(gptq_model(model, lambda: model(IDS), 4)) == list(linears(model))


def test_layers_with_one_weight_are_both_rounded_from_it():
    torch.manual_seed(0)
    model = Shared()
    x, weight = drawn(64, 16), model.a.weight.detach().clone()
    found = gptq_model(model, lambda: model(x), 3)
    assert not torch.equal(found["a"].codes, found["b"].codes)  # other inputs, other codes
    with torch.no_grad():
        inputs = model.a(x).relu()
        model.a.weight.copy_(dequantize(found["a"]))
    assert float(layer_error(weight, dequantize(found["b"]), gram_of(inputs))) < 0.1
    assert model.a.weight is model.b.weight


def test_calibration_with_a_cache_is_refused_and_leaves_no_hook():
    model = small()
    with pytest.raises(ValueError, match="key-value cache"):
        gptq_model(model, lambda: model(IDS, cache=model.new_cache(4)), 4)
    assert not any(module._forward_pre_hooks for module in model.modules()) and model.training


def test_weights_of_another_model_are_refused_before_anything_changes():
    model = small()
    before = model.head.weight.data_ptr()
    for name in ("blocks.0.attention.qkv", "blocks.1.attention.qkv"):
        with (
            pytest.raises(ValueError, match=r"another shape: \(3, 3\) for \(48, 16\)"),
            replaced(model, {"blocks.0.attention.output": torch.zeros(16, 16), name: torch.zeros(3, 3)}),
        ):
            pass
    assert model.head.weight.data_ptr() == before and model.blocks[0].attention.output.weight.any()


@pytest.mark.parametrize("wrong", [{"block": 2.5}, {"block": "4"}, {"damping": "x"}, {"damping": math.nan}])
def test_settings_that_are_no_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match="damping must be at least 0 and block a whole number"):
        gptq(drawn(4, 16), torch.eye(16), 4, **wrong)


@pytest.mark.parametrize("gram", [torch.full((16, 16), math.nan), torch.eye(4), None])
def test_awq_refuses_a_gram_matrix_that_can_judge_nothing(gram):
    ones = torch.ones(16 if gram is None else len(gram))
    with pytest.raises(ValueError, match="Gram matrix"):
        awq(drawn(4, 16), Inputs(5, ones, ones, ones, gram), 4)


def test_awq_refuses_half_a_step():
    ones = torch.ones(16)
    with pytest.raises(ValueError, match="steps must be a whole number"):
        awq(drawn(4, 16), Inputs(5, ones, ones, ones, torch.eye(16)), 4, steps=2.5)


@pytest.mark.parametrize("inputs", [None, Affine(1.0, 3)])
@pytest.mark.parametrize("dtype", HALVES)
def test_sums_that_float16_cannot_hold_are_no_trouble(dtype, inputs):
    """127 · 127 · 256 is 63 times the largest number of float16."""
    weight, x = drawn(8, 256).abs(), 30 * drawn(5, 256, seed=1).abs()
    wanted = x @ weight.T
    found = Int8Linear(weight.to(dtype), torch.zeros(8, dtype=dtype), inputs)(x.to(dtype))
    assert found.dtype == dtype and float((found.float() - wanted).abs().max() / wanted.max()) < 0.02


def test_no_rows_are_no_trouble_and_another_width_is():
    layer = Int8Linear(drawn(8, 16), None)
    assert layer(torch.zeros(2, 0, 16)).shape == (2, 0, 8)
    with pytest.raises(ValueError, match=r"takes 16 inputs, got \(3, 32\)"):
        layer(torch.zeros(3, 32))
    whole = IntegerLinear(drawn(8, 16), None, Affine(0.1, 0), Affine(1.0, 0))
    assert whole(torch.zeros(0, 16, dtype=torch.int8)).shape == (0, 8)


def test_ranges_are_loaded_with_the_codes_that_they_belong_to():
    weight, x = drawn(8, 16), drawn(5, 16, seed=1)
    one, other = (Int8Linear(weight, None, affine) for affine in (Affine(0.05, 3), Affine(0.01, -100)))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x)) and other.inputs == one.inputs
    first, last = (IntegerLinear(weight, None, Affine(0.05, 3), affine) for affine in (Affine(0.2, 1), Affine(0.9, 7)))
    last.load_state_dict(first.state_dict())
    codes = torch.arange(-40, 40, dtype=torch.int8).view(5, 16)
    assert torch.equal(first(codes), last(codes)) and last.outputs == Affine(0.2, 1)
    with pytest.raises(RuntimeError, match="folded"):
        Int8Linear(weight, None).load_state_dict(one.state_dict())


@pytest.mark.parametrize("name", ["blocks.1.feedforward.down.weight", "blocks.0.norm1.weight", "tokens.weight"])
def test_ranges_of_a_model_that_was_changed_anywhere_are_refused(name):
    model = small()
    ranges = calibrate(model, lambda: model(IDS))
    assert to_int8(model, ranges) is not model
    model.get_parameter(name).data.view(-1)[-1] += 0.5
    with pytest.raises(ValueError, match="calibrated on another model"):
        to_int8(model, ranges)


def test_calibration_and_rows_are_without_dropout_and_the_mode_stays():
    model = small(dropout=0.5).train()
    runs = [rows_into(model, lambda: model(IDS), "blocks.1.attention.qkv") for _ in range(2)]
    assert torch.equal(*runs) and model.training
    assert calibrate(model, lambda: model(IDS)) == calibrate(model.eval(), lambda: model(IDS))


@pytest.mark.parametrize("channels, times", [([1.5], 2), (["a"], 2), ([0], math.inf), ([0], math.nan)])
def test_outliers_that_cannot_be_planted_are_refused(channels, times):
    with pytest.raises(ValueError, match="channels must lie in"):
        plant_outliers(small(), channels, times)


def test_a_column_of_next_to_nothing_does_not_become_infinite():
    scales = smooth_scales(torch.tensor([1.0, 2.0]), torch.tensor([1e-40, 0.5]), 0)
    assert scales.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("step", training_aware.STEPS)
@pytest.mark.parametrize("dtype", HALVES)
def test_models_of_half_precision_are_trained_with_rounding_too(dtype, step):
    fake = training_aware.with_fake_quantization(small().to(dtype), 4, group=4, step=step)
    logits = fake(IDS)
    logits.float().square().mean().backward()
    assert logits.dtype == dtype and fake.head.weight.grad is not None
    assert {q.scale.dtype for q in training_aware.quantized_weights(fake).values()} == {torch.float32}


@pytest.mark.parametrize("steps", [0, -1, 1.5, True])
def test_a_number_of_steps_that_is_none_is_refused_in_words(steps):
    with pytest.raises(ValueError, match="steps must be a whole number of at least 1"):
        training_aware.train_quantized(small(), [(IDS[:, :-1], IDS[:, 1:])], 4, steps=steps)


def test_an_endless_stream_of_batches_is_read_no_further_than_it_is_used():
    drawn_so_far = []

    def stream():
        while True:
            drawn_so_far.append(0)
            yield IDS[:, :-1], IDS[:, 1:]

    assert len(training_aware.train_quantized(small(), stream(), 4, steps=2).losses) == 2 == len(drawn_so_far)


def test_the_references_leave_chance_alone_and_refuse_what_tells_nothing():
    before = torch.get_rng_state()
    rows = which_ran(drawn(128, 64).T.contiguous().T)
    assert torch.equal(before, torch.get_rng_state())
    assert all(row.difference is not None or "does not load" in row.reason for row in rows)
    for bad in (torch.zeros(64, 64), drawn(64, 64) * math.nan, drawn(96, 96)):
        with pytest.raises(ValueError, match="a multiple of 64"):
            which_ran(bad)


def test_learned_steps_have_a_tenth_of_the_learning_rate(monkeypatch):
    made = []
    monkeypatch.setattr(training_aware, "AdamW", lambda groups, **how: made.append(AdamW(groups, **how)) or made[-1])
    monkeypatch.setattr(training_aware, "train", lambda *args, **how: type("History", (), {"losses": []}))
    training_aware.train_quantized(small(), [(IDS[:, :-1], IDS[:, 1:])], 4, steps=1, lr=0.01)
    weights, steps = made[0].param_groups
    assert (weights["lr"], steps["lr"]) == (0.01, 0.001) and len(steps["params"]) == len(linears(small()))
