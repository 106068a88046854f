"""Elastic training: a rank dies, and the run goes on from the last checkpoint with those that are left.

    run_elastic(my_training, 4, folder)        # my_training calls `train(folder, …)`, on every rank

A batch is that of all ranks together, so its size, its examples and the course of the loss do not depend on how many
ranks there are.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn

from labkit.data_parallel.accumulation import share
from labkit.data_parallel.replicas import DataParallel
from labkit.data_parallel.sampling import RankSampler, seed_of
from labkit.ranks import RankFailed, run_ranks
from labkit.training.checkpoints import checkpoint_path, load_checkpoint, newest, save_checkpoint


class Attempt(NamedTuple):
    """One start: with how many ranks, and which one was lost and how (None and "" for the start that ended well)."""

    world: int
    lost: int | None
    why: str


@dataclass(frozen=True)
class Survived:
    """What each rank of the last start returned, and all starts."""

    results: list[Any]
    attempts: list[Attempt]


def run_elastic(
    fn: Callable[..., Any],
    n: int,
    *args: Any,
    restarts: int = 3,
    smallest: int = 1,
    replace: bool = False,
    **options: Any,
) -> Survived:
    """Run `fn(*args)` on n ranks, and again on those that are left whenever one is killed or ends too early.

    What `fn` should not lose it has to keep in files (see `train`). A rank that raises is no accident but a mistake of
    the program: that is raised at once.

    Args:
        restarts: how many accidents to survive.
        smallest: with fewer ranks than that it is not worth going on.
        replace: start as many ranks as before, as if another machine took the place.
        options: of `run_ranks`, and more arguments of `fn`.

    Raises:
        RankFailed: for a rank that raised, and for the accident that was one too many.
    """
    attempts: list[Attempt] = []
    while True:
        world = n if replace else n - len(attempts)
        try:
            results = run_ranks(fn, world, *args, **options)
        except RankFailed as error:
            accident = error.signal is not None or error.kind == "exit"
            attempts.append(Attempt(world, error.rank, error.kind))
            if not accident or len(attempts) > restarts or (not replace and world - 1 < smallest):
                raise
        else:
            return Survived(results, [*attempts, Attempt(world, None, "")])


@dataclass(frozen=True)
class Progress:
    """The course of a run, also before it was resumed: the loss of each step, where this start began, its ranks."""

    losses: list[float]
    begun: int
    world: int
    weights: dict[str, Tensor]


def train(
    folder: str | Path,
    build: Callable[[], tuple[nn.Module, Any]],
    loss_of: Callable[[nn.Module, Tensor], Tensor],
    examples: int,
    *,
    batch: int,
    steps: int,
    every: int = 10,
    seed: int = 0,
    before_step: Callable[[int], None] | None = None,
) -> Progress:
    """Train on all ranks, from the newest whole checkpoint in `folder` on if there is one.

    With the same number of ranks a resumed run is bitwise the one that was never disturbed; with another number the
    same but for the order in which gradients are added.

    Args:
        folder: where rank 0 writes; all ranks must be able to read it.
        build: the model and its optimizer, before the first step.
        loss_of: the mean loss of the examples with these indices.
        batch: examples in a step, of all ranks together.
        every: steps between two checkpoints.
        before_step: called on each rank with the number of steps done.
    """
    model, optimizer = build()
    rank, world = distributed.get_rank(), distributed.get_world_size()
    sampler = RankSampler(examples, batch, rank, world, seed)
    begun, losses = _resume(Path(folder), model, optimizer, sampler)
    parallel, draws = DataParallel(model), iter(sampler)
    for step in range(begun, steps):
        if before_step is not None:
            before_step(step)
        torch.manual_seed(seed_of(seed_of(seed, step), rank))  # dropout's chance depends on the step, not on the past
        losses.append(_step(parallel, optimizer, loss_of, next(draws)))
        if rank == 0 and ((step + 1) % every == 0 or step + 1 == steps):
            about = {"batches": sampler, "losses": [float(loss) for loss in losses]}
            save_checkpoint(checkpoint_path(folder, step + 1), model=model, optimizer=optimizer, step=step + 1, **about)
    distributed.barrier()  # nobody returns before the last checkpoint is written
    weights = {name: x.detach().cpu().clone() for name, x in model.state_dict().items()}
    return Progress([float(loss) for loss in losses], begun, world, weights)


def _resume(folder: Path, model: nn.Module, optimizer: Any, sampler: RankSampler) -> tuple[int, list[Any]]:
    """Put everything back to the newest checkpoint; rank 0 decides which one that is."""
    step = torch.zeros(1, dtype=torch.int64)
    if distributed.get_rank() == 0:
        _, found, _ = newest(folder)
        step += 0 if found is None else found.step
    step = step.to(next(model.parameters()).device)
    distributed.broadcast(step, 0)
    if not step:
        return 0, []
    path = checkpoint_path(folder, int(step))
    found = load_checkpoint(path, model, optimizer, batches=sampler, restore_random=False)
    return found.step, list(found.states["losses"])


def _step(model: DataParallel, optimizer: Any, loss_of: Callable, indices: Tensor) -> Tensor:
    """One step of all ranks; the mean loss of all their examples."""
    model.zero_grad()
    factor = share(len(indices))
    if len(indices):
        loss = loss_of(model.module, indices) * factor
        loss.backward()
        total = loss.detach().clone()
    else:
        model.join()
        total = torch.zeros((), device=next(model.parameters()).device)
    optimizer.step()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def die_once(folder: str | Path, step: int, rank: int) -> Callable[[int], None]:
    """A `before_step` that kills one rank, without a word, the first time that it comes to this step."""

    def strike(now: int) -> None:
        done = Path(folder) / f"died-{rank}-{step}"
        if now == step and distributed.get_rank() == rank and not done.exists():
            done.parent.mkdir(parents=True, exist_ok=True)
            done.touch()
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows has one way to kill

    return strike
