"""Which split of a cluster into data × tensor × pipeline trains a given transformer fastest, if it fits in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real

from labkit.ranks.simulation.collectives import all_reduce_seconds, scatter_seconds
from labkit.ranks.simulation.machines import Cluster, Transformer, layer_bytes, state_bytes, zero_passes
from labkit.ranks.simulation.pipelines import gpipe_bubble


@dataclass(frozen=True)
class Plan:
    """A split into data × tensor × pipeline with its predicted seconds per step, by cause, and bytes per device."""

    data: int
    tensor: int
    pipeline: int
    micro_batches: int
    parts: dict[str, float]
    memory: float
    limit: float

    @property
    def seconds(self) -> float:
        """Seconds of a step: the sum of its parts."""
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        """Whether a device has the memory."""
        return self.memory <= self.limit

    @property
    def name(self) -> str:
        """The split in words."""
        return f"{self.data} data × {self.tensor} tensor × {self.pipeline} pipeline"


@dataclass(frozen=True)
class Setting:
    """What holds for every split.

    Sequences per micro-batch, stage of ZeRO among the replicas, stages per rank (`chunks`, interleaved), whether
    activations are computed again (`recompute`), and whether reductions hide behind compute (`overlap`).
    """

    micro_batch: int = 1
    zero: int = 1
    chunks: int = 1
    recompute: bool = False
    overlap: bool = True


def plans(model: Transformer, cluster: Cluster, batch: int, setting: Setting | None = None) -> list[Plan]:
    """Every split that divides the model and the batch of `batch` sequences, the fastest that fits first.

    Tensor parallelism stays within a node and divides the heads, the stages divide the layers, the replicas divide the
    batch. Of all communication only that of gradients hides: behind the backward pass of the last micro-batch, and
    behind all compute in stages 2 and 3 of ZeRO, which reduce and gather for each micro-batch.

    Raises:
        ValueError: if no split divides model and batch.
    """
    setting = setting or Setting()
    found = [_plan(model, cluster, batch, setting, *split) for split in _splits(model, cluster, batch, setting)]
    if not found:
        raise ValueError(
            f"no split of {cluster.devices} devices divides {model.layers} layers, {model.heads} heads and "
            f"{batch} sequences; choose a batch with more divisors"
        )
    return sorted(found, key=lambda plan: (not plan.fits, plan.seconds if plan.fits else plan.memory))


def best_plan(model: Transformer, cluster: Cluster, batch: int, setting: Setting | None = None) -> Plan:
    """The fastest split that fits in memory.

    Raises:
        ValueError: if none fits, with the bytes of the smallest.
    """
    best = plans(model, cluster, batch, setting)[0]
    if not best.fits:
        raise ValueError(
            f"no split fits: {best.name} needs {best.memory / 1e9:.1f} GB of {cluster.memory / 1e9:.1f} GB a device; "
            "take more devices, a higher stage of ZeRO, a smaller micro_batch, or recompute activations"
        )
    return best


def _splits(model: Transformer, cluster: Cluster, batch: int, setting: Setting) -> Iterator[tuple[int, int, int]]:
    for tensor in _divisors(cluster.per_node):
        for pipeline in _divisors(cluster.devices // tensor):
            data = cluster.devices // (tensor * pipeline)
            stages = pipeline * (setting.chunks if pipeline > 1 else 1)
            if not (model.layers % stages or model.heads % tensor or batch % (data * setting.micro_batch)):
                yield data, tensor, pipeline


def _divisors(number: int) -> list[int]:
    return [k for k in range(1, number + 1) if number % k == 0]


def _plan(
    model: Transformer, cluster: Cluster, batch: int, setting: Setting, data: int, tensor: int, pipeline: int
) -> Plan:
    count, layers = batch // (data * setting.micro_batch), model.layers / pipeline
    compute = model.flops(batch) * (4 / 3 if setting.recompute else 1) / (cluster.devices * cluster.flops)
    message = setting.micro_batch * model.context * model.width * model.bytes_each
    reductions = (6 if setting.recompute else 4) * layers * count  # two forward, two backward, for each layer
    wires = reductions * all_reduce_seconds(message, tensor, cluster.inner)
    share = gpipe_bubble(pipeline, count, setting.chunks)
    hidden = setting.overlap * compute * (1 if setting.zero > 1 else 2 / 3 / count)
    parts = {
        "compute": compute,
        "tensor": wires,
        "bubble": (compute + wires) * share / (1 - share),
        "pipeline": _hops(cluster, message / tensor, tensor, pipeline, count * setting.chunks),
        "data": max(0.0, _gradients(model, cluster, setting.zero, data, tensor, pipeline, count) - hidden),
    }
    kept = layer_bytes(model, setting.micro_batch, tensor, setting.recompute) * layers * min(count, pipeline)
    working = layer_bytes(model, setting.micro_batch, tensor) if setting.recompute else 0.0
    memory = state_bytes(model.parameters / (tensor * pipeline), data, setting.zero) + kept + working
    return Plan(data, tensor, pipeline, count, parts, memory, float(cluster.memory))


def _hops(cluster: Cluster, message: Real, tensor: int, pipeline: int, times: int) -> float:
    """Activations and their gradients from stage to stage; the stages of one pipeline may all be in one node."""
    if pipeline == 1:
        return 0.0
    link = cluster.inner if tensor * pipeline <= cluster.per_node else cluster.outer
    return 2 * link.seconds(message) * (times + pipeline - 1)


def _gradients(
    model: Transformer, cluster: Cluster, zero: int, data: int, tensor: int, pipeline: int, count: int
) -> float:
    if data == 1:
        return 0.0
    link = cluster.inner if data * tensor * pipeline <= cluster.per_node else cluster.outer
    size = model.parameters * model.bytes_each / (tensor * pipeline)
    return zero_passes(zero, count) * scatter_seconds(size, data, link)
