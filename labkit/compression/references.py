"""The same weights through the libraries that people use: which of them ran here, and how close ours came.

Each comparison takes the reference's own convention where it has one (which range, which codes), and then every number
must be the same. A library that is missing, or that cannot do it on this machine, is a row with the reason.
"""

import importlib.metadata
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.compression.codebooks import decode, nearest, nf4
from labkit.compression.grid import dequantize, from_codes, grid_of, quantize, to_codes
from labkit.compression.training_aware import fake_quantize, learned_step_quantize
from labkit.corpora.extras import quiet, quiet_import

EXTRA = "compression"
REFUSALS = (ImportError, AttributeError, TypeError, NotImplementedError, RuntimeError, OSError, AssertionError)


class Sample(NamedTuple):
    """What every reference is given: a weight and a few rows that come into the layer."""

    weight: Float[Tensor, "out in"]
    rows: Float[Tensor, "rows in"]


@dataclass(frozen=True)
class Ran:
    """One reference: how far ours is from it at most, over its own largest number; None, and a reason, if not run."""

    name: str
    version: str
    compared: str
    difference: float | None
    reason: str = ""


def which_ran(weight: Float[Tensor, "out in"] | None = None, rows: Float[Tensor, "rows in"] | None = None) -> list[Ran]:
    """Every reference with its version and the largest difference to ours, or the reason why it did not run.

    Args:
        weight: what is quantized, its width a multiple of 64; without, 128 × 128 numbers drawn from a seed.
        rows: what comes into the layer; without, drawn from a seed.

    Raises:
        ValueError: for a weight that is all zero, not finite, or of a width that 64 does not divide.
    """
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(128, 128, generator=draw) if weight is None else weight.detach().float().contiguous()
    if not weight.isfinite().all() or not weight.any() or weight.shape[1] % 64:
        raise ValueError(f"weights {tuple(weight.shape)}: give finite ones, not all 0, their width a multiple of 64")
    rows = torch.randn(16, weight.shape[1], generator=draw) if rows is None else rows.detach().float()
    return [_try(reference, Sample(weight, rows)) for reference in REFERENCES]


class _Reference(NamedTuple):
    name: str
    modules: tuple[str, ...]
    compared: str
    run: Callable[..., float]
    extra: str | None = EXTRA


def _try(reference: _Reference, sample: Sample) -> Ran:
    """Run one; an answer of the library that it cannot is a reason, and a wrong number stays a number."""
    about, version = {"name": reference.name, "compared": reference.compared}, ""
    try:
        modules = [quiet_import(name, EXTRA, "to compare with it") for name in reference.modules]
        version = importlib.metadata.version(reference.modules[-1].partition(".")[0])
        with quiet():
            return Ran(**about, version=version, difference=reference.run(*modules, sample))
    except ModuleNotFoundError as error:
        reason = _missing(reference, error)
    except REFUSALS as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
    return Ran(**about, version=version, difference=None, reason=reason)


def _missing(reference: _Reference, error: ModuleNotFoundError) -> str:
    package = f"llm-labkit[{reference.extra}]" if reference.extra else error.name
    return f"{error.name} does not load here ({error.__cause__ or error}): pip install '{package}'"


def _apart(ours: Tensor, theirs: Tensor) -> float:
    ours, theirs = ours.detach().double(), theirs.detach().double()
    return float((ours - theirs).abs().max() / theirs.abs().max())


def _gradients(rounded: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    """What the leaves get when the gradient that comes is 1, 2, 3 … over the numbers."""
    above = torch.linspace(-1, 1, rounded.numel(), device=rounded.device).view_as(rounded)
    return torch.autograd.grad(rounded, leaves, above)


def fake_quantized(torch_: Any, sample: Sample, bits: int = 4) -> float:
    """Values and gradients of `fake_quantize` beside torch's, with a zero point and a range that clips a tenth."""
    x = sample.weight.clone().requires_grad_()
    low, high = (sample.weight.quantile(share, dim=1) for share in (0.02, 0.92))
    step, zero = grid_of(low, high, bits, symmetric=False)
    ours = fake_quantize(x, step[:, None], bits, zero[:, None])
    theirs = torch_.fake_quantize_per_channel_affine(x, step, zero, 0, 0, 2**bits - 1)
    return max(_apart(ours, theirs), _apart(*(_gradients(y, x)[0] for y in (ours, theirs))))


def learned_steps(torch_: Any, sample: Sample, bits: int = 3) -> float:
    """Values, gradient of the weight and gradient of the step beside torch's kernel for learned steps."""
    x, high = sample.weight.clone().requires_grad_(), 2 ** (bits - 1) - 1
    step = (0.5 * sample.weight.abs().mean(1)).requires_grad_()
    ours = learned_step_quantize(x, step[:, None], bits)
    factor = (x.shape[1] * high) ** -0.5
    kernel = torch_._fake_quantize_learnable_per_channel_affine
    theirs = kernel(x, step, torch.zeros_like(step), 0, -high, high, factor)
    pairs = zip(_gradients(ours, x, step), _gradients(theirs, x, step), strict=True)
    return max(_apart(ours, theirs), *(_apart(*pair) for pair in pairs))


def _torchao_linear(quantization: Any, settings: Any, weight: Tensor) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias=False, device=weight.device)
    layer.weight = nn.Parameter(weight.clone(), requires_grad=False)
    quantization.quantize_(layer, settings)
    return layer


def _codes_like_torchao(x: Tensor, end: float = 127.5) -> tuple[Tensor, Tensor]:
    """Its symmetric range, a row at a time: the largest number is 127.5 steps, so that all of −128 … 127 is used."""
    step = x.abs().amax(1, keepdim=True) / end
    return (x * (1 / step)).round().clamp(-128, 127), step


def torchao_weight_only(quantization: Any, sample: Sample) -> float:
    """What an int8 weight-only layer of torchao gives, beside our codes of its range."""
    layer = _torchao_linear(quantization, quantization.Int8WeightOnlyConfig(), sample.weight)
    codes, step = _codes_like_torchao(sample.weight)
    return _apart(sample.rows @ from_codes(codes, step, None).T, layer(sample.rows))


def torchao_dynamic(quantization: Any, sample: Sample) -> float:
    """What its layer with int8 weights and activations gives, the activations of each row with a step of their own.

    Earlier versions ended the range of activations at 127 steps: the nearer of both counts.
    """
    layer = _torchao_linear(quantization, quantization.Int8DynamicActivationInt8WeightConfig(), sample.weight)
    (codes, step), theirs = _codes_like_torchao(sample.weight), layer(sample.rows)
    both = [_codes_like_torchao(sample.rows, end) for end in (127.5, 127.0)]
    return min(_apart((rows @ codes.T) * row_step * step.T, theirs) for rows, row_step in both)


def torchao_nf4(quantization: Any, sample: Sample) -> float:
    """Its NF4 weight beside ours; levels of four digits and scales of 8 bits are its own."""
    ours, blocks = nf4(sample.weight, 64), sample.weight.view(-1, 64)
    theirs = quantization.NF4Tensor.from_tensor(sample.weight.clone(), 64, math.gcd(256, len(blocks)))
    levels, scale = theirs.nf4.view(1, 16), ours.scale.view(-1, 1)
    codes = nearest((blocks / scale).view(1, -1), levels).to(torch.uint8).view(sample.weight.shape)
    packed = theirs.quantized_scalers, theirs.quantization_factor, theirs.scaler_block_size
    scale = theirs.dequantize_scalers(*packed).view_as(ours.scale)
    return _apart(decode(replace(ours, codes=codes, levels=levels, scale=scale)), theirs.get_original_weight())


def bitsandbytes_nf4(functional: Any, sample: Sample) -> float:
    """The NF4 of the library that QLoRA came with, without its double quantization."""
    packed, state = functional.quantize_4bit(sample.weight, blocksize=64, quant_type="nf4")
    return _apart(decode(nf4(sample.weight, 64)), functional.dequantize_4bit(packed, state))


def _onnx_session(onnx: Any, runtime: Any, nodes: list[tuple], arrays: dict[str, Any], give: tuple) -> Any:
    """A session for a graph of these nodes, (kind, inputs, outputs, attributes), from floats `x` to `y`."""
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, outputs, **more) for kind, inputs, outputs, more in nodes],
        "linear",
        [helper.make_tensor_value_info("x", kinds.FLOAT, [None, give[0]])],
        [helper.make_tensor_value_info("y", kinds.FLOAT, [None, give[1]])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    return runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def _unsigned(codes: Tensor) -> Any:
    """Codes and zero point moved up by 128: on some processors the kernel for signed ones saturates."""
    return (codes.int() + 128).to(torch.uint8).T.contiguous().numpy()


def onnx_dynamic(onnx: Any, runtime: Any, sample: Sample) -> float:
    """Our codes in a graph of DynamicQuantizeLinear and MatMulInteger, beside the same in whole numbers here."""
    quantized = quantize(sample.weight.cpu(), 8)
    arrays = {"w": _unsigned(quantized.codes), "w_step": quantized.scale.flatten().numpy()}
    arrays["w_zero"] = _unsigned(torch.zeros(1, 1)).reshape(())
    nodes = [
        ("DynamicQuantizeLinear", ["x"], ["codes", "step", "zero"], {}),
        ("MatMulInteger", ["codes", "w", "zero", "w_zero"], ["sums"], {}),
        ("Cast", ["sums"], ["floats"], {"to": onnx.TensorProto.FLOAT}),
        ("Mul", ["step", "w_step"], ["steps"], {}),
        ("Mul", ["floats", "steps"], ["y"], {}),
    ]
    session = _onnx_session(onnx, runtime, nodes, arrays, quantized.codes.T.shape)
    rows = sample.rows.cpu()
    step, zero = grid_of(rows.min(), rows.max(), 8, symmetric=False)
    ours = (to_codes(rows, step, zero, 8).double() - zero) @ quantized.codes.double().T
    return _apart(ours * step * quantized.scale.T, torch.from_numpy(session.run(None, {"x": rows.numpy()})[0]))


def onnx_static(onnx: Any, runtime: Any, sample: Sample) -> float:
    """QLinearMatMul, with ranges known beforehand and codes at both ends, in steps of the output."""
    rows, quantized = sample.rows.cpu(), quantize(sample.weight.cpu(), 8, per="tensor")
    wanted = rows @ dequantize(quantized).T
    (step, zero), (last, last_zero) = (grid_of(y.min(), y.max(), 8, symmetric=False) for y in (rows, wanted))
    names = ["x_step", "x_zero", "w", "w_step", "w_zero", "y_step", "y_zero"]
    zeros = [z.to(torch.uint8).numpy() for z in (zero, torch.tensor(128), last_zero)]
    values = [step.numpy(), zeros[0], _unsigned(quantized.codes), quantized.scale.flatten()[0].numpy(), zeros[1]]
    nodes = [
        ("QuantizeLinear", ["x", "x_step", "x_zero"], ["codes"], {}),
        ("QLinearMatMul", ["codes", *names], ["sums"], {}),
        ("DequantizeLinear", ["sums", "y_step", "y_zero"], ["y"], {}),
    ]
    arrays = dict(zip(names, [*values, last.numpy(), zeros[2]], strict=True))
    session = _onnx_session(onnx, runtime, nodes, arrays, quantized.codes.T.shape)
    sums = (to_codes(rows, step, zero, 8).double() - zero) @ quantized.codes.double().T
    codes = (sums * (step * quantized.scale / last)).round().add(last_zero).clamp(0, 255)
    return _apart(from_codes(codes, last, last_zero), torch.from_numpy(session.run(None, {"x": rows.numpy()})[0]))


TORCHAO, ONNX = ("torchao.quantization",), ("onnx", "onnxruntime")
REFERENCES = (
    _Reference("torch, fake quantize", ("torch",), "values and gradients", fake_quantized),
    _Reference("torch, learned steps", ("torch",), "values and both gradients", learned_steps),
    _Reference("torchao, int8 weights", TORCHAO, "outputs of a layer", torchao_weight_only),
    _Reference("torchao, int8 dynamic", TORCHAO, "outputs of a layer", torchao_dynamic),
    _Reference("torchao, NF4", TORCHAO, "weights read back", torchao_nf4),
    _Reference("bitsandbytes, NF4", ("bitsandbytes.functional",), "weights read back", bitsandbytes_nf4, None),
    _Reference("ONNX Runtime, dynamic", ONNX, "outputs of a layer", onnx_dynamic),
    _Reference("ONNX Runtime, static", ONNX, "outputs of a layer, in codes", onnx_static),
)
