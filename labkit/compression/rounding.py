"""What rounding costs: step²/12 inside the grid, the part cut off outside it, and the best step between the two."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from labkit.compression.grid import code_range


def uniform_error(step: float | int | Tensor) -> float | Tensor:
    """Return the mean square error of rounding to a grid of this step: step²/12.

    What is left after rounding lies evenly in −step/2 … step/2, and the mean of its square there is
    (1/step) ∫ e² de = step²/12.

    Source: Bennett (1948), "Spectra of quantized signals", section I.

    >>> round(uniform_error(0.1), 6)
    0.000833
    """
    return step**2 / 12


def mean_square_error(exact: Float[Tensor, "*shape"], rounded: Float[Tensor, "*shape"]) -> float:
    """Return the mean of the squared differences."""
    return float((exact.double() - rounded.double()).square().mean())


def snr_db(exact: Float[Tensor, "*shape"], rounded: Float[Tensor, "*shape"]) -> float:
    """Return the signal-to-noise ratio in decibel: 10 log₁₀ of mean square over mean square error; inf without error.

    Raises:
        ValueError: if there is no signal, only zeros.

    >>> round(snr_db(torch.tensor([3.0, -4.0]), torch.tensor([3.3, -3.6])), 1)  # a tenth of the amplitude: 20 dB
    20.0
    """
    signal = float(exact.double().square().mean()) if exact.numel() else 0.0
    if not signal > 0:
        raise ValueError("all numbers are 0 (or there are none): a ratio to their noise has no meaning")
    noise = mean_square_error(exact, rounded)
    return 10 * math.log10(signal / noise) if noise else math.inf


def predicted_snr_db(bits: int, peak_over_rms: float | int) -> float:
    """Return the ratio that step²/12 predicts for 2^b steps over −peak … peak: 6.02 b + 4.77 − 20 log₁₀(peak/rms).

    Each bit halves the step and so quarters the error: 6.02 dB. A far outlier raises the peak, and takes bits away.

    Raises:
        ValueError: for bits outside 2 to 8, or a peak below the root mean square.
    Source: Oppenheim and Schafer (2010), "Discrete-time signal processing", section 4.8.3.

    >>> round(predicted_snr_db(8, math.sqrt(3)), 2)  # numbers spread evenly: 8 · 6.02
    48.16
    """
    code_range(bits)
    if not peak_over_rms >= 1:
        raise ValueError(f"peak / rms = {peak_over_rms!r}; a peak is at least the root mean square, so give 1 or more")
    return 20 * math.log10(2) * bits + 10 * math.log10(3) - 20 * math.log10(peak_over_rms)


def overload_error(limit: float | int) -> float:
    """Return what clipping a standard normal variable at ±limit costs: the mean of (|x| − limit)² beyond the limit.

    Raises:
        ValueError: for a negative limit.
    Source: Banner, Nahshan and Soudry (2019), "Post training 4-bit quantization of convolutional networks for
        rapid-deployment", section 2.

    >>> overload_error(0)
    1.0
    """
    if not limit >= 0:
        raise ValueError(f"limit = {limit!r}; give a number that is not negative")
    density = math.exp(-(limit**2) / 2) / math.sqrt(2 * math.pi)
    beyond = math.erfc(limit / math.sqrt(2)) / 2
    return 2 * ((1 + limit**2) * beyond - limit * density)


def normal_error(step: float | int, levels: int) -> float:
    """Return the exact mean square error of a standard normal variable on `levels` even levels around 0.

    Between two borders a and b the level y costs ∫ (x − y)² φ(x) dx; the outermost cells reach to infinity.

    Raises:
        ValueError: for fewer than two levels or a step that is not positive.
    Source: Max (1960), "Quantizing for minimum distortion", section II.

    >>> round(normal_error(1.0, 2), 3)  # levels −1/2 and 1/2
    0.452
    """
    if levels < 2 or not step > 0:
        raise ValueError(f"levels = {levels!r}, step = {step!r}; give two levels or more, and a positive step")
    at = step * (torch.arange(levels, dtype=torch.float64) - (levels - 1) / 2)
    far = at.new_tensor([math.inf])
    borders = torch.cat([-far, (at[1:] + at[:-1]) / 2, far])
    density = torch.exp(-borders.square() / 2) / math.sqrt(2 * math.pi)
    inside = torch.special.ndtr(borders).diff()
    return float(1 + (at.square() * inside + 2 * at * density.diff()).sum())


def best_step(levels: int) -> float:
    """Return the step with the least error for a standard normal variable, by golden section.

    Source: Max (1960), table II; Jones (1977), NASA TN D-8384, computed it again for other densities.

    >>> round(best_step(16), 4), round(normal_error(best_step(16), 16), 5)
    (0.3352, 0.01154)
    """
    low, high, golden = 0.0, 8 / levels + 1, (math.sqrt(5) - 1) / 2
    for _ in range(50):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if normal_error(left, levels) < normal_error(right, levels) else (left, high)
    return (low + high) / 2
