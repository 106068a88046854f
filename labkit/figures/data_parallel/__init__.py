"""Pictures of notebook 16: who does what when, collectives step by step, bytes, rates, losses and stale updates."""

from labkit.figures.data_parallel.collectives import draw_bytes, draw_collective, draw_collective_strip
from labkit.figures.data_parallel.timelines import draw_timeline
from labkit.figures.data_parallel.training import draw_convergence, draw_predicted, draw_scaling, draw_staleness

__all__ = [
    "draw_bytes",
    "draw_collective",
    "draw_collective_strip",
    "draw_convergence",
    "draw_predicted",
    "draw_scaling",
    "draw_staleness",
    "draw_timeline",
]
