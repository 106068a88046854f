"""Codes of 2 to 8 bits packed into bytes, without a gap between them: only then is the file really smaller.

Eight codes of b bits make exactly b bytes, so eight at a time are put into one 64-bit word and cut into bytes.
"""

from typing import Any

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from labkit.compression.grid import Quantized, code_range


def packed_bytes(count: int, bits: int) -> int:
    """Return how many bytes so many codes take.

    >>> packed_bytes(8, 3), packed_bytes(9, 3)
    (3, 4)
    """
    code_range(bits)
    return -(-count * bits // 8)


def pack(codes: Shaped[Tensor, "..."], bits: Any) -> UInt8[Tensor, "bytes"]:
    """Return codes as a stream of bits, lowest first; negative ones in two's complement.

    Raises:
        ValueError: if a code does not fit into so many bits.

    >>> [f"{byte:08b}" for byte in pack(torch.tensor([1, 2, -1, 0], dtype=torch.int8), 4).tolist()]
    ['00100001', '00001111']
    """
    signed = codes.dtype != torch.uint8
    low, high = code_range(bits, signed)
    if codes.is_floating_point():
        raise ValueError(f"codes are {codes.dtype}; give whole numbers (int8 or uint8)")
    if codes.numel() and not (low <= int(codes.min()) and int(codes.max()) <= high):
        raise ValueError(f"codes run from {codes.min()} to {codes.max()}; {bits} bits hold {low} to {high}")
    flat = codes.reshape(-1)
    if bits == 8:
        return flat.to(torch.int8).view(torch.uint8).clone() if signed else flat.clone()
    eights = torch.nn.functional.pad(flat, (0, -flat.numel() % 8)).view(-1, 8)
    word = torch.zeros(len(eights), dtype=torch.int64, device=codes.device)
    for place in range(8):
        word |= (eights[:, place].long() & (2**bits - 1)) << (bits * place)
    cut = torch.stack([(word >> (8 * byte) & 255).to(torch.uint8) for byte in range(bits)], dim=1)
    return cut.view(-1)[: packed_bytes(flat.numel(), bits)].clone()


def unpack(packed: UInt8[Tensor, "bytes"], bits: Any, shape: tuple[int, ...], signed: bool = True) -> Tensor:
    """Return the codes that `pack` was given: int8 when signed, else uint8.

    Raises:
        ValueError: if there are more or fewer bytes than the shape needs.

    >>> unpack(torch.tensor([0b00100001, 0b1111], dtype=torch.uint8), 4, (2, 2)).tolist()
    [[1, 2], [-1, 0]]
    """
    count = torch.Size(shape).numel()
    if packed.numel() != packed_bytes(count, bits):
        needed = f"shape {tuple(shape)} in {bits} bits needs {packed_bytes(count, bits)}"
        raise ValueError(f"{packed.numel()} bytes, but {needed}; the header or the file is wrong")
    if bits == 8:
        return packed.view(torch.int8 if signed else torch.uint8).reshape(shape).clone()
    rows = torch.nn.functional.pad(packed, (0, -packed.numel() % bits)).view(-1, bits)
    word = torch.zeros(len(rows), dtype=torch.int64, device=packed.device)
    for byte in range(bits):
        word |= rows[:, byte].long() << (8 * byte)
    codes = torch.stack([(word >> (bits * place) & (2**bits - 1)).to(torch.uint8) for place in range(8)], dim=1)
    codes = codes.view(-1)[:count].reshape(shape)
    return sign_extend(codes, bits) if signed else codes


def pack_row(codes: UInt8[Tensor, "*shape count"], bits: int) -> UInt8[Tensor, "*shape bytes"]:
    """Return codes of 1, 2, 4 or 8 bits side by side in bytes, the first lowest; only the last dimension gets shorter.

    No code lies in two bytes, so each row is packed by itself and can be read by itself.

    >>> pack_row(torch.tensor([[1, 2, 15]], dtype=torch.uint8), 4).tolist()
    [[33, 15]]
    """
    places = torch.arange(0, 8, bits, dtype=torch.uint8, device=codes.device)
    full = torch.nn.functional.pad(codes, (0, -codes.shape[-1] % len(places)))
    return (full.unflatten(-1, (-1, len(places))) << places).sum(dim=-1, dtype=torch.uint8)


def unpack_row(packed: UInt8[Tensor, "*shape bytes"], bits: int) -> UInt8[Tensor, "*shape count"]:
    """Return the codes that `pack_row` was given, and behind them the zeros that fill the last byte."""
    places = torch.arange(0, 8, bits, dtype=torch.uint8, device=packed.device)
    return ((packed[..., None] >> places) & (2**bits - 1)).flatten(-2)


def sign_extend(codes: UInt8[Tensor, "..."], bits: int) -> Tensor:
    """Return the signed number that the lowest bits mean in two's complement: the highest counts −2^(b−1).

    >>> sign_extend(torch.tensor([3, 4, 7], dtype=torch.uint8), 3).tolist()
    [3, -4, -1]
    """
    half = 2 ** (bits - 1)
    return (codes ^ half).to(torch.int16).sub_(half).to(torch.int8)


def bytes_of(q: Quantized, scale_bytes: int = 4) -> int:
    """Return how many bytes a quantized weight takes: codes packed, a step for each group, zero points packed.

    >>> from labkit.compression.grid import quantize
    >>> bytes_of(quantize(torch.ones(8, 128), 4, group=64))  # 8 · 64 of codes, 16 steps of 4
    576
    """
    zeros = 0 if q.zero is None else packed_bytes(q.zero.numel(), q.bits)
    return packed_bytes(q.codes.numel(), q.bits) + scale_bytes * q.scale.numel() + zeros


def bits_per_weight(bits: int, group: int, scale_bits: int = 32, zero_bits: int = 0) -> float:
    """Return what a weight costs with its share of the step and the zero point of its group.

    Raises:
        ValueError: for a group below 1.

    >>> bits_per_weight(4, 64, scale_bits=16)
    4.25
    """
    code_range(bits)
    if group < 1:
        raise ValueError(f"group = {group!r}; give the number of weights that share a step, at least 1")
    return bits + (scale_bits + zero_bits) / group
