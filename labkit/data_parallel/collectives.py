"""The collectives, written from send and receive: everybody calls the same function, and each does its part.

All take this rank's tensor `x`, the number `rank` of `world`, and a `link` (see `labkit.data_parallel.links`), so the
same lines run over gloo, over nccl, and inside one process. They return a new tensor and leave `x` as it is. Every rank
brings a tensor of the same shape and dtype. Whatever is reduced is summed.
"""

from collections.abc import Callable

import torch
from jaxtyping import Shaped
from torch import Tensor

from labkit.data_parallel.links import Link

Values = Shaped[Tensor, "..."]
Flat = Shaped[Tensor, " elements"]


def chunks(x: Values, world: int) -> list[Flat]:
    """`x` cut into `world` flat pieces whose sizes differ by one element at most; views where x is contiguous.

    >>> [len(piece) for piece in chunks(torch.zeros(2, 4), 3)]
    [3, 3, 2]
    """
    return list(x.reshape(-1).tensor_split(world))


def broadcast(x: Values, rank: int, world: int, link: Link, root: int = 0) -> Values:
    """The root's tensor, on every rank: the root sends it to one rank after the other."""
    _refuse_root(root, world)
    if rank != root:
        return link.receive(x, root)
    for other in range(world):
        if other != root:
            link.send(x, other)
    return x.clone()


def tree_broadcast(x: Values, rank: int, world: int, link: Link, root: int = 0) -> Values:
    """The root's tensor, on every rank: whoever has it passes it on, so each round doubles their number."""
    _refuse_root(root, world)
    place, x, distance = (rank - root) % world, x.clone(), 1
    while distance < world:
        if place < distance and place + distance < world:
            link.send(x, (rank + distance) % world)
        elif distance <= place < 2 * distance:
            x = link.receive(x, (rank - distance) % world)
        distance *= 2
    return x


def reduce(x: Values, rank: int, world: int, link: Link, root: int = 0) -> Values | None:
    """The sum of all tensors on the root, None elsewhere: all send theirs to the root."""
    _refuse_root(root, world)
    if rank != root:
        return link.send(x, root)
    total = x.clone()
    for other in range(world):
        if other != root:
            total += link.receive(x, other)
    return total


def tree_reduce(x: Values, rank: int, world: int, link: Link, root: int = 0) -> Values | None:
    """The sum of all tensors on the root, None elsewhere: in each round half of the ranks give theirs away."""
    _refuse_root(root, world)
    place, total, distance = (rank - root) % world, x.clone(), 1
    while distance < world:
        if place % (2 * distance) == distance:
            return link.send(total, (rank - distance) % world)
        if place + distance < world:
            total += link.receive(x, (rank + distance) % world)
        distance *= 2
    return total


def scatter(x: Values, rank: int, world: int, link: Link, root: int = 0) -> Flat:
    """Chunk `rank` of the root's tensor; the others' tensors only tell shape and dtype."""
    _refuse_root(root, world)
    pieces = chunks(x, world)
    if rank != root:
        return link.receive(pieces[rank], root)
    for other in range(world):
        if other != root:
            link.send(pieces[other], other)
    return pieces[root].clone()


def gather(x: Values, rank: int, world: int, link: Link, root: int = 0) -> Values | None:
    """All tensors stacked, (world, …), on the root; None elsewhere."""
    _refuse_root(root, world)
    if rank != root:
        return link.send(x, root)
    return torch.stack([x if other == root else link.receive(x, other) for other in range(world)])


def all_gather(x: Values, rank: int, world: int, link: Link) -> Values:
    """All tensors stacked, (world, …), on every rank: everybody sends to everybody."""
    found = [x] * world
    for distance in range(1, world):
        left, right = (rank - distance) % world, (rank + distance) % world
        found[left] = link.exchange(x, right, x, left)
    return torch.stack(found)


def ring_all_gather(x: Values, rank: int, world: int, link: Link) -> Values:
    """All tensors stacked, (world, …), on every rank: each passes on to the right what came from the left."""
    pieces = [x if other == rank else torch.empty_like(x) for other in range(world)]
    gather_around(pieces, rank, world, link)
    return torch.stack(pieces)


def reduce_scatter(x: Values, rank: int, world: int, link: Link) -> Flat:
    """Chunk `rank` of the sum of all tensors: chunk by chunk, all send to the rank that it belongs to."""
    return [reduce(piece, rank, world, link, root=owner) for owner, piece in enumerate(chunks(x, world))][rank]


def ring_reduce_scatter(x: Values, rank: int, world: int, link: Link) -> Flat:
    """Chunk `rank` of the sum of all tensors: each sum travels once around the ring, and every rank adds its part."""
    pieces = chunks(x.reshape(-1).clone(), world)
    reduce_around(pieces, rank, world, link)
    return pieces[rank].clone()


def all_to_all(x: Values, rank: int, world: int, link: Link) -> Values:
    """Row r of the result is row `rank` of rank r's tensor: the transposed matrix of parcels.

    Raises:
        ValueError: if the tensor does not have one row for each rank.
    """
    if x.dim() == 0 or len(x) != world:
        raise ValueError(f"all_to_all needs one row for each of {world} ranks, got a tensor of shape {tuple(x.shape)}")
    parcels = list(x)
    for distance in range(1, world):
        left, right = (rank - distance) % world, (rank + distance) % world
        parcels[left] = link.exchange(x[right], right, x[left], left)
    return torch.stack(parcels)


def naive_all_reduce(x: Values, rank: int, world: int, link: Link) -> Values:
    """The sum of all tensors on every rank: rank 0 collects all and sends the sum to all."""
    total = reduce(x, rank, world, link)
    return broadcast(x if total is None else total, rank, world, link)


def tree_all_reduce(x: Values, rank: int, world: int, link: Link) -> Values:
    """The sum of all tensors on every rank: up a tree and down again, 2 log₂ n rounds of whole tensors."""
    total = tree_reduce(x, rank, world, link)
    return tree_broadcast(x if total is None else total, rank, world, link)


def ring_all_reduce(x: Values, rank: int, world: int, link: Link) -> Values:
    """The sum of all tensors on every rank: reduce-scatter around the ring, then all-gather around the ring.

    Every rank sends 2 (n − 1) / n of the tensor's bytes, however many ranks there are.
    Source: Patarasuk and Yuan (2009), Bandwidth optimal all-reduce algorithms for clusters of workstations.
    """
    total = x.reshape(-1).clone()
    pieces = chunks(total, world)  # views: what arrives in them arrives in `total`
    reduce_around(pieces, rank, world, link)
    gather_around(pieces, rank, world, link)
    return total.view(x.shape)


def reduce_around(pieces: list[Tensor], rank: int, world: int, link: Link) -> None:
    """n − 1 steps, each sends one chunk to the right and adds one from the left: at the end chunk `rank` is whole."""
    left, right = (rank - 1) % world, (rank + 1) % world
    for step in range(world - 1):
        gone, come = pieces[(rank - step - 1) % world], pieces[(rank - step - 2) % world]
        come += link.exchange(gone, right, come, left)


def gather_around(pieces: list[Tensor], rank: int, world: int, link: Link) -> None:
    """n − 1 steps, each passes on to the right what came from the left: at the end every chunk is everywhere."""
    left, right = (rank - 1) % world, (rank + 1) % world
    for step in range(world - 1):
        gone, come = pieces[(rank - step) % world], pieces[(rank - step - 1) % world]
        come.copy_(link.exchange(gone, right, come, left))


def _refuse_root(root: int, world: int) -> None:
    if not 0 <= root < world:
        raise ValueError(f"root must be one of the ranks 0 to {world - 1}, got {root}")


COLLECTIVES: dict[str, Callable] = {
    function.__name__: function
    for function in (
        *(broadcast, tree_broadcast, reduce, tree_reduce, scatter, gather, all_gather, ring_all_gather),
        *(reduce_scatter, ring_reduce_scatter, all_to_all, naive_all_reduce, tree_all_reduce, ring_all_reduce),
    )
}
