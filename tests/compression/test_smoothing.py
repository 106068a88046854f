"""Outliers, planted and found, and SmoothQuant, which moves them into the weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from labkit import corpora
from labkit.compression.integer import to_int8
from labkit.compression.layers import inputs_of, linears
from labkit.compression.smoothing import (
    largest_of,
    outlier_channels,
    plant_outliers,
    rows_into,
    seams,
    smooth,
    smooth_scales,
    smoothed_error,
)
from labkit.transformer import Config, Decoder, Encoder, encode, load_minilm, load_smollm2, padded

LLAMA = {"norm": "rms", "activation": "swiglu", "positions": "rotary", "bias": False}
IDS = torch.randint(0, 50, (8, 16), generator=torch.Generator().manual_seed(1))


def small(seed=0, **more):
    return Decoder(Config(50, 16, 2, 2, 16, **more), seed=seed).eval().requires_grad_(False)


def error(model, exact):
    return float((model(IDS) - exact).norm() / exact.norm())


def text():
    return corpora.load("wikipedia", quiet=True).split()[1].text


def test_scales_worked_by_hand():
    scales = smooth_scales(torch.tensor([16.0, 1.0, 0.0, 4.0]), torch.tensor([4.0, 0.25, 1.0, 0.0]))
    assert scales.tolist() == [2.0, 2.0, 1.0, 1.0]  # √(16 / 4), √(1 / 0.25), and 1 where nothing is to be shared


@given(some.integers(0, 99))
def test_alpha_decides_which_side_becomes_even(seed):
    chance = torch.Generator().manual_seed(seed)
    x, w = torch.rand(9, generator=chance) + 0.1, torch.rand(9, generator=chance) + 0.1
    assert torch.allclose(x / smooth_scales(x, w, 1), torch.ones(9))
    assert torch.allclose(w * smooth_scales(x, w, 0), torch.ones(9))
    half = smooth_scales(x, w)
    assert torch.allclose(x / half, w * half) and torch.allclose(x / half, (x * w).sqrt())


@pytest.mark.parametrize("kind", [LLAMA, {}], ids=["RMSNorm and SwiGLU", "LayerNorm, GELU and biases"])
@pytest.mark.parametrize("gated", [False, True])
def test_planting_and_smoothing_leave_the_function_as_it_is(kind, gated):
    model = small(**kind)
    for number, block in enumerate(model.blocks):  # biases of norms begin at zero, where a factor would not show
        for norm in (block.norm1, block.norm2):
            for weight in norm.parameters():
                weight += torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)) / 5
    exact = model(IDS)
    ill = plant_outliers(model, [3, 7], 50)
    well = smooth(ill, inputs_of(ill, lambda: ill(IDS)), 0.5, gated)
    assert error(ill, exact) < 1e-5 and error(well, exact) < 1e-5
    assert torch.equal(model(IDS), exact)


def test_both_readers_of_a_norm_share_their_factors():
    """At ½ each channel is as large before the layers as in the larger of their columns."""
    model = small(**LLAMA)
    model.blocks[0].feedforward.gate.weight[:, 5] *= 30
    well = smooth(model, inputs_of(model, lambda: model(IDS)))
    after, layer = inputs_of(well, lambda: well(IDS))["blocks.0.feedforward.up"], well.blocks[0].feedforward
    columns = torch.stack([layer.up.weight, layer.gate.weight]).abs().amax(dim=(0, 1))
    assert torch.allclose(largest_of(after), columns, rtol=1e-3)


def test_planted_channels_are_the_ones_that_are_found():
    ill = plant_outliers(small(**LLAMA), [3, 7], 100)
    found = outlier_channels(inputs_of(ill, lambda: ill(IDS)), 10)
    assert {one.channel for one in found} == {3, 7}
    assert {one.layer.rpartition(".")[2] for one in found} == {"qkv", "up", "gate"}
    assert [one.ratio for one in found] == sorted((one.ratio for one in found), reverse=True)


def test_outliers_break_8_bits_and_smoothing_mends_them():
    model = small(**LLAMA)
    exact, healthy = model(IDS), error(to_int8(model), model(IDS))
    ill = plant_outliers(model, [3], 100)
    well = smooth(ill, inputs_of(ill, lambda: ill(IDS)))
    assert error(to_int8(ill), exact) > 5 * healthy
    assert error(to_int8(well), exact) < 1.5 * healthy


@given(some.floats(0.1, 1000), some.floats(0, 1))
def test_what_smoothing_gives_does_not_depend_on_what_was_planted(times, alpha):
    """|kx|^α / |w/k|^(1−α) = k · s: the factor grows with the outlier, and divides all of it away."""
    x, w = torch.rand(6) + 0.1, torch.rand(6) + 0.1
    assert torch.allclose(smooth_scales(times * x, w / times, alpha), times * smooth_scales(x, w, alpha), rtol=1e-4)


def test_the_error_of_one_layer_is_least_between_the_ends():
    chance = torch.Generator().manual_seed(0)
    x, w = torch.randn(200, 32, generator=chance), torch.randn(16, 32, generator=chance)
    x[:, 5] *= 40
    errors = {alpha: smoothed_error(w, x[:100], x[100:], alpha) for alpha in (None, 0.0, 0.5, 1.0)}
    assert errors[0.5] < errors[None] / 2 and errors[0.5] < min(errors[0.0], errors[1.0])
    assert smoothed_error(w, x[:100], x[100:], 0.5, static=True) < smoothed_error(
        w, x[:100], x[100:], None, static=True
    )


def minilm():
    try:
        return load_minilm()
    except corpora.CorpusUnavailable as missing:
        pytest.skip(str(missing))


def test_minilm_has_one_channel_that_is_huge_in_every_layer():
    reader, sample = minilm(), text()
    ids, mask = padded(reader, [sample[at : at + 300] for at in range(0, 1800, 300)])
    found = outlier_channels(inputs_of(reader.model, lambda: reader.model(ids, mask)), 8)
    assert {f"blocks.{n}.feedforward.up" for n in range(6)} <= {one.layer for one in found if one.channel == 99}


def test_smoothing_halves_the_error_of_a_real_layer():
    reader, sample, name = minilm(), text(), "blocks.1.feedforward.up"
    ids, mask = padded(reader, [sample[at : at + 300] for at in range(0, 1800, 300)])
    x = rows_into(reader.model, lambda: reader.model(ids, mask), name)
    weight, half = linears(reader.model)[name].weight, len(x) // 2
    plain, smoothed = (smoothed_error(weight, x[:half], x[half:], alpha, static=True) for alpha in (None, 0.5))
    assert smoothed < 0.6 * plain


def test_smollm2_has_inputs_thousands_of_times_the_median():
    try:
        model = load_smollm2()
    except corpora.CorpusUnavailable as missing:
        pytest.skip(str(missing))
    ids = encode(model, text()[:400])
    found = outlier_channels(inputs_of(model.model, lambda: model.model.hidden(ids)), 20)
    assert found[0].ratio > 1000 and found[0][:2] == ("blocks.11.feedforward.down", 1229)


def test_wrong_settings_are_refused():
    one = torch.ones(2)
    with pytest.raises(ValueError, match="alpha must be between 0"):
        smooth_scales(one, one, 1.5)
    with pytest.raises(ValueError, match="activation_max must be sizes"):
        smooth_scales(torch.tensor([1.0, torch.nan]), one)
    with pytest.raises(ValueError, match="weight_max must be sizes"):
        smooth_scales(one, -one)
    with pytest.raises(ValueError, match="times above 1"):
        outlier_channels({})
    with pytest.raises(ValueError, match=r"channels must lie in 0 … 15"):
        plant_outliers(small(), [16])
    with pytest.raises(ValueError, match="no linear layer 'x'"):
        rows_into(small(), lambda: None, "x")
    with pytest.raises(ValueError, match="no calibration data"):
        rows_into(small(), lambda: None, "blocks.0.attention.qkv")


def test_models_that_cannot_be_smoothed_are_refused():
    model = small(**LLAMA)
    inputs = inputs_of(model, lambda: model(IDS))
    with pytest.raises(ValueError, match="post-norm"):
        smooth(Encoder(Config(50, 16, 1, 2, 16, norm_first=False)), inputs)
    with pytest.raises(ValueError, match="has no blocks"):
        list(seams(torch.nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=r"no inputs of blocks.0.attention.qkv"):
        smooth(model, {})
    with pytest.raises(ValueError, match="another model"):
        smooth(Decoder(Config(50, 16, 2, 2, 32, **LLAMA)), inputs)
    with pytest.raises(ValueError, match="no calibration data"):
        inputs_of(model, lambda: None)
