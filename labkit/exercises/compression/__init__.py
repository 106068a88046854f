"""Exercises of notebook 20: numbers in few bits, weights left out, students, and choices among them."""

from labkit.exercises.compression.codebooks import (
    KMEANS_STEP,
    NF4_CODES,
)
from labkit.exercises.compression.combined import (
    PARETO_FRONT,
)
from labkit.exercises.compression.distillation import (
    DISTILLATION_LOSS,
)
from labkit.exercises.compression.files import (
    FILE_BYTES,
    LEAST_SECONDS,
)
from labkit.exercises.compression.gptq import (
    BEST_CODES,
    OBQ_STEP,
)
from labkit.exercises.compression.grid import (
    AFFINE_GRID,
    BITS_NEEDED,
)
from labkit.exercises.compression.integer import (
    FIXED_POINT,
    FOLD_ZERO_POINT,
)
from labkit.exercises.compression.low_rank import (
    LORA_MERGE,
    RANK_FOR_BYTES,
)
from labkit.exercises.compression.packing import (
    PACK_BITS,
)
from labkit.exercises.compression.pruning import (
    GRADUAL_SPARSITY,
    N_OF_M_MASK,
    SURGEON_STEP,
    WANDA_MASK,
)
from labkit.exercises.compression.smoothing import (
    SMOOTH_SCALES,
)
from labkit.exercises.compression.speculative import (
    DRAFT_TOKEN,
    DRAFTS_TO_MAKE,
)
from labkit.exercises.compression.training import (
    FAKE_QUANTIZE,
    STEP_GRADIENT,
    STRAIGHT_THROUGH,
)

EXERCISES = (
    AFFINE_GRID,
    BITS_NEEDED,
    PACK_BITS,
    FOLD_ZERO_POINT,
    FIXED_POINT,
    SMOOTH_SCALES,
    OBQ_STEP,
    BEST_CODES,
    NF4_CODES,
    KMEANS_STEP,
    FILE_BYTES,
    LEAST_SECONDS,
    FAKE_QUANTIZE,
    STRAIGHT_THROUGH,
    STEP_GRADIENT,
    N_OF_M_MASK,
    GRADUAL_SPARSITY,
    WANDA_MASK,
    SURGEON_STEP,
    DISTILLATION_LOSS,
    RANK_FOR_BYTES,
    LORA_MERGE,
    PARETO_FRONT,
    DRAFT_TOKEN,
    DRAFTS_TO_MAKE,
)
