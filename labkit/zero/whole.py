"""What every rank has whole: it begins alike everywhere, and weights that are not there are not saved as nothing."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from labkit.zero.exchanging import Exchange
from labkit.zero.shards import Shard


def replicated(model: nn.Module, shards: Sequence[Shard]) -> Iterator[tuple[str, Tensor]]:
    """What every rank keeps whole: frozen parameters in stages 1 and 2, and buffers that a state_dict has."""
    sharded = {name for shard in shards for name in shard.flat.names}
    yield from ((name, parameter) for name, parameter in model.named_parameters() if name not in sharded)
    passing = {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        for name in module._non_persistent_buffers_set
    }
    yield from ((name, buffer) for name, buffer in model.named_buffers() if name not in passing)


@torch.no_grad()
def begin_alike(exchange: Exchange, model: nn.Module, shards: Sequence[Shard]) -> None:
    """Give every rank what rank 0 has of all that is not in shards: frozen weights, and all buffers."""
    rest = {id(tensor): tensor for _, tensor in (*replicated(model, shards), *model.named_buffers())}
    for tensor in rest.values():
        own = tensor.contiguous()
        if own.numel():
            exchange.broadcast(own.data)
        if own is not tensor:
            tensor.data = own


def guard_states(model: nn.Module, shards: Sequence[Shard]) -> None:
    """Refuse to save or load weights that are not there (stage 3), and let shards know what was loaded."""

    def here(*_: Any) -> None:
        missing = next((shard.flat.names[0] for shard in shards if not shard.present), None)
        if missing is not None:
            raise ValueError(f"{missing} is split over the ranks: save and load inside of `with zero.whole():`")

    def taken(*_: Any) -> None:
        for shard in shards:
            shard.take()

    model.register_state_dict_pre_hook(here)
    model.register_load_state_dict_pre_hook(here)
    model.register_load_state_dict_post_hook(taken)
