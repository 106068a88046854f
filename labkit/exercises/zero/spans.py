"""Exercises on marking spans: labels for the tokens of words, and the score of what was found."""

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "18_zero_and_deepspeed"


def subword_labels(word_of, tags):
    """The label of its word where a word begins, -100 everywhere else."""
    labels, last = [], None
    for word in word_of:
        labels.append(-100 if word is None or word == last else tags[word])
        last = word
    return labels


def _all_pieces(word_of, tags):
    return [-100 if word is None else tags[word] for word in word_of]


def _special_outside(word_of, tags):
    labels = subword_labels(word_of, tags)
    return [0 if word is None else label for word, label in zip(word_of, labels, strict=True)]


def _pieces_outside(word_of, tags):
    labels = subword_labels(word_of, tags)
    return [0 if word is not None and label == -100 else label for word, label in zip(word_of, labels, strict=True)]


def _last_piece(word_of, tags):
    return subword_labels(list(word_of)[::-1], tags)[::-1]


def _sentence(draw, words):
    pieces = draw.integers(1, 4, words)
    word_of = [None, *(word for word in range(words) for _ in range(pieces[word])), None]
    return word_of + [None] * int(draw.integers(0, 3)), [int(tag) for tag in draw.integers(1, 5, words)]


SUBWORD_LABELS = Exercise(
    id="zero.subword_labels",
    notebook=NOTEBOOK,
    statement=(
        "People label words; a tokenizer makes one or more tokens of each. `word_of` says of each token to which word "
        "it belongs, None for [CLS], [SEP] and padding; `tags` has the number of each word's label. Return the list of "
        "labels of the tokens: a word's label at its first token, `-100` (which the loss ignores) at all others."
    ),
    difficulty=1,
    minutes=5,
    hints=(
        "A token begins a word if its word is another one than that of the token before it.",
        "Remember the last word in a loop: `-100 if word is None or word == last else tags[word]`.",
    ),
    solution=subword_labels,
    wrong=(
        WrongAnswer(
            "all pieces",
            _all_pieces,
            "You gave each piece of a word its label. A B at two pieces would begin two spans, and long words would "
            "count more than short ones: `-100` at all but the first.",
        ),
        WrongAnswer(
            "special tokens outside",
            _special_outside,
            "You labelled [CLS], [SEP] and padding with 0. The model would be paid for finding no span in padding, of "
            "which there may be more than words: `-100` there.",
        ),
        WrongAnswer(
            "pieces outside",
            _pieces_outside,
            "You labelled the further pieces of a word with 0, as if they lay outside. Half a name is no end of a "
            "span: `-100` there.",
        ),
        WrongAnswer(
            "last piece",
            _last_piece,
            "You labelled the last token of each word. The first one it shall be: predictions are read there.",
        ),
    ),
    cases=lambda draw: [
        ([None, 0, 0, 1, None], [1, 2]),
        ([None, None], []),
        ([None, 0, 1, 1, 1, None, None], [3, 1]),
        *(_sentence(draw, words) for words in (3, 5, 8)),
    ],
)


def span_f1(gold, found):
    """F1 over the spans of all passages together: a span is right if start, end and kind are."""
    right = sum(len(set(g) & set(f)) for g, f in zip(gold, found, strict=True))
    total = sum(len(set(g)) + len(set(f)) for g, f in zip(gold, found, strict=True))
    return 2 * right / total if total else 1.0


def _mean_of_passages(gold, found):
    scores = [span_f1([g], [f]) for g, f in zip(gold, found, strict=True)]
    return sum(scores) / len(scores)


def _kinds_ignored(gold, found):
    return span_f1(*([[span[:2] for span in row] for row in rows] for rows in (gold, found)))


def _words(rows):
    return [[(i, kind) for start, end, kind in row for i in range(start, end)] for row in rows]


def _by_words(gold, found):
    return span_f1(_words(gold), _words(found))


def _thrown_together(gold, found):
    return span_f1(*([[span for row in rows for span in row]] for rows in (gold, found)))


def _passages(draw, count):
    def row(drawn):
        return [(int(s), int(s) + 1 + int(drawn.integers(0, 2)), "AB"[int(drawn.integers(0, 2))]) for s in (0, 3, 6)]

    gold = [row(draw)[: int(draw.integers(0, 4))] for _ in range(count)]
    found = [[*g[: int(draw.integers(0, 4))], *row(draw)[2:]] for g in gold]
    return gold, [list(dict.fromkeys(f)) for f in found]


SPAN_F1 = Exercise(
    id="zero.span_f1",
    notebook=NOTEBOOK,
    statement=(
        "F1 of marked spans. `gold` and `found` have a list for each passage, of tuples (start, end, kind). A span is "
        "right if the same passage has one with equal start, end and kind. Count over all passages together: "
        "2 · right / (gold + found); 1.0 if there are no spans at all."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "What two passages share is `set(g) & set(f)`; count that, and both sides, over all pairs of rows.",
        "`right = sum(len(set(g) & set(f)) for g, f in zip(gold, found))`, and the number of spans on either side by "
        "another sum; divide once, at the end.",
    ),
    solution=span_f1,
    wrong=(
        WrongAnswer(
            "mean of passages",
            _mean_of_passages,
            "You took the mean of each passage's F1. A passage with one span then counts as much as one with twenty, "
            "and one with none counts as perfect. Count first, divide once.",
        ),
        WrongAnswer(
            "kinds ignored",
            _kinds_ignored,
            "You compared only start and end. A person taken for a place is wrong.",
        ),
        WrongAnswer(
            "by words",
            _by_words,
            "You counted words instead of spans. Half of a name found is not half right: that span is missed, and "
            "another one was found wrongly.",
        ),
        WrongAnswer(
            "thrown together",
            _thrown_together,
            "You put the spans of all passages into one set. Words 0 to 2 of one passage are not those of another: "
            "compare passage by passage.",
        ),
    ),
    cases=lambda draw: [
        ([[(0, 2, "A")], [(0, 1, "B"), (3, 5, "A")]], [[(0, 2, "A")], [(0, 1, "A"), (3, 4, "A")]]),
        ([[], []], [[], []]),
        ([[(0, 2, "A")], []], [[], [(0, 2, "A")]]),
        ([[(0, 3, "A")], [(1, 2, "A"), (4, 5, "A"), (6, 8, "B")]], [[(0, 3, "A")], [(1, 2, "A"), (4, 6, "A")]]),
        *(_passages(draw, count) for count in (3, 4, 6)),
    ],
)
