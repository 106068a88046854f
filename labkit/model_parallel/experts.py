"""Expert parallel: a mixture of experts of which every rank has some, and an all-to-all that takes tokens to theirs."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from labkit.model_parallel.tensor import Group, share


class Routing(NamedTuple):
    """Where each token goes: for each of its k choices an expert, a place in that expert's queue, and a weight."""

    expert: Int[Tensor, "tokens k"]
    slot: Int[Tensor, "tokens k"]
    weight: Float[Tensor, "tokens k"]
    kept: Bool[Tensor, "tokens k"]  # False where the queue was full: the token is dropped
    counts: Int[Tensor, " experts"]  # how many wanted each expert


def capacity(tokens: int, experts: int, k: int = 1, factor: float | int = 1.25) -> int:
    """The places of an expert: factor · k · tokens / experts, rounded up.

    >>> capacity(6, 3, factor=1.0), capacity(6, 3, factor=1.5)
    (2, 3)

    Source: Fedus et al. (2021), "Switch Transformers", arXiv:2101.03961, equation 3.
    """
    return math.ceil(factor * k * tokens / experts)


def route(logits: Float[Tensor, "tokens experts"], k: int, capacity: int) -> Routing:
    """Each token to the k experts with the largest probability, as long as these have places.

    First choices have precedence, then the order of the tokens. With k = 1 the weight is the probability; with more
    the weights of a token's choices add up to 1.

    >>> route(torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), k=1, capacity=1).kept.flatten().tolist()
    [True, False, True]

    Raises:
        ValueError: for more choices than experts.
    Source: Lepikhin et al. (2020), GShard, algorithm 1; Fedus et al. (2021), section 2.1 (k = 1).
    """
    tokens, experts = logits.shape
    if not 1 <= k <= experts:
        raise ValueError(f"k = {k} choices among {experts} experts: give from 1 to {experts}")
    weight, expert = logits.softmax(dim=-1).topk(k, dim=-1)
    if k > 1:
        weight = weight / weight.sum(dim=-1, keepdim=True)
    queue = F.one_hot(expert.T.reshape(-1), experts)  # all first choices, then all second ones
    slot = ((queue.cumsum(dim=0) - 1) * queue).sum(dim=-1).view(k, tokens).T
    return Routing(expert, slot, weight, slot < capacity, queue.sum(dim=0))


def balance_loss(logits: Float[Tensor, "tokens experts"], k: int = 1) -> Float[Tensor, ""]:
    """N Σ f P: f is the share of choices that fell on an expert, P its mean probability. 1 when all are used equally.

    Only P has a gradient: it is pulled down where f is large.

    >>> balance_loss(torch.zeros(4, 2)).item()
    1.0

    Source: Fedus et al. (2021), "Switch Transformers", equations 4 to 6, without the factor α = 0.01.
    """
    experts, probability = logits.shape[-1], logits.softmax(dim=-1)
    chosen = F.one_hot(probability.topk(k, dim=-1).indices, experts).sum(dim=1)
    return experts * ((chosen.to(logits.dtype).mean(dim=0) / k) * probability.mean(dim=0)).sum()


def dispatch(x: Float[Tensor, "tokens width"], routing: Routing, capacity: int) -> Float[Tensor, "experts slots width"]:
    """The queue of every expert, zero where nobody stands."""
    experts, k = len(routing.counts), routing.expert.shape[1]
    rows = x[:, None].expand(-1, k, -1).reshape(-1, x.shape[-1])
    places = x.new_zeros(experts * capacity + 1, x.shape[-1])  # the last place is for the dropped
    return places.index_add(0, _places(routing, capacity), rows)[:-1].view(experts, capacity, x.shape[-1])


def combine(y: Float[Tensor, "experts slots width"], routing: Routing) -> Float[Tensor, "tokens width"]:
    """What came back for each token: the weighted sum over its experts, zero from those that dropped it."""
    padded = torch.cat([y.flatten(end_dim=1), y.new_zeros(1, y.shape[-1])])
    rows = padded[_places(routing, y.shape[1])].view(*routing.expert.shape, -1)
    return (routing.weight[..., None] * rows).sum(dim=1)


def _places(routing: Routing, capacity: int) -> Int[Tensor, " choices"]:
    last = len(routing.counts) * capacity
    return torch.where(routing.kept, routing.expert * capacity + routing.slot, last).reshape(-1)


class Experts(nn.Module):
    """A mixture of experts on one process: each token passes the k feed-forward layers its router chooses.

    Args:
        groups: the tokens are routed in so many groups, each with places of its own: what as many ranks do.
        factor: how many more places than an even distribution needs.

    Source: Fedus et al. (2021), "Switch Transformers", section 2; experts without biases, as in most models since.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        experts: int,
        *,
        k: int = 1,
        factor: float | int = 1.25,
        groups: int = 1,
        seed: int = 0,
    ):
        super().__init__()
        self.experts, self.k, self.factor, self.groups = experts, k, factor, groups
        draw = torch.Generator().manual_seed(seed)
        for name, shape in {"router": (experts, width), **_shapes(width, hidden, experts)}.items():
            bound = 1 / math.sqrt(shape[-1])
            setattr(self, name, nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=draw)))

    def forward(self, x: Float[Tensor, "tokens width"]) -> tuple[Float[Tensor, "tokens width"], Float[Tensor, ""]]:
        """What the experts say to each token, zero if it was dropped; and the mean balance loss of the groups."""
        every = [self.one_group(part) for part in x.chunk(share_tokens(x, self.groups))]
        return torch.cat([y for y, _ in every]), torch.stack([loss for _, loss in every]).mean()

    def one_group(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Route, queue, compute, bring back."""
        if not len(x):
            raise ValueError("no tokens: their balance is not defined; leave out a batch without any, on all ranks")
        logits = x @ self.router.T
        places = capacity(len(x), self.experts, self.k, self.factor)
        routing = route(logits, self.k, places)
        y = self.ask(dispatch(x, routing, places))
        return combine(y, routing), balance_loss(logits, self.k)

    def ask(self, queues: Float[Tensor, "experts slots width"]) -> Float[Tensor, "experts slots width"]:
        """Every expert's answers to its queue."""
        return F.gelu(queues @ self.up.mT) @ self.down.mT


class ParallelExperts(Experts):
    """The same layer on many ranks: each has all tokens of its own batch, the whole router, and some of the experts.

    Two all-to-alls in each direction: tokens to the ranks of their experts, and the answers back.

    Args:
        agree: look at every call whether all ranks came with the same number of tokens (one exchange of a number).

    Raises:
        ValueError: if the ranks do not divide the experts.
    Source: Lepikhin et al. (2020), GShard, section 3.2.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        experts: int,
        *,
        k: int = 1,
        factor: float | int = 1.25,
        group: Group = None,
        seed: int = 0,
        agree: bool = True,
    ):
        share(experts, dist.get_world_size(group), "experts")
        super().__init__(width, hidden, experts, k=k, factor=factor, seed=seed)
        self.group, self.agree = group, agree
        whole = self.state_dict()
        for name in ("up", "down"):
            setattr(self, name, nn.Parameter(self._own(whole[name])))

    def load_serial(self, state: Mapping[str, Tensor]) -> None:
        """Take the router and this rank's experts from the weights of an `Experts`."""
        self.load_state_dict({name: x if name == "router" else self._own(x) for name, x in state.items()})

    def forward(self, x: Float[Tensor, "tokens width"]) -> tuple[Float[Tensor, "tokens width"], Float[Tensor, ""]]:
        """For this rank's tokens what `Experts` with as many groups as ranks gives; the balance loss is its group's.

        Raises:
            ValueError: if the ranks came with different numbers of tokens.
        """
        if self.agree:
            refuse_uneven(len(x), x.device, self.group)
        return self.one_group(x)

    def ask(self, queues: Float[Tensor, "experts slots width"]) -> Float[Tensor, "experts slots width"]:
        """The answers of all experts, most of which live elsewhere."""
        ranks = dist.get_world_size(self.group)
        arrived = all_to_all(queues.unflatten(0, (ranks, -1)), self.group)  # (from rank, own experts, slots, width)
        answers = super().ask(arrived.transpose(0, 1).flatten(1, 2))
        back = answers.unflatten(1, (ranks, -1)).transpose(0, 1)
        return all_to_all(back, self.group).flatten(end_dim=1)

    @torch.no_grad()
    def finish_gradients(self) -> None:
        """Add up the router's gradients, so that all are those of the sum of all ranks' losses: before the step.

        Raises:
            ValueError: if there is none yet.
        """
        if self.router.requires_grad and self.router.grad is None:
            raise ValueError("the router has no gradient: call backward before finish_gradients()")
        if self.router.requires_grad:
            dist.all_reduce(self.router.grad, group=self.group)

    def _own(self, x: Tensor) -> Tensor:
        return x.chunk(dist.get_world_size(self.group))[dist.get_rank(self.group)].clone()


def one_step(layer: Experts, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared error plus every group's balance loss, backward: the answers, the gradients of the router and of `up`.

    On many ranks `x` and `target` are this rank's, the gradient of `up` is that of its experts.
    """
    layer.zero_grad()
    answer, balance = layer(x)
    ((answer - target).square().sum() + layer.groups * balance).backward()
    if isinstance(layer, ParallelExperts):
        layer.finish_gradients()
    return answer.detach(), layer.router.grad, layer.up.grad


def all_to_all(x: Float[Tensor, " ranks *part"], group: Group = None) -> Float[Tensor, " ranks *part"]:
    """x[r] goes to rank r; what comes back is by the rank that sent it. Its gradient goes the same way back."""
    return _AllToAll.apply(x, group)


class _AllToAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, group):
        ctx.group = group
        return _exchange(x, group)

    @staticmethod
    def backward(ctx, grad):
        return _exchange(grad, ctx.group), None


def _exchange(x: Tensor, group: Group) -> Tensor:
    """On the CPU, where gloo has none, by a send and a receive with every other rank; nccl has its own."""
    x, received = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    if x.device.type != "cpu":
        dist.all_to_all_single(received, x, group=group)
        return received
    rank = dist.get_rank(group)
    received[rank] = x[rank]
    ways = []
    for other in range(len(x)):
        if other != rank:
            peer = other if group is None else dist.get_global_rank(group, other)
            ways.append(dist.P2POp(dist.isend, x[other], peer, group))
            ways.append(dist.P2POp(dist.irecv, received[other], peer, group))
    for work in dist.batch_isend_irecv(ways) if ways else []:
        work.wait()
    return received


def share_tokens(x: Tensor, groups: int) -> int:
    """The number of groups, where it divides the tokens."""
    share(len(x), groups, "tokens")
    return groups


def refuse_uneven(tokens: int, device: Any, group: Group = None) -> None:
    """Nothing, when every rank came with the same number of tokens: queues of other lengths would mix or hang.

    Raises:
        ValueError: on every rank, with all numbers.
    """
    mine = torch.tensor([tokens], device=device)
    every = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(every, mine, group=group)
    counts = [int(one) for one in every]
    if len(set(counts)) > 1:
        raise ValueError(f"ranks came with {counts} tokens: an all-to-all needs as many on each; pad the batch")


def _shapes(width: int, hidden: int, experts: int) -> dict[str, tuple[int, ...]]:
    return {"up": (experts, hidden, width), "down": (experts, width, hidden)}
