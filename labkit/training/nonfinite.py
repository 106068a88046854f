"""NaN and infinity, caught in the step they appear in and traced to the tensor they come from."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from labkit.training.precision import autocast

SMALLEST_SCALE = 2.0**-20


class NonFiniteLoss(ValueError):
    """The loss, or the gradient, is no number any more; `step`, `batch` and `tensor` say when, on what and where."""

    def __init__(self, message: str, step: int, batch: str, tensor: str):
        super().__init__(message)
        self.step, self.batch, self.tensor = step, batch, tensor


def first_bad_tensor(
    model: nn.Module, batch: Sequence[Any], *, precision: torch.dtype | None = None, chance: Tensor | None = None
) -> str | None:
    """Where the first NaN or infinity is: in the batch, a weight, a module's output, the loss or a gradient.

    The batch goes through the model once more, with a look at what every module gives, in the order of computation.
    Weights, their gradients and buffers stay as they are; None if everything is finite.

    Args:
        precision: what the step was computed in (see `autocast`).
        chance: `torch.get_rng_state()` of before the step, so that dropout strikes the same places.
    """
    given = [(f"input {i} of the batch", x) for i, x in enumerate(batch)]
    weights = [(f"the weight {name}", weight) for name, weight in model.named_parameters()]
    bad = _first([*given, *weights])
    if bad is None:
        with _unchanged(model, chance), autocast(device_of(model), precision):
            bad = _first_while_computing(model, batch)
    # Buffers come last: a mask may hold infinity rightly, and running averages are spoilt by what was bad before them.
    return bad or _first((f"the buffer {name}", buffer) for name, buffer in model.named_buffers())


def device_of(model: nn.Module) -> torch.device:
    """Where the model's weights are."""
    return next((weight.device for weight in model.parameters()), torch.device("cpu"))


def trace(
    what: str,
    step: int,
    model: nn.Module,
    batches: Sequence[Sequence[Any]],
    where: str = "",
    precision: torch.dtype | None = None,
    chance: Tensor | None = None,
) -> NonFiniteLoss | None:
    """The error for a step whose batches lead to NaN or infinity: step, batch, first bad tensor; None if none does."""
    for batch in batches:
        if found := first_bad_tensor(model, batch, precision=precision, chance=chance):
            said = describe_batch(batch, where)
            if precision == torch.float16 and found.startswith(("the output", "the loss")):
                found += "; float16 ends at 65,504: take bfloat16"
            return NonFiniteLoss(f"step {step}: {what}; {said}; first not finite: {found}", step, said, found)
    return None


def refuse_non_finite(
    loss: Tensor | float, norm: Tensor | float | None, step: int, model: nn.Module, batches: Any, **options: Any
) -> None:
    """Nothing, when loss and norm are numbers. An accelerator, which looking makes wait, is not asked.

    Args:
        options: where, precision, chance: as in `trace`.

    Raises:
        NonFiniteLoss: naming the step, the batch and the first tensor that is not finite.
    """
    for name, value in (("the loss", loss), ("the norm of the gradient", norm)):
        if value is None or (isinstance(value, Tensor) and value.device.type != "cpu") or math.isfinite(float(value)):
            continue
        what = f"{name} is {float(value)}"
        refuse_step(what, step, model, batches, **options)


def refuse_step(what: str, step: int, model: nn.Module, batches: Any, **options: Any) -> None:
    """Raise the error for a step that is known to have gone wrong; options as in `trace`."""
    if (found := trace(what, step, model, batches, **options)) is not None:
        raise found
    said = describe_batch(batches[0] if len(batches) else (), options.get("where", ""))
    unknown = "all that can be computed again is finite: lower the learning rate, or look at every step (every=1)"
    raise NonFiniteLoss(f"step {step}: {what}; {said}; {unknown}", step, said, unknown)


def refuse_lost_scale(scaler: Any, step: int, model: nn.Module, batches: Any, **options: Any) -> None:
    """Nothing, while a loss scaler still scales: when even the smallest scale overflows, it was never the scale.

    Raises:
        NonFiniteLoss: naming the tensor.
    """
    if scaler.get_scale() < SMALLEST_SCALE:
        refuse_step("every gradient overflows, whatever the scale", step, model, batches, **options)


def refuse_bad_weights(model: nn.Module, done: int) -> None:
    """Nothing, when all weights are numbers; one look for all of them, so an accelerator waits once.

    Raises:
        NonFiniteLoss: naming the weight.
    """
    fine = [weight.detach().sum().isfinite() for weight in model.parameters()]
    if not fine or bool(torch.stack([x.to(fine[0].device) for x in fine]).all()):
        return
    found = _first((f"the weight {name}", weight) for name, weight in model.named_parameters())
    if found:  # else a sum of large numbers was too large
        what = "a gradient in one of the last steps was not finite though the loss was"
        raise NonFiniteLoss(f"after {done} steps {found}: {what}; give max_norm", done - 1, "", found)


@contextmanager
def named(step: int, model: nn.Module, batches: Sequence[Sequence[Any]], **options: Any) -> Iterator[None]:
    """Whatever is refused inside is said with its step, and with its tensor if a model refuses NaN by itself."""
    try:
        yield
    except NonFiniteLoss:
        raise
    except ValueError as error:
        if found := _speaks_of_nan(error) and trace(str(error), step, model, batches, **options):
            raise found from error
        raise ValueError(f"step {step}: {error}") from error


def describe_batch(batch: Sequence[Any], where: str = "") -> str:
    """A batch in a few words: its shape, the beginning of its sha256, and where it came from if that is known.

    >>> describe_batch((torch.zeros(2, 3), torch.ones(2)), where="epoch 0, pieces 4, 7")
    'batch of (2, 3), (2), sha256 898b56ec (epoch 0, pieces 4, 7)'
    """
    tensors = [x.detach().cpu().contiguous() for x in batch if isinstance(x, Tensor)]
    shapes = ", ".join("(" + ", ".join(map(str, x.shape)) + ")" for x in tensors)
    content = hashlib.sha256(b"".join(x.reshape(-1).view(torch.uint8).numpy().tobytes() for x in tensors))
    return f"batch of {shapes}, sha256 {content.hexdigest()[:8]}" + (f" ({where})" if where else "")


def _first(tensors: Iterable[tuple[str, Any]]) -> str | None:
    for name, x in tensors:
        if not isinstance(x, Tensor) or not (x.is_floating_point() or x.is_complex()) or bool(x.isfinite().all()):
            continue
        bad = ~x.detach().isfinite()
        place = tuple(bad.nonzero()[0].tolist())
        where = f" at {place}" if place else ""
        return f"{name} holds {float(x.detach()[place])}{where}, {int(bad.sum())} of its {x.numel()} numbers are bad"
    return None


@contextmanager
def _unchanged(model: nn.Module, chance: Tensor | None) -> Iterator[None]:
    """Buffers and chance are as they were, afterwards."""
    buffers, now = [(buffer, buffer.clone()) for buffer in model.buffers()], torch.get_rng_state()
    if chance is not None:
        torch.set_rng_state(chance)
    try:
        yield
    finally:
        torch.set_rng_state(now)
        for buffer, before in buffers:
            buffer.copy_(before)


def _first_while_computing(model: nn.Module, batch: Sequence[Any]) -> str | None:
    found: list[str] = []

    def look(name: str, output: Any) -> None:
        if not found and (bad := _first((name, x) for x in _tensors(output))):
            found.append(bad)

    def hook(name: str) -> Any:
        return lambda module, inputs, output: look(
            f"the output of {name or 'the model'} ({type(module).__name__})", output
        )

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules()]
    before = {name: weight.grad for name, weight in model.named_parameters()}
    try:
        model.zero_grad()
        loss = model.loss(*batch)
        look("the loss itself", loss)
        if not found and loss.requires_grad:
            loss.backward()
            found += filter(None, [_first((f"the gradient of {n}", w.grad) for n, w in model.named_parameters())])
    except ValueError as error:  # a model that looks at its own numbers
        if not found and not _speaks_of_nan(error):
            raise
        found.append(str(error))
    finally:
        for handle in handles:
            handle.remove()
        for name, weight in model.named_parameters():
            weight.grad = before[name]
    return found[0] if found else None


def _speaks_of_nan(error: ValueError) -> bool:
    return any(word in str(error).lower() for word in ("nan", "inf ", "infinite"))


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        for each in output.values():
            yield from _tensors(each)
    elif isinstance(output, list | tuple):
        for each in output:
            yield from _tensors(each)
