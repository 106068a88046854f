"""Exercises on a vocabulary cut across ranks, and on what a layer costs on the wire."""

from labkit.exercises.attention.softmax import double, random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "17_model_parallel"


def vocabulary_loss(logits, targets):
    """One maximum and two sums for each token, over ranks; never all logits in one place."""
    largest = torch.stack([own.amax(dim=-1) for own in logits]).amax(dim=0)
    total = sum((own - largest[:, None]).exp().sum(dim=-1) for own in logits)
    right, own = 0, logits[0].shape[1]
    for rank, part in enumerate(logits):
        row = targets - rank * own
        mine = (row >= 0) & (row < own)
        right = right + part.gather(1, row.clamp(0, own - 1)[:, None])[:, 0] * mine
    return (total.log() + largest - right).mean()


def _picked(logits, targets):
    return torch.cat(logits, dim=1).gather(1, targets[:, None])[:, 0]


def _loss_with(logits, targets, log_total):
    return (log_total - _picked(logits, targets)).mean()


def _largest(logits):
    return torch.stack([own.amax(dim=-1) for own in logits])


def _not_shifted(logits, targets):
    return _loss_with(logits, targets, sum(own.exp().sum(dim=-1) for own in logits).log())


def _own_maxima(logits, targets):
    """Every rank shifts by its own largest logit, and the sums are added all the same."""
    sums = sum((own - own.amax(dim=-1, keepdim=True)).exp().sum(dim=-1) for own in logits)
    return _loss_with(logits, targets, sums.log() + _largest(logits).amax(dim=0))


def _own_softmax(logits, targets):
    own = logits[0].shape[1]
    total = torch.stack([part.logsumexp(dim=-1) for part in logits])
    return (total[targets // own, torch.arange(len(targets))] - _picked(logits, targets)).mean()


def _target_on_every_rank(logits, targets):
    """The target's place counted in each rank's own words, as if each had the whole vocabulary."""
    right = sum(part.gather(1, (targets % part.shape[1])[:, None])[:, 0] for part in logits)
    return (torch.cat(logits, dim=1).logsumexp(dim=-1) - right).mean()


def _logits(draw, ranks, own, size=1.0):
    targets = torch.from_numpy(draw.integers(0, ranks * own, 4))
    return [size * random_tensor(draw, 4, own) for _ in range(ranks)], targets


VOCABULARY_LOSS = Exercise(
    id="model_parallel.vocabulary_loss",
    notebook=NOTEBOOK,
    statement=(
        "The mean cross entropy of `targets` (tokens,) where `logits[r]` (tokens, own) are those of rank r, for the "
        "words from r · own on. Between ranks only numbers per token may travel, as `amax` over ranks and as sums: do "
        "not put all logits together, though the check sees only the result. It must hold for logits of 1000, too."
    ),
    difficulty=3,
    minutes=12,
    hints=(
        "−log softmax is log Σ exp(logit − m) + m − the right logit, with any m. Which three numbers per token does it "
        "take, and can each rank find its part of them?",
        "m is the `amax` over ranks of each rank's `amax`; then Σ over ranks of (own − m).exp().sum(−1). The right "
        "logit is at `targets - rank * own` on the one rank where that lies between 0 and own − 1; the others add 0.",
    ),
    solution=vocabulary_loss,
    wrong=(
        WrongAnswer(
            "not shifted",
            _not_shifted,
            "exp(1000) is infinite. Subtract the largest logit of each token first, the largest over all ranks.",
        ),
        WrongAnswer(
            "own maxima",
            _own_maxima,
            "Each rank subtracted its own largest logit, and the sums were added as they are. They stand for different "
            "units: all must subtract the same number, so the maximum is agreed on first.",
        ),
        WrongAnswer(
            "own softmax",
            _own_softmax,
            "You took the softmax over the words of one rank. The probabilities of all words together must be 1, so "
            "the sum runs over all ranks.",
        ),
        WrongAnswer(
            "target on every rank",
            _target_on_every_rank,
            "Each rank took the target to be one of its words. Only one has it, at targets − rank · own; the others "
            "add nothing.",
        ),
        WrongAnswer(
            "sum over tokens",
            lambda logits, targets: vocabulary_loss(logits, targets) * len(targets),
            "That is the sum over the tokens. Their mean is wanted, so that the learning rate does not depend on the "
            "batch.",
        ),
    ),
    cases=lambda draw: [
        ([double([[0.0, 1.0]]), double([[2.0, 3.0]])], torch.tensor([2])),
        ([double([[1000.0]]), double([[999.0]])], torch.tensor([1])),
        *(_logits(draw, ranks, own) for ranks, own in ((2, 3), (4, 2), (3, 1))),
        _logits(draw, 2, 3, size=1000.0),
    ],
)


def layer_traffic(batch, tokens, width, ranks, size):
    """Four all-reduces of the stream, each 2(n − 1)/n of its size."""
    return 4 * 2 * (ranks - 1) * batch * tokens * width * size // ranks


LAYER_TRAFFIC = Exercise(
    id="model_parallel.layer_traffic",
    notebook=NOTEBOOK,
    statement=(
        "How many bytes does each rank receive for one layer in one training step, forward and backward, with tensor "
        "parallel on `ranks` ranks? The stream is (batch, tokens, width), a number has `size` bytes, an all-reduce "
        "goes by ring. The inputs divide evenly; a whole number is wanted."
    ),
    difficulty=1,
    minutes=4,
    hints=(
        "Where do the two operators stand: before and after attention, before and after the feed-forward layer. Which "
        "of them talk forward, which backward?",
        "Four all-reduces of batch · tokens · width numbers; each brings 2(n − 1)/n of its size to every rank.",
    ),
    solution=layer_traffic,
    wrong=(
        WrongAnswer(
            "forward only",
            lambda batch, tokens, width, ranks, size: layer_traffic(batch, tokens, width, ranks, size) // 2,
            "That is half. Either only the forward pass, which has two of the four all-reduces, or half a ring: an "
            "all-reduce is a reduce-scatter and an all-gather.",
        ),
        WrongAnswer(
            "one operator each way",
            lambda batch, tokens, width, ranks, size: layer_traffic(batch, tokens, width, ranks, size) // 4,
            "A quarter. There are two all-reduces forward and two backward, and each goes twice round the ring.",
        ),
        WrongAnswer(
            "everything from everyone",
            lambda batch, tokens, width, ranks, size: 4 * (ranks - 1) * batch * tokens * width * size,
            "You let every rank receive the whole stream of every other. A ring brings 2(n − 1)/n of it, however many "
            "ranks there are.",
        ),
        WrongAnswer(
            "no ring",
            lambda batch, tokens, width, ranks, size: 8 * batch * tokens * width * size,
            "Twice the size for each all-reduce is the limit for many ranks. What is a rank's own it need not receive: "
            "2(n − 1)/n.",
        ),
        WrongAnswer(
            "numbers",
            lambda batch, tokens, width, ranks, size: layer_traffic(batch, tokens, width, ranks, 1),
            "Those are numbers. Each has `size` bytes.",
        ),
    ),
    cases=lambda draw: [
        (1, 1, 12, 3, 4),
        (1, 1, 8, 4, 2),
        (2, 3, 4, 1, 4),
        *((int(b), int(t), 16 * int(w), n, 4) for n in (4, 8) for b, t, w in draw.integers(1, 9, (2, 3))),
    ],
)
