"""Replicas, buckets and what they agree on stay on the device of the model."""

import pytest
import torch

from labkit.data_parallel.buckets import MODES
from labkit.data_parallel.practice import DigitsNet, accuracy
from labkit.data_parallel.replicas import DataParallel
from labkit.optimizers import AdamW
from labkit.transformer import Config, Decoder
from tests.fake_gpu import on_fake_gpu, wrong_device
from tests.fake_ranks import one_rank


def pictures(device):
    return torch.randn(4, 1, 8, 8, device=device), torch.zeros(4, dtype=torch.long, device=device)


@pytest.mark.parametrize("mode", MODES)
@on_fake_gpu(reads=True, covers=("DataParallel", "DigitsNet"))
def test_a_replica_learns(mode, device):
    with one_rank():
        replica = DataParallel(DigitsNet(width=2).to(device), mode, bucket_mb=0.001)
        optimizer = AdamW(replica.module.parameters())
        for _ in range(2):
            optimizer.zero_grad()
            replica.loss(*pictures(device)).backward()
            optimizer.step()
        assert {x.device for p in replica.parameters() for x in (p, p.grad)} == {device}
        assert isinstance(accuracy(replica, *pictures(device)), float)


@on_fake_gpu(reads=True)
def test_a_replica_of_a_decoder_adds_gradients_up_without_sending(device):
    ids = torch.zeros(2, 8, dtype=torch.long, device=device)
    with one_rank():
        replica = DataParallel(Decoder(Config(vocabulary=11, context=8, layers=1, heads=2, width=8)).to(device))
        with replica.no_sync():
            replica.loss(ids, ids).backward()
        replica.loss(ids, ids).backward()
    assert {p.grad.device for p in replica.parameters()} == {device}


@on_fake_gpu(reads=True)
def test_pictures_left_on_the_cpu_are_caught(device):
    with one_rank():
        replica = DataParallel(DigitsNet(width=2).to(device))
        with wrong_device():
            replica.loss(*pictures("cpu"))
