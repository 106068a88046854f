"""Figures of notebook 13: pages with marks, S-curves and clusters, statistics and scores, what cleaning costs."""

from labkit.figures.cleaning.costs import draw_forecast, draw_growth, draw_training
from labkit.figures.cleaning.duplicates import draw_clusters, draw_estimates, draw_s_curve
from labkit.figures.cleaning.marking import mark_blocks, mark_bytes, mark_spans
from labkit.figures.cleaning.quality import draw_perplexity, draw_statistics
from labkit.figures.cleaning.results import draw_balance, draw_confusion, draw_funnel, draw_scores

__all__ = [
    "draw_balance",
    "draw_clusters",
    "draw_confusion",
    "draw_estimates",
    "draw_forecast",
    "draw_funnel",
    "draw_growth",
    "draw_perplexity",
    "draw_s_curve",
    "draw_scores",
    "draw_statistics",
    "draw_training",
    "mark_blocks",
    "mark_bytes",
    "mark_spans",
]
