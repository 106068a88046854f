"""GGUF, the file format of llama.cpp: metadata, then tensors whose weights are packed in blocks of a few bits.

Reading it takes a page of code, and nothing but torch; the package `gguf` of the format's authors reads the same.
"""

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
KINDS = {0: "F32", 1: "F16", 3: "Q4_1", 8: "Q8_0"}
BLOCK = {"F32": (1, 4), "F16": (1, 2), "Q4_1": (32, 20), "Q8_0": (32, 34)}  # weights in a block, bytes that it takes


@dataclass(frozen=True)
class Packed:
    """One tensor as it lies in the file: its kind of block, its shape, and its bytes, which are not yet read."""

    kind: str
    shape: tuple[int, ...]
    data: UInt8[Tensor, " bytes"]


@dataclass(frozen=True)
class Gguf:
    """The contents of a file: what it says of the model, and the tensors by name."""

    metadata: dict[str, Any]
    tensors: dict[str, Packed]


def read_gguf(path: Path) -> Gguf:
    """Read the metadata of a GGUF file and find its tensors, whose bytes stay on disk until they are unpacked.

    Raises:
        ValueError: when the file is no GGUF of version 2 or 3, or has a kind of block that is not known here.

    Source: github.com/ggml-org/ggml, docs/gguf.md.
    """
    with Path(path).open("rb") as file:
        cursor = _Cursor(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    magic, version = cursor.data[:4], cursor.skip(4).number("I")
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(f"this is no GGUF file of version 2 or 3: it begins with {magic!r}, version {version}")
    tensors, entries = cursor.number("Q"), cursor.number("Q")
    metadata = {cursor.strings(1)[0]: cursor.value(cursor.number("I")) for _ in range(entries)}
    places = [cursor.tensor() for _ in range(tensors)]
    start = _round_up(cursor.at, metadata.get("general.alignment", 32))
    return Gguf(metadata, {name: _packed(cursor.data, start, *place) for name, *place in places})


def unpack(packed: Packed) -> Float[Tensor, "..."]:
    """The weights of a tensor in float32: a block of 32 has its own scale, and for Q4_1 its own minimum.

    Q4_1 keeps a level q from 0 to 15 for each weight, two in a byte, and means scale · q + minimum: 20 bytes for 32
    weights, 5 bits each. Q8_0 keeps −127 to 127 and means scale · q.
    Source: github.com/ggml-org/ggml, ggml-quants.c, `dequantize_row_q4_1` and `dequantize_row_q8_0`.

    >>> unpack(Packed("F32", (2,), torch.tensor([1.0, 0.5]).view(torch.uint8)))
    tensor([1.0000, 0.5000])
    """
    if packed.kind in ("F32", "F16"):
        weights = packed.data.view(torch.float32 if packed.kind == "F32" else torch.float16).float()
        weights = weights.clone()  # not the bytes of the file, which somebody may change
    elif packed.kind == "Q8_0":
        blocks = packed.data.reshape(-1, 34)
        weights = blocks[:, 2:].view(torch.int8) * _halves(blocks[:, :2])
    else:
        blocks = packed.data.reshape(-1, 20)
        scale, minimum = _halves(blocks[:, :4]).split(1, dim=1)
        pairs = blocks[:, 4:]  # the first weight of a byte is its low half, and belongs to the first 16 of the block
        weights = torch.cat([pairs & 15, pairs >> 4], dim=1).float().mul_(scale).add_(minimum)
    return weights.reshape(packed.shape)


class _Cursor:
    """Reads one thing after another out of the file's bytes."""

    def __init__(self, data: mmap.mmap):
        self.data, self.at = data, 0

    def skip(self, size: int) -> "_Cursor":
        self.at += size
        return self

    def number(self, code: str) -> Any:
        (found,) = self.numbers(code, 1)
        return found

    def numbers(self, code: str, count: int) -> tuple[Any, ...]:
        layout = struct.Struct(f"<{count}{code}")
        self.at += layout.size
        return layout.unpack_from(self.data, self.at - layout.size)

    def strings(self, count: int) -> list[str]:
        found, length = [], struct.Struct("<Q")
        for _ in range(count):  # a vocabulary and its merges are 100,000 of them
            start = self.at + 8
            self.at = start + length.unpack_from(self.data, self.at)[0]
            found.append(self.data[start : self.at].decode("utf-8"))
        return found

    def value(self, kind: int) -> Any:
        if kind != ARRAY:
            return self.values(kind, 1)[0]
        return self.values(self.number("I"), self.number("Q"))

    def values(self, kind: int, count: int) -> list[Any]:
        if kind == STRING:
            return self.strings(count)
        if kind == ARRAY:
            return [self.value(kind) for _ in range(count)]
        return list(self.numbers(NUMBERS[kind], count))

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape, kind and offset; the file names the fastest dimension first, torch last."""
        return self.strings(1)[0], self.numbers("Q", self.number("I"))[::-1], self.number("I"), self.number("Q")


def _packed(data: mmap.mmap, start: int, shape: tuple[int, ...], kind: int, offset: int) -> Packed:
    if kind not in KINDS:
        raise ValueError(f"tensors of kind {kind} cannot be unpacked here; known are {KINDS}")
    weights, size = BLOCK[KINDS[kind]]
    count = math.prod(shape) // weights * size
    return Packed(KINDS[kind], shape, torch.frombuffer(data, dtype=torch.uint8, count=count, offset=start + offset))


def _halves(two_bytes: Tensor) -> Tensor:
    return two_bytes.contiguous().view(torch.float16).float()


def _round_up(place: int, step: int) -> int:
    return -(-place // step) * step
