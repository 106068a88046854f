"""Attention from tiles: against torch and the plain formula, independent of the tile, with memory that grows like n."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from labkit.attention import attention, causal_mask, merge_heads, split_heads
from labkit.attention import tiled as module
from labkit.attention.tiled import Tiles, online_softmax, saved_bytes, tiled_attention

SEEDS = st.integers(0, 2**31)


def numbers(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inputs(*leading, queries=5, keys=7, dim=4, value_dim=6, seed=0, dtype=torch.float64):
    """Queries, keys and values that want gradients."""
    shapes = (queries, dim), (keys, dim), (keys, value_dim)
    return [numbers(*leading, *shape, seed=seed + i, dtype=dtype).requires_grad_() for i, shape in enumerate(shapes)]


def with_gradients(function, *inputs, **options):
    """The output, and what becomes of the gradient of a random loss."""
    output = function(*inputs, **options)
    grad = numbers(*output.shape, seed=99).to(output.dtype)
    return [output.detach(), *torch.autograd.grad(output, inputs, grad)]


def torchs(query, key, value, causal=False, scale=None):
    mask = causal_mask(query.shape[-2], key.shape[-2]) if causal else None
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


def formula(query, key, value, causal=False, scale=None):
    """softmax(Q Kᵀ / √d) V and nothing else."""
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        scores = scores.masked_fill(~causal_mask(query.shape[-2], key.shape[-2]), -math.inf)
    return scores.softmax(dim=-1) @ value


def assert_equal_all(found, wanted, **tolerance):
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance)


# ---- online softmax ----


def test_the_running_maximum_and_sum_by_hand():
    # tiles (0, log 2), (log 4, 0), (log 2): the sum is relative to log 4, the largest
    scores = torch.tensor([1.0, 2, 4, 1, 2]).log()
    maximum, total = online_softmax(scores, tile=2)
    assert float(maximum) == pytest.approx(math.log(4))
    assert float(total) == pytest.approx((1 + 2 + 4 + 1 + 2) / 4)


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=3), tile=st.integers(1, 7), seed=SEEDS)
def test_online_softmax_finds_what_all_scores_at_once_find(shape, tile, seed):
    scores = 30 * numbers(*shape, seed=seed)
    maximum, total = online_softmax(scores, tile)
    assert torch.equal(maximum, scores.amax(dim=-1))
    torch.testing.assert_close(maximum + total.log(), scores.logsumexp(dim=-1))


def test_online_softmax_of_sizes_that_overflow_and_of_forbidden_scores():
    scores = torch.tensor([[-torch.inf, -torch.inf, 1000.0, 1000.0], [-torch.inf] * 4])
    maximum, total = online_softmax(scores, tile=1)
    assert maximum[0] == 1000
    assert total.tolist() == [2, 0]


# ---- attention: values and gradients ----


def test_an_attention_by_hand():
    # Weights 1/3 and 2/3 in the second row; the first sees the first key only.
    query, key = torch.tensor([[1.0], [1.0]]), torch.tensor([[0.0], [math.log(2)]])
    output = tiled_attention(query, key, torch.tensor([[3.0], [6.0]]), causal=True, tile=1)
    torch.testing.assert_close(output, torch.tensor([[3.0], [5.0]]))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n", [1, 255, 256, 257, 600])
def test_the_fused_kernel_of_torch_finds_the_same_in_float32(n, causal):
    parts = inputs(2, 3, queries=n, keys=n, dim=16, value_dim=16, dtype=torch.float32)
    fused = with_gradients(lambda *parts: scaled_dot_product_attention(*parts, is_causal=causal), *parts)
    assert_equal_all(with_gradients(tiled_attention, *parts, causal=causal), fused, rtol=1e-4, atol=1e-5)


@given(
    leading=st.lists(st.integers(1, 3), max_size=3),
    queries=st.integers(1, 9),
    more=st.integers(0, 9),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    causal=st.booleans(),
    scale=st.sampled_from([None, 0.0, 0.7, -2.0, 3]),
    tile=st.integers(1, 12),
    seed=SEEDS,
)
def test_no_tile_changes_the_values_or_the_gradients(leading, queries, more, sizes, causal, scale, tile, seed):
    dim, value_dim = sizes
    parts = inputs(*leading, queries=queries, keys=queries + more, dim=dim, value_dim=value_dim, seed=seed)
    found = with_gradients(tiled_attention, *parts, causal=causal, scale=scale, tile=tile)
    assert_equal_all(found, with_gradients(formula, *parts, causal=causal, scale=scale), rtol=1e-10, atol=1e-12)
    assert_equal_all(found, with_gradients(torchs, *parts, causal=causal, scale=scale), rtol=1e-10, atol=1e-12)


def test_more_queries_than_keys_are_fine_when_nothing_is_hidden():
    parts = inputs(2, queries=9, keys=2)
    assert_equal_all(with_gradients(tiled_attention, *parts, tile=4), with_gradients(formula, *parts))


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_are_those_of_finite_differences(causal):
    parts = inputs(2, queries=4, keys=5, dim=3, value_dim=2)
    assert torch.autograd.gradcheck(lambda *parts: tiled_attention(*parts, causal=causal, tile=2), parts)


def test_causal_is_aligned_at_the_ends():
    query, key, value = inputs(queries=2, keys=5)
    output = tiled_attention(query, key, value, causal=True, tile=2)
    torch.testing.assert_close(output[1:], attention(query[1:], key, value))
    torch.testing.assert_close(output[:1], attention(query[:1], key[:4], value[:4]))


def test_the_future_cannot_leak_into_the_past():
    query, key, value = inputs(2, queries=7, keys=7)
    later = torch.arange(7)[:, None] > 3
    output = tiled_attention(query, key, value, causal=True, tile=2)
    other = tiled_attention(query, key + later, value - 5 * later, causal=True, tile=2)
    assert torch.equal(output[:, :4], other[:, :4])
    assert not torch.equal(output[:, 4:], other[:, 4:])


def test_groups_of_heads_change_nothing(monkeypatch):
    parts = inputs(2, 5, queries=6, keys=6)
    whole = with_gradients(tiled_attention, *parts, causal=True, tile=3)
    for at_once in (1, 9, 2 * 9):  # one head or two at a time, on any number of threads
        monkeypatch.setattr(module, "SCORES_AT_ONCE", at_once)
        assert_equal_all(with_gradients(tiled_attention, *parts, causal=True, tile=3), whole)


def test_scores_of_any_size_do_not_overflow():
    query, key, value = inputs(2, queries=6, keys=6)
    found = with_gradients(tiled_attention, 300 * query, 300 * key, value, causal=True, tile=2)
    assert all(part.isfinite().all() for part in found)
    torch.testing.assert_close(found[0], formula(300 * query, 300 * key, value, causal=True))
    far = tiled_attention(query, key - 1e4 * query.sign().mean(), value, tile=2)
    torch.testing.assert_close(far, formula(query, key - 1e4 * query.sign().mean(), value))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    parts = [x.detach().to(dtype).requires_grad_() for x in inputs(2, queries=300, keys=300, dim=8, value_dim=8)]
    found = with_gradients(tiled_attention, *parts, causal=True, tile=16)
    exact = with_gradients(formula, *(x.detach().double().requires_grad_() for x in parts), causal=True)
    assert {x.dtype for x in found} == {dtype}
    # What is left is the rounding of the output itself, and in the gradients that of the output they are computed from.
    assert_equal_all(found[:1], [x.to(dtype) for x in exact[:1]], rtol=torch.finfo(dtype).eps, atol=1e-5)
    worst = max(float((ours - theirs).abs().max()) for ours, theirs in zip(found, exact, strict=True))
    assert worst < 4 * torch.finfo(dtype).eps * float(torch.stack([x.abs().max() for x in exact]).max())


def test_only_wanted_gradients_and_gradients_of_any_layout():
    query, key, value = inputs(2, 3)
    frozen = value.detach()
    tiled_attention(query, key, frozen).sum().backward()  # the gradient of a sum is one number, expanded
    wanted = torch.autograd.grad(formula(query, key, frozen).sum(), (query, key))
    assert_equal_all([query.grad, key.grad], wanted)
    assert frozen.grad is None


def test_heads_that_are_views_are_read_and_written_as_they_lie():
    x = numbers(2, 6, 3 * 12)
    query, key, value = (split_heads(part, heads=3) for part in x.split(12, dim=-1))
    output = tiled_attention(query, key, value, causal=True, tile=4)
    torch.testing.assert_close(output, formula(query, key, value, causal=True))
    assert merge_heads(output).data_ptr() == output.data_ptr()  # no copy


def test_expanded_inputs_are_read_where_they_lie_and_their_gradients_add_up():
    query, key, value = inputs(1)
    wide = [x.expand(3, -1, -1) for x in (query, key, value)]
    found, wanted = (function(*wide).pow(2).sum() for function in (tiled_attention, formula))
    assert_equal_all(torch.autograd.grad(found, (query, key, value)), torch.autograd.grad(wanted, (query, key, value)))


def test_no_gradient_no_memory():
    with torch.no_grad():
        assert saved_bytes(tiled_attention, *inputs()) == 0
    assert saved_bytes(tiled_attention, *(x.detach() for x in inputs())) == 0


def test_a_second_derivative_is_refused():
    parts = inputs()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(tiled_attention(*parts).sum(), parts, create_graph=True)


def test_nothing_comes_of_nothing():
    parts = inputs(0, 3), inputs(2, queries=0)
    for query, key, value in parts:
        output, *gradients = with_gradients(tiled_attention, query, key, value, causal=True)
        assert output.shape == (*query.shape[:-1], 6)
        assert [x.shape for x in gradients] == [x.shape for x in (query, key, value)]
        assert not any(x.any() for x in gradients)


# ---- tiles ----


@given(queries=st.integers(1, 30), more=st.integers(0, 20), tile=st.integers(1, 12), causal=st.booleans())
def test_the_tiles_cover_what_may_be_seen_once_and_skip_the_future(queries, more, tile, causal):
    keys = queries + more
    query, key = torch.zeros(2, 3, queries, 4), torch.zeros(2, 3, keys, 4)
    tiles = Tiles(query, key, causal, 1.0, tile)
    met = torch.zeros(2, 3, queries, keys)
    for heads in tiles.heads():
        for rows in tiles.rows():
            for columns in tiles.columns(rows):
                assert rows.stop - rows.start <= tile and columns.stop - columns.start <= tile
                met[(*heads, rows, columns)] += 1
    allowed = causal_mask(queries, keys) if causal else torch.ones(queries, keys, dtype=torch.bool)
    assert (met[:, :, allowed] == 1).all()
    blocks = math.ceil(queries / tile) * tile
    assert not causal or not met[..., torch.ones(queries, keys).triu(more + blocks - queries + tile).bool()].any()


def test_a_tile_of_scores_is_in_units_of_log_two_and_hides_the_future():
    Q, K = numbers(1, 4, 3), numbers(1, 6, 3, seed=1)
    tiles = Tiles(Q, K, True, 0.5, 4)
    scores = tiles.scores(Q, K, slice(0, 4), slice(0, 4)).clone()
    wanted = (0.5 * Q @ K[:, :4].mT / math.log(2)).masked_fill(~causal_mask(4, 6)[:, :4], -math.inf)
    torch.testing.assert_close(scores, wanted)


# ---- memory ----


def test_what_is_kept_for_the_backward_pass_grows_like_the_number_of_tokens():
    def kept(attend, n):
        return saved_bytes(attend, *inputs(2, 3, queries=n, keys=n, dim=8, value_dim=8, dtype=torch.float32))

    # queries, keys, values and output of 8 numbers, and the log-sum-exp, for 2 · 3 heads, 4 bytes each
    assert kept(tiled_attention, 100) == 4 * 2 * 3 * 100 * (4 * 8 + 1)
    assert kept(tiled_attention, 200) == 2 * kept(tiled_attention, 100)
    assert kept(formula, 200) > 3 * kept(formula, 100)


def test_saved_bytes_count_what_is_kept_once():
    x = torch.ones(10, dtype=torch.float64, requires_grad=True)
    assert saved_bytes(lambda x: 3 * x, x) == 0  # nothing is needed again
    assert saved_bytes(lambda x: x * x, x) == 80
    assert saved_bytes(lambda x: x.exp() * x.exp(), x) == 160
    assert saved_bytes(lambda x: (x[:2] * x[5:7]).sum(), x) == 80  # a part keeps the whole alive


def test_saved_bytes_leave_out_parameters_and_count_inputs():
    linear = torch.nn.Linear(4, 5)
    x = torch.ones(3, 4)
    assert saved_bytes(linear, x) == x.nbytes
    assert saved_bytes(linear, x[None]) == x.nbytes
    assert saved_bytes(lambda x: torch.nn.functional.linear(x, linear.weight[:2]), x) == x.nbytes
    assert saved_bytes(linear, x.requires_grad_()) == x.nbytes  # the weight is kept too, and was there anyway


# ---- bad input ----


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((5, 4), (5, 3), (5, 4)), r"got query \(5, 4\), key \(5, 3\), value \(5, 4\); expected"),
        (((5, 4), (6, 4), (5, 4)), "expected"),
        (((8, 5, 4), (2, 5, 4), (2, 5, 4)), "see repeat_heads"),
        (((2, 5, 4), (5, 4), (5, 4)), "the same leading axes"),
        (((4,), (4,), (4,)), "expected"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_and_named(shapes, message):
    with pytest.raises(ValueError, match=message):
        tiled_attention(*(torch.zeros(shape) for shape in shapes))


def test_a_query_that_may_look_nowhere_is_refused():
    for keys in (3, 4):
        with pytest.raises(
            ValueError, match=f"5 causal queries and {keys} keys: the first {5 - keys} may look nowhere"
        ):
            tiled_attention(*inputs(queries=5, keys=keys), causal=True)
    with pytest.raises(ValueError, match="5 queries and 0 keys: they may look nowhere"):
        tiled_attention(*inputs(queries=5, keys=0))


@pytest.mark.parametrize("name", ["query", "key", "value"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_infinity_are_refused_by_name(name, bad):
    parts = {key: x.detach() for key, x in zip(("query", "key", "value"), inputs(2), strict=True)}
    parts[name][1, 2, 3] = bad
    with pytest.raises(ValueError, match=rf"{name} holds {bad} at \(1, 2, 3\)"):
        tiled_attention(**parts)


@pytest.mark.parametrize("tile", [0, -1, 2.0, "16", True])
def test_a_tile_without_an_edge_is_refused(tile):
    with pytest.raises(ValueError, match="a tile needs an edge of at least 1"):
        tiled_attention(*inputs(), tile=tile)
    with pytest.raises(ValueError, match="a tile needs an edge of at least 1"):
        online_softmax(torch.zeros(3), tile)


def test_types_that_differ_are_refused():
    query, key, value = inputs()
    with pytest.raises(ValueError, match=r"one type, got torch.float64, torch.float32, torch.float64"):
        tiled_attention(query, key.float(), value)
