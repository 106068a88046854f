"""Codebooks: by hand, against scikit-learn, the levels and figures that were published."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from labkit.compression.codebooks import (
    NF4,
    bits_per_weight,
    cluster,
    decode,
    kmeans,
    nearest,
    nf4,
    normal_float,
)
from labkit.compression.grid import dequantize, quantize


def weights(rows=8, width=256, seed=0):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def test_the_sixteen_levels_of_the_paper():
    assert normal_float(4) == pytest.approx(NF4, abs=1e-6)
    assert len(set(NF4)) == 16 and sorted(NF4) == list(NF4) and 0.0 in NF4


@pytest.mark.parametrize("bits", range(2, 9))
def test_other_numbers_of_bits_have_levels_too(bits):
    levels = normal_float(bits)
    assert len(levels) == 2**bits and sorted(set(levels)) == list(levels)
    assert (levels[0], levels[2 ** (bits - 1) - 1], levels[-1]) == (-1, 0, 1)


def test_nf4_by_hand():
    book = nf4(torch.tensor([[0.5, -2.0, 0.0, 2.0]]), 2)
    assert book.codes.tolist() == [[9 + 1, 0, 7, 15]]
    assert book.scale.tolist() == [[2, 2]]
    assert decode(book)[0].tolist() == pytest.approx([2 * NF4[10], -2, 0, 2])


def test_the_nearest_level_is_the_nearest():
    values, levels = weights(3, 500), torch.sort(weights(3, 7, seed=1)).values
    slow = (values[:, :, None] - levels[:, None]).abs().argmin(2)
    assert torch.equal(nearest(values, levels), slow)


def test_normal_weights_lose_less_in_nf4_than_in_even_steps():
    weight = weights(64, 1024)
    lost = [
        float((weight - one).square().mean())
        for one in (decode(nf4(weight)), dequantize(quantize(weight, 4, group=64)))
    ]
    assert lost[0] < 0.9 * lost[1]


def test_double_quantization_saves_what_the_paper_says():
    """Dettmers et al. (2023), section 3: from 0.5 to 0.127 bits per weight."""
    weight = weights(64, 64 * 256)
    once, twice = nf4(weight), nf4(weight, double=True)
    assert bits_per_weight(once) - 4 == 0.5
    assert bits_per_weight(twice) - 4 == pytest.approx(0.127, abs=1e-3)
    spread = (once.scale - once.scale.mean()).abs().max()
    assert float((once.scale - twice.scale).abs().max()) <= float(spread) / 127 / 2 * (1 + 1e-4)


def test_a_group_of_zeros_stays_zero():
    weight = torch.zeros(2, 64)
    for double in (False, True):
        assert not decode(nf4(weight, 32, double=double)).any()
    assert not decode(cluster(weight, 3)).any()


def test_kmeans_by_hand():
    levels, codes = kmeans(torch.tensor([[0.0, 1.0, 9.0, 10.0]]), 2)
    assert levels.tolist() == [[0.5, 9.5]] and codes.tolist() == [[0, 0, 1, 1]]


def test_kmeans_is_that_of_scikit_learn():
    learn = pytest.importorskip("sklearn.cluster", reason="scikit-learn is the reference")
    values = weights(2, 300).double()
    levels, codes = kmeans(values, 8, 300)
    for row, ours, code in zip(values, levels, codes, strict=True):
        start = np.linspace(float(row.min()), float(row.max()), 8)[:, None]
        theirs = learn.KMeans(8, init=start, n_init=1, tol=0, max_iter=300).fit(row[:, None].numpy())
        np.testing.assert_allclose(ours, theirs.cluster_centers_[:, 0], rtol=1e-9)
        np.testing.assert_array_equal(code, theirs.labels_)


@pytest.mark.parametrize(("bits", "published"), [(2, 0.1175), (3, 0.03454), (4, 0.009497)])
def test_levels_learned_from_normal_numbers_lose_what_max_published(bits, published):
    """Max (1960), "Quantizing for minimum distortion", table 1: N = 4, 8 and 16 levels of N(0, 1)."""
    x = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    x = (2**0.5 * torch.erfinv(2 * x - 1))[None]
    levels, codes = kmeans(x, 2**bits, 2000)
    assert float((levels.gather(1, codes) - x).square().mean()) == pytest.approx(published, rel=4e-3)


@given(some.integers(0, 1000), some.integers(2, 4), some.sampled_from(["tensor", "channel", "group"]))
def test_learned_levels_are_never_worse_than_the_even_ones_they_began_as(seed, bits, per):
    weight = weights(4, 64, seed)
    group = 32 if per == "group" else None
    even = cluster(weight, bits, per=per, group=group, rounds=0)
    learned = cluster(weight, bits, per=per, group=group)
    assert (weight - decode(learned)).square().sum() <= (weight - decode(even)).square().sum() * (1 + 1e-5)
    assert len(learned.levels) == {"tensor": 1, "channel": 4, "group": 8}[per]


def test_bits_count_the_codebook():
    weight = weights(4, 64)
    assert bits_per_weight(cluster(weight, 3, per="tensor")) == 3 + 8 * 32 / 256
    assert bits_per_weight(cluster(weight, 3)) == 3 + 4 * 8 * 32 / 256


def test_what_cannot_be_is_refused():
    for bits in (1, 9, 4.0):
        with pytest.raises(ValueError, match="bits"):
            cluster(weights(), bits)
    with pytest.raises(ValueError, match="does not divide"):
        nf4(weights(width=100))
    with pytest.raises(ValueError, match="NaN"):
        nf4(weights() * torch.nan)
    with pytest.raises(ValueError, match="NaN"):
        cluster(weights() / 0, 4)
    with pytest.raises(ValueError, match="per"):
        cluster(weights(), 4, per="row")
