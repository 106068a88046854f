"""The first cell of every notebook: where it runs, how big it runs, and seeds for all that is random."""

import functools
import os
import platform
import random
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from numbers import Integral
from typing import Any

import matplotlib
import numpy as np

from labkit.figures import style
from labkit.workbench import installing, room
from labkit.workbench.names import unknown

SCALES = ("ci", "laptop", "gpu")
_NOT_GIVEN = object()


@dataclass(frozen=True)
class Lab:
    """What a notebook knows of its run: `scale`, `seed`, `where` (Colab, Kaggle or local) and the torch `device`."""

    scale: str
    seed: int
    where: str

    @functools.cached_property
    def device(self) -> str:
        """The torch device, "cuda" or "mps" where there is one and "cpu" otherwise; imports torch when first asked.

        Raises:
            ModuleNotFoundError: if torch is not installed.
        """
        import torch

        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    @property
    def watched(self) -> bool:
        """Whether somebody sees the cells while they run, in JupyterLab, Colab or Kaggle, not only what they leave."""
        return self.where != "local" or "JPY_SESSION_NAME" in os.environ

    def bar(self, label: str) -> str | None:
        """Give the label of a progress bar where somebody is watching, else None for no bar: stored outputs have none.

        It goes to an argument like `progress=lab.bar("training")`.
        """
        return label if self.watched or self.scale != "ci" else None

    def pick(self, *, ci: Any, laptop: Any = _NOT_GIVEN, gpu: Any = _NOT_GIVEN) -> Any:
        """Give the value for this scale; one that is left out is that of the next smaller scale."""
        offered = {"ci": ci, "laptop": laptop, "gpu": gpu}
        smaller = SCALES[: SCALES.index(self.scale) + 1]
        return next(offered[name] for name in reversed(smaller) if offered[name] is not _NOT_GIVEN)

    def room(
        self, what: str, need: Callable[[Any], Any], *, ci: Any, laptop: Any = _NOT_GIVEN, gpu: Any = _NOT_GIVEN
    ) -> Any:
        """Give the value for this scale as `pick` does, and say first what memory it needs and what is free here.

        `need(value)` gives bytes, or bytes by part; `what` begins the sentence: "the letter model needs 0.6 GB, …".

        Raises:
            ValueError: at the scale "gpu", if the device cannot hold it; the message names a smaller scale that fits.
        """
        small = Lab("laptop", self.seed, self.where).pick(ci=ci, laptop=laptop)
        picked = {"ci": ci, "laptop": small, "gpu": small if gpu is _NOT_GIVEN else gpu}
        upto = SCALES[: SCALES.index(self.scale) + 1]
        needs = {scale: room.total(need(picked[scale])) for scale in upto}
        room.announce(what, needs, self.scale, self.device)
        return picked[self.scale]


def start(scale: str = "ci", seed: int | Any = 0, torch: bool = False, needs: Iterable[str] = ()) -> Lab:
    """Begin a notebook: seed what is random, set the look of figures, and print one line that says where it runs.

    `torch=True` seeds torch as well and finds its device; torch is also seeded when it is already imported. At the
    scale "ci" torch then computes on one thread.

    `needs` names the extras that the page uses, as in `needs=("text", "models")`. A hosted notebook gets what it lacks
    of them, without moving what is there; elsewhere a line tells what is missing, and the page goes on.

    Raises:
        ValueError: if the scale or one of `needs` is unknown, or the seed no whole number from 0 to 4,294,967,295.
    """
    if scale not in SCALES:
        raise ValueError(unknown("scale", scale, SCALES))
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed < 2**32:
        raise ValueError(f"the seed is {seed!r}; it must be a whole number from 0 to 4294967295, as in seed=0")
    wanted = (needs,) if isinstance(needs, str) else tuple(needs)
    installing.complete(*wanted, hosted=_where() != "local")  # a fresh Colab lacks what its own packages do not bring
    # Before torch is imported: OpenMP threads that wait asleep. Spinning ones made a small training run twenty times
    # slower on two cores that had other work; asleep they cost nothing that could be measured.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    lab = Lab(scale=scale, seed=int(seed), where=_where())
    seed_everything(lab.seed, torch=torch)
    if torch and scale == "ci":
        _one_thread()
    matplotlib.rcParams.update(style.theme())
    style.install()
    print(_first_line(lab, torch=torch))
    return lab


def seed_everything(seed: int, torch: bool = False) -> None:
    """Seed Python's and NumPy's global generators, and torch's if it is asked for or already imported."""
    random.seed(seed)
    np.random.seed(seed)
    if torch or "torch" in sys.modules:
        import torch as torch_module

        torch_module.manual_seed(seed)


def _one_thread() -> None:
    """Small models run faster on one thread, and the last digit of a sum no longer depends on the number of cores."""
    import torch

    torch.set_num_threads(1)


def _where() -> str:
    if "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ:
        return "Colab"
    return "Kaggle" if "KAGGLE_KERNEL_RUN_TYPE" in os.environ else "local"


def _first_line(lab: Lab, torch: bool) -> str:
    machine = [
        f"labkit {_version()}",
        f"Python {platform.python_version()}",
        f"{platform.system()} ({lab.where})",
        f"{os.cpu_count() or 1} CPU cores",
    ]
    if torch:
        machine.append(f"torch on {lab.device}")
    return f"ready: scale {lab.scale}, seed {lab.seed} · ‹{' · '.join(machine)}›"


def _version() -> str:
    try:
        return metadata.version("llm-labkit")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "from source"
