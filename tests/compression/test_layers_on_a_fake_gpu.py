"""Layers that stand in for linear ones compute where they are."""

import torch
from torch import nn

from labkit.compression.codebook_linear import CodebookLinear
from labkit.compression.codebooks import nf4
from labkit.compression.embeddings import CompressedEmbedding, TiedHead
from labkit.compression.grid import quantize
from labkit.compression.integer import Affine, IntegerLinear, from_codes, to_codes
from labkit.compression.linear4 import Linear4
from labkit.compression.linear8 import Linear8
from labkit.compression.low_rank import LoRALinear
from labkit.compression.pruning.structure import PrunedDecoder, remove_heads
from labkit.compression.sparse import SparseLinear
from labkit.compression.speculative import Bigram, speculative_generate
from labkit.compression.students import Reader
from labkit.transformer import Config, Decoder, Encoder, PaperLayer, generate
from tests.fake_gpu import on_fake_gpu, wrong_device

CONFIG = Config(vocabulary=11, context=12, layers=2, heads=2, width=16)


@on_fake_gpu(reads=True, covers=("LoRALinear", "CodebookLinear", "SparseLinear"))
def test_a_layer_in_place_of_a_linear_one(device):
    linear, x = nn.Linear(32, 16).to(device), torch.randn(2, 32, device=device)
    beside = LoRALinear(linear, 2)
    beside(x).sum().backward()
    assert beside.down.grad.device == beside.change().device == device
    assert CodebookLinear(nf4(torch.randn(16, 32, device=device), 16))(x).device == device
    assert SparseLinear(nn.Linear(32, 16).to(device))(x).device == device


@on_fake_gpu(covers=("PaperLayer", "Reader"))
def test_the_layer_of_the_paper_and_a_reader(device):
    x = torch.randn(2, 8, 16, device=device)
    assert PaperLayer(16, 2).to(device)(x).device == device
    reader = Reader(Encoder(Config(11, 8, 1, 2, 16)), nn.Linear(16, 3)).to(device)
    ids, mask = torch.zeros(2, 8, dtype=torch.long, device=device), torch.ones(2, 8, dtype=torch.bool, device=device)
    assert reader(ids, mask).device == device


@on_fake_gpu(reads=True, covers=("Linear4", "Linear8", "CompressedEmbedding", "TiedHead"))
def test_layers_that_keep_codes(device):
    weight, x = torch.randn(16, 32, device=device), torch.randn(2, 32, device=device)
    assert Linear4(quantize(weight, 4, group=32))(x).device == Linear8(quantize(weight, 8))(x).device == device
    table = CompressedEmbedding(quantize(weight, 8))
    rows = table(torch.zeros(3, dtype=torch.long, device=device))
    assert rows.device == TiedHead(table)(rows).device == device
    with wrong_device():
        Linear8(quantize(weight.cpu(), 8))(x)


@on_fake_gpu(reads=True, covers=("IntegerLinear",))
def test_whole_numbers_alone(device):
    x, ranges = torch.randn(2, 32, device=device), (Affine(0.1, 3), Affine(0.5, -3))
    weight, bias = torch.randn(16, 32, device=device), torch.randn(16, device=device)
    codes = IntegerLinear(weight, bias, *ranges, relu=True)(to_codes(x, ranges[0]))
    assert codes.dtype == torch.int8 and from_codes(codes, ranges[1]).device == device
    moved = IntegerLinear(weight.cpu(), bias.cpu(), *ranges).to(device)
    assert moved(to_codes(x, ranges[0])).device == device
    with wrong_device():
        IntegerLinear(weight, bias.cpu(), *ranges)


@on_fake_gpu(reads=True, covers=("PrunedDecoder",))
def test_a_decoder_with_blocks_of_two_sizes(device):
    pruned = remove_heads(Decoder(CONFIG).to(device).eval(), {0: [1]})
    assert isinstance(pruned, PrunedDecoder) and {cache.keys.device for cache in pruned.new_cache(1)} == {device}
    ids = torch.zeros(1, 4, dtype=torch.long, device=device)
    assert pruned(ids, cache=pruned.new_cache(1)).device == generate(pruned, ids, 3).device == device


@on_fake_gpu(reads=True, covers=("Bigram",))
def test_a_draft_that_counts(device):
    text, target = torch.zeros(30, dtype=torch.long, device=device), Decoder(CONFIG).to(device).eval()
    draft = Bigram(text, CONFIG.vocabulary)
    assert draft.table.device == speculative_generate(target, draft, text[None, :4], 4, drafts=2).ids.device == device
    with wrong_device():
        speculative_generate(target, Bigram(text.cpu(), CONFIG.vocabulary), text[None, :4], 4, drafts=2)
