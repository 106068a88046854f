"""What labkit has for the exercises on many ranks and on smaller models (see counterparts.py)."""

import math
import tempfile
from pathlib import Path
from typing import Any

from labkit.workbench.later import Later

torch = Later("torch")
grid, transformer = Later("labkit.compression.grid"), Later("labkit.transformer.config")
links, schedules = Later("labkit.data_parallel.links"), Later("labkit.data_parallel.schedules")


def _ring_step(schedules, pieces, step):
    """In the package rank r ends with chunk r, so what an exercise calls chunk c is its chunk c − 1."""
    world = len(pieces)
    now = [[*row[1:], row[0]] for row in pieces]
    flying = [move for move in schedules.schedule("ring_all_reduce", world).moves if move.time == step]
    sent = [now[move.sender][move.chunk] for move in flying]
    for move, value in zip(flying, sent, strict=True):
        now[move.receiver][move.chunk] = now[move.receiver][move.chunk] + value
    return [[row[-1], *row[:-1]] for row in now]


def _ring_seconds(counting, world, size, latency, bandwidth):
    """The package counts whole bytes, so many of them are sent and their time is scaled."""
    every = schedules.schedule("ring_all_reduce", world)
    scaled = counting.seconds(every, world * 1000, latency, bandwidth)
    waiting = every.times * latency
    return waiting + (scaled - waiting) * size / (world * 1000)


def _fill_buckets(buckets, sizes, limit):
    parameters = [torch.nn.Parameter(torch.zeros(size, dtype=torch.int8), requires_grad=False) for size in sizes]
    number = {id(parameter): i for i, parameter in enumerate(parameters)}
    cut = buckets.partition(parameters, bucket_mb=limit / buckets.MB)
    return [[number[id(parameter)] for parameter in bucket] for bucket in cut]


def _my_indices(f, order, batch, rank, world):
    sampler = f(len(order), batch, rank, world, shuffle=False)
    batches = iter(sampler)
    return [[order[i] for i in next(batches).tolist()] for _ in range(math.ceil(len(order) / batch))]


def _error_feedback(compression, gradient, residual, count):
    due = gradient + residual
    sent = compression.dense(compression.top_k(due, count), len(due))
    return sent, due - sent


def _low_rank_mean(f, matrices, q):
    found = links.simulate(lambda x, rank, world, link: f(x, q, link), matrices).results[0]
    return found[0] @ found[1].T


def _one_f_one_b(f, rank, ranks, micro_batches):
    return [(operation.kind, operation.micro_batch) for operation in f(ranks, micro_batches)[rank]]


def _served_tokens(f, experts, places):
    if not experts:
        return []
    logits = torch.nn.functional.one_hot(torch.tensor(experts), max(experts) + 1).double()
    return f(logits, 1, places).kept.flatten().tolist()


def _ranks_needed(f, parameters, memory, stage):
    """The least number of ranks is looked for, up to more than any case needs."""
    fits = lambda ranks: sum(f(parameters, ranks, stage).values()) <= memory * (1 + 1e-12)  # noqa: E731
    return next((ranks for ranks in range(1, 5000) if fits(ranks)), None)


def _pieces_of_rank(f, sizes, ranks, rank):
    named = [(str(i), torch.nn.Parameter(torch.zeros(size))) for i, size in enumerate(sizes)]
    return [(int(piece.name), piece.start, piece.stop) for piece in f(named, ranks).pieces(rank)]


def _join_split(f, shards, shapes):
    return list(f(shards, {str(i): tuple(shape) for i, shape in enumerate(shapes)}).values())


def _span_f1(f, gold, found):
    whole = [{(i, *span) for i, spans in enumerate(side) for span in spans} for side in (gold, found)]
    score = f(whole[1], whole[0])
    return score.f1 if any(whole) else 1.0


def _line_chunks(shards, content, size):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines.jsonl"
        path.write_bytes(content)
        return [(chunk.start, chunk.stop) for chunk in shards.chunks_of([path], size)]


def _nf4_codes(codebooks, values, levels):
    scale = float(values.abs().max())
    divided = values / (scale or 1.0)
    return codebooks.nearest(divided[None], levels[None])[0].tolist(), scale


def _fold(f, codes, zero, bias):
    rows, width = len(codes), len(codes[0]) if codes else 0
    table = torch.tensor(codes, dtype=torch.int8).view(rows, width)
    return f(table, zero, torch.tensor(bias, dtype=torch.int32)).tolist()


def _obq_step(f, row, hessian, column, step):
    return f(row, torch.linalg.inv(hessian), column, torch.round(row[column] / step) * step)[0]


def _drafts_to_make(f, alpha, cost, most):
    return max(range(most + 1), key=lambda n: f(alpha, n, cost) - 1e-12 * n if n else 1.0)


def _draft_token(speculative, p, q, token, u, v):
    p, q = (torch.from_numpy(x).double() for x in (p, q))
    if u < float(speculative.acceptance(p, q)[token]):
        return token
    return int((speculative.residual(p, q).cumsum(0) > v).int().argmax())


def _by_autograd(f, number, grad, x, step, bits):
    inputs = [x.detach().clone().requires_grad_(), torch.tensor(float(step), dtype=x.dtype, requires_grad=True)]
    return torch.autograd.grad(f(*inputs, bits), inputs[number], grad)[0]


def _step_gradient(f, grad, x, step, bits):
    return _by_autograd(f, 1, grad, x, step, bits) * math.sqrt(x.numel() * (2 ** (bits - 1) - 1))


def _lora_merge(f, weight, up, down, alpha):
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    linear.weight.data = weight.clone()
    layer = f(linear, up.shape[1], alpha)
    layer.up.data, layer.down.data = up.clone(), down.clone()
    return layer.merged().weight.detach()


def _affine_grid(f, low, high, bits):
    step, zero = f(float(low), float(high), bits, symmetric=False)
    return step, int(zero)


def _fixed_point(f, ratio):
    """The package refuses what rounds to 1."""
    return tuple(map(int, f(ratio))) if ratio < 1 - 2**-32 else (2**30, -1)


def _compression_bytes(compression, size, count, ranks):
    share = compression.TopK((count - 0.5) / size)  # so that rounding up gives the count again
    return tuple(compression.bytes_of(one, [(size,)], ranks) for one in (compression.Plain(), share))


def _own_heads(f, qkv, heads, rank, ranks):
    sizes = {"heads": heads, "width": qkv.shape[1], "hidden": ranks, "head_dim": len(qkv) // (3 * heads)}
    name = "blocks.0.attention.qkv.weight"
    return f({name: qkv}, transformer.Config(ranks, 8, 1, **sizes), rank, ranks)[name]


def _bits_needed(f, limit, error):
    return next((bits for bits in range(2, 9) if math.sqrt(f(limit / (2 ** (bits - 1) - 1))) <= error), None)


def _file_bytes(f, shapes, bits, group):
    weights = [torch.ones(shape) for shape in shapes]
    how = {"per": "group", "group": group} if group else {"per": "channel"}
    return sum(f(grid.quantize(weight, bits, **how)) for weight in weights)


def _own_sizes(f, x, weight, alpha):
    return f(x.abs().amax(0), weight.abs().amax(0), alpha)


SYSTEMS: dict[str, tuple[str, Any]] = {
    "data_parallel.ring_step": ("data_parallel.schedules", _ring_step),
    "data_parallel.ring_seconds": ("data_parallel.counting", _ring_seconds),
    "data_parallel.fill_buckets": ("data_parallel.buckets", _fill_buckets),
    "data_parallel.my_indices": ("data_parallel.sampling.RankSampler", _my_indices),
    "data_parallel.error_feedback": ("data_parallel.compression", _error_feedback),
    "data_parallel.low_rank_mean": ("data_parallel.compression.low_rank_mean", _low_rank_mean),
    "model_parallel.one_f_one_b": ("model_parallel.schedules.one_f_one_b", _one_f_one_b),
    "model_parallel.served_tokens": ("model_parallel.experts.route", _served_tokens),
    "zero.bytes_per_rank": (
        "zero.memory.model_states",
        lambda f, parameters, ranks, stage: tuple(f(parameters, ranks, stage).values()),
    ),
    "zero.ranks_needed": ("zero.memory.model_states", _ranks_needed),
    "zero.pieces_of_rank": ("zero.partitioning.Flat", _pieces_of_rank),
    "zero.join_split": ("zero.consolidated.join_each", _join_split),
    "zero.span_f1": ("cleaning.scoring.score_sets", _span_f1),
    "cleaning.line_chunks": ("cleaning.shards", _line_chunks),
    "compression.affine_grid": ("compression.grid.grid_of", _affine_grid),
    "compression.pack_bits": (
        "compression.packing.pack",
        lambda f, codes, bits: f(torch.tensor(codes, dtype=torch.int8), bits).tolist(),
    ),
    "compression.fold_zero_point": ("compression.integer.fold_zero_point", _fold),
    "compression.smooth_scales": ("compression.smoothing.smooth_scales", _own_sizes),
    "compression.obq_step": ("compression.gptq.obq_update", _obq_step),
    "compression.nf4_codes": ("compression.codebooks", _nf4_codes),
    "compression.fake_quantize": (
        "compression.training_aware.fake_quantize",
        lambda f, x, step, bits: f(x, x.new_tensor(step), bits),
    ),
    "compression.straight_through": (
        "compression.training_aware.fake_quantize",
        lambda f, grad, x, step, bits: _by_autograd(f, 0, grad, x, step, bits),
    ),
    "compression.step_gradient": ("compression.training_aware.learned_step_quantize", _step_gradient),
    "compression.n_of_m_mask": (
        "compression.pruning.patterns.n_of_m",
        lambda f, weight, n, m: f(weight.abs(), n, m),
    ),
    "compression.gradual_sparsity": (
        "compression.pruning.schedule.sparsity_at",
        lambda f, step, begin, end, initial, final: f(step, begin=begin, end=end, initial=initial, final=final),
    ),
    "compression.wanda_mask": (
        "compression.pruning.wanda.wanda_mask",
        lambda f, weight, x, sparsity: f(weight, x.norm(dim=0), sparsity),
    ),
    "compression.surgeon_step": (
        "compression.pruning.surgeon.prune_row",
        lambda f, weights, hessian: f(weights, hessian, 1),
    ),
    "compression.distillation_loss": (
        "compression.distillation.distillation_loss",
        lambda f, student, teacher, labels, temperature, soft: f(
            student, teacher, labels, temperature=temperature, soft=soft
        ),
    ),
    "compression.rank_for_bytes": (
        "compression.low_rank.rank_for_bytes",
        lambda f, out, inputs, budget, each: f(out, inputs, budget, each) if budget >= (out + inputs) * each else None,
    ),
    "compression.fixed_point": ("compression.requantization.fixed_point", _fixed_point),
    "compression.lora_merge": ("compression.low_rank.LoRALinear", _lora_merge),
    "compression.bits_needed": ("compression.rounding.uniform_error", _bits_needed),
    "compression.file_bytes": ("compression.packing.bytes_of", _file_bytes),
    "data_parallel.compression_bytes": ("data_parallel.compression", _compression_bytes),
    "model_parallel.own_heads": ("model_parallel.shards.shard_state", _own_heads),
    "compression.draft_token": ("compression.speculative", _draft_token),
    "compression.drafts_to_make": ("compression.speculative.expected_speedup", _drafts_to_make),
}
