"""Checkpoints of shards: every rank writes its own part, and any number of ranks reads what it needs.

    save_shards("runs/step-100", zero, step=100)         # on 2 ranks: two files and an index
    load_shards("runs/step-100", zero)["step"]           # on 1, 2 or 4, in any stage

The files name pieces of parameters, not ranks' vectors, so they fit however the next run cuts. The folder gets its name
when all of it is on the disk; until then there is none. What goes wrong on one rank is raised on all, so that none
waits for one that has stopped. All ranks must see the same disk.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from labkit.training.files import _is_being_written as is_being_written
from labkit.training.files import extra, make_writable, write_beside
from labkit.training.packing import pack, unpack
from labkit.zero.exchanging import Exchange
from labkit.zero.reading import INDEX, digest, members, name_of, read, shapes_of
from labkit.zero.shards import Shard
from labkit.zero.stages import Zero
from labkit.zero.whole import replicated


def save_shards(folder: Path | str, zero: Zero, step: int = 0, **about: Any) -> Path:
    """Write what this rank owns, weights and states, and return the folder; every rank must come here.

    Args:
        about: numbers and texts to keep.

    Raises:
        ValueError: if there is such a folder already, or `about` cannot be kept: on all ranks.
        OSError: if a rank could not write: on all ranks, and nothing is left.
    """
    folder, exchange = Path(folder), zero.exchange
    scratch = folder.with_name(exchange.everybodys(f".{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")[0])
    try:
        _together(exchange, lambda: _begin(folder, scratch, about) if exchange.rank == 0 else None)
        files = _together(exchange, lambda: _write_own(scratch, zero))
        _together(
            exchange, lambda: _finish(folder, scratch, _index(zero, step, about, files)) if exchange.rank == 0 else None
        )
    finally:
        if exchange.rank == 0:
            shutil.rmtree(scratch, ignore_errors=True)  # it is there after an error only
    return folder


def load_shards(folder: Path | str, zero: Zero) -> dict[str, Any]:
    """Put weights, states and settings of a checkpoint into `zero` and its model, all or nothing; every rank must come.

    Returns:
        The step, and what else was given to `save_shards`.

    Raises:
        ValueError: if a file is missing or damaged, or the checkpoint is of another model or optimizer: on all ranks.
        OSError: if a rank could not read: on all ranks.
    """
    index, found = _together(zero.exchange, lambda: read(Path(folder), zero))[zero.exchange.rank]
    _put_back(zero, found, index)
    return {"step": index["step"], **index["about"]}


def _together(exchange: Exchange, work: Callable[[], Any]) -> list[Any]:
    """Do something on every rank: what it gave on each, this rank's as it is, the others' if they are for all.

    Raises:
        ValueError, OSError: on all ranks, if it was raised on one.
    """
    kind, said, mine = None, "", None
    try:
        mine = work()
    except (ValueError, OSError) as error:
        kind = OSError if isinstance(error, OSError) else ValueError
        said = getattr(error, "strerror", None) or str(error)
    every = exchange.everybodys((kind, said, mine if isinstance(mine, dict) else None))
    for rank, (wrong, words, _) in enumerate(every):
        if wrong is not None:
            raise wrong(words if words == said else f"rank {rank}: {words}")
    return [mine if rank == exchange.rank else theirs for rank, (_, _, theirs) in enumerate(every)]


# writing ------------------------------------------------------------------------------------------------------------


def _begin(folder: Path, scratch: Path, about: dict[str, Any]) -> None:
    """Rank 0: look whether there will be a folder, and clear what killed runs have left of it."""
    if folder.exists():
        raise ValueError(f"{folder.name} exists already: a checkpoint is never written over, take another name")
    try:
        json.dumps(about)
    except TypeError as error:
        raise ValueError(f"only numbers, texts, lists and dictionaries of them can be kept ({error})") from error
    make_writable(folder.parent)
    for left in folder.parent.glob(f".{folder.name}.*part"):
        if not is_being_written(left):
            shutil.rmtree(left, ignore_errors=True)
    scratch.mkdir()


def _finish(folder: Path, scratch: Path, index: dict[str, Any]) -> None:
    """Rank 0: write the index, with a checksum of its own, and give the folder its name."""
    index = json.loads(json.dumps(index))  # keys as they will be read
    write_beside(scratch / INDEX, json.dumps({**index, "sha256": digest(index)}, indent=1).encode())
    if folder.exists():
        raise ValueError(f"{folder.name} was written by another run meanwhile: take another name")
    os.replace(scratch, folder)


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
        for name, tensor in replicated(zero.model, zero.shards):
            pieces.append([name, 0, tensor.numel()])
            tensors[f"weights/{name}@0"] = tensor.detach().reshape(-1).cpu().contiguous()
    content = extra("safetensors.torch").save({name: tensor.clone() for name, tensor in tensors.items()})
    name = f"rank-{rank:05d}-of-{ranks:05d}.safetensors"
    write_beside(folder / name, content)
    digest = hashlib.sha256(content).hexdigest()
    return {"file": name, "bytes": len(content), "sha256": digest, "pieces": pieces, "scalars": scalars}


def _index(zero: Zero, step: int, about: dict[str, Any], files: list[dict[str, Any]]) -> dict[str, Any]:
    scalars = {name: value for file in files for name, value in file.pop("scalars").items()}
    groups = [
        {k: v.tolist() if isinstance(v, Tensor) else v for k, v in group.items() if k != "params"}
        for group in zero.optimizer.param_groups
    ]
    return {
        "step": step,
        "about": about,
        "ranks": zero.exchange.ranks,
        "stage": zero.stage,
        "optimizer": name_of(zero),
        "groups": pack(groups, "groups", {}),
        "shapes": shapes_of(zero),
        "members": members(zero),
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


def _put_back(zero: Zero, found: dict[str, Any], index: dict[str, Any]) -> None:
    for shard in zero.shards:
        vectors = {k: v.to(shard.weights.device) for k, v in found["vectors"][shard.weights].items()}
        kind = vectors["weights"].dtype if vectors else None  # states of that kind follow the weights into another one
        vectors = {k: v.to(shard.weights.dtype) if v.dtype == kind else v for k, v in vectors.items()}
        state = {}
        if "weights" in vectors:  # none, if this rank owns nothing but padding
            shard.weights.data.copy_(vectors.pop("weights"))
            state = {**found["scalars"][shard.weights], **vectors}
        shard.share()
        if state and hasattr(zero.optimizer, "set_state"):
            zero.optimizer.set_state(shard.weights, state)
        elif state:
            zero.optimizer.state[shard.weights] = state
    for name, tensor in replicated(zero.model, zero.shards):
        if tensor.numel():
            tensor.data.copy_(found["whole"][name].view(tensor.shape))
    for group, settings in zip(zero.optimizer.param_groups, unpack(index["groups"], {}), strict=True):
        for name, value in settings.items():
            known = group.get(name)
            group[name] = known.fill_(value) if isinstance(known, Tensor) else value
