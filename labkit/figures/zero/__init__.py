"""Pictures of notebook 18: where the memory goes, how a flat buffer is cut into shards, and which stage to choose."""

from labkit.figures.zero.choosing import draw_choice
from labkit.figures.zero.memory import draw_memory, draw_partition

__all__ = ["draw_choice", "draw_memory", "draw_partition"]
