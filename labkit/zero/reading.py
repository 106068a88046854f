"""What is in a checkpoint of shards: its index, its pieces, and whether it is of the same model and whole."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labkit.training.files import extra
from labkit.training.packing import unpack
from labkit.zero.shards import Shard
from labkit.zero.stages import Zero
from labkit.zero.whole import replicated

INDEX = "index.json"


def read(folder: Path, zero: Zero) -> tuple[dict[str, Any], dict[str, Any]]:
    """The index of a checkpoint, and all that this rank needs of its files.

    Raises:
        ValueError: if something is missing or damaged, or it is of another model or optimizer.
        OSError: if it cannot be read.
    """
    index = _read_index(folder)
    _refuse_other(index, zero)
    return index, _Reader(folder, index).everything_for(zero)


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        raise ValueError(f"{folder.name} is no checkpoint of shards: there is no {INDEX} in it")
    try:
        index = json.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{INDEX} of {folder.name} is damaged ({error}): take the checkpoint before it") from error
    if not isinstance(index, dict) or index.get("sha256") != digest(index):
        raise ValueError(f"{INDEX} of {folder.name} is damaged (its sum is another): take the checkpoint before it")
    for file in index["files"]:
        path = folder / file["file"]
        if not path.is_file():
            raise ValueError(f"{file['file']} is missing in {folder.name}: all {len(index['files'])} files are needed")
        if path.stat().st_size != file["bytes"]:
            raise ValueError(f"{file['file']} has {path.stat().st_size:,} bytes and was written with {file['bytes']:,}")
    return index


def _refuse_other(index: dict[str, Any], zero: Zero) -> None:
    shapes = shapes_of(zero)
    for name in [*shapes, *index["shapes"]]:
        here, there = shapes.get(name), index["shapes"].get(name)
        if here != there:
            raise ValueError(f"the checkpoint is of another model: {name} is {here} here and {there} there")
    if index["optimizer"] != name_of(zero):
        raise ValueError(f"the checkpoint is of {index['optimizer']}, not of {name_of(zero)}: build Zero with that")
    if len(unpack(index["groups"], {})) != len(zero.optimizer.param_groups):
        raise ValueError("the checkpoint has another number of parameter groups: build Zero with the same groups")
    for name, group in members(zero).items():
        if index["members"].get(name, group) != group:
            there = index["members"][name]
            raise ValueError(f"{name} is in group {group} here and in {there} there: build Zero with the same groups")


class _Reader:
    """Pieces of a checkpoint; each file is checked to the last byte before anything of it is used."""

    def __init__(self, folder: Path, index: dict[str, Any]):
        self.folder, self.index = folder, index
        self._open: dict[str, dict[str, Tensor]] = {}
        self._where: dict[str, list[Any]] = {}
        for file in index["files"]:
            for name, start, stop in file["pieces"]:
                self._where.setdefault(name, []).append((start, stop, file))

    def everything_for(self, zero: Zero) -> dict[str, Any]:
        """For each shard of this rank its vectors and its other states; and what every rank has whole."""
        vectors = {shard.weights: self._shard(shard, zero.exchange.rank) for shard in zero.shards}
        rest = ((name, tensor.numel()) for name, tensor in replicated(zero.model, zero.shards))
        whole = {name: self._piece(name, 0, size)["weights"] for name, size in rest if size}
        return {"vectors": vectors, "scalars": {s.weights: self._scalars(s) for s in zero.shards}, "whole": whole}

    def _shard(self, shard: Shard, rank: int) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for piece in shard.flat.pieces(rank):
            for kind, part in self._piece(piece.name, piece.start, piece.stop).items():
                vector = found.setdefault(kind, torch.zeros(len(shard.weights), dtype=part.dtype))
                vector[piece.place : piece.place + len(part)] = part
        return found

    def _piece(self, name: str, start: int, stop: int) -> dict[str, Tensor]:
        """Elements start to stop of a parameter, and of its states, from all files that have some of them."""
        parts: dict[str, list[Tensor]] = {}
        for first, last, file in sorted(self._where.get(name, []), key=lambda place: place[0]):
            begin, end = max(first, start), min(last, stop)
            if begin < end:
                for key, tensor in self._file(file).items():
                    kind, _, place = key.partition("/")
                    if place == f"{name}@{first}":
                        parts.setdefault(kind, []).append(tensor[begin - first : end - first])
        found = {kind: torch.cat(tensors) for kind, tensors in parts.items()}
        if any(len(tensor) != stop - start for tensor in found.values()) or "weights" not in found:
            raise ValueError(f"{name} is not whole in {self.folder.name}: take the checkpoint before it")
        return found

    def _file(self, file: dict[str, Any]) -> dict[str, Tensor]:
        if file["file"] not in self._open:
            content = (self.folder / file["file"]).read_bytes()
            if hashlib.sha256(content).hexdigest() != file["sha256"]:
                raise ValueError(f"{file['file']} of {self.folder.name} is damaged: take the checkpoint before it")
            self._open[file["file"]] = extra("safetensors.torch").load(content)
        return self._open[file["file"]]

    def _scalars(self, shard: Shard) -> dict[str, Any]:
        kinds = [self.index["scalars"].get(name) for name in shard.flat.names]
        if any(kind != kinds[0] for kind in kinds):
            raise ValueError(f"{shard.flat.names[0]} and others of its vector have taken different numbers of steps")
        state = unpack(kinds[0], {}) if kinds[0] else {}
        return {k: torch.tensor(v[0]) if isinstance(v, list) else v for k, v in state.items()}


def digest(index: dict[str, Any]) -> str:
    """The sum of an index, but for the place where it stands."""
    content = {name: value for name, value in index.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def shapes_of(zero: Zero) -> dict[str, list[int]]:
    """The shape of every parameter and buffer, by name."""
    sharded = {n: shape for shard in zero.shards for n, shape in zip(shard.flat.names, shard.flat.shapes, strict=True)}
    rest = {n: t.shape for n, t in replicated(zero.model, zero.shards)}
    return {name: list(shape) for name, shape in {**sharded, **rest}.items()}


def members(zero: Zero) -> dict[str, int]:
    """The number of the group of each trained parameter."""
    return {name: shard.flat.group for shard in zero.trained for name in shard.flat.names}


def name_of(zero: Zero) -> str:
    """The optimizer's name and the package that it is from: states of one AdamW are named otherwise than another's."""
    kind = type(getattr(zero.optimizer, "inner", zero.optimizer))
    return f"{kind.__module__.partition('.')[0]}'s {kind.__name__}"
