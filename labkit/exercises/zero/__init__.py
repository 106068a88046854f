"""Exercises of notebook 18: where the memory goes, what each rank does of the work, what DeepSpeed is told."""

from labkit.exercises.zero.deepspeed import BATCH_SETTINGS, JOIN_SPLIT
from labkit.exercises.zero.memory import BYTES_PER_RANK, RANKS_NEEDED, SENT_PER_STEP
from labkit.exercises.zero.spans import SPAN_F1, SUBWORD_LABELS
from labkit.exercises.zero.stages import CLIP_SHARDS, PIECES_OF_RANK, SHARDED_STEP

EXERCISES = (
    BYTES_PER_RANK,
    RANKS_NEEDED,
    PIECES_OF_RANK,
    SHARDED_STEP,
    CLIP_SHARDS,
    SENT_PER_STEP,
    BATCH_SETTINGS,
    JOIN_SPLIT,
    SUBWORD_LABELS,
    SPAN_F1,
)
