"""Compression stays on the device of the model, and what was left on the CPU is noticed."""

from contextlib import ExitStack, contextmanager
from unittest import mock

import torch
from torch import nn

from labkit.compression.awq import awq, effective
from labkit.compression.cache import quantized_cache
from labkit.compression.codebooks import decode, nf4
from labkit.compression.distillation import distillation_loss
from labkit.compression.gptq import gptq_model
from labkit.compression.grid import dequantize, quantize
from labkit.compression.integer import calibrate, to_int8
from labkit.compression.layers import CompressedLinear, inputs_of, linears
from labkit.compression.low_rank import LowRankLinear
from labkit.compression.pruning import magnitude, patterns, surgeon, wanda
from labkit.compression.smoothing import smooth
from labkit.compression.speculative import speculative_generate
from labkit.compression.training_aware import convert, with_fake_quantization
from labkit.compression.whole import compressed, fastest, round_model
from labkit.transformer import Config, Decoder, generate
from tests.fake_gpu import on_fake_gpu, wrong_device

CONFIG = Config(vocabulary=32, context=12, layers=1, heads=2, width=32, hidden=32)


def model_and_text(device):
    return Decoder(CONFIG).to(device).eval(), torch.randint(32, (4, 12), device=device)


@contextmanager
def nothing_is_wrong():
    """Without the guards that read a value and refuse when it is 1, as all is that is read from the device."""
    found = [mock.patch.object(torch.linalg, "cholesky_ex", never_fails)]
    found += [mock.patch.object(module, "check_scores", lambda scores: None) for module in (magnitude, patterns)]
    found += [mock.patch.object(wanda, "wanda_scores", lambda weight, norms: weight.abs() * norms)]
    found += [mock.patch("labkit.compression.low_rank._root", lambda gram, *how: gram)]
    found += [mock.patch("labkit.compression.integer.fingerprint", lambda model: "the same")]
    with ExitStack() as stack:
        for patch in found:
            stack.enter_context(patch)
        yield


def never_fails(matrix):
    """What `cholesky_ex` gives when all is well: what is read from the device is always 1, an error."""
    return torch.linalg.cholesky(matrix), torch.zeros((), dtype=torch.int)


def devices(model):
    return {tensor.device for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()}


@on_fake_gpu(reads=True)
def test_weights_are_rounded_where_they_are(device):
    weight = torch.randn(16, 32, device=device)
    for q in (quantize(weight, 4, group=16), quantize(weight, 8, symmetric=False, per="tensor")):
        assert q.codes.device == q.scale.device == dequantize(q).device == device
    assert decode(nf4(weight, 16)).device == device


@on_fake_gpu(reads=True, covers=("LowRankLinear",))
def test_methods_that_look_at_inputs_use_them_where_they_are(device):
    model, ids = model_and_text(device)
    found = inputs_of(model, lambda: model(ids), gram=True)
    name, layer = next(iter(linears(model).items()))
    inputs, weight = found[name], layer.weight.detach()
    assert effective(awq(weight, inputs, 4)).device == device
    with nothing_is_wrong():
        assert {q.codes.device for q in gptq_model(model, lambda: model(ids), 4, 32).values()} == {device}
        assert surgeon.sparsegpt(weight, inputs.gram, 0.5).device == device
        assert wanda.wanda_mask(weight, wanda.norms_of(inputs), 0.5).device == device
        assert LowRankLinear.from_linear(layer, 4, inputs.gram)(torch.ones(1, 32, device=device)).device == device
    assert devices(smooth(model, found)) == {device}


@on_fake_gpu(reads=True)
def test_masks_are_where_the_weights_are(device):
    weight = torch.randn(8, 16, device=device)
    with nothing_is_wrong():
        masks = magnitude.element(weight, 0.5), magnitude.structured(weight, 0.5), patterns.n_of_m(weight.abs())
    assert {mask.device for mask in masks} == {device}
    places = torch.zeros(16, dtype=torch.uint8, device=device)  # 8 × 4 groups, twice 2 bits in each
    assert patterns.PackedNM(weight[:, :8], places, 2, 4).unpacked().device == device


@on_fake_gpu(reads=True, covers=("CompressedLinear", "Int8Linear"))
def test_a_compressed_model_writes(device):
    model, ids = model_and_text(device)
    for bits, group in ((8, None), (4, 32)):
        for layer in (CompressedLinear, fastest):
            smaller = compressed(model, round_model(model, bits, group), layer)
            assert devices(smaller) == {device}
            assert generate(smaller, ids[:1, :4], 3).device == device
    with nothing_is_wrong():
        assert to_int8(model, calibrate(model, lambda: model(ids)))(ids).device == device
    with quantized_cache(model, 4, group=16) as narrow:
        assert generate(narrow, ids[:1, :4], 3).device == device
    with wrong_device():
        model(ids.cpu())


@on_fake_gpu(reads=True)
def test_drafts_are_judged_where_the_models_are(device):
    model, ids = model_and_text(device)
    said = speculative_generate(model, Decoder(CONFIG).to(device).eval(), ids[:1, :4], 4, drafts=2, temperature=1.0)
    assert said.ids.device == device


@on_fake_gpu(reads=True, covers=("FakeQuantLinear",))
def test_rounding_and_students_learn(device):
    model, ids = model_and_text(device)
    learner = with_fake_quantization(model, 4)
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    loss = distillation_loss(learner(ids).flatten(0, 1), model(ids).detach().flatten(0, 1), ids.flatten())
    loss.backward()
    optimizer.step()
    assert devices(learner) == devices(convert(learner)) == {device}
    with wrong_device():
        distillation_loss(nn.Linear(2, 2)(torch.ones(1, 2)), torch.ones(1, 2, device=device), ids[0, :1])
