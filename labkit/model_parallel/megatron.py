"""What Narayanan et al. trained on how many GPUs, how they split it, how fast it was; and what `plans` says of it."""

from numbers import Real
from typing import NamedTuple

from labkit.ranks.simulation import Cluster, Link, Plan, Setting, Transformer, plans

PEAK = 312e12  # operations a second of an A100 in 16-bit numbers
PRACTICE = 0.6  # of the peak while it computes: the one number that is fitted to their table
GPT3 = Transformer(layers=96, width=12288, heads=96, context=2048, vocabulary=51200)
AS_THEY_DID = Setting(recompute=True, zero=0)


class Trained(NamedTuple):
    """A row of their table: a model, GPUs, sequences of a step, how it was split, and what each GPU achieved."""

    model: Transformer
    gpus: int
    batch: int
    tensor: int
    pipeline: int
    teraflops: Real


def _row(layers: int, width: int, heads: int, gpus: int, batch: int, pipeline: int, teraflops: Real) -> Trained:
    return Trained(Transformer(layers, width, heads, 2048, 51200), gpus, batch, 8, pipeline, teraflops)


# Source: Narayanan et al. (2021), arXiv:2104.04473, table 1, the last four rows: 146, 310, 530 and 1,008 billion.
TABLE = (
    _row(80, 12288, 96, 1536, 2304, 8, 148),
    _row(96, 16384, 128, 1920, 2160, 16, 155),
    _row(105, 20480, 128, 2520, 2520, 35, 163),
    _row(128, 25600, 160, 3072, 3072, 64, 163),
)


def a100s(gpus: int, network: Link | None = None) -> Cluster:
    """A cluster of A100 with 80 GB, eight to a machine; `network` is each GPU's share, by default 25 GB/s and 10 µs.

    Raises:
        ValueError: if the machines are not full.
    """
    if gpus < 8 or gpus % 8:
        raise ValueError(f"{gpus} GPUs do not fill machines of 8: give a multiple of 8")
    return Cluster(gpus // 8, 8, PRACTICE * PEAK, 80e9, Link(5e-6, 300e9), network or Link(1e-5, 25e9))


def their_plan(row: Trained) -> tuple[Plan, Plan]:
    """Their split and the fastest one that fits, as `plans` predicts them for this row."""
    every = plans(row.model, a100s(row.gpus), row.batch, AS_THEY_DID)
    return next(plan for plan in every if (plan.tensor, plan.pipeline) == (row.tensor, row.pipeline)), every[0]


def teraflops(plan: Plan, row: Trained) -> float:
    """What each GPU achieves under a plan, in 10¹² operations a second, those of recomputation included.

    Source: Narayanan et al. (2021), equation 3: 4/3 of the operations of forward and backward.
    """
    return 4 / 3 * row.model.flops(row.batch) / plan.seconds / row.gpus / 1e12


def training_days(plan: Plan, tokens: Real, batch: int, context: int = 2048) -> float:
    """The days for so many tokens, at `batch` sequences of `context` tokens a step.

    >>> training_days(Plan(1, 1, 1, 1, {"compute": 86400.0}, 0.0, 0.0), tokens=4096, batch=1)
    2.0
    """
    return plan.seconds * tokens / (batch * context) / 86400
