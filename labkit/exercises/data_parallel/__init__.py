"""Exercises of notebook 16: rings, buckets, weights of ranks, compression and stale gradients by your own hand."""

from labkit.exercises.data_parallel.collectives import ALL_REDUCE_SECONDS, RING_STEP
from labkit.exercises.data_parallel.compression import COSTS, LOW_RANK, SEND_WITH_FEEDBACK
from labkit.exercises.data_parallel.replicas import FILL_BUCKETS, GRADIENT_OF_ALL, MY_INDICES
from labkit.exercises.data_parallel.server import LOCAL, STALENESS

EXERCISES = (
    RING_STEP,
    ALL_REDUCE_SECONDS,
    GRADIENT_OF_ALL,
    FILL_BUCKETS,
    MY_INDICES,
    SEND_WITH_FEEDBACK,
    LOW_RANK,
    COSTS,
    STALENESS,
    LOCAL,
)
