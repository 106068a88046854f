"""Which examples each rank draws, and which chance it has: together exactly what one process would draw."""

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor

from labkit.training.sampling import ResumableSampler


class RankSampler:
    """This rank's part of batches of the indices 0 … n − 1; the parts of all ranks are the batches of one process.

    All ranks draw the same order from (seed, epoch) and each takes every `world`-th index of a batch, so nothing comes
    twice and nothing is lost. `batch` is that of all ranks together: a run may be resumed with another number of ranks
    and goes on with the same batches. The parts differ in size by one where `world` does not divide the batch; then
    weigh losses (see `labkit.data_parallel.accumulation.share`).

    >>> parts = [iter(RankSampler(5, 4, rank, 2, shuffle=False)) for rank in range(2)]
    >>> [[next(part).tolist() for part in parts] for _ in range(2)]
    [[[0, 2], [1, 3]], [[4], []]]

    Raises:
        ValueError: for a rank that is not one of `world`, and for what `ResumableSampler` refuses.
    """

    def __init__(
        self, n: Any, batch: Any, rank: Any, world: Any, seed: Any = 0, shuffle: bool = True, drop_last: bool = False
    ):
        if not (isinstance(rank, Integral) and isinstance(world, Integral) and 0 <= rank < world):
            raise ValueError(f"rank must be one of 0 to world - 1, got rank {rank!r} of world {world!r}")
        self.whole = ResumableSampler(n, batch, seed, shuffle, drop_last)
        self.rank, self.world = int(rank), int(world)

    def __iter__(self) -> Iterator[Int[Tensor, " indices"]]:
        for indices in self.whole:
            yield indices[self.rank :: self.world]

    def state_dict(self) -> dict[str, Any]:
        """Where all ranks stand; it does not depend on how many there are."""
        return self.whole.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: for the state of a sampler over other examples, of another batch or another seed.
        """
        self.whole.load_state_dict(state)


def seed_of(seed: int, rank: int) -> int:
    """A seed for what must differ from rank to rank, as dropout: no two (seed, rank) share one by simple addition.

    With `seed + rank`, rank 1 of seed 0 is rank 0 of seed 1, and a second run repeats the chance of the first.

    >>> seed_of(0, 1) == seed_of(1, 0), seed_of(0, 1) == seed_of(0, 1)
    (False, True)
    """
    return int(np.random.SeedSequence(seed, spawn_key=(rank,)).generate_state(1, np.uint64)[0] >> 1)
