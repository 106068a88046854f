"""Pictures of notebook 18: where the memory goes, and how a flat buffer is cut into shards."""

from labkit.figures.zero.memory import draw_memory, draw_partition

__all__ = ["draw_memory", "draw_partition"]
