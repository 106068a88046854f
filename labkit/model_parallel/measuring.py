"""What a rank can find out about itself: what it keeps, how often it talks, whether it computes what torch computes."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from labkit.attention import saved_bytes
from labkit.model_parallel.activations import ParallelPaperLayer
from labkit.model_parallel.counting import Collectives
from labkit.model_parallel.decoder import ParallelDecoder, ParallelFeedForward
from labkit.model_parallel.mesh import new_mesh
from labkit.model_parallel.shards import shard_state
from labkit.model_parallel.tensor import share
from labkit.transformer import Config, FeedForward


class BlockTalk(NamedTuple):
    """How often each collective is called in a block, and the bytes a rank receives for them in a ring."""

    forward: dict[str, int]
    backward: dict[str, int]
    forward_bytes: int


def block_talk(config: Config, sequence: bool = False, batch: int = 2) -> BlockTalk:
    """What the first block of a `ParallelDecoder` of this config says to the other ranks, for a whole context."""
    ranks = dist.get_world_size()
    tokens = share(config.context, ranks, "tokens") if sequence else config.context
    block = ParallelDecoder(config, sequence=sequence).blocks[0]
    x = torch.randn(batch, tokens, config.width, requires_grad=True)
    with Collectives() as forward:
        y = block(x, causal=True)
    with Collectives() as backward:
        y.sum().backward()
    return BlockTalk(dict(forward.counts), dict(backward.counts), forward.ring_bytes(ranks))


def kept_bytes(batch: int, tokens: int, width: int, heads: int, sequence: bool = False) -> int:
    """The bytes that autograd keeps on this rank for the layer of Korthikanti et al., in 16-bit numbers.

    Without the statistics of the two norms, a mean and a deviation for each token, which the paper leaves out.
    """
    own = share(tokens, dist.get_world_size(), "tokens") if sequence else tokens
    layer = ParallelPaperLayer(width, heads, sequence=sequence).bfloat16()
    x = torch.randn(batch, own, width).bfloat16().requires_grad_()
    return saved_bytes(layer, x) - 2 * 2 * batch * own * x.element_size()


def beside_torch(config: Config, batch: int = 2, tokens: int = 8) -> dict[str, float | int]:
    """Our feed-forward layer beside torch's tensor parallel: largest differences, and how often each talks."""
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    rank, ranks = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    whole, ours = FeedForward(config), ParallelFeedForward(config)
    ours.load_state_dict(shard_state(whole.state_dict(), config, rank, ranks))
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    plan |= {"gate": ColwiseParallel()} if config.activation == "swiglu" else {}
    theirs = parallelize_module(whole, new_mesh(tensor=ranks), plan)
    x = torch.randn(batch, tokens, config.width)
    (y, dx, talk), (z, dz, their_talk) = _run(ours, x), _run(theirs, x)
    return {
        "result": float((y - z).abs().max()),
        "gradient": float((dx - dz).abs().max()),
        "ours": sum(talk.counts.values()),
        "torch": sum(their_talk.counts.values()),
    }


def _run(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Collectives]:
    x = x.clone().requires_grad_()
    with Collectives() as talk:
        y = layer(x)
        y.square().sum().backward()
    return y.detach(), x.grad, talk


def learn(model: nn.Module, batches: Iterable[Any], finish: Callable[[], Any], rate: float = 3e-3) -> list[float]:
    """Train a model on batches of (inputs, targets), with `finish` between backward and step; its losses."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    losses = []
    for inputs, targets in batches:
        optimizer.zero_grad()
        loss = model.loss(inputs, targets)
        loss.backward()
        finish()
        optimizer.step()
        losses.append(loss.detach())
    return [float(loss) for loss in losses]
