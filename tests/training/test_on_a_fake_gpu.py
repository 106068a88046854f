"""What surrounds the loop stays on the device of the model, and a batch that was left behind is noticed."""

import math
import tempfile
from functools import partial

import numpy as np
import torch
from torch import nn

from labkit.optimizers import AdamW
from labkit.training import (
    BatchNorm,
    TokenBatches,
    TokenFile,
    cosine,
    dropout,
    l1,
    l2,
    recompute,
    smoothed_cross_entropy,
    train,
    update,
    write_tokens,
)
from labkit.transformer import Config, Decoder
from tests.fake_gpu import on_fake_gpu, wrong_device

CONFIG = Config(vocabulary=11, context=8, layers=1, heads=2, width=8)


def batches(device, number, length=8):
    for _ in range(number):
        yield torch.randint(11, (2, length), device=device), torch.randint(11, (2, length), device=device)


@on_fake_gpu(reads=True)
def test_a_decoder_is_trained_from_a_file(device):
    with tempfile.TemporaryDirectory() as folder:
        file = TokenFile(write_tokens(f"{folder}/tokens.bin", np.arange(100) % 11))
        source = TokenBatches(file, 2, 8, device=device)
        model = Decoder(CONFIG).to(device)
        schedule = partial(cosine, peak=1e-3, steps=4, warmup=2)
        told = {}
        history = train(
            model,
            source,
            AdamW(model.parameters()),
            steps=4,
            schedule=schedule,
            max_norm=math.inf,
            accumulate=2,
            evaluate=lambda model: model.loss(*next(batches(device, 1))),
            every=2,
            log=lambda step, values: told.setdefault(step, values),
        )
        del file, source
    assert history.steps == 4 and sorted(told) == [2, 4]
    assert {weight.device for weight in model.parameters()} == {device}


@on_fake_gpu(covers=("BatchNorm",))
def test_what_holds_a_model_back_stays_on_the_device(device):
    x = torch.randn(6, 4, device=device, requires_grad=True)
    layer, norm = nn.Linear(4, 5).to(device), BatchNorm(4).to(device)
    out = recompute(lambda x: layer(norm(dropout(x, 0.5))), x)
    loss = smoothed_cross_entropy(out, torch.zeros(6, dtype=torch.long, device=device), 0.1)
    (loss + l1(layer.parameters()) + l2(layer.parameters())).backward()
    assert {x.grad.device, layer.weight.grad.device, norm.running_mean.device} == {device}


@on_fake_gpu
def test_a_batch_left_on_the_cpu_is_caught(device):
    model = Decoder(CONFIG).to(device)
    with wrong_device():
        train(model, batches("cpu", 1), AdamW(model.parameters()), steps=1)
    with wrong_device():
        update(model, AdamW(model.parameters()), [(next(batches(device, 1))[0], next(batches("cpu", 1))[1])])
