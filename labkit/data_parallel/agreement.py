"""Do the ranks agree? On the model, on its weights, and on which collective comes next."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import Any

import torch
from torch import Tensor, distributed, nn

from labkit.data_parallel.buckets import flatten

LABEL = 192  # bytes of a label that travel
CHECKED = (
    *("all_reduce", "broadcast", "reduce", "scatter", "gather", "all_gather", "reduce_scatter", "all_to_all"),
    *("all_gather_into_tensor", "reduce_scatter_tensor", "all_to_all_single", "all_gather_single"),
    *("reduce_scatter_single", "barrier"),
)


class OutOfStep(RuntimeError):
    """The ranks did not all call the same collective."""


def describe(module: nn.Module) -> list[str]:
    """One line for each parameter and buffer: name, shape, dtype, and whether it is trained.

    >>> describe(nn.Linear(3, 2))
    ['weight: (2, 3) float32 trained', 'bias: (2,) float32 trained']
    """
    trained = [(name, p, " trained" if p.requires_grad else " frozen") for name, p in module.named_parameters()]
    buffers = [(name, x, " buffer") for name, x in module.named_buffers()]
    return [f"{name}: {tuple(x.shape)} {str(x.dtype)[6:]}{kind}" for name, x, kind in trained + buffers]


def refuse_different(module: nn.Module, group: Any = None, about: str = "") -> None:
    """Compare the modules of all ranks: 32 bytes each, and the whole description only where they differ.

    Raises:
        ValueError: on every rank, naming the first line in which a rank differs from rank 0.
    """
    lines = [*describe(module), about]
    digest = torch.tensor(list(hashlib.sha256("\n".join(lines).encode()).digest()), dtype=torch.uint8)
    digest = digest.to(next(iter(module.parameters()), digest).device)
    world = distributed.get_world_size(group)
    digests = [torch.empty_like(digest) for _ in range(world)]
    distributed.all_gather(digests, digest, group=group)
    if all(torch.equal(digests[0], other) for other in digests):
        return
    everybody: list[Any] = [None] * world
    distributed.all_gather_object(everybody, lines, group=group)
    rank = next(r for r in range(world) if everybody[r] != everybody[0])
    raise ValueError(f"rank {rank} has another model than rank 0: {_first_difference(everybody[rank], everybody[0])}")


def _first_difference(one: list[str], first: list[str]) -> str:
    """Where two descriptions part; their last lines are what they are about."""
    for here, there in zip(one[:-1], first[:-1], strict=False):
        if here != there:
            return f"{here} against {there}; build it from the same numbers on every rank"
    if len(one) == len(first):
        return f"{one[-1]} against {first[-1]}; say the same on every rank"
    extra = max(one, first, key=len)[min(len(one), len(first)) - 1]
    return f"{len(one) - 1} parameters and buffers against {len(first) - 1}, beginning with {extra}"


def gap(one: Iterable[Tensor], other: Iterable[Tensor]) -> float:
    """The largest difference between two lists of tensors, such as the parameters of two models.

    >>> gap([torch.zeros(2), torch.ones(1)], [torch.zeros(2), torch.tensor([0.75])])
    0.25
    """
    return max((a - b).abs().max().item() for a, b in zip(one, other, strict=True))


@torch.no_grad()
def drift(module: nn.Module, group: Any = None) -> float:
    """The largest difference between a parameter on any rank and the same one on rank 0: 0 for true replicas."""
    source, largest = distributed.get_global_rank(group, 0) if group else 0, []
    for flat, _ in flatten(module.parameters()):
        first = flat.clone()
        distributed.broadcast(first, source, group=group)
        largest.append((flat - first).abs().max().double())
    worst = torch.stack(largest).max()
    distributed.all_reduce(worst, distributed.ReduceOp.MAX, group=group)
    return worst.item()


class RollCall:
    """Ask all ranks what they are about to do, and go on only if it is the same. All ranks must make one together.

    Args:
        timeout: seconds to wait for a rank that does not come.
    """

    def __init__(self, timeout: float | int = 10):
        self.timeout = timeout
        self.group = distributed.new_group(backend="gloo", timeout=timedelta(seconds=timeout))
        # Kept here, so that `checked` does not check the check.
        self._meet, self._ask = distributed.monitored_barrier, distributed.all_gather

    def __call__(self, label: str) -> None:
        """Raises:
        OutOfStep: if another rank wants something else, or does not come in time; what each wants is named.
        """
        try:
            self._meet(self.group, timedelta(seconds=self.timeout), wait_all_ranks=True)
        except RuntimeError as error:
            raise OutOfStep(
                f"rank {distributed.get_rank()} is at {label}, and not all others came there within {self.timeout} s: "
                f"{str(error).splitlines()[0]}"
            ) from error
        mine = torch.zeros(LABEL, dtype=torch.uint8)
        text = label.encode()[:LABEL]
        mine[: len(text)] = torch.tensor(list(text), dtype=torch.uint8)
        all_labels = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
        self._ask(all_labels, mine, group=self.group)
        wanted = [bytes(one.tolist()).rstrip(b"\0").decode(errors="ignore") for one in all_labels]
        if len(set(wanted)) > 1:
            each = "; ".join(f"rank {rank} calls {want}" for rank, want in enumerate(wanted))
            raise OutOfStep(f"the ranks are out of step: {each}. All must call the same collectives in the same order")


@contextmanager
def checked(timeout: float | int = 10) -> Iterator[RollCall]:
    """Inside, every collective of torch.distributed on the default group first compares name, shapes and dtypes.

    What would hang, or mix up numbers, raises `OutOfStep` instead. It costs two small messages for each collective.
    """
    call = RollCall(timeout)
    originals = {name: getattr(distributed, name) for name in CHECKED if hasattr(distributed, name)}
    for name, function in originals.items():
        setattr(distributed, name, _after_roll_call(call, name, function))
    try:
        yield call
    finally:
        for name, function in originals.items():
            setattr(distributed, name, function)


def _after_roll_call(call: RollCall, name: str, function: Callable) -> Callable:
    @wraps(function)
    def after(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("group") is None:
            tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
            call(" ".join([name, *(f"{tuple(x.shape)} {str(x.dtype)[6:]}" for x in tensors)]))
        return function(*args, **kwargs)

    return after
