"""Judging a tagger by whole names instead of single characters."""

from collections.abc import Sequence

Span = tuple[int, int, str]


def spans(tags: Sequence[str]) -> set[Span]:
    """The names that a row of BIO tags marks: (first place, place after the last, kind).

    >>> sorted(spans(["B-PER", "I-PER", "O", "B-LOC"]))
    [(0, 2, 'PER'), (3, 4, 'LOC')]
    """
    found: set[Span] = set()
    for begin, tag in enumerate(tags):
        if tag.startswith("B-"):
            end = begin + 1
            while end < len(tags) and tags[end] == f"I-{tag[2:]}":
                end += 1
            found.add((begin, end, tag[2:]))
    return found


def span_scores(
    truth: Sequence[Sequence[str]], guesses: Sequence[Sequence[str]]
) -> dict[str, tuple[float, float, float]]:
    """Precision, recall and F1 for each kind of name; a name counts only if both ends and the kind are right; a kind
    that only the guesses know scores 0.

    Raises:
        ValueError: if the two do not have the same documents of the same lengths.

    Source: Tjong Kim Sang & De Meulder (2003), CoNLL-2003, section 3.4.
    """
    if len(truth) != len(guesses):
        raise ValueError(f"truth and guesses must tag the same symbols, got {len(truth)} and {len(guesses)} documents")
    for i, (gold_tags, found_tags) in enumerate(zip(truth, guesses, strict=True)):
        if len(gold_tags) != len(found_tags):
            got = f"got {len(gold_tags)} and {len(found_tags)} tags in document {i}"
            raise ValueError(f"truth and guesses must tag the same symbols, {got}")
    gold = {(i, *span) for i, tags in enumerate(truth) for span in spans(tags)}
    found = {(i, *span) for i, tags in enumerate(guesses) for span in spans(tags)}
    scores = {}
    for kind in sorted({span[-1] for span in gold | found}):
        g, f = ({span for span in part if span[-1] == kind} for part in (gold, found))
        hits = len(g & f)
        scores[kind] = (hits / len(f) if f else 0.0, hits / len(g) if g else 0.0, 2 * hits / (len(f) + len(g)))
    return scores
