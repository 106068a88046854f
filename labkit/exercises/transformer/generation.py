"""Exercises on generating: the greedy loop, and probabilities after temperature and top-k."""

from labkit.exercises.attention.softmax import double
from labkit.exercises.transformer.norms import REAL_WEIGHTS
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")


def adds_up(ids):
    """Stands for a model: at each place it predicts the sum of all ids so far, modulo 10."""
    return torch.nn.functional.one_hot(ids.cumsum(dim=1) % 10, 10).double()


def greedy(model, ids, tokens):
    """Append the most probable next token, and read everything again."""
    for _ in range(tokens):
        next_ids = model(ids)[:, -1].argmax(dim=-1, keepdim=True)
        ids = torch.cat([ids, next_ids], dim=1)
    return ids


def _not_fed_back(model, ids, tokens):
    return torch.cat([ids, model(ids)[:, -1].argmax(dim=-1, keepdim=True).expand(-1, tokens)], dim=1)


def _last_token_only(model, ids, tokens):
    for _ in range(tokens):
        ids = torch.cat([ids, model(ids[:, -1:])[:, -1].argmax(dim=-1, keepdim=True)], dim=1)
    return ids


def _first_place(model, ids, tokens):
    for _ in range(tokens):
        ids = torch.cat([ids, model(ids)[:, 0].argmax(dim=-1, keepdim=True)], dim=1)
    return ids


def _prompt(draw, batch, n):
    return torch.from_numpy(draw.integers(1, 10, (batch, n)))


GREEDY = Exercise(
    id="transformer.greedy",
    notebook=REAL_WEIGHTS,
    statement=(
        "`model(ids)` gives the logits (batch, n, vocabulary) for `ids` (batch, n). Return `ids` with `tokens` more "
        "tokens, each the most probable next one. (In the checks a stand-in, `adds_up`, predicts the sum of all ids so "
        "far, modulo 10.)"
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "The next token is decided by the logits at the last place. Append it, and let the model read the longer text.",
        "In a loop: `model(ids)[:, -1].argmax(dim=-1, keepdim=True)` is (batch, 1); join it with `torch.cat(…, "
        "dim=1)`.",
    ),
    solution=greedy,
    wrong=(
        WrongAnswer(
            "not fed back",
            _not_fed_back,
            "You asked the model once and repeated its answer. Each new token is part of the text for the next one: "
            "ask again with the longer ids.",
        ),
        WrongAnswer(
            "last token only",
            _last_token_only,
            "You showed the model only the last token. Without a cache it does not remember the rest: give it all ids.",
        ),
        WrongAnswer(
            "first place",
            _first_place,
            "You read the logits of the first place: the prediction after the first token only. The next token is "
            "predicted at the last place, `[:, -1]`.",
        ),
        WrongAnswer(
            "new tokens only",
            lambda model, ids, tokens: greedy(model, ids, tokens)[:, ids.shape[1] :],
            "The tokens are right, but you returned the new ones only. Return the prompt with its continuation.",
        ),
        WrongAnswer(
            "one too many",
            lambda model, ids, tokens: greedy(model, ids, tokens + 1),
            "You appended one token more than asked: the loop runs `tokens` times, and for 0 the prompt comes back.",
        ),
    ),
    cases=lambda draw: [
        (adds_up, torch.tensor([[1, 2]]), 0),
        (adds_up, torch.tensor([[1, 2]]), 1),
        (adds_up, torch.tensor([[1, 2]]), 2),
        (adds_up, torch.tensor([[1, 2], [3, 4]]), 2),
        *((adds_up, _prompt(draw, batch, n), tokens) for batch, n, tokens in ((1, 3, 3), (2, 2, 4), (3, 4, 3))),
    ],
)


def next_probabilities(logits, temperature, k):
    """Softmax of the k largest logits, divided by the temperature."""
    logits = logits / temperature
    smallest = logits.topk(k, dim=-1).values[:, -1:]
    return torch.softmax(logits.masked_fill(logits < smallest, -torch.inf), dim=-1)


def _kept(logits, k):
    return logits >= logits.topk(k, dim=-1).values[:, -1:]


def _one_too_few(logits, temperature, k):
    dropped = logits <= logits.topk(k, dim=-1).values[:, -1:]
    return torch.softmax((logits / temperature).masked_fill(dropped, -torch.inf), dim=-1)


def _threshold_of_the_batch(logits, temperature, k):
    smallest = logits.topk(k, dim=-1).values.min()
    return torch.softmax((logits / temperature).masked_fill(logits < smallest, -torch.inf), dim=-1)


def _flattened_by_the_probabilities(logits, temperature, k):
    return next_probabilities(logits, 1.0, k) / temperature


def _choices(draw, batch, vocabulary, temperature, k):
    logits = [draw.permutation(vocabulary) - vocabulary / 2 + 0.25 for _ in range(batch)]  # no two are equal
    return double([row.tolist() for row in logits]), temperature, k


NEXT_PROBABILITIES = Exercise(
    id="transformer.next_probabilities",
    notebook=REAL_WEIGHTS,
    statement=(
        "From `logits` (batch, vocabulary) make the probabilities from which the next token is drawn: divide by the "
        "`temperature`, keep the `k` largest logits of each row, softmax. All other tokens get probability 0."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "What shall get probability 0 needs the logit −∞ before the softmax. `logits.topk(k, dim=-1).values` are the k "
        "largest, in falling order.",
        "The smallest that stays is `logits.topk(k, dim=-1).values[:, -1:]`; fill −∞ where logits are less than that.",
    ),
    solution=next_probabilities,
    wrong=(
        WrongAnswer(
            "temperature upside down",
            lambda logits, temperature, k: next_probabilities(logits, 1 / temperature, k),
            "You multiplied by the temperature. Divide: a high temperature makes the probabilities more equal, a low "
            "one more certain.",
        ),
        WrongAnswer(
            "not renormalised",
            lambda logits, temperature, k: torch.softmax(logits / temperature, dim=-1) * _kept(logits, k),
            "You set probabilities to 0 after the softmax, so the rest no longer adds up to 1. Remove the logits "
            "before it.",
        ),
        WrongAnswer(
            "zero as logit",
            lambda logits, temperature, k: torch.softmax(logits / temperature * _kept(logits, k), dim=-1),
            "A logit of 0 is no probability of 0: exp(0) = 1. Fill in −∞.",
        ),
        WrongAnswer(
            "one too few",
            _one_too_few,
            "You dropped the k-th as well: it is equal to the threshold, so compare with < and not with <=. With k = 1 "
            "nothing would be left, and 0 / 0 is NaN.",
        ),
        WrongAnswer(
            "one threshold for the batch",
            _threshold_of_the_batch,
            "You used one threshold for all rows. Each row has its own k-th largest logit: `values[:, -1:]`.",
        ),
        WrongAnswer(
            "temperature too late",
            _flattened_by_the_probabilities,
            "You divided the probabilities by the temperature: now they add up to 1 / temperature. Divide the logits.",
        ),
    ),
    cases=lambda draw: [
        (double([[1.0, 2.0, 0.0]]), 1.0, 3),
        (double([[1.0, 2.0, 0.0]]), 2.0, 1),
        (double([[1.0, 3.0, -1.0]]), 2.0, 2),
        (double([[0.0, 1.0], [5.0, 4.0]]), 1.0, 1),
        _choices(draw, 1, 4, 0.5, 2),
        _choices(draw, 2, 5, 2.0, 3),
        _choices(draw, 3, 6, 0.75, 2),
    ],
)
