"""The loss through the head: against torch on full logits, and without ever holding them."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from labkit.transformer import next_token_loss


def case(tokens=(2, 5), vocabulary=11, width=4, dtype=torch.float64, scale=1.0, seed=0):
    draw = torch.Generator().manual_seed(seed)
    hidden = torch.randn(*tokens, width, generator=draw, dtype=torch.float64).mul(scale).to(dtype).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(vocabulary, tokens, generator=draw)


def full(hidden, weight, targets):
    return F.cross_entropy((hidden @ weight.T).flatten(0, -2), targets.flatten())


def test_two_tokens_by_hand():
    # logits (0, ln 3): probabilities 1/4 and 3/4; logits (0, 0): 1/2 each
    hidden, weight = torch.tensor([[math.log(3.0)], [0.0]]), torch.tensor([[0.0], [1.0]])
    loss = next_token_loss(hidden, weight, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx((math.log(4) + math.log(2)) / 2)


@given(seed=st.integers(0, 99), chunk=st.integers(1, 14), ignored=st.integers(0, 9))
def test_value_and_gradients_are_those_of_full_logits_whatever_the_chunk(seed, chunk, ignored):
    hidden, weight, targets = case(seed=seed)
    targets.view(-1)[:ignored] = -100
    found = []
    for loss in (next_token_loss(hidden, weight, targets, chunk), full(hidden, weight, targets)):
        found.append((loss, *torch.autograd.grad(loss, (hidden, weight))))
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).abs().max() < 1e-12


def test_what_is_left_out_gets_no_gradient():
    hidden, weight, targets = case()
    targets[0, :3] = -100
    next_token_loss(hidden, weight, targets).backward()
    assert not hidden.grad[0, :3].any() and hidden.grad[0, 3:].all()


@pytest.mark.parametrize("factor", [1.0, 3.0, 1 / 128])
def test_the_gradient_of_a_multiple_is_the_multiple(factor):
    hidden, weight, targets = case()
    ours = torch.autograd.grad(next_token_loss(hidden, weight, targets) * factor, (hidden, weight))
    theirs = torch.autograd.grad(full(hidden, weight, targets) * factor, (hidden, weight))
    assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


def test_going_back_twice_gives_the_same_gradient_twice():
    hidden, weight, targets = case()
    loss = next_token_loss(hidden, weight, targets) * 2
    first = torch.autograd.grad(loss, (hidden, weight), retain_graph=True)
    again = torch.autograd.grad(loss, (hidden, weight))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("frozen", ["hidden", "weight"])
def test_a_frozen_side_is_no_obstacle(frozen):
    hidden, weight, targets = case()
    theirs = torch.autograd.grad(full(hidden, weight, targets), weight if frozen == "hidden" else hidden)[0]
    (hidden if frozen == "hidden" else weight).requires_grad_(False)
    next_token_loss(hidden, weight, targets).backward()
    ours = weight.grad if frozen == "hidden" else hidden.grad
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e3, 1e5])
def test_huge_logits_do_not_overflow(scale):
    hidden, weight, targets = case(dtype=torch.float32, scale=scale)
    loss = next_token_loss(hidden, weight, targets)
    loss.backward()
    assert loss.item() == pytest.approx(full(hidden, weight, targets).item(), rel=1e-5)
    assert hidden.grad.isfinite().all() and weight.grad.isfinite().all()


def test_half_precision_sums_in_full_precision():
    hidden, weight, targets = case((4, 64), 5000, 8, torch.bfloat16)
    exact = full(hidden.float(), weight.float(), targets)
    assert next_token_loss(hidden, weight, targets).item() == pytest.approx(exact.item(), rel=0.01)


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float32), (torch.bfloat16, torch.float32)], ids=str)
def test_under_autocast_the_loss_is_about_the_same(dtypes):
    hidden, weight, targets = case((4, 16), 50, 8, torch.float32)
    expected = (full(hidden, weight, targets), *torch.autograd.grad(full(hidden, weight, targets), (hidden, weight)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = next_token_loss(hidden.to(dtypes[0]), weight.to(dtypes[1]), targets)
    found = (loss, *torch.autograd.grad(loss, (hidden, weight)))
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() < 0.02 * theirs.abs().max()


def test_the_logits_of_all_tokens_are_never_kept():
    hidden, weight, targets = case((8, 64), 4000, 4)
    kept = []
    with saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        next_token_loss(hidden, weight, targets)
    assert sum(kept) == hidden.numel() + weight.numel()  # the two gradients, and not 512 · 4000 logits


class Products(TorchDispatchMode):
    """Counts the multiplications of all matrix products (torch's own counter knows no in-place ones)."""

    multiplications = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in ("mm", "addmm", "addmm_"):
            left, right = args[-2:]
            self.multiplications += left.shape[0] * left.shape[1] * right.shape[1]
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("training", "products"), [(True, 3), (False, 1)])
def test_there_are_three_products_and_without_gradients_one(training, products):
    hidden, weight, targets = case((4, 8), 50, 16)
    with Products() as counter, torch.set_grad_enabled(training):
        loss = next_token_loss(hidden, weight, targets, chunk=5)
        if training:
            loss.backward()
    assert counter.multiplications == products * 32 * 50 * 16


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.full((2, 5), -100), "every target is -100"),
        (torch.full((2, 5), 11), "between 0 and 10 or be -100, got 11"),
        (torch.full((2, 5), -1), "got -1"),
        (torch.zeros(2, 5), r"must be int64, one for each token, of shape \(2, 5\); got \(2, 5\) of torch.float32"),
        (torch.zeros(2, 4, dtype=torch.long), r"got \(2, 4\)"),
        (torch.zeros(5, 2, dtype=torch.long), r"of shape \(2, 5\); got \(5, 2\)"),
        ([1, 2], "got list"),
    ],
)
def test_targets_that_cannot_be_are_refused(targets, message):
    hidden, weight, _ = case()
    with pytest.raises(ValueError, match=message):
        next_token_loss(hidden, weight, targets)


def test_a_second_derivative_is_refused_rather_than_taken_for_zero():
    hidden, weight, targets = case()
    with pytest.raises(ValueError, match="no second derivative: take cross_entropy of all logits"):
        torch.autograd.grad(next_token_loss(hidden, weight, targets), hidden, create_graph=True)
