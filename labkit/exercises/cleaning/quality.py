"""Exercises on quality rules: the first broken rule, and the share of a text that repeats itself."""

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "13_data_cleaning"


def first_broken(values, limits):
    """Ask one rule after the other; a limit of None leaves its side open."""
    for rule, (least, most) in limits.items():
        value = values[rule]
        if least is not None and value < least:
            return rule, value, least
        if most is not None and value > most:
            return rule, value, most
    return None


def _ignoring_zero(values, limits):
    for rule, (least, most) in limits.items():
        if least and values[rule] < least:
            return rule, values[rule], least
        if most and values[rule] > most:
            return rule, values[rule], most
    return None


def _strict(values, limits):
    for rule, (least, most) in limits.items():
        if least is not None and values[rule] <= least:
            return rule, values[rule], least
        if most is not None and values[rule] >= most:
            return rule, values[rule], most
    return None


def _last(values, limits):
    return first_broken(values, dict(reversed(limits.items())))


def _upper_first(values, limits):
    upper = {rule: (None, most) for rule, (_, most) in limits.items()}
    return first_broken(values, upper) or first_broken(values, limits)


def _in_the_order_of_the_values(values, limits):
    return first_broken(values, {rule: limits[rule] for rule in values})


RULES = {
    "words": (50, 100_000),
    "word_length": (3, 10),
    "hashes": (None, 0.1),
    "stop_words": (2, None),
    "braces": (None, 0),
}


def _document(draw):
    values = {
        "braces": int(draw.integers(0, 3)),
        "hashes": round(float(draw.random()) / 5, 3),
        "words": int(draw.integers(20, 120)),
        "stop_words": int(draw.integers(0, 5)),
        "word_length": round(float(draw.uniform(2, 12)), 2),
    }
    return values, dict(RULES)


def _with(**changed):
    good = {"braces": 0, "hashes": 0.05, "words": 80, "stop_words": 4, "word_length": 4.5}
    return good | changed, dict(RULES)


FIRST_BROKEN = Exercise(
    id="cleaning.first_broken_rule",
    notebook=NOTEBOOK,
    statement=(
        "`values` holds what was measured of a document, by rule; `limits` holds (least, most) for each rule, in the "
        "order in which the rules are asked; None leaves a side open. Return (rule, value, limit) of the first rule "
        "that is broken, or None if the document is kept. A value equal to a limit is kept."
    ),
    difficulty=1,
    minutes=6,
    hints=(
        "Go through `limits.items()` in order and return at the first rule that is broken. What does `if most` do when "
        "`most` is 0?",
        "`if least is not None and value < least: return rule, value, least`, the same for `most` with `>`, and behind "
        "the loop `return None`.",
    ),
    solution=first_broken,
    wrong=(
        WrongAnswer(
            "a limit of zero ignored",
            _ignoring_zero,
            "`if most` is false for None and for 0. A limit of 0 (no curly bracket at all) must hold: write "
            "`is not None`.",
        ),
        WrongAnswer(
            "the limit itself refused",
            _strict,
            "A value equal to the limit breaks nothing: the paper removes what is *outside* 50 to 100,000 words. "
            "Compare with < and >.",
        ),
        WrongAnswer(
            "the last one named",
            _last,
            "You name the last broken rule. Return at the first: the later statistics then need not be computed at "
            "all.",
        ),
        WrongAnswer(
            "upper limits first",
            _upper_first,
            "You ask all upper limits before the lower ones. Ask both sides of one rule, then go on to the next rule.",
        ),
        WrongAnswer(
            "order of the values",
            _in_the_order_of_the_values,
            "You went through `values`. The order in which rules are asked is that of `limits`.",
        ),
    ),
    cases=lambda draw: [
        _with(),
        _with(braces=2),
        _with(words=50, word_length=10, stop_words=2, hashes=0.1),
        _with(words=20, stop_words=1),
        _with(words=20, braces=1, hashes=0.3),
        _with(words=200_000),
        ({}, {}),
        *(_document(draw) for _ in range(6)),
    ],
)


def duplicate_share(words, n):
    """Read from the left; an n-gram seen before is counted and skipped as a whole."""
    seen, repeated, i = set(), 0, 0
    while i + n <= len(words):
        gram = tuple(words[i : i + n])
        if gram in seen:
            repeated += sum(map(len, gram))
            i += n
        else:
            seen.add(gram)
            i += 1
    return repeated / max(1, sum(map(len, words)))


def _grams(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _overlapping(words, n):
    seen, repeated = set(), 0
    for gram in _grams(words, n):
        repeated += sum(map(len, gram)) if gram in seen else 0
        seen.add(gram)
    return repeated / max(1, sum(map(len, words)))


def _first_ones_too(words, n):
    grams = _grams(words, n)
    covered = {i + j for i, gram in enumerate(grams) if grams.count(gram) > 1 for j in range(n)}
    return sum(len(words[i]) for i in covered) / max(1, sum(map(len, words)))


def _as_words(words, n):
    same_length = {word: f"{i:09}" for i, word in enumerate(dict.fromkeys(words))}
    return duplicate_share([same_length[word] for word in words], n)


def _glued(words, n):
    seen, repeated, i = set(), 0, 0
    while i + n <= len(words):
        gram = "".join(words[i : i + n])
        repeated, i = (repeated + len(gram), i + n) if gram in seen else (repeated, i + 1)
        seen.add(gram)
    return repeated / max(1, sum(map(len, words)))


def _without_the_last(words, n):
    return duplicate_share(words[:-1], n) * sum(map(len, words[:-1])) / max(1, sum(map(len, words)))


def _spam(draw):
    words = ["a", "cheap", "flight", "now", "to"]
    return [words[i] for i in draw.integers(0, 3, int(draw.integers(8, 15)))], int(draw.integers(1, 4))


DUPLICATE_SHARE = Exercise(
    id="cleaning.duplicate_share",
    notebook=NOTEBOOK,
    statement=(
        "Read the list `words` from the left. When the n-gram that begins at a word has come before, count its "
        "characters and go on behind it; otherwise remember it and go on by one word. Return the characters counted as "
        "a share of those of all words, without spaces (0 for no words). This is Gopher's share of duplicate n-grams."
    ),
    difficulty=2,
    minutes=10,
    hints=(
        "A `for` loop cannot jump: use `while i + n <= len(words)` with a set of what was seen. Which type makes two "
        "words and their border into one key?",
        "`gram = tuple(words[i : i + n])`; if it is in `seen`, add `sum(map(len, gram))` and `i += n`, else "
        "`seen.add(gram)` and `i += 1`. Divide by `max(1, sum(map(len, words)))`.",
    ),
    solution=duplicate_share,
    wrong=(
        WrongAnswer(
            "overlapping ones counted",
            _overlapping,
            "Some characters are counted more than once: after a duplicate, go on behind it (`i += n`). Without that "
            "the share can exceed 1.",
        ),
        WrongAnswer(
            "the first one counted",
            _first_ones_too,
            "You also count the first occurrence. That is another reading of the paper (RedPajama's), with shares "
            "about twice as large under the same limits; here only what comes *again* counts.",
        ),
        WrongAnswer(
            "words instead of characters",
            _as_words,
            "You give the share of words. The paper's limits are for characters: a long word weighs more than a short "
            "one.",
        ),
        WrongAnswer(
            "glued without a border",
            _glued,
            '"".join makes one key of ("a", "bc") and ("ab", "c"): different n-grams become equal. A tuple keeps the '
            "borders.",
        ),
        WrongAnswer(
            "the last n-gram missing",
            _without_the_last,
            "The last n-gram is not looked at. There are len(words) - n + 1 of them, so the loop runs while "
            "i + n <= len(words).",
        ),
    ),
    cases=lambda draw: [
        (["to", "be", "or", "not", "to", "be"], 2),
        (["a", "bc", "x", "ab", "c", "x"], 2),
        (["go", "go", "go", "go", "go"], 2),
        (["long", "a", "b", "a", "b", "lengthy"], 2),
        ([], 3),
        (["one"], 2),
        (["one", "one"], 1),
        *(_spam(draw) for _ in range(6)),
    ],
)
