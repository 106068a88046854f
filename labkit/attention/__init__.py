"""Attention by mathematics: softmax, masks, positions, heads, caches, tiles, and attention that is learned."""

from labkit.attention.cache import KeyValueCache
from labkit.attention.dot_product import (
    Gradients,
    attention,
    attention_backward,
    attention_weights,
    repeat_heads,
)
from labkit.attention.learned import (
    AttentionOnly,
    accuracy,
    copy_task,
    diagonal_score,
    induction_score,
    induction_task,
    learn,
    previous_score,
    reverse_score,
    reverse_task,
)
from labkit.attention.masks import allowed_keys, causal_mask, may_attend, padding_mask, refuse_blind
from labkit.attention.multihead import MultiHeadAttention, fused_attention, merge_heads, split_heads
from labkit.attention.positions import (
    LearnedPositions,
    alibi_bias,
    alibi_slopes,
    rotary_angles,
    rotate,
    sinusoidal,
    to_half_layout,
    to_interleaved_layout,
)
from labkit.attention.sentence import HEADS, head_vectors, word_vectors
from labkit.attention.softmax import (
    cross_entropy,
    cross_entropy_gradient,
    log_sum_exp,
    softmax,
    softmax_backward,
    softmax_jacobian,
)
from labkit.attention.tiled import backward_tiles, forward_tiles, online_softmax, saved_bytes, tiled_attention
from labkit.attention.values import holds, refuse_not_finite

__all__ = [
    "HEADS",
    "AttentionOnly",
    "Gradients",
    "KeyValueCache",
    "LearnedPositions",
    "MultiHeadAttention",
    "accuracy",
    "alibi_bias",
    "alibi_slopes",
    "allowed_keys",
    "attention",
    "attention_backward",
    "attention_weights",
    "backward_tiles",
    "causal_mask",
    "copy_task",
    "cross_entropy",
    "cross_entropy_gradient",
    "diagonal_score",
    "forward_tiles",
    "fused_attention",
    "head_vectors",
    "holds",
    "induction_score",
    "induction_task",
    "learn",
    "log_sum_exp",
    "may_attend",
    "merge_heads",
    "online_softmax",
    "padding_mask",
    "previous_score",
    "refuse_blind",
    "refuse_not_finite",
    "repeat_heads",
    "reverse_score",
    "reverse_task",
    "rotary_angles",
    "rotate",
    "saved_bytes",
    "sinusoidal",
    "softmax",
    "softmax_backward",
    "softmax_jacobian",
    "split_heads",
    "tiled_attention",
    "to_half_layout",
    "to_interleaved_layout",
    "word_vectors",
]
