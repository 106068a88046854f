"""Exercises of notebook 07, both pages: norms, the block, training, counting; then generating, pooling, the cache."""

from labkit.exercises.transformer.block import OUTPUT_STD, PRE_NORM_BLOCK
from labkit.exercises.transformer.counting import BLOCK_PARAMETERS, CACHE_BYTES, STEP_FLOPS
from labkit.exercises.transformer.feedforward import GELU, SWIGLU
from labkit.exercises.transformer.generation import GREEDY, NEXT_PROBABILITIES
from labkit.exercises.transformer.norms import LAYER_NORM, LAYER_NORM_BACKWARD, RMS_NORM
from labkit.exercises.transformer.training import MEAN_POOL, SHIFT_TARGETS, TIED_GRADIENT

EXERCISES = (
    LAYER_NORM,
    RMS_NORM,
    LAYER_NORM_BACKWARD,
    GELU,
    SWIGLU,
    PRE_NORM_BLOCK,
    OUTPUT_STD,
    SHIFT_TARGETS,
    TIED_GRADIENT,
    BLOCK_PARAMETERS,
    STEP_FLOPS,
    MEAN_POOL,
    GREEDY,
    NEXT_PROBABILITIES,
    CACHE_BYTES,
)
