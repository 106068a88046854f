"""Exercises on what goes into training and what comes out: targets, tied weights, vectors of sentences."""

from labkit.exercises.attention.softmax import double, random_tensor
from labkit.exercises.transformer.norms import NOTEBOOK, REAL_WEIGHTS
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")


def shift_targets(ids):
    """All tokens but the last, and all but the first."""
    return ids[:, :-1], ids[:, 1:]


def _ids(draw, batch, tokens, vocabulary=99):
    return torch.from_numpy(draw.integers(0, vocabulary, (batch, tokens)))


SHIFT_TARGETS = Exercise(
    id="transformer.shift_targets",
    notebook=NOTEBOOK,
    statement=(
        "From `ids` (batch, tokens) make the tuple (inputs, targets), both (batch, tokens − 1), for training a model "
        "to predict the next token."
    ),
    difficulty=1,
    minutes=4,
    hints=(
        "Write down a sentence of four tokens. What does the model read at each place, and what should it answer "
        "there?",
        "The inputs lack the last token, the targets the first: two slices of the second dimension.",
    ),
    solution=shift_targets,
    wrong=(
        WrongAnswer(
            "not shifted",
            lambda ids: (ids[:, :-1], ids[:, :-1]),
            "Inputs and targets are the same: the model would learn to copy the token that it reads. The loss falls to "
            "nearly 0, and generation repeats one token for ever.",
        ),
        WrongAnswer(
            "the previous token",
            lambda ids: (ids[:, 1:], ids[:, :-1]),
            "Your target is the token before, which the model has read already. Exchange the two slices.",
        ),
        WrongAnswer(
            "along the batch",
            lambda ids: (ids[:-1], ids[1:]),
            "You shifted along the batch: the target of a sentence is the next sentence. Time is the second dimension, "
            "`ids[:, …]`.",
        ),
        WrongAnswer(
            "rolled",
            lambda ids: (ids, ids.roll(-1, dims=1)),
            "`roll` brings the first token back as the target of the last. After the last token nothing is known: "
            "leave it out.",
        ),
        WrongAnswer(
            "two ahead",
            lambda ids: (ids[:, :-2], ids[:, 2:]),
            "Your target is the token after the next one: shifted twice. That happens when the data and the loss "
            "function each shift by one; only one of them may.",
        ),
    ),
    cases=lambda draw: [
        (torch.tensor([[1, 2]]),),
        (torch.tensor([[1, 2, 3]]),),
        (torch.tensor([[1, 2, 3], [4, 5, 6]]),),
        *((_ids(draw, batch, tokens),) for batch, tokens in ((1, 4), (2, 4), (3, 5))),
    ],
)


def tied_gradient(ids, grad_embedded, hidden, grad_logits):
    """What comes back through the head, plus what comes back at each place where a row was looked up."""
    from_head = grad_logits.T @ hidden
    return from_head.index_add(0, ids, grad_embedded)


def _from_embedding(ids, grad_embedded, vocabulary):
    return torch.zeros(vocabulary, grad_embedded.shape[-1], dtype=grad_embedded.dtype).index_add(0, ids, grad_embedded)


def _repeated_ids_once(ids, grad_embedded, hidden, grad_logits):
    gradient = grad_logits.T @ hidden
    gradient[ids] += grad_embedded
    return gradient


def _overwritten(ids, grad_embedded, hidden, grad_logits):
    gradient = grad_logits.T @ hidden
    gradient[ids] = grad_embedded
    return gradient


def _tied_inputs(draw, tokens, vocabulary, width):
    ids = torch.from_numpy(draw.integers(0, vocabulary, tokens))
    ids[-1] = ids[0]  # at least one token comes twice
    return ids, *(random_tensor(draw, tokens, size) for size in (width, width, vocabulary))


TIED_GRADIENT = Exercise(
    id="transformer.tied_gradient",
    notebook=NOTEBOOK,
    statement=(
        "A tied head: the same E (vocabulary, width) gives embedded = E[ids] and logits = hidden @ Eᵀ. Given `ids` "
        "(tokens,), `grad_embedded` (tokens, width), `hidden` (tokens, width) and `grad_logits` (tokens, vocabulary), "
        "return the gradient of E."
    ),
    difficulty=3,
    minutes=10,
    hints=(
        "E is used twice, so two gradients add up. The head is a product of matrices. A row of E that was looked up at "
        "several places collects from all of them.",
        "`grad_logits.T @ hidden` from the head; then add `grad_embedded` to the rows `ids` with `index_add(0, ids, "
        "…)`, which counts repeated ids every time.",
    ),
    solution=tied_gradient,
    wrong=(
        WrongAnswer(
            "head only",
            lambda ids, grad_embedded, hidden, grad_logits: grad_logits.T @ hidden,
            "Only the head's part is there. The same matrix was also the embedding: add what came back there, at the "
            "rows `ids`.",
        ),
        WrongAnswer(
            "embedding only",
            lambda ids, grad_embedded, hidden, grad_logits: _from_embedding(ids, grad_embedded, grad_logits.shape[-1]),
            "Only the embedding's part is there. The same matrix made the logits: add grad_logitsᵀ @ hidden.",
        ),
        WrongAnswer(
            "repeated ids once",
            _repeated_ids_once,
            "`gradient[ids] += …` writes each row once, so of a token that comes several times only one place counts. "
            "`index_add` adds them all up.",
        ),
        WrongAnswer(
            "overwritten",
            _overwritten,
            "`gradient[ids] = …` replaces what the head had put there. Both parts add up, and so do repeated ids: use "
            "`index_add`.",
        ),
        WrongAnswer(
            "averaged",
            lambda ids, grad_embedded, hidden, grad_logits: tied_gradient(ids, grad_embedded, hidden, grad_logits) / 2,
            "You took the mean of the two parts. A matrix that is used twice gets the sum of both gradients.",
        ),
    ),
    cases=lambda draw: [
        (torch.tensor([0]), double([[1.0]]), double([[2.0]]), double([[3.0, 5.0]])),
        (torch.tensor([1, 1]), double([[1.0], [10.0]]), double([[1.0], [0.0]]), double([[0.0, 3.0], [5.0, 7.0]])),
        _tied_inputs(draw, 3, 2, 2),
        _tied_inputs(draw, 4, 3, 2),
        _tied_inputs(draw, 6, 5, 3),
    ],
)


def mean_pool(hidden, mask):
    """The sum over the real tokens, divided by their number."""
    real = hidden * mask[..., None]
    return real.sum(dim=1) / mask.sum(dim=1, keepdim=True)


def _hidden_and_mask(draw, batch, tokens, width):
    lengths = torch.from_numpy(draw.integers(1, tokens, batch))
    return random_tensor(draw, batch, tokens, width), torch.arange(tokens) < lengths[:, None]


MEAN_POOL = Exercise(
    id="transformer.mean_pool",
    notebook=REAL_WEIGHTS,
    statement=(
        "One vector for each sentence: the mean of `hidden` (batch, tokens, width) over the real tokens, which are "
        "True in the bool `mask` (batch, tokens). Return (batch, width)."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "Two things depend on the mask: which vectors are added, and by how many you divide.",
        "`(hidden * mask[..., None]).sum(dim=1)`, divided by `mask.sum(dim=1, keepdim=True)`.",
    ),
    solution=mean_pool,
    wrong=(
        WrongAnswer(
            "padding counted",
            lambda hidden, mask: hidden.mean(dim=1),
            "The mask is not used: the padding's vectors, which mean nothing, are in the mean. The vector of a "
            "sentence would depend on the other sentences of its batch.",
        ),
        WrongAnswer(
            "divided by all",
            lambda hidden, mask: (hidden * mask[..., None]).mean(dim=1),
            "You set the padding to 0 but divide by all places. Divide by the number of real tokens of the sentence.",
        ),
        WrongAnswer(
            "one number for the batch",
            lambda hidden, mask: (hidden * mask[..., None]).sum(dim=1) / mask.sum(),
            "`mask.sum()` counts the real tokens of the whole batch. Each sentence has its own number: sum over dim=1 "
            "only.",
        ),
        WrongAnswer(
            "first token",
            lambda hidden, mask: hidden[:, 0],
            "You took the vector of the first token, as some models want it ([CLS]). Here the mean is asked.",
        ),
        WrongAnswer(
            "polarity",
            lambda hidden, mask: mean_pool(hidden, ~mask),
            "You averaged the padding. Here True marks the real tokens.",
        ),
    ),
    cases=lambda draw: [
        (double([[[2.0], [4.0]]]), torch.tensor([[True, True]])),
        (double([[[2.0], [4.0], [9.0]]]), torch.tensor([[True, True, False]])),
        (double([[[2.0], [9.0]], [[1.0], [5.0]]]), torch.tensor([[True, False], [True, True]])),
        _hidden_and_mask(draw, 1, 3, 2),
        _hidden_and_mask(draw, 2, 4, 2),
        _hidden_and_mask(draw, 3, 5, 3),
    ],
)
