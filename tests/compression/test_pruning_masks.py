"""Masks: worked by hand, the same as torch.nn.utils.prune's, packed and back, and what is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import nn
from torch.nn.utils import prune

from labkit.compression.pruning.magnitude import (
    apply_masks,
    element,
    global_masks,
    keep_largest,
    structured,
    zeros_in,
)
from labkit.compression.pruning.patterns import FORMATS, PackedNM, n_of_m, stored_bytes
from labkit.compression.pruning.wanda import norms_of, wanda_mask, wanda_scores

SHARES = (0.0, 0.1, 0.35, 0.5, 0.9, 1.0)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_smallest_go_wherever_they_stand():
    weight = torch.tensor([[0.1, -5.0, 2.0], [-0.3, 4.0, 1.0]])
    assert element(weight, 0.5).int().tolist() == [[0, 1, 1], [0, 1, 0]]
    assert element(weight, 1 / 3, per="row").int().tolist() == [[0, 1, 1], [0, 1, 1]]
    assert structured(weight, 0.5).int().tolist() == [[1, 1, 1], [0, 0, 0]]
    assert structured(weight, 1 / 3, dim=1).int().tolist() == [[0, 1, 1], [0, 1, 1]]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("seed", range(3))
def test_torch_prunes_the_same_weights(share, seed):
    weight = drawn(13, 17, seed=seed)

    def torchs(method, **more):
        layer = nn.Linear(17, 13)
        layer.weight.data.copy_(weight)
        return method(layer, "weight", amount=share, **more).weight_mask.bool()

    assert torch.equal(element(weight, share), torchs(prune.l1_unstructured))
    for dim in (0, 1):
        for norm in (1, 2):
            assert torch.equal(structured(weight, share, dim, norm), torchs(prune.ln_structured, n=norm, dim=dim))


@pytest.mark.parametrize("share", SHARES)
def test_torch_prunes_the_same_weights_over_all_layers(share):
    model = nn.Sequential(nn.Linear(7, 30), nn.ReLU(), nn.Linear(30, 5))
    weights = {name: model[int(name)].weight.detach().clone() * (1 + int(name)) for name in ("0", "2")}
    for name, weight in weights.items():
        model[int(name)].weight.data.copy_(weight)
    parameters = [(model[0], "weight"), (model[2], "weight")]
    prune.global_unstructured(parameters, pruning_method=prune.L1Unstructured, amount=share)
    for name, mask in global_masks(weights, share).items():
        assert torch.equal(mask, model[int(name)].weight_mask.bool())


@given(some.floats(0, 1), some.integers(1, 9), some.integers(1, 9), some.sampled_from(["layer", "row"]))
def test_exactly_the_share_goes_even_when_all_are_equal(share, rows, columns, per):
    kept = keep_largest(torch.ones(rows, columns), share, per)
    size = rows * columns if per == "layer" else columns
    assert int((~kept).sum()) == round(share * size) * (1 if per == "layer" else rows)


def test_masks_find_their_layers_and_zeros_are_counted():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    apply_masks(model, {"0": element(model[0].weight, 0.5)})
    assert zeros_in(model) == pytest.approx(8 / 24)
    assert zeros_in(model[0].weight) == 0.5


@given(some.integers(1, 8), some.sampled_from([1, 2, 4, 8, 16]), some.integers(1, 5), some.integers(0, 99))
def test_packing_gives_the_pruned_weight_back(rows, m, groups, seed):
    n = 1 + seed % m
    weight = drawn(rows, m * groups, seed=seed)
    pruned = weight * n_of_m(weight.abs(), n, m)
    packed = PackedNM.from_weight(pruned, n, m)
    assert packed.shape == weight.shape and torch.equal(packed.unpacked(), pruned)
    assert int((pruned != 0).sum()) == n * rows * groups


def test_two_of_four_by_hand():
    weight = torch.tensor([[1.0, -9.0, 3.0, 2.0, 0.0, 0.0, 0.0, 5.0]])
    assert n_of_m(weight.abs()).int().tolist() == [[0, 1, 1, 0, 1, 0, 0, 1]]
    packed = PackedNM.from_weight(weight * n_of_m(weight.abs()))
    assert packed.values.tolist() == [[-9, 3, 0, 5]]
    assert packed.places.tolist() == [1 + 2 * 4 + 0 * 16 + 3 * 64]


def test_bytes_are_those_of_the_tensors():
    weight = drawn(32, 64)
    two_of_four = weight * n_of_m(weight.abs())
    assert PackedNM.from_weight(two_of_four).nbytes == stored_bytes((32, 64), 1024, "n of m")
    sparse = (weight * element(weight, 0.9)).to_sparse_coo().coalesce()
    found = sparse.values().nbytes + sparse.indices().nbytes
    kept = sparse.values().numel()
    assert found == stored_bytes((32, 64), kept, "coordinates", index=8)  # torch counts in int64


def test_csr_bytes_are_those_of_the_tensors():
    from labkit.compression.pruning.sparse_speed import block_mask, to_bsr, to_csr

    weight = drawn(32, 64)
    csr = to_csr(weight * element(weight, 0.9))
    found = csr.values().nbytes + csr.col_indices().nbytes + csr.crow_indices().nbytes
    assert found == stored_bytes((32, 64), csr.values().numel(), "csr", index=8)
    bsr = to_bsr(weight * block_mask(weight, 0.75, 8), 8)
    found = bsr.values().nbytes + bsr.col_indices().nbytes + bsr.crow_indices().nbytes
    assert bsr.values().numel() == 512 and found == stored_bytes((32, 64), 512, "bsr", index=8, m=8)


@given(some.sampled_from(FORMATS), some.integers(0, 256))
def test_bytes_grow_with_what_is_kept(how, kept):
    assert stored_bytes((16, 16), kept, how) <= stored_bytes((16, 16), 256, how)


def test_wanda_weighs_weights_with_their_inputs():
    weight = torch.tensor([[4.0, -1.0, 2.0, 3.0], [1.0, 1.0, 1.0, -9.0]])
    norms = torch.tensor([1.0, 8.0, 1.0, 0.1])
    assert wanda_mask(weight, norms, 0.5).int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]
    assert wanda_mask(weight, norms, pattern=(1, 4)).int().tolist() == [[0, 1, 0, 0], [0, 1, 0, 0]]


def test_the_size_of_an_input_is_its_root_mean_square():
    from labkit.compression.layers import inputs_of

    x = torch.tensor([[3.0, 0.0], [4.0, 2.0]])
    model = nn.Sequential(nn.Linear(2, 1))
    found = norms_of(inputs_of(model, lambda: model(x), gram=True)["0"])
    assert found.tolist() == pytest.approx([12.5**0.5, 2**0.5])


@given(some.integers(0, 50), some.floats(0, 1))
def test_with_equal_inputs_wanda_is_magnitude_within_rows(seed, share):
    weight = drawn(5, 8, seed=seed)
    assert torch.equal(wanda_mask(weight, torch.full((8,), 0.5), share), element(weight, share, per="row"))


BROKEN = {
    "zero": (torch.zeros(4, 4), "all weights are zero"),
    "nan": (torch.full((4, 4), torch.nan), "NaN or infinity"),
    "infinite": (torch.full((4, 4), torch.inf), "NaN or infinity"),
    "empty": (torch.zeros(0, 4), "numbers in it"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_weights_are_refused(name):
    weight, words = BROKEN[name]
    for choose in (element, structured, lambda w, s: global_masks({"a": w}, s)):
        with pytest.raises(ValueError, match=words):
            choose(weight, 0.5)
    with pytest.raises(ValueError, match=words):
        wanda_scores(weight, torch.ones(4))
    with pytest.raises(ValueError, match=words):
        PackedNM.from_weight(weight)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), "half", None, True, 50])
def test_a_share_outside_0_to_1_is_refused(share):
    weight = drawn(4, 4)
    for choose in (element, structured, lambda w, s: wanda_mask(w, torch.ones(4), s)):
        with pytest.raises(ValueError, match="sparsity is the share of zeros, from 0 to 1"):
            choose(weight, share)


def test_patterns_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="groups of 4 do not divide a row of 6"):
        n_of_m(drawn(2, 6))
    for n, m in ((0, 4), (5, 4), (2.0, 4), (1, 32)):
        with pytest.raises(ValueError, match="keep n of m"):
            n_of_m(drawn(2, 32), n, m)
    with pytest.raises(ValueError, match="more than 2 of 4 neighbours"):
        PackedNM.from_weight(drawn(2, 8))
    with pytest.raises(ValueError, match="at most 4 fit"):
        stored_bytes((2, 2), 5, "csr")
    with pytest.raises(ValueError, match="formats are"):
        stored_bytes((2, 2), 1, "zip")


def test_other_mistakes_are_refused():
    with pytest.raises(ValueError, match='per must be "layer" or "row"'):
        element(drawn(2, 2), 0.5, per="column")
    with pytest.raises(ValueError, match="dim must be 0"):
        structured(drawn(2, 2), 0.5, dim=2)
    with pytest.raises(ValueError, match="no weights to compare"):
        global_masks({}, 0.5)
    model = nn.Sequential(nn.Linear(4, 2))
    with pytest.raises(ValueError, match="no such layer"):
        apply_masks(model, {"1": torch.ones(2, 4)})
    with pytest.raises(ValueError, match=r"weights of \(2, 4\)"):
        apply_masks(model, {"0": torch.ones(4, 2)})


def test_of_several_masks_none_is_applied_when_one_does_not_fit():
    model = nn.Sequential(nn.Linear(4, 2))
    before = model[0].weight.clone()
    with pytest.raises(ValueError, match="no such layer"):
        apply_masks(model, {"0": torch.zeros(2, 4), "1": torch.ones(2, 4)})
    assert torch.equal(model[0].weight, before)


def test_a_masked_weight_is_zero_whatever_it_was():
    model = nn.Sequential(nn.Linear(2, 1, bias=False))
    model[0].weight.data = torch.tensor([[torch.nan, 3.0]])
    assert apply_masks(model, {"0": torch.tensor([[False, True]])})[0].weight.tolist() == [[0.0, 3.0]]


@pytest.mark.parametrize("scores", [torch.full((2, 4), torch.nan), torch.zeros(0, 4)])
def test_scores_of_which_none_is_the_smallest_are_refused(scores):
    for choose in (n_of_m, lambda s: keep_largest(s, 0.5), lambda s: keep_largest(s, 0.5, per="row")):
        with pytest.raises(ValueError, match="none or NaN"):
            choose(scores)


def test_groups_and_blocks_that_are_not_stored_are_refused():
    for how, m in (("n of m", 32), ("bsr", 0)):
        with pytest.raises(ValueError, match=f"m = {m}"):
            stored_bytes((4, 32), 4, how, m=m)


@pytest.mark.parametrize("norms", [torch.zeros(4), torch.full((4,), torch.nan), torch.tensor([1.0, -1, 1, 1])])
def test_norms_without_calibration_data_are_refused(norms):
    with pytest.raises(ValueError, match="did calibration data come through"):
        wanda_scores(drawn(2, 4), norms)


def test_norms_for_another_layer_and_inputs_without_gram_are_refused():
    from labkit.compression.layers import Inputs

    with pytest.raises(ValueError, match="4 inputs need as many norms"):
        wanda_scores(drawn(2, 4), torch.ones(3))
    with pytest.raises(ValueError, match="gram=True"):
        norms_of(Inputs(1, torch.ones(2), torch.ones(2), torch.ones(2)))
