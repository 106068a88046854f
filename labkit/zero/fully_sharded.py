"""torch's own stage 3, FSDP2, and its checkpoints, called as a script would: to hold ours against."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from labkit.zero.gathering import find_blocks
from labkit.zero.reports import Report, state_tensors


def fully_sharded(model: nn.Module, blocks: Any = None, entries: Sequence[str] = ("loss",)) -> nn.Module:
    """The model with its blocks, and then the rest, wrapped by `fully_shard`; parameters become DTensors, in place.

    Args:
        blocks: as for `Zero`.
        entries: methods besides `forward` that use the model; FSDP2 must be told.
    """
    for _, block in find_blocks(model, blocks):
        fully_shard(block)
    fully_shard(model)
    for name in entries:
        if callable(getattr(model, name, None)):
            register_fsdp_forward_method(model, name)
    return model


def bytes_here(model: nn.Module, optimizer: Any, rank: int = 0, ranks: int = 1) -> Report:
    """What lies on this rank between two steps, as `Zero.report` says it of ours."""
    parameters = [_local(parameter) for parameter in model.parameters()]
    gradients = [_local(p.grad) for p in model.parameters() if p.grad is not None]
    states = [_local(each) for each in state_tensors(optimizer)]
    return Report(3, rank, ranks, *(bytes_in_use(kind) for kind in (parameters, gradients, states)), 0, 0, 0)


def bytes_in_use(tensors: Sequence[Tensor]) -> int:
    """The elements of tensors in bytes: FSDP2 keeps gradients as parts of larger buffers."""
    return sum(tensor.nbytes for tensor in tensors)


def save_with_torch(folder: Path | str, model: nn.Module, optimizer: Any) -> None:
    """A checkpoint by torch.distributed.checkpoint: one file for each rank and a `.metadata`."""
    weights, states = get_state_dict(model, optimizer)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        dcp.save({"model": weights, "optimizer": states}, checkpoint_id=str(folder))


def load_with_torch(folder: Path | str, model: nn.Module, optimizer: Any) -> None:
    """Read such a checkpoint, with any number of ranks."""
    weights, states = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": states}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # one process is what we want
        dcp.load(state, checkpoint_id=str(folder))
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
