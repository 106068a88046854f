"""Cross entropy through the head, without ever holding the logits of all tokens."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from labkit.attention import holds

IGNORED = -100
LOGITS_AT_ONCE = 2**21  # 8 MB: a chunk should stay in the cache …
ROWS_AT_LEAST = 256  # … but the gradient of the head is read and written once for each chunk


def next_token_loss(
    hidden: Float[Tensor, "*batch width"],
    weight: Float[Tensor, "vocabulary width"],
    targets: Int[Tensor, "*batch"] | Any,
    chunk: int | None = None,
) -> Float[Tensor, ""]:
    """The mean cross entropy of `targets` under the logits `hidden @ weight.T`, made `chunk` tokens at a time.

    The gradient is known as soon as the logits are, p − y, so the forward pass makes it at once and throws the logits
    away: three matrix products in all, and memory for one chunk. Targets of −100 are left out.

    Args:
        hidden: what the head reads.
        weight: the head, one row per word.
        targets: ids, one for each token of `hidden`.
        chunk: tokens at a time; as many as make two million logits if left out, and at least 256.

    Raises:
        ValueError: if targets and tokens do not match, if a target is no word, or if all are left out (the last two on
            the CPU only: looking at values makes an accelerator wait).
    """
    targets = _checked(targets, hidden, len(weight)).reshape(-1)
    hidden, weight = hidden.reshape(-1, hidden.shape[-1]), weight.to(hidden.dtype)  # they may differ under autocast
    chunk = chunk or max(ROWS_AT_LEAST, LOGITS_AT_ONCE // len(weight))
    return _ChunkedCrossEntropy.apply(hidden, weight, targets, chunk, torch.is_grad_enabled())


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, targets, chunk, wanted):
        kept = targets != IGNORED
        exact = torch.promote_types(hidden.dtype, torch.float32)  # sums over a vocabulary need at least this
        share = (kept.to(exact) / kept.sum())[:, None]
        answers = targets.clamp(min=0)[:, None]
        loss = hidden.new_zeros((), dtype=exact)
        wanted = wanted and any(ctx.needs_input_grad)
        grad_hidden = torch.empty_like(hidden) if wanted else None
        grad_weight = torch.zeros_like(weight) if wanted else None
        for start in range(0, len(hidden), chunk):
            rows = slice(start, start + chunk)
            logits = (hidden[rows] @ weight.T).to(exact)
            logits -= logits.amax(dim=1, keepdim=True)
            right = logits.gather(1, answers[rows])
            p = logits.exp_()  # in place, here and below: what costs time beside the products is memory
            total = p.sum(dim=1, keepdim=True)
            loss += ((total.log() - right) * share[rows]).sum()
            if wanted:
                error = p.mul_(share[rows] / total).scatter_add_(1, answers[rows], -share[rows])
                error = error.to(weight.dtype)
                torch.mm(error, weight, out=grad_hidden[rows])
                grad_weight.addmm_(error.T, hidden[rows])
        ctx.save_for_backward(grad_hidden, grad_weight)
        return loss.to(hidden.dtype)

    @staticmethod
    def backward(ctx, grad):
        if torch.is_grad_enabled():  # that is what create_graph=True does
            raise ValueError(
                "this loss has no second derivative: take cross_entropy of all logits for create_graph=True"
            )
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad * grad_hidden, grad * grad_weight, None, None, None


def _checked(targets: Any, hidden: Tensor, vocabulary: int) -> Tensor:
    wanted = hidden.shape[:-1]
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.shape != wanted:
        got = f"{tuple(targets.shape)} of {targets.dtype}" if isinstance(targets, Tensor) else type(targets).__name__
        raise ValueError(f"targets must be int64, one for each token, of shape {tuple(wanted)}; got {got}")
    if not holds(targets, lambda targets: (targets != IGNORED).any()):
        raise ValueError(f"every target is {IGNORED}, so there is nothing to learn from: check the targets")
    if not holds(targets, lambda targets: (((targets >= 0) & (targets < vocabulary)) | (targets == IGNORED)).all()):
        wrong = targets[((targets < 0) | (targets >= vocabulary)) & (targets != IGNORED)][0]
        raise ValueError(f"targets must lie between 0 and {vocabulary - 1} or be {IGNORED}, got {int(wrong)}")
    return targets
