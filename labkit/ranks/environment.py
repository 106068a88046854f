"""Where ranks meet and what their environment says: torchrun's names, a port of their own, one thread each."""

import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["Port", "cores", "environment", "refuse_odd_names"]


_NOT_THEIRS = ("PYTHONSTARTUP", "JPY_SESSION_NAME")  # a rank is no notebook
# Freed memory stays with the rank (glibc): given back and fetched anew, a step's gradients cost 3 % of its time.
_KEEP = {"MALLOC_TRIM_THRESHOLD_": 2**30, "MALLOC_MMAP_THRESHOLD_": 2**30}


class Port:
    """A free port, kept for one run of ranks until it is closed: nobody else is given it meanwhile.

    On Linux the socket stays bound without listening, so that rank 0 may listen there, and nobody else is offered
    the port. Elsewhere it is let go at once, which leaves a moment for somebody else to take it.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("", 0))
        self.number = self._socket.getsockname()[1]
        if not sys.platform.startswith("linux"):
            self._socket.close()

    def close(self) -> None:
        """Let go of the port."""
        self._socket.close()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(rank: int, world: int, port: int, threads: int, more: Mapping[str, Any]) -> dict[str, str]:
    """The environment of one rank: that of this process, torchrun's names, and what the caller adds (None: drops)."""
    own = {name: value for name, value in os.environ.items() if name not in _NOT_THEIRS}
    here: dict[str, Any] = {
        "RANK": rank,
        "WORLD_SIZE": world,
        "LOCAL_RANK": rank,
        "LOCAL_WORLD_SIZE": world,
        "GROUP_RANK": 0,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,  # NumPy's own
        "VECLIB_MAXIMUM_THREADS": threads,  # the same on a Mac
        "GOMP_SPINCOUNT": 0,  # OpenMP threads that spin while they wait take the core from the rank that works
        **_KEEP,
        "MPLBACKEND": "agg",
        "TORCH_CPP_LOG_LEVEL": "FATAL",  # what it would log is raised as well
        "LABKIT_RANK": rank,
    }
    loopback = {name for _, name in socket.if_nameindex()} & {"lo", "lo0"} if hasattr(socket, "if_nameindex") else ()
    if loopback:
        here["GLOO_SOCKET_IFNAME"] = min(loopback)
    found = own | here | dict(more)
    return {name: str(value) for name, value in found.items() if value is not None}


def refuse_odd_names(more: Any) -> None:
    """Refuse variables that no environment can hold, before anything starts.

    Raises:
        ValueError: for what is no dictionary, and for a name or value that the system does not take.
    """
    if not isinstance(more, Mapping):
        raise ValueError(f"env is {more!r}; it must be a dictionary of names and values, as in env={{'SEED': 1}}")
    for name, value in more.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in f"{name}{value}":
            raise ValueError(f"env has {name!r}: {value!r}; names are text without '=', and neither holds a zero byte")
