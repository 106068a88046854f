"""The block: against torch's encoder and decoder layers with the same weights, norm first and norm last."""

import pytest
import torch
from torch import nn

from labkit.attention import causal_mask
from labkit.transformer import Block, Config, LayerNorm

SIZES = {"vocabulary": 5, "context": 16, "layers": 1, "heads": 3, "width": 12}
THEIR_NAMES = {
    "self_attn.in_proj_": "attention.qkv.",
    "self_attn.out_proj": "attention.output",
    "multihead_attn.in_proj_": "cross.qkv.",
    "multihead_attn.out_proj": "cross.output",
    "linear1": "feedforward.up",
    "linear2": "feedforward.down",
}
# torch numbers the norms in the order of the sublayers: with cross-attention its second is that of `cross`.
NORMS = {False: {}, True: {"norm2": "norm_cross", "norm3": "norm2"}}


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def our_name(name, cross):
    """The name that we have for a weight of torch's layer."""
    for old, new in THEIR_NAMES.items():
        name = name.replace(old, new)
    head, _, rest = name.partition(".")
    return f"{NORMS[cross].get(head, head)}.{rest}"


def agree(theirs, cross, changes, inputs, of_ours, of_theirs):
    """Torch's layer with random weights, and ours with the same: values, and the gradients of inputs and weights."""
    with torch.no_grad():
        for n, parameter in enumerate(theirs.parameters()):
            parameter.copy_(numbers(*parameter.shape, seed=n) / 3)
    ours = Block(Config(**SIZES, **changes), cross=cross).double()
    ours.load_state_dict({our_name(name, cross): weight for name, weight in theirs.state_dict().items()})
    results, gradients = [], []
    for module, function in ((ours, of_ours), (theirs, of_theirs)):
        leaves = [x.clone().requires_grad_() for x in inputs]
        results.append(function(module, *leaves))
        results[-1].backward(numbers(*results[-1].shape, seed=99))
        gradients.append([x.grad for x in leaves])
    own = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        gradients[0].append(own.pop(our_name(name, cross)).grad)
        gradients[1].append(parameter.grad)
    assert not own
    for a, b in zip([results[0], *gradients[0]], [results[1], *gradients[1]], strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_block_is_torchs_encoder_layer_with_the_same_weights(norm_first, activation, bias):
    theirs = nn.TransformerEncoderLayer(
        12, 3, 48, 0.0, activation, batch_first=True, norm_first=norm_first, bias=bias, dtype=torch.float64
    )
    padding = torch.tensor([[False] * 7, [False] * 4 + [True] * 3])  # their True: do not look
    agree(
        theirs,
        False,
        {"norm_first": norm_first, "activation": activation, "bias": bias},
        [numbers(2, 7, 12)],
        lambda block, x: block(x, ~padding[:, None, None, :]),
        lambda layer, x: layer(x, src_key_padding_mask=padding),
    )


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_block_with_cross_attention_is_torchs_decoder_layer(norm_first):
    theirs = nn.TransformerDecoderLayer(
        12, 3, 48, 0.0, "relu", batch_first=True, norm_first=norm_first, dtype=torch.float64
    )
    padding = torch.tensor([[False] * 5, [False] * 2 + [True] * 3])
    agree(
        theirs,
        True,
        {"norm_first": norm_first, "activation": "relu"},
        [numbers(2, 7, 12), numbers(2, 5, 12, seed=1)],
        lambda block, x, memory: block(x, causal=True, memory=memory, memory_mask=~padding[:, None, None, :]),
        lambda layer, x, memory: layer(x, memory, tgt_mask=~causal_mask(7), memory_key_padding_mask=padding),
    )


def test_before_it_is_trained_to_add_a_pre_norm_block_leaves_the_stream_alone():
    block = Block(Config(**SIZES))
    with torch.no_grad():
        for parameter in (*block.attention.output.parameters(), *block.feedforward.down.parameters()):
            parameter.zero_()
    x = numbers(2, 5, 12).float()
    assert torch.equal(block(x), x)


def test_a_post_norm_block_ends_in_a_norm():
    x = Block(Config(**SIZES, norm_first=False))(numbers(2, 5, 12).float() * 100)
    assert torch.allclose(x, LayerNorm(12)(x), atol=1e-4)
    assert torch.allclose(x.square().mean(dim=-1), torch.ones(2, 5), atol=1e-3)


@pytest.mark.parametrize("norm_first", [True, False])
def test_the_attention_map_is_what_the_block_attends_with(norm_first):
    seen = []

    def kernel(query, key, value, mask, causal):
        seen.append((query @ key.transpose(-1, -2) / 2).masked_fill(~causal_mask(5), -torch.inf).softmax(dim=-1))
        return seen[-1] @ value

    block, x = Block(Config(**SIZES, norm_first=norm_first, kernel=kernel)), numbers(2, 5, 12).float()
    block(x, causal=True)
    assert torch.allclose(block.attention_map(x, causal=True), seen[0], atol=1e-6)


def test_dropout_falls_on_what_is_added_and_only_in_training():
    block, x = Block(Config(**SIZES, dropout=0.5)), numbers(2, 5, 12).float()
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


def test_memory_and_cross_attention_come_together_or_not_at_all():
    x = numbers(2, 5, 12).float()
    with pytest.raises(ValueError, match="cross=True needs memory"):
        Block(Config(**SIZES), cross=True)(x)
    with pytest.raises(ValueError, match="one without takes none"):
        Block(Config(**SIZES))(x, memory=x)
