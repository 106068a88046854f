"""Exercises on DeepSpeed: the sizes in its settings, and the weights in its checkpoints."""

from labkit.exercises.zero.spans import SPAN_F1, SUBWORD_LABELS
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
__all__ = ["BATCH_SETTINGS", "JOIN_SPLIT", "SPAN_F1", "SUBWORD_LABELS"]

NOTEBOOK = "18_zero_and_deepspeed"


def batch_settings(batch, ranks, fits):
    """The largest micro-batch that fits and divides, so that the product of the three is the batch."""
    if batch % ranks:
        return None
    own = batch // ranks
    micro = max(size for size in range(1, min(fits, own) + 1) if own % size == 0)
    return micro, own // micro


def _rounded_up(batch, ranks, fits):
    if batch % ranks:
        return None
    micro = min(fits, batch // ranks)
    return micro, -(-batch // (ranks * micro))


def _without_ranks(batch, ranks, fits):
    found = batch_settings(batch, 1, fits)
    return None if batch % ranks else found


def _smallest(batch, ranks, fits):
    return None if batch % ranks else (1, batch // ranks)


def _never_refused(batch, ranks, fits):
    return batch_settings(batch // ranks * ranks, ranks, fits) if batch >= ranks else None


BATCH_SETTINGS = Exercise(
    id="zero.batch_settings",
    notebook=NOTEBOOK,
    statement=(
        "DeepSpeed wants train_batch_size = micro-batch × accumulation × ranks, exactly. Given the `batch`, the number "
        "of `ranks` and how many sequences `fits` into one rank's memory at once, return (micro, accumulation) with "
        "the largest micro-batch possible; None if the batch cannot be cut evenly over the ranks."
    ),
    difficulty=1,
    minutes=6,
    hints=(
        "First the rank's own share of the batch. The micro-batch must divide that share and be at most `fits`.",
        "`own = batch // ranks`; try the sizes from `min(fits, own)` down until `own % size == 0`; accumulation is "
        "`own // size`.",
    ),
    solution=batch_settings,
    wrong=(
        WrongAnswer(
            "rounded up",
            _rounded_up,
            "You filled the memory and rounded the accumulation up. Then micro × accumulation × ranks is larger than "
            "the batch, and DeepSpeed refuses to start: the micro-batch must divide the rank's share.",
        ),
        WrongAnswer(
            "ranks forgotten",
            _without_ranks,
            "You cut the whole batch as if one rank saw all of it. Each rank sees batch / ranks sequences in a step.",
        ),
        WrongAnswer(
            "one at a time",
            _smallest,
            "A micro-batch of 1 always divides, but it keeps the device idle: take the largest one that fits.",
        ),
        WrongAnswer(
            "rest dropped",
            _never_refused,
            "You dropped the sequences that do not divide over the ranks. Nobody asked for fewer: return None.",
        ),
    ),
    cases=lambda draw: [
        (32, 2, 8),
        (24, 2, 5),
        (30, 4, 8),
        (7, 1, 3),
        (8, 2, 100),
        *((int(draw.integers(2, 12)) * 2, 2, int(draw.integers(2, 7))) for _ in range(4)),
        (int(draw.integers(3, 9)) * 3 + 1, 3, 4),
    ],
)


def join_split(shards, shapes):
    """The pieces of each weight, one from each rank, end to end; what is too much is padding."""
    start, weights = 0, []
    for rows, columns in shapes:
        size = rows * columns
        piece = -(-size // len(shards))
        whole = torch.cat([shard[start : start + piece] for shard in shards])
        weights.append(whole[:size].view(rows, columns))
        start += piece
    return weights


def _one_vector(shards, shapes):
    whole, start, weights = torch.cat(list(shards)), 0, []
    for rows, columns in shapes:
        weights.append(whole[start : start + rows * columns].view(rows, columns))
        start += rows * columns
    return weights


def _padding_first(shards, shapes):
    start, weights = 0, []
    for rows, columns in shapes:
        piece = -(-rows * columns // len(shards))
        whole = torch.cat([shard[start : start + piece] for shard in shards])
        weights.append(whole[len(whole) - rows * columns :].view(rows, columns))
        start += piece
    return weights


def _dealt(shards, shapes):
    start, weights = 0, []
    for rows, columns in shapes:
        piece = -(-rows * columns // len(shards))
        whole = torch.stack([shard[start : start + piece] for shard in shards], dim=1).flatten()
        weights.append(whole[: rows * columns].view(rows, columns))
        start += piece
    return weights


def _split(draw, ranks, shapes):
    shards = [[] for _ in range(ranks)]
    for rows, columns in shapes:
        flat = torch.from_numpy(draw.integers(1, 100, rows * columns)).double()
        piece = -(-rows * columns // ranks)
        padded = torch.cat([flat, flat.new_zeros(piece * ranks - len(flat))])
        for shard, part in zip(shards, padded.chunk(ranks), strict=True):
            shard.append(part)
    return [torch.cat(shard) for shard in shards], shapes


JOIN_SPLIT = Exercise(
    id="zero.join_split",
    notebook=NOTEBOOK,
    statement=(
        "A checkpoint of stage 3. Each weight was flattened, padded with zeros to a multiple of the number of ranks, "
        "and cut into one piece for each rank; a rank laid its pieces end to end, in the order of the weights. Given "
        "the vectors `shards`, one for each rank, and the `shapes` (rows, columns), return the list of weights."
    ),
    difficulty=3,
    minutes=10,
    hints=(
        "A weight of `size` numbers has a piece of ceil(size / ranks) in every shard, all at the same place.",
        "`torch.cat([shard[start : start + piece] for shard in shards])[:size].view(rows, columns)`, then "
        "`start += piece`.",
    ),
    solution=join_split,
    wrong=(
        WrongAnswer(
            "one vector",
            _one_vector,
            "You put the shards end to end and cut the weights out of that. So stages 1 and 2 are saved; in stage 3 "
            "every weight is split by itself, and rank 0 has a piece of each.",
        ),
        WrongAnswer(
            "padding first",
            _padding_first,
            "You kept the last numbers. The padding stands behind the last rank's piece: keep the first `size`.",
        ),
        WrongAnswer(
            "dealt like cards",
            _dealt,
            "You took one number from each rank in turn. A rank has neighbouring numbers: its piece is one run.",
        ),
        WrongAnswer(
            "ranks reversed",
            lambda shards, shapes: join_split(list(shards)[::-1], shapes),
            "The pieces are in the wrong order: rank 0 has the first numbers of each weight. Files sorted by name put "
            "rank 10 before rank 2; sort by number.",
        ),
    ),
    cases=lambda draw: [
        _split(draw, 2, [(2, 2), (1, 3)]),
        _split(draw, 1, [(2, 3)]),
        _split(draw, 4, [(1, 5), (3, 3), (1, 1)]),
        *(_split(draw, ranks, [(2, 3), (1, int(draw.integers(3, 8))), (3, 1)]) for ranks in (2, 3, 2)),
    ],
)
