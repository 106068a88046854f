"""Exercises of notebook 17: cut layers, heads, vocabularies and stacks of blocks, and count what they cost."""

from labkit.exercises.model_parallel.pipeline import BATCH_LOSS, SERVED_TOKENS, SPLIT_BACKWARD
from labkit.exercises.model_parallel.schedules import HELD, ONE_F_ONE_B
from labkit.exercises.model_parallel.tensor import COLUMN_THEN_ROW, GRADIENT_NORM, OWN_HEADS
from labkit.exercises.model_parallel.vocabulary import LAYER_TRAFFIC, VOCABULARY_LOSS

EXERCISES = (
    COLUMN_THEN_ROW,
    OWN_HEADS,
    GRADIENT_NORM,
    VOCABULARY_LOSS,
    LAYER_TRAFFIC,
    ONE_F_ONE_B,
    HELD,
    SPLIT_BACKWARD,
    BATCH_LOSS,
    SERVED_TOKENS,
)
