"""Checkpoints of shards: every rank writes its own part, and any number of ranks reads what it needs.

    save_shards("runs/step-100", zero, step=100)         # on 2 ranks: two files and an index
    load_shards("runs/step-100", zero)["step"]           # on 1, 2 or 4, in any stage

The files name pieces of parameters, not ranks' vectors, so they fit however the next run cuts. The folder gets its name
when all of it is on the disk; until then there is none. All ranks must see the same disk.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labkit.training.files import extra, write_beside
from labkit.training.packing import pack, unpack
from labkit.zero.shards import Shard
from labkit.zero.stages import Zero

INDEX = "index.json"


def save_shards(folder: Path | str, zero: Zero, step: int = 0, **about: Any) -> Path:
    """Write what this rank owns, weights and states, and return the folder; every rank must come here.

    Args:
        about: numbers and texts to keep.

    Raises:
        ValueError: if there is such a folder already.
    """
    folder, exchange = Path(folder), zero.exchange
    scratch = folder.with_name(f".{folder.name}.part")
    if exchange.everybodys(folder.exists())[0]:
        raise ValueError(f"{folder.name} exists already: a checkpoint is never written over, take another name")
    if exchange.rank == 0:
        shutil.rmtree(scratch, ignore_errors=True)  # what a killed run has left
        scratch.mkdir(parents=True)
    exchange.wait_for_all()
    mine = _write_own(scratch, zero)
    files = exchange.everybodys(mine)
    if exchange.rank == 0:
        write_beside(scratch / INDEX, json.dumps(_index(zero, step, about, files), indent=1).encode())
        os.replace(scratch, folder)
    exchange.wait_for_all()
    return folder


def load_shards(folder: Path | str, zero: Zero) -> dict[str, Any]:
    """Put weights, states and settings of a checkpoint into `zero` and its model, all or nothing; every rank must come.

    Returns:
        The step, and what else was given to `save_shards`.

    Raises:
        ValueError: if a file is missing or damaged, or the checkpoint is of another model or optimizer: on all ranks.
    """
    error, found = "", None
    try:
        index = _read_index(Path(folder))
        _refuse_other(index, zero)
        found = _Reader(Path(folder), index).everything_for(zero)
    except ValueError as wrong:
        error = str(wrong)
    for rank, said in enumerate(zero.exchange.everybodys(error)):
        if said:  # on all ranks, so that none waits for one that has stopped
            raise ValueError(said if said == error else f"rank {rank}: {said}")
    _put_back(zero, found, index)
    return {"step": index["step"], **index["about"]}


# writing ------------------------------------------------------------------------------------------------------------


def _write_own(folder: Path, zero: Zero) -> dict[str, Any]:
    """One file with the pieces of this rank; what the index must know about it."""
    rank, ranks = zero.exchange.rank, zero.exchange.ranks
    tensors, pieces, scalars = {}, [], {}
    for shard in zero.shards:
        state = zero.optimizer.state.get(shard.weights, {})
        for piece in shard.flat.pieces(rank):
            place = slice(piece.place, piece.place + piece.stop - piece.start)
            pieces.append([piece.name, piece.start, piece.stop])
            scalars[piece.name] = pack(_scalars(state, shard), "state", {})
            for kind, vector in {"weights": shard.weights.data, **_vectors(state, shard)}.items():
                tensors[f"{kind}/{piece.name}@{piece.start}"] = vector[place].cpu().contiguous()
    if rank == 0:
        for name, tensor in _replicated(zero):
            pieces.append([name, 0, tensor.numel()])
            tensors[f"weights/{name}@0"] = tensor.detach().reshape(-1).cpu().contiguous()
    content = extra("safetensors.torch").save({name: tensor.clone() for name, tensor in tensors.items()})
    name = f"rank-{rank:05d}-of-{ranks:05d}.safetensors"
    write_beside(folder / name, content)
    digest = hashlib.sha256(content).hexdigest()
    return {"file": name, "bytes": len(content), "sha256": digest, "pieces": pieces, "scalars": scalars}


def _index(zero: Zero, step: int, about: dict[str, Any], files: list[dict[str, Any]]) -> dict[str, Any]:
    scalars = {name: value for file in files for name, value in file.pop("scalars").items()}
    groups = [{k: v for k, v in group.items() if k != "params"} for group in zero.optimizer.param_groups]
    return {
        "step": step,
        "about": about,
        "ranks": zero.exchange.ranks,
        "stage": zero.stage,
        "optimizer": _name_of(zero),
        "groups": pack(groups, "groups", {}),
        "shapes": _shapes(zero),
        "scalars": scalars,
        "files": files,
    }


def _vectors(state: dict[str, Any], shard: Shard) -> dict[str, Tensor]:
    """States with a number for each element."""
    same = shard.weights.shape
    return {name: value for name, value in state.items() if isinstance(value, Tensor) and value.shape == same}


def _scalars(state: dict[str, Any], shard: Shard) -> dict[str, Any]:
    """States of the whole shard, such as the number of steps; tensors as lists, so that JSON can hold them."""
    vectors = _vectors(state, shard)
    rest = {name: value for name, value in state.items() if name not in vectors}
    return {k: [v.tolist()] if isinstance(v, Tensor) else v for k, v in rest.items()}


def _replicated(zero: Zero) -> Iterator[tuple[str, Tensor]]:
    """What every rank has whole: frozen parameters in stages 1 and 2, and buffers."""
    sharded = {name for shard in zero.shards for name in shard.flat.names}
    kept = zero.model.state_dict().keys()
    yield from ((n, p) for n, p in zero.model.named_parameters() if n not in sharded)
    yield from ((n, b) for n, b in zero.model.named_buffers() if n in kept)


def _shapes(zero: Zero) -> dict[str, list[int]]:
    sharded = {n: shape for shard in zero.shards for n, shape in zip(shard.flat.names, shard.flat.shapes, strict=True)}
    return {name: list(shape) for name, shape in {**sharded, **{n: t.shape for n, t in _replicated(zero)}}.items()}


def _name_of(zero: Zero) -> str:
    return type(getattr(zero.optimizer, "inner", zero.optimizer)).__name__


# reading ------------------------------------------------------------------------------------------------------------


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        raise ValueError(f"{folder.name} is no checkpoint of shards: there is no {INDEX} in it")
    try:
        index = json.loads(path.read_text("utf-8"))
        missing = [name for name in ("step", "about", "groups", "shapes", "scalars", "files") if name not in index]
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{INDEX} of {folder.name} is damaged ({error}): take the checkpoint before it") from error
    if missing:
        raise ValueError(f"{INDEX} of {folder.name} lacks {missing[0]!r}: take the checkpoint before it")
    for file in index["files"]:
        path = folder / file["file"]
        if not path.is_file():
            raise ValueError(f"{file['file']} is missing in {folder.name}: all {len(index['files'])} files are needed")
        if path.stat().st_size != file["bytes"]:
            raise ValueError(f"{file['file']} has {path.stat().st_size:,} bytes and was written with {file['bytes']:,}")
    return index


def _refuse_other(index: dict[str, Any], zero: Zero) -> None:
    shapes = _shapes(zero)
    for name in [*shapes, *index["shapes"]]:
        here, there = shapes.get(name), index["shapes"].get(name)
        if here != there:
            raise ValueError(f"the checkpoint is of another model: {name} is {here} here and {there} there")
    if index["optimizer"] != _name_of(zero):
        raise ValueError(f"the checkpoint is of {index['optimizer']}, not of {_name_of(zero)}: build Zero with that")
    if len(unpack(index["groups"], {})) != len(zero.optimizer.param_groups):
        raise ValueError("the checkpoint has another number of parameter groups: build Zero with the same groups")


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
        whole = {name: self._piece(name, 0, tensor.numel())["weights"] for name, tensor in _replicated(zero)}
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


def _put_back(zero: Zero, found: dict[str, Any], index: dict[str, Any]) -> None:
    for shard in zero.shards:
        vectors = {k: v.to(shard.weights.device) for k, v in found["vectors"][shard.weights].items()}
        state = {}
        if "weights" in vectors:  # none, if this rank owns nothing but padding
            shard.weights.data.copy_(vectors.pop("weights"))
            state = {**found["scalars"][shard.weights], **vectors}
        shard.share()
        if state and hasattr(zero.optimizer, "set_state"):
            zero.optimizer.set_state(shard.weights, state)
        elif state:
            zero.optimizer.state[shard.weights] = state
    for name, tensor in _replicated(zero):
        tensor.data.copy_(found["whole"][name].view(tensor.shape))
    for group, settings in zip(zero.optimizer.param_groups, unpack(index["groups"], {}), strict=True):
        group.update(settings)
