"""Every model of labkit.transformer trains and writes on the device it was moved to, in every variant."""

import pytest
import torch

from labkit.attention import attention, causal_mask
from labkit.transformer import Config, Decoder, Encoder, EncoderDecoder, generate, translate
from tests.fake_gpu import on_fake_gpu, wrong_device

SIZES = {"vocabulary": 20, "context": 12, "layers": 1, "heads": 4, "width": 16}
LLAMA = {"norm": "rms", "activation": "swiglu", "positions": "rotary", "kv_heads": 2, "bias": False, "tied": False}
VARIANTS = [
    {},
    LLAMA,
    {"positions": "sinusoidal", "activation": "relu", "norm_first": False},
    {"positions": "none", "activation": "gelu_tanh"},
    {"positions": "rotary", "rotary_layout": "interleaved", "kernel": "plain"},
    {"kernel": "tiled", "kv_heads": 1},
    {"kernel": "plain", "dropout": 0.1},
    {"dropout": 0.1, "norm": "rms", "head_dim": 8},
]
EXTREMES = VARIANTS[:3]


def ids(device, tokens=6):
    return torch.randint(20, (2, tokens), device=device)


def train(model, *batch):
    """Two steps of AdamW on the model's loss; everything stays on one device."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=False)
    for _ in range(2):
        loss = model.loss(*batch) if hasattr(model, "loss") else model(*batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert {x.device for p in model.parameters() for x in (p, p.grad)} == {loss.device}


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@on_fake_gpu(covers=("Decoder",))
def test_a_decoder_trains(variant, device):
    model = Decoder(Config(**SIZES, **variant)).to(device)
    assert (model.head.weight is model.tokens.weight) == model.config.tied
    train(model, ids(device), ids(device))
    assert model(ids(device)).device == device


@pytest.mark.parametrize("variant", EXTREMES, ids=str)
@on_fake_gpu
def test_a_decoder_shows_its_inside(variant, device):
    model = Decoder(Config(**SIZES, **variant)).to(device)
    mask = torch.ones(2, 6, dtype=torch.bool, device=device)
    found = [*model.stream(ids(device)), *model.attention_maps(ids(device)), model.unembed(model.hidden(ids(device)))]
    assert {x.device for x in [*found, model(ids(device), mask=mask)]} == {device}


@pytest.mark.parametrize("variant", EXTREMES, ids=str)
@pytest.mark.parametrize("chance", [{}, {"temperature": 1.0}, {"temperature": 0.7, "top_k": 3}], ids=str)
@pytest.mark.parametrize("use_cache", [True, False])
@on_fake_gpu
def test_a_decoder_writes(variant, chance, use_cache, device):
    model = Decoder(Config(**SIZES, **variant)).to(device)
    assert generate(model, ids(device), 5, use_cache=use_cache, **chance).device == device


@on_fake_gpu(reads=True)
def test_chance_comes_from_a_generator_of_the_device_or_of_the_cpu(device):
    model = Decoder(Config(**SIZES)).to(device)
    for home in (device, torch.device("cpu")):
        chance = torch.Generator(device=home).manual_seed(0)
        written = generate(model, ids(device), 3, temperature=1.0, generator=chance)
        assert written.shape == (2, 9) and written.device == device


@on_fake_gpu(reads=True)
def test_a_stop_token_is_looked_at(device):
    model = Decoder(Config(**SIZES)).to(device)
    assert generate(model, ids(device), 4, stop=0).device == device


@pytest.mark.parametrize("variant", [*EXTREMES, {"norm_first": False, "segments": 2, "pooler": True}], ids=str)
@on_fake_gpu(covers=("Encoder",))
def test_an_encoder_trains(variant, device):
    variant = {**variant, "tied": True}
    model = Encoder(Config(**SIZES, **variant)).to(device)
    mask = torch.ones(2, 6, dtype=torch.bool, device=device)
    train_encoder(model, ids(device), mask)
    assert {weights.device for weights in model.attention_maps(ids(device), mask)} == {device}
    if model.config.segments:
        assert model(ids(device), segments=torch.zeros_like(ids(device))).device == device
    if model.config.pooler:
        assert model.pool(model(ids(device))).device == device


def train_encoder(model, x, mask):
    optimizer = torch.optim.AdamW(model.parameters())
    model(x, mask).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("variant", EXTREMES, ids=str)
@on_fake_gpu(covers=("EncoderDecoder",))
def test_an_encoder_decoder_trains_and_translates(variant, device):
    model = EncoderDecoder(Config(**SIZES, **variant)).to(device)
    mask = torch.ones(2, 8, dtype=torch.bool, device=device)
    train(model, ids(device, 8), ids(device), ids(device), mask)
    assert model(ids(device, 8), ids(device), source_mask=mask).device == device
    assert translate(model, ids(device, 8), start=1, tokens=3, source_mask=mask).device == device


@on_fake_gpu(covers=("Block", "FeedForward", "RMSNorm"))
def test_half_the_precision(device):
    model = Decoder(Config(**SIZES, **LLAMA)).to(device, torch.bfloat16)
    train(model, ids(device), ids(device))
    assert model(ids(device)).dtype == torch.bfloat16


@on_fake_gpu(covers=("LayerNorm",))
def test_real_weights_are_moved_and_loaded(device):
    model = Decoder(Config(**SIZES))
    state = model.state_dict()
    there = Decoder(Config(**SIZES)).to(device)
    there.load_state_dict(state)
    assert there.head.weight is there.tokens.weight and there(ids(device)).device == device


def forgetful_kernel(query, key, value, mask, causal):
    """Attention with a mask that was made where nobody asked for it."""
    return attention(query, key, value, causal_mask(query.shape[-2], key.shape[-2]))


@on_fake_gpu
def test_a_mask_planted_on_the_cpu_is_caught(device):
    model = Decoder(Config(**SIZES, kernel=forgetful_kernel)).to(device)
    with wrong_device():
        model(ids(device))


@on_fake_gpu
def test_ids_targets_and_masks_left_on_the_cpu_are_caught(device):
    model = Decoder(Config(**SIZES)).to(device)
    with wrong_device():
        model(ids("cpu"))
    with wrong_device():
        model.loss(ids(device), ids("cpu"))
    with wrong_device():
        model(ids(device), mask=torch.ones(2, 6, dtype=torch.bool))
    with wrong_device():
        Encoder(Config(**SIZES)).to(device)(ids(device), torch.ones(2, 6, dtype=torch.bool))


@on_fake_gpu
def test_a_cache_made_before_the_move_is_caught(device):
    model = Decoder(Config(**SIZES))
    cache = model.new_cache(2)
    model.to(device)
    assert model(ids(device), cache=model.new_cache(2)).device == device
    with wrong_device():
        model(ids(device), cache=cache)
