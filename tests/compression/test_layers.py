"""Linear layers by name, what comes into them, and the layer that takes their place."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from labkit.compression.grid import dequantize, quantize
from labkit.compression.layers import CompressedLinear, Inputs, inputs_of, linears, swap
from labkit.compression.linear4 import Linear4
from labkit.compression.linear8 import Linear8
from labkit.transformer import Config, Decoder


def tiny(**options):
    shape = {"norm": "rms", "activation": "swiglu", "positions": "rotary", "bias": False, **options}
    return Decoder(Config(48, context=16, layers=2, heads=2, width=32, **shape)).eval()


def test_linear_layers_are_found_in_the_order_of_the_model_without_a_tied_head():
    names = list(linears(tiny()))
    assert names[:5] == [f"blocks.0.{part}" for part in ("attention.qkv", "attention.output")] + [
        f"blocks.0.feedforward.{part}" for part in ("up", "gate", "down")
    ]
    assert "head" not in names and len(names) == 10
    assert "head" in linears(tiny(tied=False))


def test_a_swapped_layer_is_what_the_model_computes_with():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    swap(model, "1.0", nn.Identity())
    x = torch.randn(3, 2)
    assert torch.equal(model(x), model[0](x))
    for name in ("1.1", ""):
        with pytest.raises(ValueError, match="no part"):
            swap(model, name, nn.Identity())


def test_a_part_that_is_used_twice_is_swapped_in_both_places():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.Sequential(shared, nn.ReLU()))
    swap(model, "1.0", nn.Identity())
    assert model(torch.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]


def test_inputs_by_hand():
    model = nn.Linear(2, 1)
    model = nn.Sequential(model)
    found = inputs_of(model, lambda: (model(torch.tensor([[1.0, -2.0]])), model(torch.tensor([[3.0, 4.0]]))), gram=True)
    inputs = found["0"]
    assert inputs.count == 2
    assert inputs.mean_abs.tolist() == [2.0, 3.0]
    assert (inputs.low.tolist(), inputs.high.tolist()) == ([1.0, -2.0], [3.0, 4.0])
    # 2/2 · ([[1, −2], [−2, 4]] + [[9, 12], [12, 16]])
    assert inputs.gram.tolist() == [[10.0, 10.0], [10.0, 20.0]]


@given(rows=st.integers(1, 9), width=st.integers(1, 7), cut=st.integers(1, 8))
def test_inputs_do_not_depend_on_how_the_data_is_cut_into_batches(rows, width, cut):
    model = nn.Sequential(nn.Linear(width, 2))
    x = torch.randn(rows, width, generator=torch.Generator().manual_seed(rows))
    whole = inputs_of(model, lambda: model(x), gram=True)["0"]
    parts = inputs_of(model, lambda: [model(part) for part in x.split(cut)], gram=True)["0"]
    assert isinstance(whole, Inputs) and whole.count == parts.count == rows
    for key in ("mean_abs", "low", "high", "gram"):
        torch.testing.assert_close(getattr(whole, key), getattr(parts, key))
    torch.testing.assert_close(whole.gram, 2 * x.T @ x / rows, rtol=1e-4, atol=1e-5)


def test_watching_leaves_no_hooks_even_after_an_error():
    model = tiny()

    def broken():
        raise RuntimeError("no data")

    with pytest.raises(RuntimeError, match="no data"):
        inputs_of(model, broken)
    assert not any(layer._forward_pre_hooks for layer in linears(model).values())


def test_watching_is_without_dropout_and_leaves_the_mode_as_it_was():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2), nn.BatchNorm1d(2)).train()
    found = inputs_of(model, lambda: model(torch.ones(8, 4)))["1"]
    assert found.low.tolist() == found.high.tolist() == [1.0] * 4
    assert all(part.training for part in model.modules()) and not model[2].num_batches_tracked
    with pytest.raises(ZeroDivisionError):
        inputs_of(model, lambda: 1 / 0)
    assert all(part.training for part in model.modules())


def test_a_single_row_without_a_batch_is_an_input():
    model = nn.Sequential(nn.Linear(2, 1))
    found = inputs_of(model, lambda: model(torch.tensor([1.0, -2.0])), gram=True)["0"]
    assert found.count == 1 and found.gram.tolist() == [[2.0, -4.0], [-4.0, 8.0]]


def test_inputs_of_a_run_in_inference_mode_can_be_used_with_gradients():
    model = nn.Sequential(nn.Linear(2, 1))

    @torch.inference_mode()
    def run():
        model(torch.tensor([[1.0, -2.0]]))

    found = inputs_of(model, run, gram=True)["0"]
    for part in (found.low, found.high, found.mean_abs, found.gram):
        (part * torch.ones_like(part, requires_grad=True)).sum().backward()


def test_inputs_whose_squares_are_infinite_are_refused():
    model = nn.Sequential(nn.Linear(2, 2))
    inputs_of(model, lambda: model(torch.full((1, 2), 1e30)))
    with pytest.raises(ValueError, match="NaN or infinite"):
        inputs_of(model, lambda: model(torch.full((1, 2), 1e30)), gram=True)


def test_calibration_without_data_is_refused():
    model = tiny()
    with pytest.raises(ValueError, match="no calibration data"):
        inputs_of(model, lambda: None)
    with pytest.raises(ValueError, match="no calibration data"):
        inputs_of(nn.Sequential(nn.Linear(2, 2)), lambda: None)
    with pytest.raises(ValueError, match="no linear layer 'blocks'"):
        inputs_of(model, lambda: None, ["blocks"])


def test_a_layer_that_the_data_does_not_reach_is_left_out_unless_it_was_named():
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "idle": nn.Linear(2, 2)})
    run = lambda: model["used"](torch.ones(1, 2))  # noqa: E731
    assert list(inputs_of(model, run)) == ["used"]
    with pytest.raises(ValueError, match="to idle"):
        inputs_of(model, run, ["used", "idle"])


def test_data_that_is_not_a_number_is_refused():
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="NaN or infinite"):
        inputs_of(model, lambda: model(torch.tensor([[1.0, float("nan")]])))


@pytest.mark.parametrize("options", [{"bits": 3}, {"bits": 4, "group": 8}, {"bits": 8, "symmetric": False}])
def test_the_compressed_layer_is_the_linear_layer_of_the_dequantized_weight(options):
    layer, x = nn.Linear(16, 6), torch.randn(2, 3, 16)
    quantized = quantize(layer.weight, **options)
    found = CompressedLinear.from_quantized(quantized, layer.bias)
    assert torch.equal(found(x), nn.functional.linear(x, dequantize(quantized), layer.bias))
    assert torch.equal(found.quantized.codes, quantized.codes)
    assert not list(found.parameters())


KINDS = [
    (CompressedLinear, {"bits": 8, "symmetric": False}),
    (Linear8, {"bits": 8}),
    (Linear4, {"bits": 4, "group": 32}),
    (Linear4, {"bits": 4, "group": 16}),
]


def layer_of(kind, how, seed=0):
    draw = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(32, 64, generator=draw), torch.randn(32, generator=draw)
    return kind(quantize(weight, **how), bias)


@pytest.mark.parametrize(("kind", "how"), KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_another_type_of_floats_leaves_codes_and_steps_exact(kind, how, dtype):
    layer, x = layer_of(kind, how), torch.randn(3, 64)
    wanted, exact = nn.functional.linear(x, dequantize(layer.quantized), layer.bias), layer.quantized
    out = layer.to(dtype)(x.to(dtype))
    assert out.dtype == dtype and layer.weight.dtype == dtype
    assert ((out - wanted).norm() / wanted.norm()).item() < 0.01
    grad = x.to(dtype).requires_grad_()
    layer(grad).sum().backward()
    assert grad.grad.dtype == dtype
    layer.float()
    assert torch.equal(layer.quantized.codes, exact.codes) and torch.equal(layer.quantized.scale, exact.scale)
    assert torch.equal(layer.weight, dequantize(exact))


@pytest.mark.parametrize(("kind", "how"), KINDS)
def test_what_is_loaded_is_what_is_computed_with(kind, how):
    layer, other, x = layer_of(kind, how), layer_of(kind, how, seed=1), torch.randn(3, 64)
    assert other.weight is not None and "codes" in layer.state_dict()  # floats are unpacked and kept by now
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x)) and torch.equal(other.weight, layer.weight)
    plain = CompressedLinear(quantize(torch.randn(32, 64), **how), torch.zeros(32))  # the codes are in no secret order
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(plain.weight, layer.weight)


@pytest.mark.parametrize(("kind", "how"), KINDS)
def test_copies_and_pickles_compute_the_same_and_are_their_own(kind, how):
    layer, x = layer_of(kind, how), torch.randn(3, 64)
    before = layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), before)
        twin.load_state_dict(layer_of(kind, how, seed=1).state_dict())
        assert torch.equal(layer(x), before) and not torch.equal(twin(x), before)


@pytest.mark.parametrize(("kind", "how"), KINDS)
def test_rows_that_do_not_lie_in_a_row(kind, how):
    layer, x = layer_of(kind, how), torch.randn(64, 3).T
    torch.testing.assert_close(layer(x), layer(x.contiguous()))
    assert layer(x[:0]).shape == (0, 32)


def test_bytes_of_a_compressed_layer_by_hand():
    quantized = quantize(torch.randn(8, 64), 4, group=32)
    # 512 codes of half a byte, 16 steps of 4 bytes, 8 biases of 4 bytes
    assert CompressedLinear(quantized, torch.zeros(8)).nbytes == 256 + 64 + 32
    affine = quantize(torch.randn(8, 64), 4, group=32, symmetric=False)
    assert CompressedLinear(affine).nbytes == 256 + 64 + 8  # and 16 zero points of half a byte


def test_a_bias_of_another_size_is_refused():
    with pytest.raises(ValueError, match="8 rows"):
        CompressedLinear(quantize(torch.randn(8, 4), 8), torch.zeros(7))
