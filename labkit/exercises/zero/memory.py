"""Exercises on the memory of one rank and on what it sends: sums that decide what a cluster can train."""

import math

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "18_zero_and_deepspeed"


def bytes_per_rank(parameters, ranks, stage):
    """2 + 2 + 12, each divided from its stage on."""
    weights = 2 * parameters / (ranks if stage >= 3 else 1)
    gradients = 2 * parameters / (ranks if stage >= 2 else 1)
    optimizer = 12 * parameters / (ranks if stage >= 1 else 1)
    return weights, gradients, optimizer


def _split_from(parameters, ranks, stage, stages, sizes=(2, 2, 12)):
    return tuple(size * parameters / (ranks if stage >= at else 1) for size, at in zip(sizes, stages, strict=True))


BYTES_PER_RANK = Exercise(
    id="zero.bytes_per_rank",
    notebook=NOTEBOOK,
    statement=(
        "What lies on one rank when a model of `parameters` numbers is trained with Adam in mixed precision on `ranks` "
        "ranks with ZeRO stage `stage` (0 to 3; 0 splits nothing)? Return three numbers of bytes: (weights, gradients, "
        "what the optimizer keeps). Weights and gradients are in half precision; the optimizer keeps a float32 copy of "
        "the weights and Adam's two averages. Do not round."
    ),
    difficulty=1,
    minutes=6,
    hints=(
        "First without ZeRO: 2 bytes for a weight, 2 for its gradient, and three float32 numbers for the optimizer. "
        "Each stage then splits one more of the three.",
        "Stage 1 splits the 12 bytes of the optimizer, stage 2 also the gradients, stage 3 also the weights: "
        "`12 * parameters / (ranks if stage >= 1 else 1)`, and so on.",
    ),
    solution=bytes_per_rank,
    wrong=(
        WrongAnswer(
            "no float32 copy",
            lambda parameters, ranks, stage: _split_from(parameters, ranks, stage, (3, 2, 1), (2, 2, 8)),
            "You gave the optimizer 8 bytes: Adam's two averages. In mixed precision it also keeps the weights in "
            "float32, because small steps vanish in half precision: 12.",
        ),
        WrongAnswer(
            "everything split at once",
            lambda parameters, ranks, stage: _split_from(parameters, ranks, stage, (1, 1, 1)),
            "You divided all three by the number of ranks from stage 1 on. Stage 1 splits only what the optimizer "
            "keeps; every rank still has all weights and gradients.",
        ),
        WrongAnswer(
            "weights before gradients",
            lambda parameters, ranks, stage: _split_from(parameters, ranks, stage, (2, 3, 1)),
            "Stage 2 splits the gradients, stage 3 the weights; you have it the other way round. (Gradients are easier "
            "to give away: each is needed once, by its owner.)",
        ),
        WrongAnswer(
            "nothing split",
            lambda parameters, ranks, stage: _split_from(parameters, 1, stage, (3, 2, 1)),
            "You left out the number of ranks: these are the 16 bytes per parameter of plain data parallelism.",
        ),
        WrongAnswer(
            "all in float32",
            lambda parameters, ranks, stage: _split_from(parameters, ranks, stage, (3, 2, 1), (4, 4, 8)),
            "That is training in float32: 4 + 4 + 8. In mixed precision the model's weights and gradients take 2 bytes "
            "each, and the optimizer 12.",
        ),
    ),
    cases=lambda draw: [
        (1000, 1, 3),
        (8, 4, 0),
        *((int(draw.integers(1, 10**6)), int(draw.integers(2, 99)), stage) for stage in (1, 2, 3, 0)),
    ],
)


def ranks_needed(parameters, memory, stage):
    """Solve (what stays whole) + (what is split) / n ≤ memory for n."""
    whole = {0: 16, 1: 4, 2: 2, 3: 0}[stage] * parameters
    split = 16 * parameters - whole
    if split == 0:
        return 1 if whole <= memory else None
    if whole >= memory:
        return None
    return max(1, math.ceil(split / (memory - whole)))


def _ranks(parameters, memory, stage, whole, total=16, to_whole=math.ceil, never=None):
    kept = whole[stage] * parameters
    split = total * parameters - kept
    if kept >= memory and not (split == 0 and kept <= memory):
        return never
    return max(1, to_whole(split / (memory - kept))) if split else 1


_WHOLE = {0: 16, 1: 4, 2: 2, 3: 0}
RANKS_NEEDED = Exercise(
    id="zero.ranks_needed",
    notebook=NOTEBOOK,
    statement=(
        "The least number of ranks on which the model states of `parameters` numbers (Adam in mixed precision, 16 "
        "bytes each) fit into `memory` bytes per rank with ZeRO stage `stage` (0 to 3). Return an int, or None if no "
        "number of ranks will do. Exactly full counts as fitting."
    ),
    difficulty=2,
    minutes=8,
    hints=(
        "Two parts: what every rank has whole, however many there are, and what is divided by n. Only the second gets "
        "smaller.",
        "Whole are 16, 4, 2 and 0 bytes per parameter in stages 0 to 3. If that alone does not leave room, the answer "
        "is None; else n = ⌈split / (memory − whole)⌉.",
    ),
    solution=ranks_needed,
    wrong=(
        WrongAnswer(
            "everything divides",
            lambda parameters, memory, stage: max(1, math.ceil(16 * parameters / memory)),
            "You divided all 16 bytes by n, as only stage 3 does. In stage 1 every rank keeps 4 bytes of each "
            "parameter, in stage 2 it keeps 2, and in stage 0 all of them.",
        ),
        WrongAnswer(
            "rounded down",
            lambda parameters, memory, stage: _ranks(parameters, memory, stage, _WHOLE, to_whole=math.floor),
            "You rounded down: on so few ranks it does not quite fit. Round up.",
        ),
        WrongAnswer(
            "gradients whole in stage 2",
            lambda parameters, memory, stage: _ranks(parameters, memory, stage, {0: 16, 1: 4, 2: 4, 3: 0}),
            "You kept the gradients whole in stage 2. Splitting them is just what stage 2 adds: 2 bytes stay.",
        ),
        WrongAnswer(
            "zero for never",
            lambda parameters, memory, stage: _ranks(parameters, memory, stage, _WHOLE, never=0),
            "Where no number of ranks will do you return 0. The answer is None: a 0 would be taken "
            "for a number of ranks.",
        ),
        WrongAnswer(
            "without the float32 copy",
            lambda parameters, memory, stage: _ranks(parameters, memory, stage, {0: 12, 1: 4, 2: 2, 3: 0}, total=12),
            "You counted 12 bytes per parameter. The optimizer's float32 copy of the weights makes it 16.",
        ),
    ),
    cases=lambda draw: [
        (10, 160, 0),
        (10, 159, 0),
        (10, 40, 1),
        (10, 41, 1),
        (10, 20, 2),
        (10, 45, 2),
        (10, 40, 3),
        (10, 1000, 3),
        *((size := int(draw.integers(100, 1000)), int(size * draw.uniform(4.1, 11)), stage) for stage in (1, 2, 3, 2)),
    ],
)


def sent_per_step(parameters, ranks, stage, micro_batches):
    """Gradients go out once in stages 0 and 1, after every backward pass in 2 and 3; weights come when needed."""
    once = parameters * (ranks - 1) / ranks
    if stage < 2:
        return 2 * once
    if stage == 2:
        return (micro_batches + 1) * once
    return 3 * micro_batches * once


def _times(parameters, ranks, times):
    return times * parameters * (ranks - 1) / ranks


SENT_PER_STEP = Exercise(
    id="zero.sent_per_step",
    notebook=NOTEBOOK,
    statement=(
        "How many numbers does one rank send in a step of `micro_batches` backward passes? A reduce-scatter or an "
        "all-gather of P numbers sends (n − 1)/n · P. Stages 0 and 1 reduce gradients once a step and then gather "
        "(gradients or weights) once. Stage 2 cannot keep gradients, so it reduces after every backward pass, and "
        "gathers weights once. Stage 3 gathers the weights for every forward and every backward pass, reduces after "
        "every backward pass, and gathers nothing after the step. Do not round."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "Count for each stage how many reduce-scatters and how many all-gathers there are in a step; every one costs "
        "the same.",
        "With m micro-batches: 2 in stages 0 and 1, m + 1 in stage 2, 3 m in stage 3, each times "
        "`parameters * (ranks - 1) / ranks`.",
    ),
    solution=sent_per_step,
    wrong=(
        WrongAnswer(
            "one micro-batch",
            lambda parameters, ranks, stage, micro_batches: sent_per_step(parameters, ranks, stage, 1),
            "You left the micro-batches out. Stages 2 and 3 have thrown away what a backward pass would add to, so "
            "they must reduce after each.",
        ),
        WrongAnswer(
            "everything each time",
            lambda parameters, ranks, stage, micro_batches: _times(
                parameters, ranks, (3 if stage == 3 else 2) * micro_batches
            ),
            "You multiplied everything by the number of micro-batches. Stages 0 and 1 can add gradients up at home and "
            "send them once, and up to stage 2 weights are gathered once, after the step.",
        ),
        WrongAnswer(
            "n instead of n − 1",
            lambda parameters, ranks, stage, micro_batches: (
                sent_per_step(parameters, ranks, stage, micro_batches) * (ranks / (ranks - 1) if ranks > 1 else 1)
            ),
            "You let every rank send its own part to itself, too: the factor is (n − 1) / n.",
        ),
        WrongAnswer(
            "gathered once in stage 3",
            lambda parameters, ranks, stage, micro_batches: _times(
                parameters, ranks, 2 * micro_batches if stage == 3 else 2 if stage < 2 else micro_batches + 1
            ),
            "In stage 3 you gathered the weights once for each micro-batch. They are given back after the forward "
            "pass, so the backward pass must gather them again: that is the third of three.",
        ),
        WrongAnswer(
            "and once after the step",
            lambda parameters, ranks, stage, micro_batches: (
                sent_per_step(parameters, ranks, stage, micro_batches)
                + (_times(parameters, ranks, 1) if stage == 3 else 0)
            ),
            "In stage 3 you gathered weights after the step as well. Nobody keeps them there: the next forward pass "
            "gathers them anyway.",
        ),
    ),
    cases=lambda draw: [
        (100, 1, 3, 4),
        (100, 2, 0, 1),
        *(
            (int(draw.integers(10, 1000)), int(draw.integers(2, 9)), stage, int(draw.integers(2, 6)))
            for stage in range(4)
        ),
        *((int(draw.integers(10, 1000)), int(draw.integers(2, 9)), stage, 1) for stage in (2, 3)),
    ],
)
