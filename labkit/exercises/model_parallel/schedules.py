"""Exercises on pipeline schedules: the order on one rank, and what it holds."""

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "17_model_parallel"


def _in_turn(micro_batches, warmup):
    warmup = min(warmup, micro_batches)
    order = [("F", i) for i in range(warmup)]
    for i in range(micro_batches):
        if warmup + i < micro_batches:
            order.append(("F", warmup + i))
        order.append(("B", i))
    return order


def one_f_one_b(rank, ranks, micro_batches):
    """First as many forward passes as ranks stand behind, then one of each; backward passes are left over."""
    warmup = min(ranks - rank - 1, micro_batches)
    order = [("F", i) for i in range(warmup)]
    for i in range(micro_batches):
        if warmup + i < micro_batches:
            order.append(("F", warmup + i))
        order.append(("B", i))
    return order


def _gpipe(rank, ranks, micro_batches):
    return [(kind, i) for kind in "FB" for i in range(micro_batches)]


def _no_check_for_the_end(rank, ranks, micro_batches):
    warmup = ranks - rank - 1
    order = [("F", i) for i in range(warmup)]
    for i in range(micro_batches - warmup):
        order += [("F", warmup + i), ("B", i)]
    return order + [("B", i) for i in range(max(0, micro_batches - warmup), micro_batches)]


def _drain_forgotten(rank, ranks, micro_batches):
    order = one_f_one_b(rank, ranks, micro_batches)
    last = max(place for place, (kind, _) in enumerate(order) if kind == "F")
    return order[: last + 2]


ONE_F_ONE_B = Exercise(
    id="model_parallel.one_f_one_b",
    notebook=NOTEBOOK,
    statement=(
        "What rank `rank` (from 0) of `ranks` does under 1F1B, as a list of ('F', i) and ('B', i) with i from 0 to "
        "`micro_batches` − 1: before its first B as many F as there are ranks behind it, then F and B in turn, at last "
        "the B that are left. There may be fewer micro-batches than ranks."
    ),
    difficulty=2,
    minutes=9,
    hints=(
        "The last rank has nobody behind it: F, B, F, B. Every rank before it does one more F first, because its "
        "first gradient comes back later.",
        "`warmup = min(ranks - rank - 1, micro_batches)`. Then for each i one B of i, and before it F of warmup + i "
        "where there is such a micro-batch.",
    ),
    solution=one_f_one_b,
    wrong=(
        WrongAnswer(
            "all forward first",
            _gpipe,
            "That is GPipe: all F, then all B. The rank holds the activations of every micro-batch; 1F1B begins with B "
            "as soon as the first gradient can be there.",
        ),
        WrongAnswer(
            "warmup counts itself",
            lambda rank, ranks, micro_batches: _in_turn(micro_batches, ranks - rank),
            "One F too many at the start: `ranks - rank` counts the rank itself. Every rank would hold one more "
            "micro-batch than it has to.",
        ),
        WrongAnswer(
            "the wrong end",
            lambda rank, ranks, micro_batches: _in_turn(micro_batches, rank),
            "The warm-up is the wrong way round: rank 0 waits longest for its first gradient and must do the most F "
            "before it. Your order is a deadlock: rank 0 waits for a gradient that rank 1 cannot make yet.",
        ),
        WrongAnswer(
            "the same for all",
            lambda rank, ranks, micro_batches: _in_turn(micro_batches, ranks - 1),
            "Every rank warms up with `ranks - 1` forward passes. The later a rank stands, the earlier its gradient "
            "comes: the last one needs no warm-up and holds one micro-batch.",
        ),
        WrongAnswer(
            "more warm-up than micro-batches",
            _no_check_for_the_end,
            "With fewer micro-batches than ranks behind, you name micro-batches that do not exist: the warm-up is at "
            "most `micro_batches` long.",
        ),
        WrongAnswer(
            "no drain",
            _drain_forgotten,
            "You stop after the last F and its B. The micro-batches of the warm-up are still to be driven backward.",
        ),
    ),
    cases=lambda draw: [
        (1, 2, 3),
        (0, 2, 3),
        (0, 4, 2),
        (2, 4, 8),
        (0, 1, 2),
        *((int(draw.integers(0, p)), p, int(draw.integers(1, 9))) for p in (2, 3, 5)),
    ],
)


def most_held(row):
    """Count up at F, down where the last that needs the activations is done: at W if there is one, else at B."""
    frees = "W" if any(kind == "W" for kind, _ in row) else "B"
    held = most = 0
    for kind, _ in row:
        held += (kind == "F") - (kind == frees)
        most = max(most, held)
    return most


def _freed_at(row, kinds):
    held = most = 0
    for kind, _ in row:
        held += (kind == "F") - (kind in kinds)
        most = max(most, held)
    return most


def _looked_at_backward(row):
    frees = "W" if any(kind == "W" for kind, _ in row) else "B"
    held = most = 0
    for kind, _ in row:
        held += (kind == "F") - (kind == frees)
        most = max(most, held if kind == frees else 0)
    return most


def _row(draw, micro_batches, weights):
    row, waiting, open_ = [], [], []
    forward = list(range(micro_batches))
    while forward or open_ or waiting:
        choices = ["F"] * bool(forward) + ["B"] * bool(open_) + ["W"] * bool(waiting)
        kind = str(draw.choice(choices))
        source, target = {"F": (forward, open_), "B": (open_, waiting if weights else []), "W": (waiting, [])}[kind]
        i = source.pop(0)
        target.append(i)
        row.append((kind, i))
    return row


HELD = Exercise(
    id="model_parallel.held",
    notebook=NOTEBOOK,
    statement=(
        "How many micro-batches' activations does a rank hold at most? `row` is what it does, a list of (kind, i). "
        "They are held from F of a micro-batch until its B, and, if the schedule has W, until its W, which needs them "
        "as well."
    ),
    difficulty=1,
    minutes=6,
    hints=(
        "Walk through the row with a counter, up at F and down when nobody needs the activations any more. The answer "
        "is the highest it ever stood.",
        "`frees = 'W' if any(kind == 'W' for kind, _ in row) else 'B'`; then `held += (kind == 'F') - (kind == frees)` "
        "and the maximum of `held`.",
    ),
    solution=most_held,
    wrong=(
        WrongAnswer(
            "every forward pass",
            lambda row: sum(kind == "F" for kind, _ in row),
            "You counted all F of the row. Activations of a micro-batch can go when its backward pass is done; only "
            "GPipe ever has all of them.",
        ),
        WrongAnswer(
            "freed at B",
            lambda row: _freed_at(row, "B"),
            "You let the activations go at B also where the schedule has W. W multiplies the gradients with the very "
            "inputs that F kept: they stay until W.",
        ),
        WrongAnswer(
            "freed twice",
            lambda row: _freed_at(row, "BW"),
            "You count down at B and again at W: the same activations would be freed twice.",
        ),
        WrongAnswer(
            "at the end",
            lambda row: sum((kind == "F") - (kind == "B") for kind, _ in row),
            "You gave what is held at the end, which is 0 in every schedule. Asked is the most at any time.",
        ),
        WrongAnswer(
            "after the freeing",
            _looked_at_backward,
            "You looked at the counter only after something was freed. It is highest right after an F.",
        ),
    ),
    cases=lambda draw: [
        ([("F", 0), ("B", 0)],),
        ([("F", 0), ("F", 1), ("B", 0), ("B", 1)],),
        ([("F", 0), ("B", 0), ("F", 1), ("B", 1), ("W", 0), ("W", 1)],),
        ([("F", 0), ("B", 0), ("W", 0), ("F", 1), ("F", 2), ("B", 1), ("B", 2), ("W", 1), ("W", 2)],),
        *((_row(draw, m, weights),) for m, weights in ((4, False), (5, True), (6, False), (6, True))),
    ],
)
