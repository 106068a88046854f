"""Exercises on finding candidates: a text's signature, and the bands in which signatures agree."""

from itertools import combinations

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "13_data_cleaning"


def signature_of(shingles, multipliers):
    """For each multiplier the least product modulo 2**32."""
    return [min(multiplier * shingle % 2**32 for shingle in shingles) for multiplier in multipliers]


def _each_shingle(shingles, multipliers):
    return [min(multiplier * shingle % 2**32 for multiplier in multipliers) for shingle in shingles]


def _winners(shingles, multipliers):
    return [min(shingles, key=lambda shingle, m=multiplier: m * shingle % 2**32) for multiplier in multipliers]


def _numbers(draw, count):
    return [int(x) for x in draw.integers(1, 2**32, count)]


def _odd(draw, count):
    return [int(x) * 2 + 1 for x in draw.integers(2**28, 2**31, count)]


SIGNATURE_OF = Exercise(
    id="cleaning.signature_of",
    notebook=NOTEBOOK,
    statement=(
        "Write the MinHash signature of one text. `shingles` are its hashes (numbers below 2**32), each odd number in "
        "`multipliers` makes a hash function h(x) = multiplier · x modulo 2**32. Return a list with the least value "
        "of each function over all shingles."
    ),
    difficulty=1,
    minutes=5,
    hints=(
        "As many numbers come out as there are multipliers, however long the text is. Two loops: which is the outer?",
        "`[min(m * x % 2**32 for x in shingles) for m in multipliers]`",
    ),
    solution=signature_of,
    wrong=(
        WrongAnswer(
            "no modulo",
            lambda shingles, multipliers: [min(m * x for x in shingles) for m in multipliers],
            "Without the modulo every function keeps the order of the numbers: all have their least value at the same "
            "shingle, and the signature says one thing many times.",
        ),
        WrongAnswer(
            "one for each shingle",
            _each_shingle,
            "You take the least over the functions, one number for each shingle. Take it over the shingles, one for "
            "each function: signatures of all texts have the same length.",
        ),
        WrongAnswer(
            "the shingle itself",
            _winners,
            "You return the shingle that is hashed to the least value. That works for estimates too, but asked is the "
            "value itself, which needs no second look at the shingles.",
        ),
        WrongAnswer(
            "largest",
            lambda shingles, multipliers: [max(m * x % 2**32 for x in shingles) for m in multipliers],
            "You take the largest value. It would do as well, but signatures of others use the least.",
        ),
        WrongAnswer(
            "sorted",
            lambda shingles, multipliers: sorted(signature_of(shingles, multipliers)),
            "You sort the signature. Then places no longer belong to functions, and two signatures cannot be compared "
            "place by place.",
        ),
    ),
    cases=lambda draw: [
        ([2**31, 3, 7], [2654435769, 2246822519, 3266489917]),
        ([2**32 - 1, 5], [4294967295, 2654435761, 3]),
        *((_numbers(draw, count), _odd(draw, 4)) for count in (3, 8, 20)),
    ],
)


def band_candidates(signatures, rows):
    """Pairs that agree in all rows of at least one band."""
    found = []
    for j, second in enumerate(signatures):
        for i, first in enumerate(signatures[:j]):
            if any(first[s : s + rows] == second[s : s + rows] for s in range(0, len(first), rows)):
                found.append((i, j))
    return sorted(found)


def _pairs_where(agree):
    return lambda signatures, rows: [
        (i, j)
        for i, j in combinations(range(len(signatures)), 2)
        if agree(signatures[i], signatures[j], [*range(0, len(signatures[i]), rows)], rows)
    ]


_ALL_BANDS = _pairs_where(lambda a, b, starts, rows: all(a[s : s + rows] == b[s : s + rows] for s in starts))
_ANY_ROW = _pairs_where(lambda a, b, starts, rows: any(x == y for x, y in zip(a, b, strict=True)))
_ANY_BANDS = _pairs_where(
    lambda a, b, starts, rows: any(a[s : s + rows] == b[t : t + rows] for s in starts for t in starts)
)
_SLIDING = _pairs_where(
    lambda a, b, starts, rows: any(a[s : s + rows] == b[s : s + rows] for s in range(len(a) - rows + 1))
)
_ENOUGH_ROWS = _pairs_where(lambda a, b, starts, rows: sum(x == y for x, y in zip(a, b, strict=True)) >= rows)


def _few_values(draw, texts, length):
    return [[int(x) for x in row] for row in draw.integers(0, 3, (texts, length))]


BAND_CANDIDATES = Exercise(
    id="cleaning.band_candidates",
    notebook=NOTEBOOK,
    statement=(
        "Find the candidates. `signatures` is a list of lists of equal length, which is a multiple of `rows`; each is "
        "cut into bands of `rows` numbers. Return the list of pairs (i, j), i < j, in ascending order, of signatures "
        "that are equal in all rows of at least one band, the same band of both."
    ),
    difficulty=2,
    minutes=8,
    hints=(
        "`itertools.combinations(range(n), 2)` gives the pairs in order. A band begins at 0, rows, 2 · rows, …",
        "A pair is a candidate if `any(a[s : s + rows] == b[s : s + rows] for s in range(0, len(a), rows))`.",
    ),
    solution=band_candidates,
    wrong=(
        WrongAnswer(
            "all bands",
            _ALL_BANDS,
            "You ask for all bands to agree: then the whole signatures are equal, and only exact copies are found. One "
            "band is enough.",
        ),
        WrongAnswer(
            "one row",
            _ANY_ROW,
            "A single equal number makes a candidate with you. All rows of a band must agree: that is what keeps the "
            "strangers out.",
        ),
        WrongAnswer(
            "bands mixed",
            _ANY_BANDS,
            "You compare every band with every other. Different bands hold the values of different hash functions; "
            "their agreement means nothing. In real code: the number of the band belongs into the key.",
        ),
        WrongAnswer(
            "bands that overlap",
            _SLIDING,
            "Your bands begin at every row. They must not overlap: steps of `rows`, `range(0, len(a), rows)`.",
        ),
        WrongAnswer(
            "rows from anywhere",
            _ENOUGH_ROWS,
            "You count equal rows wherever they stand. They must stand in the same band; otherwise there is nothing "
            "to sort or look up, and all pairs have to be compared.",
        ),
    ),
    cases=lambda draw: [
        ([], 2),
        ([[1, 2, 3, 4]], 2),
        ([[1, 2, 3, 4], [1, 2, 5, 6]], 2),
        ([[1, 2, 3, 4], [3, 4, 1, 2]], 2),
        ([[1, 2, 3, 4], [5, 2, 3, 6]], 2),
        ([[1, 2, 3, 4], [1, 5, 3, 6], [1, 2, 3, 4]], 2),
        (_few_values(draw, 6, 6), 3),
        (_few_values(draw, 5, 6), 2),
    ],
)
