"""GGUF: a block worked by hand, small files written by the format's own library and read back, files that are none."""

import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.transformer.gguf_weights import Packed, read_gguf, unpack

gguf = pytest.importorskip("gguf", reason="small files are written with the package gguf")

METADATA = {
    "general.alignment": 64,
    "small": -5,
    "large": 2**40,
    "share": 0.25,
    "yes": True,
    "name": "naïve 三国",
    "pieces": ["<s>", "Ġthe", ""],
    "kinds": [3, 1, 1],
    "shares": [0.5, -1.5],
    "flags": [True, False],
}


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A file with a tensor of every kind, and what the library that wrote it says they are."""
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    writer.add_int32("small", -5)
    writer.add_uint64("large", 2**40)
    writer.add_float64("share", 0.25)
    writer.add_bool("yes", True)
    writer.add_string("name", METADATA["name"])
    for name in ("pieces", "kinds", "shares", "flags"):
        writer.add_array(name, METADATA[name])
    tensors = {
        "F32": random(3),
        "F16": random(5, 7).astype(np.float16),
        "Q8_0": random(2, 96),
        "Q4_1": random(3, 2, 64),
    }
    expected = {}
    for kind, weights in tensors.items():
        kind_number = gguf.GGMLQuantizationType[kind]
        data = gguf.quantize(weights, kind_number) if kind.startswith("Q") else weights
        writer.add_tensor(kind, data, raw_dtype=kind_number)
        expected[kind] = torch.from_numpy(np.array(gguf.dequantize(data, kind_number)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, expected


def test_a_block_of_four_bits_by_hand():
    pairs = bytes([0x10] + [0xF0] * 15)  # the low halves are all 0, the high ones 1 and then 15
    data = struct.pack("<ee", 0.5, -1.0) + pairs
    weights = unpack(Packed("Q4_1", (32,), torch.frombuffer(bytearray(data), dtype=torch.uint8)))
    assert weights.tolist() == [-1.0] * 16 + [-0.5] + [6.5] * 15


def test_a_block_of_eight_bits_by_hand():
    data = struct.pack("<e", 0.25) + bytes(range(120, 128)) + struct.pack("<24b", *range(-24, 0))
    weights = unpack(Packed("Q8_0", (2, 16), torch.frombuffer(bytearray(data), dtype=torch.uint8)))
    assert weights.flatten().tolist() == [x / 4 for x in [*range(120, 128), *range(-24, 0)]]


def test_metadata_is_read_as_it_was_written(written):
    found = read_gguf(written[0]).metadata
    assert {key: found[key] for key in METADATA} == METADATA
    assert found["general.architecture"] == "llama"


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_1"])
def test_tensors_of_every_kind_are_what_the_formats_own_library_says(written, kind):
    path, expected = written
    packed = read_gguf(path).tensors[kind]
    assert packed.shape == expected[kind].shape
    assert torch.equal(unpack(packed), expected[kind])


@given(st.integers(1, 6), st.integers(1, 4), st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_unpacking_four_bits_is_exact_and_near_what_was_packed(rows, blocks, size, seed):
    weights = random(rows, 32 * blocks, seed=seed) * np.float32(size)
    data = gguf.quantize(weights, gguf.GGMLQuantizationType.Q4_1)
    found = unpack(Packed("Q4_1", weights.shape, torch.from_numpy(data).flatten()))
    assert torch.equal(found, torch.from_numpy(gguf.dequantize(data, gguf.GGMLQuantizationType.Q4_1)))
    spread = np.ptp(weights.reshape(-1, 32), axis=1)  # 15 steps from the smallest weight of a block to the largest
    assert (np.abs(found.numpy() - weights).reshape(-1, 32).max(axis=1) <= spread / 15 * 0.52 + 2e-3 * size).all()


def test_what_is_unpacked_can_be_changed_without_changing_the_file(written):
    packed, before = read_gguf(written[0]).tensors["F32"], written[0].read_bytes()
    unpack(packed).add_(1)
    assert torch.equal(unpack(packed), written[1]["F32"])
    assert written[0].read_bytes() == before


@pytest.mark.parametrize("name", ["w" * length for length in (1, 17, 33, 49)], ids=len)
def test_tensors_begin_where_the_alignment_says_whatever_stands_before(tmp_path, name):
    writer = gguf.GGUFWriter(tmp_path / "file", "llama")
    writer.add_custom_alignment(64)
    writer.add_tensor(name, np.arange(3, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert unpack(read_gguf(tmp_path / "file").tensors[name]).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GGML" + struct.pack("<IQQ", 3, 0, 0), r"no GGUF file of version 2 or 3: it begins with b'GGML', version 3"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q1sIQIQ", 1, b"w", 1, 32, 2, 0), "kind 2 cannot be"),
    ],
    ids=["another format", "an old version", "an unknown kind"],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_gguf(tmp_path / "file")
