"""Comparing a learner's answer with the right one, and saying in plain words how they differ."""

import math
import numbers
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from labkit.workbench.display import brief

RELATIVE, ABSOLUTE = 1e-9, 1e-12  # another order of summation is no mistake
SEQUENCES = (list, tuple, np.ndarray)

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
    """Give tensors and series as NumPy arrays, and NumPy scalars as Python numbers."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    elif type(value).__module__.startswith("pandas.") and hasattr(value, "to_numpy"):
        value = value.to_numpy()
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def same_answer(got: Any, expected: Any) -> bool:
    """Tell whether two answers are equal: numbers to 1e-9, everything else element by element.

    Lists, tuples and arrays may stand for one another, and so may ints and floats of one value; bools and numbers not.
    """
    got, expected = plain(got), plain(expected)
    if isinstance(expected, bool) or isinstance(got, bool) or expected is None or got is None:
        return type(got) is type(expected) and got == expected
    if isinstance(expected, str | bytes):
        return isinstance(got, str | bytes) and got == expected
    if isinstance(expected, numbers.Number):
        return isinstance(got, numbers.Number) and same_number(got, expected)
    if isinstance(expected, Mapping):
        return (
            isinstance(got, Mapping)
            and got.keys() == expected.keys()
            and all(same_answer(got[k], expected[k]) for k in expected)
        )
    if isinstance(expected, Set):
        return isinstance(got, Set) and got == expected
    if isinstance(expected, SEQUENCES):
        return isinstance(got, SEQUENCES) and same_sequence(got, expected)
    return type(got) is type(expected) and bool(got == expected)


def same_number(got: Any, expected: Any) -> bool:
    """Tell whether two numbers are equal to rounding; whole numbers exactly, and NaN equals NaN here."""
    if isinstance(got, numbers.Rational) and isinstance(expected, numbers.Rational):
        return got == expected
    if isinstance(got, numbers.Real) and isinstance(expected, numbers.Real):
        if math.isnan(got) or math.isnan(expected):
            return math.isnan(got) and math.isnan(expected)
        return math.isclose(got, expected, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return abs(got - expected) <= max(RELATIVE * abs(expected), ABSOLUTE)


def same_sequence(got: Any, expected: Any) -> bool:
    """Tell whether two lists, tuples or arrays are equal element by element."""
    if isinstance(got, np.ndarray) and isinstance(expected, np.ndarray):
        if got.shape != expected.shape:
            return False
        if got.dtype.kind in "iufc" and expected.dtype.kind in "iufc":
            return bool(np.allclose(got, expected, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True))
    return len(got) == len(expected) and all(same_answer(a, b) for a, b in zip(got, expected, strict=True))


def difference(got: Any, expected: Any) -> str:
    """Say in one sentence how an answer differs from the expected one."""
    got, expected = plain(got), plain(expected)
    if got is None:
        return "The answer is None: is the `return` missing?"
    if _kind(got) != _kind(expected):
        return f"The answer is {_article(_kind(got))}, and {_article(_kind(expected))} is expected."
    if isinstance(expected, Mapping):
        return _mapping_difference(got, expected)
    if isinstance(expected, Set):
        return _membership(got - expected, expected - got, "elements")
    if isinstance(expected, SEQUENCES):
        return _sequence_difference(got, expected)
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


def _sequence_difference(got: Any, expected: Any) -> str:
    shapes = [value.shape if isinstance(value, np.ndarray) else None for value in (got, expected)]
    if None not in shapes and shapes[0] != shapes[1]:
        return f"The shape of the answer is {shapes[0]}, and {shapes[1]} is expected."
    if len(got) != len(expected):
        return f"The answer has {len(got)} elements, and {len(expected)} are expected."
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        if not same_answer(a, b):
            return f"The first difference is at index {i}: {brief(a)} came, and {brief(b)} is expected."
    return ""


def common_factor(pairs: list[tuple[Any, Any]]) -> str:
    """Name the cause when every (got, expected) pair of numbers differs by one and the same telling factor."""
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


def _is_number(value: Any) -> bool:
    value = plain(value)
    if isinstance(value, int) and value.bit_length() > 1000:  # no float is as large
        return False
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    kinds = (
        (str, "string"),
        (numbers.Number, "number"),
        (Mapping, "dict"),
        (Set, "set"),
        (np.ndarray, "array"),
        (list | tuple, "list"),
    )
    found = next((name for kind, name in kinds if isinstance(value, kind)), type(value).__name__)
    return "list" if found == "array" else found


def _article(kind: str) -> str:
    return {"NoneType": "None", "list": "a list (or array)"}.get(kind, ("an " if kind[0] in "aeiou" else "a ") + kind)
