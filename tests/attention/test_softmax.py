"""Softmax and cross entropy: by hand, against torch, against autograd."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from labkit.attention import (
    cross_entropy,
    cross_entropy_gradient,
    log_sum_exp,
    softmax,
    softmax_backward,
    softmax_jacobian,
)

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4)
SEEDS = st.integers(0, 2**31)


def numbers(*shape, seed=0, spread=3.0):
    return spread * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_softmax_by_hand():
    assert torch.allclose(softmax(torch.tensor([0.0, math.log(3)])), torch.tensor([0.25, 0.75]))


def test_one_score_more_by_log_two_is_twice_as_probable():
    low, high = softmax(torch.tensor([5.0, 5.0 + math.log(2)]))
    assert float(high / low) == pytest.approx(2)


@given(shape=SHAPES, dim=st.integers(0, 3), seed=SEEDS)
def test_softmax_is_torchs_along_any_axis(shape, dim, seed):
    scores, dim = numbers(*shape, seed=seed), dim % len(shape)
    assert torch.allclose(softmax(scores, dim), torch.softmax(scores, dim), atol=1e-12)
    assert torch.allclose(softmax(scores, dim - len(shape)), torch.softmax(scores, dim), atol=1e-12)


@given(shape=SHAPES, seed=SEEDS, shift=st.floats(-1000, 1000))
def test_a_constant_added_to_all_scores_changes_nothing(shape, seed, shift):
    scores = numbers(*shape, seed=seed)
    assert torch.allclose(softmax(scores + shift), softmax(scores), atol=1e-10)


@pytest.mark.parametrize("size", [1e4, -1e4, 3e38])
def test_scores_of_any_size_do_not_overflow(size):
    assert torch.equal(softmax(torch.tensor([size, size])), torch.tensor([0.5, 0.5]))
    assert softmax(torch.tensor([size, 0.0])).sum() == 1


def test_a_forbidden_score_has_probability_zero_and_nothing_but_forbidden_ones_is_nan():
    assert torch.equal(softmax(torch.tensor([0.0, -math.inf])), torch.tensor([1.0, 0.0]))
    assert softmax(torch.tensor([-math.inf, -math.inf])).isnan().all()


def test_softmax_passes_gradcheck_once_and_twice():
    scores = numbers(2, 5).requires_grad_()
    assert torch.autograd.gradcheck(softmax, scores)
    assert torch.autograd.gradgradcheck(softmax, scores)


def test_the_jacobian_by_hand():
    expected = torch.tensor([[0.25 * 0.75, -0.25 * 0.75], [-0.25 * 0.75, 0.25 * 0.75]])
    assert torch.allclose(softmax_jacobian(torch.tensor([0.25, 0.75])), expected)


def test_the_jacobian_is_autograds():
    scores = numbers(6)
    found = torch.autograd.functional.jacobian(softmax, scores)
    assert torch.allclose(softmax_jacobian(softmax(scores)), found, atol=1e-12)


def test_a_batch_has_one_jacobian_for_each_row():
    probabilities = softmax(numbers(2, 3, 4))
    jacobians = softmax_jacobian(probabilities)
    assert jacobians.shape == (2, 3, 4, 4)
    assert torch.equal(jacobians[1, 2], softmax_jacobian(probabilities[1, 2]))


@given(shape=SHAPES, seed=SEEDS)
def test_the_backward_is_the_jacobian_times_the_gradient_and_adds_up_to_zero(shape, seed):
    probabilities, grad = softmax(numbers(*shape, seed=seed)), numbers(*shape, seed=seed + 1)
    found = softmax_backward(grad, probabilities)
    assert torch.allclose(found, (softmax_jacobian(probabilities) @ grad[..., None])[..., 0], atol=1e-12)
    assert found.sum(-1).abs().max() < 1e-10  # a shift of all scores changes nothing, so no gradient points there


def test_the_backward_is_autograds():
    scores, grad = numbers(2, 3, 7).requires_grad_(), numbers(2, 3, 7, seed=1)
    expected = torch.autograd.grad(torch.softmax(scores, -1), scores, grad)[0]
    assert torch.allclose(softmax_backward(grad, softmax(scores)), expected, rtol=0, atol=1e-10)


@given(shape=SHAPES, seed=SEEDS)
def test_log_sum_exp_is_torchs(shape, seed):
    scores = numbers(*shape, seed=seed, spread=300.0)
    assert torch.allclose(log_sum_exp(scores), torch.logsumexp(scores, -1), atol=1e-10)


def test_knowing_nothing_about_eight_classes_costs_three_bits():
    assert float(cross_entropy(torch.zeros(5, 8), torch.arange(5))) / math.log(2) == pytest.approx(3)


@given(rows=st.lists(st.integers(1, 4), max_size=3), classes=st.integers(1, 9), seed=SEEDS)
def test_cross_entropy_is_torchs(rows, classes, seed):
    logits = numbers(*rows, classes, seed=seed)
    targets = torch.randint(classes, rows, generator=torch.Generator().manual_seed(seed))
    expected = functional.cross_entropy(logits.reshape(-1, classes), targets.reshape(-1))
    assert torch.allclose(cross_entropy(logits, targets), expected, atol=1e-12)


def test_a_target_of_no_probability_is_a_large_loss_and_not_an_infinite_one():
    logits = torch.tensor([[0.0, 1000.0]])
    assert torch.softmax(logits, -1)[0, 0] == 0
    assert cross_entropy(logits, torch.tensor([0])) == 1000


@pytest.mark.parametrize("rows", [(), (4,), (2, 3)])
def test_the_gradient_of_cross_entropy_is_autograds(rows):
    logits = numbers(*rows, 6).requires_grad_()
    targets = torch.randint(6, rows, generator=torch.Generator().manual_seed(1))
    loss = functional.cross_entropy(logits.reshape(-1, 6), targets.reshape(-1))
    expected = torch.autograd.grad(loss, logits)[0]
    assert torch.allclose(cross_entropy_gradient(logits, targets), expected, rtol=0, atol=1e-10)
    ours = torch.autograd.grad(cross_entropy(logits, targets), logits)[0]
    assert torch.allclose(ours, expected, rtol=0, atol=1e-10)


def test_the_gradient_of_cross_entropy_by_hand_is_p_minus_y():
    found = cross_entropy_gradient(torch.tensor([[0.0, math.log(3)]]), torch.tensor([1]))
    assert torch.allclose(found, torch.tensor([[0.25, -0.25]]))


def test_cross_entropy_passes_gradcheck():
    targets = torch.tensor([0, 2, 1])
    assert torch.autograd.gradcheck(lambda logits: cross_entropy(logits, targets), numbers(3, 4).requires_grad_())


def test_targets_of_32_bits_are_targets_too():
    logits, targets = numbers(3, 4), torch.tensor([0, 2, 1])
    assert torch.equal(cross_entropy(logits, targets.int()), cross_entropy(logits, targets))
    assert torch.equal(cross_entropy_gradient(logits, targets.int()), cross_entropy_gradient(logits, targets))


@pytest.mark.parametrize("function", [cross_entropy, cross_entropy_gradient])
@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.tensor([0, 3]), "between 0 and 2 for 3 classes, got from 0 to 3"),
        (torch.tensor([-100, 1]), "between 0 and 2 for 3 classes, got from -100 to 1"),
        (torch.tensor([[0], [1]]), r"shape \(2,\), one class for each row of logits \(2, 3\), got \(2, 1\)"),
        (torch.tensor([0.0, 1.0]), "numbers of classes .* got torch.float32"),
        (torch.tensor([True, False]), "numbers of classes .* got torch.bool"),
    ],
)
def test_targets_that_are_not_classes_are_refused(function, targets, message):
    with pytest.raises(ValueError, match=message):
        function(torch.zeros(2, 3), targets)
