"""Every kind of compressed layer in a file: read in a fresh process with the same outputs, refused when it lies."""

import copy
import json
import math
import subprocess
import sys
from functools import cache, partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from labkit.compression.codebook_linear import CodebookLinear
from labkit.compression.codebooks import cluster, nf4
from labkit.compression.files import load_compressed, read_compressed, save_compressed
from labkit.compression.grid import Quantized, quantize
from labkit.compression.integer import Affine, Int8Linear, calibrate, to_int8
from labkit.compression.layers import CompressedLinear, linears, swap
from labkit.compression.linear4 import Linear4
from labkit.compression.linear8 import Linear8
from labkit.compression.low_rank import LowRankLinear
from labkit.compression.places import from_bitmap, mask_of, put_back, take_apart, to_bitmap
from labkit.compression.pruning.blocks import prune_model
from labkit.compression.pruning.patterns import PackedNM, n_of_m
from labkit.compression.pruning.structure import PrunedDecoder, remove_heads, remove_hidden, remove_layers
from labkit.compression.sparse import SparseLinear, leave_zeros_out
from labkit.compression.whole import compressed, fastest, round_model
from labkit.training.packing import digest
from labkit.transformer import Config, Decoder, Encoder

IDS = torch.arange(12)[None] * 5 % 64
LLAMA = {"norm": "rms", "activation": "swiglu", "positions": "rotary", "bias": False}


def small(kind=Decoder, **options):
    return kind(Config(64, context=32, layers=2, heads=4, width=64, **options), seed=0).eval()


def swapped(model, make):
    """A copy of a model with every linear layer made into another."""
    model = copy.deepcopy(model)
    for name, layer in linears(model).items():
        swap(model, name, make(layer))
    return model


def pruned(model, pattern=None):
    model = copy.deepcopy(model)
    prune_model(model, None, "magnitude", 0.5, pattern=pattern)
    leave_zeros_out(model, pattern)
    return model


def by_book(layer, make):
    return CodebookLinear(make(layer.weight.detach()), layer.bias)


def uneven(model):
    return remove_hidden(remove_heads(model, {0: [1, 3]}), {0: range(32), 1: [5]})


def in_codes(model, bits, group=None, layer=fastest, table=8):
    return compressed(model, round_model(model, bits, group, embedding_bits=table), layer)


@cache
def all_models():
    llama, bert = small(**LLAMA), small(Encoder)
    thin = swapped(llama, lambda layer: LowRankLinear.from_linear(layer, 16))
    few = small(kv_heads=2, **LLAMA)
    return {
        "bitmap": pruned(llama),
        "bitmap, biases": pruned(bert),
        "bitmap, 4 bits": in_codes(pruned(llama), 4, 64),
        "bitmap, 3 bits from floats": in_codes(pruned(bert), 3, 16, CompressedLinear),
        "bitmap, 8 bits": in_codes(pruned(llama), 8),
        "2:4": pruned(llama, (2, 4)),
        "1:3 of 96": pruned(Decoder(Config(64, context=32, layers=1, heads=4, width=96, bias=False)).eval(), (1, 3)),
        "2:4, 8 bits": in_codes(pruned(bert, (2, 4)), 8),
        "NF4": swapped(llama, partial(by_book, make=nf4)),
        "NF4, double": swapped(bert, partial(by_book, make=partial(nf4, double=True))),
        "k-means of rows": swapped(bert, partial(by_book, make=partial(cluster, bits=3, rounds=5))),
        "k-means of all": swapped(llama, partial(by_book, make=partial(cluster, bits=4, per="tensor", rounds=5))),
        "k-means of groups": swapped(llama, partial(by_book, make=partial(cluster, bits=2, group=32, rounds=5))),
        "low rank": thin,
        "low rank, 8 bits": in_codes(thin, 8),
        "low rank, biases": swapped(bert, lambda layer: LowRankLinear.from_linear(layer, 8)),
        "W8A8": to_int8(compressed(llama, {"tokens": quantize(llama.tokens.weight, 8)})),
        "W8A8, static": to_int8(bert, calibrate(bert, lambda: bert(IDS))),
        "heads and units": uneven(llama),
        "heads and units of a reader": uneven(bert),
        "heads, 4 bits": in_codes(remove_heads(few, {0: [1]}), 4, 32),
        "heads, bitmap": pruned(uneven(llama)),
        "heads of all": remove_heads(llama, {0: [1], 1: [2]}),
        "one layer": remove_layers(uneven(llama), [0]),
    }


PROGRAM = """
import sys, torch
from pathlib import Path
from labkit.compression.files import load_compressed
ids, out = torch.arange(12)[None] * 5 % 64, {}
with torch.no_grad():
    for path in Path(sys.argv[1]).glob("*.safetensors"):
        model = load_compressed(path)
        out[path.stem] = [model(ids), model(ids[:, :1])]
torch.save(out, sys.argv[2])
sys.exit("torch._dynamo" in sys.modules)  # torch's compiler: not needed to read a file, and 2 s to import
"""


def test_all_kinds_compute_the_same_in_a_fresh_process(tmp_path):
    models = all_models()
    for name, model in models.items():
        save_compressed(model, tmp_path / f"{name}.safetensors")
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path), str(tmp_path / "out.pt")], check=True, timeout=120)
    found = torch.load(tmp_path / "out.pt")
    with torch.no_grad():
        for name, model in models.items():
            assert torch.equal(found[name][0], model(IDS)), name
            assert torch.equal(found[name][1], model(IDS[:, :1])), name
    again = load_compressed(tmp_path / "heads, bitmap.safetensors")
    assert type(again) is PrunedDecoder and again.new_cache(1)[0].keys.shape[1] == 2
    assert type(again.blocks[0].attention.qkv) is SparseLinear
    inner = load_compressed(tmp_path / "bitmap, 4 bits.safetensors").blocks[0].attention.qkv.inner
    assert type(inner) is Linear4


@pytest.mark.parametrize("name", ["bitmap, biases", "bitmap, 4 bits", "2:4", "2:4, 8 bits", "NF4", "k-means of rows"])
def test_bytes_of_a_layer_are_those_of_its_tensors_in_the_file(tmp_path, name):
    model = all_models()[name]
    path = save_compressed(model, tmp_path / "m.safetensors")
    with safe_open(path, framework="pt") as file:
        sizes = {key: file.get_tensor(key).nbytes for key in file.keys()}  # noqa: SIM118
    for layer_name, layer in read_compressed(path).layers.items():
        assert layer.nbytes == sum(size for key, size in sizes.items() if key.startswith(f"{layer_name}."))


def test_by_hand_a_pruned_layer_takes_its_weights_and_a_bit_for_each_place():
    weight = torch.zeros(4, 8)
    weight[0, :4] = torch.tensor([1.0, 2.0, 3.0, -7.0])
    layer = nn.Linear(8, 4)
    layer.weight.data = weight
    assert SparseLinear(layer).nbytes == 4 * 4 + 32 // 8 + 4 * 4
    codes = Linear8(quantize(weight, 4), layer.bias)  # 1, 2, 3, −7 in four bits each
    assert SparseLinear(codes).nbytes == 4 * 4 // 8 + 32 // 8 + 4 * 4 + 4 * 4
    places, values = take_apart(weight, None)
    assert places.tolist() == [15, 0, 0, 0] and values.tolist() == [1, 2, 3, -7]


def test_two_of_four_take_half_of_the_codes_and_two_bits_for_each():
    weight = torch.randn(16, 64)
    weight = weight * n_of_m(weight.abs())
    layer = SparseLinear(CompressedLinear(quantize(weight, 8)), (2, 4))
    assert layer.nbytes == 16 * 32 * (8 + 2) / 8 + 4 * 16
    places, _ = take_apart(weight, (2, 4))
    assert torch.equal(places, PackedNM.from_weight(weight).places)


@given(st.integers(1, 9), st.integers(1, 19), st.floats(0, 1), st.integers(0, 99))
def test_a_bitmap_and_its_values_are_read_back(rows, columns, share, seed):
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=draw) * (torch.rand(rows, columns, generator=draw) < share)
    places, values = take_apart(weight, None)
    assert len(places) == math.ceil(rows * columns / 8)
    assert torch.equal(put_back(values, mask_of(places, (rows, columns), None)), weight)
    assert torch.equal(from_bitmap(to_bitmap(weight > 0), (rows, columns)), weight > 0)


@given(st.integers(1, 16).flatmap(lambda m: st.tuples(st.integers(1, m), st.just(m))), st.integers(1, 5))
def test_every_pattern_is_read_back(pattern, rows):
    weight = torch.randn(rows, 3 * pattern[1])
    weight = weight * n_of_m(weight.abs(), *pattern)
    places, values = take_apart(weight, pattern)
    assert torch.equal(put_back(values, mask_of(places, tuple(weight.shape), pattern)), weight)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floats_stay_what_they_are(tmp_path, dtype):
    model = nn.Sequential(*(nn.Linear(32, 32) for _ in range(4)))
    with torch.no_grad():
        model[0].weight.mul_(n_of_m(model[0].weight.abs()))
    model[0], model[1] = SparseLinear(model[0], (2, 4)), SparseLinear(CompressedLinear(quantize(model[1].weight, 4)))
    model[2], model[3] = by_book(model[2], partial(nf4, group=32)), Int8Linear(model[3].weight, model[3].bias)
    model = model.to(dtype)
    build = lambda _: nn.Sequential(*(nn.Linear(32, 32, bias=i != 1) for i in range(4)))  # noqa: E731
    again = load_compressed(save_compressed(model, tmp_path / "x.safetensors"), build)
    x = torch.randn(3, 32, dtype=dtype)
    assert torch.equal(again(x), model(x)) and again(x).dtype == dtype


def test_tensors_begin_where_those_of_torch_do_whatever_the_length_of_the_header(tmp_path):
    found = load_compressed(save_compressed(pruned(small(**LLAMA)), tmp_path / "x.safetensors"))
    assert {weight.data_ptr() % 64 for weight in found.state_dict().values()} == {0}


def test_a_pruned_model_is_quantized_inside_and_zeros_stay_out(tmp_path):
    half = pruned(small(**LLAMA))
    both = in_codes(half, 4, 64)
    sizes = [save_compressed(m, tmp_path / "x.safetensors").stat().st_size for m in (half, both, in_codes(small(), 4))]
    assert sizes[1] < sizes[0]
    for name, part in both.named_modules():
        if isinstance(part, SparseLinear):
            assert not part.inner.quantized.codes[half.get_submodule(name).weight == 0].any()


LAYER = "blocks.0.attention.qkv"


def rewritten(path, change=lambda about: None, tensors=lambda found: None):
    """The file with another header or other tensors, signed anew as a liar would."""
    with safe_open(path, framework="pt") as file:
        found, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    about = json.loads(metadata["labkit.compressed"])
    change(about)
    tensors(found)
    text = json.dumps(about)
    path.write_bytes(save(found, {"labkit.compressed": text, "sha256": digest(found, text)}))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    models = all_models()
    kinds = ("bitmap", "bitmap, 4 bits", "2:4", "1:3 of 96", "NF4", "k-means of rows")
    kinds += ("low rank", "W8A8", "W8A8, static", "heads and units")
    folder = tmp_path_factory.mktemp("kinds")
    return {name: save_compressed(models[name], folder / f"{name}.safetensors").read_bytes() for name in kinds}


def said(**changes):
    return lambda about: about["layers"][LAYER].update(changes)


def inner(**changes):
    return lambda about: about["layers"][LAYER]["inner"].update(changes)


def blocks(sizes):
    return lambda about: about["skeleton"].update(blocks=sizes)


def thin(sizes, name=LAYER):
    return lambda about: about["skeleton"]["thin"].update({name: sizes})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("bitmap", said(shape=[192, 65]), r"takes 1,560 bytes, but 1,536 are there"),
        ("bitmap", said(shape=[10**12, 10**12]), "but 1,536 are there"),
        ("bitmap", said(shape=[64, 192]), r"is \(64, 192\), but the model has \(192, 64\)"),
        ("bitmap", said(shape=[-192, -64]), "2 whole numbers of at least 1"),
        ("bitmap", said(shape=[True, 64]), "2 whole numbers of at least 1"),
        ("bitmap", said(shape=None), "2 whole numbers of at least 1"),
        ("bitmap", said(kind="os.system"), "is a 'os.system'"),
        ("bitmap", said(kind=["SparseLinear"]), "the kinds are"),
        ("bitmap", said(dtype="int8"), "dtype = 'int8'"),
        ("bitmap", said(dtype="float64"), "values are torch.float32"),
        ("bitmap", said(pattern=[2, 4]), "not different ones in order"),
        ("bitmap", said(pattern="2:4"), "pattern = '2:4'"),
        ("bitmap", said(inner={"kind": "Linear8", "bits": 8, "group": None}), "there are no scale"),
        ("bitmap", lambda about: about["layers"].update({LAYER: 3}), "is a 3"),
        ("bitmap", lambda about: about.update(layers=[]), "without parts"),
        ("bitmap", lambda about: about["layers"].update(more=about["layers"][LAYER]), "no 'places'"),
        ("bitmap, 4 bits", inner(kind="CompressedEmbedding"), "'CompressedEmbedding' is no linear layer"),
        ("bitmap, 4 bits", inner(kind=[]), "is no linear layer"),
        ("bitmap, 4 bits", inner(bits=5), "bytes, but shape"),
        ("bitmap, 4 bits", inner(bits=9), "bits = 9"),
        ("bitmap, 4 bits", inner(group=7), "group = 7 does not divide"),
        ("bitmap, 4 bits", inner(group=0), "group = 0 does not divide"),
        ("bitmap, 4 bits", inner(group=32), "scale are"),
        ("2:4", said(pattern=None), "places are marked as kept"),
        ("2:4", said(pattern=[3, 4]), "places of 3 of 4"),
        ("2:4", said(pattern=[4, 2]), "4 of 2 is no pattern"),
        ("2:4", said(pattern=[1, 3]), "1 of 3 is no pattern of rows of 64"),
        ("NF4", said(bits=3), "codes are torch.uint8"),
        ("NF4", said(bits="4"), "bits = '4'"),
        ("NF4", said(group=32), "scale are"),
        ("NF4", said(group=5), "group = 5"),
        ("NF4", said(shape=[10**12, 10**12]), "codes are torch.uint8"),
        ("k-means of rows", said(group=32), "192 rows of levels for 192 × 64 weights in groups of 32"),
        ("W8A8", said(shape=[64, 192]), "codes are torch.int8"),
        ("W8A8", said(bits=4), "4 bits in groups of None"),
        ("W8A8, static", said(inputs=[0.0, 0]), "a step above 0"),
        ("W8A8, static", said(inputs=[float("nan"), 0]), "a step above 0"),
        ("W8A8, static", said(inputs=[0.5, 300]), "a step above 0"),
        ("W8A8, static", said(inputs=[0.5]), "not enough values"),
        ("heads and units", blocks([[2, 2, 32]]), "1 blocks are described, but the model has 2"),
        ("heads and units", blocks([[2, 2, 32], [4, 4]]), "block 1 = "),
        ("heads and units", blocks([[3, 2, 32], [4, 4, 160]]), "3 heads for 2"),
        ("heads and units", blocks([[1, 1, 32], [4, 4, 160]]), "of another model"),
        ("heads and units", blocks([[10**18, 10**18, 32], [4, 4, 160]]), "of another model"),
        ("heads and units", blocks(7), "of another model, or its header lies"),
        ("heads and units", lambda about: about.pop("skeleton"), "of another model"),
        ("low rank", thin([192, 17, 64]), "of another model"),
        ("low rank", thin([192, 10**15, 64]), "of another model"),
        ("low rank", thin([191, 16, 64]), "no linear layer blocks.0.attention.qkv of 191 × 64"),
        ("low rank", thin([192, 16, 64], "tokens"), "no linear layer tokens"),
        ("low rank", lambda about: about["skeleton"].update(thin=[]), "of another model"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, files, name, change, message):
    path = tmp_path / "lie.safetensors"
    path.write_bytes(files[name])
    rewritten(path, change)
    with pytest.raises(ValueError, match=message):
        load_compressed(path)


def put(key, make):
    return lambda found: found.update({f"{LAYER}.{key}": make(found.get(f"{LAYER}.{key}"))})


@pytest.mark.parametrize(
    ("name", "tensors", "message"),
    [
        ("bitmap", put("places", lambda x: x ^ 1), r"6,1\d\d places are marked as kept, but there are 6,144 values"),
        ("bitmap", put("places", lambda x: x[1:]), "takes 1,536 bytes, but 1,535 are there"),
        ("bitmap", put("places", lambda x: x.int()), "not bytes"),
        ("bitmap", put("places", lambda x: x.view(2, -1)), "not bytes"),
        ("bitmap", put("values", lambda x: x[1:]), "6,143 values"),
        ("bitmap", put("values", lambda x: x * float("nan")), "not all finite"),
        ("bitmap", put("more", lambda _: torch.zeros(1)), "it has no more"),
        ("bitmap", put("bias", lambda _: torch.zeros(192)), "a bias in one of the two only"),
        ("bitmap", put("bias", lambda _: torch.zeros(3)), "bias are"),
        ("bitmap", lambda found: found.pop(f"{LAYER}.values"), "there is no 'values'"),
        ("bitmap, 4 bits", put("values", lambda x: x[1:]), "bytes, but shape"),
        ("bitmap, 4 bits", put("scale", lambda x: x / 0), "not all finite"),
        ("2:4", put("places", lambda x: x * 0), "not different ones in order"),
        ("2:4", put("places", lambda x: x[1:]), "but 1,535 are there"),
        ("1:3 of 96", put("places", lambda x: x | 255), "not different ones in order, 0 to 2"),
        ("NF4", put("levels", lambda x: x[:, :15].clone()), r"levels are torch.float32 of shape \(1, 15\)"),
        ("NF4", put("levels", lambda x: x.repeat(5, 1)), "5 rows of levels"),
        ("NF4", put("scale", lambda x: x[1:]), "scale are"),
        ("NF4", lambda found: found.pop(f"{LAYER}.levels"), "0 rows of levels"),
        ("W8A8", put("codes", lambda x: x.int()), "codes are torch.int32"),
        ("W8A8", put("scale", lambda x: x * float("inf")), "not all finite"),
        ("W8A8", lambda found: found.pop(f"{LAYER}.scale"), "no scale"),
    ],
)
def test_tensors_that_do_not_belong_to_the_header_are_refused(tmp_path, files, name, tensors, message):
    path = tmp_path / "lie.safetensors"
    path.write_bytes(files[name])
    rewritten(path, tensors=tensors)
    with pytest.raises(ValueError, match=message):
        load_compressed(path)


def test_a_bitmap_ends_with_its_last_place():
    assert from_bitmap(torch.tensor([7], dtype=torch.uint8), (1, 3)).all()
    with pytest.raises(ValueError, match="ones behind the last of 3 places"):
        from_bitmap(torch.tensor([15], dtype=torch.uint8), (1, 3))


def test_whoever_builds_the_model_may_know_its_thin_layers_or_not(tmp_path, files):
    (path := tmp_path / "thin.safetensors").write_bytes(files["low rank"])
    whole = all_models()["low rank"]
    for build in (lambda _: copy.deepcopy(whole), lambda _: small(**LLAMA)):
        assert torch.equal(load_compressed(path, build)(IDS), whole(IDS))
    other = swapped(small(**LLAMA), lambda layer: LowRankLinear.from_linear(layer, 8))
    with pytest.raises(ValueError, match="of another model"):
        load_compressed(path, lambda _: other)


def test_layers_that_no_file_can_hold_are_refused(tmp_path):
    weight = torch.randn(8, 8)
    with pytest.raises(ValueError, match="has zero points"):
        SparseLinear(CompressedLinear(quantize(weight, 4, symmetric=False)))
    with pytest.raises(ValueError, match="more than 2 of 4"):
        SparseLinear(nn.Linear(8, 8), (2, 4))
    with pytest.raises(ValueError, match="not Conv1d"):
        SparseLinear(nn.Conv1d(1, 1, 1))
    with pytest.raises(ValueError, match="they must agree"):
        CodebookLinear(cluster(weight, 3), torch.zeros(7))
    with pytest.raises(ValueError, match="a single layer"):
        save_compressed(CodebookLinear(cluster(weight, 3)), tmp_path / "x")


def test_a_layer_of_whole_numbers_is_made_of_codes_as_of_the_weight():
    layer = nn.Linear(16, 8)
    quantized = quantize(layer.weight, 8)
    x = torch.randn(5, 16)
    for inputs in (None, Affine(0.02, 3)):
        ours, theirs = (Int8Linear(weight, layer.bias, inputs) for weight in (quantized, layer.weight))
        assert torch.equal(ours(x), theirs(x))
    short = Quantized(quantized.codes // 2, quantized.scale, None, 8)  # its largest code is 63, and stays
    assert torch.equal(Int8Linear(short, None).codes, short.codes)
