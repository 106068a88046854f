"""Linear layers that compute in whole numbers: zero points in the bias, 32-bit sums, requantization by a shift.

A number x is scale · (code − zero) with codes −128 … 127; a weight is a step per row times a code, without a zero.
"""

import copy
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Float32, Int8, Int32, Shaped
from torch import Tensor, nn

from labkit.attention import holds
from labkit.compression.grid import Quantized, grid_of, quantize
from labkit.compression.layers import inputs_of, linears
from labkit.compression.requantization import fixed_point, requantize

LOW, HIGH = -128, 127
EXACT = 1024  # float32 adds so many products of two codes without rounding: 1024 · 2^14 = 2^24
CODES = "codes must be int8, (…, {}), got {} {}: make them with to_codes"


class Affine(NamedTuple):
    """How codes of 8 bits are read: scale · (code − zero)."""

    scale: float
    zero: int


def affine_range(low: Any, high: Any) -> Affine:
    """The step and the zero point, −128 … 127, with which codes of 8 bits cover low … high, and 0 exactly.

    Raises:
        ValueError: if a limit is NaN or infinite, or low > high.
    Source: Jacob et al. (2018), "Quantization and training of neural networks for efficient integer-arithmetic-only
        inference", equation 1.

    >>> affine_range(0.0, 255.0)
    Affine(scale=1.0, zero=-128)
    """
    step, zero = grid_of(float(low), float(high), 8, symmetric=False)
    return Affine(float(step), int(zero) + LOW)


def to_codes(x: Float[Tensor, "*shape"], affine: Affine) -> Int8[Tensor, "*shape"]:
    """Numbers as codes, those out of range as the nearest end."""
    return (x / affine.scale).round_().add_(affine.zero).clamp_(LOW, HIGH).to(torch.int8)


def from_codes(codes: Int8[Tensor, "*shape"], affine: Affine) -> Float32[Tensor, "*shape"]:
    """The numbers that codes stand for.

    >>> from_codes(torch.tensor([-128, -126], dtype=torch.int8), Affine(0.5, -128))
    tensor([0., 1.])
    """
    return (codes.float() - affine.zero) * affine.scale


def integer_matmul(x: Int8[Tensor, "rows inputs"], codes: Int8[Tensor, "out inputs"]) -> Int32[Tensor, "rows out"]:
    """Every product of two codes, summed in 32 bits without any rounding, on every device.

    >>> integer_matmul(torch.full((1, 3), 127, dtype=torch.int8), torch.full((1, 3), -127, dtype=torch.int8))
    tensor([[-48387]], dtype=torch.int32)
    """
    if x.device.type == "cpu":
        return torch._int_mm(x, codes.T)
    parts = zip(x.split(EXACT, dim=1), codes.split(EXACT, dim=1), strict=True)
    return sum((a.float() @ b.float().T).to(torch.int32) for a, b in parts)


def fold_zero_point(
    codes: Int8[Tensor, "out inputs"], zero: int, bias: Int32[Tensor, " out"] | None = None
) -> Int32[Tensor, " out"]:
    """The bias that takes the zero point out of the product: Σ w (x − zero) = Σ w x + (− zero · Σ w), for each row.

    Source: Jacob et al. (2018), equation 7, with a zero point of the weights of 0.

    >>> fold_zero_point(torch.tensor([[1, -3]], dtype=torch.int8), 10)
    tensor([20], dtype=torch.int32)
    """
    folded = -zero * codes.sum(dim=1, dtype=torch.int32)
    return folded if bias is None else bias + folded


class _Ranged(nn.Module):
    """A layer whose state holds its ranges: codes and folded bias mean nothing with those of another."""

    ranges: tuple[str, ...] = ("inputs",)

    def get_extra_state(self) -> Float[Tensor, "ranges 2"]:
        known = [getattr(self, name) for name in self.ranges]
        return torch.tensor([one for one in known if one is not None], dtype=torch.float64).view(-1, 2)

    def set_extra_state(self, state: Tensor) -> None:
        for name, (scale, zero) in zip(self.ranges, state.tolist(), strict=False):
            setattr(self, name, Affine(scale, int(zero)))


class IntegerLinear(_Ranged):
    """A linear layer, and a ReLU if wanted, that takes codes and gives codes: no float is touched on the way.

    Source: Jacob et al. (2018), sections 2.2 to 2.4.
    """

    ranges = ("inputs", "outputs")

    def __init__(
        self,
        weight: Float[Tensor, "out inputs"] | Any,
        bias: Float[Tensor, " out"] | None,
        inputs: Affine,
        outputs: Affine,
        relu: bool = False,
    ):
        super().__init__()
        self.inputs, self.outputs, self.relu = inputs, outputs, relu
        codes, step = _rows(weight)
        steps = inputs.scale * step.double()
        multiplier, shift = fixed_point(steps / outputs.scale)
        whole = torch.zeros_like(steps) if bias is None else (bias.detach().double() / steps).round()
        _refuse_overflow(codes, whole)
        self.register_buffer("codes", codes)
        self.register_buffer("bias", fold_zero_point(codes, inputs.zero, whole.to(torch.int32)))
        self.register_buffer("multiplier", multiplier)
        self.register_buffer("shift", shift)

    def sums(self, codes: Int8[Tensor, "*batch inputs"] | Any) -> Int32[Tensor, "*batch out"]:
        """The sums of 32 bits, bias and zero point included, before they become codes again.

        Raises:
            ValueError: for anything but codes of 8 bits of the right width.
        """
        if codes.dtype != torch.int8 or codes.shape[-1] != self.codes.shape[1]:
            raise ValueError(CODES.format(self.codes.shape[1], tuple(codes.shape), codes.dtype))
        flat = integer_matmul(codes.reshape(-1, codes.shape[-1]), self.codes) + self.bias
        return flat.view(*codes.shape[:-1], len(self.codes))

    def forward(self, codes: Int8[Tensor, "*batch inputs"] | Any) -> Int8[Tensor, "*batch out"]:
        """The codes of the outputs."""
        result = requantize(self.sums(codes), self.multiplier, self.shift) + self.outputs.zero
        return result.clamp_(self.outputs.zero if self.relu else LOW, HIGH).to(torch.int8)


class Int8Linear(_Ranged):
    """A linear layer between floats that multiplies in 8 bits: weights per row, activations per token or in one range.

    Dynamic (`inputs` None): each token is divided by its own largest number. Static: one range, known before. A weight
    that is `Quantized`, 8 bits with a step for each row, is taken as it is.

    Source: Dettmers et al. (2022), "LLM.int8()", section 2 (vector-wise quantization); Jacob et al. (2018).
    """

    def __init__(
        self,
        weight: Float[Tensor, "out inputs"] | Any,
        bias: Float[Tensor, " out"] | None,
        inputs: Affine | None = None,
    ):
        super().__init__()
        self.inputs = inputs
        codes, step = _rows(weight)
        self.register_buffer("codes", codes)
        self.register_buffer("scale", step)
        self.register_buffer("folded", None if inputs is None else fold_zero_point(codes, inputs.zero))
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    @property
    def nbytes(self) -> int:
        """Bytes of everything that the layer keeps."""
        return sum(buffer.nbytes for buffer in self.buffers())

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch out"]:
        """What `nn.Linear` gives, but for the rounding of weights and activations.

        Raises:
            ValueError: if an activation is NaN or infinite (looked for on the CPU only), or for another width.
        """
        if x.shape[-1] != self.codes.shape[1]:
            raise ValueError(f"the layer takes {self.codes.shape[1]} inputs, got {tuple(x.shape)}")
        flat = x.reshape(-1, x.shape[-1]).to(torch.promote_types(x.dtype, torch.float32))  # sums overflow float16
        if not holds(flat, lambda flat: flat.sum().isfinite() or flat.isfinite().all()):
            raise ValueError("activations are NaN or infinite, and no code stands for that: look at the layers before")
        if self.inputs is None:
            codes, step = per_token(flat)
            result = integer_matmul(codes, self.codes) * step
        else:
            result = (integer_matmul(to_codes(flat, self.inputs), self.codes) + self.folded) * self.inputs.scale
        result = result * self.scale
        result = result if self.bias is None else result + self.bias
        return result.to(x.dtype).view(*x.shape[:-1], len(self.codes))


def per_token(x: Float[Tensor, "rows inputs"]) -> tuple[Int8[Tensor, "rows inputs"], Float[Tensor, "rows 1"]]:
    """Codes −127 … 127 of every row, and the step of the row: its largest number over 127.

    >>> per_token(torch.tensor([[1.27, -0.5], [0.0, 0.0]]))[0].tolist()
    [[127, -50], [0, 0]]
    """
    step = x.abs().amax(dim=1, keepdim=True) / HIGH
    step = torch.where(step > 0, step, torch.ones_like(step))
    return (x / step).round_().clamp_(-HIGH, HIGH).to(torch.int8), step


@dataclass(frozen=True)
class Ranges:
    """The least and the largest activation that came into each linear layer of one model, the model `fingerprint`."""

    fingerprint: str
    ranges: dict[str, tuple[float, float]]


def calibrate(model: nn.Module, run: Callable[[], Any], names: Iterable[str] | None = None) -> Ranges:
    """The range of what comes into the linear layers while `run()` sends calibration data through the model.

    Raises:
        ValueError: if no data came, or if it is NaN or infinite.
    """
    found = inputs_of(model, run, names)
    ranges = {name: (float(inputs.low.min()), float(inputs.high.max())) for name, inputs in found.items()}
    return Ranges(fingerprint(model), ranges)


def fingerprint(model: nn.Module) -> str:
    """A sha256 of every parameter with its name and shape: another model, or the same after a step, has another."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().float().cpu().flatten().numpy())
    return digest.hexdigest()


def to_int8(model: nn.Module, ranges: Ranges | None = None, names: Iterable[str] | None = None) -> nn.Module:
    """A copy of a model whose linear layers multiply in 8 bits: dynamic, or static with calibrated ranges.

    Raises:
        ValueError: for ranges of another model, a layer that no calibration data came to, or an unknown name.
    """
    layers = linears(model)
    names = list(layers if ranges is None else ranges.ranges) if names is None else list(names)
    if ranges is not None and ranges.fingerprint != fingerprint(model):
        raise ValueError(
            "these ranges were calibrated on another model, or on this one before it was changed: calibrate"
        )
    known = {} if ranges is None else ranges.ranges
    replaced = {}
    for name in names:
        if name not in layers or (ranges is not None and name not in known):
            raise ValueError(
                f"there is no {'range for' if name in layers else 'linear layer'} {name!r}: see linears(model)"
            )
        inputs = affine_range(*known[name]) if ranges is not None else None
        replaced[id(layers[name])] = Int8Linear(layers[name].weight, layers[name].bias, inputs)
    return copy.deepcopy(model, replaced)  # deepcopy takes what is in its memo instead of copying it


def _rows(weight: Any) -> tuple[Shaped[Tensor, "out inputs"], Float32[Tensor, " out"]]:
    """Codes and steps of the rows of a weight; a row of zeros gets the step of a middle row, for its bias."""
    if isinstance(weight, Quantized):
        return weight.codes, weight.scale.flatten()
    found = quantize(weight, 8)
    step, used = found.scale.flatten(), (found.codes != 0).any(dim=1)
    if not bool(used.any()):
        raise ValueError(f"all {weight.numel()} weights are zero: load or train them before quantizing")
    return found.codes.contiguous(), torch.where(used, step, torch.where(used, step, torch.nan).nanmedian())


def _refuse_overflow(codes: Tensor, bias: Tensor) -> None:
    """Whether no input can bring a sum beyond 32 bits."""
    largest = float((codes.double().abs().sum(dim=1) * (HIGH - LOW) + bias.abs()).max())
    if not largest < 2**31:
        raise ValueError(f"a sum could reach {largest:.3g}, and 32 bits hold 2,147,483,647: the bias is too large")
