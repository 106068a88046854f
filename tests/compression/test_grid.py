"""Numbers on a grid: worked by hand, against torch and torchao, at the edges, and refused."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from labkit.compression.grid import code_range, dequantize, from_codes, grid_of, quantize, to_codes

BITS = range(2, 9)
KINDS = [("tensor", None), ("channel", None), ("group", 4)]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_ranges_of_all_widths():
    assert [code_range(bits) for bits in BITS] == [
        (-2, 1), (-4, 3), (-8, 7), (-16, 15), (-32, 31), (-64, 63), (-128, 127),
    ]  # fmt: skip
    assert [code_range(bits, signed=False)[1] for bits in BITS] == [3, 7, 15, 31, 63, 127, 255]


@pytest.mark.parametrize("bits", [1, 9, 0, -4, 4.0, "4", None, True])
def test_bits_outside_2_to_8_are_refused(bits):
    with pytest.raises(ValueError, match="whole number from 2 to 8"):
        code_range(bits)
    with pytest.raises(ValueError, match="whole number from 2 to 8"):
        quantize(torch.ones(2, 2), bits)


def test_a_symmetric_row_by_hand():
    q = quantize(torch.tensor([[0.32, -0.7, 0.14, 0.0]]), 4)  # 0.7 / 7 = 0.1
    assert q.codes.tolist() == [[3, -7, 1, 0]]
    assert q.codes.dtype == torch.int8 and q.zero is None and q.scale.item() == pytest.approx(0.1)


def test_an_affine_row_by_hand():
    q = quantize(torch.tensor([[-1.0, 0.0, 2.0, 0.52]]), 2, symmetric=False)  # 3 / 3 = 1, zero point 1
    assert (q.codes.tolist(), q.zero.tolist(), q.scale.tolist()) == ([[0, 1, 3, 2]], [[1]], [[1.0]])
    assert q.codes.dtype == torch.uint8 and dequantize(q).tolist() == [[-1.0, 0.0, 2.0, 1.0]]


@pytest.mark.parametrize(("low", "high", "zero"), [(1.0, 3.0, 0), (-3.0, -1.0, 255)])
def test_an_affine_range_is_stretched_to_zero(low, high, zero):
    step, found = grid_of(low, high, 8, symmetric=False)
    assert step.item() == pytest.approx(3 / 255) and found.item() == zero


@pytest.mark.parametrize(("per", "group"), KINDS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_shapes_of_scales_by_granularity(per, group, symmetric):
    q = quantize(normal(3, 12), 5, symmetric=symmetric, per=per, group=group)
    shape = {"tensor": (1, 1), "channel": (3, 1), "group": (3, 3)}[per]
    assert q.scale.shape == shape and (symmetric or q.zero.shape == shape)
    assert q.codes.shape == (3, 12) and q.codes.is_contiguous()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_torch_rounds_to_the_same_numbers_per_channel(bits, symmetric):
    weight = normal(16, 40, seed=bits) * torch.logspace(-6, 6, 16)[:, None]
    q = quantize(weight, bits, symmetric=symmetric)
    low, high = (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1) if symmetric else (0, 2**bits - 1)
    zero = torch.zeros(16, dtype=torch.int32) if symmetric else q.zero[:, 0]
    theirs = torch.fake_quantize_per_channel_affine(weight, q.scale[:, 0], zero, 0, low, high)
    apart = (dequantize(q) - theirs).abs()
    assert (apart > 0.51 * q.scale).sum() <= 2  # torch multiplies by 1 / step: a tie may go the other way
    assert (apart > 1e-3 * q.scale).float().mean() < 0.005 and (apart <= 1.01 * q.scale).all()


def test_torchao_finds_the_same_steps_zero_points_and_codes():
    pytest.importorskip("torchao")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchao.quantization import quant_primitives as theirs
    weight = normal(8, 64)
    for symmetric, kind, dtype, low in ((True, "SYMMETRIC", torch.int8, -7), (False, "ASYMMETRIC", torch.uint8, 0)):
        q = quantize(weight, 4, symmetric=symmetric, group=16)
        high = 7 if symmetric else 15
        mapping = theirs.MappingType[kind]
        step, zero = theirs.choose_qparams_affine(weight, mapping, (1, 16), dtype, low, high)
        codes = theirs.quantize_affine(weight, (1, 16), step, zero, dtype, low, high)
        assert torch.allclose(step.view(8, 4), q.scale) and (symmetric or (zero.view(8, 4) == q.zero).all())
        assert (codes != q.codes).sum() <= 1


@given(
    bits=some.integers(2, 8),
    kind=some.sampled_from(KINDS),
    symmetric=some.booleans(),
    size=some.sampled_from([1e-37, 1e-6, 1.0, 1e30]),
    rows=some.integers(1, 5),
    seed=some.integers(0, 99),
)
def test_nothing_lies_farther_than_half_a_step_and_zero_is_exact(bits, kind, symmetric, size, rows, seed):
    weight = normal(rows, 8, seed=seed).double().mul(size).float()
    weight[0, :4] = 0
    q = quantize(weight, bits, symmetric=symmetric, per=kind[0], group=kind[1])
    back = dequantize(q)
    step = (q.scale * torch.ones(rows, 1)).repeat_interleave(8 // q.scale.shape[1], 1)
    assert (q.scale > 0).all() and (back[0, :4] == 0).all()
    farthest = 0.501 if symmetric else 1.001  # a rounded zero point may move the end of the range by half a step
    assert ((back - weight).abs() <= farthest * step + 1e-37).all()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("per", "group"), KINDS)
def test_all_zero_weights_stay_zero_with_a_step_that_is_not(per, group, symmetric):
    q = quantize(torch.zeros(2, 8), 3, symmetric=symmetric, per=per, group=group)
    assert (q.scale == 1).all() and (dequantize(q) == 0).all()


def test_what_is_on_the_grid_already_does_not_change():
    q = quantize(normal(4, 32), 4, group=8)
    again = quantize(dequantize(q), 4, group=8)
    assert torch.equal(again.codes, q.codes) and torch.allclose(again.scale, q.scale)


def test_a_transposed_and_a_half_precision_weight():
    weight = normal(12, 6).T
    assert torch.equal(quantize(weight, 4, group=4).codes, quantize(weight.contiguous(), 4, group=4).codes)
    half = weight.bfloat16()
    assert torch.equal(dequantize(quantize(half, 8)), dequantize(quantize(half.float(), 8)))


def test_whole_numbers_of_numpy_are_whole_numbers():
    q = quantize(torch.ones(2, 8), np.int8(8), group=np.int64(4))
    assert (type(q.bits), type(q.group)) == (int, int) and (q.codes == 127).all()


def test_given_limits_clip():
    q = quantize(torch.tensor([[0.5, -4.0], [1.0, 8.0]]), 3, limits=(-1.5, 1.5))
    assert dequantize(q).tolist() == [[0.5, -1.5], [1.0, 1.5]]
    by_row = torch.tensor([1.5, 3.0])
    assert quantize(torch.ones(2, 2), 3, limits=(-by_row, by_row)).scale.tolist() == [[0.5], [1.0]]


def test_activations_of_any_shape_go_through_the_building_blocks():
    x = normal(2, 3, 5).relu()
    step, zero = grid_of(x.amin(), x.amax(), 8, symmetric=False)
    assert (from_codes(to_codes(x, step, zero, 8), step, zero) - x).abs().max() <= 0.501 * step


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused_and_counted(bad):
    weight = torch.ones(2, 3)
    weight[1, 2] = bad
    with pytest.raises(ValueError, match="1 of 6 weights are NaN or infinite"):
        quantize(weight, 4)
    with pytest.raises(ValueError, match="limits must be finite"):
        quantize(torch.ones(2, 3), 4, limits=(-1.0, bad))


@pytest.mark.parametrize("group", [5, 0, -4, 9, 2.0, True, None])
def test_a_group_that_does_not_divide_the_width_is_refused(group):
    with pytest.raises(ValueError, match="does not divide the width 8"):
        quantize(torch.ones(2, 8), 4, per="group", group=group)


def test_other_wrong_input_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="give a matrix"):
        quantize(torch.ones(8), 4)
    with pytest.raises(ValueError, match="not empty"):
        quantize(torch.ones(0, 8), 4)
    with pytest.raises(ValueError, match="per is 'tensor'"):
        quantize(torch.ones(2, 8), 4, per="row")
    with pytest.raises(ValueError, match="per is 'tensor'"):
        quantize(torch.ones(2, 8), 4, per="tensor", group=4)
    with pytest.raises(ValueError, match="give one number, or as many as"):
        quantize(torch.ones(2, 8), 4, limits=(-torch.ones(3), torch.ones(3)))
    with pytest.raises(ValueError, match="low <= high"):
        grid_of(1.0, -1.0, 4)


def test_limits_that_are_learned_leave_no_gradient_in_the_grid():
    ends = torch.ones(2, 1, requires_grad=True)
    q = quantize(torch.nn.Parameter(normal(2, 8)), 4, symmetric=False, limits=(-ends, ends))
    assert not q.scale.requires_grad and not dequantize(q).requires_grad


def test_the_widest_range_of_float32_has_a_finite_step():
    assert grid_of(-3e38, 3e38, 8, symmetric=False)[0].item() == pytest.approx(6e38 / 255)
