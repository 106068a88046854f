"""Initialisation: the deviations that are promised, and what depth does to the stream without them."""

import math

import pytest
import torch

from labkit.transformer import Config, Decoder, Encoder, EncoderDecoder, initialise

SIZES = {"vocabulary": 300, "context": 64, "layers": 8, "heads": 4, "width": 128}


@pytest.mark.parametrize("model", [Decoder, EncoderDecoder, Encoder])
def test_each_kind_of_weight_starts_as_gpt2_does(model):
    for name, weight in model(Config(**SIZES)).named_parameters():
        if "norm" in name:
            assert torch.equal(weight, torch.ones(128) if name.endswith("weight") else torch.zeros(128)), name
        elif name.endswith("bias"):
            assert not weight.any(), name
        else:
            into = name.endswith(("output.weight", "down.weight"))
            expected = 0.02 / math.sqrt(2 * 8) if into else 0.02
            # the deviation of n draws deviates by 1 / √(2n)
            assert weight.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * weight.numel())), name
            assert abs(weight.mean().item()) < 5 * expected / math.sqrt(weight.numel()), name


def test_the_stream_keeps_its_growth_at_any_depth_when_scaled_and_not_otherwise():
    ids = torch.arange(64)[None]
    growth = {}
    for layers in (2, 32):
        for scaled in (True, False):
            config = Config(**{**SIZES, "layers": layers})
            model = Decoder(config, seed=None)
            initialise(model, config, torch.Generator().manual_seed(0), depth_scaled=scaled)
            before, *_, after = model.stream(ids)
            growth[layers, scaled] = ((after - before).std() / before.std()).item()
    assert growth[32, True] == pytest.approx(growth[2, True], rel=0.15)
    assert growth[32, False] / growth[2, False] > 3  # √16 is 4


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    a, b, c = (Decoder(Config(**SIZES), seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.tokens.weight, c.tokens.weight)


def test_the_weights_do_not_depend_on_what_was_drawn_before():
    a = Decoder(Config(**SIZES), seed=3)
    torch.randn(7)
    b = Decoder(Config(**SIZES), seed=3)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_no_two_matrices_start_equal():
    sizes = [p for p in Decoder(Config(**SIZES)).parameters() if p.ndim == 2]
    assert len({p.flatten()[:8].sum().item() for p in sizes}) == len(sizes)


def test_a_model_on_the_meta_device_has_no_values_to_draw():
    with torch.device("meta"):
        model = Decoder(Config(**{**SIZES, "width": 4096, "layers": 40}))
    assert all(p.is_meta for p in model.parameters())
