"""The same pipelines by `torch.distributed.pipelining`, to hold ours against."""

from collections.abc import Mapping

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.distributed import pipelining

from labkit.model_parallel.schedules import SCHEDULES as ours
from labkit.model_parallel.schedules import interleaved, owners
from labkit.model_parallel.stages import DecoderStage, blocks_of, pipeline_decoder
from labkit.ranks import device
from labkit.transformer import Config, Decoder

SCHEDULES = {"GPipe": "ScheduleGPipe", "1F1B": "Schedule1F1B", "interleaved": "ScheduleInterleaved1F1B"}


def torch_losses(
    config: Config,
    name: str,
    ids: Tensor,
    targets: Tensor,
    micro_batches: int,
    *,
    seed: int = 0,
    state: Mapping[str, Tensor] | None = None,
) -> Float[Tensor, " micro_batches"]:
    """The loss of each micro-batch of one step under torch's schedule of this name, on every rank.

    The stages are those of ours, two for each rank when `name` is "interleaved". Every target counts.

    Raises:
        ValueError: for a schedule that torch has under no such name.
    """
    if name not in SCHEDULES:
        raise ValueError(f"name is one of {', '.join(SCHEDULES)}, got {name!r}")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    owner = owners(interleaved(ranks, ranks, chunks=2)) if name == "interleaved" else [*range(ranks)]
    whole, cuts = Decoder(config, seed=None if state else seed).to(device()), blocks_of(config.layers, len(owner))
    if state:
        whole.load_state_dict(dict(state))
    ids, targets, last = ids.to(device()), targets.to(device()), len(owner) - 1
    parts = {i: DecoderStage(whole, cuts[i], i == 0, i == last) for i in range(len(owner)) if owner[i] == rank}
    made = [pipelining.PipelineStage(part, i, len(owner), device()) for i, part in parts.items()]
    schedule = getattr(pipelining, SCHEDULES[name])(
        made if name == "interleaved" else made[0], micro_batches, loss_fn=_loss
    )
    losses: list[Tensor] = []
    given = (ids,) if 0 in parts else ()
    schedule.step(*given, **({"target": targets, "losses": losses} if last in parts else {}))
    empty = torch.empty(micro_batches, dtype=whole.head.weight.dtype, device=device())
    found = torch.stack(losses).detach() if last in parts else empty
    dist.broadcast(found, owner[last])
    return found


def losses_beside_torch(
    config: Config, ids: Tensor, targets: Tensor, micro_batches: int = 4
) -> dict[str, tuple[float, float]]:
    """The loss of a batch under each schedule that torch has too: ours, and torch's mean over micro-batches."""
    found = {}
    for name in SCHEDULES:
        pipe = pipeline_decoder(config, ours[name](dist.get_world_size(), micro_batches))
        theirs = torch_losses(config, name, ids, targets, micro_batches)
        found[name] = float(pipe.step(ids, targets)), float(theirs.mean())
    return found


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(end_dim=1), targets.flatten())
