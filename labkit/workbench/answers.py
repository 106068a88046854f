"""Comparing a learner's answer with the right one, and saying in plain words how they differ."""

import math
import numbers
import re
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from labkit.workbench.display import brief

DOUBLE = 1e-9, 1e-12  # relative, absolute: another order of summation is no mistake
SINGLE = 1e-5, 1e-6  # and neither is torch's default, seven digits
SEQUENCES = (list, tuple, np.ndarray)
NUMERIC = "iufc"  # the kinds of NumPy's number types

# A number that is off by one of these factors on every input has a likely cause.
FACTORS = {
    -1.0: "the sign is the other way round",
    2.0: "it is twice too large",
    0.5: "it is half of what is expected",
    math.log(2): "it looks like a natural logarithm where base 2 is wanted",
    1 / math.log(2): "it looks like a base-2 logarithm where the natural one is wanted",
    100.0: "it is 100 times too large: a percentage instead of a share?",
    0.01: "it is 100 times too small: a share instead of a percentage?",
}


def plain(value: Any) -> Any:
    """Give tensors and series as NumPy arrays, and NumPy scalars as numbers; a tensor without values as it is."""
    if is_tensor(value):
        value = _array_of(value)
    elif type(value).__module__.startswith("pandas.") and hasattr(value, "to_numpy"):
        value = value.to_numpy()
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def is_tensor(value: Any) -> bool:
    """Tell whether a value is a torch tensor, without importing torch."""
    return hasattr(value, "detach") and hasattr(value, "dtype")


def _array_of(tensor: Any) -> Any:
    try:
        tensor = tensor.detach().cpu()
        return (tensor.float() if re.search("bfloat16|float8", str(tensor.dtype)) else tensor).numpy(force=True)
    except (TypeError, RuntimeError, NotImplementedError):  # sparse, or on the meta device
        return tensor


def same_answer(got: Any, expected: Any) -> bool:
    """Tell whether two answers are equal: numbers to 1e-9 (in single precision to 1e-5), the rest element by element.

    Lists, tuples, arrays and tensors may stand for one another, and so may ints and floats of one value; bools and
    numbers not. Whether a tensor wants a gradient does not matter.
    """
    tolerance = _tolerance(got, expected)
    got, expected = plain(got), plain(expected)
    if isinstance(expected, bool) or isinstance(got, bool) or expected is None or got is None:
        return type(got) is type(expected) and got == expected
    if isinstance(expected, str | bytes):
        return isinstance(got, str | bytes) and got == expected
    if isinstance(expected, numbers.Number):
        return isinstance(got, numbers.Number) and same_number(got, expected, tolerance)
    if isinstance(expected, Mapping):
        return (
            isinstance(got, Mapping)
            and got.keys() == expected.keys()
            and all(same_answer(got[k], expected[k]) for k in expected)
        )
    if isinstance(expected, Set):
        return isinstance(got, Set) and got == expected
    if isinstance(expected, SEQUENCES):
        return isinstance(got, SEQUENCES) and same_sequence(got, expected, tolerance)
    return type(got) is type(expected) and bool(got == expected)


def _tolerance(*values: Any) -> tuple[float, float]:
    single = any(str(getattr(value, "dtype", "")).endswith(("float32", "complex64")) for value in values)
    return SINGLE if single else DOUBLE


def same_number(got: Any, expected: Any, tolerance: tuple[float, float] = DOUBLE) -> bool:
    """Tell whether two numbers are equal to rounding; whole numbers exactly, and NaN equals NaN here."""
    if isinstance(got, numbers.Rational) and isinstance(expected, numbers.Rational):
        return got == expected
    if _no_float(got) or _no_float(expected):
        return False
    if isinstance(got, numbers.Real) and isinstance(expected, numbers.Real):
        if math.isnan(got) or math.isnan(expected):
            return math.isnan(got) and math.isnan(expected)
        return math.isclose(got, expected, rel_tol=tolerance[0], abs_tol=tolerance[1])
    return abs(got - expected) <= max(tolerance[0] * abs(expected), tolerance[1])


def _no_float(value: Any) -> bool:
    """Tell whether a whole number is larger than any float."""
    return isinstance(value, int) and value.bit_length() > 1000


def same_sequence(got: Any, expected: Any, tolerance: tuple[float, float] = DOUBLE) -> bool:
    """Tell whether two lists, tuples or arrays are equal element by element."""
    if isinstance(got, np.ndarray) and isinstance(expected, np.ndarray):
        if got.shape != expected.shape:
            return False
        return not _differs(got, expected, tolerance).any()
    return len(got) == len(expected) and all(same_answer(a, b) for a, b in zip(got, expected, strict=True))


def _differs(got: np.ndarray, expected: np.ndarray, tolerance: tuple[float, float]) -> np.ndarray:
    """Where two arrays of one shape differ."""
    if got.dtype.kind in NUMERIC and expected.dtype.kind in NUMERIC:
        return ~np.isclose(got, expected, *tolerance, equal_nan=True)
    pairs = zip(got.flat, expected.flat, strict=True)
    return np.array([not same_answer(a, b) for a, b in pairs], dtype=bool).reshape(got.shape)


def difference(got: Any, expected: Any) -> str:
    """Say in one sentence how an answer differs from the expected one."""
    kinds, tolerance = [_kind(got), _kind(expected)], _tolerance(got, expected)
    got, expected = plain(got), plain(expected)
    if is_tensor(got):
        return "The answer is a tensor without values: sparse, or on the meta device."
    if got is None:
        return "The answer is None: is the `return` missing?"
    if kinds[0] != kinds[1] and not (isinstance(got, SEQUENCES) and isinstance(expected, SEQUENCES)):
        return f"The answer is {_article(kinds[0])}, and {_article(kinds[1])} is expected."
    if isinstance(expected, Mapping):
        return _mapping_difference(got, expected)
    if isinstance(expected, Set):
        return _membership(got - expected, expected - got, "elements")
    if isinstance(expected, SEQUENCES):
        return _sequence_difference(got, expected, tolerance)
    if isinstance(got, float) and math.isnan(got):
        return "The answer is NaN (not a number): 0/0, or the logarithm of something negative, came up on the way."
    return ""


def _mapping_difference(got: Mapping, expected: Mapping) -> str:
    missing, extra = [k for k in expected if k not in got], [k for k in got if k not in expected]
    if missing or extra:
        return _membership(extra, missing, "keys")
    key = next((k for k in expected if not same_answer(got[k], expected[k])), None)
    return (
        f"The value for {brief(key)} is {brief(got[key])}, and {brief(expected[key])} is expected."
        if key is not None
        else ""
    )


def _membership(extra: Any, missing: Any, what: str) -> str:
    parts = [f"{brief(found)} {why}" for found, why in ((missing, "missing"), (extra, "not expected")) if found]
    return f"Some {what} differ: {', '.join(parts)}." if parts else ""


def _sequence_difference(got: Any, expected: Any, tolerance: tuple[float, float]) -> str:
    if isinstance(got, np.ndarray) and isinstance(expected, np.ndarray):
        return _array_difference(got, expected, tolerance)
    parts = [_is_tuple_of_arrays(value) for value in (got, expected)]
    if parts == [True, False] and isinstance(expected, np.ndarray):
        return f"The answer is {len(got)} arrays or tensors, and one of shape {expected.shape} is expected."
    if parts == [False, True] and isinstance(got, np.ndarray):
        return f"The answer is one array or tensor of shape {got.shape}, and a tuple of {len(expected)} is expected."
    if len(got) != len(expected):
        return f"The answer has {len(got)} elements, and {len(expected)} are expected."
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        if not same_answer(a, b):
            if any(parts):
                return f"Element {i} of the answer differs. {difference(a, b)}"
            return f"The first difference is at index {i}: {brief(a)} came, and {brief(b)} is expected."
    return ""


def _is_tuple_of_arrays(value: Any) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(plain(item), np.ndarray) for item in value)


def _array_difference(got: np.ndarray, expected: np.ndarray, tolerance: tuple[float, float]) -> str:
    if got.shape != expected.shape:
        return f"The shape of the answer is {got.shape}, and {expected.shape} is expected."
    if (got.dtype.kind == "b") != (expected.dtype.kind == "b"):
        kinds = ["bools" if value.dtype.kind == "b" else "numbers" for value in (got, expected)]
        return f"The answer holds {kinds[0]}, and {kinds[1]} are expected."
    if got.dtype.kind in "fc" and (strange := np.isnan(got) & ~np.isnan(expected)).any():
        return (
            f"The answer holds NaN (not a number), first at index {_first(strange)}: 0/0 or ∞ − ∞ came up on the way."
        )
    if got.ndim > 1 and got.shape[-1] == got.shape[-2] and same_sequence(got.swapaxes(-1, -2), expected, tolerance):
        return "The answer is the transpose of what is expected."
    where = _first(_differs(got, expected, tolerance))
    return (
        f"The first difference is at index {where}: {brief(got[where])} came, and {brief(expected[where])} is expected."
    )


def _first(where: np.ndarray) -> int | tuple[int, ...]:
    index = tuple(int(i) for i in np.argwhere(where)[0])
    return index[0] if len(index) == 1 else index


def common_factor(pairs: list[tuple[Any, Any]]) -> str:
    """Name the cause when all numbers of all (got, expected) pairs differ by one and the same telling factor."""
    pairs = [numbers for got, expected in pairs for numbers in _number_by_number(got, expected)]
    if not all(_is_number(g) and _is_number(e) for g, e in pairs):
        return ""
    useful = [(float(g), float(e)) for g, e in pairs if g != 0 or e != 0]  # zero for zero tells nothing of the factor
    if not useful or not all(math.isfinite(g) and math.isfinite(e) for g, e in useful):
        return ""
    by_one = {round(g - e, 9) for g, e in useful}
    if by_one == {1.0} or by_one == {-1.0}:
        return f"It is off by one every time: {by_one.pop():+.0f}."
    if any(e == 0 for _, e in useful):
        return ""
    ratios = [g / e for g, e in useful]
    if any(not math.isclose(ratio, ratios[0], rel_tol=1e-6) for ratio in ratios):
        return ""
    named = [words for factor, words in FACTORS.items() if math.isclose(ratios[0], factor, rel_tol=1e-6)]
    if named:
        return named[0][0].upper() + named[0][1:] + "."
    return f"It is off by the same factor every time: {ratios[0]:.4g}." if len(ratios) > 2 and ratios[0] != 0 else ""


def _number_by_number(got: Any, expected: Any) -> list[tuple[Any, Any]]:
    got, expected = plain(got), plain(expected)
    if isinstance(got, np.ndarray) and isinstance(expected, np.ndarray) and got.shape == expected.shape:
        return list(zip(got.ravel().tolist(), expected.ravel().tolist(), strict=True))
    return [(got, expected)]


def _is_number(value: Any) -> bool:
    value = plain(value)
    return isinstance(value, int | float) and not isinstance(value, bool) and not _no_float(value)


def _kind(value: Any) -> str:
    if is_tensor(value) and value.ndim:
        return "tensor"
    value = plain(value)
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    kinds = ((str, "string"), (numbers.Number, "number"), (Mapping, "dict"), (Set, "set"), (SEQUENCES, "list"))
    return next((name for kind, name in kinds if isinstance(value, kind)), type(value).__name__)


def _article(kind: str) -> str:
    return {"NoneType": "None", "list": "a list (or array)"}.get(kind, ("an " if kind[0] in "aeiou" else "a ") + kind)
