"""Masking, decoding and measuring stay on the device of the model, and what was left on the CPU is noticed."""

import torch

from labkit.pretraining.decoding import beam_search, sequence_log_probability
from labkit.pretraining.masking import MaskedModel, fill, mask_tokens
from labkit.pretraining.measuring import bits_per_byte
from labkit.pretraining.tokens import ByteTokens
from labkit.transformer import Config, Decoder, generate
from tests.fake_gpu import on_fake_gpu, wrong_device

CONFIG = Config(vocabulary=257, context=12, layers=1, heads=2, width=8)


@on_fake_gpu(covers=("MaskedModel",))
def test_a_masked_model_trains(device):
    model = MaskedModel(CONFIG).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=False)
    ids = torch.randint(256, (2, 9), device=device)
    for generator in (None, torch.Generator().manual_seed(0)):  # one on the CPU serves every device
        inputs, targets = mask_tokens(ids, vocabulary=256, mask_id=256, generator=generator, special=(3,))
        assert inputs.device == targets.device == device
        optimizer.zero_grad()
        model.loss(inputs, targets).backward()
        optimizer.step()
    assert {x.device for p in model.parameters() for x in (p, p.grad)} == {device}
    assert fill(model, inputs).device == device
    with wrong_device():
        model.loss(inputs, torch.zeros(2, 9, dtype=torch.long))


@on_fake_gpu(reads=True)
def test_a_decoder_is_searched_measured_and_drawn_from(device):
    model = Decoder(CONFIG).to(device)
    ids = torch.randint(256, (1, 4), device=device)
    found = beam_search(model, ids, 3, 2, length_penalty=1.0, stop=5)
    assert found.ids.device == found.scores.device == device
    assert sequence_log_probability(model, ids, 2).device == device
    chance = torch.Generator().manual_seed(0)
    assert generate(model, ids, 3, temperature=1.0, top_k=9, top_p=0.9, generator=chance).device == device
    assert isinstance(bits_per_byte(model, ByteTokens(), "a text longer than the context"), float)


@on_fake_gpu
def test_a_prompt_left_on_the_cpu_is_caught(device):
    model = Decoder(CONFIG).to(device)
    with wrong_device():
        beam_search(model, torch.zeros(1, 4, dtype=torch.long), 3, 2)
    with wrong_device():
        generate(model, torch.zeros(1, 4, dtype=torch.long), 3, temperature=1.0, top_p=0.9)
