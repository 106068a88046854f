"""Predicted timelines of ranks, where two cores end: collectives, buckets, pipelines and plans for up to 10,000 ranks.

What happens on each rank follows from a few measured numbers: the latency and bandwidth of a link, the seconds and
bytes of layers. The closed forms stand beside the simulation, and small worlds are held against measurements.
"""

from labkit.ranks.simulation.collectives import (
    Link,
    all_reduce_seconds,
    fit_link,
    scatter_seconds,
    simulate_moves,
    simulate_ring,
)
from labkit.ranks.simulation.engine import Prediction, Task, run
from labkit.ranks.simulation.machines import (
    Cluster,
    Transformer,
    activation_bytes,
    layer_bytes,
    state_bytes,
    state_parts,
    zero_bytes_sent,
    zero_passes,
)
from labkit.ranks.simulation.pipelines import gpipe_bubble, in_flight, needed, simulate_pipeline
from labkit.ranks.simulation.planning import Plan, Setting, best_plan, plans
from labkit.ranks.simulation.replicas import (
    ReplicaPlan,
    best_bucket_count,
    fill_buckets,
    hidden_step_seconds,
    plan_replicas,
    simulate_data_parallel,
)

__all__ = [
    "Cluster",
    "Link",
    "Plan",
    "Prediction",
    "ReplicaPlan",
    "Setting",
    "Task",
    "Transformer",
    "activation_bytes",
    "all_reduce_seconds",
    "best_bucket_count",
    "best_plan",
    "fill_buckets",
    "fit_link",
    "gpipe_bubble",
    "hidden_step_seconds",
    "in_flight",
    "layer_bytes",
    "needed",
    "plan_replicas",
    "plans",
    "run",
    "scatter_seconds",
    "simulate_data_parallel",
    "simulate_moves",
    "simulate_pipeline",
    "simulate_ring",
    "state_bytes",
    "state_parts",
    "zero_bytes_sent",
    "zero_passes",
]
