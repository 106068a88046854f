"""Exercises on the work of ZeRO: cutting, stepping and clipping in shards, with ranks as members of a list."""

import math

from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "18_zero_and_deepspeed"


def pieces_of_rank(sizes, ranks, rank):
    """The overlap of every parameter with the shard."""
    length = math.ceil(sum(sizes) / ranks)
    begin, end = rank * length, (rank + 1) * length
    found, offset = [], 0
    for index, size in enumerate(sizes):
        start, stop = max(begin, offset), min(end, offset + size)
        if start < stop:
            found.append((index, start - offset, stop - offset))
        offset += size
    return found


def _pieces(sizes, begin, end, relative=True, empty=False):
    found, offset = [], 0
    for index, size in enumerate(sizes):
        start, stop = max(begin, offset), min(end, offset + size)
        if start < stop or (empty and start == stop):
            found.append((index, start - offset, stop - offset) if relative else (index, start, stop))
        offset += size
    return found


def _rounded_down(sizes, ranks, rank):
    length = sum(sizes) // ranks
    return _pieces(sizes, rank * length, sum(sizes) if rank == ranks - 1 else (rank + 1) * length)


def _whole_parameters(sizes, ranks, rank):
    length, offset, found = math.ceil(sum(sizes) / ranks), 0, []
    for index, size in enumerate(sizes):
        if rank * length <= offset < (rank + 1) * length and size:
            found.append((index, 0, size))
        offset += size
    return found


def _padded(sizes, ranks):
    return math.ceil(sum(sizes) / ranks)


PIECES_OF_RANK = Exercise(
    id="zero.pieces_of_rank",
    notebook=NOTEBOOK,
    statement=(
        "Parameters with `sizes` elements lie one after the other in a vector, which is padded at its end so that it "
        "can be cut into `ranks` shards of the same length (the least that will do). Return what lies in the shard of "
        "`rank`: a list of (index of the parameter, first element, one after the last), counted inside that parameter, "
        "without empty ones. A shard of nothing but padding is []."
    ),
    difficulty=3,
    minutes=12,
    hints=(
        "The shard covers elements rank · length to (rank + 1) · length of the vector, with length = ⌈total / ranks⌉. "
        "Walk through the parameters with a running offset and ask of each: where do the two intervals overlap?",
        "`start = max(begin, offset)`, `stop = min(end, offset + size)`; if start < stop, the piece is "
        "(index, start − offset, stop − offset).",
    ),
    solution=pieces_of_rank,
    wrong=(
        WrongAnswer(
            "places in the vector",
            lambda sizes, ranks, rank: _pieces(
                sizes, rank * _padded(sizes, ranks), (rank + 1) * _padded(sizes, ranks), relative=False
            ),
            "Your numbers count from the beginning of the vector. Subtract where the parameter begins.",
        ),
        WrongAnswer(
            "rounded down",
            _rounded_down,
            "You rounded the length of a shard down and gave the last rank the rest: shards are then not equally long, "
            "and collectives need them equal. Round up; the padding is at the end.",
        ),
        WrongAnswer(
            "whole parameters",
            _whole_parameters,
            "You gave every parameter to the rank in whose shard it begins. A parameter may lie in two shards or more: "
            "that is how shards come out equal.",
        ),
        WrongAnswer(
            "empty pieces",
            lambda sizes, ranks, rank: _pieces(
                sizes, rank * _padded(sizes, ranks), (rank + 1) * _padded(sizes, ranks), empty=True
            ),
            "There are pieces without elements in your list, where a parameter ends just where a shard begins.",
        ),
        WrongAnswer(
            "padding in front",
            lambda sizes, ranks, rank: _pieces(
                sizes,
                sum(sizes) - (ranks - rank) * _padded(sizes, ranks),
                sum(sizes) - (ranks - rank - 1) * _padded(sizes, ranks),
            ),
            "You put the padding in front. It is at the end of the vector: rank 0 begins with the first element.",
        ),
    ),
    cases=lambda draw: [
        ([6, 2], 3, 0),
        ([6, 2], 3, 2),
        ([4, 4], 2, 1),
        ([1], 4, 3),
        ([5, 5, 5], 4, 1),
        ([10], 3, 1),
        *(([int(n) for n in draw.integers(1, 9, 5)], 4, rank) for rank in (1, 2, 3)),
        ([int(n) for n in draw.integers(3, 9, 3)] + [1], 5, int(draw.integers(1, 5))),
    ],
)


def sharded_step(weights, gradients, momenta, lr, momentum):
    """Mean of the gradients, a step on each shard by its owner, and all shards together again."""
    ranks = len(gradients)
    mean = torch.stack(gradients).mean(0).chunk(ranks)
    new = [momentum * old + own for old, own in zip(momenta, mean, strict=True)]
    shards = [w - lr * v for w, v in zip(weights.chunk(ranks), new, strict=True)]
    return torch.cat(shards), new


def _stepped(weights, gradients, momenta, lr, momentum, *, total=None, kept=None):
    """A step with another gradient for each shard, or other velocities to keep."""
    ranks = len(gradients)
    parts = total if total is not None else torch.stack(gradients).mean(0).chunk(ranks)
    new = [momentum * old + own for old, own in zip(momenta, parts, strict=True)]
    out = torch.cat([w - lr * v for w, v in zip(weights.chunk(ranks), new, strict=True)])
    return out, list(momenta) if kept == "old" else new


def _only_own(weights, gradients, momenta, lr, momentum):
    parts = [gradient.chunk(len(gradients))[rank] for rank, gradient in enumerate(gradients)]
    return _stepped(weights, gradients, momenta, lr, momentum, total=parts)


def _summed(weights, gradients, momenta, lr, momentum):
    parts = torch.stack(gradients).sum(0).chunk(len(gradients))
    return _stepped(weights, gradients, momenta, lr, momentum, total=parts)


def _backwards(weights, gradients, momenta, lr, momentum):
    out, new = sharded_step(weights, gradients, momenta, lr, momentum)
    return torch.cat(out.chunk(len(gradients))[::-1]), new


def _no_momentum(weights, gradients, momenta, lr, momentum):
    return _stepped(weights, gradients, [torch.zeros_like(m) for m in momenta], lr, momentum)


def _case(draw, ranks, length):
    weights = torch.from_numpy(draw.normal(size=ranks * length))
    gradients = [torch.from_numpy(draw.normal(size=ranks * length)) for _ in range(ranks)]
    momenta = [torch.from_numpy(draw.normal(size=length)) for _ in range(ranks)]
    return weights, gradients, momenta, 0.1, 0.9


SHARDED_STEP = Exercise(
    id="zero.sharded_step",
    notebook=NOTEBOOK,
    statement=(
        "One step of ZeRO-1 with SGD and momentum, ranks being places in lists. `weights` (n · length,) are on every "
        "rank; `gradients[r]` (n · length,) is what rank r computed; `momenta[r]` (length,) is the velocity that rank "
        "r keeps of its shard. The owner of shard r sets v ← momentum · v + mean gradient, and w ← w − lr · v. Return "
        "(new weights (n · length,), list of the n new velocities); change nothing in place."
    ),
    difficulty=2,
    minutes=10,
    hints=(
        "Reduce-scatter: each owner gets the mean over ranks of its part of the gradient. Then it takes its step on a "
        "vector of `length` numbers. All-gather: the parts in the order of the ranks.",
        "`torch.stack(gradients).mean(0).chunk(n)` are the parts; zip them with `weights.chunk(n)` and `momenta`, and "
        "`torch.cat` the new parts.",
    ),
    solution=sharded_step,
    wrong=(
        WrongAnswer(
            "summed",
            _summed,
            "You added the gradients up. The loss of the whole batch is the mean over the ranks, so its gradient is, "
            "too: divide by the number of ranks.",
        ),
        WrongAnswer(
            "each its own gradient",
            _only_own,
            "Every owner used only the gradient that it computed itself: that is its part of the batch. It needs the "
            "mean over all ranks for its part of the vector.",
        ),
        WrongAnswer(
            "no memory",
            _no_momentum,
            "You left out the velocities from before: that is SGD without momentum.",
        ),
        WrongAnswer(
            "velocities not kept",
            lambda *case: _stepped(*case, kept="old"),
            "The weights are right, but you give back the old velocities. The next step needs the new ones.",
        ),
        WrongAnswer(
            "gathered in another order",
            _backwards,
            "The parts are right and in the wrong order: rank 0 owns the beginning of the vector.",
        ),
    ),
    cases=lambda draw: [_case(draw, 2, 1), _case(draw, 1, 3), _case(draw, 3, 2), _case(draw, 4, 3), _case(draw, 2, 4)],
)


def clip_shards(shards, most):
    """One norm for all shards: the root of the sum of all squares."""
    norm = sum(shard.square().sum() for shard in shards).sqrt()
    return [shard * min(1.0, most / float(norm)) if norm > 0 else shard for shard in shards]


def _scaled(shards, most, norms, limit=1.0):
    return [s * min(limit, most / float(n)) if n > 0 else s for s, n in zip(shards, norms, strict=True)]


def _norm(shards):
    return sum(shard.square().sum() for shard in shards).sqrt()


CLIP_SHARDS = Exercise(
    id="zero.clip_shards",
    notebook=NOTEBOOK,
    statement=(
        "Clip by the global norm when no rank has the whole gradient: `shards[r]` (length,) is the part of rank r. If "
        "the norm of the whole gradient is more than `most`, scale everything so that it is `most`; else leave it "
        "alone, zeros too. Return the list of the shards. Only one number may be summed over the ranks."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "Which number of each shard can be added over the ranks, so that every rank knows the norm of the whole?",
        "`sum(shard.square().sum() for shard in shards)` is the squared norm: take the root, and multiply every shard "
        "by min(1, most / norm).",
    ),
    solution=clip_shards,
    wrong=(
        WrongAnswer(
            "each by its own norm",
            lambda shards, most: _scaled(shards, most, [shard.norm() for shard in shards]),
            "Every shard was clipped by its own norm. Shards are then scaled differently, so the whole gradient "
            "changes its direction, and its norm can still be more than `most`.",
        ),
        WrongAnswer(
            "norms added",
            lambda shards, most: _scaled(shards, most, [sum(shard.norm() for shard in shards)] * len(shards)),
            "You added norms. Squares can be added, norms cannot: the norm of (3, 4) is 5, not 7.",
        ),
        WrongAnswer(
            "no root",
            lambda shards, most: _scaled(shards, most, [_norm(shards) ** 2] * len(shards)),
            "You divided by the squared norm: take the root after adding up.",
        ),
        WrongAnswer(
            "always scaled",
            lambda shards, most: _scaled(shards, most, [_norm(shards)] * len(shards), limit=math.inf),
            "Gradients with a small norm were blown up to `most`. Clipping only ever makes them smaller.",
        ),
        WrongAnswer(
            "mean of squares",
            lambda shards, most: _scaled(shards, most, [_norm(shards) / math.sqrt(len(shards))] * len(shards)),
            "You averaged the squares over the ranks, as gradients are averaged. They belong to different elements of "
            "one vector here: add them.",
        ),
        WrongAnswer(
            "element by element",
            lambda shards, most: [shard.clamp(-most, most) for shard in shards],
            "You clipped every element by itself, which changes the direction. Scale all of them by one factor.",
        ),
    ),
    cases=lambda draw: [
        ([torch.tensor([3.0, 0.0]).double(), torch.tensor([0.0, 4.0]).double()], 1.0),
        ([torch.zeros(3).double(), torch.zeros(3).double()], 1.0),
        ([torch.tensor([0.6, 0.0]).double(), torch.tensor([0.0, 0.8]).double() / 2], 0.5),
        ([torch.from_numpy(draw.normal(size=4))], 0.5),
        ([torch.from_numpy(0.01 * draw.normal(size=3)) for _ in range(3)], 1.0),
        *(([torch.from_numpy(draw.normal(size=5) * 10**r) for r in range(n)], 0.7) for n in (2, 4)),
    ],
)
