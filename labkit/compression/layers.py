"""The linear layers of a model: found by name, watched while data goes through, and replaced by compressed ones."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.compression.grid import Quantized, dequantize
from labkit.compression.packing import bytes_of
from labkit.transformer.generation import evaluating


def linears(model: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers by name, in the order of the model; a head that is an embedding's weight is left out.

    >>> list(linears(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))))
    ['0', '2']
    """
    embedded = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    layers = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear))
    return {name: layer for name, layer in layers if id(layer.weight) not in embedded}


def swap(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module into a model in the place of the one of that name, wherever in the model that one is used.

    Raises:
        ValueError: if the model has no such part.
    """
    old = dict(model.named_modules(remove_duplicate=False)).get(name)
    if old is None or not name:
        raise ValueError(f"the model has no part {name!r}: take a name of linears(model)")
    for parent in list(model.modules()):
        for last in [last for last, child in parent._modules.items() if child is old]:
            setattr(parent, last, module)


@dataclass
class Inputs:
    """What came into a layer: how many rows, and of each input the mean of its size, its least and its largest.

    `gram` is 2 Σ x xᵀ / count, the Hessian of the layer's squared error, where it was asked for.
    """

    count: int
    mean_abs: Float[Tensor, " inputs"]
    low: Float[Tensor, " inputs"]
    high: Float[Tensor, " inputs"]
    gram: Float[Tensor, "inputs inputs"] | None = None


class _Watch:
    """A hook that adds up what comes into one layer."""

    def __init__(self, gram: bool):
        self.count, self.gram_wanted = 0, gram

    def __call__(self, layer: nn.Module, given: tuple) -> None:
        x = given[0].detach().reshape(-1, given[0].shape[-1]).float()
        if not len(x):
            return
        low, high = torch.aminmax(x, dim=0)
        if not self.count:
            self.total, self.low, self.high = torch.zeros_like(low), low, high
            self.gram = x.new_zeros(x.shape[1], x.shape[1]) if self.gram_wanted else None
        self.count += len(x)
        self.total += x.abs().sum(dim=0)
        self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        if self.gram is not None:
            self.gram.addmm_(x.T, x)

    def result(self) -> Inputs:
        gram = None if self.gram is None else self.gram * (2 / self.count)
        return Inputs(self.count, self.total / self.count, self.low.clone(), self.high.clone(), gram)

    def finite(self) -> bool:
        return all(x is None or bool(x.isfinite().all()) for x in (self.total, self.gram))


@torch.no_grad()
def inputs_of(
    model: nn.Module, run: Callable[[], Any], names: Iterable[str] | None = None, *, gram: bool = False
) -> dict[str, Inputs]:
    """What comes into the linear layers while `run()` sends calibration data through the model, without dropout.

    Args:
        names: of the layers to watch; without, all of `linears(model)` that the data reaches.
        gram: also the products of all pairs of inputs, inputs² numbers for each layer.

    Raises:
        ValueError: if no data came, none came to a layer that was named, or if it is NaN or too large to be summed.
    """
    watches = {name: _Watch(gram) for name in (linears(model) if names is None else names)}
    watched(model, run, watches)
    _refuse_empty(watches, named=names is not None)
    broken = [name for name, watch in watches.items() if watch.count and not watch.finite()]
    if broken:
        raise ValueError(f"what came into {broken[0]} is NaN or infinite: look at the data and the weights before it")
    return {name: watch.result() for name, watch in watches.items() if watch.count}


def watched(
    model: nn.Module, run: Callable[[], Any], watches: Mapping[str, Callable[[nn.Module, tuple], None]]
) -> None:
    """Call each watch, (layer, what was given), whenever something comes into the linear layer of its name in `run()`.

    Raises:
        ValueError: if the model has no linear layer of that name.
    """
    layers = linears(model)
    unknown = [name for name in watches if name not in layers]
    if unknown:
        raise ValueError(f"the model has no linear layer {unknown[0]!r}: take a name of linears(model)")
    hooks = [layers[name].register_forward_pre_hook(watch) for name, watch in watches.items()]
    try:
        with evaluating(model):
            run()
    finally:
        for hook in hooks:
            hook.remove()


def _refuse_empty(watches: Mapping[str, _Watch], named: bool) -> None:
    empty = [name for name, watch in watches.items() if not watch.count]
    if len(empty) == len(watches):
        raise ValueError("no calibration data came through the linear layers: run() must call the model on some")
    if empty and named:
        raise ValueError(f"no calibration data came to {empty[0]}: run() does not use it, so leave it out")


class CompressedLinear(nn.Module):
    """A linear layer that keeps its weight as whole numbers, and unpacks them to floats once.

    For any number of bits, on any device: as good as the compressed model is, and as fast as the float one. `Linear8`
    and `Linear4` compute with the whole numbers themselves, where the processor can. `.half()` and the like change the
    type of the weight that is unpacked, of the bias and of what comes out; the steps stay as exact as they are.
    """

    dtype = torch.float32

    def __init__(self, quantized: Quantized, bias: Float[Tensor, " out"] | None = None):
        super().__init__()
        self.bits, self.group = quantized.bits, quantized.group
        self.out_features, self.in_features = quantized.codes.shape
        if bias is not None and bias.shape != (self.out_features,):
            raise ValueError(f"the weight has {self.out_features} rows, the bias {tuple(bias.shape)}: they must agree")
        self.register_buffer("codes", quantized.codes.detach().contiguous())
        self.register_buffer("scale", quantized.scale.detach())
        self.register_buffer("zero", quantized.zero)
        self.register_buffer("bias", None if bias is None else bias.detach().to(torch.float32, copy=True))
        self._prepare()

    @classmethod
    def from_quantized(cls, quantized: Quantized, bias: Float[Tensor, " out"] | None = None) -> "CompressedLinear":
        """The layer of a quantized weight and the bias of the layer it replaces.

        Raises:
            ValueError: if the bias is of another size, or if this kind of layer cannot hold such a weight.
        """
        return cls(quantized, bias)

    @property
    def quantized(self) -> Quantized:
        """The weight as whole numbers, as it is saved."""
        return Quantized(self.codes, self.scale, self.zero, self.bits, self.group)

    @property
    def nbytes(self) -> int:
        """Bytes in a file: codes and zero points packed to their bits, float32 steps, the bias."""
        return bytes_of(self.quantized) + (0 if self.bias is None else self.bias.nbytes)

    @property
    def memory(self) -> int:
        """Bytes that the layer takes while it is used."""
        places = {buffer.data_ptr(): buffer.untyped_storage().nbytes() for buffer in self.buffers()}
        return sum(places.values())

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch out"]:
        """What `nn.Linear` gives with the dequantized weight."""
        return nn.functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """What `print(model)` shows of this layer."""
        grouped = "" if self.group is None else f", group={self.group}"
        return f"{self.in_features}, {self.out_features}, bits={self.bits}{grouped}, bias={self.bias is not None}"

    def _prepare(self) -> None:
        """Make what is computed with from what is stored: at first, and after other numbers were loaded."""
        self.register_buffer("weight", dequantize(self.quantized).to(self.dtype), persistent=False)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *how: Any) -> None:
        super()._load_from_state_dict(state, prefix, *how)
        if any(name.startswith(prefix) for name in state):
            self._prepare()

    def _apply(self, move: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        before = {name: buffer for name, buffer in self._buffers.items() if name != "bias" and buffer is not None}
        super()._apply(move, recurse)
        self.dtype = move(torch.empty(0, dtype=self.dtype)).dtype
        for name, exact in before.items():
            if self._buffers[name].dtype != exact.dtype:
                self._buffers[name] = exact.to(self._buffers[name].device)
        if "weight" in before and before["weight"].dtype != self.dtype:
            self.weight = dequantize(self.quantized).to(self.dtype)
        return self
