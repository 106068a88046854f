"""GPTQ: two weights by hand, against Optimal Brain Quantization, least squares, every combination there is."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from labkit.compression.gptq import (
    by_block,
    gptq,
    gptq_model,
    inverse_factor,
    layer_error,
    obq_update,
    one_by_one,
    replaced,
)
from labkit.compression.grid import dequantize, quantize
from labkit.compression.layers import inputs_of, linears
from labkit.transformer import Config, Decoder, Encoder

TWO = torch.tensor([[3.0, 2.0], [2.0, 3.0]], dtype=torch.float64)  # the inputs (1, 1) twice, (1, 0) and (0, 1)


def drawn(rows=4, width=16, seed=0, count=200):
    """A weight, correlated inputs (count × width) and their Gram matrix, in float64."""
    chance = torch.Generator().manual_seed(seed)
    make = lambda *shape: torch.randn(*shape, generator=chance, dtype=torch.float64)  # noqa: E731
    x = make(count, width) @ make(width, width)
    return make(rows, width), x, 2 * x.T @ x / count


def test_two_weights_by_hand():
    """0.4 and 0.4 on whole numbers: nearest are 0 and 0; after the first is 0 the second should be 0.4 + 0.4 · 2/3."""
    row = torch.tensor([0.4, 0.4], dtype=torch.float64)
    moved, inverse = obq_update(row, TWO.inverse(), 0, 0.0)
    assert moved.tolist() == pytest.approx([0, 0.4 + 0.4 * 2 / 3])
    assert inverse.tolist() == [[0, 0], [0, pytest.approx(1 / 3)]]
    errors = [float(layer_error(row[None], torch.tensor([[0.0, b]]).double(), 2 * TWO)) for b in (0.0, 1.0)]
    assert errors == pytest.approx([1.6, 0.6])


def test_the_layer_error_is_the_mean_squared_length_of_what_changes_in_the_output():
    weight, x, gram = drawn()
    other = weight + 0.1
    assert float(layer_error(weight, other, gram)) == pytest.approx(
        float(((weight - other) @ x.T).square().sum() / 200)
    )


def test_an_update_leaves_the_other_weights_where_least_squares_puts_them():
    weight, x, gram = drawn(rows=1)
    moved, _ = obq_update(weight[0], gram.inverse(), 5, 0.25)
    others = [i for i in range(16) if i != 5]
    wanted = x @ weight[0] - 0.25 * x[:, 5]
    best = torch.linalg.lstsq(x[:, others], wanted[:, None]).solution[:, 0]
    torch.testing.assert_close(moved[others], best)
    assert moved[5] == 0.25


def test_after_an_update_the_inverse_is_that_of_the_remaining_hessian():
    gram = drawn()[2]
    _, inverse = obq_update(torch.zeros(16).double(), gram.inverse(), 3, 0.0)
    others = [i for i in range(16) if i != 3]
    torch.testing.assert_close(inverse[others][:, others], gram[others][:, others].inverse())
    assert not inverse[3].any() and not inverse[:, 3].any()


def test_the_factor_holds_the_inverse_of_every_remainder():
    gram = drawn()[2]
    factor = inverse_factor(gram, 0.0)
    torch.testing.assert_close(factor.T @ factor, gram.inverse())
    assert torch.equal(factor, factor.triu())
    for i in range(16):
        torch.testing.assert_close(factor[i, i] * factor[i, i:], gram[i:, i:].inverse()[0])


def test_the_factor_is_that_of_torch():
    gram = drawn()[2]
    torch.testing.assert_close(inverse_factor(gram, 0.0), torch.linalg.cholesky(gram.inverse(), upper=True))


def test_gptq_is_brain_quantization_one_column_after_the_other():
    weight, _, gram = drawn()
    slow, cost = one_by_one(weight, gram, quantize(weight, 4))
    fast = dequantize(gptq(weight, gram, 4, damping=0.0, block=5)).double()
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-5)
    assert cost == pytest.approx(float(layer_error(weight, slow, gram)))


def test_in_order_of_size_it_is_the_same_with_the_columns_sorted():
    weight, _, gram = drawn()
    at = gram.diagonal().argsort(descending=True)
    slow, _ = one_by_one(weight[:, at], gram[at][:, at], quantize(weight, 4))
    fast = dequantize(gptq(weight, gram, 4, damping=0.0, order=True)).double()
    torch.testing.assert_close(fast[:, at], slow, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("how", [{}, {"group": 4}, {"group": 8, "symmetric": False}, {"group": 4, "order": True}])
def test_the_size_of_a_block_changes_nothing_but_the_speed(how):
    weight, _, gram = drawn(rows=7, width=32)
    whole = gptq(weight, gram, 3, block=1000, **how)
    for block in (1, 3, 8, 13, 30, 31):
        lazy = gptq(weight, gram, 3, block=block, **how)
        assert torch.equal(lazy.codes, whole.codes) and torch.equal(lazy.scale, whole.scale)


def test_uncorrelated_inputs_leave_nothing_to_make_up_for():
    weight = drawn()[0]
    for how in ({}, {"group": 4}, {"group": 4, "symmetric": False}, {"order": True}, {"order": True, "group": 4}):
        ours, nearest = (
            gptq(weight, torch.diag(torch.arange(1.0, 17)), 4, **how),
            quantize(weight, 4, **{k: v for k, v in how.items() if k != "order"}),
        )
        assert torch.equal(ours.codes, nearest.codes) and torch.equal(ours.scale, nearest.scale)


@settings(max_examples=25, deadline=None)
@given(some.integers(0, 10_000), some.integers(2, 3))
def test_no_combination_of_codes_is_better_than_the_best(seed, bits):
    weight, _, gram = drawn(rows=1, width=3, seed=seed)
    ours = gptq(weight, gram, bits, damping=0.0)
    top = 2 ** (bits - 1) - 1
    combinations = torch.tensor([*itertools.product(range(-top, top + 1), repeat=3)]).double() * ours.scale.double()
    errors = torch.stack([layer_error(weight, one[None], gram) for one in combinations])
    found = layer_error(weight, dequantize(ours), gram)
    assert float(errors.min()) <= float(found) * (1 + 1e-5)


@settings(max_examples=25, deadline=None)
@given(some.integers(0, 10_000))
def test_the_error_stays_below_what_half_a_step_for_each_weight_makes(seed):
    """½ Σ (e_i / U_ii)² with |e_i| ≤ step / 2, where no weight is clipped: a step of 8 bits made wide enough."""
    weight, _, gram = drawn(rows=2, width=8, seed=seed)
    gram = gram + gram.diagonal().mean() * torch.eye(8)  # so that nothing moves far enough to be clipped
    ours, factor = gptq(weight, gram, 8, damping=0.0), inverse_factor(gram, 0.0)
    at_end = ours.codes.abs().amax(1) == 127
    bound = ours.scale[:, 0].double() ** 2 / 8 * (1 / factor.diagonal() ** 2).sum()
    for row in (~at_end).nonzero()[:, 0]:
        assert layer_error(weight[row, None], dequantize(ours)[row, None], gram) <= bound[row] * (1 + 1e-5)


def test_each_weight_costs_less_than_if_the_others_could_not_move():
    gram = drawn()[2]
    costs = 1 / inverse_factor(gram, 0.0).diagonal() ** 2
    assert (costs <= gram.diagonal() * (1 + 1e-9)).all()
    assert float(costs[-1]) == pytest.approx(float(gram[-1, -1]))


def test_on_many_draws_the_error_is_far_below_that_of_nearest():
    ratios = []
    for seed in range(20):
        weight, _, gram = drawn(seed=seed, width=32)
        ours, nearest = (dequantize(q) for q in (gptq(weight, gram, 4), quantize(weight, 4)))
        ratios.append(float(layer_error(weight, ours, gram) / layer_error(weight, nearest, gram)))
    assert max(ratios) < 1 and sum(ratios) / 20 < 0.6


def test_an_input_that_is_always_zero_is_rounded_to_nearest_and_disturbs_nobody():
    weight, _, gram = drawn()
    gram[3], gram[:, 3] = 0, 0
    for damping in (0.0, 0.01):
        ours = gptq(weight, gram, 4, damping=damping)
        assert torch.equal(ours.codes[:, 3], quantize(weight, 4).codes[:, 3])
        assert dequantize(ours).isfinite().all()


def test_fewer_inputs_than_weights_need_damping():
    x = drawn()[1][:5]
    gram = x.T @ x
    assert gptq(drawn()[0], gram, 4).codes.shape == (4, 16)
    with pytest.raises(ValueError, match="raise damping"):
        gptq(drawn()[0], gram.float(), 4, damping=0.0)


def test_codes_stay_in_their_range_for_every_number_of_bits():
    weight, _, gram = drawn()
    for bits in range(2, 9):
        signed, affine = gptq(weight, gram, bits), gptq(weight, gram, bits, symmetric=False, group=8)
        assert signed.codes.dtype == torch.int8 and int(signed.codes.abs().max()) < 2 ** (bits - 1)
        assert affine.codes.dtype == torch.uint8 and int(affine.codes.max()) < 2**bits
        assert affine.scale.shape == affine.zero.shape == (4, 2)


def test_single_and_double_precision_agree():
    weight, _, gram = drawn()
    assert torch.equal(gptq(weight.float(), gram.float(), 4).codes, gptq(weight, gram, 4).codes)


GOOD = torch.eye(4) + 0.1
REFUSED = {
    "1 bit": (lambda: gptq(torch.ones(2, 4), GOOD, 1), "bits = 1"),
    "9 bits": (lambda: gptq(torch.ones(2, 4), GOOD, 9), "bits = 9"),
    "a group that does not divide": (lambda: gptq(torch.ones(2, 4), GOOD, 4, group=3), "does not divide"),
    "NaN weights": (lambda: gptq(torch.full((2, 4), torch.nan), GOOD, 4), "NaN"),
    "a vector": (lambda: gptq(torch.ones(4), GOOD, 4), "matrix"),
    "no gram": (lambda: gptq(torch.ones(2, 4), None, 4), "gram=True"),
    "another layer's gram": (lambda: gptq(torch.ones(2, 5), GOOD, 4), "5 inputs"),
    "a gram of NaN": (lambda: gptq(torch.ones(2, 4), GOOD * torch.nan, 4), "NaN"),
    "an empty gram": (lambda: gptq(torch.ones(2, 4), 0 * GOOD, 4), "never reached"),
    "negative damping": (lambda: gptq(torch.ones(2, 4), GOOD, 4, damping=-1), "damping"),
    "no block": (lambda: gptq(torch.ones(2, 4), GOOD, 4, block=0), "block"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case):
    call, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        call()


def test_a_weight_of_zeros_stays_zero():
    assert not dequantize(gptq(torch.zeros(2, 4), GOOD, 4)).any()


CONFIG = Config(50, 16, 2, 2, 32, norm="rms", activation="swiglu", positions="rotary", bias=False)


@pytest.fixture(scope="module")
def model():
    return Decoder(CONFIG, seed=1)


def tokens(seed=0, batch=16):
    return torch.randint(0, 50, (batch, 16), generator=torch.Generator().manual_seed(seed))


def test_a_model_is_quantized_block_by_block_and_left_as_it_was(model):
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    found = gptq_model(model, lambda: [model(tokens(seed)) for seed in (0, 1)], 4, 32)
    assert list(found) == list(linears(model))
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert {q.bits for q in found.values()} == {4} and {q.group for q in found.values()} == {32}


def test_later_layers_see_what_quantized_layers_before_them_make(model):
    run = lambda: model(tokens())  # noqa: E731
    found = gptq_model(model, run, 3)
    first = {name: dequantize(q) for name, q in found.items() if name.startswith("blocks.0.")}
    with replaced(model, first):
        seen = inputs_of(model, run, gram=True)["blocks.1.attention.qkv"].gram
    name = "blocks.1.attention.qkv"
    weight = linears(model)[name].weight.data
    assert torch.equal(found[name].codes, gptq(weight, seen, 3).codes)
    unaware = inputs_of(model, run, gram=True)[name].gram
    assert not torch.equal(found[name].codes, gptq(weight, unaware, 3).codes)


def test_a_model_without_blocks_and_a_head_of_its_own_are_quantized_too():
    plain = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    assert list(gptq_model(plain, lambda: plain(torch.randn(20, 8)), 4)) == ["0", "2"]
    untied = Decoder(Config(50, 16, 1, 2, 32, tied=False), seed=0)
    assert "head" in gptq_model(untied, lambda: untied(tokens()), 4)


def test_a_layer_that_the_data_does_not_reach_is_left_out():
    encoder = Encoder(Config(50, 16, 1, 2, 32, pooler=True), seed=0)
    found = gptq_model(encoder, lambda: encoder(tokens()), 4)
    assert "pooler" not in found and len(found) == 4


def test_calibration_without_data_is_refused_and_leaves_no_hook(model):
    with pytest.raises(ValueError, match="no calibration data"):
        gptq_model(model, lambda: None, 4)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_model_is_itself_again_even_if_something_fails_on_the_way(model):
    weight = model.blocks[0].attention.qkv.weight
    before = weight.clone()
    with pytest.raises(RuntimeError), replaced(model, {"blocks.0.attention.qkv": torch.zeros_like(weight)}):
        assert not model.blocks[0].attention.qkv.weight.any()
        raise RuntimeError
    assert torch.equal(model.blocks[0].attention.qkv.weight, before)
    with pytest.raises(ZeroDivisionError):
        by_block(model, lambda: model(tokens()), lambda weight, inputs: 1 / 0, lambda weight: weight)
    assert torch.equal(model.blocks[0].attention.qkv.weight, before)
