"""What a rank knows of itself, and the process group it belongs to; the names are torchrun's, so both launchers do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

__all__ = ["device", "local_rank", "rank", "start_group", "world"]


def rank() -> int:
    """The number of this process, from 0; 0 outside of any launcher."""
    return int(os.environ.get("RANK", 0))


def world() -> int:
    """How many processes there are on all machines together; 1 outside of any launcher."""
    return int(os.environ.get("WORLD_SIZE", 1))


def local_rank() -> int:
    """The number of this process on its own machine, which is also that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0))


def device() -> Any:
    """The torch device of this rank: `cuda:{local_rank}` where every rank of the machine has a GPU, else the CPU."""
    import torch

    here = int(os.environ.get("LOCAL_WORLD_SIZE", local_rank() + 1))
    return torch.device("cuda", local_rank()) if torch.cuda.device_count() >= here else torch.device("cpu")


@contextmanager
def start_group(backend: str | None = None, timeout: float | int = 60.0, checks: bool = False) -> Iterator[None]:
    """Join the process group that the environment describes, and leave it at the end; one that exists stays as it is.

    Args:
        backend: gloo, nccl …; None for gloo, and nccl for tensors on GPUs where every rank has one.
        timeout: seconds after which a collective that the others did not join fails, in every rank.
        checks: whether every collective is compared between the ranks before it runs, which is slow.
    """
    import torch.distributed

    if torch.distributed.is_initialized():
        yield
        return
    join(backend, timeout, checks)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def join(backend: str | None, timeout: float | int, checks: bool) -> None:
    """Start torch.distributed from torchrun's environment; alone, without any launcher, as a world of one."""
    import torch.distributed

    if checks:
        os.environ["TORCH_DISTRIBUTED_DEBUG"] = "DETAIL"
        torch.distributed.set_debug_level_from_env()
    place = device()
    if place.type == "cuda":
        torch.cuda.set_device(place)
    backend = backend or ("cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo")
    patience = timedelta(seconds=timeout)
    if "RANK" not in os.environ:
        store = torch.distributed.HashStore()
    elif "TORCHELASTIC_RESTART_COUNT" in os.environ:
        store = _store_of_attempt(os.environ["TORCHELASTIC_RESTART_COUNT"], patience)
    else:
        torch.distributed.init_process_group(backend, timeout=patience)
        return
    torch.distributed.init_process_group(backend, store=store, rank=rank(), world_size=world(), timeout=patience)


def _store_of_attempt(attempt: str, patience: timedelta) -> Any:
    """The store of torchrun, with names of its own for each restart: the old ones hold addresses of dead ranks."""
    from torch.distributed import PrefixStore, TCPStore

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    first = rank() == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    return PrefixStore(f"attempt {attempt}", TCPStore(host, port, is_master=first, timeout=patience))
