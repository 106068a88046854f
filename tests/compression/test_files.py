"""Compressed files: small, the same in a fresh process, and refused when they are not what they claim to be."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from labkit.compression.embeddings import TiedHead
from labkit.compression.files import load_compressed, read_compressed, save_compressed
from labkit.compression.grid import dequantize, quantize
from labkit.compression.layers import CompressedLinear, linears
from labkit.compression.linear4 import Linear4
from labkit.compression.whole import compressed, compressed_parts, fastest, predicted_bytes, round_model
from labkit.training import save_checkpoint
from labkit.training.packing import digest
from labkit.transformer import Config, Decoder, Encoder, EncoderDecoder

IDS = torch.arange(12)[None] * 5 % 64


def small(seed=0, **options):
    shape = {"norm": "rms", "activation": "swiglu", "positions": "rotary", "bias": False, **options}
    return Decoder(Config(64, context=32, layers=2, heads=2, width=64, **shape), seed=seed).eval()


def saved(folder, bits=8, group=None, model=None, layer=fastest, **options):
    model = compressed(model or small(), round_model(model or small(), bits, group, **options), layer)
    return model, save_compressed(model, folder / "small.safetensors")


@pytest.mark.parametrize("layer", [CompressedLinear, fastest])
@pytest.mark.parametrize(("bits", "group"), [(8, None), (4, 64), (4, 32), (3, 16), (2, 32), (5, None)])
def test_a_loaded_model_gives_the_same_outputs_bit_for_bit(tmp_path, bits, group, layer):
    model, path = saved(tmp_path, bits, group, layer=layer)
    found = load_compressed(path)
    with torch.no_grad():
        assert torch.equal(found(IDS), model(IDS)) and torch.equal(found(IDS[:, :1]), model(IDS[:, :1]))
    assert isinstance(found.head, TiedHead) and found.head.embedding is found.tokens
    kinds = {name: type(part) for name, part in compressed_parts(model).items()}
    assert {name: type(part) for name, part in compressed_parts(found).items()} == kinds


PROGRAM = """
import sys, torch
from labkit.compression.files import load_compressed
torch.save(load_compressed(sys.argv[1])(torch.arange(12)[None] * 5 % 64).detach(), sys.argv[2])
"""


def test_a_fresh_process_computes_the_same(tmp_path):
    model, path = saved(tmp_path, 4, 64)
    subprocess.run([sys.executable, "-c", PROGRAM, str(path), str(tmp_path / "out.pt")], check=True, timeout=120)
    assert torch.equal(torch.load(tmp_path / "out.pt"), model(IDS).detach())


def test_the_file_has_the_size_of_its_codes_and_steps_and_a_header(tmp_path):
    model, path = saved(tmp_path, 4, 64)
    parts = sum(part.nbytes for part in compressed_parts(model).values())
    norms = sum(4 * p.numel() for p in model.parameters())
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    assert path.stat().st_size == 8 + header + parts + norms


def test_an_encoder_with_biases_positions_and_affine_codes(tmp_path):
    model = Encoder(Config(64, context=32, layers=1, heads=2, width=32, norm_first=False, segments=2, pooler=True))
    model.eval()
    found = {name: quantize(layer.weight, 8, symmetric=False) for name, layer in linears(model).items()}
    ours = compressed(model, found | {"tokens": quantize(model.tokens.weight, 6, group=8, symmetric=False)}, fastest)
    again = load_compressed(save_compressed(ours, tmp_path / "e.safetensors"))
    assert torch.equal(again(IDS), ours(IDS))
    assert torch.equal(again.pool(again(IDS)), ours.pool(ours(IDS)))


@pytest.mark.parametrize(("bits", "group"), [(8, None), (4, 32)])
def test_a_translator_whose_cross_attention_reads_parts_of_a_weight(tmp_path, bits, group):
    config = Config(64, context=32, layers=1, heads=2, width=32, tied=False)
    model = EncoderDecoder(config).eval()
    ours = compressed(model, round_model(model, bits, group), fastest)
    again = load_compressed(save_compressed(ours, tmp_path / "t.safetensors"))
    with torch.no_grad():
        assert torch.equal(again(IDS, IDS[:, :5]), ours(IDS, IDS[:, :5]))
        assert torch.equal(again.loss(IDS, IDS[:, :5], IDS[:, 1:6]), ours.loss(IDS, IDS[:, :5], IDS[:, 1:6]))


def test_an_embedding_left_in_floats_stays_tied_and_is_stored_once(tmp_path):
    model, path = saved(tmp_path, embedding_bits=None)
    found = load_compressed(path)
    assert found.head.weight is found.tokens.weight
    assert torch.equal(found(IDS), model(IDS))
    with safe_open(path, framework="pt") as file:
        assert "head.weight" not in set(file.keys())


def test_another_kind_of_model_is_built_by_whoever_loads_it(tmp_path):
    model = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4))
    ours = compressed(model, round_model(model, 4, 16), fastest)
    path = save_compressed(ours, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="give build="):
        load_compressed(path)
    found = load_compressed(path, lambda config: nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4)))
    x = torch.randn(3, 32)
    assert torch.equal(found(x), ours(x))


def test_a_model_with_nothing_compressed_is_saved_as_it_is(tmp_path):
    model = small()
    assert torch.equal(load_compressed(save_compressed(model, tmp_path / "f.safetensors"))(IDS), model(IDS))


@pytest.mark.parametrize("options", [{"layers": 3}, {"width": 96}, {"tied": False}])
def test_a_file_of_another_model_is_refused_and_says_what_differs(tmp_path, options):
    _, path = saved(tmp_path)
    sizes = {"layers": 2, "width": 64, **options}
    config = Config(64, context=32, heads=2, norm="rms", activation="swiglu", positions="rotary", bias=False, **sizes)
    with pytest.raises(ValueError, match=f"of another model: its {next(iter(options))} is"):
        load_compressed(path, lambda _: Decoder(config))
    with pytest.raises(ValueError, match="of another model"):
        load_compressed(path, lambda _: nn.Sequential(nn.Linear(64, 64)))


def rewritten(path, change=lambda about: None, tensors=lambda found: None, sign=True, key="labkit.compressed"):
    """The file with another header or other tensors, signed anew as a liar would."""
    with safe_open(path, framework="pt") as file:
        found, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    about = json.loads(metadata["labkit.compressed"])
    change(about)
    tensors(found)
    text = json.dumps(about)
    path.write_bytes(save(found, {key: text, "sha256": digest(found, text) if sign else metadata["sha256"]}))
    return path


def said(part="tokens", **changes):
    return lambda about: about["parts"][part].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (said(shape=[64, 65]), r"64 × 65 in 8 bits, which takes 4,160 bytes, but 4,096 are there"),
        (said(shape=[10**9, 10**9]), "but 4,096 are there"),
        (said(shape=[32, 128]), r"but there are \(64, 1\) steps"),
        (said(shape=[-64, -64]), "no part of a compressed model"),
        (said(shape="64"), "makes no sense for tokens"),
        (said(shape=[64.5, 64]), "whole numbers"),
        (said(bits=4), "which takes 2,048 bytes"),
        (said(bits=9), "bits = 9"),
        (said(group=7), "in groups of 7"),
        (said(group=0), "makes no sense"),
        (said(group=48), "in groups of 48"),
        (said(kind="Pickle"), "'Pickle'"),
        (said("blocks.0.attention.qkv", shape=[64, 192]), r"64 × 192 in 8 bits, but there are|groups of None"),
        (lambda about: about.update(format=2), "format 2"),
        (lambda about: about.pop("format"), "cannot be read"),
        (lambda about: about.update(parts=[]), "without parts"),
        (lambda about: about["parts"].update(extra=about["parts"]["tokens"]), "makes no sense for extra"),
        (lambda about: about["config"].update(layers=3), "of another model"),
        (lambda about: about["config"].update(width=65), "no model that there can be|of another model"),
        (lambda about: about["config"].update(kind="os.system"), "give build="),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, change, message):
    path = rewritten(saved(tmp_path)[1], change)
    with pytest.raises(ValueError, match=message):
        load_compressed(path)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (lambda found: found.pop("tokens.scale"), "makes no sense for tokens"),
        (lambda found: found["tokens.scale"].fill_(float("nan")), "not all finite"),
        (lambda found: found.update({"tokens.codes": found["tokens.codes"].int()}), "torch.int32"),
        (lambda found: found.update({"tokens.zero": torch.zeros(3, dtype=torch.uint8)}), "3 bytes of zero points"),
        (lambda found: found.pop("norm.weight"), "of another model: norm.weight"),
        (lambda found: found.update(more=torch.zeros(1)), "of another model: more"),
    ],
)
def test_tensors_that_do_not_belong_to_the_header_are_refused(tmp_path, tensors, message):
    path = rewritten(saved(tmp_path)[1], tensors=tensors)
    with pytest.raises(ValueError, match=message):
        load_compressed(path)


def test_a_changed_byte_is_found(tmp_path):
    _, path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not what was written"):
        load_compressed(path)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_a_cut_file_is_refused(tmp_path, share):
    _, path = saved(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"is empty|cut short"):
        read_compressed(path)


def test_files_of_something_else_are_refused(tmp_path):
    checkpoint = save_checkpoint(tmp_path / "step-00000001.safetensors", model=small())
    with pytest.raises(ValueError, match="take load_checkpoint"):
        load_compressed(checkpoint)
    with pytest.raises(ValueError, match="something else"):
        load_compressed(rewritten(saved(tmp_path)[1], key="other"))
    with pytest.raises(FileNotFoundError, match="no file absent"):
        load_compressed(tmp_path / "absent")


def test_four_bits_are_saved_from_the_packed_form_that_the_kernel_holds(tmp_path):
    model, path = saved(tmp_path, 4, 64)
    layer = model.blocks[0].attention.qkv
    assert isinstance(layer, Linear4) and layer.packed is not None
    part = read_compressed(path).parts["blocks.0.attention.qkv"]
    assert part.kind == "Linear4"
    assert torch.equal(dequantize(part.quantized), dequantize(layer.quantized))


@pytest.mark.parametrize(("bits", "group", "table"), [(8, None, 8), (4, 32, 8), (3, 16, 4), (5, 64, None)])
def test_bytes_predicted_from_shapes_are_those_of_the_file_without_its_header(tmp_path, bits, group, table):
    predicted = predicted_bytes(small(), bits, group, embedding_bits=table)
    _, path = saved(tmp_path, bits, group, embedding_bits=table)
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    assert path.stat().st_size - 8 - header == sum(predicted.values())


@pytest.mark.parametrize("layer", [CompressedLinear, fastest])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_model_in_other_floats_comes_back_in_them_with_the_same_outputs(tmp_path, dtype, layer):
    model = small(bias=True, norm="layer")
    model = compressed(model, round_model(model, 4, 32), layer).half().to(dtype)
    found = load_compressed(save_compressed(model, tmp_path / "half.safetensors"))
    assert found(IDS).dtype == dtype and torch.equal(found(IDS), model(IDS))


def twice():
    shared = nn.Linear(16, 16)
    return nn.Sequential(shared, nn.ReLU(), shared)


def test_a_layer_that_is_used_twice_is_stored_once_and_used_twice(tmp_path):
    model = twice()
    model = compressed(model, round_model(model, 8), fastest)
    found = load_compressed(save_compressed(model, tmp_path / "twice.safetensors"), lambda config: twice())
    assert found[0] is found[2] and set(read_compressed(tmp_path / "twice.safetensors").parts) == {"0"}
    x = torch.randn(2, 16)
    assert torch.equal(found(x), model(x))


class Views(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        numbers = torch.randn(4, 4, generator=torch.Generator().manual_seed(seed))
        for name, view in {"a": numbers, "b": numbers.T, "c": numbers[:2], "d": numbers.view(16)}.items():
            self.register_buffer(name, view)


def test_views_of_the_same_numbers_are_not_taken_for_each_other(tmp_path):
    found = load_compressed(save_compressed(Views(), tmp_path / "views.safetensors"), lambda config: Views(1))
    for name, buffer in Views().named_buffers():
        assert torch.equal(getattr(found, name), buffer), name


def test_a_single_layer_and_a_class_of_ones_own_are_refused(tmp_path):
    class Mine(CompressedLinear):
        pass

    quantized = quantize(torch.randn(4, 4), 8)
    with pytest.raises(ValueError, match=r"put it into one, nn.Sequential\(layer\)"):
        save_compressed(CompressedLinear(quantized), tmp_path / "one.safetensors")
    with pytest.raises(ValueError, match="0 is a Mine, which no file can hold"):
        save_compressed(nn.Sequential(Mine(quantized)), tmp_path / "mine.safetensors")
    assert not list(tmp_path.iterdir())


def config(**changes):
    return lambda about: about["config"].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (config(layers=10**9), "1,000,000,000 layers in its config"),
        (config(layers=10**30), "its layers is 1000"),
        (config(layers=True), "its layers is True"),
        (config(context=float("nan")), "its context is nan"),
        (config(theta=10**30), "its theta is"),
        (config(width="64"), "its width is '64'"),
        (config(bias=[]), "its bias is"),
        (config(kind=[]), "give build="),
        (lambda about: about.update(config=7), "whose config is 7"),
        (lambda about: about.update(heads={"head": "nothing"}), "ties head to what is not there"),
        (lambda about: about.update(heads={"head": ["tokens"]}), "ties head"),
        (lambda about: about.update(heads={"head": "blocks.0.attention.qkv"}), "ties head"),
        (lambda about: about.update(heads={"norm": "tokens"}), "no Linear there, but RMSNorm"),
        (lambda about: about.update(heads={"nothing": "tokens"}), "no Linear there, but NoneType"),
        (lambda about: about.update(same={"more": "nothing"}), "ties more"),
        (lambda about: about.update(same={"more": []}), "ties more"),
        (said(kind=[]), "no part of a compressed model"),
        (said(kind="Linear8"), "ties head"),
        (said("blocks.0.attention.qkv", kind="CompressedEmbedding"), "no Embedding there, but Linear"),
        (said(dtype="int8"), "makes no sense for tokens"),
        (said(dtype=None), "makes no sense for tokens"),
        (said(bits=True), "bits = True"),
    ],
)
def test_a_header_that_would_break_the_program_is_refused_too(tmp_path, change, message):
    path = rewritten(saved(tmp_path)[1], change)
    with pytest.raises(ValueError, match=message):
        load_compressed(path)


@pytest.mark.parametrize("text", ["[" * 100_000, "NaN", "[1]", "null", '{"format": ' + 5000 * "9" + "}"])
def test_a_header_that_is_no_object_is_refused(tmp_path, text):
    _, path = saved(tmp_path)
    with safe_open(path, framework="pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    path.write_bytes(save(found, {"labkit.compressed": text, "sha256": digest(found, text)}))
    with pytest.raises(ValueError, match="header that cannot be read"):
        load_compressed(path)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("blocks.0.attention.qkv.bias", torch.zeros(192, dtype=torch.long), "has a bias of"),
        ("blocks.0.attention.qkv.bias", torch.zeros(192, 1), "has a bias of"),
        ("blocks.0.attention.qkv.bias", torch.zeros(192), "no bias there"),
        ("tokens.bias", torch.zeros(64), "has a bias of"),
        ("norm.weight", torch.zeros(64, dtype=torch.long), "norm.weight is not"),
        ("norm.weight", torch.zeros(64, dtype=torch.complex64), "norm.weight is not"),
    ],
)
def test_biases_and_floats_of_another_kind_are_refused(tmp_path, name, tensor, message):
    path = rewritten(saved(tmp_path)[1], tensors=lambda found: found.update({name: tensor}))
    with pytest.raises(ValueError, match=message):
        load_compressed(path)


def test_affine_grids_for_linear_layers_leave_those_of_embeddings_symmetric():
    model = small()
    rounded = round_model(model, 4, symmetric=False)
    assert {rounded[name].zero is None for name in linears(model)} == {False}
    assert {q.zero is None for name, q in rounded.items() if name not in linears(model)} == {True}
    with torch.no_grad():
        assert torch.allclose(compressed(model, rounded)(IDS), model(IDS), atol=0.5)
