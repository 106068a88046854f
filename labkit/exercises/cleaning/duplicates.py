"""Exercises on duplicates: how alike two texts are, and who stays of a group."""

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "13_data_cleaning"
WORDS = ["the", "cat", "sat", "on", "a", "mat"]


def _runs(words, size):
    """All runs of `size` words, with repeats; one of what there is for fewer words."""
    return [tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1))] if words else []


def shingle_similarity(first, second, size):
    """The Jaccard similarity of the two sets of shingles."""

    def shingles(words):
        starts = range(max(1, len(words) - size + 1))
        return {tuple(words[i : i + size]) for i in starts} if words else set()

    a, b = shingles(first), shingles(second)
    return len(a & b) / len(a | b) if a | b else 0.0


def _with_repeats(first, second, size):
    a, b = _runs(first, size), _runs(second, size)
    together = len(a) + len(b) - len(set(a) & set(b))
    return len(set(a) & set(b)) / together if together else 0.0


def _dice(first, second, size):
    a, b = set(_runs(first, size)), set(_runs(second, size))
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else 0.0


def _containment(first, second, size):
    a, b = set(_runs(first, size)), set(_runs(second, size))
    return len(a & b) / len(a) if a else 0.0


def _full_runs_only(first, second, size):
    a, b = ({run for run in _runs(words, size) if len(run) == size} for words in (first, second))
    return len(a & b) / len(a | b) if a | b else 0.0


def _bags_of_words(first, second, size):
    return shingle_similarity([*set(first)], [*set(second)], 1)


def _words(draw, length, vocabulary=6):
    return [WORDS[i] for i in draw.integers(0, vocabulary, length)]


def _edited_pair(draw, length):
    first = _words(draw, length)
    second = [*first[: length // 2], "dog", *first[length // 2 + 1 :]]
    return first, second


SHINGLE_SIMILARITY = Exercise(
    id="cleaning.shingle_similarity",
    notebook=NOTEBOOK,
    statement=(
        "How alike are two texts? `first` and `second` are lists of words. Return the Jaccard similarity of their sets "
        "of shingles, runs of `size` neighbouring words. A text with fewer words has one shingle of all of them, one "
        "without words has none; two texts without words have similarity 0.0."
    ),
    difficulty=1,
    minutes=6,
    hints=(
        "A set of tuples counts each run once: `{tuple(words[i : i + size]) for i in …}`. How many starts are there "
        "in n words?",
        "n − size + 1 starts, but at least one if there is a word: `range(max(1, len(words) - size + 1))`. Then "
        "`len(a & b) / len(a | b)`, and 0.0 when the union is empty.",
    ),
    solution=shingle_similarity,
    wrong=(
        WrongAnswer(
            "repeats counted",
            _with_repeats,
            "A shingle that occurs twice in a text is counted twice below the line. Jaccard similarity is of sets.",
        ),
        WrongAnswer(
            "dice",
            _dice,
            "2 |A ∩ B| / (|A| + |B|) is the Dice coefficient. Divide what is shared by the size of the union.",
        ),
        WrongAnswer(
            "containment",
            _containment,
            "You divide by the shingles of the first text alone. That is containment: a page inside a whole book "
            "would be its copy. Divide by the union.",
        ),
        WrongAnswer(
            "short texts lost",
            _full_runs_only,
            "A text with fewer words than a shingle has no shingle with you, so two equal short texts have nothing in "
            "common. It has one, of all its words.",
        ),
        WrongAnswer(
            "words without order",
            _bags_of_words,
            "You compare sets of single words: every order of the same words would be a copy.",
        ),
    ),
    cases=lambda draw: [
        ([], [], 2),
        (["the"], [], 3),
        (["the", "cat"], ["the", "cat"], 3),
        (["the", "cat", "sat"], ["the", "cat", "sat", "on"], 3),
        (["the", "cat", "sat"], ["sat", "cat", "the"], 2),
        (["the", "cat", "the", "cat", "the"], ["the", "cat", "sat"], 2),
        (["the", "cat", "sat", "on", "a", "mat"], ["on", "a", "mat"], 2),
        (*_edited_pair(draw, 10), 2),
        (_words(draw, 12, 3), _words(draw, 9, 3), 2),
        (*_edited_pair(draw, 9), 3),
    ],
)


def survivors(n, pairs):
    """The smallest number of every connected component."""
    group = list(range(n))
    for i, j in pairs:
        low, high = sorted((group[i], group[j]))
        group = [low if g == high else g for g in group]
    return [i for i in range(n) if group[i] == i]


def _never_second(n, pairs):
    later = {max(pair) for pair in pairs}
    return [i for i in range(n) if i not in later]


def _nobody(n, pairs):
    return [i for i in range(n) if not any(i in pair for pair in pairs)]


def _last(n, pairs):
    return [n - 1 - i for i in reversed(survivors(n, [(n - 1 - i, n - 1 - j) for i, j in pairs]))]


def _one_pass(n, pairs):
    group = list(range(n))
    for i, j in pairs:
        group[i] = group[j] = min(group[i], group[j])
    return [i for i in range(n) if group[i] == i]


def _direct_only(n, pairs):
    kept = []
    for i in range(n):
        if not any({i, k} == set(pair) for k in kept for pair in pairs):
            kept.append(i)
    return kept


def _random_pairs(draw, n, count):
    return [tuple(int(x) for x in draw.choice(n, 2, replace=False)) for _ in range(count)]


SURVIVORS = Exercise(
    id="cleaning.survivors",
    notebook=NOTEBOOK,
    statement=(
        "Who stays? There are `n` texts, `pairs` (i, j) of them are near-duplicates, in any order. Texts that hang "
        "together through pairs are one group, also over several steps. Return the ascending list of the texts that "
        "stay: the first of each group, and all texts without a pair."
    ),
    difficulty=3,
    minutes=10,
    hints=(
        "With the pairs (0, 2) and (1, 2) all three are one group, so only 0 stays, though 1 is second in no pair.",
        "Give every text its own group number. For each pair make the two groups one: replace the larger number by the "
        "smaller one *everywhere*. In the end a text stays if its group has its own number.",
    ),
    solution=survivors,
    wrong=(
        WrongAnswer(
            "never second",
            _never_second,
            "You keep every text that is not the later one of a pair. With (0, 2) and (1, 2) both 0 and 1 stay, though "
            "they hang together through 2.",
        ),
        WrongAnswer(
            "nobody stays",
            _nobody,
            "You remove every text that has a copy, and nothing of the group is left. The first one stays.",
        ),
        WrongAnswer(
            "the last stays",
            _last,
            "You keep the last of each group. Asked is the first.",
        ),
        WrongAnswer(
            "one pass",
            _one_pass,
            "You go over the pairs once and change one text at a time. When two groups meet later, those who joined "
            "earlier keep the old number. Change the number of the whole group, or use union-find.",
        ),
        WrongAnswer(
            "direct only",
            _direct_only,
            "You remove a text only if it pairs with one that stays. That is a sound rule too (`chains=False`), but "
            "groups are asked for: with (0, 1) and (1, 2) only 0 stays.",
        ),
    ),
    cases=lambda draw: [
        (0, []),
        (3, []),
        (3, [(0, 2), (1, 2)]),
        (4, [(2, 3), (0, 1), (1, 3)]),
        (5, [(3, 4), (2, 4), (4, 1)]),
        (3, [(0, 1), (1, 2)]),
        *((n, _random_pairs(draw, n, n - 2)) for n in (5, 8)),
    ],
)
