"""Weights from elsewhere: everything accounted for by name, or nothing changed."""

import pytest
import torch

from labkit.transformer import Config, Decoder, Encoder, load_state
from labkit.transformer.state import refuse_broken

SIZES = {"vocabulary": 7, "context": 6, "layers": 2, "heads": 2, "width": 8}


def decoder(seed, **changes):
    return Decoder(Config(**{**SIZES, **changes}), seed=seed)


def copied(model):
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def test_all_weights_arrive():
    source, target = decoder(1), decoder(2)
    load_state(target, copied(source))
    ids = torch.arange(6)[None]
    assert torch.equal(source(ids), target(ids))


def test_numbers_are_converted_and_the_model_keeps_its_own_type():
    source, target = decoder(1), decoder(2)
    load_state(target, {name: weight.bfloat16() for name, weight in copied(source).items()})
    assert target.tokens.weight.dtype == torch.float32
    assert torch.equal(target.tokens.weight, source.tokens.weight.bfloat16().float())


def test_what_is_loaded_is_a_copy():
    state, model = copied(decoder(1)), decoder(2)
    load_state(model, state)
    state["norm.weight"].fill_(9)
    assert model.norm.weight[0] == 1


def test_missing_and_extra_and_misshaped_weights_are_named_and_nothing_is_changed():
    model, state = decoder(1), copied(decoder(2))
    before = copied(model)
    del state["blocks.1.norm2.bias"], state["norm.weight"]
    state["blocks.2.norm2.bias"] = torch.zeros(8)
    state["blocks.0.attention.qkv.weight"] = torch.zeros(8, 24)
    with pytest.raises(ValueError) as error:
        load_state(model, state)
    message = str(error.value)
    assert "do not fit this Decoder" in message
    assert "2 missing: blocks.1.norm2.bias, norm.weight" in message
    assert "1 not in this model: blocks.2.norm2.bias" in message
    assert "1 of another shape: blocks.0.attention.qkv.weight is (8, 24), expected (24, 8)" in message
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_of_many_names_the_first_few_are_shown_and_the_rest_counted():
    with pytest.raises(ValueError, match=r"29 missing: (\S+, ){4}\S+ and 24 more$"):
        load_state(decoder(1), {})


def test_something_that_is_no_tensor_is_named():
    state = copied(decoder(1)) | {"norm.weight": [1.0] * 8}
    with pytest.raises(ValueError, match=r"norm\.weight is list, expected"):
        load_state(decoder(2), state)


@pytest.mark.parametrize("absent", ["head.weight", "tokens.weight"])
def test_of_a_tied_head_and_embedding_one_is_enough(absent):
    source, target = decoder(1), decoder(2)
    state = copied(source)
    del state[absent]
    load_state(target, state)
    assert target.head.weight is target.tokens.weight
    assert torch.equal(target.tokens.weight, source.tokens.weight)


def test_a_head_that_contradicts_the_embedding_is_refused_when_tied_and_loaded_when_not():
    state = copied(decoder(1))
    state["head.weight"] += 1
    with pytest.raises(ValueError, match=r"tokens.weight and head.weight are one weight .* tied=False"):
        load_state(decoder(2), state)
    free = decoder(2, tied=False)
    load_state(free, state)
    assert torch.equal(free.head.weight, state["head.weight"])


def test_an_untied_model_needs_both():
    state = copied(decoder(1))
    del state["head.weight"]
    with pytest.raises(ValueError, match=r"1 missing: head\.weight"):
        load_state(decoder(2, tied=False), state)


def test_an_encoder_without_its_pooler_says_so():
    state = Encoder(Config(**SIZES, pooler=True)).state_dict()
    with pytest.raises(ValueError, match=r"2 not in this model: pooler\.weight, pooler\.bias"):
        load_state(Encoder(Config(**SIZES)), state)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_named(value):
    model = decoder(1)
    refuse_broken(model)
    with torch.no_grad():
        model.blocks[1].norm2.weight[3] = value
    with pytest.raises(ValueError, match=r"blocks.1.norm2.weight holds 1 of 8 numbers that are NaN or infinite now"):
        refuse_broken(model)


def test_large_weights_are_not_called_infinite():
    model = decoder(1)
    with torch.no_grad():
        model.tokens.weight.fill_(3e38)  # whose sum is beyond float32
    refuse_broken(model)
