"""What a layer keeps for its backward pass when it is cut across ranks: the published formulas, and a layer to measure.

In 16-bit numbers with dropout, s tokens, batch b, width h, a heads, t ranks, as the paper counts.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.attention import merge_heads, split_heads
from labkit.model_parallel.sequence import SequenceColumnLinear, SequenceRowLinear
from labkit.model_parallel.tensor import ColumnLinear, Group, RowLinear, share
from labkit.ranks.simulation import activation_bytes


def layer_activation_bytes(
    batch: int, tokens: int, width: int, heads: int, ranks: int = 1, sequence: bool = False
) -> float:
    """Bytes that one layer keeps on each rank: s b h (10 + 24/t + 5 a s / (h t)), with sequence parallel all over t.

    Without `sequence` the inputs of norms and matrices and two dropout masks, 10 bytes of 34, are on every rank.

    Source: Korthikanti et al. (2022), "Reducing activation recomputation in large transformer models", table 2.

    >>> one = layer_activation_bytes(1, 2048, 12288, 96) / 2**20
    >>> [layer_activation_bytes(1, 2048, 12288, 96, 8, s) / 2**20 / one for s in (False, True)]
    [0.20175438596491227, 0.125]
    """
    return activation_bytes(batch, tokens, width, heads, ranks, sequence)


class ParallelPaperLayer(nn.Module):
    """This rank's part of the layer that the formulas were derived for, operation by operation, to be measured.

    As `labkit.transformer.PaperLayer`: pre-norm, GELU, attention that keeps its matrix, and three dropouts whose masks
    take one byte per number. The paper leaves out the statistics of the norms.
    Source: Korthikanti et al. (2022), figures 4 and 5, section 4.2.
    """

    def __init__(self, width: int, heads: int, rate: float = 0.1, group: Group = None, sequence: bool = False):
        super().__init__()
        self.heads, self.rate = share(heads, dist.get_world_size(group), "heads"), rate
        columns, rows = (SequenceColumnLinear, SequenceRowLinear) if sequence else (ColumnLinear, RowLinear)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.output = columns(width, 3 * width, group=group), rows(width, width, group=group)
        self.up, self.down = columns(width, 4 * width, group=group), rows(4 * width, width, group=group)

    def forward(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """The stream after this layer: all tokens, or with `sequence` this rank's slice of them."""
        query, key, value = (split_heads(part, self.heads) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        weights = self._dropout(torch.softmax(query @ key.mT / query.shape[-1] ** 0.5, dim=-1))
        x = x + self._dropout(self.output(merge_heads(weights @ value)))
        return x + self._dropout(self.down(F.gelu(self.up(self.norm2(x)))))

    def _dropout(self, x: Tensor) -> Tensor:
        return torch.native_dropout(x, self.rate, True)[0]  # F.dropout keeps a 16-bit mask on the CPU
