"""Bounds for a claim whose figure depends on the machine, or of which only a side matters."""

import math
from dataclasses import dataclass

from labkit.workbench.display import figure


@dataclass(frozen=True)
class Bound:
    """The closed interval in which every measured number must lie."""

    low: float | int
    high: float | int

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"at least {figure(self.low)}"
        if self.low == -math.inf:
            return f"at most {figure(self.high)}"
        return f"between {figure(self.low)} and {figure(self.high)}"


def at_least(low: int | float) -> Bound:
    """Expect every measured number to be `low` or more.

    Raises:
        ValueError: if the bound is not finite, since then the claim could not fail.
    """
    return Bound(_finite(low), math.inf)


def at_most(high: int | float) -> Bound:
    """Expect every measured number to be `high` or less.

    Raises:
        ValueError: if the bound is not finite, since then the claim could not fail.
    """
    return Bound(-math.inf, _finite(high))


def between(low: int | float, high: int | float) -> Bound:
    """Expect every measured number to lie from `low` to `high`, both included.

    Raises:
        ValueError: if a bound is not finite, or `low` is above `high`.
    """
    if _finite(low) > _finite(high):
        raise ValueError(f"between({low}, {high}): no number lies there; give the lower bound first")
    return Bound(low, high)


def _finite(value: int | float) -> int | float:
    if not math.isfinite(value):
        raise ValueError(f"the bound is {value}; it must be a finite number, or the claim could not fail")
    return value
