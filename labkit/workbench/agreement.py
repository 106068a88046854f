"""Does what was measured agree with what was expected? Exactly for words and counts, else within a tolerance."""

import math
import numbers
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from labkit.workbench.bounds import Bound
from labkit.workbench.display import brief, decimal, figure

# A difference in this range is rounding that another processor would not repeat; a smaller one is equal to 1e-9 anyway.
ROUNDING = (1e-10, 1e-4)
Scalar = bool | str | int | float | Fraction


@dataclass(frozen=True)
class Comparison:
    """What a claim puts on record: both sides as plain values and as words, and why it failed (empty if it did not)."""

    measured: Scalar
    expected: Scalar
    measured_text: str
    expected_text: str
    failure: str


def compare(measured: Any, expected: Any, tolerance: float | int | str | None = None) -> Comparison:
    """Compare a measured value with an expected one, or with a `Bound`; arrays by their largest deviation.

    Raises:
        ValueError: if the two cannot be compared as asked, or the comparison could not fail.
    """
    if isinstance(expected, Bound):
        if tolerance is not None:
            raise ValueError(
                f"expected is {expected} and tolerance is {tolerance!r}; a bound takes none, move the bound"
            )
        return _against_bound(plain(measured, "measured"), expected)
    if _is_same_thing(measured, expected):
        raise ValueError("measured and expected are one and the same object, so this cannot fail; compute them apart")
    left, right = plain(measured, "measured"), plain(expected, "expected")
    if _is_worded(left) or _is_worded(right):
        return _compare_words(left, right, tolerance)
    _refuse_missing_tolerance(left, right, tolerance)
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return _compare_arrays(np.asarray(left), np.asarray(right), tolerance)
    return _compare_numbers(left, right, tolerance)


def plain(value: Any, role: str = "value") -> Scalar | np.ndarray:
    """Give a value as a Python scalar or as a NumPy array; tensors, series, lists and NumPy scalars are converted.

    Raises:
        ValueError: if it is nothing that can be compared, is empty, or is an expected NaN.
    """
    if isinstance(value, str | bool | int | float | Fraction):
        if role == "expected" and value != value:
            raise ValueError("expected is NaN, and nothing equals NaN; expect a number, or claim math.isnan(x) is True")
        return _without_numpy(value)
    array = _as_array(value, role)
    if array.size == 0:
        raise ValueError(f"{role} is empty, so this claim cannot fail; see why nothing arrived here")
    if array.dtype.kind not in "biufU":
        raise ValueError(f"{role} is {brief(value)} ({type(value).__name__}); it must hold numbers, bools or strings")
    if array.ndim == 0:
        return plain(array.item(), role)
    if role == "expected" and array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError("expected holds NaN, and nothing equals NaN; leave these entries out on both sides")
    return array


def _without_numpy(value: Scalar) -> Scalar:
    return value.item() if isinstance(value, np.generic) else value


def _as_array(value: Any, role: str) -> np.ndarray:
    if hasattr(value, "detach"):  # a torch tensor, without importing torch
        value = value.detach().cpu()
        value = value.float() if "bfloat16" in str(value.dtype) else value
        return value.numpy()
    if isinstance(value, list | tuple) and len({isinstance(item, str) for item in value}) > 1:
        raise ValueError(f"{role} is {brief(value)}; a list of strings must hold nothing but strings")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{role} is {brief(value)}; its rows differ in length") from error


def _is_same_thing(measured: Any, expected: Any) -> bool:
    if isinstance(measured, np.ndarray) and isinstance(expected, np.ndarray):
        left, right = (a.__array_interface__ for a in (measured, expected))
        return measured.size > 0 and all(left[key] == right[key] for key in ("data", "shape", "strides", "typestr"))
    return measured is expected and not isinstance(measured, str | numbers.Number | np.generic)


def _is_worded(value: Scalar | np.ndarray) -> bool:
    return value.dtype.kind in "bU" if isinstance(value, np.ndarray) else isinstance(value, bool | str)


def _refuse_missing_tolerance(left: Any, right: Any, tolerance: Any) -> None:
    if tolerance is not None:
        parse_tolerance(tolerance)
        return
    for role, value in (("measured", left), ("expected", right)):
        fractional = value.dtype.kind == "f" if isinstance(value, np.ndarray) else isinstance(value, float)
        if fractional and not (np.ndim(right) == 0 and math.isinf(right)):
            raise ValueError(f"{role} has floats ({brief(value)}) and there is no tolerance; give one: 1e-9, or '1%'")


def parse_tolerance(tolerance: float | int | str) -> tuple[float, bool]:
    """Give the tolerance as a number, and whether it is relative.

    Raises:
        ValueError: if it is not a finite number from 0, or not a percentage between 0 and 100.
    """
    if isinstance(tolerance, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:[eE]-?\d+)?)\s*%\s*", tolerance)
        share = float(match[1]) / 100 if match else math.nan
        if not 0 < share < 1:
            raise ValueError(
                f"tolerance is {tolerance!r}; a relative one is a percentage above 0 and below 100, as in '1%'"
            )
        return share, True
    if isinstance(tolerance, bool) or not math.isfinite(tolerance) or tolerance < 0:
        raise ValueError(
            f"tolerance is {tolerance!r}; it must be a finite number, 0 or more, or the claim could not fail"
        )
    return float(tolerance), False


def _against_bound(measured: Scalar | np.ndarray, bound: Bound) -> Comparison:
    if _is_worded(measured):
        raise ValueError(f"measured is {brief(measured)} and expected is {bound}; a bound is for numbers")
    array = np.atleast_1d(np.asarray(measured, dtype=float))
    excess = np.maximum(bound.low - array, array - bound.high)
    excess = np.where(np.isnan(excess), math.inf, excess)
    worst = np.unravel_index(int(np.argmax(excess)), array.shape)
    value = _without_numpy(measured[worst]) if isinstance(measured, np.ndarray) else measured
    outside = int((excess > 0).sum())
    failure = (
        f"{outside} of {array.size} outside; largest deviation{_at(worst, measured)}: {figure(value)}"
        if outside
        else ""
    )
    return Comparison(value, str(bound), figure(value), str(bound), failure)


def _compare_words(left: Any, right: Any, tolerance: Any) -> Comparison:
    if tolerance is not None:
        raise ValueError(f"tolerance is {tolerance!r}, but strings and bools are compared exactly; leave it out")
    kinds = {_kind(left), _kind(right)}
    if len(kinds) > 1:
        raise ValueError(
            f"measured is {brief(left)} and expected is {brief(right)}; compare like with like, not {kinds}"
        )
    if not isinstance(left, np.ndarray) and not isinstance(right, np.ndarray):
        failure = "" if left == right else "the two differ"
        return Comparison(left, right, figure(left), figure(right), failure)
    left, right = np.asarray(left), np.asarray(right)
    if right.shape not in ((), left.shape):
        return _different_shapes(left, right)
    return _counted(left, right, left != right)


def _kind(value: Any) -> str:
    code = value.dtype.kind if isinstance(value, np.ndarray) else np.asarray(value).dtype.kind
    return {"b": "bool", "U": "str"}.get(code, "number")


def _different_shapes(left: np.ndarray, right: np.ndarray) -> Comparison:
    texts = f"shape {left.shape}", f"shape {right.shape}"
    return Comparison(*texts, *texts, failure=f"the shapes differ: {left.shape} came, {right.shape} was expected")


def _counted(left: np.ndarray, right: np.ndarray, differs: np.ndarray) -> Comparison:
    count, failure = int(differs.sum()), ""
    if count:
        failure = "the first difference" + _pair(left, right, np.unravel_index(int(np.argmax(differs)), left.shape))
    return Comparison(count, 0, f"{count} of {left.size} differing", "0", failure)


def _compare_numbers(left: Any, right: Any, tolerance: Any) -> Comparison:
    failure = ""
    if left != right:
        size, relative = (0.0, False) if tolerance is None else parse_tolerance(tolerance)
        unusable = (isinstance(left, float) and not math.isfinite(left)) or (
            isinstance(right, float) and math.isinf(right)
        )
        gap = math.inf if unusable else abs(left - right)
        allowed = 0 if unusable else size * abs(right) if relative else size
        failure = "" if gap <= allowed else f"largest deviation {figure(gap)}"
    text = _rounding_marked(left, abs(left)) if right == 0 and isinstance(left, float) else figure(left)
    return Comparison(left, right, text, figure(right), failure)


def _compare_arrays(left: np.ndarray, right: np.ndarray, tolerance: Any) -> Comparison:
    if right.shape not in ((), left.shape):
        return _different_shapes(left, right)
    if tolerance is None and left.dtype.kind in "iu":
        return _counted(left, right, left != right)
    size, relative = (0.0, False) if tolerance is None else parse_tolerance(tolerance)
    left, right = left.astype(float), np.broadcast_to(right.astype(float), left.shape)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        gap = np.where(left == right, 0.0, np.abs(left - right))
        gap = np.where((gap > 0) & relative, gap / np.abs(right), gap)
    gap = np.where(np.isnan(gap) | ((left != right) & np.isinf(right)), math.inf, gap)
    worst = np.unravel_index(int(np.argmax(gap)), gap.shape)
    value = float(gap[worst])
    failure = f"largest deviation {decimal(value, 3)}{_pair(left, right, worst)}" if value > size else ""
    text = f"largest {'relative ' if relative else ''}difference {_rounding_marked(value, value, digits=2)}"
    return Comparison(value, 0.0, text, "0.0", failure)


def _rounding_marked(value: float, deviation: float, digits: int = 6) -> str:
    text = decimal(value, digits)
    return f"‹{text}›" if ROUNDING[0] < deviation < ROUNDING[1] else text


def _pair(left: np.ndarray, right: np.ndarray, where: tuple) -> str:
    expected = right[where] if right.shape else right
    return f"{_at(where, left)}: measured {figure(left[where].item())}, expected {figure(expected.item())}"


def _at(where: tuple, measured: Any) -> str:
    if not isinstance(measured, np.ndarray):
        return ""
    index = tuple(int(i) for i in where)
    return f" at index {index[0] if len(index) == 1 else index}"
