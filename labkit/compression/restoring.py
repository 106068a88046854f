"""From what a file holds to a model: whether the two belong together, before any of it is put into the other."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from labkit.compression.embeddings import CompressedEmbedding, TiedHead
from labkit.compression.grid import Quantized
from labkit.compression.kinds import CLASSES
from labkit.compression.layers import CompressedLinear
from labkit.compression.linear4 import Linear4
from labkit.compression.linear8 import Linear8
from labkit.compression.pruning.structure import PrunedDecoder
from labkit.compression.skeletons import sizes_of
from labkit.training.fitting import config_of
from labkit.transformer.config import Config
from labkit.transformer.models import Decoder, Encoder, EncoderDecoder

PARTS = {kind.__name__: kind for kind in (CompressedLinear, Linear8, Linear4, CompressedEmbedding)}
MODELS = {kind.__name__: kind for kind in (Decoder, PrunedDecoder, Encoder, EncoderDecoder)}


class Part(NamedTuple):
    """A compressed layer or embedding: the name of its class, its weight, its bias, and the type of what comes out."""

    kind: str
    quantized: Quantized
    bias: Tensor | None
    dtype: torch.dtype

    def made(self) -> CompressedLinear:
        """The layer."""
        return PARTS[self.kind](self.quantized, self.bias).to(self.dtype)


@dataclass(frozen=True)
class CompressedFile:
    """What a file holds: the model's config, each compressed part with its kind and weight, and the rest as floats.

    `layers` are those of the other kinds, ready to use; `skeleton` has the sizes that the config does not say.
    """

    config: dict[str, Any] | None
    parts: dict[str, Part] = field(repr=False)
    heads: dict[str, str]  # a tied head -> the embedding whose codes it uses
    floats: dict[str, Tensor] = field(repr=False)
    layers: dict[str, nn.Module] = field(default_factory=dict, repr=False)
    skeleton: dict[str, Any] = field(default_factory=dict)


def empty_model(file: str, found: CompressedFile) -> nn.Module:
    """The model that a file's config says, without memory for its weights.

    Raises:
        ValueError: if there is no config, none of a model, or of one that is larger than the file can fill.
    """
    config = found.config or {}
    kind, here = config.get("kind"), len(found.parts) + len(found.layers) + len(found.floats)
    if kind not in list(MODELS):
        raise ValueError(f"{file} is of a {kind or 'model without a config'}: give build=, which makes an empty one")
    kinds = {each.name: each.type for each in dataclasses.fields(Config)}
    fields = {name: value for name, value in config.items() if name in kinds}
    wrong = [name for name, value in fields.items() if not _fits(value, kinds[name])]
    if wrong:
        raise ValueError(f"the config of {file} is of no model: its {wrong[0]} is {fields[wrong[0]]!r}")
    if fields.get("layers", 0) > here:  # before so many are built
        raise ValueError(f"{file} is of another model: {fields['layers']:,} layers in its config, {here} parts in all")
    try:
        with torch.device("meta"), _Undrawn():
            return MODELS[kind](Config(**fields), seed=None)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise ValueError(f"the config of {file} is of no model that there can be: {error}") from error


class _Undrawn(TorchFunctionMode):
    """No random numbers for weights that have no memory: torch would import its compiler for that, which takes 2 s."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(function, "__name__", "")
        if name == "randn":
            return torch.empty(*args, device="meta")
        if name in ("normal_", "uniform_", "kaiming_uniform_", "mul", "__rmul__"):
            return kwargs.get("tensor", *args[:1])
        return function(*args, **kwargs)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value read from JSON can be a field of that type; True is no size, and neither is NaN or 10^30."""
    plain = {each for each in getattr(kind, "__args__", (kind,)) if isinstance(each, type)}
    plain |= {int} if plain & {bool, float} else set()
    return type(value) in plain and (isinstance(value, str | None) or abs(value) < 2**63)


def refuse_other(file: str, found: CompressedFile, model: nn.Module) -> None:
    """Nothing, if the file's config says nothing else than the model's.

    Raises:
        ValueError: naming the first thing that differs.
    """
    here, there = config_of(model) or {}, found.config or {}
    differ = [key for key in here if key in there and here[key] != there[key] and key not in ("kernel", "dropout")]
    if differ:
        key = differ[0]
        raise ValueError(f"{file} is of another model: its {key} is {there[key]}, and {here[key]} of what build made")


def refuse_misfit(file: str, found: CompressedFile, model: nn.Module) -> None:
    """Nothing, if the model has a layer or an embedding of the right size wherever the file has one.

    Raises:
        ValueError: naming the first that does not fit.
    """
    modules = dict(model.named_modules())
    tables = {name for name, part in found.parts.items() if part.kind == "CompressedEmbedding"}
    wanted = {name: (nn.Embedding if name in tables else nn.Linear, part) for name, part in found.parts.items()}
    wanted |= {head: (nn.Linear, found.parts[table]) for head, table in found.heads.items()}
    for name, (kind, part) in wanted.items():
        there = modules.get(name)
        said = f"{file} is of another model: {name} is {tuple(part.quantized.codes.shape)}, but the model has"
        if not isinstance(there, kind):
            raise ValueError(f"{said} no {kind.__name__} there, but {type(there).__name__}")
        if there.weight.shape != part.quantized.codes.shape:
            raise ValueError(f"{said} {tuple(there.weight.shape)} there")
        if (getattr(there, "bias", None) is None) != (part.bias is None):
            raise ValueError(f"{said} {'a bias' if part.bias is None else 'no bias'} there")
    for name, layer in found.layers.items():
        there, sizes = modules.get(name), sizes_of(layer)
        if type(there) is not nn.Linear or sizes_of(there) != sizes:
            has = tuple(there.weight.shape) if type(there) is nn.Linear else f"{type(there).__name__} there"
            raise ValueError(f"{file} is of another model: {name} is {sizes}, but the model has {has}")
        if (there.bias is None) != (layer.bias is None):
            raise ValueError(f"{file} is of another model: {name} has a bias in one of the two only")


def floats_of(model: nn.Module) -> dict[str, Tensor]:
    """What is not compressed, by name, from parts that are in the model under several names under each."""
    found, inside = {}, ()
    for name, part in model.named_modules(remove_duplicate=False):
        if isinstance(part, (CompressedLinear, TiedHead, *CLASSES)):
            inside += (f"{name}.",)
        elif not name.startswith(inside):  # the parts' own state is not asked for: to unpack 4 bits takes a while
            part._save_to_state_dict(found, f"{name}." if name else "", keep_vars=False)
    return found


def fill(file: str, model: nn.Module, found: CompressedFile) -> None:
    """Load what is not compressed, and make sure that nothing is left empty.

    Raises:
        ValueError: if the file has more or less than the model without its compressed parts, or in another shape.
    """
    wanted = floats_of(model)
    wrong = [name for name in wanted if name not in found.floats or not _alike(wanted[name], found.floats[name])]
    wrong += [name for name in found.floats if name not in wanted]
    if wrong:
        raise ValueError(f"{file} is of another model: {wrong[0]} is not, or not of this shape and type, in both")
    model.load_state_dict(found.floats, strict=False, assign=True)


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether they have one shape, and one type or both floats: models are saved in 16 bits, too."""
    floats = one.is_floating_point() and other.is_floating_point()
    return one.shape == other.shape and (floats or one.dtype == other.dtype)
