"""Truncated SVD against its bounds and against scikit-learn, factors for real inputs, LoRA merged exactly."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from sklearn.decomposition import TruncatedSVD
from torch import nn

from labkit.compression.files import load_compressed, save_compressed
from labkit.compression.layers import linears, swap
from labkit.compression.low_rank import (
    LoRALinear,
    LowRankLinear,
    energy,
    least_error,
    output_error,
    rank_for_bytes,
    rank_for_energy,
    scaled_svd,
    truncated_svd,
    whitened_svd,
)
from labkit.compression.whole import compressed, round_model
from labkit.transformer import Config, Decoder

sizes = some.tuples(some.integers(1, 9), some.integers(1, 9))


def drawn(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gram_of(inputs):
    return inputs.T @ inputs


def uneven(seed, rows=64, width=12):
    """Inputs that vary much in few directions, which are not those of the axes."""
    return drawn(seed, rows, width) * torch.logspace(1, -2, width, dtype=torch.float64) @ drawn(seed + 1, width, width)


def test_a_diagonal_matrix_by_hand():
    weight = torch.diag(torch.tensor([5.0, 4.0, 3.0]))
    up, down = truncated_svd(weight, 2)
    assert torch.allclose(up @ down, torch.diag(torch.tensor([5.0, 4.0, 0.0])), atol=1e-6)
    assert least_error(weight, 1) == pytest.approx((5.0, 4.0))
    assert energy(weight).tolist() == pytest.approx([0.5, 0.82, 1])
    assert [rank_for_energy(weight, share) for share in (0.5, 0.51, 0.82, 0.9, 1)] == [1, 2, 2, 3, 3]


@given(sizes, some.integers(0, 99), some.data())
def test_the_bounds_of_eckart_and_young_are_reached_in_both_norms(size, seed, data):
    weight, rank = drawn(seed, *size), data.draw(some.integers(1, min(size)))
    up, down = truncated_svd(weight, rank)
    lost = weight - up @ down
    frobenius, spectral = least_error(weight, rank)
    assert torch.linalg.matrix_norm(lost).item() == pytest.approx(frobenius, abs=1e-12)
    assert torch.linalg.matrix_norm(lost, 2).item() == pytest.approx(spectral, abs=1e-12)


@given(some.integers(0, 99), some.integers(1, 5))
def test_no_other_product_of_that_rank_comes_nearer(seed, rank):
    weight, up, down = drawn(seed, 6, 8), drawn(seed + 1, 6, rank), drawn(seed + 2, rank, 8)
    best = torch.linalg.lstsq(up, weight).solution  # even with the best factor to a given one
    frobenius, spectral = least_error(weight, rank)
    for other in (up @ down, up @ best):
        assert torch.linalg.matrix_norm(weight - other).item() >= frobenius - 1e-12
        assert torch.linalg.matrix_norm(weight - other, 2).item() >= spectral - 1e-12


def test_the_truncated_svd_is_that_of_scikit_learn():
    weight = drawn(0, 20, 12)
    model = TruncatedSVD(4, algorithm="arpack", random_state=0)
    theirs = model.inverse_transform(model.fit_transform(weight.numpy()))
    up, down = truncated_svd(weight, 4)
    assert torch.allclose(up @ down, torch.from_numpy(theirs), atol=1e-8)


@given(some.integers(1, 2000), some.integers(1, 2000), some.integers(1, 10**8), some.sampled_from([1, 2, 4]))
def test_the_rank_fits_and_one_more_does_not(out, inputs, budget, each):
    one = each * (out + inputs)
    if budget < one:
        with pytest.raises(ValueError, match="rank 1 takes"):
            rank_for_bytes(out, inputs, budget, each)
    else:
        rank = rank_for_bytes(out, inputs, budget, each)
        assert rank * one <= budget and (rank == min(out, inputs) or (rank + 1) * one > budget)


@given(some.integers(0, 50), some.integers(1, 11))
def test_whitened_factors_reach_the_least_error_on_the_outputs(seed, rank):
    weight, inputs = drawn(seed, 10, 12), uneven(seed + 1)
    rank = min(rank, 10)
    up, down = whitened_svd(weight, gram_of(inputs), rank, damp=0)
    outputs, theirs = inputs @ weight.T, inputs @ (up @ down).T
    least = least_error(outputs, rank)[0]  # no matrix of outputs of this rank is nearer
    assert (outputs - theirs).norm().item() == pytest.approx(least, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_on_real_outputs_whitened_beats_scaled_and_plain(seed):
    weight, inputs = drawn(seed, 10, 12), uneven(seed + 1)
    gram = gram_of(inputs)
    ways = truncated_svd(weight, 4), scaled_svd(weight, inputs.abs().mean(0), 4), whitened_svd(weight, gram, 4)
    plain, scaled, whitened = (output_error(weight, up @ down, gram) for up, down in ways)
    assert whitened < min(plain, scaled) and whitened < plain / 2
    exact = ((inputs @ (weight - ways[0][0] @ ways[0][1]).T).norm() / (inputs @ weight.T).norm()).item() ** 2
    assert plain == pytest.approx(exact)


def test_white_inputs_are_the_plain_svd_whatever_their_size():
    weight = drawn(0, 6, 8)
    plain = truncated_svd(weight, 3)
    for found in (whitened_svd(weight, 7 * torch.eye(8, dtype=torch.float64), 3), scaled_svd(weight, torch.ones(8), 3)):
        assert torch.allclose(found[0] @ found[1], plain[0] @ plain[1], atol=1e-6)


def test_inputs_that_were_never_seen_do_not_break_the_factors():
    gram = torch.diag(torch.tensor([1.0, 0.0, 2.0, 0.0]))
    up, down = whitened_svd(drawn(0, 4, 4, dtype=torch.float32), gram, 2)
    assert down.isfinite().all() and up.isfinite().all()


def test_fewer_texts_than_inputs_still_give_factors():
    """A gram of 64 rows for 192 inputs has no root but for what rounding left: the damping is raised until it has."""
    inputs = drawn(0, 64, 192, dtype=torch.float32)
    inputs = inputs + 20 * inputs[:, :1]  # they go together
    gram, weight = gram_of(inputs), drawn(1, 48, 192, dtype=torch.float32)
    up, down = whitened_svd(weight, gram, 16)
    plain = output_error(weight, torch.matmul(*truncated_svd(weight, 16)), gram)
    assert output_error(weight, up @ down, gram) < plain / 2
    exact = whitened_svd(weight, gram_of(inputs[:5]), 16, damp=0)
    assert all(factor.isfinite().all() for factor in exact)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("gram_type", [torch.float32, torch.float64])
def test_factors_are_of_the_type_of_the_weight_whatever_that_of_the_gram(dtype, gram_type):
    weight, gram = drawn(0, 6, 8, dtype=torch.float32), gram_of(uneven(1, width=8)).to(gram_type)
    ways = {
        "plain": lambda w: truncated_svd(w, 3),
        "whitened": lambda w: whitened_svd(w, gram, 3),
        "scaled": lambda w: scaled_svd(w, gram.diagonal().sqrt(), 3),
    }
    for way in ways.values():
        found, expected = way(weight.to(dtype)), way(weight)
        assert [factor.dtype for factor in found] == [dtype, dtype]
        product, wanted = (torch.matmul(*(factor.double() for factor in pair)) for pair in (found, expected))
        assert torch.allclose(product, wanted, atol=0.05)
    assert energy(weight.to(dtype))[-1] == 1 and least_error(weight.to(dtype), 3)[0] > 0
    linear = nn.Linear(8, 6, dtype=dtype)
    assert LowRankLinear.from_linear(linear, 3, gram)(torch.ones(2, 8, dtype=dtype)).dtype == dtype


def test_factors_of_a_weight_that_learns_have_no_gradient():
    weight = drawn(0, 6, 8).requires_grad_()
    for factors in (
        truncated_svd(weight, 2),
        whitened_svd(weight, torch.eye(8), 2),
        scaled_svd(weight, torch.ones(8), 2),
    ):
        assert not any(factor.requires_grad for factor in factors)
    assert output_error(weight, weight / 2, torch.eye(8)) == pytest.approx(0.25)


def thin():
    """A decoder of which every linear layer is one of low rank."""
    model = Decoder(Config(vocabulary=40, context=16, layers=2, heads=2, width=16)).eval()
    for name, linear in linears(model).items():
        swap(model, name, LowRankLinear.from_linear(linear, 3))
    return model


@pytest.mark.parametrize("rounded", [False, True])
def test_a_model_of_thin_layers_is_saved_and_loaded_also_rounded(tmp_path, rounded):
    model, ids = thin(), torch.arange(8)[None]
    model = compressed(model, round_model(model, 8)) if rounded else model
    path = save_compressed(model, tmp_path / "thin.safetensors")
    assert torch.equal(load_compressed(path)(ids), model(ids))


def test_thin_layers_are_copied_pickled_and_made_half():
    layer, x = LowRankLinear.from_linear(nn.Linear(6, 9), 2), torch.ones(1, 6)
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(again(x), layer(x))
    assert copy.deepcopy(layer).half()(x.half()).dtype == torch.float16


def test_a_layer_of_full_rank_is_the_layer_itself():
    linear = nn.Linear(6, 9)
    x = torch.randn(2, 3, 6)
    assert torch.allclose(LowRankLinear.from_linear(linear, 6)(x), linear(x), atol=1e-5)
    plain = nn.Linear(6, 9, bias=False)
    small = LowRankLinear.from_linear(plain, 2, gram=torch.eye(6))
    assert torch.allclose(small(x), x @ small.dense().T, atol=1e-5)
    assert small.nbytes == 4 * 2 * (6 + 9) and LowRankLinear.from_linear(linear, 2).nbytes == 4 * (2 * 15 + 9)


def test_lora_begins_as_the_layer_and_only_its_factors_learn():
    linear = nn.Linear(5, 7)
    lora, x = LoRALinear(copy.deepcopy(linear), rank=2, alpha=8), torch.randn(4, 5)
    assert torch.equal(lora(x), linear(x))
    assert {name for name, weight in lora.named_parameters() if weight.requires_grad} == {"up", "down"}
    lora(x).square().sum().backward()
    assert lora.up.grad.any() and not lora.down.grad.any() and lora.linear.weight.grad is None


@given(some.integers(1, 5), some.integers(1, 64), some.booleans())
def test_merged_lora_answers_as_before(rank, alpha, bias):
    lora = LoRALinear(nn.Linear(5, 7, bias=bias, dtype=torch.float64), rank, alpha)
    lora.up.data = drawn(1, 7, rank)
    x, merged = drawn(2, 4, 5), lora.merged()
    assert torch.allclose(merged(x), lora(x), atol=1e-12)
    expected = lora.linear.weight + (alpha / rank) * lora.up @ lora.down  # as peft's get_delta_weight
    assert torch.allclose(merged.weight, expected, atol=1e-14)
    assert (torch.linalg.svdvals(lora.change()) > 1e-9).sum() <= rank
    assert (merged.bias is None) is not bias


def test_lora_finds_the_truncated_svd_of_a_change():
    """From the other side: trained towards W + D, on white inputs, B A comes to the best matrix of its rank."""
    change, linear = drawn(3, 6, 6, dtype=torch.float32), nn.Linear(6, 6, bias=False)
    lora = LoRALinear(linear, rank=2, alpha=2)
    optimizer = torch.optim.Adam([lora.up, lora.down], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        (lora.up @ lora.down * lora.scale - change).square().sum().backward()
        optimizer.step()
    up, down = truncated_svd(change, 2)
    assert torch.allclose(lora.change(), up @ down, atol=2e-2)


@pytest.mark.parametrize("rank", [0, -1, 4, True, 2.0, "2", None])
def test_ranks_that_a_matrix_does_not_have_are_refused(rank):
    weight = torch.ones(3, 5)
    calls = [lambda: truncated_svd(weight, rank), lambda: whitened_svd(weight, torch.eye(5), rank)]
    calls += [lambda: LoRALinear(nn.Linear(5, 3), rank), lambda: LowRankLinear.from_linear(nn.Linear(5, 3), rank)]
    for call in calls:
        with pytest.raises(ValueError, match=r"has ranks 1 to 3"):
            call()


REFUSED = {
    "NaN": (lambda: truncated_svd(torch.full((2, 2), math.nan), 1), "weight holds nan"),
    "all zero": (lambda: energy(torch.zeros(2, 2)), "all zero"),
    "a share above 1": (lambda: rank_for_energy(torch.eye(2), 1.5), "at most 1"),
    "another layer's gram": (lambda: whitened_svd(torch.eye(2), torch.eye(3), 1), "that of its own inputs"),
    "no inputs": (lambda: whitened_svd(torch.eye(2), torch.zeros(2, 2), 1), "no calibration data"),
    "negative directions": (lambda: whitened_svd(torch.eye(2), torch.diag(torch.tensor([3.0, -1.0])), 1), "negative"),
    "a damping that is NaN": (lambda: whitened_svd(torch.eye(2), torch.eye(2), 1, damp=math.nan), "gram"),
    "a vector": (lambda: truncated_svd(torch.ones(4), 1), "outputs and inputs"),
    "sizes all zero": (lambda: scaled_svd(torch.eye(2), torch.zeros(2), 1), "did data come through"),
    "sizes below zero": (lambda: scaled_svd(torch.eye(2), -torch.ones(2), 1), "did data come through"),
    "an exponent that is NaN": (lambda: scaled_svd(torch.eye(2), torch.ones(2), 1, alpha=math.nan), "alpha = nan"),
    "an alpha that is NaN": (lambda: LoRALinear(nn.Linear(2, 2), 1, alpha=math.nan), "alpha = nan"),
    "half a byte": (lambda: rank_for_bytes(3, 3, 50.5), "whole numbers"),
    "no outputs": (lambda: rank_for_bytes(0, 3, 50), "whole numbers above 0"),
    "numbers of no bytes": (lambda: rank_for_bytes(3, 3, 50, 0), "whole numbers above 0"),
    "another weight": (lambda: output_error(torch.ones(2, 2), torch.ones(1, 2), torch.eye(2)), "of one shape"),
    "outputs of zero": (lambda: output_error(torch.zeros(2, 2), torch.ones(2, 2), torch.eye(2)), "all zero"),
    "factors of two ranks": (lambda: LowRankLinear(torch.ones(3, 2), torch.ones(3, 4)), "rank × inputs"),
    "a bias of one": (lambda: LowRankLinear(torch.ones(3, 2), torch.ones(2, 4), torch.ones(1)), "a bias of out"),
    "sizes for others": (lambda: scaled_svd(torch.eye(2), torch.ones(3), 1), "3,.* sizes for 2 inputs"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_factors_is_refused(name):
    call, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        call()
