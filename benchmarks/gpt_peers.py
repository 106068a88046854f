"""The peers of `bench_transformer.py`: three GPTs of one shape, and the weights of ours copied into each.

All compute the same function of the same weights, so that a benchmark compares nothing but the way they do it.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class TextbookBlock(nn.Module):
    """A block as books print it: separate query, key and value, a mask that is looked up, scores in full."""

    def __init__(self, config):
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.register_buffer("mask", torch.tril(torch.ones(config.context, config.context)))

    def forward(self, x):
        batch, tokens, width = x.shape
        normal = self.norm1(x)
        cut = (batch, tokens, self.heads, width // self.heads)
        query = self.query(normal).view(cut).transpose(1, 2)
        key = self.key(normal).view(cut).transpose(1, 2)
        value = self.value(normal).view(cut).transpose(1, 2)
        scores = query @ key.transpose(-2, -1) / math.sqrt(width // self.heads)
        scores = scores.masked_fill(self.mask[:tokens, :tokens] == 0, float("-inf"))
        mixed = (F.softmax(scores, dim=-1) @ value).transpose(1, 2).contiguous().view(batch, tokens, width)
        x = x + self.output(mixed)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class FusedBlock(nn.Module):
    """A block as nanoGPT has it: one projection for query, key and value, and torch's fused attention."""

    def __init__(self, config):
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        parts = self.qkv(self.norm1(x)).split(width, dim=2)
        query, key, value = (part.view(batch, tokens, self.heads, -1).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.output(mixed.transpose(1, 2).contiguous().view(batch, tokens, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class PlainGPT(nn.Module):
    """Embeddings, blocks, and the cross entropy of all logits at once."""

    def __init__(self, config, block):
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def loss(self, ids, targets):
        logits = self(ids)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


def plain_names(ours):
    """The weights of our decoder under the flat names of the blocks here."""
    return {
        name.replace("attention.", "").replace("feedforward.", ""): value for name, value in ours.state_dict().items()
    }


def textbook(ours, config):
    """The textbook's GPT with the weights of ours."""
    state = {}
    for name, value in plain_names(ours).items():
        if "qkv" in name:
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                state[name.replace("qkv", part)] = piece
        else:
            state[name] = value
    model = PlainGPT(config, TextbookBlock)
    missing, extra = model.load_state_dict(state, strict=False)
    if extra or not all("mask" in name for name in missing):
        raise ValueError(f"weights do not fit: missing {missing}, extra {extra}")
    return model


def nano(ours, config):
    """A GPT like nanoGPT's with the weights of ours."""
    model = PlainGPT(config, FusedBlock)
    model.load_state_dict(plain_names(ours))
    return model


def transformers_gpt2(ours, config):
    """GPT-2 of the transformers library with torch's fused attention and the weights of ours."""
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = GPT2Config(
        vocab_size=config.vocabulary,
        n_positions=config.context,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        activation_function="gelu",
        attn_implementation="sdpa",
        use_cache=False,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    model = GPT2LMHeadModel(shape)
    names = {"norm1": "ln_1", "norm2": "ln_2", "attention.qkv": "attn.c_attn", "attention.output": "attn.c_proj"}
    names |= {"feedforward.up": "mlp.c_fc", "feedforward.down": "mlp.c_proj", "blocks.": "h."}
    state = {}
    for name, value in ours.state_dict().items():
        matrix = any(part in name for part in ("qkv", "output", "up", "down")) and value.ndim == 2
        for own, theirs in names.items():
            name = name.replace(own, theirs)
        name = {"tokens.weight": "wte.weight", "positions.weight": "wpe.weight"}.get(name, name)
        name = name.replace("norm.", "ln_f.") if name.startswith("norm.") else name
        key = "lm_head.weight" if name == "head.weight" else f"transformer.{name}"
        state[key] = value.T.contiguous() if matrix else value  # their Conv1D keeps its weight the other way round
    model.load_state_dict(state)
    # Their own loss shifts the labels; ours are shifted already.
    model.next_loss = lambda ids, targets: F.cross_entropy(model(ids).logits.flatten(0, 1), targets.flatten())
    return model


def loss_of(model):
    """The function of (ids, targets) that is to be made smaller."""
    return model.next_loss if hasattr(model, "next_loss") else model.loss


PEERS = {"textbook GPT": textbook, "like nanoGPT": nano, "transformers GPT-2": transformers_gpt2}
