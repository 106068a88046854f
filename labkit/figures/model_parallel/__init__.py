"""Pictures of notebook 17: matrices by owner, meshes, pipeline schedules, loads of experts, plans."""

from labkit.figures.model_parallel.layouts import draw_matrix_split, draw_mesh
from labkit.figures.model_parallel.planning import draw_experts, draw_plan
from labkit.figures.model_parallel.predictions import draw_prediction
from labkit.figures.model_parallel.schedules import draw_schedule

__all__ = ["draw_experts", "draw_matrix_split", "draw_mesh", "draw_plan", "draw_prediction", "draw_schedule"]
