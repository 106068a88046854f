"""A little more every few steps: training goes on while weights are left out, and what is left repairs the loss."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from labkit.compression.pruning.magnitude import apply_masks, check_sparsity, chosen_layers, element, zeros_in


@dataclass(frozen=True)
class Gradual:
    """What a gradual pruning left: loss and share of zeros after every step, and the masks at the end."""

    losses: list[float]
    sparsity: list[float]
    masks: dict[str, Tensor] = field(repr=False)


def sparsity_at(
    step: float | int, *, final: float | int, end: float | int, begin: float | int = 0, initial: float | int = 0.0
) -> float:
    """The share of zeros wanted at a step: steep at first, while much is superfluous, and flat towards the end.

    final + (initial − final) · (1 − (step − begin) / (end − begin))³ between begin and end, constant outside.

    Raises:
        ValueError: for shares outside 0 to 1, or an end before the beginning.
    Source: Zhu & Gupta (2017), "To prune, or not to prune", equation 1.

    >>> [sparsity_at(step, final=0.8, end=4) for step in range(6)]
    [0.0, 0.4625, 0.7000000000000001, 0.7875000000000001, 0.8, 0.8]
    """
    initial, final = check_sparsity(initial), check_sparsity(final)
    if end <= begin:
        raise ValueError(f"the end must come after the beginning, got begin {begin} and end {end}")
    left = 1 - min(1.0, max(0.0, (step - begin) / (end - begin)))
    return final + (initial - final) * left**3


def prune_gradually(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, ...]],
    optimizer: Any,
    *,
    steps: int,
    final: float | int,
    every: int = 5,
    end: int | None = None,
    choose: Callable[[Tensor, float], Tensor] = element,
    names: Iterable[str] | None = None,
) -> Gradual:
    """Train the model in place and leave out more every few steps, always putting zeros back after the optimizer.

    Args:
        batches: what `model.loss(*batch)` takes.
        end: the step at which `final` is reached; two thirds of `steps` if left out, the rest is repair.
        choose: the mask for a weight and a share. A weight is chosen again each time, so a zero may not come back:
            its magnitude is 0.

    Raises:
        ValueError: for less than one step or `every`, an `end` that is none of the steps, a share outside 0 to 1, an
            unknown layer, or too few batches.
    Source: Zhu & Gupta (2017), section 3.
    """
    if steps < 1 or every < 1:
        raise ValueError(f"steps and every must be at least 1, got {steps} and {every}")
    end = max(1, 2 * steps // 3) if end is None else end
    if not 1 <= end <= steps:
        raise ValueError(f"{final} is to be reached at step {end}: it must be one of the steps, 1 to {steps}")
    sparsity_at(end, final=final, end=end)  # refuses a share before anything is trained
    layers, stream = chosen_layers(model, names), iter(batches)
    losses, shares, masks = [], [], {}
    for step in range(1, steps + 1):
        losses.append(_learn(model, next(stream, None), optimizer))
        if step <= end and (step % every == 0 or step == end):
            share = sparsity_at(step, final=final, end=end)
            masks = {name: choose(layer.weight, share) for name, layer in layers.items()}
        apply_masks(model, masks)
        shares.append(zeros_in(model))
    return Gradual(torch.stack(losses).tolist(), shares, masks)


def fine_tune(
    model: nn.Module, batches: Iterable[tuple[Tensor, ...]], optimizer: Any, *, steps: int, masks: Mapping[str, Tensor]
) -> list[float]:
    """Train on in place with masks held: zeros are put back after every step. Gives the losses.

    Momentum, weight decay of a drifting optimizer and Adam's averages move a zero although its gradient is masked:
    so what is masked is the weight, after the step.

    Raises:
        ValueError: for less than one step, or too few batches.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    stream, losses = iter(batches), []
    for _ in range(steps):
        losses.append(_learn(model, next(stream, None), optimizer))
        apply_masks(model, masks)
    return torch.stack(losses).tolist()


def _learn(model: nn.Module, batch: tuple[Tensor, ...] | None, optimizer: Any) -> Tensor:
    if batch is None:
        raise ValueError("there are fewer batches than steps: give an endless stream, or fewer steps")
    optimizer.zero_grad()
    loss = model.loss(*batch)
    loss.backward()
    optimizer.step()
    return loss.detach()
