"""The same training four times over: torch's DDP, our ZeRO and DeepSpeed, on the ranks of one process group."""

import copy
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labkit.ranks import device
from labkit.zero import deepspeed_runs
from labkit.zero.consolidated import consolidate, deepspeed_consolidated
from labkit.zero.reports import bytes_of
from labkit.zero.stages import Zero

Batches = Iterable[tuple[Any, ...]]


@dataclass(frozen=True)
class Run:
    """A training: its loss in each step, over all ranks; bytes on this rank before the last step; all its weights."""

    name: str
    losses: list[float]
    held: dict[str, int]
    seconds: float
    weights: dict[str, Tensor] = field(default_factory=dict, repr=False)
    checks: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = " + ".join(f"{part} {count:,}" for part, count in self.held.items())
        return f"{self.name:<10} loss {self.losses[-1]:.6f}   {parts}"

    def to_json(self) -> dict[str, Any]:
        """All but the name and the weights, as `stored_runs` reads it."""
        return {"losses": self.losses, "held": self.held, "seconds": self.seconds, "checks": self.checks}


def own_part(batch: Sequence[Tensor]) -> list[Tensor]:
    """The rows of a batch that belong to this rank."""
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    return [tensor.chunk(ranks)[rank] for tensor in batch]


def with_ddp(model: nn.Module, batches: Batches, *, lr: float = 1e-2, clip: float | int = 1.0) -> Run:
    """Train by DistributedDataParallel and torch's AdamW; `batches` are this rank's own."""
    model = copy.deepcopy(model).to(device())
    replica = nn.parallel.DistributedDataParallel(deepspeed_runs.Loss(model))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.01)
    losses, begin, held = [], time.perf_counter(), {}
    for batch in batches:
        optimizer.zero_grad()
        loss = replica(*(tensor.to(device()) for tensor in batch))
        loss.backward()
        nn.utils.clip_grad_norm_(trained, clip)
        states = [each for state in optimizer.state.values() for each in state.values() if each.ndim]
        held = _held(model.parameters(), [p.grad for p in trained], states)
        optimizer.step()
        losses.append(loss.detach())
    return Run("DDP", mean_losses(losses), held, time.perf_counter() - begin, _copied(model))


def with_ours(model: nn.Module, batches: Batches, stage: int, *, lr: float = 1e-2, clip: float | int = 1.0) -> Run:
    """Train by `labkit.zero.stages.Zero` and torch's AdamW; `batches` are this rank's own."""
    model = copy.deepcopy(model).to(device())
    zero = Zero(model, torch.optim.AdamW, stage=stage, lr=lr, weight_decay=0.01)
    losses, begin, held = [], time.perf_counter(), {}
    for batch in batches:
        zero.zero_grad()
        loss = model.loss(*(tensor.to(device()) for tensor in batch))
        loss.backward()
        zero.clip(clip)
        report = zero.report()
        held = {"parameters": report.parameters, "gradients": report.gradients, "moments": report.optimizer}
        zero.step()
        losses.append(loss.detach())
    seconds = time.perf_counter() - begin
    with zero.whole():
        return Run(f"ours {stage}", mean_losses(losses), held, seconds, _copied(model))


def with_deepspeed(
    model: nn.Module, batches: Batches, settings: dict[str, Any], folder: Path | str | None = None
) -> Run:
    """Train by DeepSpeed; with a `folder`, save a checkpoint there and look whether it holds the same weights.

    `batches` are this rank's own, of which it cuts the parts that it accumulates.
    `checks` then says how far the weights in the checkpoint are from those of the model, put together by us and by
    DeepSpeed, and the loss of the next batch from that after loading it into a new engine.
    """
    batches = list(batches)
    engine = deepspeed_runs.start(copy.deepcopy(model), settings)
    begin = time.perf_counter()
    losses, held = _steps(engine, batches, settings["gradient_accumulation_steps"])
    seconds = time.perf_counter() - begin
    weights = gathered(engine)
    checks = {}
    if folder is not None:
        engine.save_checkpoint(str(folder), tag="now")
        checks = _looked_at(engine, folder, weights) | {"resumed": _resumed(engine, model, settings, folder, batches)}
    engine_stage = engine.zero_optimization_stage()
    engine.destroy()
    return Run(f"DeepSpeed {engine_stage}", mean_losses(losses), held, seconds, weights, checks)


def stored_runs() -> dict[str, Run]:
    """The runs of this notebook where its outputs were stored, by name, without their weights."""
    return {name: Run(name=name, **about) for name, about in deepspeed_runs.stored()["runs"].items()}


def gathered(engine: Any) -> dict[str, Tensor]:
    """Copies of all weights of an engine's model, on every rank, split or not."""
    deepspeed = deepspeed_runs.load_deepspeed()
    parameters = [parameter for parameter in engine.module.parameters() if hasattr(parameter, "ds_tensor")]
    with deepspeed.zero.GatheredParameters(parameters):
        return _copied(engine.module.model)


def mean_losses(losses: list[Tensor]) -> list[float]:
    """The mean over the ranks of the loss of each step: one reduction for all of them."""
    everything = torch.stack(losses).double()
    torch.distributed.all_reduce(everything)
    return (everything / torch.distributed.get_world_size()).tolist()


def _steps(engine: Any, batches: Batches, accumulate: int) -> tuple[list[Tensor], dict[str, int]]:
    losses, held = [], {}
    for batch in batches:
        parts = []
        for part in zip(*(tensor.to(device()).chunk(accumulate) for tensor in batch), strict=True):
            loss = engine(*part)
            engine.backward(loss)
            held = deepspeed_runs.held(engine)
            engine.step()  # does nothing until so many backward passes are done
            parts.append(loss.detach())
        losses.append(torch.stack(parts).mean())
    return losses, held


def _looked_at(engine: Any, folder: Path | str, weights: dict[str, Tensor]) -> dict[str, float]:
    torch.distributed.barrier()
    ours = consolidate(folder)
    found = {"ours": _distance({name.removeprefix("model."): ours[name] for name in ours}, weights)}
    if engine.zero_optimization_stage():  # without ZeRO there is nothing that it would put together
        theirs = deepspeed_consolidated(folder)
        found["theirs"] = _distance(theirs, ours)
    return found


def _resumed(engine: Any, model: nn.Module, settings: dict[str, Any], folder: Path | str, batches: list[Any]) -> float:
    """The loss after one more step, of the engine that went on and of one that was loaded, apart from each other."""
    again = deepspeed_runs.start(copy.deepcopy(model), settings)
    again.load_checkpoint(str(folder), tag="now")
    accumulate = settings["gradient_accumulation_steps"]
    further = [mean_losses(_steps(each, batches[:2], accumulate)[0]) for each in (engine, again)]
    again.destroy()
    return max(abs(a - b) for a, b in zip(*further, strict=True))


def _distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    if one.keys() != other.keys():
        raise ValueError(f"weights of other names: {sorted(one.keys() ^ other.keys())[:5]}")
    return max((one[name].float() - other[name].float()).abs().max().item() for name in one)


def _held(parameters: Any, gradients: Any, states: Any) -> dict[str, int]:
    return {"parameters": bytes_of(parameters), "gradients": bytes_of(gradients), "moments": bytes_of(states)}


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().cpu().clone() for name, weight in model.state_dict().items()}
