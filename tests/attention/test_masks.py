"""Masks: by hand, against torch's own causal mask, both polarities, and queries that would be blind."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from labkit.attention import allowed_keys, causal_mask, may_attend, padding_mask, refuse_blind


def drawings(mask):
    return ["".join(".x"[int(x)] for x in row) for row in mask]


def test_a_query_sees_itself_and_what_came_before():
    assert drawings(causal_mask(3)) == ["x..", "xx.", "xxx"]


def test_with_fewer_queries_than_keys_the_last_query_sees_all():
    assert drawings(causal_mask(2, 5)) == ["xxxx.", "xxxxx"]
    assert drawings(causal_mask(1, 4)) == ["xxxx"]


@given(keys=st.integers(1, 9), data=st.data())
def test_the_rows_of_a_cached_mask_are_the_last_rows_of_the_full_one(keys, data):
    queries = data.draw(st.integers(1, keys))
    assert torch.equal(causal_mask(queries, keys), causal_mask(keys)[-queries:])


def test_the_causal_mask_is_torchs_with_the_meaning_of_true_turned_round():
    theirs = nn.Transformer.generate_square_subsequent_mask(5) == -torch.inf  # True = ignore
    assert torch.equal(may_attend(theirs, true_means="ignore"), causal_mask(5))


def test_torch_aligns_its_causal_mask_at_the_beginnings_and_this_course_at_the_ends():
    query, key = torch.zeros(1, 2, 4), torch.zeros(1, 3, 4)
    value = torch.eye(3)[None]
    theirs = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    ours = functional.scaled_dot_product_attention(query, key, value, attn_mask=causal_mask(2, 3))
    assert drawings(theirs[0] > 0) == ["x..", "xx."]
    assert drawings(ours[0] > 0) == ["xx.", "xxx"]


def test_more_queries_than_keys_would_leave_the_first_ones_blind():
    with pytest.raises(ValueError, match="5 queries and 3 keys: the first 2 could look at nothing"):
        causal_mask(5, 3)


def test_padding_behind_a_text_is_not_looked_at():
    mask = padding_mask(torch.tensor([2, 4, 1]), keys=4)
    assert mask.shape == (3, 1, 1, 4)
    assert drawings(mask[:, 0, 0]) == ["xx..", "xxxx", "x..."]


@pytest.mark.parametrize("lengths", [[0, 2], [3, 5], [-1]])
def test_a_length_that_leaves_nothing_or_is_longer_than_the_text_is_refused(lengths):
    with pytest.raises(ValueError, match=r"between 1 and the number of keys, 4; got \["):
        padding_mask(torch.tensor(lengths), keys=4)


def test_true_may_mean_attend_or_ignore():
    mask = torch.tensor([True, False])
    assert torch.equal(may_attend(mask), mask)
    assert torch.equal(may_attend(mask, true_means="ignore"), ~mask)


@pytest.mark.parametrize("mask", [torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.long), [[True]]])
def test_a_mask_of_numbers_is_refused_and_told_where_to_go(mask):
    with pytest.raises(ValueError, match=r"must be boolean, got .*mask\.bool\(\), or bias"):
        may_attend(mask)


def test_another_polarity_is_refused():
    with pytest.raises(ValueError, match="'attend' or 'ignore', got 'keep'"):
        may_attend(torch.tensor([True]), true_means="keep")


def test_a_blind_query_is_named_with_its_place():
    mask = torch.ones(2, 3, 4, 5, dtype=torch.bool)
    mask[1, 2, 3] = False
    with pytest.raises(ValueError, match=r"^batch 1, head 2, query 3 may look at no key \(mask \(2, 3, 4, 5\)"):
        refuse_blind(mask)
    with pytest.raises(ValueError, match=r"^query 3 may"):
        refuse_blind(mask[1, 2])
    with pytest.raises(ValueError, match=r"^axis 0 0, batch 1, head 2, query 3 may"):
        refuse_blind(mask[None])


@given(shape=st.lists(st.integers(1, 3), min_size=2, max_size=4), seed=st.integers(0, 2**31))
def test_exactly_the_masks_with_a_blind_query_are_refused(shape, seed):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.7
    blind = (mask.sum(-1) == 0).nonzero().tolist()
    if not blind:
        refuse_blind(mask)
        return
    with pytest.raises(ValueError, match=f"query {blind[0][-1]} may look at no key"):
        refuse_blind(mask)


def test_on_a_device_that_would_have_to_wait_nobody_looks():
    refuse_blind(torch.zeros(2, 2, dtype=torch.bool, device="meta"))
    padding_mask(torch.zeros(2, dtype=torch.long, device="meta"), keys=4)


def test_a_mask_is_made_where_it_is_needed():
    assert causal_mask(2, device="meta").device.type == "meta"
    assert allowed_keys(2, 2, causal=True, device="meta").device.type == "meta"
    mask = torch.ones(2, 2, dtype=torch.bool, device="meta")
    assert allowed_keys(2, 2, mask, causal=True).device.type == "meta"


def test_a_mask_and_causality_hold_together():
    mask = torch.tensor([[True, True, False], [True, False, True], [False, True, True]])
    assert drawings(allowed_keys(3, 3, mask, causal=True)) == ["x..", "x..", ".xx"]
    assert drawings(allowed_keys(3, 3, ~mask, causal=True, true_means="ignore")) == ["x..", "x..", ".xx"]
    assert allowed_keys(3, 3) is None


def test_padding_on_the_left_under_a_causal_mask_leaves_the_first_query_blind():
    left = torch.tensor([[False, True, True], [True, True, True]])[:, None, None]
    with pytest.raises(ValueError, match="batch 0, head 0, query 0 may look at no key"):
        allowed_keys(3, 3, left, causal=True)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (), (2, 4, 3)])
def test_a_mask_of_another_size_is_refused(shape):
    with pytest.raises(ValueError, match=r"a mask for 3 queries and 4 keys must end in \(queries, keys\) or ones, got"):
        allowed_keys(3, 4, torch.ones(shape, dtype=torch.bool))


@pytest.mark.parametrize("shape", [(4,), (1, 4), (3, 1), (2, 1, 3, 4)])
def test_a_mask_may_broadcast(shape):
    mask = allowed_keys(3, 4, torch.ones(shape, dtype=torch.bool))
    assert torch.broadcast_shapes(mask.shape, (3, 4))[-2:] == (3, 4)
