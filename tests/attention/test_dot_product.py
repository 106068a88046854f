"""Scaled dot-product attention: by hand, against torch, its backward against autograd, and what must hold always."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad as func_grad
from torch.func import vmap
from torch.nn.functional import scaled_dot_product_attention

from labkit.attention import (
    alibi_bias,
    attention,
    attention_backward,
    attention_weights,
    causal_mask,
    padding_mask,
    repeat_heads,
)

SEEDS = st.integers(0, 2**31)
LEADING = st.lists(st.integers(1, 3), max_size=3)
MASK = torch.rand(5, 7, generator=torch.Generator().manual_seed(3)) < 0.5
MASK[:, 0] = True  # nobody is blind, not even under a causal mask
CASES = {
    "plain": {},
    "causal": {"causal": True},
    "masked": {"mask": MASK},
    "masked and causal": {"mask": MASK, "causal": True},
    "padded": {"mask": padding_mask(torch.tensor([3, 7]), keys=7)},
    "scaled": {"scale": 0.7},
    "biased": {"bias": alibi_bias(3, 5, 7).double()},
    "all at once": {"mask": MASK, "causal": True, "scale": 0.3, "bias": alibi_bias(3, 5, 7).double()},
}


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inputs(*leading, queries=5, keys=7, dim=4, value_dim=6, seed=0):
    """Queries, keys and values that want gradients."""
    shapes = (queries, dim), (keys, dim), (keys, value_dim)
    return [numbers(*leading, *shape, seed=seed + i).requires_grad_() for i, shape in enumerate(shapes)]


def torchs(query, key, value, mask=None, causal=False, scale=None, bias=None):
    """The same by torch: one additive mask of everything that was asked for."""
    added = torch.zeros(query.shape[-2], key.shape[-2], dtype=query.dtype)
    if bias is not None:
        added = added + bias
    if mask is not None:
        added = added.masked_fill(~mask, -math.inf)
    if causal:
        added = added.masked_fill(~causal_mask(query.shape[-2], key.shape[-2]), -math.inf)
    return scaled_dot_product_attention(query, key, value, attn_mask=added, scale=scale)


def close(ours, theirs):
    return torch.allclose(ours, theirs, rtol=0, atol=1e-10)


def test_attention_by_hand():
    # Scores log 3 and 0 after the division by √4: the first key gets three quarters.
    query = torch.tensor([[2 * math.log(3), 0.0, 0.0, 0.0]])
    key = torch.tensor([[1.0, 0, 0, 0], [0.0, 1, 0, 0]])
    value = torch.tensor([[4.0], [8.0]])
    assert torch.allclose(attention_weights(query, key), torch.tensor([[0.75, 0.25]]))
    assert attention(query, key, value).item() == pytest.approx(5)


def test_the_backward_by_hand():
    # Two equal scores: each value gets half the gradient; the first score gains p(1 - p)(v1 - v2) = 1/4 · 2.
    query, key, value = torch.zeros(1, 1), torch.ones(2, 1), torch.tensor([[3.0], [1.0]])
    found = attention_backward(torch.ones(1, 1), query, key, value)
    assert found.value.flatten().tolist() == [0.5, 0.5]
    assert found.weights.flatten().tolist() == [3, 1]
    assert found.scores.flatten().tolist() == [0.5, -0.5]
    assert found.query.item() == 0
    assert found.key.flatten().tolist() == [0, 0]


@pytest.mark.parametrize("leading", [(), (2,), (2, 3), (2, 1, 2, 3)], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_torchs(case, leading):
    if CASES[case].get("bias") is not None or case == "padded":
        leading = (2, 3)
    query, key, value = inputs(*leading)
    ours, theirs = (f(query, key, value, **CASES[case]) for f in (attention, torchs))
    assert ours.shape == (*leading, 5, 6)
    assert close(ours, theirs)
    grad = numbers(*ours.shape, seed=9)
    pairs = zip(*(torch.autograd.grad(x, (query, key, value), grad) for x in (ours, theirs)), strict=True)
    assert all(close(a, b) for a, b in pairs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_type_of_the_numbers_stays(dtype):
    query, key, value = (x.detach().to(dtype) for x in inputs(2, 3))
    ours, theirs = (f(query, key, value) for f in (attention, scaled_dot_product_attention))
    assert ours.dtype == dtype
    assert torch.allclose(ours, theirs, atol=8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("leading", [(), (2,), (2, 3), (2, 1, 2, 3)], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_the_backward_by_hand_is_autograds(case, leading):
    options = dict(CASES[case])
    if options.get("bias") is not None or case == "padded":
        leading = (2, 3)
    query, key, value = inputs(*leading)
    # The steps of `attention`, with the matrices on the way kept.
    scale, mask = options.get("scale", 1 / 2), options.get("mask", torch.ones(5, 7, dtype=torch.bool))
    mask = mask & causal_mask(5, 7) if options.get("causal") else mask
    scores = scale * query @ key.mT + options.get("bias", 0.0)
    weights = scores.masked_fill(~mask, -math.inf).softmax(-1)
    output = weights @ value
    grad = numbers(*output.shape, seed=9)
    expected = torch.autograd.grad(output, (value, weights, scores, query, key), grad)
    found = attention_backward(grad, query, key, value, **options)
    for name, ours, theirs in zip(found._fields, found, expected, strict=True):
        assert ours.shape == theirs.shape, name
        assert close(ours, theirs), name


def test_a_mask_may_have_more_axes_than_the_inputs():
    query, key, value = inputs()
    masks = torch.stack([MASK, torch.ones_like(MASK)])
    output = attention(query, key, value, masks)
    assert close(output, torch.stack([attention(query, key, value, mask) for mask in masks]))
    grad = numbers(*output.shape, seed=9)
    found = attention_backward(grad, query, key, value, masks)
    expected = torch.autograd.grad(output, (value, query, key), grad)
    assert all(map(close, (found.value, found.query, found.key), expected))


def test_a_bias_receives_the_gradient_of_the_scores():
    query, key, value = inputs(2, 3)
    bias = numbers(3, 5, 7, seed=4).requires_grad_()
    grad = numbers(2, 3, 5, 6, seed=9)
    expected = torch.autograd.grad(attention(query, key, value, bias=bias), bias, grad)[0]
    assert close(attention_backward(grad, query, key, value, bias=bias).scores.sum_to_size(bias.shape), expected)


def test_gradients_of_broadcast_inputs_add_up():
    query, (_, key, value) = inputs(2, 3)[0], inputs(1, 3)
    grad = numbers(2, 3, 5, 6, seed=9)
    expected = torch.autograd.grad(attention(query, key, value), (value, query, key), grad)
    found = attention_backward(grad, query, key, value)
    assert all(map(close, (found.value, found.query, found.key), expected))


@pytest.mark.parametrize("case", CASES)
def test_attention_passes_gradcheck(case):
    leading = (2, 3) if CASES[case].get("bias") is not None or case == "padded" else (2,)
    assert torch.autograd.gradcheck(
        lambda *x: attention(*x, **CASES[case]), inputs(*leading, dim=2, value_dim=2), fast_mode=True
    )


@given(leading=LEADING, queries=st.integers(1, 5), keys=st.integers(1, 5), seed=SEEDS)
def test_weights_are_distributions_over_the_keys(leading, queries, keys, seed):
    query, key, _ = inputs(*leading, queries=queries, keys=keys, seed=seed)
    weights = attention_weights(query, key)
    assert weights.shape == (*leading, queries, keys)
    assert weights.min() >= 0
    assert close(weights.sum(-1), torch.ones(*leading, queries, dtype=torch.float64))


@given(leading=LEADING, tokens=st.integers(1, 6), seed=SEEDS, data=st.data())
def test_without_positions_attention_does_not_know_the_order(leading, tokens, seed, data):
    """Permutation equivariance: tokens in another order give the outputs in that order, and keys' order is nothing."""
    order = torch.tensor(data.draw(st.permutations(range(tokens))))
    query, key, value = inputs(*leading, queries=tokens, keys=tokens, seed=seed)
    output = attention(query, key, value)
    moved = [x.index_select(-2, order) for x in (query, key, value)]
    assert close(attention(*moved), output.index_select(-2, order))
    assert close(attention(query, *moved[1:]), output)


@given(leading=LEADING, tokens=st.integers(2, 6), seed=SEEDS, data=st.data())
def test_future_cannot_leak_into_the_past(leading, tokens, seed, data):
    now = data.draw(st.integers(0, tokens - 2))
    query, key, value = (x.detach() for x in inputs(*leading, queries=tokens, keys=tokens, seed=seed))
    before = attention(query, key, value, causal=True)
    key[..., now + 1 :, :] += 1
    value[..., now + 1 :, :] -= 5
    after = attention(query, key, value, causal=True)
    assert torch.equal(before[..., : now + 1, :], after[..., : now + 1, :])
    assert not torch.equal(before[..., now + 1 :, :], after[..., now + 1 :, :])


def test_a_key_that_is_masked_might_as_well_not_be_there():
    query, key, value = inputs(2)
    mask = torch.arange(7) < 4
    assert close(attention(query, key, value, mask), attention(query, key[:, :4], value[:, :4]))
    assert close(attention(query, key, value, ~mask, true_means="ignore"), attention(query, key, value, mask))


def test_a_bias_of_minus_infinity_is_a_mask():
    query, key, value = inputs(2)
    bias = torch.zeros(5, 7, dtype=torch.float64).masked_fill(~MASK, -math.inf)
    assert close(attention(query, key, value, bias=bias), attention(query, key, value, MASK))


def test_repeated_heads_are_neighbours():
    x = numbers(2, 3, 5, 4)
    assert torch.equal(repeat_heads(x, 2)[:, [0, 2, 4]], x)
    assert torch.equal(repeat_heads(x, 2)[:, [1, 3, 5]], x)
    assert repeat_heads(x, 1) is x


def test_grouped_queries_are_torchs():
    query, (_, key, value) = inputs(2, 6)[0], inputs(2, 2)
    ours = attention(query, repeat_heads(key, 3), repeat_heads(value, 3))
    assert close(ours, scaled_dot_product_attention(query, key, value, enable_gqa=True))


def test_one_key_shared_by_all_heads_broadcasts():
    query, (_, key, value) = inputs(2, 6)[0], inputs(2, 1)
    assert close(attention(query, key, value), attention(query, repeat_heads(key, 6), repeat_heads(value, 6)))


def test_every_example_of_a_batch_can_have_its_own_gradient():
    query, key, value = (x.detach() for x in inputs(3))
    each = vmap(func_grad(lambda q, k, v: attention(q, k, v, causal=True).square().sum()))(query, key, value)
    query.requires_grad_()
    together = torch.autograd.grad(attention(query, key, value, causal=True).square().sum(), query)[0]
    assert close(each, together)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_bad_number_is_named_with_its_input_and_place(bad, position):
    tensors = [x.detach() for x in inputs(2, 3)]
    tensors[position][1, 2, 3, 1] = bad
    name = ["query", "key", "value"][position]
    with pytest.raises(ValueError, match=rf"^{name} holds {bad} at \(1, 2, 3, 1\), 1 such number in all"):
        attention(*tensors)
    with pytest.raises(ValueError, match=f"^{name} holds"):
        attention_backward(numbers(2, 3, 5, 6), *tensors)


def test_a_bad_gradient_is_named_too():
    with pytest.raises(ValueError, match=r"^grad holds nan at \(0, 0\), 30 such numbers in all"):
        attention_backward(torch.full((5, 6), math.nan, dtype=torch.float64), *inputs())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bias_may_forbid_but_neither_force_nor_be_unknown(bad):
    query, key, value = inputs()
    with pytest.raises(ValueError, match=rf"^bias holds {bad} at \(0, 6\)"):
        attention(query, key, value, bias=torch.tensor([[0.0] * 6 + [bad]] * 5))


def test_large_numbers_are_not_bad_numbers():
    x = torch.full((2, 1), 3e38)
    assert torch.equal(attention(torch.zeros(2, 1), torch.zeros(2, 1), x), x)


def test_a_blind_query_is_refused_with_its_place():
    query, key, value = inputs(2, 3)
    mask = torch.ones(2, 1, 5, 7, dtype=torch.bool)
    mask[1, 0, 3] = False
    with pytest.raises(ValueError, match="batch 1, head 0, query 3 may look at no key"):
        attention(query, key, value, mask)
    with pytest.raises(ValueError, match="batch 1, head 0, query 3 may look at no key"):
        attention(query, key, value, bias=torch.zeros(mask.shape).masked_fill(~mask, -math.inf))
    with pytest.raises(ValueError, match="query 0 may look at no key"):  # one forbids what the other leaves
        attention(
            query, key, value, torch.arange(7) < 3, bias=torch.zeros(7).masked_fill(torch.arange(7) < 3, -math.inf)
        )
    with pytest.raises(ValueError, match="the first 2 could look at nothing"):
        attention(key, query, query, causal=True)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 8, 5, 4), (2, 2, 5, 4), (2, 2, 5, 4)], r"axes \(2, 8\), key \(2, 2\): use repeat_heads"),
        ([(2, 8, 5, 4), (2, 8, 5, 4), (2, 2, 5, 4)], r"axes \(2, 8\), value \(2, 2\): use repeat_heads"),
        ([(5, 4), (5, 3), (5, 4)], "query and key must have the same last axis, got 4 and 3"),
        ([(5, 4), (6, 4), (7, 4)], "each key needs one value: got 6 keys and 7 values"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes, message):
    query, key, value = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=message):
        attention(query, key, value)


def test_weights_refuse_mismatched_heads_as_well():
    with pytest.raises(ValueError, match="use repeat_heads"):
        attention_weights(torch.zeros(2, 8, 5, 4), torch.zeros(2, 2, 5, 4))


def test_without_the_scale_scores_have_the_variance_of_the_dimension():
    query, key = numbers(500, 64), numbers(500, 64, seed=1)
    assert float((query @ key.T).var()) == pytest.approx(64, rel=0.1)
    unscaled, scaled = (attention_weights(query, key, scale=s).amax(-1).mean() for s in (1.0, None))
    assert unscaled > 0.7 > 0.1 > scaled
