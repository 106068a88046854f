"""The part of a model that one rank has stays on its device: cut by tensors, tokens, experts and stages."""

from unittest import mock

import pytest
import torch

from labkit.model_parallel import schedules
from labkit.model_parallel.activations import ParallelPaperLayer
from labkit.model_parallel.context import all_tokens, own_tokens, ring_attention
from labkit.model_parallel.decoder import ParallelAttention, ParallelDecoder, ParallelFeedForward
from labkit.model_parallel.experts import Experts, ParallelExperts
from labkit.model_parallel.pipeline import Later
from labkit.model_parallel.sequence import SequenceColumnLinear, SequenceRowLinear, SlicedDropout
from labkit.model_parallel.sleeping import SleepingStage
from labkit.model_parallel.stages import DecoderStage, SplitLinear, pipeline_decoder
from labkit.model_parallel.tensor import ColumnLinear, RowLinear
from labkit.model_parallel.vocabulary import VocabularyEmbedding, vocabulary_cross_entropy
from labkit.transformer import Config, Decoder
from tests.fake_gpu import on_fake_gpu, wrong_device
from tests.fake_ranks import one_rank

CONFIG = Config(vocabulary=32, context=8, layers=2, heads=2, width=16, dropout=0.1)


def ids(device):
    return torch.zeros(2, 8, dtype=torch.long, device=device)


def stream(device, tokens=8):
    return torch.randn(2, tokens, 16, device=device, requires_grad=True)


def backward(result, *modules):
    """Every gradient is where the result is."""
    result.sum().backward()
    assert {p.grad.device for module in modules for p in module.parameters()} == {result.device}


@pytest.mark.parametrize("sequence", [False, True])
@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@on_fake_gpu(covers=("ParallelDecoder", "VocabularyEmbedding"))
def test_a_decoder_cut_by_tensors_trains(sequence, activation, device):
    config = Config(32, 8, 1, 2, 16, activation=activation, positions="rotary", dropout=0.1)
    with one_rank():
        model = ParallelDecoder(config, sequence=sequence, agree=False).to(device)
        backward(model.loss(ids(device), ids(device)), model)
        assert model(ids(device)).shape == (2, 8, 32)
        with wrong_device():
            model.loss(ids(device), ids("cpu"))


@on_fake_gpu(
    covers=(
        "ColumnLinear",
        "ParallelAttention",
        "ParallelFeedForward",
        "ParallelPaperLayer",
        "RowLinear",
        "SequenceColumnLinear",
        "SequenceRowLinear",
        "SlicedDropout",
    )
)
def test_layers_cut_by_tensors(device):
    with one_rank():
        for columns, rows in ((ColumnLinear, RowLinear), (SequenceColumnLinear, SequenceRowLinear)):
            up, down = columns(16, 32).to(device), rows(32, 16).to(device)
            backward(down(torch.relu(up(stream(device)))), up, down)
        attention, feedforward = ParallelAttention(CONFIG).to(device), ParallelFeedForward(CONFIG).to(device)
        backward(feedforward(attention(stream(device), causal=True)), attention, feedforward)
        for sequence in (False, True):
            layer = ParallelPaperLayer(16, 2, sequence=sequence).to(device)
            backward(layer(stream(device)), layer)
        assert SlicedDropout(0.5)(stream(device)).device == device


@on_fake_gpu
def test_a_vocabulary_cut_by_words(device):
    with one_rank():
        table = VocabularyEmbedding(32, 16).to(device)
        backward(table(ids(device)), table)
        logits = torch.randn(2, 8, 16, device=device, requires_grad=True)
        vocabulary_cross_entropy(logits, ids(device)).backward()
        assert logits.grad.device == device
        with wrong_device():
            vocabulary_cross_entropy(logits, ids("cpu"))


@pytest.mark.parametrize("order", ["zigzag", "contiguous", "striped"])
@on_fake_gpu
def test_attention_around_a_ring(order, device):
    with one_rank():
        whole = [torch.randn(2, 2, 8, 4, device=device) for _ in range(3)]
        own = [own_tokens(x, order=order).requires_grad_() for x in whole]
        ring_attention(*own, causal=True, order=order).sum().backward()
        assert {x.grad.device for x in own} == {device} == {all_tokens(own[0], order=order).device}


@pytest.mark.parametrize("k", [1, 2])
@on_fake_gpu(reads=True, covers=("Experts", "ParallelExperts"))
def test_experts(k, device):
    alone = Experts(16, 32, 4, k=k).to(device)
    y, loss = alone(torch.randn(12, 16, device=device))
    backward(y.sum() + loss, alone)
    with one_rank():
        shared = ParallelExperts(16, 32, 4, k=k, agree=False).to(device)
        y, loss = shared(torch.randn(12, 16, device=device))
        assert y.device == loss.device == device


@on_fake_gpu(covers=("DecoderStage", "SplitLinear", "SleepingStage"))
def test_stages_of_a_decoder(device):
    whole = Decoder(CONFIG).to(device)
    first, last = DecoderStage(whole, range(1), True, False), DecoderStage(whole, range(1, 2), False, True)
    backward(last(first(ids(device)), ids(device)), first, last)
    later, linear = Later(), torch.nn.Linear(16, 4).to(device)
    SplitLinear(linear, later)(stream(device)).sum().backward()
    for work in later.take():
        work()
    assert linear.weight.grad.device == device
    assert SleepingStage({"F": 0.0, "B": 0.0, "W": 0.0}).to(device)(torch.ones(1, device=device)).device == device


@pytest.mark.parametrize("rank", [0, 1])
@on_fake_gpu(reads=True)
def test_a_pipeline_steps_with_its_messages_on_the_device(rank, device):
    with one_rank(rank=rank), mock.patch("labkit.model_parallel.stages.device", lambda: device):
        pipe = pipeline_decoder(CONFIG, schedules.one_f_one_b(2, 2))
        assert pipe.step(ids("cpu"), ids("cpu")).device == device
