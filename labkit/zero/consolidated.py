"""A checkpoint of DeepSpeed put together again: from the vectors that every rank saved to weights with names.

saved = folder/latest                        names the newest checkpoint, a folder
        folder/now/…_model_states.pt         names and shapes, and what is not split
        folder/now/…_rank_0_…_optim_states.pt   this rank's part of the float32 weights, in one long vector
"""

import contextlib
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from labkit.zero.deepspeed_runs import load_deepspeed

Shapes = Mapping[str, Sequence[int]]
Shard = Float[Tensor, " part"]


def consolidate(folder: Path | str) -> dict[str, Tensor]:
    """The float32 weights of a checkpoint, by name; what DeepSpeed's `zero_to_fp32` does, for stages 0 to 3.

    The files are pickles, which can run code while they are read: read only those that you trust.

    Raises:
        ValueError: if there is no checkpoint, or the file of a rank is missing.
    """
    model, shards = read_shards(folder)
    if not shards:  # stage 0 splits nothing
        return {name: weight.float() for name, weight in model["module"].items()}
    stage3 = "fp32_flat_groups" in shards[0]
    key = "fp32_flat_groups" if stage3 else "single_partition_of_fp32_groups"
    join = join_each if stage3 else join_vector
    weights: dict[str, Tensor] = {}
    for group, shapes in enumerate(model["param_shapes"]):
        weights |= join([shard[key][group] for shard in shards], shapes)
    for name in model["buffer_names"]:
        weights[name] = model["module"][name]
    frozen = dict(model["frozen_param_shapes"] or {})
    for name, shape in frozen.items():
        parts = [each["frozen_param_fragments"][name] for each in model["ranks"]] if stage3 else None
        whole = torch.cat(parts)[: math.prod(shape)].view(shape) if parts else model["frozen_param_fragments"][name]
        weights[name] = whole.float()
    for name, same_as in dict(model["shared_params"]).items():
        weights[name] = weights[same_as]
    return weights


def join_vector(shards: Sequence[Shard], shapes: Shapes) -> dict[str, Tensor]:
    """Stages 1 and 2: all weights are laid end to end, and the whole vector is cut into one piece for each rank.

    >>> join_vector([torch.tensor([1., 2.]), torch.tensor([3., 0.])], {"a": (3,)})
    {'a': tensor([1., 2., 3.])}
    """
    whole, start, weights = torch.cat(list(shards)).detach(), 0, {}
    for name, shape in shapes.items():
        size = math.prod(shape)
        weights[name] = whole[start : start + size].view(tuple(shape))
        start += size
    return weights


def join_each(shards: Sequence[Shard], shapes: Shapes) -> dict[str, Tensor]:
    """Stage 3: each weight is cut into one piece for each rank, and a rank lays its pieces end to end.

    >>> join_each([torch.tensor([1., 2., 7.]), torch.tensor([3., 0., 8.])], {"a": (3,), "b": (2,)})
    {'a': tensor([1., 2., 3.]), 'b': tensor([7., 8.])}
    """
    start, weights = 0, {}
    for name, shape in shapes.items():
        size = math.prod(shape)
        piece = math.ceil(size / len(shards))  # the last rank's piece may end in padding
        pieces = [shard[start : start + piece].detach() for shard in shards]
        weights[name] = torch.cat(pieces)[:size].view(tuple(shape))
        start += piece
    return weights


def read_shards(folder: Path | str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What rank 0 saved of the model, and the optimizer's part of every rank, in the order of the ranks.

    Raises:
        ValueError: if there is no checkpoint, or the file of a rank is missing.
    """
    latest = Path(folder) / "latest"
    if not latest.is_file():
        raise ValueError(f"{folder} holds no checkpoint of DeepSpeed: there is no file named latest, which it writes")
    inside = Path(folder) / latest.read_text().strip()
    models, optimizers = (sorted(inside.glob(f"*{kind}_states.pt"), key=_rank_of) for kind in ("model", "optim"))
    if not models:
        raise ValueError(f"{inside} holds no *_model_states.pt: the checkpoint is not complete, save it again")
    load_deepspeed()  # the pickles name its classes
    states = [torch.load(path, map_location="cpu", weights_only=False) for path in models]
    ranks = states[0]["dp_world_size"]
    if optimizers and len(optimizers) != ranks:
        raise ValueError(
            f"{inside} was saved by {ranks} ranks, but holds the files of {len(optimizers)}: copy them all"
        )
    loaded = [torch.load(path, map_location="cpu", weights_only=False) for path in optimizers]
    return states[0] | {"ranks": states}, [each["optimizer_state_dict"] for each in loaded]


def deepspeed_consolidated(folder: Path | str) -> dict[str, Tensor]:
    """The same by DeepSpeed's own `zero_to_fp32`, without its progress bars."""
    load_deepspeed()
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return dict(get_fp32_state_dict_from_zero_checkpoint(str(folder)))


def _rank_of(path: Path) -> int:
    """By number: as text, rank 10 would come before rank 2."""
    found = re.search(r"rank_(\d+)_mp", path.name)
    return int(found[1]) if found else 0
