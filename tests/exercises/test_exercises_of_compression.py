"""The worked solutions of notebook 20 are what the package computes, and what trying everything or autograd gives."""

import pytest

from labkit.workbench.checking import find, fresh_cases, mark

torch = pytest.importorskip("torch")

from labkit.compression import combined, distillation, gptq, low_rank, packing, speculative, training_aware  # noqa: E402
from labkit.compression.pruning import patterns, schedule, surgeon, wanda  # noqa: E402


def solution(name):
    return find(f"compression.{name}").solution


def cases(name):
    return [case for seed in range(3) for case in fresh_cases(find(f"compression.{name}"), seed)]


LIBRARY = {
    "obq_step": lambda row, hessian, column, step: gptq.obq_update(
        row, torch.linalg.inv(hessian), column, torch.round(row[column] / step) * step
    )[0],
    "pack_bits": lambda codes, bits: packing.pack(torch.tensor(codes, dtype=torch.int8), bits).tolist(),
    "fake_quantize": lambda x, step, bits: training_aware.fake_quantize(x, x.new_tensor(step), bits),
    "n_of_m_mask": lambda weight, n, m: patterns.n_of_m(weight.abs(), n, m),
    "gradual_sparsity": lambda step, begin, end, initial, final: schedule.sparsity_at(
        step, begin=begin, end=end, initial=initial, final=final
    ),
    "wanda_mask": lambda weight, x, sparsity: wanda.wanda_mask(weight, x.norm(dim=0), sparsity),
    "surgeon_step": lambda weights, hessian: surgeon.prune_row(weights, hessian, 1),
    "distillation_loss": lambda student, teacher, labels, temperature, soft: distillation.distillation_loss(
        student, teacher, labels, temperature=temperature, soft=soft
    ),
    "rank_for_bytes": lambda out, inputs, budget, each: (
        low_rank.rank_for_bytes(out, inputs, budget, each) if budget >= (out + inputs) * each else None
    ),
    "pareto_front": combined.pareto_front,
    "drafts_to_make": lambda alpha, cost, most: max(
        range(most + 1),
        key=lambda drafts: speculative.expected_speedup(alpha, drafts, cost) - 1e-12 * drafts if drafts else 1.0,
    ),
}


@pytest.mark.parametrize("name", LIBRARY)
def test_what_the_package_computes_is_a_right_answer(name):
    verdict = mark(find(f"compression.{name}"), LIBRARY[name])
    assert verdict.status == "correct", verdict.message


@pytest.mark.parametrize(
    ("name", "mistake", "seed"),
    [("wanda_mask", "over the layer", 32), ("surgeon_step", "curvature alone", 37), ("surgeon_step", "no repair", 49)],
)
def test_a_mistake_is_seen_whatever_numbers_are_drawn(name, mistake, seed):
    exercise = find(f"compression.{name}")
    wrong = next(one for one in exercise.wrong if one.name == mistake)
    assert mark(exercise, wrong.answer, seed).mistake == mistake


def test_straight_through_and_the_step_have_the_gradients_of_the_package():
    for name, forward, number in (
        ("straight_through", training_aware.fake_quantize, 0),
        ("step_gradient", training_aware.learned_step_quantize, 1),
    ):
        for grad, x, step, bits in cases(name):
            inputs = [x.detach().clone().requires_grad_(), torch.tensor(float(step), dtype=x.dtype, requires_grad=True)]
            there = torch.autograd.grad(forward(*inputs, bits), inputs[number], grad)[0]
            here = torch.as_tensor(solution(name)(grad, x, step, bits), dtype=x.dtype)
            scaled = there * (x.numel() * (2 ** (bits - 1) - 1)) ** 0.5 if number else there
            assert torch.allclose(here, there) or torch.allclose(here, scaled), name


def test_the_best_codes_err_no_more_than_the_nearest_and_sometimes_less():
    better = 0
    for row, hessian, step, top in cases("best_codes"):
        codes, error = solution("best_codes")(row, hessian, step, top)
        nearest = torch.round(row / step).clamp(-top, top)
        change = row - step * nearest
        assert error <= float(change @ hessian @ change / 2) + 1e-12
        better += codes != nearest.int().tolist()
    assert better


def test_levels_of_k_means_err_no_more_after_a_round():
    def error(values, levels):
        return float((values[:, None] - levels).square().amin(dim=1).sum())

    for values, levels in cases("kmeans_step"):
        assert error(values, solution("kmeans_step")(values, levels)) <= error(values, levels) + 1e-12


def test_the_mask_of_the_surgeon_is_the_least_damage_that_taking_one_weight_out_can_do():
    for weights, hessian in cases("surgeon_step"):
        after = solution("surgeon_step")(weights, hessian)
        done = [surgeon.remove_weight(weights, torch.linalg.inv(hessian), q)[0] for q in range(len(weights))]
        damage = [float((row - weights) @ hessian @ (row - weights)) for row in done]
        assert torch.allclose(after, done[damage.index(min(damage))])
