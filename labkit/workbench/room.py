"""Room for the large case: what it needs by formula and what this machine has, said before it starts."""

import os
from collections.abc import Mapping
from importlib import import_module, util
from numbers import Real
from typing import Any

from labkit.workbench import containers

_NAMES = {"cpu": "CPU", "mps": "Mac"}
_UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
Bytes = float | int


def announce(what: str, needs: Mapping[str, Bytes], scale: str, device: str) -> None:
    """Print what the case needs at this scale and what the device has; `needs` holds bytes, the smallest scale first.

    A device that cannot hold it is a warning at "ci" and "laptop": the page goes on, more slowly than it should.

    Raises:
        ValueError: at "gpu", if it does not fit; the message names the largest smaller scale that does.
    """
    need, has = needs[scale], free(device)
    print(sentence(what, need, device, has))
    if has is None or need <= has:
        return
    smaller = list(needs)[: list(needs).index(scale)]
    fitting = next((name for name in reversed(smaller) if needs[name] <= has), None)
    if scale == "gpu":
        advice = _advice(fitting, needs)
        raise ValueError(
            f'{what} needs {size(need)} at scale "gpu", this {_name(device)} has {size(has)} free: {advice}'
        )
    print(f"‹That is more than is free: {_advice(fitting, needs)}. The page goes on, and may be stopped.›")


def sentence(what: str, need: Bytes, device: str, has: Bytes | None) -> str:
    """Give the line to print: the need, which is the same everywhere, and between ‹ and › what this machine has.

    >>> sentence("a GPT of 8 blocks", 6.1e9, "cuda:0", 15e9)
    'a GPT of 8 blocks needs 6.1 GB, ‹this GPU has 15 GB free›'
    """
    room = "does not say what it has" if has is None else f"has {size(has)} free"
    return f"{what} needs {size(need)}, ‹this {_name(device)} {room}›"


def free(device: str) -> float | None:
    """Give the free bytes of a torch device, or None where nothing can tell."""
    kind = str(device).partition(":")[0]
    if kind == "cpu":
        return min((has for has in (_free_memory(), containers.free_memory()) if has is not None), default=None)
    if kind not in ("cuda", "mps"):
        return None
    import torch

    if kind == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return float(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())


def size(number: Bytes) -> str:
    """Give bytes with two digits at least and the largest unit that leaves one before the point.

    >>> size(6.1e9), size(15e9), size(630e6), size(2_500), size(12)
    ('6.1 GB', '15 GB', '630 MB', '2.5 kB', '12 B')
    """
    unit, one = next(((unit, one) for unit, one in _UNITS if number >= one), ("B", 1))
    digits = 1 if unit != "B" and number / one < 9.95 else 0
    return f"{number / one:.{digits}f} {unit}"


def _advice(fitting: str | None, needs: Mapping[str, Bytes]) -> str:
    if fitting is None:
        return "no smaller scale fits either; close other programs and notebooks, and try again"
    return f'set scale = "{fitting}", which needs {size(needs[fitting])}, or close what else uses its memory'


def _name(device: str) -> str:
    return _NAMES.get(str(device).partition(":")[0], "GPU")


def _free_memory() -> float | None:
    """Ask psutil, which comes with the extra `lab`, else the operating system."""
    if util.find_spec("psutil"):
        return float(import_module("psutil").virtual_memory().available)
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):  # no such question on Windows and macOS
        return None


def total(need: Any) -> float:
    """Give a need in bytes: a number as it is, parts by name as their sum.

    Raises:
        ValueError: if it is no positive number.
    """
    found = sum(need.values()) if isinstance(need, Mapping) else need
    if isinstance(found, bool) or not isinstance(found, Real) or not 0 < found < float("inf"):
        raise ValueError(f"a need is a positive number of bytes, or parts that are; got {need!r}")
    return float(found)
