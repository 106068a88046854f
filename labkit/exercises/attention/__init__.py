"""Exercises of notebook 06: softmax, attention with its gradients, masks, heads, positions, tiles and the cache."""

from labkit.exercises.attention.cross_entropy import CROSS_ENTROPY, CROSS_ENTROPY_GRADIENT
from labkit.exercises.attention.gradients import SCORE_GRADIENTS, VALUE_GRADIENTS
from labkit.exercises.attention.heads import CACHE_STEP, MERGE_HEADS, REPEAT_HEADS
from labkit.exercises.attention.masks import CAUSAL_MASK, MASKED_WEIGHTS, PADDING_MASK
from labkit.exercises.attention.positions import ROTATE, SINUSOIDAL
from labkit.exercises.attention.products import ATTEND, SCORE_VARIANCE, WEIGHTS_BYTES
from labkit.exercises.attention.softmax import SOFTMAX_BACKWARD, STABLE_SOFTMAX
from labkit.exercises.attention.tiles import CAUSAL_TILES, MERGE_PARTIALS

EXERCISES = (
    STABLE_SOFTMAX,
    SOFTMAX_BACKWARD,
    CROSS_ENTROPY,
    CROSS_ENTROPY_GRADIENT,
    SCORE_VARIANCE,
    ATTEND,
    VALUE_GRADIENTS,
    SCORE_GRADIENTS,
    CAUSAL_MASK,
    PADDING_MASK,
    MASKED_WEIGHTS,
    MERGE_HEADS,
    SINUSOIDAL,
    ROTATE,
    WEIGHTS_BYTES,
    MERGE_PARTIALS,
    CAUSAL_TILES,
    REPEAT_HEADS,
    CACHE_STEP,
)
