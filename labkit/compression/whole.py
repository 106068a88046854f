"""Whole models: every weight matrix rounded, and a copy of the model that computes with what came of it."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from labkit.compression.embeddings import CompressedEmbedding, TiedHead, embeddings, heads_of
from labkit.compression.grid import Quantized, quantize
from labkit.compression.layers import CompressedLinear, linears
from labkit.compression.linear4 import Linear4
from labkit.compression.linear8 import Linear8
from labkit.compression.packing import packed_bytes


def round_model(
    model: nn.Module, bits: int, group: int | None = None, *, embedding_bits: int | None = 8, symmetric: bool = True
) -> dict[str, Quantized]:
    """All linear layers and embeddings of a model rounded to the nearest code, by name.

    Args:
        group: neighbours of a row that share a step; without, a whole row does.
        symmetric: the grids of the linear layers; those of embeddings always are.
        embedding_bits: of the embeddings, a step for each row; None leaves them as they are.

    Raises:
        ValueError: for bits outside 2 to 8, a group that does not divide a width, or weights that are not finite.
    """
    per = "channel" if group is None else "group"
    how = {"group": group, "per": per, "symmetric": symmetric}
    found = {name: _rounded(name, layer, bits, **how) for name, layer in linears(model).items()}
    if embedding_bits is not None:
        found |= {name: _rounded(name, table, embedding_bits) for name, table in embeddings(model).items()}
    return found


def _rounded(name: str, part: nn.Module, bits: int, **how: Any) -> Quantized:
    try:
        return quantize(part.weight, bits, **how)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def predicted_bytes(
    model: nn.Module, bits: int, group: int | None = None, *, embedding_bits: int | None = 8
) -> dict[str, int]:
    """What `round_model` will make of a model, in bytes of a file, by what they are for; without the file's header.

    >>> predicted_bytes(nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 4)), 4, group=4)
    {'linear layers': 16, 'steps': 32, 'embeddings': 120, 'the rest': 16}
    """
    matrices = [layer.weight.shape for layer in linears(model).values()]
    tables = [table.weight.shape for table in embeddings(model).values()]
    all_floats = 4 * sum(parameter.numel() for parameter in model.parameters())
    found = {
        "linear layers": sum(packed_bytes(out * inputs, bits) for out, inputs in matrices),
        "steps": sum(4 * out * (inputs // group if group else 1) for out, inputs in matrices),
        "embeddings": 4 * sum(rows * width for rows, width in tables),
    }
    found["the rest"] = all_floats - found["embeddings"] - 4 * sum(out * inputs for out, inputs in matrices)
    if embedding_bits is not None:
        found["embeddings"] = sum(packed_bytes(rows * width, embedding_bits) + 4 * rows for rows, width in tables)
    return found


def fastest(quantized: Quantized, bias: Tensor | None = None) -> CompressedLinear:
    """The layer that computes fastest with such a weight: `Linear4`, `Linear8`, or else from floats."""
    if quantized.bits <= 4:
        return Linear4(quantized, bias)
    plain = quantized.zero is None and quantized.scale.shape[1] == 1
    return (Linear8 if plain else CompressedLinear)(quantized, bias)


def compressed(
    model: nn.Module,
    found: Mapping[str, Quantized],
    layer: Callable[[Quantized, Tensor | None], nn.Module] = CompressedLinear,
) -> nn.Module:
    """A copy of a model with those linear layers and embeddings replaced; the model itself stays as it is.

    Args:
        layer: what a linear layer becomes: `CompressedLinear` computes with floats, `fastest` with the codes.

    Raises:
        ValueError: if there is no such part, or if a weight is of another shape.
    """
    layers, tables, known = linears(model), embeddings(model), {}
    for name, quantized in found.items():
        old = layers.get(name) or tables.get(name)
        if old is None:
            raise ValueError(f"the model has no linear layer or embedding {name!r}: take a name of round_model(model)")
        if quantized.codes.shape != old.weight.shape:
            shapes = f"{tuple(quantized.codes.shape)} for {tuple(old.weight.shape)}"
            raise ValueError(f"the weight of {name} has another shape: {shapes}")
        if name in layers:
            known[id(old)] = layer(quantized, old.bias).to(old.weight.dtype)
        else:
            known[id(old)] = CompressedEmbedding(quantized).to(old.weight.dtype)
            known |= {id(head): TiedHead(known[id(old)]) for head in heads_of(model, old)}
    return copy.deepcopy(model, known)  # what is in its memo is taken instead of being copied


def compressed_parts(model: nn.Module) -> dict[str, CompressedLinear]:
    """The compressed layers and embeddings of a model by name, each once."""
    return {name: part for name, part in model.named_modules() if isinstance(part, CompressedLinear)}
