"""Linear layers whose weight is a codebook: numbers of levels in memory and in the file, floats to compute with."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.compression.codebooks import Codebook, decode
from labkit.compression.grid import code_range
from labkit.compression.headers import bias_said, shape_said, steps_said, taken, type_name, type_said
from labkit.compression.packing import pack, packed_bytes, unpack


class CodebookLinear(nn.Module):
    """A linear layer that keeps its weight as packed numbers of levels, and reads them once.

    Raises:
        ValueError: if the bias is of another size.
    """

    def __init__(self, book: Codebook, bias: Float[Tensor, " out"] | None = None):
        super().__init__()
        self.bits, self.group = book.bits, book.group
        self.out_features, self.in_features = book.codes.shape
        if bias is not None and bias.shape != (self.out_features,):
            raise ValueError(f"the weight has {self.out_features} rows, the bias {tuple(bias.shape)}: they must agree")
        self.register_buffer("codes", pack(book.codes, book.bits))
        self.register_buffer("levels", book.levels.detach())
        self.register_buffer("scale", book.scale)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.register_buffer("weight", decode(book), persistent=False)

    @property
    def book(self) -> Codebook:
        """The codes and levels, as they are saved."""
        codes = unpack(self.codes, self.bits, (self.out_features, self.in_features), signed=False)
        return Codebook(codes, self.levels, self.scale, self.bits, self.group)

    @property
    def nbytes(self) -> int:
        """Bytes in a file: codes packed to their bits, levels and scales in float32, the bias."""
        return sum(tensor.nbytes for tensor in self.written()[1].values())

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch out"]:
        """What `nn.Linear` gives with the decoded weight."""
        return nn.functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """What `print(model)` shows of this layer."""
        return f"{self.in_features}, {self.out_features}, bits={self.bits}, bias={self.bias is not None}"

    def written(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What a file says of this layer, and its tensors."""
        said = {"shape": [self.out_features, self.in_features], "bits": self.bits, "group": self.group}
        said["dtype"] = type_name(self.weight.dtype)
        tensors = {"codes": self.codes, "levels": self.levels, "scale": self.scale, "bias": self.bias}
        return said, {key: tensor for key, tensor in tensors.items() if tensor is not None}

    @classmethod
    def read(cls, said: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "CodebookLinear":
        """The layer that was written.

        Raises:
            ValueError: if there are not as many codes, levels or scales as the header says.
        """
        (out, inputs), bits, group, dtype = shape_said(said), said.get("bits"), said.get("group"), type_said(said)
        count = code_range(bits, signed=False)[1] + 1
        packed = taken(tensors, "codes", torch.uint8, (packed_bytes(out * inputs, bits),))
        scale = steps_said(tensors, (out, inputs), group) if "scale" in tensors else None
        rows = len(tensors["levels"]) if "levels" in tensors else 0
        if rows not in (1, out * inputs // (group or inputs)):
            raise ValueError(f"{rows} rows of levels for {out} × {inputs} weights in groups of {group}")
        levels = taken(tensors, "levels", torch.float32, (rows, count))
        codes = unpack(packed, bits, (out, inputs), signed=False)
        return cls(Codebook(codes, levels, scale, bits, group), bias_said(tensors, out, dtype)).to(dtype)

    def _apply(self, move: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        """Moved or of another type; levels and scales stay as exact as they are."""
        exact = self.levels, self.scale
        super()._apply(move, recurse)
        self.levels, self.scale = (None if x is None else x.to(self.levels.device) for x in exact)
        return self
