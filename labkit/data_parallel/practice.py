"""Something real to train on many ranks: a small convolutional net that reads digits, and a plain loop."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit import corpora
from labkit.data_parallel.sampling import RankSampler


class DigitsNet(nn.Module):
    """Two convolutions and a linear layer for pictures of 8 × 8 pixels; 6,090 parameters with `width` 16."""

    def __init__(self, width: int = 16, seed: int = 0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                *(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Flatten(), nn.Linear(8 * width, 10)),
            )

    def forward(self, images: Float[Tensor, "batch 1 8 8"]) -> Float[Tensor, "batch 10"]:
        """A score for each digit."""
        return self.layers(images)

    def loss(self, images: Float[Tensor, "batch 1 8 8"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """The mean cross-entropy in nats."""
        return nn.functional.cross_entropy(self(images), labels)


class Pictures(NamedTuple):
    """Digits as tensors: 1,437 to learn from and 360 to be judged on."""

    images: Float[Tensor, "train 1 8 8"]
    labels: Int[Tensor, " train"]
    test_images: Float[Tensor, "test 1 8 8"]
    test_labels: Int[Tensor, " test"]


def digits(seed: int = 0) -> Pictures:
    """The digits of scikit-learn between 0 and 1, in an order drawn from the seed; the last fifth is held out.

    Raises: CorpusUnavailable when scikit-learn is not installed.
    """
    found = corpora.load_digits(quiet=True)
    order = np.random.default_rng(seed).permutation(len(found.labels))
    images = torch.from_numpy(found.images[order]).float()[:, None] / 16
    labels = torch.from_numpy(found.labels[order].astype(np.int64))
    train = len(labels) * 4 // 5
    return Pictures(images[:train], labels[:train], images[train:], labels[train:])


@torch.no_grad()
def accuracy(model: nn.Module, images: Float[Tensor, "batch 1 8 8"], labels: Int[Tensor, " batch"]) -> float:
    """The share of pictures whose highest score is that of the right digit."""
    return (model(images).argmax(dim=1) == labels).double().mean().item()


def deal(data: Sequence[Tensor], batch: int, rank: int, world: int, *, seed: int = 0, steps: int) -> list[tuple]:
    """This rank's part of `steps` batches: the same rows of every tensor in `data`, see `RankSampler`."""
    chosen = iter(RankSampler(len(data[0]), batch, rank, world, seed))
    return [tuple(x[rows] for x in data) for rows in (next(chosen) for _ in range(steps))]


def learn(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, lr: float = 3e-3, recorder: Any = None
) -> list[float]:
    """The loss of every step of AdamW on scores that `model(inputs)` gives and the classes that are right.

    The model may be a net or whatever wraps one. With a `labkit.ranks.timeline.Recorder` forward passes and steps of
    the optimizer are noted.
    """
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    note = recorder or (lambda kind, name: nullcontext())
    for step, (inputs, targets) in enumerate(batches):
        optimizer.zero_grad()
        with note("compute", f"forward {step}"):
            loss = nn.functional.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
        loss.backward()
        with note("compute", f"optimizer {step}"):
            optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()
