"""Bytes on disk and in memory of the same GPT of 30 million weights in 32, 8 and 4 bits: a part of the benchmark."""

import tempfile
from pathlib import Path

from compression_latency import thirty_million
from peers import Row
from torch import nn

from labkit.compression.files import save_compressed
from labkit.compression.layers import linears
from labkit.compression.whole import compressed, compressed_parts, fastest, round_model

ASKED = {"8 bits": 0.31, "4 bits, groups of 64": 0.20}


def bench(rounds: int) -> list[Row]:
    """Each file beside that of float32; nothing here takes time, so rounds do not matter."""
    model = thirty_million()
    whole, matrices = size(model), sum(4 * layer.weight.numel() for layer in linears(model).values())
    rows = []
    for name, how in (("8 bits", (8,)), ("4 bits, groups of 64", (4, 64))):
        small = compressed(model, round_model(model, *how), fastest)
        rows.append(row(f"{name}: the file, float32", size(small), whole, ASKED[name]))
        parts = compressed_parts(small)
        codes = sum(parts[layer].nbytes for layer in linears(model))
        rows.append(row(f"{name}: linear weights, float32", codes, matrices, 0.15 if "4" in name else None))
        memory = sum(part.memory for part in parts.values())
        rows.append(row(f"{name}: in memory, float32", memory, whole))
    return rows


def row(what: str, ours: int, theirs: int, most: float | None = None) -> Row:
    """One comparison, in megabytes; `most` is the largest share of float32 that is asked for."""
    asked = None if most is None else round(1 / most, 2)
    return Row(what, "MB", ours / 1e6, theirs / 1e6, theirs / ours, asked, f"{ours / theirs:.3f} of it")


def size(model: nn.Module) -> int:
    """Bytes of the file."""
    with tempfile.TemporaryDirectory() as folder:
        return save_compressed(model, Path(folder) / "model.safetensors").stat().st_size
