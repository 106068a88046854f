"""Layers that compute in whole numbers: by hand, beside ONNX Runtime and plain Python, and what they refuse."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from labkit.compression.integer import (
    Affine,
    Int8Linear,
    IntegerLinear,
    affine_range,
    calibrate,
    fixed_point,
    fold_zero_point,
    from_codes,
    integer_matmul,
    per_token,
    requantize,
    to_codes,
    to_int8,
)
from labkit.compression.layers import linears
from labkit.transformer import Config, Decoder


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def codes(*shape, seed=0):
    return torch.randint(-128, 128, shape, dtype=torch.int8, generator=torch.Generator().manual_seed(seed))


def small(seed=0, **more):
    return Decoder(
        Config(50, 16, 2, 2, 16, norm="rms", activation="swiglu", positions="rotary", bias=False, **more), seed=seed
    )


IDS = torch.randint(0, 50, (4, 16), generator=torch.Generator().manual_seed(1))


def test_a_layer_worked_by_hand():
    """Weights (1, −2) in steps of 1/127 and 2/127 per row; x = 3 is code 3 + 10; the outputs go in steps of ½."""
    layer = IntegerLinear(torch.tensor([[127.0, -127.0]]), torch.tensor([3.0]), Affine(0.5, 10), Affine(8.0, -4))
    given = torch.tensor([[14, 7]], dtype=torch.int8)  # 2 and −1.5
    assert layer.codes.tolist() == [[127, -127]]
    assert layer.bias.tolist() == [6]  # 3 in steps of ½ · 1; the weights cancel, so does the zero point
    assert layer.sums(given).tolist() == [[127 * 7 + 6]]  # 127 (2 + 1.5) + 3 = 447.5, in steps of ½
    assert layer(given).tolist() == [[56 - 4]]  # 447.5 / 8 = 55.94


def test_codes_cover_the_range_and_zero_stays_zero():
    for low, high in ((-1.0, 3.0), (0.5, 2.0), (-7.0, -6.0), (0.0, 0.0)):
        affine = affine_range(low, high)
        assert float(from_codes(to_codes(torch.zeros(1), affine), affine)) == 0
        x = torch.linspace(low, high, 99)
        assert float((from_codes(to_codes(x, affine), affine) - x).abs().max()) <= affine.scale * 0.51 + 1e-6
    assert to_codes(torch.tensor([-99.0, 99.0]), affine_range(-1, 1)).tolist() == [-128, 127]


@pytest.mark.parametrize("shape", [(0, 4, 3), (1, 1, 1), (1, 7, 3), (5, 64, 9), (17, 1500, 4)])
def test_products_of_codes_are_exact(shape):
    rows, inputs, out = shape
    x, w = codes(rows, inputs), codes(out, inputs, seed=1)
    assert torch.equal(integer_matmul(x, w).long(), x.long() @ w.long().T)


def test_the_way_of_accelerators_is_exact_too():
    """Away from the CPU, slices in float32 are added as whole numbers: here with the largest codes there are."""
    x = torch.full((2, 3000), -128, dtype=torch.int8)
    parts = sum((a.float() @ a.float().T).to(torch.int32) for a in x.split(1024, dim=1))
    assert torch.equal(parts, integer_matmul(x, x)) and int(parts[0, 0]) == 3000 * 2**14


@given(some.integers(-128, 127), some.integers(0, 99))
def test_a_folded_zero_point_changes_no_sum(zero, seed):
    x, w = codes(3, 8, seed=seed), codes(5, 8, seed=seed + 1)
    bias = torch.arange(5, dtype=torch.int32)
    plain = (x.long() - zero) @ w.long().T + bias
    assert torch.equal((integer_matmul(x, w) + fold_zero_point(w, zero, bias)).long(), plain)


@given(some.floats(1e-9, 0.999999))
def test_a_ratio_is_a_multiplier_of_31_bits_and_a_shift(ratio):
    multiplier, shift = (int(part) for part in fixed_point(ratio))
    assert 2**30 <= multiplier < 2**31 and shift >= 0
    assert multiplier * 2.0 ** (-31 - shift) == pytest.approx(ratio, rel=2**-30)


def test_nearly_one_does_not_overflow_the_multiplier():
    assert int(fixed_point(1 - 2**-31 - 2**-33)[0]) == 2**31 - 1
    assert [int(part) for part in fixed_point(torch.tensor(0.5 - 2**-34, dtype=torch.float64))] == [2**30, 0]


def gemmlowp(a, b, shift):
    """Its C code in Python: division cuts off, remainders by a mask."""
    product = a * b
    upper = int(Fraction(product + (2**30 if product >= 0 else 1 - 2**30), 2**31))  # int() cuts off, as C does
    mask = (1 << shift) - 1
    return (upper >> shift) + ((upper & mask) > (mask >> 1) + (upper < 0))


@given(some.integers(-(2**31) + 1, 2**31 - 1), some.integers(2**30, 2**31 - 1), some.integers(0, 30))
def test_requantization_is_that_of_gemmlowp(total, multiplier, shift):
    numbers = (torch.tensor([n], dtype=torch.int32) for n in (total, multiplier, shift))
    ours = int(requantize(*numbers))
    assert ours == gemmlowp(total, multiplier, shift)
    assert abs(ours - total * multiplier * 2.0 ** (-31 - shift)) <= 1.0  # rounding twice


def test_halves_go_away_from_zero_on_both_sides():
    sums = torch.tensor([-100, -4, -3, 0, 3, 4, 100], dtype=torch.int32)  # times 0.375: ±37.5, ±1.5, ±1.125
    assert requantize(sums, *fixed_point(0.375)).tolist() == [-38, -2, -1, 0, 1, 2, 38]


def test_a_relu_ends_at_the_zero_point():
    layer = IntegerLinear(drawn(6, 8), None, Affine(0.1, 0), Affine(0.5, 10), relu=True)
    plain = IntegerLinear(drawn(6, 8), None, Affine(0.1, 0), Affine(0.5, 10))
    x = codes(40, 8)
    assert int(plain(x).min()) < 10 and torch.equal(layer(x), plain(x).clamp_min(10))


def onnx_runs(kind, inputs, types, out):
    """One operator of ONNX Runtime on these inputs, by name; an int32 or uint8 result."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    make = onnx.helper
    described = [make.make_tensor_value_info(n, types[n], list(x.shape)) for n, x in inputs.items()]
    rows, columns = inputs["a"].shape[0], inputs["b"].shape[1]
    result = make.make_tensor_value_info("y", out, [rows, columns])
    graph = make.make_graph([make.make_node(kind, list(inputs), ["y"])], "one", described, [result])
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 21)], ir_version=10)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


MIDDLE = np.array(128, dtype=np.uint8)


def unsigned(codes):
    """Codes 128 higher, of which their kernels are exact everywhere; for signed ones some add pairs in 16 bits."""
    return (codes.int() + 128).to(torch.uint8).contiguous().numpy()


def test_sums_equal_those_of_onnx_runtime():
    onnx = pytest.importorskip("onnx")
    x, w = codes(9, 70), codes(16, 70, seed=1)
    given_ = {"a": unsigned(x), "b": unsigned(w.T), "za": np.array(128 - 77, dtype=np.uint8), "zb": MIDDLE}
    types = dict.fromkeys(given_, onnx.TensorProto.UINT8)
    theirs = onnx_runs("MatMulInteger", given_, types, onnx.TensorProto.INT32)
    ours = integer_matmul(x, w) + fold_zero_point(w, -77)
    assert np.array_equal(theirs, ours.numpy())


def test_codes_are_those_of_onnx_runtime_but_for_halves():
    """QLinearMatMul multiplies by a float where we use a whole number and a shift."""
    onnx = pytest.importorskip("onnx")
    weight, x = drawn(32, 64), drawn(200, 64, seed=1)
    inputs, outputs = affine_range(x.min(), x.max()), affine_range((x @ weight.T).min(), (x @ weight.T).max())
    layer = IntegerLinear(weight, None, inputs, outputs)
    step = weight.abs().amax(dim=1) / 127
    given_ = {
        "a": unsigned(to_codes(x, inputs)),
        "as": np.array(inputs.scale, dtype=np.float32),
        "az": np.array(inputs.zero + 128, dtype=np.uint8),
        "b": unsigned(layer.codes.T),
        "bs": step.numpy(),
        "bz": np.full(32, 128, dtype=np.uint8),
        "ys": np.array(outputs.scale, dtype=np.float32),
        "yz": np.array(outputs.zero + 128, dtype=np.uint8),
    }
    types = {n: onnx.TensorProto.FLOAT if v.dtype == np.float32 else onnx.TensorProto.UINT8 for n, v in given_.items()}
    theirs = onnx_runs("QLinearMatMul", given_, types, onnx.TensorProto.UINT8)
    apart = np.abs(theirs.astype(int) - unsigned(layer(to_codes(x, inputs))).astype(int))
    assert apart.max() <= 1 and (apart > 0).mean() < 5e-3


@pytest.mark.parametrize("relu", [False, True])
def test_two_layers_without_a_float_are_near_the_float_ones(relu):
    first, second, x = drawn(24, 32) / 6, drawn(10, 24, seed=2) / 5, drawn(300, 32, seed=1)
    bias = drawn(24, seed=3)
    middle = x @ first.T + bias
    middle = middle.relu() if relu else middle
    exact = middle @ second.T
    ranges = [affine_range(t.min(), t.max()) for t in (x, middle, exact)]
    one = IntegerLinear(first, bias, ranges[0], ranges[1], relu=relu)
    two = IntegerLinear(second, None, ranges[1], ranges[2])
    between = one(to_codes(x, ranges[0]))
    assert between.dtype == torch.int8 and not any(b.is_floating_point() for b in (*one.buffers(), *two.buffers()))
    result = from_codes(two(between), ranges[2])
    assert float((result - exact).norm() / exact.norm()) < 0.02


def test_more_dimensions_are_rows():
    layer = IntegerLinear(drawn(5, 8), None, Affine(0.1, 3), Affine(1.0, 0))
    x = codes(2, 3, 8)
    assert torch.equal(layer(x)[1, 2], layer(x[1, 2][None])[0])


def test_static_and_dynamic_layers_compute_what_their_codes_say():
    weight, bias, x = drawn(6, 12), drawn(6, seed=2), drawn(3, 5, 12, seed=1)
    rounded = from_codes(Int8Linear(weight, bias).codes, Affine(1.0, 0)) * weight.abs().amax(1, keepdim=True) / 127
    flat, affine = x.flatten(0, 1), affine_range(x.min(), x.max())
    found, step = per_token(flat)
    dynamic = (found * step) @ rounded.T + bias
    static = from_codes(to_codes(flat, affine), affine) @ rounded.T + bias
    assert torch.allclose(Int8Linear(weight, bias)(x).flatten(0, 1), dynamic, atol=1e-5)
    assert torch.allclose(Int8Linear(weight, bias, affine)(x).flatten(0, 1), static, atol=1e-5)


@given(some.integers(0, 99), some.floats(1e-6, 1e6))
def test_a_token_is_rounded_by_at_most_half_its_own_step(seed, size):
    x = drawn(4, 9, seed=seed) * size
    found, step = per_token(x)
    assert bool(((found * step - x).abs() <= step * 0.5001).all()) and int(found.abs().max()) == 127


def test_a_model_in_8_bits_is_near_the_float_one_and_smaller():
    model = small()
    exact = model(IDS).detach()
    ranges = calibrate(model, lambda: model(IDS))
    for other in (to_int8(model), to_int8(model, ranges)):
        assert float((other(IDS).detach() - exact).norm() / exact.norm()) < 0.03
        assert not linears(other)
        assert sum(m.nbytes for m in other.modules() if isinstance(m, Int8Linear)) < 0.4 * sum(
            layer.weight.nbytes for layer in linears(model).values()
        )
    assert torch.equal(model(IDS), exact)  # the model itself is left alone


def test_ranges_of_another_model_are_refused():
    model, other = small(), small(seed=1)
    ranges = calibrate(model, lambda: model(IDS))
    with pytest.raises(ValueError, match="calibrated on another model"):
        to_int8(other, ranges)
    with pytest.raises(ValueError, match=r"no range for 'blocks.1.feedforward.up'"):
        only = calibrate(model, lambda: model(IDS), ["blocks.0.attention.qkv"])
        to_int8(model, only, ["blocks.1.feedforward.up"])
    with pytest.raises(ValueError, match="no linear layer 'head'"):
        to_int8(model, names=["head"])


def test_nothing_to_calibrate_on_is_refused():
    with pytest.raises(ValueError, match="no calibration data"):
        calibrate(small(), lambda: None)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("inputs", [None, Affine(0.1, 0)])
def test_activations_that_are_no_numbers_are_refused(bad, inputs):
    x = drawn(2, 4)
    x[1, 2] = bad
    with pytest.raises(ValueError, match="activations are NaN or infinite"):
        Int8Linear(drawn(3, 4), None, inputs)(x)
    with pytest.raises(ValueError, match="finite"):
        affine_range(0.0, bad)


def test_weights_that_are_zero_or_no_numbers_are_refused():
    with pytest.raises(ValueError, match="all 12 weights are zero"):
        Int8Linear(torch.zeros(3, 4), None)
    with pytest.raises(ValueError, match="NaN or infinite"):
        Int8Linear(torch.full((3, 4), torch.nan), None)


def test_a_row_of_zeros_still_gives_its_bias():
    """Its step cannot follow from weights; 1 would be coarser than the outputs' step, and refused."""
    weight = drawn(3, 4) / 10
    weight[1] = 0
    layer = IntegerLinear(weight, torch.tensor([0.0, 2.5, 0.0]), Affine(1.0, 5), Affine(0.05, 0))
    assert float(from_codes(layer(codes(1, 4)), layer.outputs)[0, 1]) == pytest.approx(2.5, abs=0.03)


def test_what_cannot_be_computed_is_refused():
    with pytest.raises(ValueError, match="ratio of steps must lie between 0 and 1, got 8"):
        IntegerLinear(torch.full((1, 2), 127.0), None, Affine(8.0, 0), Affine(1.0, 0))
    with pytest.raises(ValueError, match="32 bits hold"):
        IntegerLinear(drawn(1, 2), torch.tensor([1e9]), Affine(1e-3, 0), Affine(1.0, 0))
    layer = IntegerLinear(drawn(3, 4), None, Affine(0.1, 0), Affine(1.0, 0))
    with pytest.raises(ValueError, match=r"codes must be int8, \(…, 4\), got \(1, 4\) torch.float32"):
        layer(drawn(1, 4))
    with pytest.raises(ValueError, match=r"got \(1, 5\) torch.int8"):
        layer(codes(1, 5))
