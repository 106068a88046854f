"""Exercises on speculative decoding: what becomes of one draft, and how many to draft."""

from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

np = Later("numpy")
NOTEBOOK = "20_smaller_models"


def _drawn(chances, v):
    """The first token at which the sum of the probabilities exceeds v."""
    return int(np.argmax(np.cumsum(chances) > v))


def _more(p, q):
    more = np.maximum(p - q, 0)
    return more / more.sum()


def draft_token(p, q, token, u, v):
    """Keep it with the probability p / q; else draw from what p has more than q."""
    if u < p[token] / q[token]:
        return token
    more = [max(large - small, 0) for large, small in zip(p, q, strict=True)]
    so_far = 0
    for word, chance in enumerate(more):
        so_far += chance / sum(more)
        if so_far > v:
            return word


def _token_cases(draw):
    p, q = np.array([0.5, 0.25, 0.25, 0.0]), np.array([0.125, 0.5, 0.125, 0.25])
    cases = [
        (p, q, 1, 0.49, 0.9),
        (p, q, 1, 0.51, 0.7),
        (p, q, 1, 0.51, 0.8),
        (p, q, 3, 0.0, 0.1),
        (np.array([0.25, 0.75]), np.array([0.5, 0.5]), 0, 0.51, 0.0),
        (p, q, 0, 0.99, 0.9),
    ]
    for _ in range(24):
        p, q = draw.dirichlet(np.full(6, 0.7), size=2)
        q = (q + 1e-3) / (q + 1e-3).sum()
        cases.append((p, q, int(draw.choice(6, p=q)), float(draw.uniform()), float(draw.uniform(0, 0.999))))
    return cases


DRAFT_TOKEN = Exercise(
    id="compression.draft_token",
    notebook=NOTEBOOK,
    statement=(
        "The large model has the probabilities `p` (a numpy array), the draft had `q`, and drew `token` from them. `u` "
        "and `v` are two random numbers from 0 to 1. Return the token that comes out: the draft's if u < p/q there; "
        "otherwise one drawn from the residual distribution by v: the first token at which the cumulative sum of the "
        "probabilities exceeds v."
    ),
    difficulty=2,
    minutes=10,
    hints=(
        "Two steps: keep it or not, by p/q at that one token; and if not, which distribution is missing some of its "
        "probability? Look at where p is larger than q.",
        "The residual is `np.maximum(p - q, 0)` divided by its sum; then `np.argmax(np.cumsum(residual) > v)`.",
    ),
    solution=draft_token,
    wrong=(
        WrongAnswer(
            "from p again",
            lambda p, q, token, u, v: token if u < p[token] / q[token] else _drawn(p, v),
            "After a refusal you drew from p. What the draft likes has then two chances to come, and comes too often: "
            "draw from what p has more than q.",
        ),
        WrongAnswer(
            "keeps what is likely",
            lambda p, q, token, u, v: token if u < p[token] else _drawn(_more(p, q), v),
            "You kept the token with the probability p. It has been drawn from q already, so the chance that it comes "
            "would be q · p: divide by q.",
        ),
        WrongAnswer(
            "the draft's confidence",
            lambda p, q, token, u, v: token if u < q[token] else _drawn(_more(p, q), v),
            "You kept the token when the draft was sure of it. How sure the draft is says nothing about the large "
            "model: the chance is p/q.",
        ),
        WrongAnswer(
            "q over p",
            lambda p, q, token, u, v: token if u * p[token] < q[token] else _drawn(_more(p, q), v),
            "You have the fraction upside down. Tokens that the draft says too often (q > p) are those to be refused "
            "sometimes.",
        ),
        WrongAnswer(
            "residual not divided",
            lambda p, q, token, u, v: (
                token if u < p[token] / q[token] else _drawn(np.append(np.maximum(p - q, 0), 9.0), v)
            ),
            "Your residual does not sum to 1, so a large v runs past its end. Divide it by its sum.",
        ),
    ),
    cases=_token_cases,
)


def drafts_to_make(alpha, cost, most):
    """The number of drafts whose expected tokens per time are the most."""
    best, speed = 0, 1.0
    for drafts in range(1, most + 1):
        tokens = sum(alpha**i for i in range(drafts + 1))
        if tokens / (drafts * cost + 1) > speed + 1e-12:
            best, speed = drafts, tokens / (drafts * cost + 1)
    return best


def _best(alpha, cost, most, tokens, time):
    best, speed = 0, 1.0
    for drafts in range(1, most + 1):
        if tokens(alpha, drafts) / time(cost, drafts) > speed + 1e-12:
            best, speed = drafts, tokens(alpha, drafts) / time(cost, drafts)
    return best


def _sum(alpha, drafts):
    return sum(alpha**i for i in range(drafts + 1))


DRAFTS_TO_MAKE = Exercise(
    id="compression.drafts_to_make",
    notebook=NOTEBOOK,
    statement=(
        "How many tokens should be drafted in a round? Each is kept with the probability `alpha` if all before it "
        "were; a round brings one token more than it keeps. The draft takes `cost` of the time of the large model for "
        "a token, and the large model checks a round in the time of one token. Return the number of drafts from 1 to "
        "`most` with the most tokens per time, the smaller of two equal ones; or 0, if none is faster than no drafts."
    ),
    difficulty=2,
    minutes=8,
    hints=(
        "A round of γ drafts brings 1 + α + α² + … + α^γ tokens. How long does it take, in units of the large model?",
        "It takes `drafts * cost + 1`. Try every number from 1 to `most`, begin with a speed of 1 at 0 drafts, and "
        "replace only by what is larger.",
    ),
    solution=drafts_to_make,
    wrong=(
        WrongAnswer(
            "drafts are free",
            lambda alpha, cost, most: _best(alpha, cost, most, _sum, lambda cost, drafts: 1.0),
            "You let drafting cost nothing; then the longest round is always best. A round takes drafts · cost + 1.",
        ),
        WrongAnswer(
            "without the token of the large model",
            lambda alpha, cost, most: _best(
                alpha, cost, most, lambda a, d: _sum(a, d) - 1, lambda cost, drafts: drafts * cost + 1
            ),
            "You counted only the drafts that are kept. The large model adds one token of its own in every round, even "
            "when it refuses all.",
        ),
        WrongAnswer(
            "each draft by itself",
            lambda alpha, cost, most: _best(
                alpha, cost, most, lambda a, d: 1 + a * d, lambda cost, drafts: drafts * cost + 1
            ),
            "You expect α · γ drafts to be kept. Behind a refused one nothing is kept: the second needs the first, "
            "the third both: α + α² + α³ …",
        ),
        WrongAnswer(
            "always drafts",
            lambda alpha, cost, most: max(1, drafts_to_make(alpha, cost, most)),
            "Here you draft although it is slower than not to: return 0 where no number of drafts is faster.",
        ),
    ),
    cases=lambda draw: [
        (0.8, 0.1, 8),
        (0.0, 0.1, 4),
        (0.3, 0.5, 6),
        (1.0, 0.2, 5),
        (0.5, 0.45, 9),
        (0.51, 0.5, 4),
        (0.5, 0.2, 5),  # one draft is as fast as two
        *(
            (float(draw.uniform(0.2, 0.95)), float(draw.uniform(0.01, 0.4)), int(draw.integers(3, 12)))
            for _ in range(8)
        ),
    ],
)
