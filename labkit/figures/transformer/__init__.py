"""Pictures of notebook 07: the parts of a transformer, small runs and their bugs, what it costs, how to read it."""

from labkit.figures.transformer.counting import draw_cache, draw_flops, draw_parameters, draw_published
from labkit.figures.transformer.parts import draw_activations, draw_block, draw_norms
from labkit.figures.transformer.reading import draw_agreement, draw_attribution, draw_lens, draw_similarity
from labkit.figures.transformer.training import draw_gradients, draw_losses, draw_stream, draw_symptoms

__all__ = [
    "draw_activations",
    "draw_agreement",
    "draw_attribution",
    "draw_block",
    "draw_cache",
    "draw_flops",
    "draw_gradients",
    "draw_lens",
    "draw_losses",
    "draw_norms",
    "draw_parameters",
    "draw_published",
    "draw_similarity",
    "draw_stream",
    "draw_symptoms",
]
