"""Compressed models as files: codes packed to their bits, and as JSON beside them all that is needed to read them.

    save_compressed(model, "small.safetensors")
    model = load_compressed("small.safetensors")     # in another process, next year: the same outputs, bit for bit

A file of the format safetensors, which cannot run code. Its metadata says what it claims to be; nothing of that is
believed before it fits the bytes that are there.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labkit.compression.embeddings import TiedHead
from labkit.compression.grid import Quantized, code_range
from labkit.compression.headers import TYPES, type_name
from labkit.compression.kinds import modules_of, read_layer, written
from labkit.compression.layers import CompressedLinear, swap
from labkit.compression.packing import pack, packed_bytes, unpack
from labkit.compression.restoring import (
    PARTS,
    CompressedFile,
    Part,
    empty_model,
    fill,
    floats_of,
    refuse_misfit,
    refuse_other,
)
from labkit.compression.skeletons import fit_skeleton, skeleton_of
from labkit.corpora.extras import need
from labkit.training.files import write_beside
from labkit.training.fitting import config_of
from labkit.training.packing import digest

FORMAT = 1  # count on when the same bytes mean something else
KEYS = ("codes", "scale", "zero", "bias")


def save_compressed(model: nn.Module, path: Path | str) -> Path:
    """Write a model, the codes of its compressed layers in their bits and the rest as it is, and return the path.

    Raises:
        OSError: if the file cannot be written; what was there before is as it was.
        ValueError: if the model is a single compressed layer, or has one of a class that this module does not know.
    """
    tensors, parts, heads, layers = {}, {}, {}, {}
    names = {id(part): name for name, part in model.named_modules() if isinstance(part, CompressedLinear)}
    for name, part in modules_of(model):
        if isinstance(part, TiedHead):
            heads[name] = names[id(part.embedding)]
        elif isinstance(part, CompressedLinear):
            parts[name] = _described(name, part)
            tensors |= {f"{name}.{key}": tensor for key, tensor in _packed(part).items()}
        elif (found := written(name, part)) is not None:
            layers[name], held = found
            tensors |= {f"{name}.{key}": tensor for key, tensor in held.items()}
    floats, same = _each_once(floats_of(model))
    about = {"format": FORMAT, "config": config_of(model), "parts": parts, "heads": heads, "same": same}
    about |= {key: x for key, x in (("layers", layers), ("skeleton", skeleton_of(model))) if x}
    text, tensors = json.dumps(about), {**tensors, **floats}
    tensors = {name: x.detach().cpu().clone(memory_format=torch.contiguous_format) for name, x in tensors.items()}
    metadata = {"labkit.compressed": text, "sha256": digest(tensors, text)}
    return write_beside(Path(path), _safetensors("safetensors.torch").save(tensors, metadata))


def read_compressed(path: Path | str) -> CompressedFile:
    """What a file holds, after its header was held against its bytes, and its bytes against their sum.

    Raises:
        ValueError: if it is cut, damaged, no compressed model, of an unknown format, or if its header lies.
        FileNotFoundError: if there is none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path.name} in {path.parent.name}/")
    tensors, metadata = _opened(path)
    about = _header(path.name, metadata)
    parts = {name: _part(path.name, name, said, tensors) for name, said in about["parts"].items()}
    layers = {name: read_layer(path.name, name, said, tensors) for name, said in about["layers"].items()}
    if digest(tensors, metadata["labkit.compressed"]) != metadata.get("sha256"):
        raise ValueError(f"{path.name} is not what was written: some of its bytes were changed; fetch it again")
    used = {f"{name}.{key}" for name in parts for key in KEYS}
    inside = tuple(f"{name}." for name in layers)
    floats = {name: tensor for name, tensor in tensors.items() if name not in used and not name.startswith(inside)}
    _refuse_links(path.name, about, parts, floats)
    floats |= {name: floats[twin] for name, twin in about["same"].items()}
    return CompressedFile(about["config"], parts, about["heads"], floats, layers, about["skeleton"])


def load_compressed(path: Path | str, build: Callable[[Any], nn.Module] | None = None) -> nn.Module:
    """The model of a file, for use, not for training: the same outputs as when it was saved.

    Args:
        build: makes a model of the shape that the config (a dictionary) says, whatever its weights; without, the
            models of `labkit.transformer` are built from the file alone.

    Raises:
        ValueError: as `read_compressed`, or if the file is of another model than `build` makes.
        FileNotFoundError: if there is no such file.
    """
    path, found = Path(path), read_compressed(path)
    if build is None:
        model = empty_model(path.name, found)
    else:
        model = build(found.config)
        refuse_other(path.name, found, model)
    fit_skeleton(path.name, model, found.skeleton)
    refuse_misfit(path.name, found, model)
    for name, layer in ({name: part.made() for name, part in found.parts.items()} | found.layers).items():
        swap(model, name, layer)
    for head, embedding in found.heads.items():
        swap(model, head, TiedHead(model.get_submodule(embedding)))
    fill(path.name, model, found)
    return model.eval()


def _described(name: str, part: CompressedLinear) -> dict[str, Any]:
    kind, dtype = type(part).__name__, type_name(part.dtype)
    if not name:
        raise ValueError("a single layer is no model with names: put it into one, nn.Sequential(layer)")
    if PARTS.get(kind) is not type(part):
        raise ValueError(f"{name} is a {kind}, which no file can hold: the kinds are {', '.join(PARTS)}")
    shape = [part.out_features, part.in_features]
    return {"kind": kind, "bits": part.bits, "group": part.group, "shape": shape, "dtype": dtype}


def _packed(part: CompressedLinear) -> dict[str, Tensor]:
    quantized = part.quantized
    tensors = {"codes": pack(quantized.codes, quantized.bits), "scale": quantized.scale, "bias": part.bias}
    if quantized.zero is not None:
        tensors["zero"] = pack(quantized.zero.to(torch.uint8), quantized.bits)
    return {key: tensor for key, tensor in tensors.items() if tensor is not None}


def _each_once(floats: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Each tensor under its first name, and which names are another's."""
    first: dict[Any, str] = {}
    same = {}
    for name, tensor in floats.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else name
        if first.setdefault(place, name) != name:
            same[name] = first[place]
    return {name: tensor for name, tensor in floats.items() if name not in same}, same


def _opened(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    safetensors = _safetensors("safetensors")
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise ValueError(f"{path.name} is empty: fetch it again")
        with safetensors.safe_open(path, framework="pt") as file:
            # Copied, to begin where torch's own tensors do: from other addresses kernels round otherwise.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        size = f"{path.stat().st_size:,} bytes"
        raise ValueError(
            f"{path.name} ({size}) is cut short, damaged or no safetensors file: fetch it again"
        ) from error


def _header(name: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    if "labkit.compressed" not in metadata:
        what = "a checkpoint: take load_checkpoint" if "labkit" in metadata else "a file of something else"
        raise ValueError(f"{name} is no compressed model but {what}")
    try:
        about = json.loads(metadata["labkit.compressed"])
        number = about["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{name} has a header that cannot be read: fetch the file again") from error
    if number != FORMAT:
        raise ValueError(f"{name} is of format {number!r}, this program reads format {FORMAT}: take a newer llm-labkit")
    about = {"layers": {}, "skeleton": {}, **about}  # most files have neither
    if any(not isinstance(about.get(key), dict) for key in ("parts", "heads", "same", "layers", "skeleton")):
        raise ValueError(f"{name} has a header without parts, heads or same: fetch the file again")
    if not isinstance(about.get("config"), dict | None):
        raise ValueError(f"{name} has a header whose config is {about['config']!r}: fetch the file again")
    return about


def _refuse_links(file: str, about: Mapping[str, Any], parts: Mapping[str, Part], floats: Mapping[str, Tensor]) -> None:
    tables = [name for name, part in parts.items() if part.kind == "CompressedEmbedding"]
    wrong = [head for head, table in about["heads"].items() if table not in tables]
    wrong += [name for name, twin in about["same"].items() if twin not in list(floats)]
    if wrong:
        raise ValueError(f"{file} has a header that ties {wrong[0]} to what is not there: fetch the file again")


def _part(file: str, name: str, said: Any, tensors: Mapping[str, Tensor]) -> Part:
    """One compressed part as the header says, if the bytes agree."""
    try:
        bits, group, (out, inputs) = said["bits"], said["group"], said["shape"]
        kind, dtype, _ = said["kind"], TYPES[said["dtype"]], code_range(bits)
        if not all(isinstance(size, int) for size in (out, inputs, group or 1)):
            raise ValueError("sizes are whole numbers")
        groups = 1 if group is None else inputs // group
        count, whole = out * inputs, group is None or inputs % group == 0
        codes, scale = tensors[f"{name}.codes"], tensors[f"{name}.scale"]
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{file} has a header that makes no sense for {name}: {said} ({error})") from error
    said = f"the header of {file} says that {name} is {out} × {inputs} in {bits} bits"
    if kind not in list(PARTS) or min(out, inputs) < 1 or codes.dtype != torch.uint8:
        raise ValueError(f"{said}, as {kind!r} of {codes.dtype}: that is no part of a compressed model")
    if codes.numel() != packed_bytes(count, bits):
        raise ValueError(f"{said}, which takes {packed_bytes(count, bits):,} bytes, but {codes.numel():,} are there")
    if not whole or scale.ndim != 2 or scale.shape[1] != groups or scale.shape[0] not in (1, out):
        raise ValueError(f"{said} in groups of {group}, but there are {tuple(scale.shape)} steps")
    if scale.dtype != torch.float32 or not scale.isfinite().all():
        raise ValueError(f"the steps of {name} in {file} are not all finite float32 numbers: fetch it again")
    quantized, bias = _unpacked(said, (out, inputs), (bits, group), tensors, name), tensors.get(f"{name}.bias")
    if bias is not None and (bias.shape != (out,) or bias.dtype != dtype or kind == "CompressedEmbedding"):
        raise ValueError(f"{said} of {dtype}, but it has a bias of {tuple(bias.shape)} and {bias.dtype}")
    return Part(kind, quantized, bias, dtype)


def _unpacked(said: str, shape: tuple, grid: tuple, tensors: Mapping[str, Tensor], name: str) -> Quantized:
    codes, scale, zero = (tensors.get(f"{name}.{key}") for key in ("codes", "scale", "zero"))
    bits, group = grid
    if zero is not None:
        if zero.dtype != torch.uint8 or zero.numel() != packed_bytes(scale.numel(), bits):
            raise ValueError(f"{said}, but its {zero.numel()} bytes of zero points do not fit {scale.numel()} steps")
        zero = unpack(zero, bits, tuple(scale.shape), signed=False).int()
    return Quantized(unpack(codes, bits, shape, signed=zero is None), scale, zero, bits, group)


def _safetensors(module: str) -> Any:
    return need(module, "training", "to write and read compressed models")
