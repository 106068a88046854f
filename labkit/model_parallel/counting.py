"""How often the ranks talk while some code runs, and how many bytes that is."""

from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operators of torch.distributed, and those that DTensor uses in their place, under the names that people use.
NAMES = {
    "allreduce_": "all_reduce",
    "all_reduce": "all_reduce",
    "allgather_": "all_gather",
    "all_gather_into_tensor": "all_gather",
    "reduce_scatter_": "reduce_scatter",
    "reduce_scatter_tensor": "reduce_scatter",
}
TIMES_ROUND = {"all_reduce": 2, "all_gather": 1, "reduce_scatter": 1}  # a ring all-reduce is the two others


class Collectives(TorchDispatchMode):
    """Counts the collectives of this rank, forward and backward, inside `with Collectives() as talk`.

    `talk.counts` is how often each kind was called, `talk.bytes` the size of what was reduced or gathered, as a whole.
    Torch's `CommDebugMode` counts the same, but stumbles over a module that is called twice, as a block's dropout is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let the operator do its work, and note it if it is a collective."""
        if any(kind.__name__ == "DTensor" for kind in types):
            return NotImplemented  # it comes back as operators on plain tensors
        result = func(*args, **(kwargs or {}))
        name = NAMES.get(func._overloadpacket.__name__) if "c10d" in func.namespace else None
        if name is not None:
            self.counts[name] += 1
            # The parts and the whole are both among what goes in and comes out: the whole is the larger of the two.
            self.bytes[name] += max(_bytes(args[0]), _bytes(args[1]), _bytes(result))
        return result

    def ring_bytes(self, ranks: int) -> int:
        """The bytes each rank receives for all this in a ring: (n − 1)/n of the size, twice that for an all-reduce."""
        return sum(TIMES_ROUND[name] * size * (ranks - 1) // ranks for name, size in self.bytes.items())


def _bytes(value: Any) -> int:
    return sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves(value) if isinstance(leaf, Tensor))
