"""The brain surgeon against brute force, SparseGPT against solving for the mask, and models pruned block by block."""

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from labkit.compression.layers import inputs_of, linears
from labkit.compression.pruning.blocks import METHODS, prune_model
from labkit.compression.pruning.magnitude import element, zeros_in
from labkit.compression.pruning.patterns import n_of_m
from labkit.compression.pruning.surgeon import damped, prune_row, remove_weight, saliency, sparsegpt
from labkit.transformer import Config, Decoder


def problem(seed=0, inputs=6, rows=1, count=40):
    """Weights, and the Hessian of correlated inputs, in float64."""
    draw = torch.Generator().manual_seed(seed)
    mix = torch.randn(inputs, inputs, dtype=torch.float64, generator=draw)
    x = torch.randn(count, inputs, dtype=torch.float64, generator=draw) @ mix
    weight = torch.randn(rows, inputs, dtype=torch.float64, generator=draw)
    return weight, 2 * x.T @ x / count


def loss(moved, weight, hessian):
    delta = moved - weight
    return ((delta @ hessian) * delta).sum(-1) / 2


def solved(row, hessian, gone):
    """The best row with zeros at `gone`, by solving for the others: no surgeon involved."""
    keep = [i for i in range(len(row)) if i not in gone]
    best = torch.zeros_like(row)
    best[keep] = torch.linalg.solve(hessian[keep][:, keep], hessian[keep] @ row)
    return best


@given(some.integers(0, 1000))
def test_one_removal_is_what_solving_for_the_others_gives(seed):
    (row,), hessian = problem(seed)
    inverse = torch.linalg.inv(hessian)
    costs = saliency(row, inverse)
    for q in range(len(row)):
        moved, _ = remove_weight(row, inverse, q)
        assert moved[q] == 0
        torch.testing.assert_close(moved, solved(row, hessian, {q}))
        torch.testing.assert_close(loss(moved, row, hessian), costs[q])
    assert int(prune_row(row, hessian, 1).eq(0).nonzero()) == int(costs.argmin())


def test_two_weights_by_hand():
    """H⁻¹ of [[2, 1], [1, 2]] is [[2, −1], [−1, 2]] / 3, so 1 costs 1 / (4/3) = 0.75 and moves its neighbour by ½."""
    hessian = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    inverse = torch.linalg.inv(hessian)
    row = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(saliency(row, inverse), torch.tensor([0.75, 3.0]))
    torch.testing.assert_close(prune_row(row, hessian, 1), torch.tensor([0.0, 2.5]))


@given(some.integers(0, 1000), some.integers(0, 6))
def test_however_many_go_the_rest_stands_where_the_loss_is_least(seed, count):
    (row,), hessian = problem(seed)
    pruned = prune_row(row, hessian, count)
    gone = set(pruned.eq(0).nonzero().flatten().tolist())
    assert len(gone) == count
    torch.testing.assert_close(pruned, solved(row, hessian, gone), rtol=1e-6, atol=1e-8)


def test_the_greedy_surgeon_is_near_the_best_of_all_choices():
    ratios = []
    for seed in range(20):
        (row,), hessian = problem(seed)
        every = [loss(solved(row, hessian, set(c)), row, hessian) for c in combinations(range(6), 3)]
        ratios.append(float(loss(prune_row(row, hessian, 3), row, hessian) / min(every)))
    assert min(ratios) > 1 - 1e-9
    assert sorted(ratios)[10] < 1.01


@given(some.integers(0, 1000), some.integers(0, 11))
def test_sparsegpt_repairs_a_zero_with_the_weights_on_its_right(seed, column):
    """One column goes: the weights on its left stay, those on its right are what solving for them gives."""
    weight, hessian = problem(seed, inputs=12, rows=3)
    weight[:, column] *= 1e-9  # what everybody leaves out
    pruned = sparsegpt(weight, hessian, 1 / 12, block=12, damping=0.0)
    right = slice(column + 1, None)
    assert (pruned[:, column] == 0).all() and torch.equal(pruned[:, :column], weight[:, :column])
    owed = torch.linalg.solve(hessian[right, right], hessian[right, column])
    torch.testing.assert_close(pruned[:, right], weight[:, right] + weight[:, [column]] * owed)


def test_in_order_sparsegpt_repairs_as_the_surgeon_does():
    """The first column goes: the surgeon and SparseGPT then move all others alike."""
    weight, hessian = problem(5, inputs=8, rows=4)
    weight[:, 0] *= 1e-3
    pruned = sparsegpt(weight, hessian, 1 / 8, block=8, damping=0.0)
    inverse = torch.linalg.inv(hessian)
    first = [row for row, p in zip(weight, pruned, strict=True) if p[0] == 0]
    assert len(first) >= 3
    for row, p in zip(weight, pruned, strict=True):
        if p[0] == 0:
            torch.testing.assert_close(p, remove_weight(row, inverse, 0)[0])


@pytest.mark.parametrize("block", [1, 5, 16, 64])
def test_the_size_of_blocks_changes_only_the_choice(block):
    weight, hessian = problem(1, inputs=32, rows=8, count=200)
    fixed = sparsegpt(weight, hessian, pattern=(2, 4), block=block)
    assert torch.equal(fixed, sparsegpt(weight, hessian, pattern=(2, 4)))
    assert (fixed.unflatten(1, (-1, 4)) != 0).sum(-1).eq(2).all()
    assert zeros_in(sparsegpt(weight, hessian, 0.5, block=16)) == 0.5


def test_sparsegpt_loses_less_than_magnitude_and_its_own_mask_without_repair():
    for seed in range(5):
        weight, hessian = problem(seed, inputs=32, rows=16, count=200)
        repaired = sparsegpt(weight, hessian, 0.5, block=8)
        bare = loss(weight * (repaired != 0), weight, hessian).sum()
        magnitude = loss(weight * element(weight, 0.5), weight, hessian).sum()
        assert loss(repaired, weight, hessian).sum() < 0.85 * min(bare, magnitude)


def test_nothing_to_prune_changes_nothing_and_all_leaves_nothing():
    weight, hessian = problem(0, rows=4)
    assert torch.equal(sparsegpt(weight, hessian, 0.0), weight)
    assert not sparsegpt(weight, hessian, 1.0).any()


def test_a_dead_input_does_not_stop_the_surgeon():
    weight, hessian = problem(0, rows=4)
    hessian[2], hessian[:, 2] = 0.0, 0.0
    with pytest.raises(ValueError, match="some input is never seen"):
        prune_row(weight[0], hessian, 1)
    assert sparsegpt(weight, hessian, 0.5).isfinite().all()


def test_broken_hessians_and_weights_are_refused():
    weight, hessian = problem(0, rows=4)
    for gram in (torch.zeros(6, 6), torch.full((6, 6), torch.nan)):
        with pytest.raises(ValueError, match="did calibration data come through"):
            sparsegpt(weight, gram, 0.5)
    with pytest.raises(ValueError, match="must be square"):
        damped(torch.ones(2, 3))
    with pytest.raises(ValueError, match="6 inputs needs a gram of as many"):
        sparsegpt(weight, torch.eye(5), 0.5)
    with pytest.raises(ValueError, match="all weights are zero"):
        sparsegpt(torch.zeros(4, 6), hessian, 0.5)
    with pytest.raises(ValueError, match="NaN or infinity"):
        prune_row(torch.full((6,), torch.nan), hessian, 1)
    with pytest.raises(ValueError, match="do not divide"):
        sparsegpt(weight, hessian, pattern=(2, 4))
    with pytest.raises(ValueError, match="from 0 to 1"):
        sparsegpt(weight, hessian, 1.5)
    with pytest.raises(ValueError, match="cannot lose 7"):
        prune_row(weight[0], hessian, 7)


CONFIG = Config(vocabulary=40, context=16, layers=2, heads=2, width=16, norm="rms", activation="swiglu", bias=False)
TEXT = torch.randint(40, (8, 16), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("method", METHODS)
def test_every_layer_loses_its_share(method):
    model = Decoder(CONFIG)
    masks = prune_model(model, lambda: model(TEXT), method, 0.5)
    assert set(masks) == set(linears(model))
    for name, layer in linears(model).items():
        assert zeros_in(layer.weight) == 0.5
        assert torch.equal(layer.weight != 0, masks[name])
    model = Decoder(CONFIG)
    prune_model(model, lambda: model(TEXT), method, pattern=(1, 4))
    assert zeros_in(model) == 0.75


def test_the_second_block_sees_what_the_pruned_first_makes():
    model, first = Decoder(CONFIG), Decoder(CONFIG)
    names = list(linears(model))
    prune_model(model, lambda: model(TEXT), "sparsegpt", 0.5)
    prune_model(first, lambda: first(TEXT), "sparsegpt", 0.5, names=names[: len(names) // 2])
    name = names[len(names) // 2]
    gram = inputs_of(first, lambda: first(TEXT), [name], gram=True)[name].gram
    expected = sparsegpt(linears(first)[name].weight, gram, 0.5)
    torch.testing.assert_close(linears(model)[name].weight.detach(), expected)


def test_a_model_is_not_pruned_without_calibration_text_or_by_an_unknown_method():
    model = Decoder(CONFIG)
    with pytest.raises(ValueError, match="looks at inputs: give run"):
        prune_model(model, None, "wanda", 0.5)
    with pytest.raises(ValueError, match="no calibration data"):
        prune_model(model, lambda: None, "sparsegpt", 0.5)
    with pytest.raises(ValueError, match="method must be one of"):
        prune_model(model, None, "random", 0.5)
    assert zeros_in(model) == 0.0


def broken_in(model, name, value):
    linears(model)[name].weight.data[0, 0] = value
    return model


def interrupted(model):
    """Calibration that stops at the second block."""
    calls = []

    def run():
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        model(TEXT)

    return run


LAST = "blocks.1.feedforward.down"
TROUBLE = {
    "an interrupt": (KeyboardInterrupt, lambda m: prune_model(m, interrupted(m), "wanda")),
    "NaN": (ValueError, lambda m: prune_model(broken_in(m, LAST, torch.nan), None, "magnitude", pattern=(2, 4))),
    "no such layer": (ValueError, lambda m: prune_model(m, None, "magnitude", names=["head"])),
    "no layer": (ValueError, lambda m: prune_model(m, None, "magnitude", names=[])),
    "half a pattern": (ValueError, lambda m: prune_model(m, None, "magnitude", pattern=(2,))),
    "a pattern for none": (ValueError, lambda m: prune_model(m, lambda: m(TEXT), "wanda", pattern=(2, 3))),
}


@pytest.mark.parametrize("name", TROUBLE)
def test_a_model_that_cannot_be_pruned_keeps_all_its_weights(name):
    model, (error, prune) = Decoder(CONFIG), TROUBLE[name]
    with pytest.raises(error):
        prune(model)
    assert zeros_in(model) == 0 and not any(module._forward_pre_hooks for module in model.modules())


def test_layers_are_pruned_in_the_order_of_the_model_whatever_that_of_their_names():
    model, other = Decoder(CONFIG), Decoder(CONFIG)
    names = list(linears(model))
    found = prune_model(model, lambda: model(TEXT), "sparsegpt", names=names[::-1])
    prune_model(other, lambda: other(TEXT), "sparsegpt", names=iter(names))
    assert list(found) == names
    for name, layer in linears(model).items():
        assert torch.equal(layer.weight, linears(other)[name].weight)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bits_are_repaired_in_32_and_stay_16(dtype):
    weight, hessian = problem(3, inputs=8, rows=4)
    pruned = sparsegpt(weight.to(dtype), hessian.float(), 0.5, block=8)
    expected = sparsegpt(weight.to(dtype).float(), hessian.float(), 0.5, block=8)
    assert pruned.dtype == dtype and torch.allclose(pruned.float(), expected, rtol=0.01)


@pytest.mark.parametrize("block", [0, -1, 2.0])
def test_blocks_of_no_columns_are_refused(block):
    with pytest.raises(ValueError, match="at least one column"):
        sparsegpt(*problem(0, rows=4), 0.5, block=block)


@pytest.mark.parametrize("count", [True, 2.0, "2"])
def test_only_whole_numbers_of_weights_go(count):
    (row,), hessian = problem(0)
    with pytest.raises(ValueError, match="cannot lose"):
        prune_row(row, hessian, count)
    assert not prune_row(row.requires_grad_(), hessian, 2).requires_grad


def test_two_of_four_by_magnitude_is_the_mask_of_the_pattern():
    model = Decoder(CONFIG)
    before = {name: layer.weight.detach().clone() for name, layer in linears(model).items()}
    masks = prune_model(model, None, "magnitude", pattern=(2, 4))
    assert all(torch.equal(mask, n_of_m(before[name].abs())) for name, mask in masks.items())
