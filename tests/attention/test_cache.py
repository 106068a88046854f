"""The key-value cache: what comes out is what went in, and what does not fit is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labkit.attention import KeyValueCache


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(sizes=st.lists(st.integers(0, 4), max_size=5), seed=st.integers(0, 2**31))
def test_the_cache_is_concatenation(sizes, seed):
    cache = KeyValueCache(2, 3, capacity=20, head_dim=4)
    pieces = [(numbers(2, 3, n, 4, seed=seed + n), numbers(2, 3, n, 4, seed=seed - n)) for n in sizes]
    for i, (key, value) in enumerate(pieces, start=1):
        keys, values = cache.append(key, value)
        assert torch.equal(keys, torch.cat([key for key, _ in pieces[:i]], dim=2))
        assert torch.equal(values, torch.cat([value for _, value in pieces[:i]], dim=2))
    assert cache.length == sum(sizes)


def test_nothing_is_copied_but_the_new_tokens():
    cache = KeyValueCache(1, 1, capacity=4, head_dim=2)
    first = cache.append(numbers(1, 1, 2, 2), numbers(1, 1, 2, 2))
    second = cache.append(numbers(1, 1, 1, 2), numbers(1, 1, 1, 2))
    assert [x.data_ptr() for x in first] == [x.data_ptr() for x in second]


def test_memory_by_hand():
    assert KeyValueCache(2, 3, capacity=5, head_dim=7).bytes == 2 * 2 * 3 * 5 * 7 * 4
    assert KeyValueCache(2, 3, capacity=5, head_dim=7, dtype=torch.bfloat16).bytes == 2 * 2 * 3 * 5 * 7 * 2
    assert KeyValueCache(1, 1, capacity=5, head_dim=7, device="meta").keys.device.type == "meta"


def test_a_cleared_cache_starts_again():
    cache = KeyValueCache(1, 1, capacity=2, head_dim=2)
    cache.append(numbers(1, 1, 2, 2), numbers(1, 1, 2, 2))
    cache.clear()
    key = numbers(1, 1, 1, 2, seed=5)
    assert torch.equal(cache.append(key, key)[0], key)
    assert (cache.length, cache.capacity) == (1, 2)


def test_no_gradient_flows_through_a_cache():
    key = numbers(1, 1, 1, 2).requires_grad_()
    keys, values = KeyValueCache(1, 1, capacity=2, head_dim=2).append(key, key)
    assert not keys.requires_grad and not values.requires_grad


def test_a_full_cache_is_refused_and_stays_as_it_was():
    cache = KeyValueCache(1, 1, capacity=3, head_dim=2)
    cache.append(numbers(1, 1, 2, 2), numbers(1, 1, 2, 2))
    with pytest.raises(ValueError, match="no room for 2 more tokens, 2 of 3 places are taken: make the cache larger"):
        cache.append(numbers(1, 1, 2, 2), numbers(1, 1, 2, 2))
    assert cache.length == 2


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (torch.zeros(2, 1, 1, 2), torch.zeros(2, 1, 1, 2), r"\(1, 1, tokens, 2\) of torch.float32, got a key \(2, 1"),
        (torch.zeros(1, 4, 1, 2), torch.zeros(1, 4, 1, 2), r"got a key \(1, 4, 1, 2\)"),
        (torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 3), r"got a value \(1, 1, 1, 3\)"),
        (torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 2, 2), "1 keys and 2 values"),
        (torch.zeros(1, 1, 1, 2).half(), torch.zeros(1, 1, 1, 2), "got a key .* of torch.float16"),
    ],
)
def test_keys_and_values_of_another_shape_or_type_are_refused(key, value, message):
    with pytest.raises(ValueError, match=message):
        KeyValueCache(1, 1, capacity=3, head_dim=2).append(key, value)


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_cache_without_room_is_refused(capacity):
    with pytest.raises(ValueError, match=f"at least 1 of each, got .*capacity={capacity}"):
        KeyValueCache(1, 1, capacity=capacity, head_dim=2)
