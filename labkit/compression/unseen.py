"""A class that the student never sees: what of it comes through the teacher's wrong answers about all others.

Hinton et al. (2015), section 3, left every 3 out of the digits that a student learned from; it knew 3s all the same.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from labkit.compression.distillation import soft_loss

Images = Float[Tensor, "images pixels"]
Labels = Int[Tensor, " images"]


@dataclass(frozen=True)
class Unseen:
    """The share of right answers about images of the missing class, and about all others."""

    missing: float
    others: float


def perceptron(*widths: int, seed: int = 0) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them, drawn from the seed."""
    chance, layers = torch.Generator().manual_seed(seed), []
    for inputs, out in pairwise(widths):
        layer = nn.utils.skip_init(nn.Linear, inputs, out)
        with torch.no_grad():
            layer.weight.normal_(std=(2 / inputs) ** 0.5, generator=chance)
            layer.bias.zero_()
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def learn(
    model: nn.Module,
    images: Images,
    answers: Labels | Float[Tensor, "images classes"],
    temperature: float | int = 1,
    steps: int = 300,
) -> nn.Module:
    """A model trained on all images at once: by labels, or by a teacher's logits at a temperature."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        logits = model(images)
        soft = answers.is_floating_point()
        loss = soft_loss(logits, answers, temperature) if soft else functional.cross_entropy(logits, answers)
        loss.backward()
        optimizer.step()
    return model


@torch.no_grad()
def judge(model: nn.Module, images: Images, labels: Labels, missing: int) -> Unseen:
    """How many images of the missing class, and of the others, a model answers rightly.

    Raises:
        ValueError: if either are not among the images.
    """
    right, of_it = model(images).argmax(-1) == labels, labels == missing
    if not of_it.any() or of_it.all():
        raise ValueError(f"to judge a missing class {missing} takes images of it and of others")
    return Unseen(right[of_it].float().mean().item(), right[~of_it].float().mean().item())


def without(labels: Labels, missing: int) -> Int[Tensor, " kept"]:
    """The places of all images but those of the missing class.

    >>> without(torch.tensor([3, 1, 3, 2]), 3)
    tensor([1, 3])
    """
    return (labels != missing).nonzero()[:, 0]
