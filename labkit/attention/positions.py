"""Where a token stands: sinusoidal, learned, rotary and linear-bias positions."""

import math
from typing import Any

import torch
from jaxtyping import Float, Int, Num, Shaped
from torch import Tensor, nn
from torch.nn import functional

from labkit.attention.values import holds

LAYOUTS = ("half", "interleaved")


def rotary_angles(
    positions: Num[Tensor, "*batch tokens"], dim: int, theta: float | int = 10_000.0
) -> Float[Tensor, "*batch tokens half"]:
    """The angle position · theta^(-2i / dim) of each pair i of dimensions: fast for the first, ever slower after it.

    Whole positions give torch's default type of number, others their own.

    >>> rotary_angles(torch.arange(3), dim=4, theta=100.0)
    tensor([[0.0000, 0.0000],
            [1.0000, 0.1000],
            [2.0000, 0.2000]])

    Raises:
        ValueError: for an odd number of dimensions.
    Source: Su et al., RoFormer (2021), equation 15; Vaswani et al. (2017), section 3.5.
    """
    _check_even(dim)
    positions = positions if positions.is_floating_point() else positions.to(torch.get_default_dtype())
    pairs = torch.arange(0, dim, 2, device=positions.device, dtype=positions.dtype)
    return positions[..., None] * theta ** (-pairs / dim)


def sinusoidal(
    positions: int | Num[Tensor, " tokens"], dim: int, theta: float | int = 10_000.0, device: Any = None
) -> Float[Tensor, "tokens dim"]:
    """A row of sines and cosines for each position, added to the tokens: sin in even places, cos in odd ones.

    `positions` are the positions themselves, or how many, counted from 0 (and then `device` says where).

    >>> sinusoidal(2, dim=4, theta=100.0)
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0998, 0.9950]])

    Raises:
        ValueError: for an odd number of dimensions.
    Source: Vaswani et al., Attention Is All You Need (2017), section 3.5.
    """
    positions = torch.arange(positions, device=device) if isinstance(positions, int) else positions
    angles = rotary_angles(positions, dim, theta)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def rotate(
    x: Float[Tensor, "*batch tokens dim"], angles: Float[Tensor, "*#batch tokens half"] | Any, layout: str = "half"
) -> Float[Tensor, "*batch tokens dim"]:
    """Each pair of dimensions turned by its angle, so that q · k depends on the distance of two tokens only.

    `layout` says which dimensions are a pair: "half" i and i + dim / 2 (Llama in transformers, GPT-NeoX), "interleaved"
    2i and 2i + 1 (the paper, Llama's own weights). A model knows one of them: `to_half_layout` translates weights.

    >>> rotate(torch.tensor([[1.0, 0.0]]), torch.tensor([[math.pi / 2]])).round(decimals=4)
    tensor([[-0., 1.]])

    Raises:
        ValueError: for an odd number of dimensions, angles that do not fit, or another layout.
    Source: Su et al., RoFormer (2021), equations 15 and 34.
    """
    _check_even(x.shape[-1])
    if angles.shape[-1] != x.shape[-1] // 2:
        raise ValueError(f"{x.shape[-1]} dimensions need {x.shape[-1] // 2} angles each, got {angles.shape[-1]}")
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = _pairs(x, layout)
    turned = [first * cos - second * sin, second * cos + first * sin]
    return torch.cat(turned, dim=-1) if layout == "half" else torch.stack(turned, dim=-1).flatten(-2)


def to_half_layout(weight: Shaped[Tensor, "rows ..."], heads: int) -> Shaped[Tensor, "rows ..."]:
    """The rows of a query or key projection (or its bias) for "interleaved" rotation, in the order of "half".

    >>> to_half_layout(torch.arange(6), heads=1)
    tensor([0, 2, 4, 1, 3, 5])

    Raises:
        ValueError: when the rows are not `heads` times an even number.
    """
    return _swap_rows(weight, heads, pairs_last=True)


def to_interleaved_layout(weight: Shaped[Tensor, "rows ..."], heads: int) -> Shaped[Tensor, "rows ..."]:
    """The way back from `to_half_layout`.

    >>> to_interleaved_layout(torch.arange(6), heads=1)
    tensor([0, 3, 1, 4, 2, 5])

    Raises:
        ValueError: when the rows are not `heads` times an even number.
    """
    return _swap_rows(weight, heads, pairs_last=False)


def alibi_slopes(heads: int, device: Any = None) -> Float[Tensor, " heads"]:
    """How strongly each head dislikes distance: 2^(-8 / heads), its square, its cube and so on.

    Where heads are no power of two: the slopes of the power below, then every other one of the power above.

    >>> alibi_slopes(4)
    tensor([0.2500, 0.0625, 0.0156, 0.0039])

    Source: Press, Smith & Lewis, Train Short, Test Long (2022), section 3 and the authors' code.
    """
    if heads < 1:
        raise ValueError(f"heads must be at least 1, got {heads}")
    below = 2 ** int(math.log2(heads))
    powers = [2 ** (-8 * i / below) for i in range(1, below + 1)]
    between = [2 ** (-4 * i / below) for i in range(1, 2 * below, 2)]
    return torch.as_tensor((powers + between)[:heads]).to(device)


def alibi_bias(
    heads: int, queries: int, keys: int | None = None, device: Any = None
) -> Float[Tensor, "heads queries keys"]:
    """What ALiBi adds to the scores: minus slope times distance. Queries and keys are aligned at their ends.

    >>> alibi_bias(1, 3)[0] * 256
    tensor([[-0., -1., -2.],
            [-1., -0., -1.],
            [-2., -1., -0.]])

    Source: Press, Smith & Lewis, Train Short, Test Long (2022), section 3.
    """
    keys = queries if keys is None else keys
    place = torch.arange(keys, device=device)
    distance = (place[keys - queries :, None] - place).abs()
    return -alibi_slopes(heads, device)[:, None, None] * distance


class LearnedPositions(nn.Module):
    """A vector for each place up to `context`, learned like a word's.

    Source: Gehring et al., Convolutional Sequence to Sequence Learning (2017), section 3.1.
    """

    def __init__(self, context: int, width: int, generator: torch.Generator | None = None):
        super().__init__()
        self.weight = nn.Parameter(0.02 * torch.randn(context, width, generator=generator))

    @property
    def context(self) -> int:
        """How many places there are."""
        return self.weight.shape[0]

    def forward(self, positions: int | Int[Tensor, "*batch tokens"]) -> Float[Tensor, "*batch tokens width"]:
        """The vectors of these positions, or of the first so many.

        Values of positions are looked at on the CPU only (an accelerator would have to wait for the answer).

        Raises:
            ValueError: for a position beyond the context.
        """
        if isinstance(positions, int):
            if positions > self.context:
                raise ValueError(f"{positions} tokens are more than the context of {self.context}: shorten the text")
            return self.weight[:positions]
        if not holds(positions, lambda positions: ((positions >= 0) & (positions < self.context)).all()):
            got = f"from {int(positions.min())} to {int(positions.max())}"
            raise ValueError(f"positions must be within the context of {self.context}, got {got}: shorten the text")
        return functional.embedding(positions, self.weight)


def _pairs(x: Tensor, layout: str) -> tuple[Tensor, Tensor]:
    if layout == "half":
        return x.chunk(2, dim=-1)
    if layout == "interleaved":
        return x[..., 0::2], x[..., 1::2]
    raise ValueError(f"layout must be 'half' or 'interleaved', got {layout!r}")


def _swap_rows(weight: Tensor, heads: int, *, pairs_last: bool) -> Tensor:
    rows = weight.shape[0]
    if heads < 1 or rows % (2 * heads):
        raise ValueError(f"{rows} rows cannot be {heads} heads of an even number of dimensions")
    half = rows // (2 * heads)
    sizes = (heads, half, 2) if pairs_last else (heads, 2, half)
    return weight.reshape(*sizes, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)


def _check_even(dim: int) -> None:
    if dim % 2 or dim < 2:
        raise ValueError(f"dimensions turn in pairs: their number must be even, got {dim}")
