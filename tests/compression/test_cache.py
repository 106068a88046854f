"""A key-value cache in few bits: what it gives back, what it weighs, and text written with it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from labkit.attention import KeyValueCache
from labkit.compression.cache import (
    QuantizedCache,
    cached_perplexity,
    fit,
    new_quantized_cache,
    pack_row,
    quantized_cache,
    rounding_error,
    unpack_row,
)
from labkit.transformer import Config, Decoder, generate

IDS = torch.randint(0, 50, (3, 40), generator=torch.Generator().manual_seed(1))


def small(**more):
    kind = {"norm": "rms", "activation": "swiglu", "positions": "rotary", "bias": False, **more}
    return Decoder(Config(50, 48, 2, 2, 16, **kind), seed=0).eval().requires_grad_(False)


def drawn(tokens, dim=8, seed=0):
    return torch.randn(2, 3, tokens, dim, generator=torch.Generator().manual_seed(seed))


@given(some.sampled_from([2, 4, 8]), some.integers(0, 99))
def test_codes_come_back_from_bytes(bits, seed):
    chance = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 2**bits, (2, 3, 16), dtype=torch.uint8, generator=chance)
    packed = pack_row(codes, bits)
    assert packed.shape == (2, 3, 16 * bits // 8) and torch.equal(unpack_row(packed, bits), codes)


def test_a_channel_worked_by_hand():
    """Four tokens of one channel, 2 bits: 5, 6, 6.5 and 8 between 5 and 8 in steps of 1."""
    codes, low, step = fit(torch.tensor([[5.0], [6.0], [6.6], [8.0]]), 2, -2)
    assert codes.flatten().tolist() == [0, 1, 2, 3] and float(low) == 5 and float(step) == 1


@pytest.mark.parametrize("keys", ["channel", "token"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_everything_read_back_is_within_half_a_step(bits, keys):
    cache = QuantizedCache(2, 3, 40, 8, bits=bits, keys=keys, group=8)
    k, v = drawn(32), drawn(32, seed=1)
    read = cache.append(k, v)
    for x, y, along in zip((k, v), read, (keys, "token"), strict=True):
        x, y = (part.unflatten(2, (4, 8)) for part in (x, y))
        low, high = torch.aminmax(x, dim=3 if along == "channel" else 4, keepdim=True)
        assert bool(((x - y).abs() <= 0.5 * (high - low) / (2**bits - 1) + 4e-3).all())


@pytest.mark.parametrize("pieces", [[32], [5, 1, 1, 25], [1] * 32, [0, 8, 24]])
def test_tokens_in_any_portions_end_up_alike(pieces):
    cache, k, v = QuantizedCache(2, 3, 37, 8, bits=4, group=8), drawn(32), drawn(32, seed=1)
    whole = QuantizedCache(2, 3, 37, 8, bits=4, group=8).append(k, v)
    for a, b in zip(k.split(pieces, dim=2), v.split(pieces, dim=2), strict=True):
        read = cache.append(a, b)
    assert all(torch.equal(a, b) for a, b in zip(read, whole, strict=True)) and cache.length == 32


def test_the_newest_tokens_are_as_they_came():
    cache, k, v = QuantizedCache(2, 3, 20, 8, bits=2, group=8), drawn(19), drawn(19, seed=1)
    keys, values = cache.append(k, v)
    assert torch.equal(keys[:, :, 16:], k[:, :, 16:]) and torch.equal(values[:, :, 16:], v[:, :, 16:])
    assert not torch.equal(keys[:, :, :16], k[:, :, :16])


def test_bytes_are_those_of_the_tensors_and_worked_by_hand():
    """Batch 1, 1 head, 64 tokens of 32 numbers, groups of 32, in 4 bits."""
    cache = QuantizedCache(1, 1, 64, 32, bits=4, group=32)
    codes, key_ranges, value_ranges, newest = 64 * 16, 2 * 32 * 4, 64 * 4, 32 * 32 * 4
    assert cache.bytes == 2 * codes + key_ranges + value_ranges + 2 * newest
    large = QuantizedCache(1, 1, 4096, 64, bits=4, group=32).bytes / KeyValueCache(1, 1, 4096, 64).bytes
    assert large == pytest.approx(5 / 32, abs=0.01)  # 4 bits and 2 · 16 for each 32 numbers: 5


def test_keys_with_a_large_channel_want_a_range_per_channel():
    k, v = drawn(32), drawn(32, seed=1)
    k[..., 3] += 50
    error = {
        keys: float((QuantizedCache(2, 3, 32, 8, bits=4, keys=keys, group=8).append(k, v)[0] - k).norm())
        for keys in ("channel", "token")
    }
    assert error["channel"] < error["token"] / 5


@pytest.mark.parametrize("kv_heads", [2, 1])
def test_generation_uses_it_and_is_the_same_in_8_bits(kv_heads):
    model = small(kv_heads=kv_heads)
    plain = generate(model, IDS[:, :10], 30)
    with quantized_cache(model, 8, group=8) as same:
        assert isinstance(model.new_cache(1)[0], QuantizedCache)
        assert float((generate(same, IDS[:, :10], 30) == plain).float().mean()) > 0.9
    assert type(model.new_cache(1)[0]) is KeyValueCache


def test_logits_get_worse_with_fewer_bits():
    model, errors = small(), {}
    exact = model(IDS)
    for bits in (8, 4, 2):
        caches = new_quantized_cache(model, 3, 40, bits=bits, group=8)
        errors[bits] = float((model(IDS, cache=caches) - exact).norm() / exact.norm())
    assert errors[8] < errors[4] / 5 and errors[4] < errors[2] / 3 and errors[8] < 0.005


def test_perplexity_is_that_of_the_model_and_grows_with_fewer_bits():
    model = small()
    inputs, targets = IDS[:, :-1], IDS[:, 1:]
    assert cached_perplexity(model, inputs, targets) == pytest.approx(float(model.loss(inputs, targets).exp()))
    caches = {bits: new_quantized_cache(model, 3, 40, bits=bits, group=8) for bits in (8, 2)}
    plain = cached_perplexity(model, inputs, targets, model.new_cache(3))
    off = {bits: abs(cached_perplexity(model, inputs, targets, each) / plain - 1) for bits, each in caches.items()}
    assert off[8] < off[2] / 2 and off[2] > 1e-5


def test_a_cache_can_be_cleared_and_used_again():
    cache, k, v = QuantizedCache(2, 3, 16, 8, group=8), drawn(16), drawn(16, seed=1)
    cache.append(v, k)
    cache.clear()
    fresh = QuantizedCache(2, 3, 16, 8, group=8).append(k, v)
    assert all(torch.equal(a, b) for a, b in zip(cache.append(k, v), fresh, strict=True))


def test_constant_numbers_come_back_exactly():
    x = torch.full((1, 1, 8, 8), 3.0)
    assert torch.equal(QuantizedCache(1, 1, 8, 8, bits=2, group=4).append(x, 0 * x)[0], x)


def test_wrong_settings_are_refused():
    for wrong in ({"bits": 3}, {"bits": 9}, {"keys": "row"}, {"group": 0}):
        with pytest.raises(ValueError, match="bits must be 2, 4 or 8"):
            QuantizedCache(1, 1, 8, 8, **wrong)
    with pytest.raises(ValueError, match="fill whole bytes"):
        QuantizedCache(1, 1, 8, 3, bits=4)
    with pytest.raises(ValueError, match="at least 1 of each"):
        QuantizedCache(1, 1, 0, 8)


def test_what_does_not_fit_is_refused_and_nothing_is_kept():
    cache = QuantizedCache(2, 3, 10, 8, group=8)
    cache.append(drawn(8), drawn(8))
    with pytest.raises(ValueError, match="8 of 10 places are taken"):
        cache.append(drawn(3), drawn(3))
    with pytest.raises(ValueError, match="the cache was made for"):
        cache.append(drawn(1, dim=6), drawn(1, dim=6))
    for bad in (torch.nan, 1e5):
        with pytest.raises(ValueError, match=r"NaN or beyond 65,504"):
            cache.append(drawn(1) * bad, drawn(1))
    assert cache.length == 8


def test_the_rounding_error_of_kept_keys_is_zero_for_constants_and_smaller_per_channel():
    kept, k = [KeyValueCache(2, 3, 32, 8)], drawn(32)
    kept[0].append(torch.ones_like(k), k)
    assert rounding_error(kept, bits=2) == 0
    kept[0].clear()
    k[..., 3] += 50
    kept[0].append(k, k)
    assert 0 < rounding_error(kept, bits=4) < rounding_error(kept, bits=4, keys="token") / 5


def test_a_refused_value_leaves_the_keys_as_they_were():
    cache = QuantizedCache(2, 3, 20, 8, group=8)
    cache.append(drawn(5), drawn(5, seed=1))
    with pytest.raises(ValueError, match="NaN or beyond"):
        cache.append(drawn(6, seed=2), drawn(6) * torch.nan)  # the keys would fill a group
    keys, values = cache.append(drawn(1), drawn(1))
    assert torch.equal(keys[:, :, :5], drawn(5)) and torch.equal(values[:, :, :5], drawn(5, seed=1))


@pytest.mark.parametrize("kept", range(20))
def test_a_cache_that_is_cut_back_goes_on_as_if_the_rest_had_never_come(kept):
    """In 8 bits: tokens that were rounded stay so, and what comes after them is what a cache without the rest has."""
    cache, k, v = QuantizedCache(2, 3, 40, 8, bits=8, group=8), drawn(40), drawn(40, seed=1)
    cache.append(k[:, :, :20], v[:, :, :20])
    cache.length = kept
    other = QuantizedCache(2, 3, 40, 8, bits=8, group=8)
    for start, end in ((kept, kept + 1), (kept + 1, 30)):
        found = cache.append(k[:, :, start:end], v[:, :, start:end])
        wanted = other.append(*(x[:, :, start if start > kept else 0 : end] for x in (k, v)))
        assert all(float((a - b).abs().max()) < 0.04 for a, b in zip(found, wanted, strict=True))
    for wrong in (-1, 31):
        with pytest.raises(ValueError, match="30 tokens are kept"):
            cache.length = wrong


def test_one_with_inside_another_gives_back_what_it_found():
    model = small()
    with quantized_cache(model, 8):
        with quantized_cache(model, 2):
            assert model.new_cache(1)[0].stored_keys.bits == 2
        assert model.new_cache(1)[0].stored_keys.bits == 8
        with pytest.raises(ZeroDivisionError), quantized_cache(model, 4):
            raise ZeroDivisionError
        assert model.new_cache(1)[0].stored_keys.bits == 8
    assert "new_cache" not in vars(model) and type(model.new_cache(1)[0]) is KeyValueCache


def test_wrong_settings_are_refused_where_they_are_given():
    for wrong in ({"bits": 3}, {"bits": 4.0}, {"group": 2.0}, {"group": True}, {"group": "8"}, {"keys": "row"}):
        with pytest.raises(ValueError, match="bits must be 2, 4 or 8"), quantized_cache(small(), **wrong):
            pass
        with pytest.raises(ValueError, match="bits must be 2, 4 or 8"):
            QuantizedCache(1, 1, 8, 8, **wrong)


def test_perplexity_is_without_dropout_and_the_mode_stays():
    model = small(dropout=0.5).train()
    found = {cached_perplexity(model, IDS[:, :-1], IDS[:, 1:]) for _ in range(3)}
    assert len(found) == 1 and model.training


def test_keys_of_half_precision_and_of_zeros_have_a_rounding_error_too():
    kept, k = [KeyValueCache(2, 3, 32, 8, torch.float16)], 100 * drawn(32)
    kept[0].append(k.half(), k.half())
    assert 0 < rounding_error(kept, bits=4) < 0.01
    kept[0].clear()
    kept[0].append(0 * k.half(), k.half())
    assert rounding_error(kept) == 0


def test_values_of_a_wide_head_have_a_range_for_each_group_of_channels():
    cache = QuantizedCache(1, 1, 16, 16, bits=2, group=8)
    assert cache.stored_values.low.shape == (1, 1, 2, 8, 2, 1)
    v = drawn(8, dim=16)[:1, :1]
    v[..., 8:] += 50
    assert float((cache.append(v, v)[1] - v).abs().max()) < 2  # one range for both halves: steps of 17
