"""Exercises on personal data: two check digits, and spans replaced without losing one's place."""

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "13_data_cleaning"


def doubled_sum(number):
    """Every second digit from the right is doubled, and 12 counts as 1 + 2."""
    total = 0
    for place, character in enumerate(reversed(number)):
        digit = int(character) * (2 if place % 2 else 1)
        total += digit - 9 if digit > 9 else digit
    return total


def _counted(number, *, doubled=lambda place: place % 2 == 1, digit_sum=True, from_left=False):
    total = 0
    for place, character in enumerate(number if from_left else reversed(number)):
        digit = int(character) * (2 if doubled(place) else 1)
        total += digit - 9 if digit_sum and digit > 9 else digit
    return total


def _digits(draw, n):
    return "".join(map(str, draw.integers(0, 10, n)))


DOUBLED_SUM = Exercise(
    id="cleaning.doubled_sum",
    notebook=NOTEBOOK,
    statement=(
        "Give the sum of Luhn's check for a `number` in a string of digits: from the right, the second, fourth, sixth "
        "digit and so on is doubled, and of what is then more than 9 the two digits are added. A number is right if "
        "the sum ends in 0."
    ),
    difficulty=1,
    minutes=6,
    hints=(
        "Read from the right, `enumerate(reversed(number))`: the last digit has place 0 and stays as it is.",
        "At odd places take `2 * int(character)`; if that is more than 9, subtract 9: 12 gives 1 + 2 = 12 − 9.",
    ),
    solution=doubled_sum,
    wrong=(
        WrongAnswer(
            "from the left",
            lambda number: _counted(number, from_left=True),
            "You counted the places from the left. That agrees for numbers of odd length only; cards have 16 digits.",
        ),
        WrongAnswer(
            "digits not added",
            lambda number: _counted(number, digit_sum=False),
            "A doubled 7 counts as 14 in your sum. It should count as 1 + 4 = 5; otherwise a 5 there would count "
            "10, which is as good as the 0 of a 0, and that mistake would go unseen.",
        ),
        WrongAnswer(
            "the check digit doubled",
            lambda number: _counted(number, doubled=lambda place: place % 2 == 0),
            "You doubled the last digit, the fourth … from the other side: the check digit itself is never doubled.",
        ),
        WrongAnswer(
            "all doubled",
            lambda number: _counted(number, doubled=lambda place: True),
            "You doubled every digit. Only every second one is: so that a swap of two neighbours changes the sum.",
        ),
    ),
    cases=lambda draw: [
        ("79927398713",),
        ("4111111111111111",),
        ("5",),
        ("57",),
        *((_digits(draw, n),) for n in (8, 13, 16, 19)),
    ],
)


def weighted_mod_11(digits):
    """The weights are powers of 2, the last of the 17 digits has 2, and a check of 10 is written X."""
    weighted = sum(int(digit) * 2 ** (17 - place) for place, digit in enumerate(digits))
    check = (1 - weighted) % 11
    return "X" if check == 10 else str(check)


def _check(digits, *, weight=lambda place: 2 ** (17 - place), of=lambda weighted: (1 - weighted) % 11, ten="X"):
    check = of(sum(int(digit) * weight(place) for place, digit in enumerate(digits)))
    return ten if check == 10 else str(check)


WEIGHTED_MOD_11 = Exercise(
    id="cleaning.weighted_mod_11",
    notebook=NOTEBOOK,
    statement=(
        "Give the check character (a string) of a Chinese ID number for its 17 `digits` (a string). Each digit has a "
        "weight: from the left 2¹⁷, 2¹⁶, … 2¹. With the check character, whose weight is 1, the weighted sum must be 1 "
        "mod 11. A check of 10 is written X."
    ),
    difficulty=2,
    minutes=8,
    hints=(
        "`enumerate(digits)` gives place 0 for the first digit, whose weight is `2 ** 17`. Which power has place p?",
        "With `weighted = sum(int(d) * 2 ** (17 - p) …)`, the check c solves weighted + c = 1 mod 11: "
        "`c = (1 - weighted) % 11`.",
    ),
    solution=weighted_mod_11,
    wrong=(
        WrongAnswer(
            "weights one too low",
            lambda digits: _check(digits, weight=lambda place: 2 ** (16 - place)),
            "Your weights end with 1 at the last of the 17 digits. That weight belongs to the check character: the "
            "digit before it has 2.",
        ),
        WrongAnswer(
            "weights from the left",
            lambda digits: _check(digits, weight=lambda place: 2 ** (place + 1)),
            "Your weights grow from left to right. The first digit has the greatest, 2¹⁷.",
        ),
        WrongAnswer(
            "the remainder itself",
            lambda digits: _check(digits, of=lambda weighted: weighted % 11),
            "You gave the remainder of the weighted sum. The check is what is missing from there to 1, mod 11.",
        ),
        WrongAnswer(
            "up to zero",
            lambda digits: _check(digits, of=lambda weighted: -weighted % 11),
            "Your whole sum is 0 mod 11, as for an ISBN-10. For MOD 11-2 it is 1.",
        ),
        WrongAnswer(
            "10 as two digits",
            lambda digits: _check(digits, ten="10"),
            "A check of 10 has two digits, and the number would have 19 characters. It is written X.",
        ),
    ),
    cases=lambda draw: [
        ("11010519491231002",),
        ("44052418800101001",),
        *((_digits(draw, 17),) for _ in range(6)),
    ],
)


def mask_spans(text, spans, token):
    """From the last span to the first: what is replaced behind a place does not move it."""
    for start, end, kind in sorted(spans, reverse=True):
        text = text[:start] + token.replace("{kind}", kind) + text[end:]
    return text


def _first_to_last(text, spans, token):
    for start, end, kind in sorted(spans):
        text = text[:start] + token.replace("{kind}", kind) + text[end:]
    return text


def _everywhere(text, spans, token):
    originals = [(text[start:end], kind) for start, end, kind in spans]
    for value, kind in originals:
        text = text.replace(value, token.replace("{kind}", kind))
    return text


def _as_given(text, spans, token):
    for start, end, kind in reversed(spans):
        text = text[:start] + token.replace("{kind}", kind) + text[end:]
    return text


def _end_included(text, spans, token):
    return mask_spans(text, [(start, end + 1, kind) for start, end, kind in spans], token)


def _letter_and_spans(draw):
    words, spans, at = [], [], 0
    for kind in draw.permutation(["", "phone", "email", "", "phone", ""]).tolist():
        word = "word " if not kind else f"{draw.integers(100, 999)}-{draw.integers(1000, 9999)}"
        if kind:
            spans.append((at, at + len(word), kind))
        words += [word, " "]
        at += len(word) + 1
    order = draw.permutation(len(spans)).tolist()
    return "".join(words), [spans[i] for i in order], str(draw.choice(["<{kind}>", "[{kind} removed]"]))


MASK_SPANS = Exercise(
    id="cleaning.mask_spans",
    notebook=NOTEBOOK,
    statement=(
        "Replace every span (start, end, kind) of `text` by `token`, in which {kind} stands for the kind. The spans do "
        "not overlap and come in any order; their places are those of the text as given, `text[start:end]`."
    ),
    difficulty=2,
    minutes=7,
    hints=(
        "A token is seldom as long as what it replaces: everything behind it moves. What does not move?",
        "Go from the last span to the first, `for start, end, kind in sorted(spans, reverse=True)`, and put "
        '`text[:start] + token.replace("{kind}", kind) + text[end:]` together.',
    ),
    solution=mask_spans,
    wrong=(
        WrongAnswer(
            "first to last",
            _first_to_last,
            "You replaced from the first span to the last in the changed text: after the first token, all places are "
            "shifted.",
        ),
        WrongAnswer(
            "everywhere",
            _everywhere,
            "You replaced the value wherever it stands. In `7 of 77` with a span on the first 7 that would change the "
            "77 too: only the span is personal.",
        ),
        WrongAnswer(
            "as given, backwards",
            _as_given,
            "You went through the spans in the order given, backwards. They come in any order: sort them first.",
        ),
        WrongAnswer(
            "end included",
            _end_included,
            "One character too many goes with each value: `end` is the first place after it, as in every slice.",
        ),
        WrongAnswer(
            "kind not filled in",
            lambda text, spans, token: mask_spans(text, [(start, end, "{kind}") for start, end, _ in spans], token),
            "The token still says {kind}: replace that by the span's kind.",
        ),
    ),
    cases=lambda draw: [
        ("call 7 of 77", [(5, 6, "phone")], "<{kind}>"),
        ("a@b.co, 8.8.8.8, c@d.org", [(17, 24, "email"), (0, 6, "email"), (8, 15, "ipv4")], "<{kind}>"),
        ("a@b.co, 8.8.8.8, c@d.org", [(8, 15, "ipv4"), (17, 24, "email"), (0, 6, "email")], "<{kind}>"),
        ("nothing here", [], "<{kind}>"),
        ("a@b.co", [(0, 6, "email")], ""),
        *(_letter_and_spans(draw) for _ in range(4)),
    ],
)

EXERCISES = (DOUBLED_SUM, WEIGHTED_MOD_11, MASK_SPANS)
