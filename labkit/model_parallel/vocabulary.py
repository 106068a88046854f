"""A vocabulary cut across ranks: the embedding, and a cross entropy for which no rank ever sees all logits.

With 50,257 words and 4,096 tokens the logits are 823 MB in single precision. Gathering them would cost that on every
rank, and as many bytes on the wire; the maximum and two sums for each token are enough.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.model_parallel.tensor import Group, share, sum_over_ranks
from labkit.transformer.loss import IGNORED
from labkit.transformer.loss import _checked as checked_targets


class VocabularyEmbedding(nn.Module):
    """An embedding of which this rank holds vocabulary/n words: those from rank · vocabulary/n on.

    A rank gives zeros for the words of others, and the sum over all ranks is the embedding.

    Raises:
        ValueError: if the ranks do not divide the vocabulary.
    Source: Shoeybi et al. (2019), "Megatron-LM", section 3 (input embedding, split along the vocabulary).
    """

    def __init__(self, vocabulary: int, width: int, group: Group = None):
        super().__init__()
        own = share(vocabulary, dist.get_world_size(group), "words")
        self.group, self.first = group, dist.get_rank(group) * own
        self.weight = nn.Parameter(torch.randn(own, width))

    def forward(self, ids: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch width"]:
        """The embedding of every id, on every rank."""
        row, mine = own_words(ids, self.first, len(self.weight))
        return sum_over_ranks(F.embedding(row, self.weight) * mine[..., None], self.group)


def own_words(ids: Int[Tensor, "*batch"], first: int, own: int) -> tuple[Int[Tensor, "*batch"], Any]:
    """The row of each id in this rank's part (row 0 for words of others), and which ids are its own.

    >>> own_words(torch.tensor([3, 4, 5, 6]), first=4, own=2)
    (tensor([0, 0, 1, 0]), tensor([False,  True,  True, False]))
    """
    mine = (ids >= first) & (ids < first + own)
    return (ids - first).where(mine, 0), mine


def vocabulary_cross_entropy(
    logits: Float[Tensor, "*batch own"], targets: Int[Tensor, "*batch"] | Any, group: Group = None
) -> Float[Tensor, ""]:
    """The mean cross entropy of `targets`, where each rank has the logits of its own words only; −100 is left out.

    Two all-reduces: the largest logit of each token; then the sum of the exponentials and the right word's logit, which
    one rank knows. Backward no word is exchanged: each rank has softmax − target for its own.

    Raises:
        ValueError: if targets do not fit, and on the CPU if one is no word or all are left out.
    Source: Shoeybi et al. (2019), section 3 (output embedding, fused with the cross entropy loss).
    """
    vocabulary = logits.shape[-1] * dist.get_world_size(group)
    return _VocabularyCrossEntropy.apply(logits, checked_targets(targets, logits, vocabulary), group)


class _VocabularyCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, targets, group):
        row, mine = own_words(targets, dist.get_rank(group) * logits.shape[-1], logits.shape[-1])
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        largest = exact.amax(dim=-1)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=group)
        shifted = exact - largest[..., None]
        right = shifted.gather(-1, row[..., None])[..., 0].where(mine, 0)  # not times: a word may be ruled out by −∞
        p = shifted.exp_()
        sums = torch.stack([p.sum(dim=-1), right])
        dist.all_reduce(sums, group=group)
        total, right = sums
        kept = targets != IGNORED
        share_of = kept.to(exact.dtype) / kept.sum()
        ctx.save_for_backward(p.div_(total[..., None]), row, mine, share_of)
        return ((total.log() - right) * share_of).sum().to(logits.dtype)

    @staticmethod
    def backward(ctx, grad):
        p, row, mine, share_of = ctx.saved_tensors
        error = p.scatter_add(-1, row[..., None], -mine[..., None].to(p.dtype))
        return (error * (share_of * grad)[..., None]).to(grad.dtype), None, None
