"""Exercises on collectives: one step of a ring, and the seconds that all its steps take."""

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "16_data_parallel"


def ring_step(pieces, step):
    """All messages leave before any arrives: look at the old numbers, write the new ones."""
    world = len(pieces)
    after = [list(row) for row in pieces]
    for rank in range(world):
        right, chunk = (rank + 1) % world, (rank - step) % world
        after[right][chunk] = pieces[right][chunk] + pieces[rank][chunk]
    return after


def _ring(pieces, step, way=1, chunk_of=None, adds=True):
    world, after = len(pieces), [list(row) for row in pieces]
    for rank in range(world):
        other, chunk = (rank + way) % world, (rank - step if chunk_of is None else chunk_of(rank)) % world
        after[other][chunk] = pieces[other][chunk] * adds + pieces[rank][chunk]
    return after


def _one_after_the_other(pieces, step):
    world, pieces = len(pieces), [list(row) for row in pieces]
    for rank in range(world):
        pieces[(rank + 1) % world][(rank - step) % world] += pieces[rank][(rank - step) % world]
    return pieces


def _later_chunk(pieces, step):
    return _ring(pieces, step, chunk_of=lambda rank: rank + step)


def _moved(pieces, step):
    after = ring_step(pieces, step)
    for rank in range(len(pieces)):
        if len(pieces) > 1:
            after[rank][(rank - step) % len(pieces)] = 0
    return after


def _numbers(draw, world):
    return [[int(number) for number in row] for row in draw.integers(1, 90, (world, world))]


RING_STEP = Exercise(
    id="data_parallel.ring_step",
    notebook=NOTEBOOK,
    statement=(
        "One step of the first half of a ring all-reduce, for all n ranks at once. `pieces[r][c]` is what rank r has "
        "of "
        "chunk c. In step s (0, 1, …) rank r sends its chunk (r − s) mod n to the rank on its right, (r + 1) mod n, "
        "who "
        "adds it to its own. All send at the same time. Return the new pieces."
    ),
    difficulty=2,
    minutes=10,
    hints=(
        "Before you write anything, ask which numbers leave: those from before the step. A copy of the rows helps: "
        "read from the old ones, write into the copy.",
        "`after = [list(row) for row in pieces]`, and for each rank: `chunk = (rank - step) % world`, "
        "`after[(rank + 1) % world][chunk] += pieces[rank][chunk]`.",
    ),
    solution=ring_step,
    wrong=(
        WrongAnswer(
            "the other way round",
            lambda pieces, step: _ring(pieces, step, way=-1),
            "You sent to the left. The rank on the right is (r + 1) mod n.",
        ),
        WrongAnswer(
            "always its own chunk",
            lambda pieces, step: _ring(pieces, step, chunk_of=lambda rank: rank),
            "Rank r sends chunk r in every step, so the same number is added again and again. In the next step it "
            "must "
            "pass on the chunk that it has just received: (r − s) mod n.",
        ),
        WrongAnswer(
            "forwards",
            _later_chunk,
            "You send chunk r + s. What came last from the left is chunk r − s: that sum has to go on.",
        ),
        WrongAnswer(
            "overwritten",
            lambda pieces, step: _ring(pieces, step, adds=False),
            "The receiver's own number is gone. In this half of the all-reduce it is added to what arrives; only in "
            "the "
            "second half, the all-gather, whole sums replace what is there.",
        ),
        WrongAnswer(
            "moved",
            _moved,
            "The sender no longer has what it sent. Sending is copying: the old value stays in its buffer.",
        ),
    ),
    cases=lambda draw: [
        ([[1, 2], [10, 20]], 0),
        ([[1, 2, 3], [10, 20, 30], [100, 200, 300]], 0),
        ([[1, 2, 3], [10, 20, 30], [100, 200, 300]], 1),
        *((_numbers(draw, world), step) for world, step in ((3, 1), (4, 2), (5, 3))),
    ],
)


def ring_seconds(world, size, latency, bandwidth):
    """2 (n − 1) messages one after the other, each of an n-th of the bytes."""
    return 2 * (world - 1) * (latency + size / world / bandwidth)


ALL_REDUCE_SECONDS = Exercise(
    id="data_parallel.ring_seconds",
    notebook=NOTEBOOK,
    statement=(
        "How many seconds does a ring all-reduce of `size` bytes take on `world` ranks, when each message waits "
        "`latency` seconds and then passes at `bandwidth` bytes per second? In each of its steps all ranks send one "
        "chunk "
        "at the same time. It sums on every rank: reduce-scatter, then all-gather."
    ),
    difficulty=1,
    minutes=6,
    hints=(
        "Count the steps first: how many does a sum need to pass all ranks, and how many until everybody has it?",
        "world − 1 steps for each half. A message holds size / world bytes, so it takes "
        "latency + size / world / bandwidth seconds.",
    ),
    solution=ring_seconds,
    wrong=(
        WrongAnswer(
            "half of it",
            lambda world, size, latency, bandwidth: ring_seconds(world, size, latency, bandwidth) / 2,
            "That is the reduce-scatter alone: now every rank has the sum of one chunk. The all-gather takes as long "
            "again.",
        ),
        WrongAnswer(
            "whole tensors",
            lambda world, size, latency, bandwidth: 2 * (world - 1) * (latency + size / bandwidth),
            "Each step sends the whole tensor in your formula. In a ring a message is one chunk, an n-th of it; that "
            "is "
            "the whole point.",
        ),
        WrongAnswer(
            "one latency",
            lambda world, size, latency, bandwidth: (world > 1) * latency + 2 * (world - 1) / world * size / bandwidth,
            "The bytes are right, but every step waits for its own message: the latency comes 2 (n − 1) times. This "
            "is "
            "why a ring is slow for small tensors on many ranks.",
        ),
        WrongAnswer(
            "a step too many",
            lambda world, size, latency, bandwidth: 2 * world * (latency + size / world / bandwidth),
            "n steps for each half are one too many: a chunk begins at a rank that has its part already. With one "
            "rank "
            "nothing is sent at all.",
        ),
        WrongAnswer(
            "times the bandwidth",
            lambda world, size, latency, bandwidth: 2 * (world - 1) * (latency + size / world * bandwidth),
            "Bytes divided by bytes per second are seconds; you multiplied.",
        ),
    ),
    cases=lambda draw: [
        (1, 100.0, 1.0, 10.0),
        (2, 100.0, 1.0, 10.0),
        (4, 1000.0, 0.0, 10.0),
        (4, 0.0, 0.5, 10.0),
        *(
            (int(world), float(draw.integers(10, 99)), round(float(draw.random()), 2), float(draw.integers(2, 9)))
            for world in (3, 5, 16)
        ),
    ],
)
