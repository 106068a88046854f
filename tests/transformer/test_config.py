"""The shape of a transformer: what is filled in, what survives `replace`, what is refused."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.transformer import Config, Decoder

SIZES = {"vocabulary": 100, "context": 32, "layers": 2, "heads": 4, "width": 64}
SMALL = Config(**SIZES)


def test_sizes_left_out_are_filled_in_as_gpt_has_them():
    assert (SMALL.hidden, SMALL.kv_heads, SMALL.head_dim) == (256, 4, 16)


@pytest.mark.parametrize(("width", "hidden"), [(64, 192), (576, 1536), (768, 2048), (4096, 10944)])
def test_a_gated_layer_gets_two_thirds_of_the_hidden_width(width, hidden):
    # 8 · 64 / 3 is 170.7, and the next multiple of 64 is 192; 576 and 768 divide without a rest.
    assert Config(100, 32, 2, 4, width, activation="swiglu").hidden == hidden


def test_replace_fills_in_anew_what_was_filled_in():
    wider = dataclasses.replace(SMALL, width=128, heads=2)
    assert (wider.hidden, wider.kv_heads, wider.head_dim) == (512, 2, 64)
    assert dataclasses.replace(SMALL, activation="swiglu").hidden == 192


def test_replace_keeps_what_was_given():
    given_sizes = Config(**SIZES, hidden=100, kv_heads=2, head_dim=10)
    wider = dataclasses.replace(given_sizes, width=128)
    assert (wider.hidden, wider.kv_heads, wider.head_dim) == (100, 2, 10)


def test_a_head_may_have_any_size_when_it_is_given():
    assert Config(**{**SIZES, "heads": 5}, head_dim=16).head_dim == 16


def test_a_config_is_a_value():
    assert Config(**SIZES) == SMALL == Config(**SIZES, hidden=256)
    assert hash(Config(**SIZES)) == hash(SMALL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        SMALL.width = 3


@given(
    heads=st.integers(1, 4),
    groups=st.integers(1, 3),
    head_dim=st.integers(1, 6),
    positions=st.sampled_from(["learned", "sinusoidal", "rotary", "none"]),
)
def test_every_config_that_is_accepted_builds_a_model(heads, groups, head_dim, positions):
    sizes = {"heads": heads * groups, "kv_heads": heads, "width": heads * groups * head_dim, "positions": positions}
    odd = (positions == "rotary" and head_dim % 2) or (positions == "sinusoidal" and sizes["width"] % 2)
    if odd:
        with pytest.raises(ValueError, match="odd"):
            Config(vocabulary=5, context=4, layers=1, **sizes)
    else:
        model = Decoder(Config(vocabulary=5, context=4, layers=1, **sizes))
        assert model.blocks[0].attention.head_dim == head_dim


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocabulary": 0}, "vocabulary must be positive, got 0"),
        ({"layers": -1}, "layers must be positive, got -1"),
        ({"hidden": 0}, "hidden must be positive"),
        ({"heads": 5}, "a width of 64 cannot be cut into 5 heads evenly: choose"),
        ({"kv_heads": 3}, "4 query heads cannot share 3 key heads"),
        ({"kv_heads": 8}, "4 query heads cannot share 8 key heads"),
        ({"kv_heads": 0}, "kv_heads must be positive"),
        ({"head_dim": 3, "positions": "rotary"}, "head_dim is odd: 3"),
        ({"width": 63, "heads": 3, "positions": "sinusoidal"}, "width is odd: 63"),
        ({"norm": "batch"}, "norm must be one of layer, rms, got 'batch'"),
        ({"activation": "silu"}, "activation must be one of gelu, gelu_tanh, relu, swiglu"),
        ({"positions": "rope"}, "positions must be one of"),
        ({"rotary_layout": "pairs"}, "rotary_layout must be one of half, interleaved"),
        ({"kernel": "flash"}, "kernel must be fused, plain, tiled or a function, got 'flash'"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ({"norm_eps": 0.0}, "norm_eps must be positive"),
        ({"theta": -1.0}, "theta must be positive"),
        ({"segments": -1}, "segments must be at least 0"),
    ],
)
def test_a_shape_that_no_model_can_have_is_refused_with_its_reason(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)


def test_a_function_may_be_the_kernel():
    assert callable(Config(**SIZES, kernel=lambda query, key, value, mask, causal: value).kernel)
