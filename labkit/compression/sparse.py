"""Pruned layers without their zeros in the file: the weights that are left, and where each of them stands."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.compression.grid import Quantized
from labkit.compression.headers import bias_said, shape_said, steps_said, taken, type_name, type_said
from labkit.compression.layers import CompressedLinear, linears, swap
from labkit.compression.linear4 import Linear4
from labkit.compression.linear8 import Linear8
from labkit.compression.packing import pack, unpack
from labkit.compression.places import mask_of, put_back, take_apart
from labkit.compression.pruning.patterns import PackedNM

INNER = {kind.__name__: kind for kind in (CompressedLinear, Linear8, Linear4)}


class SparseLinear(nn.Module):
    """A pruned linear layer around another: it computes as that one does, but its zeros are not in the file.

    The layer inside holds floats, or whole numbers without zero points; what is zero is looked for when it is saved.

    Args:
        pattern: (n, m) for n of every m neighbours, whose places take fewer bits; without, a bit for every place.

    Raises:
        ValueError: for a layer with zero points, whose zeros are not all one code, or weights of no such pattern.
    """

    def __init__(self, inner: nn.Linear | CompressedLinear | Any, pattern: tuple[int, int] | None = None):
        super().__init__()
        if type(inner) is not nn.Linear and type(inner) not in INNER.values():
            raise ValueError(f"a SparseLinear is around nn.Linear or one of {[*INNER]}, not {type(inner).__name__}")
        if isinstance(inner, CompressedLinear) and inner.quantized.zero is not None:
            raise ValueError("the layer has zero points, so that 0 is many codes: quantize with symmetric=True")
        self.inner, self.pattern = inner, None if pattern is None else tuple(pattern)
        if pattern is not None:
            PackedNM.from_weight(inner.weight, *self.pattern)

    @property
    def weight(self) -> Float[Tensor, "out inputs"]:
        """The weight with its zeros."""
        return self.inner.weight

    @property
    def bias(self) -> Float[Tensor, " out"] | None:
        """The bias of the layer inside."""
        return self.inner.bias

    @property
    def out_features(self) -> int:
        """How many rows the weight has."""
        return self.inner.out_features

    @property
    def in_features(self) -> int:
        """How long a row is."""
        return self.inner.in_features

    @property
    def nbytes(self) -> int:
        """Bytes in a file: what is left of the weight, the places, steps and bias."""
        return sum(tensor.nbytes for tensor in self.written()[1].values())

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch out"]:
        """What the layer inside gives."""
        return self.inner(x)

    def written(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What a file says of this layer, and its tensors."""
        said = {"shape": [self.out_features, self.in_features], "pattern": self.pattern, "inner": None}
        tensors = {} if self.bias is None else {"bias": self.bias}
        if isinstance(self.inner, CompressedLinear):
            grid = self.inner.quantized
            said["inner"] = {"kind": type(self.inner).__name__, "bits": grid.bits, "group": grid.group}
            said["dtype"] = type_name(self.inner.dtype)
            places, values = take_apart(grid.codes, self.pattern)
            return said, tensors | {"places": places, "values": pack(values, grid.bits), "scale": grid.scale}
        places, values = take_apart(self.inner.weight.detach(), self.pattern)
        said["dtype"] = type_name(values.dtype)
        return said, tensors | {"places": places, "values": values}

    @classmethod
    def read(cls, said: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "SparseLinear":
        """The layer that was written.

        Raises:
            ValueError: if the places are no bitmap or no n of m, or not as many as the values.
        """
        shape, grid = shape_said(said), said.get("inner")
        pattern = None if said.get("pattern") is None else shape_said(said, "pattern")
        mask, dtype = mask_of(tensors["places"], shape, pattern), type_said(said)
        bias, values = bias_said(tensors, shape[0], dtype), tensors["values"]
        if grid is None:
            values = taken(tensors, "values", dtype, values.shape)
            return cls(_float_layer(put_back(values, mask), bias), pattern)
        if grid["kind"] not in list(INNER):
            raise ValueError(f"{grid['kind']!r} is no linear layer of whole numbers")
        steps = steps_said(tensors, shape, grid["group"])
        values = unpack(taken(tensors, "values", torch.uint8, values.shape), grid["bits"], (int(mask.count_nonzero()),))
        quantized = Quantized(put_back(values, mask), steps, None, grid["bits"], grid["group"])
        return cls(INNER[grid["kind"]](quantized, bias).to(dtype), pattern)


def leave_zeros_out(model: nn.Module, pattern: tuple[int, int] | None = None) -> None:
    """Put a `SparseLinear` around every linear layer of a pruned model, in place.

    Raises:
        ValueError: as `SparseLinear`.
    """
    for name, layer in linears(model).items():
        swap(model, name, SparseLinear(layer, pattern))


def _float_layer(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(*weight.shape[::-1], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    return layer
