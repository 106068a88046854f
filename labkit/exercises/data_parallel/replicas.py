"""Exercises on data parallelism: whose examples, whose weight, and which gradients travel together."""

from labkit.exercises.attention.softmax import double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "16_data_parallel"


def big_batch_gradient(gradients, counts):
    """Each rank's mean, times the targets that it is the mean of; divided by all targets."""
    return sum(gradient * count for gradient, count in zip(gradients, counts, strict=True)) / sum(counts)


def _largest(gradients, counts):
    return gradients[max(range(len(counts)), key=lambda rank: counts[rank])]


def _gradients(draw, counts):
    return [random_tensor(draw, 3) for _ in counts], counts


GRADIENT_OF_ALL = Exercise(
    id="data_parallel.big_batch_gradient",
    notebook=NOTEBOOK,
    statement=(
        "`gradients[r]` is the gradient of rank r's loss, which is the mean over its `counts[r]` targets. Return the "
        "gradient of the mean over the targets of all ranks together. Ranks may have different numbers of targets."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "Try two ranks with 1 and 3 targets whose gradients are 0 and 4. Which number would one process have found?",
        "A mean times its count is a sum. Add those sums of all ranks, and divide by the number of all targets.",
    ),
    solution=big_batch_gradient,
    wrong=(
        WrongAnswer(
            "plain mean",
            lambda gradients, counts: sum(gradients) / len(gradients),
            "You averaged over ranks. A target of a rank with few of them then counts more than one of a rank with "
            "many: weigh by `counts`.",
        ),
        WrongAnswer(
            "sum",
            lambda gradients, counts: sum(gradients),
            "That is the sum that an all-reduce gives, n times too long: the learning rate would grow with the ranks.",
        ),
        WrongAnswer(
            "not divided",
            lambda gradients, counts: sum(g * c for g, c in zip(gradients, counts, strict=True)),
            "The weights are right; what is missing is the division by the number of all targets.",
        ),
        WrongAnswer(
            "divided by ranks",
            lambda gradients, counts: sum(g * c for g, c in zip(gradients, counts, strict=True)) / len(counts),
            "Weighted by targets and divided by ranks: divide by the number of all targets instead.",
        ),
        WrongAnswer(
            "the largest rank's",
            _largest,
            "That is the gradient of one rank alone; what the others saw is lost.",
        ),
    ),
    cases=lambda draw: [
        ([double([0.0]), double([4.0])], [1, 3]),
        ([double([1.0, 2.0])], [5]),
        ([double([2.0]), double([6.0])], [4, 4]),
        ([double([0.0]), double([8.0])], [0, 2]),
        *(_gradients(draw, [int(c) for c in draw.integers(1, 9, world)]) for world in (2, 3, 4)),
    ],
)


def fill_buckets(sizes, limit):
    """From the last parameter to the first; a new bucket where the next one does not fit any more."""
    buckets, room = [], 0
    for parameter in reversed(range(len(sizes))):
        if not buckets or sizes[parameter] > room:
            buckets.append([])
            room = limit
        buckets[-1].append(parameter)
        room -= sizes[parameter]
    return buckets


def _from_the_first(sizes, limit):
    mirrored = fill_buckets(sizes[::-1], limit)
    return [[len(sizes) - 1 - parameter for parameter in bucket] for bucket in mirrored]


def _until_full(sizes, limit, full):
    buckets, used = [[]], 0
    for parameter in reversed(range(len(sizes))):
        buckets[-1].append(parameter)
        used += sizes[parameter]
        if full(used, limit):
            buckets.append([])
            used = 0
    return [bucket for bucket in buckets if bucket]


def _too_early(sizes, limit):
    buckets, used = [], limit
    for parameter in reversed(range(len(sizes))):
        if not buckets or used + sizes[parameter] >= limit:
            buckets.append([])
            used = 0
        buckets[-1].append(parameter)
        used += sizes[parameter]
    return buckets


FILL_BUCKETS = Exercise(
    id="data_parallel.fill_buckets",
    notebook=NOTEBOOK,
    statement=(
        "`sizes` are the bytes of a model's parameters in the order of its layers. Return the buckets: lists of the "
        "parameters' numbers, in the order in which the backward pass makes their gradients, the last layer first. A "
        "bucket holds at most `limit` bytes; a parameter that is larger than that has a bucket for itself. Begin a "
        "new "
        "bucket only where the next parameter does not fit."
    ),
    difficulty=2,
    minutes=8,
    hints=(
        "Go through the numbers backwards, and keep in mind how much room the last bucket has.",
        "If the size of the next parameter is larger than the room, append a new list and set the room to `limit`; "
        "then "
        "append the number and subtract its size. The very first parameter always needs a new list.",
    ),
    solution=fill_buckets,
    wrong=(
        WrongAnswer(
            "from the first layer",
            _from_the_first,
            "Your first bucket holds the first layer. Its gradient is made last, so nothing could be sent before the "
            "backward pass is over. Begin with the last layer.",
        ),
        WrongAnswer(
            "over the limit",
            lambda sizes, limit: _until_full(sizes, limit, lambda used, most: used >= most),
            "You close a bucket when it is full, so its last parameter may hang over the edge. Ask before you put it "
            "in.",
        ),
        WrongAnswer(
            "the last bucket is lost",
            lambda sizes, limit: fill_buckets(sizes, limit)[:-1],
            "The last bucket is missing: it is not full when the loop ends, and has to be sent all the same. Its "
            "gradients would differ from rank to rank.",
        ),
        WrongAnswer(
            "closed too early",
            _too_early,
            "A parameter that fills a bucket exactly still fits: compare with >, not with >=.",
        ),
        WrongAnswer(
            "one for each",
            lambda sizes, limit: [[parameter] for parameter in reversed(range(len(sizes)))],
            "Every parameter has a bucket for itself. Many small messages cost many latencies: fill the buckets.",
        ),
    ),
    cases=lambda draw: [
        ([4], 10),
        ([], 10),
        ([5, 5, 5], 10),
        ([4, 4, 4, 4], 10),
        ([3, 30, 3, 3], 10),
        *(([int(s) for s in draw.integers(1, 9, count)], 10) for count in (5, 7, 9)),
    ],
)


def my_indices(order, batch, rank, world):
    """Cut the order into batches, and take every `world`-th index of each."""
    return [order[start : start + batch][rank::world] for start in range(0, len(order), batch)]


def _blocks(order, batch, rank, world):
    size = -(-len(order) // world)
    mine = order[rank * size : (rank + 1) * size]
    return [mine[start : start + batch] for start in range(0, len(mine), batch)]


def _without_rest(order, batch, rank, world):
    return [part for part in my_indices(order, batch, rank, world) if len(part) == -(-batch // world)]


def _order(draw, n):
    return [int(i) for i in draw.permutation(n)]


MY_INDICES = Exercise(
    id="data_parallel.my_indices",
    notebook=NOTEBOOK,
    statement=(
        "All ranks have the same shuffled list `order` of the examples. One process would take them `batch` at a "
        "time. "
        "Return rank `rank`'s part of these batches, a list of lists: of every batch the places rank, rank + world, "
        "rank + 2·world and so on. The last batch may be smaller, and a part may be empty."
    ),
    difficulty=1,
    minutes=5,
    hints=(
        "Two cuts: first into batches, as one process would, then each batch by ranks.",
        "`order[start : start + batch][rank::world]` for every start in `range(0, len(order), batch)`.",
    ),
    solution=my_indices,
    wrong=(
        WrongAnswer(
            "the same for all",
            lambda order, batch, rank, world: [order[s : s + batch] for s in range(0, len(order), batch)],
            "Every rank would draw the whole batch: all compute the same gradient, and n ranks learn no more than one.",
        ),
        WrongAnswer(
            "one block for each",
            _blocks,
            "You cut the list into one block for each rank and that into batches of `batch`. All ranks together would "
            "use other, larger batches than one process: cut into batches first.",
        ),
        WrongAnswer(
            "batch for each rank",
            lambda order, batch, rank, world: [
                order[rank::world][start : start + batch] for start in range(0, len(order[rank::world]), batch)
            ],
            "Each rank takes `batch` examples at a time, so the batch of all is `world` times as large, and the "
            "learning "
            "rate no longer fits. Here `batch` counts all ranks together.",
        ),
        WrongAnswer(
            "from rank 1",
            lambda order, batch, rank, world: [
                order[start : start + batch][rank + 1 :: world] for start in range(0, len(order), batch)
            ],
            "Ranks count from 0: with `rank + 1` the first place of every batch belongs to nobody.",
        ),
        WrongAnswer(
            "the rest is left out",
            _without_rest,
            "You dropped parts that are not full. Other ranks wait for this one in every batch: give a short part, "
            "or an "
            "empty one.",
        ),
    ),
    cases=lambda draw: [
        ([0, 1, 2, 3, 4], 4, 1, 2),
        ([0, 1, 2, 3, 4], 4, 0, 2),
        ([7, 5, 6], 3, 0, 1),
        ([2, 0, 1], 2, 1, 3),
        *((_order(draw, n), 6, rank, 3) for n, rank in ((12, 0), (13, 1), (17, 2))),
    ],
)
