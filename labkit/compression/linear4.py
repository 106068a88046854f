"""Linear layers whose weight stays in 4 bits in memory, two codes to a byte, with a step for each group of a row."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.compression.grid import Quantized, dequantize
from labkit.compression.layers import CompressedLinear

GROUPS = (256, 128, 64, 32)  # the sizes that torch's kernel knows
ROWS = 16  # it takes so many rows of the weight at a time
MIDDLE = 8  # the code that it takes for 0


class Linear4(CompressedLinear):
    """A linear layer of 2 to 4 bits that is multiplied out of its packed form, whatever the number of rows of x.

    The kernel works in bfloat16: x, the steps and the result are rounded to 8 bits of mantissa. Weights that it does
    not take (rows no multiple of 16, groups other than 32, 64, 128, 256), other devices, and products that need a
    gradient are computed from floats, which are then kept.

    Raises:
        ValueError: for more than 4 bits: `Linear8` and `CompressedLinear` take those.
    """

    def _prepare(self) -> None:
        if self.bits > 4:
            raise ValueError(f"Linear4 takes 2 to 4 bits, got {self.bits}: take Linear8 or CompressedLinear")
        self.register_buffer("floats", None, persistent=False)
        self.register_buffer("packed", None, persistent=False)  # in the order that this processor likes
        quantized = self.quantized
        inner = _inner(quantized)
        if self.codes.device.type != "cpu" or inner is None:
            return
        self.inner, self.signed = inner, self.zero is None
        self.offset = MIDDLE - _half(quantized)
        codes = self.codes.int() + self.offset
        self.packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
        self.register_buffer("steps", _steps(quantized, inner), persistent=False)
        self.codes = None  # they are in `packed`

    @property
    def quantized(self) -> Quantized:
        """The weight as whole numbers, as it is saved: read back by multiplying with the identity matrix."""
        codes = self.codes if self.packed is None else self._read_back().to(self.packed.device)
        return Quantized(codes, self.scale, self.zero, self.bits, self.group)

    @property
    def weight(self) -> Tensor:
        """The weight as floats, made for the first that asks, and kept."""
        if self.floats is None:
            self.floats = dequantize(self.quantized)
        return self.floats.to(self.dtype)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch out"]:
        """What `nn.Linear` gives with the dequantized weight, within 1 %."""
        packed = self.packed is not None and x.device.type == "cpu"
        if not packed or (torch.is_grad_enabled() and x.requires_grad):
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return nn.functional.linear(x, self.weight.to(x.dtype), bias)
        rows = x.reshape(-1, self.in_features).bfloat16().contiguous()
        product = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.packed, self.inner, self.steps.bfloat16())
        product = product.view(*x.shape[:-1], self.out_features)
        return (product if self.bias is None else product + self.bias).to(x.dtype)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}codes"] = self.quantized.codes

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *how: Any) -> None:
        if any(name.startswith(prefix) for name in state):
            self.codes = self.quantized.codes
        super()._load_from_state_dict(state, prefix, *how)

    def _read_back(self) -> Tensor:
        ones = torch.ones(self.in_features // self.inner, self.out_features)
        steps = torch.stack([ones, torch.zeros_like(ones)], dim=-1).bfloat16()
        unit = torch.eye(self.in_features, dtype=torch.bfloat16)
        with torch.no_grad():
            codes = torch.ops.aten._weight_int4pack_mm_for_cpu(unit, self.packed.cpu(), self.inner, steps)
        codes = codes.T.contiguous().to(torch.int8) + (MIDDLE - self.offset)  # −8 … 7, which bfloat16 holds exactly
        return codes if self.signed else codes.to(torch.uint8)


def _inner(quantized: Quantized) -> int | None:
    """The group that the kernel is told: ours, or when a row has one step any that divides it; None if it has none."""
    out, inputs = quantized.codes.shape
    fits = [size for size in GROUPS if inputs % size == 0 and quantized.group in (None, size)]
    return fits[0] if fits and out % ROWS == 0 else None


def _half(quantized: Quantized) -> int:
    """The middle of the codes: it becomes 8, so that what is added for zero points stays small."""
    return 0 if quantized.zero is None else 2 ** (quantized.bits - 1)


def _steps(quantized: Quantized, inner: int) -> Float[Tensor, "groups out 2"]:
    """For each group the step and what is added: (code − half) · step + (half − zero) · step."""
    out, inputs = quantized.codes.shape
    zero = 0 if quantized.zero is None else quantized.zero
    both = torch.stack([quantized.scale, (_half(quantized) - zero) * quantized.scale], dim=-1).bfloat16()
    return both.expand(out, inputs // inner, 2).transpose(0, 1).contiguous()
