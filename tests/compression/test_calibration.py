"""Limits of a grid: by hand, against numpy and an exhaustive search, with outliers, and without data."""

import numpy as np
import pytest
import torch

from labkit.compression.calibration import METHODS, Observed, limits, percentile, squared_error, weight_limits
from labkit.compression.grid import dequantize, from_codes, grid_of, quantize, to_codes
from labkit.compression.rounding import best_step, mean_square_error


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_min_max_by_hand():
    low, high = limits(torch.tensor([[-1.0, 4.0], [-3.0, 2.0]]), 8, "min-max")
    assert (low.tolist(), high.tolist()) == ([-4.0, -3.0], [4.0, 3.0])
    low, high = limits(torch.tensor([[-1.0, 4.0], [-3.0, 2.0]]), 8, "min-max", symmetric=False)
    assert (low.tolist(), high.tolist()) == ([-1.0, -3.0], [4.0, 2.0])


@pytest.mark.parametrize("percent", [50, 99, 99.9, 100])
def test_percentiles_are_those_of_numpy(percent):
    x = normal(3, 1001)
    low, high = percentile(x, percent)
    assert torch.equal(low, -high)
    assert np.allclose(high, np.percentile(x.abs(), percent, axis=1), atol=1e-5)
    low, high = percentile(x, percent, symmetric=False)
    assert np.allclose(low, np.percentile(x, 50 - percent / 2, axis=1), atol=1e-5)
    assert np.allclose(high, np.percentile(x, 50 + percent / 2, axis=1), atol=1e-5)


def error(x, low, high, bits, symmetric):
    step, zero = grid_of(low, high, bits, symmetric)
    return mean_square_error(x, from_codes(to_codes(x, step, zero, bits), step, zero))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_least_error_is_as_good_as_a_fine_search(bits, symmetric):
    x = normal(2000, seed=bits)
    low, high = limits(x, bits, "min-max", symmetric=symmetric)
    fine = min(error(x, part * low, part * high, bits, symmetric) for part in torch.linspace(0.05, 1, 500))
    found = error(x, *limits(x, bits, "mse", symmetric=symmetric), bits, symmetric)
    assert found <= 1.06 * fine


def test_least_error_finds_the_step_of_max():
    x = normal(200_000)
    high = float(limits(x, 4, "mse")[1])
    assert high / 7 == pytest.approx(best_step(15), rel=0.05)  # 15 even levels, one of them 0


@pytest.mark.parametrize(("per", "group"), [("tensor", None), ("channel", None), ("group", 16)])
@pytest.mark.parametrize("symmetric", [True, False])
def test_each_weight_limit_fits_its_grid_and_mse_is_never_worse(per, group, symmetric):
    weight = normal(6, 64) ** 3
    kind = {"symmetric": symmetric, "per": per, "group": group}
    errors = {}
    for method in METHODS:
        q = quantize(weight, 3, **kind, limits=weight_limits(weight, 3, method, **kind))
        errors[method] = mean_square_error(weight, dequantize(q))
    assert errors["mse"] < errors["min-max"]


def test_one_outlier_costs_min_max_almost_everything():
    x = normal(4096)
    x[7] = 1000.0
    rest = {method: error(x, *limits(x, 8, method), 8, True) for method in ("min-max", "mse")}
    inside = x.abs() < 100
    step, _ = grid_of(*limits(x, 8, "min-max"), 8)
    kept = from_codes(to_codes(x, step, None, 8), step, None)[inside]
    assert (kept == 0).float().mean() > 0.99  # all others fall on zero
    assert rest["mse"] <= rest["min-max"]


def test_all_zero_rows_get_limits_that_a_grid_takes():
    for method in METHODS:
        low, high = weight_limits(torch.zeros(2, 8), 4, method)
        assert (dequantize(quantize(torch.zeros(2, 8), 4, limits=(low, high))) == 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_observed_batches_give_the_limits_of_all_of_them(method, symmetric):
    seen, batches = Observed(), [normal(4, 8, 16, seed=seed) for seed in range(5)]
    for batch in batches:
        seen.add(batch)
    whole = torch.cat([batch.flatten() for batch in batches])
    assert seen.count == whole.numel()
    found, exact = seen.limits(4, method, symmetric=symmetric), limits(whole, 4, method, symmetric=symmetric)
    if method == "mse":
        assert error(whole, *found, 4, symmetric) == pytest.approx(error(whole, *exact, 4, symmetric), rel=0.02)
    else:
        assert torch.allclose(torch.stack(found), torch.stack(exact), rtol=3e-4)
    assert seen.error(*found, 4, symmetric=symmetric) == pytest.approx(error(whole, *found, 4, symmetric), rel=0.01)


def test_a_few_far_numbers_among_a_million_are_not_missed():
    x = normal(1_000_000) / 10
    x[[5, 70, 900]] = 25.0
    seen = Observed()
    seen.add(x)
    assert float(seen.limits(8, "mse")[1]) > 15 > 5 > float(seen.limits(2, "mse")[1])
    assert float(seen.limits(8, "percentile")[1]) < 1 and float(seen.limits(8)[1]) == 25.0
    assert seen._numbers.numel() < 50_000  # the table is much shorter than what was seen


def test_counts_are_repetitions():
    x, counts = normal(50), torch.randint(1, 9, (50,), generator=torch.Generator().manual_seed(1))
    again = x.repeat_interleave(counts)
    for method in METHODS:
        for symmetric in (True, False):
            by_count = limits(x, 3, method, symmetric=symmetric, counts=counts)
            assert torch.allclose(torch.stack(by_count), torch.stack(limits(again, 3, method, symmetric=symmetric)))


def test_no_data_and_bad_data_are_refused():
    with pytest.raises(ValueError, match="nothing was observed; send calibration data"):
        Observed().limits(8)
    with pytest.raises(ValueError, match="look at the batch"):
        Observed().add(torch.ones(0))
    with pytest.raises(ValueError, match="look at the batch"):
        Observed().add(torch.tensor([1.0, float("nan")]))
    with pytest.raises(ValueError, match="nothing was observed"):
        Observed().error(torch.tensor(0.0), torch.tensor(1.0), 8)
    with pytest.raises(ValueError, match="no numbers to calibrate on"):
        limits(torch.ones(3, 0), 8)
    with pytest.raises(ValueError, match="NaN or infinity"):
        limits(torch.tensor([float("inf")]), 8)
    with pytest.raises(ValueError, match="choose one of min-max, percentile, mse"):
        limits(torch.ones(3), 8, "entropy")
    with pytest.raises(ValueError, match="more than 0 and at most 100"):
        percentile(torch.ones(3), 101)
    with pytest.raises(ValueError, match="does not divide the width"):
        weight_limits(torch.ones(3, 8), 4, group=3)


@pytest.mark.parametrize(("bits", "farthest"), [(3, 6.0), (4, 6.0), (8, 20.0)])
def test_behind_a_gelu_each_end_is_found_by_itself(bits, farthest):
    x = torch.nn.functional.gelu(normal(2000) / 2)
    x[0] = farthest
    low, high = limits(x, bits, "min-max", symmetric=False)
    parts = torch.linspace(0.04, 1, 25)
    fine = min(error(x, a * low, b * high, bits, False) for a in parts for b in parts)
    assert error(x, *limits(x, bits, "mse", symmetric=False), bits, False) <= 1.02 * fine


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("shift", [-3.0, 3.0])
def test_numbers_that_are_all_on_one_side_of_zero_have_limits(method, symmetric, shift):
    x = normal(3, 500).clamp(-2, 2) + shift
    low, high = limits(x, 4, method, symmetric=symmetric)
    grid_of(low, high, 4, symmetric)
    found, widest = (squared_error(x, *ends, 4, symmetric=symmetric) for ends in ((low, high), (low * 1.2, high * 1.2)))
    assert (found < widest).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_single_number_is_kept(method):
    for number in (2.0, -2.0, 0.0, 65504.0):
        x = torch.full((2, 1), number)
        assert torch.allclose(from_codes(to_codes(x, *(step := one_grid(x, method)), 8), *step), x, rtol=0.01)


def one_grid(x, method):
    step, zero = grid_of(*limits(x, 8, method, symmetric=False), 8, symmetric=False)
    return step.unsqueeze(-1), zero.unsqueeze(-1)


def test_the_largest_float_is_not_rounded_up_to_infinity():
    seen = Observed()
    seen.add(torch.tensor([torch.finfo(torch.float32).max, -1.0]))
    assert float(seen.limits(8)[1]) == torch.finfo(torch.float32).max
