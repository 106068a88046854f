"""Shards live on the device of the model, what is offloaded comes back to it, what others are given stays there."""

import pytest
import torch

from labkit.optimizers import AdamW
from labkit.transformer import Config, Decoder, Encoder
from labkit.zero.deepspeed_runs import Loss
from labkit.zero.offload import offloaded
from labkit.zero.stages import Zero
from labkit.zero.token_classification import Tagger
from tests.fake_gpu import on_fake_gpu, wrong_device
from tests.fake_ranks import one_rank

SIZES = {"vocabulary": 11, "context": 8, "layers": 1, "heads": 2, "width": 8}


def ids(device):
    return torch.zeros(2, 8, dtype=torch.long, device=device)


@on_fake_gpu(reads=True)
def test_averages_on_the_cpu_work_on_weights_of_the_device(device):
    weight = torch.ones(300, device=device, requires_grad=True)
    optimizer = offloaded(AdamW, piece=128)([weight], lr=0.1)
    for _ in range(2):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert weight.device == weight.grad.device == device


@on_fake_gpu(reads=True, covers=("Loss", "Tagger"))
def test_what_deepspeed_and_the_tagger_get_stays_on_the_device(device):
    assert Loss(Decoder(Config(**SIZES)).to(device))(ids(device), ids(device)).device == device
    encoder = Encoder(Config(**SIZES, norm_first=False)).to(device)
    tagger = Tagger(encoder, labels=3, trained=1).to(device)
    mask = torch.ones(2, 1, 1, 8, dtype=torch.bool, device=device)[:, 0, 0]
    assert tagger(encoder(ids(device)), mask, ids(device)).device == device


@pytest.mark.parametrize(("stage", "half"), [(1, True), (2, False), (3, True)])
@on_fake_gpu(reads=True)
def test_shards_are_trained_where_the_model_is(stage, half, device):
    kind = torch.bfloat16 if half else torch.float32
    with one_rank():
        model = Decoder(Config(**SIZES)).to(device, kind)
        zero = Zero(model, AdamW, stage=stage, master=torch.float32, bucket_mb=0.001, micro_batches=2, lr=0.1)
        for _ in range(2):
            model.loss(ids(device), ids(device)).backward()
            model.loss(ids(device), ids(device)).backward()
            assert zero.clip(1.0).device == {shard.gradient.device for shard in zero.trained}.pop() == device
            zero.step()
            zero.zero_grad()
        assert {shard.weights.dtype for shard in zero.shards} == {torch.float32}
        with zero.whole():
            assert {(p.device, p.dtype) for p in model.parameters()} == {(device, kind)}
        with wrong_device():
            model.loss(ids(device), ids("cpu"))


@pytest.mark.parametrize("stage", [1, 2])
@on_fake_gpu(reads=True)
def test_a_model_that_moves_after_it_was_split_is_refused(stage, device):
    with one_rank(ranks=1):
        model = Decoder(Config(**SIZES))
        zero = Zero(model, AdamW, stage=stage, lr=0.1)
        model.to(device).loss(ids(device), ids(device)).backward()
        with pytest.raises(ValueError, match="that was split: build Zero after"):
            zero.step()
