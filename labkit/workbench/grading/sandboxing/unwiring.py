"""Reading what came out of the sandbox: every size is checked before anything is parsed or made.

Whoever sends may be hostile: whatever the bytes are, the result is a value of plain types or `Unreadable`, in bounded
time and memory.
"""

import builtins
import json
import math
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from labkit.workbench.grading.sandboxing.wire import AS_BITS, DEEPEST, DTYPES, MOST_BITS, MOST_NODES, Opaque

__all__ = ["MOST_JSON", "Unreadable", "clean", "decode", "kind_of_error", "parse"]

MOST_JSON = 16_000_000  # bytes
# Each value costs at most a tag, a bracket and three commas; more of them in the text than that is no answer of ours.
MOST_MARKS = 8 * MOST_NODES
MOST_SAME_HASH = 64  # else a dict of a few thousand keys could take hours


class Unreadable(ValueError):
    """What came is not what the sandbox sends."""


def parse(text: bytes) -> Any:
    """Give the JSON in `text`, if it is of a size that an answer can have.

    Raises:
        Unreadable: if it is not.
    """
    if len(text) > MOST_JSON or sum(text.count(mark) for mark in (b",", b"[", b"{", b":")) > MOST_MARKS:
        raise Unreadable("more came back than an answer can hold")
    try:
        return json.loads(text, parse_int=_short_int, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Unreadable("what came back is not written as the sandbox writes") from error


def _short_int(digits: str) -> int:
    if len(digits) > 20:
        raise Unreadable("a number is longer than the sandbox writes it")
    return int(digits)


def _no_constant(name: str) -> None:
    raise Unreadable(f"{name} is not written like this")


def decode(node: Any, blob: bytes) -> Any:
    """Give the value that a parsed node and the bytes of its arrays describe.

    Raises:
        Unreadable: if they do not describe one, or not all bytes are used.
    """
    reader = _Reader(blob)
    try:
        value = reader.value(node, 0)
    except Unreadable:
        raise
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError, MemoryError) as error:
        raise Unreadable(f"what came back describes no value: {type(error).__name__}") from error
    if reader.at != len(blob):
        raise Unreadable("what came back has bytes that belong to nothing")
    return value


def clean(text: Any, most: int) -> str:
    """Give a text that can be printed and written anywhere, at most so long: a sign that cannot becomes a `·`."""
    if not isinstance(text, str):
        raise Unreadable("words are no text")
    return "".join(sign if sign.isprintable() or sign == "\n" else "·" for sign in text[:most])


def kind_of_error(kind: Any) -> str:
    """Give the name of a type of error as it may be compared: a builtin one by its name, any other with a dot."""
    if not isinstance(kind, str):
        raise Unreadable("an error has no name")
    kind = "".join(sign if sign.isidentifier() or sign.isdecimal() or sign in ".<>" else "_" for sign in kind[:200])
    builtin = getattr(builtins, kind, None)
    known = isinstance(builtin, type) and issubclass(builtin, BaseException) and builtin.__name__ == kind
    return kind if "." in kind or known else f"answer.{kind}"


class _Reader:
    """Makes values of nodes; the bytes of arrays are used up from left to right, each once."""

    def __init__(self, blob: bytes) -> None:
        self.blob, self.at, self.left, self.signs = blob, 0, MOST_NODES + 1, MOST_JSON

    def value(self, node: Any, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth > DEEPEST + 1:
            raise Unreadable("more came back than an answer can hold")
        if node is None or isinstance(node, bool | int | float | str):
            return node
        if not isinstance(node, list) or not node or not isinstance(node[0], str):
            raise Unreadable("a value has no tag")
        read, length = _TAGS.get(node[0], (None, 0))
        if read is None or len(node) != length:
            raise Unreadable("a value has a tag that the sandbox does not write")
        return read(self, node[1:], depth)

    def items(self, nodes: Any, depth: int) -> list:
        return [self.value(node, depth + 1) for node in _list(nodes)]

    def take(self, length: Any) -> bytes:
        if type(length) is not int or not 0 <= length <= len(self.blob) - self.at:
            raise Unreadable("an array is longer than the bytes that came")
        self.at += length
        return self.blob[self.at - length : self.at]

    def array(self, name: Any, shape: list) -> np.ndarray:
        if name not in DTYPES:
            raise Unreadable("an array of a type that the sandbox does not write")
        dtype = np.dtype(name).newbyteorder("<")
        data = self.take(_count(shape) * dtype.itemsize)
        if name == "bool":
            return (np.frombuffer(data, np.uint8) != 0).reshape(shape)
        return np.frombuffer(data, dtype).astype(name).reshape(shape)


def _list(nodes: Any) -> list:
    if not isinstance(nodes, list):
        raise Unreadable("a collection has no items")
    return nodes


def _count(shape: Any) -> int:
    sizes = _list(shape)
    if len(sizes) > 32 or any(type(size) is not int or not 0 <= size < 2**40 for size in sizes):
        raise Unreadable("an array has a shape that no array has")
    return math.prod(sizes)


def _members(reader: _Reader, nodes: list, depth: int) -> list:
    members = reader.items(nodes[0], depth)
    _spread([hash(member) for member in members])
    return members


def _spread(hashes: list[int]) -> None:
    if hashes and Counter(hashes).most_common(1)[0][1] > MOST_SAME_HASH:
        raise Unreadable("the keys are made to be slow")


def _dict(reader: _Reader, nodes: list, depth: int) -> dict:
    pairs = _list(nodes[0])
    if any(not isinstance(pair, list) or len(pair) != 2 for pair in pairs):
        raise Unreadable("a dict has something that is no pair")
    keys = [reader.value(pair[0], depth + 1) for pair in pairs]
    _spread([hash(key) for key in keys])
    return dict(zip(keys, [reader.value(pair[1], depth + 1) for pair in pairs], strict=True))


def _whole(reader: _Reader, nodes: list, depth: int) -> int:
    if not isinstance(nodes[0], str) or len(nodes[0]) > MOST_BITS // 4 + 4:
        raise Unreadable("a number is longer than the sandbox writes it")
    return int(nodes[0], 16)


def _special(reader: _Reader, nodes: list, depth: int) -> float:
    return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[nodes[0]]


def _complex(reader: _Reader, nodes: list, depth: int) -> complex:
    real, imaginary = (reader.value(node, depth + 1) for node in nodes)
    if not isinstance(real, float) or not isinstance(imaginary, float):
        raise Unreadable("a complex number has a part that is no float")
    return complex(real, imaginary)


def _fraction(reader: _Reader, nodes: list, depth: int) -> Any:
    parts = [reader.value(node, depth + 1) for node in nodes]
    if any(isinstance(part, Opaque) for part in parts):
        return Opaque("Fraction")
    if any(type(part) is not int for part in parts) or parts[1] == 0:
        raise Unreadable("a fraction has a part that is no whole number, or 0 below")
    return Fraction(*parts)


def _texts(reader: _Reader, nodes: list, depth: int) -> np.ndarray:
    texts = reader.items(nodes[1], depth)
    if any(not isinstance(text, str) for text in texts) or len(texts) != _count(nodes[0]):
        raise Unreadable("an array of texts holds something else")
    reader.signs -= len(texts) * max(map(len, texts), default=0)  # each takes as much as the longest
    if reader.signs < 0:
        raise Unreadable("more came back than an answer can hold")
    return np.array(texts, dtype=str).reshape(nodes[0])


def _tensor(reader: _Reader, nodes: list, depth: int) -> Any:
    name, shape = nodes
    array = reader.array(AS_BITS.get(name, name) if isinstance(name, str) else name, shape)
    try:
        import torch
    except ImportError:
        return Opaque("Tensor", "torch is not installed here")
    tensor = torch.from_numpy(array.copy())
    return tensor.view(getattr(torch, name)) if name in AS_BITS else tensor


def _opaque(reader: _Reader, nodes: list, depth: int) -> Opaque:
    if any(not isinstance(words, str) for words in nodes):
        raise Unreadable("something opaque has no words")
    return Opaque(clean(nodes[0], 100), clean(nodes[1], 200))


_TAGS: dict[str, tuple[Callable, int]] = {
    "e": (lambda reader, nodes, depth: ..., 1),
    "i": (_whole, 2),
    "f": (_special, 2),
    "c": (_complex, 3),
    "q": (_fraction, 3),
    "b": (lambda reader, nodes, depth: reader.take(nodes[0]), 2),
    "l": (lambda reader, nodes, depth: reader.items(nodes[0], depth), 2),
    "t": (lambda reader, nodes, depth: tuple(reader.items(nodes[0], depth)), 2),
    "s": (lambda reader, nodes, depth: set(_members(reader, nodes, depth)), 2),
    "z": (lambda reader, nodes, depth: frozenset(_members(reader, nodes, depth)), 2),
    "d": (_dict, 2),
    "a": (lambda reader, nodes, depth: reader.array(*nodes), 3),
    "n": (lambda reader, nodes, depth: reader.array(*nodes)[()], 3),
    "u": (_texts, 3),
    "T": (_tensor, 3),
    "o": (_opaque, 3),
}
