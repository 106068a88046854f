"""Multi-head attention: against torch's module with the same weights, kernel against kernel, caches, bad input."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, vmap
from torch.func import grad as func_grad
from torch.nn.functional import scaled_dot_product_attention

from labkit.attention import (
    KeyValueCache,
    MultiHeadAttention,
    attention,
    causal_mask,
    fused_attention,
    merge_heads,
    padding_mask,
    repeat_heads,
    split_heads,
    to_half_layout,
)

WIDTH, HEADS = 24, 4
KERNELS = pytest.mark.parametrize("kernel", ["fused", "plain", "tiled"])
PADDED = padding_mask(torch.tensor([4, 6, 1]), keys=6)


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def module(width=WIDTH, heads=HEADS, seed=0, **options):
    """An attention in float64 with weights from a seed, biases not zero."""
    made = MultiHeadAttention(width, heads, **options).double()
    for i, parameter in enumerate(made.parameters()):
        parameter.data = numbers(*parameter.shape, seed=seed + i) * width**-0.5
    return made


@pytest.fixture(autouse=True)
def no_surprise():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def torchs(ours):
    """torch's own module with the weights of ours: the order of rows (q, k, v) is the same."""
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dtype=torch.float64)
    state = {"in_proj_weight": ours.qkv.weight, "in_proj_bias": ours.qkv.bias}
    state |= {"out_proj.weight": ours.output.weight, "out_proj.bias": ours.output.bias}
    theirs.load_state_dict({name: x.detach() for name, x in state.items()})
    return theirs


def close(ours, theirs):
    return torch.allclose(ours, theirs, rtol=0, atol=1e-10)


def test_heads_are_neighbouring_slices_of_the_width():
    x = torch.arange(12).float().reshape(1, 2, 6)
    heads = split_heads(x, 3)
    assert heads[0, 1].tolist() == [[2, 3], [8, 9]]
    assert torch.equal(merge_heads(heads), x)
    assert heads.data_ptr() == x.data_ptr()


@given(sizes=st.tuples(*[st.integers(1, 4)] * 4), seed=st.integers(0, 2**31))
def test_merging_undoes_splitting(sizes, seed):
    batch, tokens, heads, dim = sizes
    x = numbers(batch, tokens, heads * dim, seed=seed)
    assert torch.equal(merge_heads(split_heads(x, heads)), x)


TORCHS_MASKS = {  # True = ignore, as nn.MultiheadAttention wants them
    "none": (None, None),
    "causal": (~causal_mask(6), None),
    "padding": (None, ~PADDED[:, 0, 0]),
    "both": (~causal_mask(6), ~PADDED[:, 0, 0]),
}


@pytest.mark.parametrize(
    ("kernel", "masks"),
    [*itertools.product(["fused", "plain"], TORCHS_MASKS), ("tiled", "none"), ("tiled", "causal")],
)
@pytest.mark.parametrize("cross", [False, True], ids=["self", "cross"])
def test_outputs_weights_and_gradients_are_those_of_torchs_module(kernel, masks, cross):
    forbidden, padding = TORCHS_MASKS[masks]
    ours = module(kernel=kernel)
    theirs = torchs(ours)
    x = numbers(3, 6, WIDTH, seed=5).requires_grad_()
    memory = numbers(3, 6, WIDTH, seed=6).requires_grad_() if cross else None
    source = memory if cross else x
    expected, weights = theirs(
        x, source, source, attn_mask=forbidden, key_padding_mask=padding, average_attn_weights=False
    )
    options = {"causal": forbidden is not None}
    if padding is not None:
        options |= {"mask": padding[:, None, None], "true_means": "ignore"}
    found = ours(x, memory, **options)
    assert close(found, expected)
    assert close(ours.weights(x, memory, **options), weights)
    grad = numbers(*found.shape, seed=7)
    wanted = [x, source, theirs.in_proj_weight, theirs.in_proj_bias, *theirs.out_proj.parameters()]
    expected_grads = torch.autograd.grad(expected, wanted, grad)
    wanted = [x, source, *ours.qkv.parameters(), *ours.output.parameters()]
    for a, b in zip(torch.autograd.grad(found, wanted, grad), expected_grads, strict=True):
        assert close(a, b)


@pytest.mark.parametrize("kernel", ["fused", "plain"])
def test_a_mask_means_the_same_in_both_polarities(kernel):
    ours, x = module(kernel=kernel), numbers(3, 6, WIDTH)
    expected = ours(x, mask=PADDED, causal=True)
    assert torch.equal(ours(x, mask=~PADDED, causal=True, true_means="ignore"), expected)
    assert torch.equal(ours(x, mask=PADDED & causal_mask(6)), expected)


@KERNELS
@pytest.mark.parametrize("queries", [1, 3, 6])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("causal", [False, True])
def test_kernels_compute_the_same_also_with_fewer_queries_than_keys(kernel, queries, kv_heads, causal):
    ours = module(kernel=kernel, kv_heads=kv_heads)
    x, memory = numbers(3, queries, WIDTH), numbers(3, 6, WIDTH, seed=1)
    query, key, value = (module(kv_heads=kv_heads).qkv(y) for y in (x, memory, memory))
    query = split_heads(query[..., :WIDTH], HEADS)
    key, value = (split_heads(y, kv_heads) for y in key[..., WIDTH:].chunk(2, dim=-1))
    key, value = repeat_heads(key, HEADS // kv_heads), repeat_heads(value, HEADS // kv_heads)
    mask = causal_mask(6)[-queries:] if causal else None
    expected = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert close(ours(x, memory, causal=causal), ours.output(merge_heads(expected)))


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_grouped_queries_are_torchs_and_equal_repeated_heads(kv_heads):
    query, key, value = (numbers(2, h, 5, 6, seed=h) for h in (4, kv_heads, kv_heads))
    value = value.flip(2)
    for causal in (False, True):
        found = fused_attention(query, key, value, causal=causal)
        assert close(found, scaled_dot_product_attention(query, key, value, is_causal=causal, enable_gqa=True))
        repeated = (repeat_heads(x, 4 // kv_heads) for x in (key, value))
        assert close(found, attention(query, *repeated, causal=causal))


@pytest.mark.parametrize("mask", [None, padding_mask(torch.tensor([5, 2]), keys=5)], ids=["free", "masked"])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_one_query_may_look_through_shared_keys(kv_heads, mask):
    query = numbers(2, 4, 1, 6)
    key, value = numbers(2, kv_heads, 5, 6, seed=1), numbers(2, kv_heads, 5, 6, seed=2)
    repeated = (repeat_heads(x, 4 // kv_heads) for x in (key, value))
    assert close(fused_attention(query, key, value, mask), attention(query, *repeated, mask))


@KERNELS
def test_a_module_of_grouped_queries_is_one_with_repeated_projections(kernel):
    grouped, full = module(kv_heads=2, kernel=kernel), module()
    for name in ("weight", "bias"):
        rows = getattr(grouped.qkv, name).detach()
        query, key, value = rows.split([WIDTH, WIDTH // 2, WIDTH // 2])
        repeated = [x.unflatten(0, (2, 6)).repeat_interleave(2, dim=0).flatten(0, 1) for x in (key, value)]
        getattr(full.qkv, name).data = torch.cat([query, *repeated])
    full.output.load_state_dict(grouped.output.state_dict())
    x = numbers(3, 6, WIDTH)
    assert close(grouped(x, causal=True), full(x, causal=True))
    assert close(grouped.weights(x, causal=True), full.weights(x, causal=True))


@KERNELS
@pytest.mark.parametrize("theta", [None, 10_000.0], ids=["no positions", "rotary"])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_decoding_with_a_cache_is_full_recomputation_step_by_step(kernel, theta, kv_heads):
    ours, x = module(kv_heads=kv_heads, rotary_theta=theta, kernel=kernel), numbers(3, 7, WIDTH)
    cache = KeyValueCache(3, kv_heads, capacity=7, head_dim=6, dtype=torch.float64)
    for start, end in [(0, 3), (3, 4), (4, 5), (5, 7)]:  # a prompt, single tokens, several at once
        found = ours(x[:, start:end], causal=True, cache=cache)
        assert close(found, ours(x[:, :end], causal=True)[:, start:])
    assert cache.length == 7


@pytest.mark.parametrize("layout", ["half", "interleaved"])
def test_explicit_positions_with_a_cache_are_full_recomputation(layout):
    ours, x = module(rotary_theta=100.0, rotary_layout=layout), numbers(2, 5, WIDTH)
    positions = torch.tensor([[3, 4, 8, 9, 20], [0, 1, 2, 3, 4]])  # each text has its own, with gaps
    expected = ours(x, causal=True, positions=positions)
    cache = KeyValueCache(2, 4, capacity=5, head_dim=6, dtype=torch.float64)
    pieces = [slice(0, 3), slice(3, 4), slice(4, 5)]
    found = [ours(x[:, s], causal=True, positions=positions[:, s], cache=cache) for s in pieces]
    assert close(torch.cat(found, dim=1), expected)
    assert not close(expected[0], ours(x, causal=True)[0])
    assert close(expected[1], ours(x, causal=True)[1])


def test_positions_count_from_zero_and_only_their_distances_matter():
    ours, x = module(rotary_theta=100.0), numbers(2, 5, WIDTH)
    assert torch.equal(ours(x, positions=torch.arange(5)), ours(x))
    assert close(ours(x, positions=torch.arange(5) + 77), ours(x))
    assert not close(ours(x, positions=torch.arange(5) * 2), ours(x))


def test_both_layouts_give_the_same_once_the_weights_are_permuted():
    interleaved = module(rotary_theta=100.0, rotary_layout="interleaved", kv_heads=2)
    half = module(rotary_theta=100.0, rotary_layout="half", kv_heads=2)
    for name in ("weight", "bias"):
        query, key, value = getattr(interleaved.qkv, name).detach().split([24, 12, 12])
        rows = [to_half_layout(query, 4), to_half_layout(key, 2), value]
        getattr(half.qkv, name).data = torch.cat(rows)
    x = numbers(2, 5, WIDTH)
    assert close(half(x, causal=True), interleaved(x, causal=True))


def test_cross_attention_can_rotate_too():
    ours = module(rotary_theta=100.0)
    x, memory = numbers(2, 3, WIDTH), numbers(2, 5, WIDTH, seed=1)
    together = torch.cat([x, memory], dim=1)
    positions = torch.cat([torch.arange(3), torch.arange(5)])
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:3, 3:], mask[3:] = True, True
    assert close(ours(x, memory), ours(together, mask=mask, positions=positions)[:, :3])


@KERNELS
@settings(max_examples=20)
@given(order=st.permutations(range(6)), seed=st.integers(0, 2**31))
def test_without_positions_tokens_in_another_order_give_outputs_in_that_order(kernel, order, seed):
    ours, x = module(kernel=kernel), numbers(2, 6, WIDTH, seed=seed)
    assert close(ours(x[:, order]), ours(x)[:, order])


@KERNELS
def test_future_cannot_leak_into_the_past(kernel):
    ours, x = module(kernel=kernel, rotary_theta=10.0), numbers(2, 6, WIDTH)
    changed = torch.cat([x[:, :4], x[:, 4:] + 1], dim=1)
    before, after = ours(x, causal=True), ours(changed, causal=True)
    assert close(before[:, :4], after[:, :4])
    assert not close(before[:, 4:], after[:, 4:])


@pytest.mark.parametrize("options", [{}, {"kv_heads": 2}, {"rotary_theta": 10.0}, {"bias": False}], ids=str)
def test_the_module_passes_gradcheck(options):
    ours = module(8, 4, head_dim=2, **options)
    x = numbers(2, 3, 8).requires_grad_()
    parameters = list(ours.named_parameters())

    def run(x, *values):
        return functional_call(ours, dict(zip([n for n, _ in parameters], values, strict=True)), x, {"causal": True})

    assert torch.autograd.gradcheck(run, (x, *[p for _, p in parameters]), fast_mode=True)


def test_a_head_may_have_a_dimension_of_its_own():
    ours = MultiHeadAttention(10, 3, head_dim=4, kv_heads=1, bias=False)
    assert ours(torch.zeros(2, 5, 10)).shape == (2, 5, 10)
    assert [tuple(p.shape) for p in ours.parameters()] == [((3 + 2) * 4, 10), (10, 12)]


def test_any_function_can_be_the_kernel():
    seen = {}

    def uniform(query, key, value, mask, causal):
        seen.update(heads=key.shape[1], mask=mask, causal=causal)
        return value.mean(dim=2, keepdim=True).expand_as(query)

    ours, x = module(kernel=uniform, kv_heads=2), numbers(2, 5, WIDTH)
    assert close(ours(x, causal=True), ours(x, causal=True)[:, :1].expand_as(x))
    assert seen == {"heads": 4, "mask": None, "causal": True}
    ours(x, mask=torch.zeros(5, 5, dtype=torch.bool), true_means="ignore")
    assert bool(seen["mask"].all()) and not seen["causal"]


@pytest.mark.parametrize("kernel", ["fused", "plain"])
def test_dropout_falls_on_the_weights_while_training_only(kernel):
    ours, x = module(kernel=kernel, dropout=0.5), numbers(2, 6, WIDTH)
    assert not close(ours(x), ours(x))
    ours.eval()
    assert torch.equal(ours(x), ours(x))
    assert close(ours(x), module(kernel=kernel)(x))


@pytest.mark.parametrize("kernel", ["fused", "plain"])
def test_dropout_keeps_the_mean(kernel):
    ours, x = module(kernel=kernel, dropout=0.3), numbers(1, 6, WIDTH)
    many = ours(x.expand(4000, 6, WIDTH))
    assert torch.allclose(many.mean(0), ours.eval()(x)[0], atol=0.05)


def test_every_example_of_a_batch_can_have_its_own_gradient():
    ours, x = module(kernel="plain"), numbers(3, 5, WIDTH)
    weights = {name: p.detach() for name, p in ours.named_parameters()}

    def loss(weights, x):
        return functional_call(ours, weights, x[None], {"causal": True}).square().sum()

    each = vmap(func_grad(loss), (None, 0))(weights, x)
    together = func_grad(lambda w: functional_call(ours, w, x, {"causal": True}).square().sum())(weights)
    for name, found in each.items():
        assert close(found.sum(0), together[name])


def test_a_module_knows_what_it_is():
    assert "heads=4, kv_heads=2, head_dim=6, kernel='tiled'" in repr(module(kv_heads=2, kernel="tiled"))


@pytest.mark.parametrize("kernel", ["fused", "plain"])
def test_a_blind_query_is_refused_with_its_place(kernel):
    ours, x = module(kernel=kernel), numbers(2, 4, WIDTH)
    mask = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    mask[1, 0, 2] = False
    with pytest.raises(ValueError, match="batch 1, head 0, query 2 may look at no key"):
        ours(x, mask=mask)
    with pytest.raises(ValueError, match="batch 1, head 0, query 2 may look at no key"):
        ours.weights(x, mask=~mask, true_means="ignore")


@KERNELS
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_number_is_named_with_its_input_and_place(kernel, bad):
    ours, x, memory = module(kernel=kernel), numbers(2, 4, WIDTH), numbers(2, 3, WIDTH)
    memory[1, 2, 5] = bad
    with pytest.raises(ValueError, match=rf"^memory holds {bad} at \(1, 2, 5\)"):
        ours(x, memory)
    with pytest.raises(ValueError, match=rf"^x holds {bad} at \(1, 2, 5\)"):
        ours.weights(memory.requires_grad_())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 10, "heads": 4}, "4 heads do not divide a width of 10: choose a divisor, or give head_dim"),
        ({"width": 12, "heads": 4, "kv_heads": 3}, "3 heads of keys and values do not divide 4 heads of queries"),
        ({"width": 12, "heads": 0}, "heads must be at least 1, got heads=0, kv_heads=0"),
        ({"width": 12, "heads": 4, "rotary_theta": 10.0}, "dimension of a head must be even, got 3"),
        ({"width": 12, "heads": 4, "head_dim": 0}, "head_dim must be at least 1, got 0"),
        ({"width": 12, "heads": 4, "kernel": "flash"}, "one of fused, plain, tiled or a function, got 'flash'"),
        ({"width": 12, "heads": 4, "dropout": 1.5}, "dropout must be between 0 and 1, got 1.5"),
        ({"width": 12, "heads": 4, "dropout": 0.1, "kernel": "tiled"}, "kernel 'tiled' has no dropout, got 0.1"),
        ({"width": 12, "heads": 2, "rotary_theta": 1e4, "rotary_layout": "neox"}, "'half' or 'interleaved', got"),
    ],
)
def test_heads_and_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(**options)


def test_a_kernel_put_in_later_is_looked_at_too():
    ours, x = module(dropout=0.1), numbers(2, 4, WIDTH)
    ours.kernel = "flash"
    with pytest.raises(ValueError, match="one of fused, plain, tiled or a function, got 'flash'"):
        ours(x)
    ours.kernel = "tiled"
    with pytest.raises(ValueError, match=r"kernel 'tiled' has no dropout, got 0\.1"):
        ours(x)
    assert close(ours.eval()(x), module()(x))


def test_heads_that_do_not_divide_the_width_are_refused_when_splitting():
    with pytest.raises(ValueError, match="4 heads do not divide a width of 10"):
        split_heads(torch.zeros(1, 2, 10), 4)


def test_heads_of_keys_that_do_not_divide_those_of_queries_are_refused():
    with pytest.raises(ValueError, match="3 heads of keys and values do not divide 4 heads of queries"):
        fused_attention(torch.zeros(1, 4, 2, 2), torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))


def test_inputs_that_do_not_fit_are_refused():
    ours, x = module(), numbers(2, 4, WIDTH)
    with pytest.raises(ValueError, match=r"x must be \(batch, tokens, 24\), got \(2, 4, 23\)"):
        ours(x[..., 1:])
    with pytest.raises(ValueError, match=r"x must be \(batch, tokens, 24\), got \(4, 24\)"):
        ours(x[0])
    with pytest.raises(ValueError, match=r"memory must be \(batch, tokens, 24\), got \(2, 4, 23\)"):
        ours(x, x[..., 1:])
    with pytest.raises(ValueError, match="x has a batch of 2, memory of 1"):
        ours(x, x[:1])
    with pytest.raises(ValueError, match="4 tokens need 4 positions, got 3"):
        module(rotary_theta=10.0)(x, positions=torch.arange(3))
    with pytest.raises(ValueError, match="give memory or cache, not both"):
        ours(x, x, cache=KeyValueCache(2, 4, 4, 6, torch.float64))
    for shape in [(2, 4, 4), (3, 1, 4, 4), (1, 1, 1, 4, 4)]:
        with pytest.raises(
            ValueError, match=r"mask must be \(queries, keys\) or \(batch 1 or 2, heads 1 or 4, queries"
        ):
            ours(x, mask=torch.ones(shape, dtype=torch.bool))
    with pytest.raises(ValueError, match="kernel 'tiled' takes causal=True but no mask"):
        module(kernel="tiled")(x, mask=torch.ones(4, 4, dtype=torch.bool))


def test_more_tokens_than_the_cache_has_room_for_are_refused():
    cache = KeyValueCache(2, 4, 3, 6, torch.float64)
    with pytest.raises(ValueError, match="no room for 4 more tokens, 0 of 3 places are taken"):
        module()(numbers(2, 4, WIDTH), causal=True, cache=cache)


@pytest.mark.parametrize("theta", [None, 10.0])
def test_the_whole_module_runs_where_its_input_is(theta):
    ours = MultiHeadAttention(WIDTH, HEADS, rotary_theta=theta).to("meta")
    x = torch.zeros(2, 4, WIDTH, device="meta")
    cache = KeyValueCache(2, 4, 8, 6, device="meta")
    assert ours(x, causal=True, cache=cache).device.type == "meta"
    assert ours(x, causal=True, cache=cache).device.type == "meta"
    assert ours.weights(x, causal=True).device.type == "meta"
