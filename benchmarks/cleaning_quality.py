"""Quality rules: labkit.cleaning beside datatrove on the same documents of 200 to 2,000 words, one thread, CPU seconds.

datatrove's English words and sentences come from spaCy. For the ratio that is asked, both split at white space (and
count sentences alike), so that only the rules are compared; what datatrove costs as it comes is a line of its own.
"""

import random
from collections.abc import Callable
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from peers import Row, paired

from labkit import corpora
from labkit.cleaning.c4_rules import C4_DATATROVE, c4
from labkit.cleaning.gopher_rules import QUALITY, REPETITION, broken, gopher
from labkit.cleaning.quality import sentences

DOCUMENTS, AS_IT_COMES = 200, 20
FILTERS = "datatrove.pipeline.filters"


def documents(count: int = DOCUMENTS, seed: int = 0) -> list[str]:
    """Paragraphs of Wikipedia in random order, joined to documents of 200 to 2,000 words."""
    draw = random.Random(seed)
    paragraphs = [p for document in corpora.load("wikipedia", quiet=True).documents for p in document.split("\n") if p]
    draw.shuffle(paragraphs)
    found, place = [], 0
    for _ in range(count):
        wanted, pieces, words = draw.randint(200, 2000), [], 0
        while words < wanted:
            pieces.append(paragraphs[place % len(paragraphs)])
            words, place = words + pieces[-1].count(" ") + 1, place + 1
        found.append("\n\n".join(pieces))
    return found


class NoLetterOrDigit:
    """What we call punctuation; datatrove's list lacks some bullets and arrows."""

    def __contains__(self, character: str) -> bool:
        return not character.isalnum()


@contextmanager
def same_words() -> Any:
    """Let datatrove split at white space, count sentences and know punctuation as we do; afterwards as it was."""
    tokenizers, quality = (
        import_module("datatrove.utils.word_tokenizers"),
        import_module(f"{FILTERS}.gopher_quality_filter"),
    )
    cached, filters = import_module("datatrove.utils.text").split_into_parts, import_module(f"{FILTERS}.c4_filters")
    before = tokenizers.load_word_tokenizer, quality.PUNCTUATION_SET, filters.split_into_sentences
    splitter = SimpleNamespace(word_tokenize=str.split)
    cached.cache_clear()
    tokenizers.load_word_tokenizer, quality.PUNCTUATION_SET = (lambda language: splitter), NoLetterOrDigit()
    filters.split_into_sentences = lambda line, language: range(sentences(line))
    try:
        yield
    finally:
        tokenizers.load_word_tokenizer, quality.PUNCTUATION_SET, filters.split_into_sentences = before
        cached.cache_clear()


def their_gopher() -> Callable[[str], tuple[bool, bool]]:
    """datatrove's verdicts on quality and on repetition."""
    quality = import_module(f"{FILTERS}.gopher_quality_filter").GopherQualityFilter()
    repetition = import_module(f"{FILTERS}.gopher_repetition_filter").GopherRepetitionFilter()
    document = import_module("datatrove.data").Document

    def verdicts(text: str) -> tuple[bool, bool]:
        page = document(text=text, id="")
        return quality.filter(page) is True, repetition.filter(page) is True

    return verdicts


def our_gopher(text: str) -> tuple[bool, bool]:
    """Our verdicts on both; for this every rule is asked, also behind the first that is broken."""
    rules = {verdict.rule for verdict in broken(text)}
    return rules.isdisjoint(QUALITY), rules.isdisjoint(REPETITION)


def their_c4() -> Callable[[str], str | None]:
    """What datatrove leaves of a text, None if the page is removed."""
    rules, document = import_module(f"{FILTERS}.c4_filters").C4QualityFilter(), import_module("datatrove.data").Document

    def left(text: str) -> str | None:
        page = document(text=text, id="")
        return page.text if rules.filter(page) is True else None

    return left


def our_c4(text: str) -> str | None:
    """What is left of a text, None if the page is removed."""
    page = c4(text, C4_DATATROVE)
    return page.text if page.verdict.kept else None


def _row(what: str, ours: Callable, theirs: Callable, texts: list[str], rounds: int, asked: float | None = None) -> Row:
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    alike = sum(ours(text) == theirs(text) for text in texts)
    seconds = paired(lambda: [ours(text) for text in texts], lambda: [theirs(text) for text in texts], rounds)
    note = f"the same result for {alike} of {len(texts)} documents"
    return Row(what, "MB/s", megabytes / seconds[0], megabytes / seconds[1], seconds[2], asked, note)


def bench(rounds: int = 3) -> list[Row]:
    """Gopher's and C4's rules beside datatrove's; a line that says so where datatrove is missing."""
    try:
        import_module(f"{FILTERS}.gopher_quality_filter")
    except ImportError as missing:
        return [Row("Gopher and C4 rules, datatrove", note=f"not measured: {missing}", missing="datatrove")]
    texts = documents()
    everything = lambda text: gopher(text).kept  # noqa: E731
    with same_words():
        theirs = their_gopher()
        rows = [
            _row("Gopher quality + repetition, one verdict", everything, lambda t: all(theirs(t)), texts, rounds, 8),
            _row("Gopher quality + repetition, every rule asked", our_gopher, theirs, texts, rounds),
            _row("C4 lines and pages", our_c4, their_c4(), texts, rounds),
        ]
    few, theirs = texts[:AS_IT_COMES], their_gopher()
    try:
        rows.append(_row("Gopher, datatrove with its own words (spaCy)", everything, lambda t: all(theirs(t)), few, 1))
    except ImportError as missing:
        what = "Gopher, datatrove with its own words (spaCy)"
        rows.append(Row(what, note=f"not measured: {missing}", missing="spacy"))
    return rows


if __name__ == "__main__":
    print(*bench(), sep="\n")
