"""Pictures of notebook 20: what a number costs, what survives pruning, what students learn, all on one chart."""

from labkit.figures.compression.combined import draw_pareto, draw_steps_in_a_row
from labkit.figures.compression.distillation import draw_readers, draw_soft_targets, draw_unseen
from labkit.figures.compression.files import draw_file_bytes, draw_least_time
from labkit.figures.compression.gptq import draw_levels, draw_pairs, draw_rounding_plane
from labkit.figures.compression.grid import (
    draw_codes,
    draw_error_by_bits,
    draw_error_maps,
    draw_number_line,
)
from labkit.figures.compression.integer import draw_cache_cost, draw_requantized, draw_sums
from labkit.figures.compression.low_rank import draw_rank_errors, draw_spectra
from labkit.figures.compression.pruning import (
    draw_diet,
    draw_kept,
    draw_pruned_quality,
    draw_sparse_speed,
    draw_tickets,
)
from labkit.figures.compression.smoothing import draw_alpha, draw_channels, draw_outliers
from labkit.figures.compression.speculative import draw_draft_lengths, draw_rounds
from labkit.figures.compression.training import draw_drift, draw_regained, draw_staircase

__all__ = [
    "draw_alpha",
    "draw_cache_cost",
    "draw_channels",
    "draw_codes",
    "draw_diet",
    "draw_draft_lengths",
    "draw_drift",
    "draw_error_by_bits",
    "draw_error_maps",
    "draw_file_bytes",
    "draw_kept",
    "draw_least_time",
    "draw_levels",
    "draw_number_line",
    "draw_outliers",
    "draw_pairs",
    "draw_pareto",
    "draw_pruned_quality",
    "draw_rank_errors",
    "draw_readers",
    "draw_regained",
    "draw_requantized",
    "draw_rounding_plane",
    "draw_rounds",
    "draw_soft_targets",
    "draw_sparse_speed",
    "draw_spectra",
    "draw_staircase",
    "draw_steps_in_a_row",
    "draw_sums",
    "draw_tickets",
    "draw_unseen",
]
