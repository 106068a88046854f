"""Looking inside: what each layer would say already, which tokens a result is owed to, how widely a head looks."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.transformer.models import Decoder


@torch.no_grad()
def logit_lens(
    decoder: Decoder, ids: Int[Tensor, "1 tokens"] | Any, *, last: int | None = None
) -> Float[Tensor, "layers tokens vocabulary"]:
    """What the model would predict after each token if it stopped after 0, 1, 2 … layers, as probabilities.

    The residual stream has one width from the first layer to the last, so the final norm and the head can read it
    anywhere; the last entry is the model's own prediction. `last` keeps the last so many tokens only (a large
    vocabulary costs 200 kB for each layer and token).
    Raises:
        ValueError: for more than one sequence.
    Source: nostalgebraist (2020), "interpreting GPT: the logit lens".
    """
    if len(ids) != 1:
        raise ValueError(f"the lens looks at one sequence at a time, got a batch of {len(ids)}: pass ids[:1]")
    start = 0 if last is None else max(ids.shape[1] - last, 0)
    stream = torch.cat(decoder.stream(ids))[:, start:]
    return torch.softmax(decoder.unembed(stream), dim=-1)


def top_tokens(
    probabilities: Float[Tensor, "*places vocabulary"], count: int = 1
) -> tuple[Float[Tensor, "*places count"], Int[Tensor, "*places count"]]:
    """The likeliest tokens of each distribution, the likeliest first: their probabilities and their ids.

    >>> top_tokens(torch.tensor([0.2, 0.7, 0.1]), count=2)
    (tensor([0.7000, 0.2000]), tensor([1, 0]))
    """
    found = probabilities.topk(count, dim=-1)
    return found.values, found.indices


class Attribution(NamedTuple):
    """What each number of the input contributed, and how far the contributions are from adding up."""

    values: Float[Tensor, "..."]
    gap: float


def integrated_gradients(
    function: Callable[[Tensor], Tensor],
    baseline: Float[Tensor, "*shape"],
    inputs: Float[Tensor, "*shape"] | Any,
    steps: int = 32,
) -> Attribution:
    """How much of function(inputs) − function(baseline) each number of `inputs` is owed.

    (inputs − baseline) times the gradient averaged over the straight line between them, taken at the middle of `steps`
    equal parts. The contributions add up to the difference (completeness); `gap` is what is missing, and falls with
    1 / steps². `function` maps a batch of inputs to one number each, and gets all steps as one batch.
    Raises:
        ValueError: when the shapes differ, `steps` is not positive or `function` does not return one number for each.
    Source: Sundararajan, Taly & Yan (2017), "Axiomatic attribution for deep networks", equations 1 and 3.
    """
    if baseline.shape != inputs.shape or steps < 1:
        shapes = f"{tuple(baseline.shape)} and {tuple(inputs.shape)}"
        raise ValueError(f"baseline and inputs must have one shape and steps be positive, got {shapes}, {steps} steps")
    middles = (torch.arange(steps, device=inputs.device, dtype=inputs.dtype) + 0.5) / steps
    middles = middles.reshape(-1, *[1] * inputs.ndim)
    points = (baseline + middles * (inputs - baseline)).detach().requires_grad_()
    results = function(points)
    if results.shape != (steps,):
        raise ValueError(f"function must return one number for each of {steps} inputs, got {tuple(results.shape)}")
    (gradients,) = torch.autograd.grad(results.sum(), points)
    values = (inputs - baseline).detach() * gradients.mean(dim=0)
    with torch.no_grad():
        before, after = function(torch.stack([baseline, inputs])).tolist()
    return Attribution(values, values.sum().item() - (after - before))


def attribute_tokens(
    model: nn.Module,
    read: Callable[[Tensor], Tensor],
    baseline: Int[Tensor, "1 tokens"],
    ids: Int[Tensor, "1 tokens"],
    steps: int = 32,
) -> Attribution:
    """How much of read(ids) − read(baseline) each token is owed: integrated gradients over the tokens' embeddings.

    `read` runs the model on a batch of ids and returns one number for each row. `baseline` are ids that say nothing in
    the same places, such as [PAD] between [CLS] and [SEP]. The numbers of one token's embedding are added up.
    """

    def function(embeddings: Tensor) -> Tensor:
        with embeddings_replaced(model, embeddings):
            return read(ids.expand(len(embeddings), -1))

    start, end = model.tokens(baseline)[0].detach(), model.tokens(ids)[0].detach()
    found = integrated_gradients(function, start, end, steps)
    return Attribution(found.values.sum(dim=-1), found.gap)


@contextmanager
def embeddings_replaced(model: nn.Module, embeddings: Float[Tensor, "batch tokens width"]) -> Iterator[None]:
    """For a while the model sees these vectors in place of its tokens' embeddings; positions are added as ever.

    Gradients and changes of what a model reads start here: ids are whole numbers and have no gradient.
    """
    handle = model.tokens.register_forward_hook(lambda module, ids, found: embeddings)
    try:
        yield
    finally:
        handle.remove()


def head_entropy(weights: Float[Tensor, "*heads queries keys"]) -> Float[Tensor, "*heads"]:
    """How widely each head looks, in bits, as the mean over its queries: 0 at one token, log₂ n at n tokens alike.

    >>> head_entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    tensor(0.5000)
    """
    return -torch.xlogy(weights, weights).sum(dim=-1).mean(dim=-1) / math.log(2)
