"""Every function of labkit.attention makes what it needs on the device of its inputs, and waits for no value there."""

import pytest
import torch

from labkit import attention as lab
from labkit.attention import learned, tiled
from tests.fake_gpu import on_fake_gpu, wrong_device

BATCH, HEADS, TOKENS, DIM = 2, 4, 6, 8


def heads(device, number=HEADS, tokens=TOKENS):
    return torch.randn(BATCH, number, tokens, DIM, device=device, requires_grad=True)


def three(device):
    return [heads(device) for _ in range(3)]


def keys_there_are(device):
    return lab.padding_mask(torch.tensor([TOKENS, 3]).to(device), keys=TOKENS)


def backward(result, *inputs):
    """The gradients arrive where the inputs are."""
    result.sum().backward()
    assert {x.grad.device for x in inputs} == {result.device}


@on_fake_gpu
def test_softmax_and_cross_entropy(device):
    scores = torch.randn(5, 7, device=device, requires_grad=True)
    targets = torch.zeros(5, dtype=torch.long, device=device)
    backward(lab.softmax(scores), scores)
    backward(lab.cross_entropy(scores, targets), scores)
    probabilities = lab.softmax(scores.detach())
    assert lab.softmax_jacobian(probabilities).device == device
    assert lab.softmax_backward(probabilities, probabilities).device == device
    assert lab.cross_entropy_gradient(scores.detach(), targets).device == device
    with wrong_device():
        lab.cross_entropy(scores, targets.cpu())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@on_fake_gpu
def test_attention_and_its_backward_pass(device, causal, masked):
    query, key, value = three(device)
    mask = keys_there_are(device) if masked else None
    result = lab.attention(query, key, value, mask, causal=causal)
    backward(result, query, key, value)
    by_hand = lab.attention_backward(result.detach(), query.detach(), key.detach(), value.detach(), mask, causal=causal)
    assert {gradient.device for gradient in by_hand} == {device}


@on_fake_gpu
def test_a_mask_planted_on_the_cpu_is_caught(device):
    query, key, value = three(device)
    for mask in (lab.causal_mask(TOKENS), ~lab.causal_mask(TOKENS).T | torch.eye(TOKENS, dtype=torch.bool)):
        with wrong_device():
            lab.attention(query, key, value, mask)
    with wrong_device():
        lab.MultiHeadAttention(32, HEADS).to(device)(
            torch.randn(BATCH, TOKENS, 32, device=device), mask=keys_there_are("cpu")
        )


@on_fake_gpu
def test_masks(device):
    assert lab.causal_mask(3, 5, device=device).device == device
    mask = keys_there_are(device)
    assert mask.device == lab.may_attend(mask, "ignore").device == device
    lab.refuse_blind(mask)


@pytest.mark.parametrize("layout", ["half", "interleaved"])
@on_fake_gpu
def test_rotary_positions(device, layout):
    query = heads(device)
    angles = lab.rotary_angles(torch.arange(TOKENS, device=device), DIM)
    assert angles.device == device
    backward(lab.rotate(query, angles, layout), query)
    with wrong_device():
        lab.rotate(query, lab.rotary_angles(torch.arange(TOKENS), DIM), layout)


@on_fake_gpu(covers=("LearnedPositions",))
def test_all_other_positions(device):
    places = torch.arange(TOKENS, device=device)
    assert lab.sinusoidal(places, DIM).device == device
    bias = lab.alibi_bias(HEADS, TOKENS, device=device)
    query, key, value = three(device)
    backward(lab.attention(query, key, value, bias=bias, causal=True), query, key, value)
    table = lab.LearnedPositions(16, DIM).to(device)
    backward(table(places), table.weight)
    with wrong_device():
        table(torch.arange(TOKENS))
    weight = torch.randn(DIM * HEADS, DIM, device=device)
    assert lab.to_half_layout(lab.to_interleaved_layout(weight, HEADS), HEADS).device == device


@pytest.mark.parametrize("causal", [False, True])
@on_fake_gpu
def test_tiled_attention(device, causal):
    query, key, value = three(device)
    backward(tiled.tiled_attention(query, key, value, causal=causal, tile=4), query, key, value)
    maximum, total = tiled.online_softmax(torch.randn(3, 10, device=device), 4)
    assert maximum.device == total.device == device
    with wrong_device():
        tiled.tiled_attention(query, key.cpu(), value, causal=causal)


@pytest.mark.parametrize("kernel", ["fused", "plain", "tiled"])
@pytest.mark.parametrize("options", [{}, {"kv_heads": 2}, {"rotary_theta": 10_000.0}, {"bias": False, "head_dim": 4}])
@on_fake_gpu(covers=("MultiHeadAttention",))
def test_heads_with_every_kernel(device, kernel, options):
    module = lab.MultiHeadAttention(32, HEADS, kernel=kernel, **options).to(device)
    x = torch.randn(BATCH, TOKENS, 32, device=device, requires_grad=True)
    memory = torch.randn(BATCH, 9, 32, device=device)
    backward(module(x, causal=True), x, module.output.weight)
    backward(module(x, memory), x)
    assert module.weights(x, causal=True).device == device
    if kernel != "tiled":
        backward(module(x, mask=keys_there_are(device), causal=True), x)


@pytest.mark.parametrize("kernel", ["fused", "plain"])
@pytest.mark.parametrize("options", [{}, {"kv_heads": 2, "rotary_theta": 10_000.0}])
@on_fake_gpu
def test_a_cache(device, kernel, options):
    module = lab.MultiHeadAttention(32, HEADS, kernel=kernel, **options).to(device)
    cache = lab.KeyValueCache(BATCH, module.kv_heads, capacity=10, head_dim=8, device=device)
    for tokens in (4, 1, 3):
        x = torch.randn(BATCH, tokens, 32, device=device)
        assert module(x, causal=True, cache=cache).shape == x.shape
    assert cache.length == 8


@pytest.mark.parametrize("positions", ["learned", "rotary", "none"])
@on_fake_gpu(reads=True, covers=("AttentionOnly",))
def test_attention_that_is_learned(device, positions):
    model = learned.AttentionOnly(layers=1, width=16, positions=positions).to(device)
    assert len(learned.learn(model, learned.copy_task, 2, batch=4)) == 2
    ids, _ = learned.copy_task(4, torch.Generator().manual_seed(0))
    assert {weights.device for weights in model.weights(ids.to(device))} == {device}
    with wrong_device():
        model(ids)
