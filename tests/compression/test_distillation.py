"""Soft targets and their gradients: by hand, by autograd and by torch; what cannot be compared is refused."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import nn
from torch.nn import functional

from labkit.compression.distillation import (
    attention_loss,
    distillation_loss,
    hidden_loss,
    hot_gradient,
    layers_to_match,
    soft_gradient,
    soft_loss,
    soft_targets,
)

temperatures = some.floats(0.5, 50)
TEACHER, STUDENT = torch.tensor([4.0, 2.0, 0.0]), torch.tensor([1.0, 1.0, 1.0])


def logits(seed, *shape, scale=3.0, dtype=torch.float64):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def cross_entropy(student, teacher, temperature):
    """Of one row, written as in the paper."""
    p, q = torch.softmax(teacher / temperature, -1), torch.softmax(student / temperature, -1)
    return -(p * q.log()).sum()


def test_three_classes_worked_by_hand():
    assert soft_targets(TEACHER).tolist() == pytest.approx([0.8668, 0.1173, 0.0159], abs=5e-5)
    e = [math.e, math.e**0.5, 1]
    assert soft_targets(TEACHER, 4).tolist() == pytest.approx([part / sum(e) for part in e])


def test_temperature_flattens_and_cold_is_the_winner_alone():
    assert soft_targets(TEACHER, 1e6).tolist() == pytest.approx([1 / 3] * 3, abs=1e-5)
    assert soft_targets(TEACHER, 1e-2).tolist() == pytest.approx([1, 0, 0])


@given(some.integers(0, 99), temperatures)
def test_the_order_of_the_classes_is_that_of_the_logits_at_any_temperature(seed, temperature):
    z = logits(seed, 5)
    assert soft_targets(z, temperature).argsort().tolist() == z.argsort().tolist()


@given(some.integers(0, 99), temperatures, some.integers(2, 9))
def test_the_gradient_by_hand_is_that_of_autograd(seed, temperature, classes):
    z, v = logits(seed, classes).requires_grad_(), logits(seed + 100, classes)
    (found,) = torch.autograd.grad(cross_entropy(z, v, temperature), z)
    assert torch.allclose(soft_gradient(z.detach(), v, temperature), found, atol=1e-12)


@given(some.integers(0, 99), temperatures)
def test_the_divergence_has_the_gradient_of_the_cross_entropy_times_t_squared(seed, temperature):
    z, v = logits(seed, 3, 4).requires_grad_(), logits(seed + 100, 3, 4)
    (found,) = torch.autograd.grad(soft_loss(z, v, temperature), z)
    assert torch.allclose(found * 3, temperature**2 * soft_gradient(z.detach(), v, temperature), atol=1e-10)


@pytest.mark.parametrize("temperature", [30, 100, 1000])
def test_hot_gradients_are_those_of_matching_logits(temperature):
    z, v = logits(0, 6), logits(1, 6)
    near, exact = hot_gradient(z, v, temperature), soft_gradient(z, v, temperature)
    assert (near - exact).norm() / exact.norm() < 6 / temperature


def test_with_t_squared_the_gradient_stays_and_without_it_fades():
    z, v = logits(0, 6), logits(1, 6)
    sizes = {t: soft_gradient(z, v, t).norm().item() for t in (10, 100)}
    assert sizes[100] / sizes[10] == pytest.approx(1 / 100, rel=0.3)
    assert sizes[100] * 100**2 / (sizes[10] * 10**2) == pytest.approx(1, rel=0.3)


def test_a_student_that_agrees_loses_nothing_and_a_shift_of_all_logits_does_not_matter():
    z = logits(0, 4, 5)
    assert soft_loss(z, z + 7, 3).item() == pytest.approx(0, abs=1e-12)


@given(some.integers(0, 99), temperatures)
def test_soft_loss_is_torchs_kl_div_at_that_temperature(seed, temperature):
    z, v = logits(seed, 4, 5), logits(seed + 1, 4, 5)
    theirs = functional.kl_div(
        torch.log_softmax(z / temperature, 1), torch.softmax(v / temperature, 1), reduction="batchmean"
    )
    assert soft_loss(z, v, temperature, squared=False).item() == pytest.approx(theirs.item(), abs=1e-12)
    assert soft_loss(z, v, temperature).item() == pytest.approx(theirs.item() * temperature**2, abs=1e-10)


def test_no_gradient_reaches_the_teacher():
    z, v = logits(0, 4, 5).requires_grad_(), logits(1, 4, 5).requires_grad_()
    states, wanted = torch.randn(1, 2, 3, requires_grad=True), torch.randn(1, 2, 3, requires_grad=True)
    loss = soft_loss(z, v, 2) + hidden_loss(states, wanted) + attention_loss(states[None], wanted[None])
    loss.backward()
    assert v.grad is None and wanted.grad is None and z.grad is not None and states.grad is not None


def test_the_parts_of_the_loss_are_those_of_its_ends():
    z, v, labels = logits(0, 4, 5), logits(1, 4, 5), torch.tensor([0, 1, 2, 4])
    assert distillation_loss(z, v, labels, soft=0).item() == functional.cross_entropy(z, labels).item()
    assert distillation_loss(z, v, labels, temperature=3, soft=1).item() == soft_loss(z, v, 3).item()
    both = 0.25 * soft_loss(z, v, 3) + 0.75 * functional.cross_entropy(z, labels)
    assert distillation_loss(z, v, labels, temperature=3, soft=0.25).item() == pytest.approx(both.item())


def test_hidden_states_of_another_width_are_projected_and_padding_is_left_out():
    teacher, student = torch.randn(2, 3, 8), torch.randn(2, 3, 4)
    project = nn.Linear(4, 8, bias=False)
    expected = functional.mse_loss(student @ project.weight.T, teacher)
    assert hidden_loss(student, teacher, project).item() == pytest.approx(expected.item(), rel=1e-6)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    real = functional.mse_loss(student[mask] @ project.weight.T, teacher[mask])
    teacher[~mask] = 1e6
    assert hidden_loss(student, teacher, project, mask).item() == pytest.approx(real.item(), rel=1e-5)


def test_attention_maps_are_compared_over_real_queries():
    teacher, student = torch.rand(2, 4, 3, 3), torch.rand(2, 4, 3, 3)
    assert attention_loss(student, teacher).item() == pytest.approx(functional.mse_loss(student, teacher).item())
    mask = torch.tensor([[True, False, False], [True, False, False]])
    expected = functional.mse_loss(student[:, :, 0, 0], teacher[:, :, 0, 0])
    assert attention_loss(student, teacher, mask).item() == pytest.approx(expected.item())
    crossed = functional.mse_loss(student[:, :, :1], teacher[:, :, :1])  # keys of another text: the mask is of queries
    assert attention_loss(student[:, :, :2], teacher[:, :, :2], mask[:, :2]).item() == pytest.approx(crossed.item())


def test_the_attention_loss_does_not_depend_on_how_much_is_filled_up():
    student, teacher, mask = torch.rand(1, 2, 3, 3), torch.rand(1, 2, 3, 3), torch.ones(1, 3, dtype=torch.bool)
    filled = (functional.pad(maps, (0, 4, 0, 4)) for maps in (student, teacher))
    found = attention_loss(*filled, functional.pad(mask, (0, 4)))
    assert found.item() == pytest.approx(attention_loss(student, teacher).item(), rel=1e-6)


def test_scores_that_are_minus_infinity_in_both_do_not_differ():
    """Scores before the softmax, with the future masked out, as TinyBERT compares them."""
    future = torch.full((3, 3), -math.inf).triu(1)
    student = torch.randn(1, 2, 3, 3).requires_grad_()
    loss = attention_loss(student + future, torch.randn(1, 2, 3, 3) + future)
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all() and not student.grad.triu(1).any()


def test_what_stands_in_padding_does_not_matter_even_if_it_is_nan():
    mask = torch.tensor([[True, False]])
    student = torch.ones(1, 2, 3, requires_grad=True)
    teacher = torch.tensor([[[3.0] * 3, [math.nan] * 3]])
    loss = hidden_loss(student, teacher, mask=mask)
    loss.backward()
    assert loss.item() == 4 and student.grad.isfinite().all() and not student.grad[:, 1].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bits_are_computed_with_in_32(dtype):
    z, v = (logits(seed, 4, 5, dtype=torch.float32).to(dtype) for seed in (0, 1))
    assert soft_loss(z, v, 50).item() == pytest.approx(soft_loss(z.double(), v.double(), 50).item(), rel=0.02)


def test_layers_of_tinybert():
    assert layers_to_match(4, 12) == [0, 3, 6, 9, 12]
    assert layers_to_match(6, 6) == list(range(7))


@pytest.mark.parametrize("temperature", [0, -1, math.inf, math.nan, 1e-300, 1e30, "1", None])
def test_temperatures_that_are_none_are_refused(temperature):
    for call in (soft_targets, lambda z, t: soft_loss(z, z, t), lambda z, t: soft_gradient(z, z, t)):
        with pytest.raises(ValueError, match="must be a number above 0"):
            call(TEACHER, temperature)


REFUSED = {
    "other classes": (lambda: soft_loss(torch.zeros(2, 3), torch.zeros(2, 4)), "the same classes"),
    "a teacher of NaN": (lambda: soft_loss(STUDENT, STUDENT * math.nan), "the teacher's logits are NaN"),
    "a student of NaN": (lambda: soft_targets(STUDENT * math.inf), "the student's logits are NaN"),
    "a part above 1": (lambda: distillation_loss(STUDENT[None], TEACHER[None], torch.tensor([0]), soft=2), "0 to 1"),
    "another width": (lambda: hidden_loss(torch.zeros(1, 2, 4), torch.zeros(1, 2, 8)), r"nn.Linear\(4, 8\)"),
    "another number of heads": (lambda: attention_loss(torch.zeros(1, 2, 3, 3), torch.zeros(1, 4, 3, 3)), "heads"),
    "no token": (
        lambda: hidden_loss(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), mask=torch.zeros(1, 2, dtype=torch.bool)),
        "no token is real",
    ),
    "another mask": (
        lambda: hidden_loss(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), mask=torch.ones(1, 3, dtype=torch.bool)),
        "one for each token",
    ),
    "no rows": (lambda: soft_loss(torch.zeros(0, 3), torch.zeros(0, 3)), "no rows to learn from"),
    "a label below all classes": (
        lambda: distillation_loss(STUDENT[None], TEACHER[None], torch.tensor([-100])),
        "classes from 0 to 2",
    ),
    "a label above": (
        lambda: distillation_loss(STUDENT[None], TEACHER[None], torch.tensor([3])),
        "classes from 0 to 2",
    ),
    "a part that is text": (
        lambda: distillation_loss(STUDENT[None], TEACHER[None], torch.tensor([0]), soft="1"),
        "must be 0 to 1",
    ),
    "layers that do not divide": (lambda: layers_to_match(4, 6), "do not divide"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_is_refused(name):
    call, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        call()
