"""Values on their way out of the sandbox: JSON for the structure, raw bytes for the arrays, and nothing that acts.

What comes out was made by a student's program, so nothing in it may run: no pickle, no classes, no hooks. A subclass
travels as what it is underneath (a `Counter` as a dict, a tuple with names as a tuple); what is not a number, a text,
an array or a collection of them travels as `Opaque`, which equals nothing.
"""

import json
import struct
import sys
from collections.abc import Mapping, Set
from fractions import Fraction
from typing import Any

__all__ = ["DEEPEST", "DTYPES", "HEAD", "MOST_BITS", "MOST_NODES", "Opaque", "encode", "frame"]

HEAD = struct.Struct("<IQ")  # before every message: how long its JSON is, and its arrays
MOST_NODES = 200_000  # values in one answer; a million numbers belong into an array
DEEPEST = 60  # lists within lists
MOST_BITS = 100_000  # of a whole number: 3 ** 10_000 is somebody's answer
DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
AS_BITS = {"bfloat16": "int16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}  # torch has them, NumPy has not


class Opaque:
    """Something that cannot leave the sandbox: the name of its type and how it looks. Equal to nothing but itself."""

    def __init__(self, type_name: str, short: str = "") -> None:
        self.type_name, self.short = type_name, short

    def __repr__(self) -> str:
        return f"<{self.type_name}: {self.short}>" if self.short else f"<{self.type_name}>"


class _CannotTravel(Exception):
    pass


def encode(value: Any, most_bytes: int = 64_000_000) -> tuple[Any, bytes]:
    """Give a value as (what JSON can hold, bytes of its arrays); too large or too deep a one as `Opaque`."""
    writer = _Writer(most_bytes)
    try:
        node = writer.node(value, 0)
        return node, b"".join(writer.blobs)
    except (_CannotTravel, RecursionError) as error:
        words = str(error) if isinstance(error, _CannotTravel) else "nested too deep"
        return ["o", _name(type(value)), words], b""


def frame(message: list, blob: bytes = b"") -> bytes:
    """Give a message as the bytes that travel: two lengths, JSON, and the arrays."""
    text = json.dumps(message).encode()
    return HEAD.pack(len(text), len(blob)) + text + blob


def _name(kind: type) -> str:
    name = type.__dict__["__name__"].__get__(kind)  # whatever the class says about itself
    return str(name)[:100]


class _Writer:
    """Turns one value into nodes that JSON can hold, and counts."""

    def __init__(self, most_bytes: int) -> None:
        self.left, self.room, self.blobs = MOST_NODES, most_bytes, []

    def node(self, value: Any, depth: int) -> Any:
        """The node of a value: null, true, false, a number or a text as themselves, a list with a tag for the rest."""
        self.left -= 1
        if self.left < 0:
            raise _CannotTravel(f"more than {MOST_NODES} values")
        if depth > DEEPEST:
            raise _CannotTravel(f"nested more than {DEEPEST} deep")
        if value is None or value is True or value is False:
            return value
        if value is ...:
            return ["e"]
        kind = type(value)
        for found in (self._array, self._scalar, self._collection):
            node = found(value, kind, depth)
            if node is not None:
                return node
        return self._opaque(value, kind)

    def _scalar(self, value: Any, kind: type, depth: int) -> Any:
        if issubclass(kind, str):
            return self._text(str.__str__(value))
        if issubclass(kind, int):
            return self._whole(int.__int__(value))
        if issubclass(kind, float):
            return self._real(float.__float__(value))
        if issubclass(kind, complex):
            value = complex.__complex__(value)
            return ["c", self._real(value.real), self._real(value.imag)]
        if issubclass(kind, bytes):
            return ["b", self._blob(bytes.__getitem__(value, slice(None)))]
        if issubclass(kind, Fraction):
            return ["q", self._whole(int.__int__(value.numerator)), self._whole(int.__int__(value.denominator))]
        return None

    def _text(self, text: str) -> str:
        self.room -= len(text)
        if self.room < 0:
            raise _CannotTravel("too large")
        return text

    def _whole(self, number: int) -> Any:
        if number.bit_length() > MOST_BITS:
            return ["o", "int", f"a number of {number.bit_length()} bits"]
        return number if number.bit_length() < 63 else ["i", hex(number)]

    def _real(self, number: float) -> Any:
        return number if number - number == 0 else ["f", float.__repr__(number)]

    def _blob(self, data: bytes) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise _CannotTravel("too large")
        self.blobs.append(data)
        return len(data)

    def _collection(self, value: Any, kind: type, depth: int) -> Any:
        if issubclass(kind, list | tuple | dict | set | frozenset) and self._length(value, kind) > self.left:
            raise _CannotTravel(f"more than {MOST_NODES} values")
        if issubclass(kind, list):
            return ["l", [self.node(item, depth + 1) for item in list.__iter__(value)]]
        if issubclass(kind, tuple):
            return ["t", [self.node(item, depth + 1) for item in tuple.__iter__(value)]]
        if issubclass(kind, Mapping):
            pairs = dict.items(value) if issubclass(kind, dict) else self._some(value.items())
            return ["d", [[self.node(key, depth + 1), self.node(item, depth + 1)] for key, item in pairs]]
        if issubclass(kind, Set):
            tag = "z" if issubclass(kind, frozenset) else "s"
            return [tag, [self.node(item, depth + 1) for item in self._some(value)]]
        return None

    @staticmethod
    def _length(value: Any, kind: type) -> int:
        return next(base for base in (list, tuple, dict, set, frozenset) if issubclass(kind, base)).__len__(value)

    def _some(self, items: Any) -> list:
        return [item for _, item in zip(range(self.left + 1), items, strict=False)]

    def _array(self, value: Any, kind: type, depth: int) -> Any:
        if "torch" in sys.modules and issubclass(kind, sys.modules["torch"].Tensor):
            return self._tensor(value)
        if kind.__module__.startswith("pandas.") and hasattr(value, "to_numpy"):
            value = value.to_numpy()
        if "numpy" not in sys.modules:
            return None
        numpy, kind = sys.modules["numpy"], type(value)
        if issubclass(kind, numpy.generic) and not issubclass(kind, str | bytes):
            return self._values(["n"], numpy.asarray(value), value)
        return self._values(["a"], numpy.asarray(value), value) if issubclass(kind, numpy.ndarray) else None

    def _values(self, tag: list, array: Any, value: Any) -> Any:
        if array.dtype.kind == "U":
            self._room_for(array)
            return ["u", list(array.shape), [self.node(item, 0) for item in array.ravel().tolist()]]
        name = array.dtype.name
        if name in ("longdouble", "float96", "float128"):
            array, name = array.astype("float64"), "float64"
        if name not in DTYPES:
            return self._opaque(value, type(value))
        self._room_for(array)
        array = array.astype(array.dtype.newbyteorder("<"))
        self._blob(array.tobytes())
        return [*tag, name, list(array.shape)]

    def _room_for(self, array: Any) -> None:
        if array.size * array.dtype.itemsize > self.room:  # before a view of one number becomes a terabyte
            raise _CannotTravel(f"an array of shape {array.shape}"[:200])

    def _tensor(self, tensor: Any) -> Any:
        torch = sys.modules["torch"]
        tensor = tensor.detach()
        name = str(tensor.dtype).removeprefix("torch.")
        plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and name in (*DTYPES, *AS_BITS)
        if not plain:
            return ["o", "Tensor", f"{name}, {tensor.layout}, on {tensor.device}, shape {tuple(tensor.shape)}"[:200]]
        if tensor.numel() * tensor.element_size() > self.room:
            raise _CannotTravel(f"a tensor of shape {tuple(tensor.shape)}"[:200])
        tensor = tensor.as_subclass(torch.Tensor).resolve_conj().resolve_neg().contiguous()
        array = (tensor.view(getattr(torch, AS_BITS[name])) if name in AS_BITS else tensor).numpy()
        self._blob(array.tobytes())
        return ["T", name, list(tensor.shape)]

    def _opaque(self, value: Any, kind: type) -> list:
        try:
            short = str(repr(value))[:200]
        except Exception:  # an object that cannot even be shown
            short = ""
        return ["o", _name(kind), short]
