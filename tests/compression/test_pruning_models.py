"""Models that lose weights while they learn, or heads, units and layers; tickets; what sparse products cost."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from labkit.compression.layers import linears
from labkit.compression.pruning import lottery, sparse_speed
from labkit.compression.pruning.magnitude import element, zeros_in
from labkit.compression.pruning.schedule import fine_tune, prune_gradually, sparsity_at
from labkit.compression.pruning.structure import (
    PrunedDecoder,
    block_influence,
    remove_heads,
    remove_hidden,
    remove_layers,
    silence_heads,
)
from labkit.transformer import Config, Decoder, Encoder, generate

LLAMA = Config(
    vocabulary=40, context=16, layers=3, heads=4, width=16, norm="rms", activation="swiglu", positions="rotary"
)
SHARED = Config(vocabulary=40, context=16, layers=3, heads=4, kv_heads=2, width=16, bias=False, positions="rotary")
BERT = Config(vocabulary=40, context=16, layers=3, heads=4, width=16, norm_first=False, segments=2)
MODELS = {"llama": lambda: Decoder(LLAMA), "shared": lambda: Decoder(SHARED), "bert": lambda: Encoder(BERT)}
TEXT = torch.randint(40, (4, 12), generator=torch.Generator().manual_seed(3))


def stirred(model):
    """The model with weights and biases of every size: freshly drawn biases are zero and would hide mistakes."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=draw))
    return model.eval()


def batches():
    while True:
        yield TEXT[:, :-1], TEXT[:, 1:]


def test_the_schedule_by_hand():
    assert [sparsity_at(step, final=0.8, begin=2, end=6, initial=0.0) for step in (0, 2, 4, 6, 9)] == pytest.approx(
        [0, 0, 0.7, 0.8, 0.8]
    )


@given(some.floats(0, 1), some.floats(0, 1), some.integers(0, 100), some.integers(1, 100), some.floats(-10, 250))
def test_the_schedule_stays_between_its_ends(initial, final, begin, length, step):
    share = sparsity_at(step, final=final, begin=begin, end=begin + length, initial=initial)
    assert min(initial, final) - 1e-12 <= share <= max(initial, final) + 1e-12
    assert sparsity_at(begin + length, final=final, begin=begin, end=begin + length, initial=initial) == final


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9)])
def test_what_is_left_out_stays_out_and_what_stays_learns(optimizer):
    model = Decoder(LLAMA)
    before = copy.deepcopy(model)
    found = prune_gradually(model, batches(), optimizer(model.parameters(), lr=1e-2), steps=30, final=0.75, every=3)
    assert found.sparsity == sorted(found.sparsity) and found.sparsity[0] == 0
    assert found.sparsity[-1] == pytest.approx(0.75, abs=2e-3) == zeros_in(model)
    assert found.losses[-1] < found.losses[0]
    for name, layer in linears(model).items():
        assert not layer.weight[~found.masks[name]].any()
        assert not torch.equal(layer.weight, linears(before)[name].weight * found.masks[name])
    losses = fine_tune(model, batches(), optimizer(model.parameters(), lr=1e-2), steps=5, masks=found.masks)
    assert len(losses) == 5 and zeros_in(model) == found.sparsity[-1]


def test_some_layers_only():
    model = Decoder(LLAMA)
    names = list(linears(model))[:2]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = prune_gradually(model, batches(), optimizer, steps=4, final=0.5, every=1, names=names)
    assert set(found.masks) == set(names)
    assert [zeros_in(layer.weight) > 0 for layer in linears(model).values()].count(True) == 2


def test_schedules_that_cannot_be_are_refused():
    model = Decoder(LLAMA)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="end must come after"):
        sparsity_at(1, final=0.5, begin=3, end=3)
    with pytest.raises(ValueError, match="from 0 to 1"):
        sparsity_at(1, final=1.5, end=3)
    with pytest.raises(ValueError, match="at least 1"):
        prune_gradually(model, batches(), optimizer, steps=0, final=0.5)
    with pytest.raises(ValueError, match="fewer batches than steps"):
        prune_gradually(model, [next(batches())], optimizer, steps=2, final=0.5)
    with pytest.raises(ValueError, match="at least 1"):
        fine_tune(model, batches(), optimizer, steps=0, masks={})


@pytest.mark.parametrize("end", [0, -3, 5])
def test_a_share_that_would_never_be_reached_is_refused(end):
    model = Decoder(LLAMA)
    with pytest.raises(ValueError, match="it must be one of the steps, 1 to 4"):
        prune_gradually(model, batches(), torch.optim.SGD(model.parameters()), steps=4, final=0.5, end=end)


@pytest.mark.parametrize("wrong", [{"names": []}, {"names": ["head"]}, {"final": 1.5}])
def test_what_is_wrong_is_found_before_anything_is_learned(wrong):
    model = Decoder(LLAMA)
    before = model.head.weight.clone()
    with pytest.raises(ValueError, match=r"no linear layers|from 0 to 1"):
        prune_gradually(
            model, batches(), torch.optim.SGD(model.parameters(), lr=1.0), **{"steps": 4, "final": 0.5} | wrong
        )
    assert torch.equal(model.head.weight, before)


CHOSEN = [{0: [1]}, {0: [0, 1, 3], 2: [2]}, {}, {0: [0], 1: [1], 2: [2]}]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("heads", CHOSEN)
def test_removed_heads_leave_what_silent_ones_leave(name, heads):
    model = stirred(MODELS[name]())
    count = model.config.kv_heads
    heads = {layer: [head for head in some if head < count][: count - 1] for layer, some in heads.items()}
    small, quiet = remove_heads(model, heads), silence_heads(model, heads)
    torch.testing.assert_close(small(TEXT), quiet(TEXT))
    gone = sum(len(some) for some in heads.values())
    each = linears(model)["blocks.0.attention.qkv"].weight.numel() // count
    removed = [sum(w.weight.numel() for w in linears(m).values()) for m in (model, small)]
    assert removed[0] - removed[1] == gone * (each + model.config.width * model.config.width // count)
    assert not gone or not torch.allclose(small(TEXT), model(TEXT))


def test_a_decoder_with_uneven_heads_writes_with_its_cache():
    model = stirred(Decoder(SHARED))
    small = remove_heads(model, {0: [1]})
    assert isinstance(small, PrunedDecoder) and [cache.keys.shape[1] for cache in small.new_cache(1)] == [1, 2, 2]
    whole = small(TEXT)
    cache = small.new_cache(len(TEXT))
    step_by_step = torch.cat([small(TEXT[:, [at]], cache=cache) for at in range(TEXT.shape[1])], dim=1)
    torch.testing.assert_close(step_by_step, whole)
    assert generate(small, TEXT[:1, :4], 5).shape == (1, 9)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_whose_blocks_lose_alike_can_be_built_from_its_config(name):
    model = stirred(MODELS[name]())
    small = remove_hidden(remove_heads(model, {0: [0], 1: [1], 2: [0]}), {layer: [0, 7] for layer in range(3)})
    again = type(model)(small.config, seed=None)
    again.load_state_dict(small.state_dict())
    torch.testing.assert_close(again.eval()(TEXT), small(TEXT))
    assert type(small) is type(model) and model.config.heads == 4


@pytest.mark.parametrize("uneven", [True, False])
def test_smaller_models_are_saved_and_loaded(tmp_path, uneven):
    files = pytest.importorskip("labkit.compression.files")
    heads = {0: [0]} if uneven else {0: [0], 1: [1], 2: [2]}
    small = remove_heads(stirred(Decoder(LLAMA)), heads)
    path = files.save_compressed(small, tmp_path / "small.safetensors")
    build = (lambda config: remove_heads(Decoder(LLAMA, seed=None), heads)) if uneven else None
    torch.testing.assert_close(files.load_compressed(path, build)(TEXT), small(TEXT))


@pytest.mark.parametrize("name", MODELS)
def test_removed_units_leave_what_zeros_leave(name):
    model = stirred(MODELS[name]())
    units = {0: [0, 5, 7], 2: list(range(1, model.config.hidden))}
    small, quiet = remove_hidden(model, units), copy.deepcopy(model)
    for layer, gone in units.items():
        quiet.blocks[layer].feedforward.down.weight.data[:, gone] = 0.0
    torch.testing.assert_close(small(TEXT), quiet(TEXT))
    assert small.blocks[2].feedforward.up.out_features == 1


@pytest.mark.parametrize("name", MODELS)
def test_without_a_layer_the_stream_goes_past_it(name):
    model = stirred(MODELS[name]())
    small = remove_layers(model, [1])
    assert small.config.layers == len(small.blocks) == 2 and len(model.blocks) == 3
    torch.testing.assert_close(small.stream(TEXT)[1], model.stream(TEXT)[1])
    assert small(TEXT).isfinite().all() and not torch.allclose(small(TEXT), model(TEXT))


def test_the_original_keeps_its_weights_and_its_tie():
    model = stirred(Decoder(LLAMA))
    before = model(TEXT)
    for small in (remove_heads(model, {0: [0]}), remove_hidden(model, {0: [0]}), remove_layers(model, [0])):
        small.blocks[0].feedforward.up.weight.data.zero_()
        assert small.head.weight is small.tokens.weight
        small.loss(TEXT[:, :-1], TEXT[:, 1:]).backward()
    torch.testing.assert_close(model(TEXT), before)


def test_a_block_that_adds_nothing_has_no_influence():
    model = stirred(Decoder(LLAMA))
    for weight in (model.blocks[1].attention.output, model.blocks[1].feedforward.down):
        weight.weight.data.zero_()
        weight.bias.data.zero_()
    found = block_influence(model, TEXT)
    assert found[1] == pytest.approx(0, abs=1e-6) and min(found[0], found[2]) > 1e-3


def test_blocks_that_are_alike_again_are_an_ordinary_decoder_that_its_config_describes(tmp_path):
    files = pytest.importorskip("labkit.compression.files")
    uneven = remove_heads(stirred(Decoder(LLAMA)), {0: [0]})
    for small in (remove_heads(uneven, {1: [3], 2: [1]}), remove_layers(uneven, [0]), remove_layers(uneven, [1, 2])):
        assert type(uneven) is PrunedDecoder and type(small) is Decoder
        path = files.save_compressed(small, tmp_path / "small.safetensors")
        torch.testing.assert_close(files.load_compressed(path)(TEXT), small(TEXT), rtol=0, atol=0)


def test_frozen_weights_stay_frozen_and_no_random_numbers_are_drawn():
    model = Decoder(LLAMA).requires_grad_(False)
    before = torch.get_rng_state()
    small = remove_hidden(remove_heads(model, {0: [0]}), {1: [0]})
    assert torch.equal(before, torch.get_rng_state())
    assert not any(parameter.requires_grad for parameter in small.parameters())
    assert all(parameter.requires_grad for parameter in remove_heads(Decoder(LLAMA), {0: [0]}).parameters())


def test_parts_that_are_not_there_are_refused():
    model = Decoder(LLAMA)
    for wrong, words in (({3: [0]}, "no layer 3"), ({0: [4]}, "heads 0 to 3"), ({0: range(4)}, "its last head")):
        for remove in (remove_heads, silence_heads):
            with pytest.raises(ValueError, match=words):
                remove(model, wrong)
    with pytest.raises(ValueError, match="units 0 to"):
        remove_hidden(model, {0: [10**6]})
    for wrong in ([0, 1, 2], [3], [-1]):
        with pytest.raises(ValueError, match="cannot lose"):
            remove_layers(model, wrong)
    with pytest.raises(ValueError, match="our Decoder or Encoder, got Linear"):
        remove_heads(torch.nn.Linear(2, 2), {})


def test_winning_tickets_win():
    found = lottery.draw_tickets(lottery.digits(), rounds=5, nets=3, steps=80)
    assert found.left == [0.5**done for done in range(6)]
    ahead = (found.winning - found.reinitialised).mean(1)
    assert abs(float(ahead[0])) < 0.05 and float(ahead[5]) > 0.1
    assert float(found.winning[3].mean()) > float(found.winning[0].mean()) - 0.03


def test_networks_side_by_side_are_the_networks_alone():
    data, nets = lottery.digits(), lottery.born(2, (64, 8, 10), 0)
    masks = [torch.ones_like(layer) for layer in nets]
    together = lottery.learn(nets, masks, data, steps=10)
    alone = lottery.learn([layer[1:] for layer in nets], [mask[1:] for mask in masks], data, steps=10)
    for both, one in zip(together, alone, strict=True):
        torch.testing.assert_close(both[1:], one)
    hidden = (data.test @ nets[0][0, :, :-1].T + nets[0][0, :, -1]).relu()
    torch.testing.assert_close(lottery.answers(nets, data.test)[0], hidden @ nets[1][0, :, :-1].T + nets[1][0, :, -1])


def test_masked_weights_of_a_ticket_stay_zero_and_biases_are_never_masked():
    data, nets = lottery.digits(), lottery.born(2, (64, 8, 10), 0)
    masks = lottery._next_masks(nets, 0.75)
    assert [float(mask[:, :, :-1].mean()) for mask in masks] == pytest.approx([0.25, 0.5])
    trained = lottery.learn(nets, masks, data, steps=10)
    for layer, mask in zip(trained, masks, strict=True):
        assert mask[:, :, -1].all() and not layer[mask == 0].any() and layer[:, :, -1].any()


def test_lotteries_without_rounds_are_refused():
    data = lottery.digits()
    with pytest.raises(ValueError, match="at least 1"):
        lottery.draw_tickets(data, rounds=0)
    with pytest.raises(ValueError, match="from 0 to 1"):
        lottery.draw_tickets(data, share=2)


@pytest.mark.parametrize("columns", [1, 3])
def test_sparse_products_are_the_dense_product(columns):
    draw = torch.Generator().manual_seed(0)
    weight, x = torch.randn(32, 32, generator=draw), torch.randn(32, columns, generator=draw)
    anywhere = weight * element(weight, 0.8)
    torch.testing.assert_close(sparse_speed.to_csr(anywhere) @ x, anywhere @ x)
    blocks = weight * sparse_speed.block_mask(weight, 0.75, 8)
    assert zeros_in(blocks) == 0.75
    torch.testing.assert_close(sparse_speed.to_bsr(blocks, 8) @ x, blocks @ x)


def test_the_blocks_of_smallest_norm_go():
    weight = torch.ones(4, 4)
    weight[:2, 2:] = 0.1
    assert torch.equal(sparse_speed.block_mask(weight, 0.25, 2), weight == 1)
    with pytest.raises(ValueError, match="blocks of 3 do not divide"):
        sparse_speed.block_mask(weight, 0.5, 3)


def test_the_point_where_it_pays_lies_between_the_two_around_it():
    assert sparse_speed.break_even({0.5: 3.0, 0.25: 2.0, 0.1: 0.5}) == pytest.approx(0.15)
    assert sparse_speed.break_even({0.5: 3.0, 0.25: 2.0}) == 0.0
    assert sparse_speed.break_even({0.5: 0.9, 0.25: 0.2}) == 0.5


def test_every_product_is_timed():
    found = sparse_speed.time_products(64, (0.5, 0.1), 2, rounds=1)
    assert found.dense > 0 and {how: list(found.ratios(how)) for how in found.sparse} == {
        "csr": [0.5, 0.1],
        "bsr": [0.5, 0.1],
    }
    assert set(sparse_speed.time_two_of_four(64, rounds=1)) == {"dense", "picked up by index", "unpacked every time"}
    with pytest.raises(ValueError, match="do not divide a matrix of 60"):
        sparse_speed.time_products(60)
    with pytest.raises(ValueError, match="a density is the share of weights left"):
        sparse_speed.time_products(64, (0.0,))
    with pytest.raises(ValueError, match="at least one has to be timed"):
        sparse_speed.time_two_of_four(64, rounds=0)
    for block in (0, -8):
        with pytest.raises(ValueError, match="do not divide"):
            sparse_speed.block_mask(torch.ones(8, 8), 0.5, block)


def test_without_mkl_blocks_are_left_out(monkeypatch):
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert set(sparse_speed.time_products(64, (0.5,), rounds=1).sparse) == {"csr"}
