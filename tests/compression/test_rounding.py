"""What rounding costs: formulas against numbers, and against tables printed in 1960."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from labkit.compression.grid import dequantize, quantize
from labkit.compression.rounding import (
    best_step,
    mean_square_error,
    normal_error,
    overload_error,
    predicted_snr_db,
    snr_db,
    uniform_error,
)

# Max (1960), table II: levels, step, mean square error of even levels for a normal variable.
PRINTED = [(2, 1.596, 0.3634), (4, 0.9957, 0.1188), (8, 0.5860, 0.03744), (16, 0.3352, 0.01154), (32, 0.1881, 0.00349)]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(some.floats(1e-3, 1e3))
def test_a_twelfth_of_the_square_by_integration(step):
    rest = torch.linspace(-step / 2, step / 2, 100_001, dtype=torch.float64)
    assert float(torch.trapezoid(rest**2, rest)) / step == pytest.approx(uniform_error(step), rel=1e-6)


@pytest.mark.parametrize("bits", range(4, 9))
def test_weights_have_the_error_that_the_step_predicts(bits):
    weight = normal(64, 512).float()
    q = quantize(weight, bits)
    assert mean_square_error(weight, dequantize(q)) == pytest.approx(float(uniform_error(q.scale).mean()), rel=0.02)


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_predicted_ratio_for_numbers_spread_evenly(bits):
    x = torch.linspace(-1, 1, 2**16, dtype=torch.float64)
    step = 2 / 2**bits
    rounded = (torch.floor(x / step).clamp(max=2 ** (bits - 1) - 1) + 0.5) * step
    assert snr_db(x, rounded) == pytest.approx(predicted_snr_db(bits, math.sqrt(3)), abs=0.01)
    assert predicted_snr_db(bits, math.sqrt(3)) == pytest.approx(6.0206 * bits, abs=0.001)


@pytest.mark.parametrize(("levels", "step", "error"), PRINTED)
def test_the_table_of_max(levels, step, error):
    found = best_step(levels)
    assert found == pytest.approx(step, abs=6e-4)
    assert normal_error(found, levels) == pytest.approx(error, rel=2e-3)


@pytest.mark.parametrize(("step", "levels"), [(0.3, 15), (1.0, 4), (0.02, 255)])
def test_the_exact_error_is_that_of_many_draws(step, levels):
    x, edge = normal(400_000), (levels - 1) / 2
    rounded = ((x / step + edge).round().clamp(0, levels - 1) - edge) * step
    assert normal_error(step, levels) == pytest.approx(mean_square_error(x, rounded), rel=0.02)


@given(some.floats(0, 4))
def test_what_clipping_costs_by_integration(limit):
    x = torch.linspace(limit, limit + 9, 20_001, dtype=torch.float64)
    density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
    assert overload_error(limit) == pytest.approx(2 * float(torch.trapezoid((x - limit) ** 2 * density, x)), abs=1e-6)


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_the_sum_of_both_errors_is_nearly_the_exact_one(bits):
    levels, step = 2**bits, best_step(2**bits)
    limit = step * levels / 2
    assert overload_error(limit) + uniform_error(step) == pytest.approx(normal_error(step, levels), rel=0.1)


def test_no_error_and_no_signal():
    x = torch.ones(3)
    assert snr_db(x, x) == math.inf
    for nothing in (torch.zeros(3), torch.ones(0)):
        with pytest.raises(ValueError, match="all numbers are 0"):
            snr_db(nothing, nothing)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="give 1 or more"):
        predicted_snr_db(8, 0.5)
    with pytest.raises(ValueError, match="from 2 to 8"):
        predicted_snr_db(16, 2.0)
    with pytest.raises(ValueError, match="not negative"):
        overload_error(-1)
    with pytest.raises(ValueError, match="two levels or more"):
        normal_error(1.0, 1)
    with pytest.raises(ValueError, match="positive step"):
        normal_error(0.0, 4)
