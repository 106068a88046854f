"""Codes in bytes: exact round trips at all widths, by hand, against numpy's bits, and refused when they do not fit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from labkit.compression.grid import code_range, quantize
from labkit.compression.packing import bits_per_weight, bytes_of, pack, packed_bytes, sign_extend, unpack

BITS = range(2, 9)


@given(some.integers(2, 8), some.booleans(), some.integers(0, 40), some.integers(0, 99))
def test_what_is_packed_comes_back_exactly(bits, signed, count, seed):
    low, high = code_range(bits, signed)
    codes = torch.randint(low, high + 1, (count,), generator=torch.Generator().manual_seed(seed))
    codes = codes.to(torch.int8 if signed else torch.uint8)
    packed = pack(codes, bits)
    assert packed.dtype == torch.uint8 and packed.numel() == packed_bytes(count, bits) == -(-count * bits // 8)
    back = unpack(packed, bits, (count,), signed)
    assert back.dtype == codes.dtype and torch.equal(back, codes)


@pytest.mark.parametrize("bits", BITS)
def test_every_code_of_every_width_and_a_matrix(bits):
    low, high = code_range(bits)
    codes = torch.arange(low, high + 1, dtype=torch.int8).view(2, -1)
    assert torch.equal(unpack(pack(codes, bits), bits, codes.shape), codes)


@pytest.mark.parametrize("bits", BITS)
def test_the_bits_are_those_of_numpy(bits):
    codes = np.random.default_rng(bits).integers(0, 2**bits, 37)
    stream = (codes[:, None] >> np.arange(bits) & 1).astype(np.uint8).ravel()
    expected = np.packbits(stream, bitorder="little")
    assert pack(torch.from_numpy(codes).to(torch.uint8), bits).tolist() == expected.tolist()


def test_two_codes_of_four_bits_by_hand():
    assert pack(torch.tensor([3, -2], dtype=torch.int8), 4).tolist() == [0b1110_0011]


def test_the_sign_is_the_highest_bit():
    assert sign_extend(torch.arange(4, dtype=torch.uint8), 2).tolist() == [0, 1, -2, -1]
    assert sign_extend(torch.tensor([127, 128, 255], dtype=torch.uint8), 8).tolist() == [127, -128, -1]


@pytest.mark.parametrize(("bits", "share"), [(8, 0.25), (4, 0.125), (3, 3 / 32)])
def test_a_file_of_packed_codes_is_smaller_by_the_share_of_bits(bits, share, tmp_path):
    weight = torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
    packed = pack(quantize(weight, bits).codes, bits)
    (tmp_path / "packed").write_bytes(packed.numpy().tobytes())
    assert (tmp_path / "packed").stat().st_size == share * weight.nbytes


def test_bytes_of_a_quantized_weight():
    weight = torch.randn(8, 128, generator=torch.Generator().manual_seed(0))
    assert bytes_of(quantize(weight, 8)) == 8 * 128 + 8 * 4
    assert bytes_of(quantize(weight, 3, group=64), scale_bytes=2) == 8 * 48 + 16 * 2
    assert bytes_of(quantize(weight, 4, symmetric=False, group=64)) == 8 * 64 + 16 * 4 + 8
    assert bits_per_weight(4, 64) * 1024 / 8 == bytes_of(quantize(weight, 4, group=64))


@pytest.mark.parametrize(("codes", "bits"), [([8], 4), ([-9], 4), ([2], 2), ([0, 0, 16], 5)])
def test_codes_that_do_not_fit_are_refused(codes, bits):
    with pytest.raises(ValueError, match=f"{bits} bits hold"):
        pack(torch.tensor(codes, dtype=torch.int8), bits)


def test_other_wrong_input_is_refused():
    with pytest.raises(ValueError, match="whole numbers"):
        pack(torch.ones(3), 4)
    with pytest.raises(ValueError, match="from 2 to 8"):
        pack(torch.ones(3, dtype=torch.int8), 16)
    with pytest.raises(ValueError, match="needs 4; the header or the file is wrong"):
        unpack(torch.zeros(3, dtype=torch.uint8), 4, (8,))
    with pytest.raises(ValueError, match="at least 1"):
        bits_per_weight(4, 0)
