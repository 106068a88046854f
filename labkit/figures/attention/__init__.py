"""Pictures of notebook 06: softmax, attention matrices, positions, what attention costs, attention that is learned."""

from labkit.figures.attention.cost import draw_growth, draw_wall
from labkit.figures.attention.heads import draw_heads
from labkit.figures.attention.learned import draw_before_after, draw_learning
from labkit.figures.attention.matrices import draw_masks, draw_weights
from labkit.figures.attention.positions import draw_alibi, draw_distance, draw_positions, draw_rotation
from labkit.figures.attention.softmax import draw_score_growth, draw_softmax
from labkit.figures.attention.tiles import draw_tiles

__all__ = [
    "draw_alibi",
    "draw_before_after",
    "draw_distance",
    "draw_growth",
    "draw_heads",
    "draw_learning",
    "draw_masks",
    "draw_positions",
    "draw_rotation",
    "draw_score_growth",
    "draw_softmax",
    "draw_tiles",
    "draw_wall",
    "draw_weights",
]
