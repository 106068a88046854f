"""A weight as a product of two thin ones: the best there is, the best for real inputs, and LoRA, which adds one.

An m × n matrix has mn numbers, its factors m × r and r × n have r(m + n): fewer when r is below mn / (m + n).
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from labkit.attention.values import refuse_not_finite

Matrix = Float[Tensor, "out inputs"]
Factors = tuple[Float[Tensor, "out rank"], Float[Tensor, "rank inputs"]]


def truncated_svd(weight: Matrix | Any, rank: int | Any) -> Factors:
    """Two factors A, B whose product is nearest to the weight of all matrices of this rank, in both norms.

    Each takes the square root of the singular values, so that both are of like size. They are of the weight's type;
    16-bit weights are computed with in float32.

    Raises:
        ValueError: for a rank outside 1 to min(m, n), or a weight that is NaN or infinite.
    Source: Eckart & Young (1936), "The approximation of one matrix by another of lower rank"; Mirsky (1960).
    """
    _check(weight, rank)
    u, s, vt = torch.linalg.svd(_wide(weight), full_matrices=False)
    root = s[:rank].sqrt()
    return (u[:, :rank] * root).to(weight.dtype), (root[:, None] * vt[:rank]).to(weight.dtype)


def least_error(weight: Matrix, rank: int | Any) -> tuple[float, float]:
    """How near a matrix of this rank can come: √Σ σᵢ² over i > rank (Frobenius norm), and σ of rank + 1 (spectral).

    >>> least_error(torch.diag(torch.tensor([5.0, 4.0, 3.0])), 1)
    (5.0, 4.0)

    Raises:
        ValueError: as for `truncated_svd`.
    Source: Eckart & Young (1936); Mirsky (1960).
    """
    _check(weight, rank)
    rest = torch.linalg.svdvals(_wide(weight))[rank:].tolist()
    return math.hypot(*rest), max(rest, default=0.0)


def energy(weight: Matrix) -> Float[Tensor, " directions"]:
    """The share of ‖W‖² that the first 1, 2, 3 … singular directions hold; the last is 1.

    Raises:
        ValueError: for a weight that is all zero, NaN or infinite.
    """
    _check(weight, 1)
    squares = torch.linalg.svdvals(_wide(weight)).double().square()
    if not squares.sum():
        raise ValueError("the weight is all zero: no direction holds anything")
    return squares.cumsum(0) / squares.sum()


def rank_for_energy(weight: Matrix, share: float | int) -> int:
    """The fewest singular directions that hold this share of ‖W‖².

    Raises:
        ValueError: for a share outside 0 to 1, and as for `energy`.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share = {share}: it must be above 0 and at most 1")
    held = energy(weight)
    return min(int((held < share - 1e-12).sum()) + 1, len(held))


def rank_for_bytes(out: int | Any, inputs: int | Any, budget: int | Any, each: int | Any = 4) -> int:
    """The largest rank whose factors fit into `budget` bytes, of numbers of `each` bytes; at most min(m, n).

    >>> rank_for_bytes(384, 1536, 384 * 1536 * 4 // 2)
    153

    Raises:
        ValueError: if not even rank 1 fits, or for what are no sizes.
    """
    sizes = {"out": out, "inputs": inputs, "each": each}
    wrong = [name for name, size in sizes.items() if not _is_whole(size) or size < 1]
    if wrong or not _is_whole(budget):
        raise ValueError(f"{sizes} and a budget of {budget!r}: sizes and bytes are whole numbers above 0")
    rank = budget // (each * (out + inputs))
    if rank < 1:
        raise ValueError(f"{budget} bytes hold no factors of {out} × {inputs}: rank 1 takes {each * (out + inputs)}")
    return min(rank, out, inputs)


def whitened_svd(
    weight: Matrix, gram: Float[Tensor, "inputs inputs"] | Any, rank: int | Any, damp: float | int = 1e-6
) -> Factors:
    """Two factors whose product has the least error on the *outputs*, for inputs x with Σ x xᵀ ∝ gram.

    With gram = L Lᵀ, the error Σ ‖(W − W′) x‖² is ‖(W − W′) L‖². So W L is what is cut, and L⁻¹ takes it back.

    Args:
        gram: of real inputs, as `inputs_of(..., gram=True)` gives it; its scale does not matter.
        damp: this share of the mean of its diagonal is added to it: directions that no input took are no free ride.
            Where rounding still leaves the gram without a root, as with fewer texts than inputs, ten times as much.

    Raises:
        ValueError: as for `truncated_svd`; for a gram of another size, that is all zero, or that no inputs can have.
    Source: Wang et al. (2024), "SVD-LLM", section 3.1 (truncation-aware data whitening).
    """
    _check(weight, rank)
    root = _root(gram, weight.shape[1], damp).to(_wide(weight))
    up, down = truncated_svd(_wide(weight) @ root, rank)
    down = torch.linalg.solve_triangular(root, down, upper=False, left=False)
    return up.to(weight.dtype), down.to(weight.dtype)


def scaled_svd(
    weight: Matrix, mean_abs: Float[Tensor, " inputs"] | Any, rank: int | Any, alpha: float | int = 0.5
) -> Factors:
    """Two factors that mind each input by its own size only: W · diag(sᵅ) is cut, and divided by sᵅ again.

    Raises:
        ValueError: as for `truncated_svd`, if there is no size for each input, or all are zero.
    Source: Yuan et al. (2023), "ASVD", section 3.2.
    """
    _check(weight, rank)
    if mean_abs.shape != weight.shape[1:]:
        raise ValueError(f"{tuple(mean_abs.shape)} sizes for {weight.shape[1]} inputs: give one for each")
    refuse_not_finite(mean_abs=mean_abs)
    if not (mean_abs.min() >= 0 and mean_abs.max() > 0 and math.isfinite(alpha)):
        raise ValueError(f"sizes must not be negative nor all zero, alpha = {alpha} a number: did data come through?")
    scale = _wide(mean_abs / mean_abs.max()).clamp(min=1e-6).to(_wide(weight)) ** alpha
    up, down = truncated_svd(_wide(weight) * scale, rank)
    return up.to(weight.dtype), (down / scale).to(weight.dtype)


def output_error(weight: Matrix, other: Tensor, gram: Tensor) -> float:
    """‖(W − W′) x‖² over inputs with this gram, as a share of ‖W x‖².

    Raises:
        ValueError: for other shapes, or when nothing comes out of W.
    """
    if weight.shape != other.shape or gram.shape != 2 * weight.shape[1:]:
        shapes = f"{tuple(weight.shape)}, {tuple(other.shape)} and {tuple(gram.shape)}"
        raise ValueError(f"two weights of one shape and the gram of their inputs are needed, got {shapes}")
    wide = weight.detach().double(), other.detach().double()
    lost, whole = (((m @ gram.double()) * m).sum().item() for m in (wide[0] - wide[1], wide[0]))
    if not whole > 0:
        raise ValueError("the weight's outputs are all zero for these inputs: there is nothing to have a share of")
    return lost / whole


class LowRankLinear(nn.Module):
    """A linear layer of two thin ones: `down` to the rank, `up` to the outputs, with the bias.

    Raises:
        ValueError: if the factors are of different ranks, or the bias is of another size.
    """

    def __init__(
        self,
        up: Float[Tensor, "out rank"],
        down: Float[Tensor, "rank inputs"] | Any,
        bias: Float[Tensor, " out"] | Any = None,
    ):
        super().__init__()
        if up.shape[1] != len(down) or (bias is not None and bias.shape != up.shape[:1]):
            shapes = f"{tuple(up.shape)} · {tuple(down.shape)}, bias {None if bias is None else tuple(bias.shape)}"
            raise ValueError(f"factors out × rank and rank × inputs and a bias of out are needed, got {shapes}")
        self.rank = up.shape[1]
        self.down, self.up = _linear(down, None), _linear(up, bias)

    @classmethod
    def from_linear(
        cls, linear: nn.Linear, rank: int | Any, gram: Float[Tensor, "inputs inputs"] | None = None
    ) -> "LowRankLinear":
        """The layer in place of another: nearest to its weight, or with a `gram` nearest in what comes out.

        Raises:
            ValueError: as for `truncated_svd` and `whitened_svd`.
        """
        weight = linear.weight.detach()
        factors = truncated_svd(weight, rank) if gram is None else whitened_svd(weight, gram, rank)
        return cls(*factors, None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch out"]:
        """What the product of both would give, in r(m + n) multiplications instead of mn."""
        return self.up(self.down(x))

    def dense(self) -> Matrix:
        """The product, as one matrix."""
        return self.up.weight @ self.down.weight

    @property
    def nbytes(self) -> int:
        """Bytes of all its numbers."""
        return sum(parameter.nbytes for parameter in self.parameters())


class LoRALinear(nn.Module):
    """A frozen linear layer beside which two thin matrices learn: y = W x + b + (α / r) · B A x.

    B begins at zero, so that at first nothing has changed.

    Raises:
        ValueError: for a rank outside 1 to min(m, n), or an α that is not finite.
    Source: Hu et al. (2021), "LoRA", section 4.1; the scale as in the package peft, `lora_alpha / r`.
    """

    def __init__(self, linear: nn.Linear, rank: int | Any, alpha: float | int = 8, seed: int = 0):
        super().__init__()
        _check(linear.weight.detach(), rank)
        if not math.isfinite(alpha):
            raise ValueError(f"alpha = {alpha}: what is learned is multiplied by alpha / rank, so give a number")
        self.linear, self.rank, self.scale = linear.requires_grad_(False), rank, alpha / rank
        bound = linear.in_features**-0.5  # as peft draws it: Kaiming's uniform with a = √5
        drawn = torch.rand(rank, linear.in_features, generator=torch.Generator().manual_seed(seed))
        self.down = nn.Parameter(((2 * drawn - 1) * bound).to(linear.weight))
        self.up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch out"]:
        """The frozen layer's answer and what was learned beside it."""
        return self.linear(x) + functional.linear(functional.linear(x, self.down), self.up) * self.scale

    @torch.no_grad()
    def change(self) -> Matrix:
        """What was learned, as one matrix of rank r: (α / r) · B A."""
        return self.scale * self.up @ self.down

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One plain layer with the same answers, W + (α / r) · B A: nothing is left to pay."""
        return _linear(self.linear.weight + self.change(), self.linear.bias)


def _linear(weight: Matrix, bias: Tensor | None) -> nn.Linear:
    out, inputs = weight.shape
    layer = nn.Linear(inputs, out, bias is not None, device="meta")  # draws no random numbers
    layer.weight = nn.Parameter(weight.detach().clone(memory_format=torch.contiguous_format))
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().to(weight, copy=True))
    return layer


def _root(gram: Tensor, inputs: int, damp: float | int) -> Tensor:
    if gram.shape != (inputs, inputs):
        raise ValueError(
            f"the gram is {tuple(gram.shape)}, the weight has {inputs} inputs: give that of its own inputs"
        )
    refuse_not_finite(gram=gram)
    middle = gram.diagonal().mean()
    if not middle > 0:
        raise ValueError("the gram is all zero: no calibration data came through this layer")
    even, one = gram.double() / middle, torch.eye(inputs, dtype=torch.float64, device=gram.device)
    for more in (0, *(10.0**power for power in range(-6, -1))):
        root, trouble = torch.linalg.cholesky_ex(even + max(damp, more) * one)
        if not int(trouble):
            return root
    raise ValueError("the gram has negative directions, which no inputs have: collect it by inputs_of(…, gram=True)")


def _wide(x: Tensor) -> Tensor:
    """Without a gradient, and in at least the 32 bits that decompositions need."""
    return x.detach().to(torch.promote_types(x.dtype, torch.float32))


def _is_whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def _check(weight: Tensor, rank: int | Any) -> None:
    if weight.ndim != 2:
        raise ValueError(f"a weight has outputs and inputs, got a tensor of shape {tuple(weight.shape)}")
    if not _is_whole(rank) or not 1 <= rank <= min(weight.shape):
        raise ValueError(f"rank = {rank!r}: a matrix of {tuple(weight.shape)} has ranks 1 to {min(weight.shape)}")
    refuse_not_finite(weight=weight)
