"""Ring attention on real ranks equals attention on one, forward and backward; positions, balance and bytes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from labkit.model_parallel.context import ORDERS, pairs, positions, ring_bytes  # noqa: E402
from labkit.ranks import run_ranks  # noqa: E402

EXACT = 1e-12
SIZE = (2, 3, 48)  # batch, heads, tokens
DIMS = (8, 8, 5)  # of queries, keys, values


def whole_inputs(seed=0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(*SIZE, dim, generator=draw, dtype=dtype) for dim in DIMS]


def differences(order, causal, dtype=torch.float64):
    """The largest differences to `labkit.attention` on one process: output, dQ, dK, dV."""
    from labkit.attention import attention
    from labkit.model_parallel.context import all_tokens, own_tokens, ring_attention

    whole = [x.requires_grad_() for x in whole_inputs(dtype=dtype)]
    wanted = attention(*whole, causal=causal, scale=0.4)
    weight = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    (wanted * weight).sum().backward()
    own = [own_tokens(x.detach(), order=order).requires_grad_() for x in whole]
    found = ring_attention(*own, causal=causal, order=order, scale=0.4)
    (found * own_tokens(weight, order=order)).sum().backward()
    pairs_ = [(found, wanted), *((mine.grad, theirs.grad) for mine, theirs in zip(own, whole, strict=True))]
    return [float((all_tokens(mine, order=order) - theirs).abs().max()) for mine, theirs in pairs_]


def measured():
    """Bytes that came in and bytes that autograd keeps, for two lengths; and a long sequence against torch."""
    from labkit.attention import saved_bytes
    from labkit.model_parallel.context import around_the_ring, ring_attention
    from labkit.model_parallel.matmul import Moved

    found = {}
    for tokens in (64, 128):
        moved, own = Moved(), torch.randn(1, 2, tokens // 2, 8, requires_grad=True)
        kept = saved_bytes(lambda own=own, moved=moved: ring_attention(own, own, own, causal=True, moved=moved))
        forward = moved.bytes
        ring_attention(own, own, own, causal=True, moved=moved).sum().backward()
        found[tokens] = forward, moved.bytes - forward, kept
    whole = torch.randn(4, 1, 1, 2048, 16, generator=torch.Generator().manual_seed(3))
    inputs = [x.clone().requires_grad_() for x in whole[:3]]
    theirs = torch.nn.functional.scaled_dot_product_attention(*inputs, is_causal=True)
    theirs.backward(whole[3])
    ours, _, kept = around_the_ring(list(whole[:3]), whole[3])
    wanted = (theirs.detach(), *(x.grad for x in inputs))
    found["long"] = max(float((a - b).abs().max()) for a, b in zip(ours, wanted, strict=True))
    assert kept == 1024 * (4 * 16 + 1) * 4
    return found


def complaints():
    from labkit.model_parallel.context import own_tokens, ring_attention

    x, said = torch.zeros(1, 6, 4), {}
    for what, ask in {
        "order": lambda: ring_attention(x, x, x, order="spiral"),
        "shapes": lambda: ring_attention(x, x[:, :4], x),
        "tokens": lambda: own_tokens(x),
    }.items():
        try:
            ask()
        except ValueError as error:
            said[what] = str(error)
    return said


def everything():
    equal = {(order, causal): differences(order, causal) for order in ORDERS for causal in (False, True)}
    return equal, differences("zigzag", True, torch.float32), measured(), complaints()


@pytest.fixture(scope="module")
def two():
    return run_ranks(everything, 2)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_the_ring_gives_what_one_process_gives_and_its_gradients(two, order, causal):
    assert max(max(equal[order, causal]) for equal, *_ in two) < EXACT
    assert max(two[0][1]) < 1e-5  # single precision stays single precision


def test_bytes_are_those_of_the_formula_and_memory_grows_with_the_own_tokens(two):
    for _, _, found, _ in two:
        for tokens in (64, 128):
            once = ring_bytes(tokens, 16, 2)
            assert found[tokens][:2] == (once, once + ring_bytes(tokens, 16, 2, backward=True))
        assert found[128][2] == 2 * found[64][2]  # linear, not quadratic
        assert found["long"] < 1e-5


def test_what_does_not_fit_is_refused(two):
    said = two[0][3]
    assert "order is one of contiguous, striped, zigzag, got 'spiral'" in said["order"]
    assert "key (1, 4, 4)" in said["shapes"]
    assert "6 tokens do not divide into 4 equal parts (zigzag)" in said["tokens"]


@pytest.mark.parametrize("order", ORDERS)
def test_every_token_has_one_rank_and_every_pair_is_counted_once(order):
    where = torch.cat([positions(24, rank, 3, order) for rank in range(3)])
    assert where.sort().values.tolist() == list(range(24))
    assert pairs(24, 3, order).sum() == 24 * 25 // 2


def test_a_causal_mask_lets_contiguous_ranks_wait_and_zigzag_ranks_work_evenly():
    contiguous, zigzag, striped = (pairs(512, 4, order) for order in ("contiguous", "zigzag", "striped"))
    assert np.ptp(zigzag.sum(axis=0)) == 0 and np.ptp(zigzag, axis=1).max() == 0
    assert contiguous[3, 0] == 0  # rank 0 may see nothing of what the ring brings it
    slowest = [each.max(axis=1).sum() for each in (contiguous, zigzag, striped)]
    assert slowest[0] / slowest[1] > 1.7 and slowest[2] < 1.02 * slowest[1]
