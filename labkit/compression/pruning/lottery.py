"""The lottery ticket: a sparse network that learns well from the weights it was born with, and worse from others.

Small networks on the digits, several at once: a batch axis of networks makes five seeds as fast as one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from labkit import corpora
from labkit.compression.pruning.magnitude import check_sparsity, keep_largest

Nets = list[Float[Tensor, "_nets _out _inputs"]]  # the last input of each layer is its bias


@dataclass(frozen=True)
class Digits:
    """Pixels from 0 to 1 and labels, a quarter of the pictures held out."""

    train: Float[Tensor, "pictures pixels"] = field(repr=False)
    labels: Int[Tensor, " pictures"] = field(repr=False)
    test: Float[Tensor, "held_out pixels"] = field(repr=False)
    test_labels: Int[Tensor, " held_out"] = field(repr=False)


@dataclass(frozen=True)
class Tickets:
    """Share of weights left after each round, and held-out accuracy of every network: (rounds, nets)."""

    left: list[float]
    winning: Float[Tensor, "rounds nets"]
    reinitialised: Float[Tensor, "rounds nets"]


def digits() -> Digits:
    """The 1,797 digits of scikit-learn, every fourth held out.

    Raises:
        CorpusUnavailable: when scikit-learn is not installed.
    """
    loaded = corpora.load("digits", quiet=True)
    pixels = torch.tensor(loaded.images.reshape(len(loaded.images), -1) / 16.0, dtype=torch.float32)
    labels = torch.tensor(loaded.labels, dtype=torch.long)
    out = torch.arange(len(labels)) % 4 == 0
    return Digits(pixels[~out], labels[~out], pixels[out], labels[out])


def born(nets: int, widths: Sequence[int], seed: int) -> Nets:
    """So many networks of these widths before they have learned: Glorot's normal weights, biases of zero.

    Source: Glorot & Bengio (2010), equation 12, as in Frankle & Carbin (2019), appendix G.
    """
    draw, layers = torch.Generator().manual_seed(seed), []
    for inputs, outputs in pairwise(widths):
        weight = torch.randn(nets, outputs, inputs, generator=draw) * (2 / (inputs + outputs)) ** 0.5
        layers.append(pad(weight, (0, 1)))
    return layers


def answers(nets: Nets, x: Float[Tensor, "pictures pixels"]) -> Float[Tensor, "nets pictures classes"]:
    """What every network says to every picture, before softmax."""
    h = x.expand(len(nets[0]), *x.shape)
    for number, layer in enumerate(nets):
        h = torch.baddbmm(layer[:, None, :, -1], h.relu() if number else h, layer[:, :, :-1].mT)
    return h


def learn(nets: Nets, masks: Nets, data: Digits, *, steps: int, lr: float | int = 5e-3, batch: int = 64) -> Nets:
    """The networks after training under their masks, by Adam on the same batches for all."""
    nets = [(layer * mask).requires_grad_() for layer, mask in zip(nets, masks, strict=True)]
    optimizer, draw = torch.optim.Adam(nets, lr=lr), torch.Generator().manual_seed(0)
    for _ in range(steps):
        some = torch.randint(len(data.labels), (batch,), generator=draw)
        said = answers(nets, data.train[some])
        target = data.labels[some].expand(len(said), -1)
        loss = cross_entropy(said.flatten(0, 1), target.flatten()) * len(said)
        for layer, mask, gradient in zip(nets, masks, torch.autograd.grad(loss, nets), strict=True):
            layer.grad = gradient * mask
        optimizer.step()
    return [layer.detach() for layer in nets]


def accuracy(nets: Nets, data: Digits) -> Float[Tensor, " nets"]:
    """The share of held-out pictures that each network names rightly."""
    return (answers(nets, data.test).argmax(-1) == data.test_labels).float().mean(-1)


def draw_tickets(
    data: Digits,
    *,
    rounds: int = 6,
    share: float | int = 0.5,
    nets: int = 5,
    hidden: Sequence[int] = (64, 32),
    steps: int = 120,
    seed: int = 0,
) -> Tickets:
    """Train, leave out a share of what is left, go back to the first weights, and again: the tickets of every round.

    Beside each winning ticket learns a network with the same mask and other first weights.

    Raises:
        ValueError: for a share outside 0 to 1 or less than one round, net or step.
    Source: Frankle & Carbin (2019), "The lottery ticket hypothesis", section 1 and strategy 1 of appendix B.
    """
    if min(rounds, nets, steps) < 1:
        raise ValueError(f"rounds, nets and steps must be at least 1, got {rounds}, {nets} and {steps}")
    widths, share = (data.train.shape[1], *hidden, 10), check_sparsity(share)
    first, other = born(nets, widths, seed), born(nets, widths, seed + 1)
    masks, left, winning, again = [torch.ones_like(layer) for layer in first], [1.0], [], []
    for done in range(rounds + 1):
        both = [torch.cat(pair) for pair in zip(first, other, strict=True)]
        trained = learn(both, [torch.cat([mask, mask]) for mask in masks], data, steps=steps)
        scores = accuracy(trained, data)
        winning.append(scores[:nets])
        again.append(scores[nets:])
        if done < rounds:
            left.append(left[-1] * (1 - share))
            masks = _next_masks([layer[:nets] for layer in trained], 1 - left[-1])
    return Tickets(left, torch.stack(winning), torch.stack(again))


def _next_masks(trained: Nets, sparsity: float) -> Nets:
    """In every layer the largest weights stay, in the last half of the share, and no bias goes."""
    masks = []
    for number, layer in enumerate(trained):
        share = sparsity if number < len(trained) - 1 else 1 - (1 - sparsity) ** 0.5
        kept = keep_largest(layer[:, :, :-1].abs().flatten(1), share, per="row").view_as(layer[:, :, :-1])
        masks.append(pad(kept.float(), (0, 1), value=1.0))
    return masks
