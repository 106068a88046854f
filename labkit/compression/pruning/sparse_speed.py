"""What a sparse product costs on this machine, and from which density on it pays."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labkit.compression.pruning.magnitude import element, structured
from labkit.compression.pruning.patterns import PackedNM, n_of_m


@dataclass(frozen=True)
class Timings:
    """Milliseconds of the dense product, and of sparse ones by format and density: {"csr": {0.1: …}}."""

    dense: float
    sparse: dict[str, dict[float, float]]

    def ratios(self, how: str) -> dict[float, float]:
        """Time over that of the dense product, by density: below 1 the sparse product is faster."""
        return {density: each / self.dense for density, each in self.sparse[how].items()}


def time_products(
    size: int = 768,
    densities: Sequence[float] = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02),
    columns: int = 1,
    *,
    block: int = 16,
    rounds: int = 9,
    seed: int = 0,
    device: Any = "cpu",
) -> Timings:
    """Time weight · x for a square weight with part of it zero: dense, CSR (any place) and BSR (blocks of 16 × 16).

    Args:
        columns: of x: 1 is one token, more are a batch.
        rounds: of which the fastest counts.

    Raises:
        ValueError: if the block does not divide the size, a density is not above 0 and at most 1, or without rounds.
    """
    if block < 1 or size % block:
        raise ValueError(f"blocks of {block} do not divide a matrix of {size}")
    wrong = [density for density in densities if not 0 < density <= 1]
    if wrong:
        raise ValueError(f"a density is the share of weights left, above 0 and at most 1, got {wrong[0]!r}")
    draw = torch.Generator().manual_seed(seed)
    weight, x = (torch.randn(size, n, generator=draw).to(device) for n in (size, columns))
    # On a CPU torch leaves products of blocks to MKL, which not every processor has.
    has_blocks = torch.device(device).type != "cpu" or torch.backends.mkl.is_available()
    sparse: dict[str, dict[float, float]] = {"csr": {}, "bsr": {}} if has_blocks else {"csr": {}}
    for density in densities:
        anywhere = to_csr(weight * element(weight, 1 - density))
        sparse["csr"][density] = _fastest_product(anywhere, x, rounds)
        if has_blocks:
            blocks = to_bsr(weight * block_mask(weight, 1 - density, block), block)
            sparse["bsr"][density] = _fastest_product(blocks, x, rounds)
    return Timings(_fastest_product(weight, x, rounds), sparse)


def time_two_of_four(size: int = 768, rounds: int = 9, seed: int = 0) -> dict[str, float]:
    """Milliseconds of 2:4 for one token on a processor without instructions for it: picked up by index, or unpacked."""
    draw = torch.Generator().manual_seed(seed)
    weight, x = torch.randn(size, size, generator=draw), torch.randn(size, generator=draw)
    packed = PackedNM.from_weight(weight * n_of_m(weight.abs()))
    columns = packed.columns()
    return {
        "dense": fastest(lambda: weight @ x, rounds),
        "picked up by index": fastest(lambda: (packed.values * x[columns]).sum(1), rounds),
        "unpacked every time": fastest(lambda: packed.unpacked() @ x, rounds),
    }


def block_mask(weight: Tensor, sparsity: float | int, block: int) -> Tensor:
    """True in the square blocks whose norm is not among the smallest.

    Raises:
        ValueError: if the block does not divide the weight.
    """
    if block < 1 or weight.shape[0] % block or weight.shape[1] % block:
        raise ValueError(f"blocks of {block} do not divide a weight of {tuple(weight.shape)}")
    tiles = weight.unflatten(1, (-1, block)).unflatten(0, (-1, block)).transpose(1, 2)  # rows, columns, and within
    kept = structured(tiles.flatten(2).flatten(0, 1), sparsity).view_as(tiles)
    return kept.transpose(1, 2).flatten(2).flatten(0, 1)


def break_even(ratios: dict[float, float]) -> float:
    """The density at which a sparse product takes as long as the dense one, between the two measured around it.

    0 when it never pays, the largest density when it always does.

    >>> break_even({0.5: 4.0, 0.25: 2.0, 0.125: 0.5})
    0.16666666666666666
    """
    before = (0.0, 0.0)
    for density, ratio in sorted(ratios.items()):
        if ratio >= 1:
            low, under = before
            return low + (density - low) * (1 - under) / (ratio - under) if low else 0.0
        before = (density, ratio)
    return before[0]


def to_csr(weight: Tensor) -> Tensor:
    """The weight in compressed rows, without torch's note that they are new."""
    return _quietly(weight.to_sparse_csr)


def to_bsr(weight: Tensor, block: int) -> Tensor:
    """The weight in compressed rows of blocks, without torch's note that they are new."""
    return _quietly(lambda: weight.to_sparse_bsr((block, block)))


def _quietly(convert: Callable[[], Tensor]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse .* tensor support is in beta")
        return convert()


def _fastest_product(weight: Tensor, x: Tensor, rounds: int) -> float:
    return fastest(lambda: weight @ x, rounds)


def fastest(run: Callable[[], Any], rounds: int) -> float:
    """Milliseconds of the fastest of several runs, after one that does not count.

    Raises:
        ValueError: for less than one round.
    """
    if rounds < 1:
        raise ValueError(f"rounds = {rounds}: at least one has to be timed")
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)
