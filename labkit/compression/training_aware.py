"""Training with rounding inside: every forward pass sees the weights of few bits, and precise ones learn behind them.

Rounding is a staircase whose slope is zero everywhere, so nothing would ever learn. The straight-through estimator
pretends in the backward pass that rounding had not happened, wherever the grid reaches; a step that is learned moves
the ends of the grid as well.
"""

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from labkit.compression.grid import Quantized, by_group, code_range, grid_of, to_codes
from labkit.compression.layers import CompressedLinear, linears, swap
from labkit.optimizers import AdamW
from labkit.training import cosine, train

STEPS = ("learned", "range")


class StraightThrough(torch.autograd.Function):
    """Rounds to a grid on the way forward; on the way back, lets the gradient pass where the grid reaches."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, zero: Tensor | int, low: int, high: int) -> Tensor:
        """The nearest point of the grid; `low` and `high` are its first and last code."""
        codes = (x / step).round() + zero
        ctx.save_for_backward((codes >= low) & (codes <= high))
        return step * (codes.clamp(low, high) - zero)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient as it came, and 0 for what was clipped."""
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None, None, None


class LearnedStep(torch.autograd.Function):
    """The same on a symmetric grid, with a gradient for its step: where rounding lies, and where the grid ends."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, high: int, factor: float) -> Tensor:
        """The nearest point of the grid −high … high; `factor` is multiplied to the gradient of the step."""
        codes = (x / step).round()
        ctx.save_for_backward(x, step)
        ctx.high, ctx.factor = high, factor
        return step * codes.clamp(-high, high)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Inside, a longer step moves the point by round(v) − v; a clipped weight goes with the end of the grid."""
        x, step = ctx.saved_tensors
        v = x / step
        codes = v.round()
        inside = codes.abs() <= ctx.high
        slope = torch.where(inside, codes - v, codes.clamp(-ctx.high, ctx.high))
        return grad * inside, ctx.factor * (grad * slope).sum_to_size(step.shape), None, None


def fake_quantize(
    x: Float[Tensor, "..."], step: Float[Tensor, "..."], bits: int | Any, zero: Tensor | int | None = None
) -> Float[Tensor, "..."]:
    """The numbers rounded to a grid and still floats; their gradient is 1 where the grid reaches, and 0 beyond.

    A number is beyond when its code was clipped: half a step after the last point, as in torch.

    Args:
        x: weights or activations of any shape.
        step: distance of two points of the grid, of a shape that broadcasts to that of x.
        bits: 2 to 8. The codes are −m … m with m = 2^(bits − 1) − 1.
        zero: the code that means 0, which makes the codes 0 … 2^bits − 1.

    Raises:
        ValueError: for bits outside 2 to 8.

    Source: Bengio et al. (2013), "Estimating or propagating gradients through stochastic neurons", section 4; Jacob et
        al. (2018), section 3; Krishnamoorthi (2018), "Quantizing deep convolutional networks", section 2.4.

    >>> x = torch.tensor([0.4, 1.2, 9.0], requires_grad=True)
    >>> y = fake_quantize(x, torch.tensor(0.5), 3)
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([0.5, 1.0, 1.5], [1.0, 1.0, 0.0])
    """
    low, high = code_range(bits, signed=zero is None)
    return StraightThrough.apply(x, step, 0 if zero is None else zero, low + (zero is None), high)


def learned_step_quantize(x: Float[Tensor, "..."], step: Float[Tensor, "..."], bits: int | Any) -> Float[Tensor, "..."]:
    """`fake_quantize` on a symmetric grid whose step learns too; its gradient is divided by √(numbers · last code).

    Esser et al. end the slope of the weights at the last point of the grid; here it ends half a step later, where
    clipping starts, as in torch.

    Raises:
        ValueError: for bits outside 2 to 8.
    Source: Esser et al. (2020), "Learned step size quantization", equations 3 to 5 and section 2.2.

    >>> step = torch.tensor(0.5, requires_grad=True)
    >>> learned_step_quantize(torch.tensor([0.4, 9.0]), step, 3).sum().backward()
    >>> round(float(step.grad) * (2 * 3) ** 0.5, 6)  # (1 − 0.8) + 3
    3.2
    """
    high = code_range(bits)[1]
    return LearnedStep.apply(x, step, high, (x.numel() / step.numel() * high) ** -0.5)


class FakeQuantLinear(nn.Module):
    """A linear layer that computes with its weight rounded to few bits, and learns the precise one.

    Args:
        linear: the layer it stands for; it shares weight and bias with it.
        bits, group: of the grid, symmetric, with a step for each row or for each `group` weights of a row.
        step: "learned", begun at 2 · mean |w| / √(last code), or "range", so long that the largest weight is its end.

    Raises:
        ValueError: for bits outside 2 to 8, a group that does not divide the width, another kind of step, or weights
            that are NaN or infinite.
    Source: Esser et al. (2020), section 2.1 (where a learned step begins).
    """

    def __init__(self, linear: nn.Linear, bits: int | Any, group: int | Any = None, step: str = "learned"):
        super().__init__()
        _check(linear, bits, group, step)
        self.weight, self.bias, self.bits, self.group = linear.weight, linear.bias, bits, group
        high, sizes = code_range(bits)[1], by_group(linear.weight.detach(), group).abs()
        begin = (2 / math.sqrt(high) * sizes.mean(-1, keepdim=True)).clamp_min(torch.finfo(torch.float32).eps)
        self.learned = nn.Parameter(begin) if step == "learned" else None

    @property
    def step(self) -> Float[Tensor, "out groups 1"]:
        """Distance of two points of the grid, of each group; it stays above 0 whatever was learned."""
        if self.learned is not None:
            return self.learned.abs().clamp_min(torch.finfo(torch.float32).tiny)
        sizes = by_group(self.weight.detach(), self.group).abs().amax(-1, keepdim=True)
        return grid_of(-sizes, sizes, self.bits)[0]

    def rounded(self) -> Float[Tensor, "out in"]:
        """The weight as the forward pass sees it."""
        blocks, rounding = by_group(self.weight, self.group), fake_quantize
        if self.learned is not None:
            rounding = learned_step_quantize
        return rounding(blocks, self.step, self.bits).to(self.weight).view_as(self.weight)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch out"]:
        """What the layer gives with its weight rounded."""
        return nn.functional.linear(x, self.rounded(), self.bias)

    @torch.no_grad()
    def quantized(self) -> Quantized:
        """The same weight as whole numbers: what it gives dequantized is what `forward` saw, bit for bit."""
        step = self.step
        codes = to_codes(by_group(self.weight, self.group), step, None, self.bits)
        return Quantized(codes.view(self.weight.shape), step.squeeze(-1).float(), None, self.bits, self.group)

    def extra_repr(self) -> str:
        """What `print(model)` shows of this layer."""
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, bits={self.bits}, group={self.group}"


def _check(linear: nn.Linear, bits: Any, group: Any, step: str) -> None:
    code_range(bits)
    if step not in STEPS:
        raise ValueError(f"step must be one of {', '.join(STEPS)}, got {step!r}")
    width = linear.weight.shape[1]
    if group is not None and (isinstance(group, bool) or not isinstance(group, int) or group < 1 or width % group):
        raise ValueError(f"group = {group!r} does not divide the width {width}; choose one that does")
    if not torch.isfinite(linear.weight).all():
        raise ValueError("weights are NaN or infinite; find out why before quantizing")


def with_fake_quantization(
    model: nn.Module, bits: int | Any, *, group: int | Any = None, step: str = "learned", names: Any = None
) -> nn.Module:
    """A copy of the model whose linear layers round their weights in every forward pass; see `FakeQuantLinear`.

    Args:
        names: of the layers; without, all of `linears(model)`, so that embeddings and a tied head stay precise.

    Raises:
        ValueError: if the model has no linear layer, or none of that name; and what `FakeQuantLinear` refuses.
    """
    known = linears(model)
    names = list(known) if names is None else list(names)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"the model has no linear layer {unknown[0] if unknown else ''!r}: see linears(model)")
    model = copy.deepcopy(model)
    for name, layer in linears(model).items():
        if name in names:
            swap(model, name, FakeQuantLinear(layer, bits, group, step))
    return model


def quantized_weights(model: nn.Module) -> dict[str, Quantized]:
    """The weights of the `FakeQuantLinear` layers as whole numbers, by name.

    Raises:
        ValueError: if there is no such layer.
    """
    layers = {name: part for name, part in model.named_modules() if isinstance(part, FakeQuantLinear)}
    if not layers:
        raise ValueError("no layer of this model rounds its weights: build it by with_fake_quantization")
    return {name: layer.quantized() for name, layer in layers.items()}


def convert(model: nn.Module, layer: Callable[..., nn.Module] = CompressedLinear) -> nn.Module:
    """A copy of the model with whole numbers in the place of fake ones; with `CompressedLinear`, the same outputs.

    Raises:
        ValueError: if no layer of the model rounds its weights.
    """
    found, model = quantized_weights(model), copy.deepcopy(model)
    for name, quantized in found.items():
        swap(model, name, layer(quantized, model.get_submodule(name).bias))
    return model


@dataclass(frozen=True)
class QuantizedTraining:
    """A model that has learned with rounding inside, and the loss of every step."""

    model: nn.Module = field(repr=False)
    losses: list[float] = field(repr=False)


def train_quantized(
    model: nn.Module,
    batches: Iterable[Any],
    bits: int | Any,
    *,
    steps: int | Any,
    group: int | Any = None,
    step: str = "learned",
    names: Any = None,
    lr: float | int = 1e-3,
    max_norm: float | int | None = 1.0,
    progress: str | None = None,
) -> QuantizedTraining:
    """Train a copy of a trained model on with its weights rounded; `convert` then makes whole numbers of it.

    Args:
        batches: what `model.loss(*batch)` takes.
        lr: of AdamW at first; a cosine takes it down to a tenth. Learned steps have a tenth of it: they are short.
        bits, group, step, names: see `with_fake_quantization`.

    Raises:
        ValueError: if there is no batch; and what `with_fake_quantization` refuses.
    """
    model = with_fake_quantization(model, bits, group=group, step=step, names=names)
    learned = [part.learned for part in model.modules() if isinstance(part, FakeQuantLinear) and step == "learned"]
    ids = {id(parameter) for parameter in learned}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in ids]
    groups = [{"params": rest}, {"params": learned, "lr": lr / 10}] if learned else [{"params": rest}]
    schedule = partial(cosine, peak=lr, steps=steps, warmup=0, floor=lr / 10)
    optimizer = AdamW(groups, lr=lr, weight_decay=0.0)
    history = train(
        model.train(), batches, optimizer, steps=steps, schedule=schedule, max_norm=max_norm,
        progress=progress,
    )  # fmt: skip
    return QuantizedTraining(model.eval(), history.losses)
