"""Exercises on smoothing: where the probability of the unseen comes from."""

from labkit.exercises.ngrams.counting import NOTEBOOK, WORDS, bigrams, random_sentence
from labkit.workbench.checking import Exercise, WrongAnswer


def add_k(count, total, vocabulary_size, k):
    """The posterior mean under a symmetric Dirichlet prior."""
    return (count + k) / (total + k * vocabulary_size)


ADD_K = Exercise(
    id="ngrams.add_k",
    notebook=NOTEBOOK,
    statement="Return the add-k probability of a word seen `count` times after a context seen `total` times.",
    difficulty=1,
    minutes=3,
    hints=(
        "Every word of the vocabulary gets k extra observations. How many extra observations is that in total?",
        "The numerator grows by k, the denominator by k times the vocabulary size.",
    ),
    solution=add_k,
    wrong=(
        WrongAnswer(
            "numerator only",
            lambda count, total, vocabulary_size, k: (count + k) / total if total else 0.0,
            "The denominator did not grow: the probabilities now add up to more than one.",
        ),
        WrongAnswer(
            "k once",
            lambda count, total, vocabulary_size, k: (count + k) / (total + k),
            "You added k once below. Every word of the vocabulary was given k, so the total grows by k · V.",
        ),
        WrongAnswer(
            "one per word",
            lambda count, total, vocabulary_size, k: (count + k) / (total + vocabulary_size),
            "The total grows by k for each word of the vocabulary, that is by k · V, not by V.",
        ),
        WrongAnswer(
            "always one",
            lambda count, total, vocabulary_size, k: (count + 1) / (total + vocabulary_size),
            "That is add-one. Use k in its place, above and below.",
        ),
    ),
    cases=lambda draw: [
        (0, 0, 10, 0.5),
        (3, 5, 8, 1.0),
        *(
            (int(c), int(c + r), int(v), float(k))
            for c, r, v, k in zip(
                draw.integers(0, 9, 4),
                draw.integers(1, 50, 4),
                draw.integers(10, 99, 4),
                draw.uniform(0.01, 0.9, 4),
                strict=True,
            )
        ),
    ],
)


def company(pairs, word):
    """In front of `word`, how many different words were seen?"""
    return len({first for first, second in pairs if second == word})


COMPANY = Exercise(
    id="ngrams.company",
    notebook=NOTEBOOK,
    statement=(
        "From a list of bigrams (with repetitions) return the Kneser-Ney count of a word: how many different "
        "words stood before it?"
    ),
    difficulty=2,
    minutes=5,
    hints=(
        "Frequency does not matter here. Which Python type forgets repetitions?",
        "Collect the first words of all pairs that end with `word` in a set and count them.",
    ),
    solution=company,
    wrong=(
        WrongAnswer(
            "frequency",
            lambda pairs, word: sum(second == word for _, second in pairs),
            "You counted occurrences. A word may be frequent and yet follow one other word only: count its company.",
        ),
        WrongAnswer(
            "followers",
            lambda pairs, word: len({second for first, second in pairs if first == word}),
            "You looked behind the word. Kneser-Ney asks what stands in front of it.",
        ),
        WrongAnswer(
            "all pairs",
            lambda pairs, word: len({first for first, _ in pairs}),
            "You collected the first words of all pairs. Keep only the pairs that end with `word`.",
        ),
    ),
    cases=lambda draw: [
        ([("san", "francisco")] * 5 + [("my", "glass"), ("a", "glass"), ("a", "san")], "francisco"),
        ([("a", "b")], "zebra"),
        *((bigrams(random_sentence(draw, 25)), str(draw.choice(WORDS))) for _ in range(5)),
    ],
)


def three_discounts(n1, n2, n3, n4):
    """Chen & Goodman's discounts for counts of 1, 2 and 3 or more."""
    y = n1 / (n1 + 2 * n2)
    return [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]


THREE_DISCOUNTS = Exercise(
    id="ngrams.three_discounts",
    notebook=NOTEBOOK,
    statement="From the counts of counts n1 … n4 return the list [D1, D2, D3+] of modified Kneser-Ney.",
    difficulty=2,
    minutes=6,
    hints=(
        "Equation (11): first Y = n1 / (n1 + 2 n2), then each discount uses two neighbouring counts of counts.",
        "D2 = 2 - 3 * Y * n3 / n2, and the other two follow the same pattern.",
    ),
    solution=three_discounts,
    wrong=(
        WrongAnswer(
            "no Y",
            lambda n1, n2, n3, n4: [1 - 2 * n2 / n1, 2 - 3 * n3 / n2, 3 - 4 * n4 / n3],
            "The factor Y is missing. This is k minus Turing's estimate, before Ney, Essen and Kneser's correction.",
        ),
        WrongAnswer(
            "upside down",
            lambda n1, n2, n3, n4: [
                k - (k + 1) * n1 / (n1 + 2 * n2) * n / m for k, n, m in ((1, n1, n2), (2, n2, n3), (3, n3, n4))
            ],
            "The quotient is upside down: it is n(k+1) over n(k), the rarer over the more frequent.",
        ),
        WrongAnswer(
            "one discount",
            lambda n1, n2, n3, n4: [n1 / (n1 + 2 * n2)] * 3,
            "You returned Y three times. Y is the single discount of plain Kneser-Ney; here each count has its own.",
        ),
    ),
    cases=lambda draw: [
        (4, 2, 1, 1),
        *(tuple(sorted(draw.choice(range(10, 900), 4, replace=False).tolist(), reverse=True)) for _ in range(4)),
    ],
)


def mixture(frequencies, weights, vocabulary_size):
    """Linear interpolation from the uniform distribution up."""
    probability = 1 / vocabulary_size
    for frequency, weight in zip(frequencies, weights, strict=True):
        probability = weight * frequency + (1 - weight) * probability
    return probability


MIXTURE = Exercise(
    id="ngrams.mixture",
    notebook=NOTEBOOK,
    statement=(
        "Interpolate: `frequencies` are a word's relative frequencies at order 1, 2, …, `weights` the λ of "
        "each order; below order 1 lies the uniform distribution."
    ),
    difficulty=2,
    minutes=6,
    hints=(
        "Start with 1 / vocabulary_size and go up order by order; each order mixes its frequency with what you have.",
        "probability = weight * frequency + (1 - weight) * probability, in a loop over both lists.",
    ),
    solution=mixture,
    wrong=(
        WrongAnswer(
            "weights swapped",
            lambda frequencies, weights, vocabulary_size: mixture(
                frequencies, [1 - w for w in weights], vocabulary_size
            ),
            "The weights are swapped: λ belongs to the order's own frequency, 1 - λ to the shorter context.",
        ),
        WrongAnswer(
            "no floor",
            lambda frequencies, weights, vocabulary_size: sum(
                weight * frequency for weight, frequency in zip(weights, frequencies, strict=True)
            ),
            "You added weight times frequency. A weight is no share of the whole: it splits what reaches its order; "
            "the rest, 1 - λ, goes on to the order below, down to 1 / V.",
        ),
        WrongAnswer(
            "top down",
            lambda frequencies, weights, vocabulary_size: mixture(frequencies[::-1], weights[::-1], vocabulary_size),
            "You went from the highest order down: now the unigram has the last word. Start at order 1.",
        ),
    ),
    cases=lambda draw: [
        ([0.0, 0.0], [0.5, 0.5], 10),
        ([0.2, 0.5, 0.0], [0.9, 0.6, 0.3], 50),
        *((draw.uniform(0, 1, n).tolist(), draw.uniform(0.1, 0.9, n).tolist(), 100) for n in (1, 2, 3, 4)),
    ],
)


def stupid_backoff(counts, context, word, alpha=0.4):
    """Relative frequency of the longest n-gram seen, times alpha for every word dropped from the context."""
    factor = 1.0
    while context:
        if counts.get((*context, word), 0):
            return factor * counts[(*context, word)] / counts[context]
        context, factor = context[1:], factor * alpha
    return factor * counts.get((word,), 0) / sum(n for gram, n in counts.items() if len(gram) == 1)


def _all_counts(draw):
    text = [random_sentence(draw, 20) for _ in range(3)]
    grams = [tuple(s[i : i + n]) for s in text for n in (1, 2, 3) for i in range(len(s) - n + 1)]
    return {gram: grams.count(gram) for gram in grams}


def _no_alpha(counts, context, word, alpha=0.4):
    return stupid_backoff(counts, context, word, 1.0)


def _alpha_once(counts, context, word, alpha=0.4):
    if not context or counts.get((*context, word), 0):
        return stupid_backoff(counts, context, word, alpha)
    return alpha * stupid_backoff(counts, context, word, 1.0)


def _straight_down(counts, context, word, alpha=0.4):
    if not context or counts.get((*context, word), 0):
        return stupid_backoff(counts, context, word, alpha)
    return alpha ** len(context) * stupid_backoff(counts, (), word)


STUPID_BACKOFF = Exercise(
    id="ngrams.stupid_backoff",
    notebook=NOTEBOOK,
    statement=(
        "`counts` maps tuples of 1, 2 and 3 words to how often they were seen; `context` is a tuple of up to 2 words. "
        "Return the stupid back-off score of `word` with factor `alpha`. Divide by the count of the context; at the "
        "end, by the number of words."
    ),
    difficulty=3,
    minutes=10,
    hints=(
        "While there is a context: if the n-gram was seen return its relative frequency, else drop the first word.",
        "Keep a factor that is multiplied by alpha at each drop; at the end comes the word's share of all words.",
    ),
    solution=stupid_backoff,
    wrong=(
        WrongAnswer("no alpha", _no_alpha, "The factor alpha is missing: backing off should cost something."),
        WrongAnswer("alpha once", _alpha_once, "You pay alpha once. Each word dropped costs alpha again."),
        WrongAnswer(
            "straight down",
            _straight_down,
            "You drop the whole context at once. Drop its first word and look again before you give up the rest.",
        ),
    ),
    cases=lambda draw: [
        ({("a",): 2, ("b",): 2}, ("x", "y"), "a"),
        ({("a",): 2, ("b",): 2}, ("a",), "never seen"),
        ({("a",): 3, ("y",): 2, ("y", "a"): 1}, ("x", "y"), "a"),
        *(
            (_all_counts(draw), tuple(random_sentence(draw, n)), str(draw.choice(WORDS)), 0.4)
            for n in (2, 2, 2, 1, 0, 2)
        ),
    ],
)
