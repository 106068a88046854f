"""Main text of pages: labkit.cleaning beside trafilatura on the same generated pages, one thread, CPU seconds."""

import importlib
from collections.abc import Callable

from peers import Row, paired

from labkit import corpora
from labkit.cleaning.html import main_text
from labkit.cleaning.mojibake import SETTINGS, repair
from labkit.cleaning.scoring import Score, score_text
from labkit.corpora.crawl import Page, article, page

PAGES = 60


def pages(language: str, count: int = PAGES) -> list[Page]:
    """Pages of all templates around 3 to 8 paragraphs of real text."""
    name, least = {"en": ("wikipedia", 60), "zh": ("sanguo", 20)}[language]
    lines = [line for line in corpora.load(name, quiet=True).text.split("\n") if len(line) > least]
    texts = [lines[9 * i : 9 * i + 3 + i % 6] for i in range(count)]
    made = [article(text, seed=i, language=language) for i, text in enumerate(texts)]
    return [page(text, seed=i, language=language, template=i % 9) for i, text in enumerate(made)]


def bench(rounds: int) -> list[Row]:
    """Rates and F1 on pages in English and Chinese, and the rate of the repair of mojibake beside ftfy."""
    try:
        extract = importlib.import_module("trafilatura").extract
    except ImportError as error:
        return [Row("main text of pages", note=f"does not load here: {error}", missing="trafilatura"), *repairs(rounds)]
    rows = []
    for language, asked in (("en", 10.0), ("zh", 10.0)):
        made = pages(language)
        megabytes = sum(len(one.html.encode()) for one in made) / 1e6
        ours, theirs, ratio = paired(
            lambda made=made: [main_text(one.html) for one in made],
            lambda made=made: [extract(one.html, include_comments=False) for one in made],
            rounds,
        )
        scores = [f1(found, made, language) for found in (main_text, lambda html: extract(html) or "")]
        note = f"F1 {scores[0]:.3f} against {scores[1]:.3f}"
        rate = "MB/s", megabytes / ours, megabytes / theirs, ratio, asked
        rows.append(Row(f"main text of pages ({language}), trafilatura", *rate, note))
    return rows + repairs(rounds)


def f1(extract: Callable[[str], str], made: list[Page], language: str) -> float:
    """F1 by words (characters in Chinese) over all pages together."""
    scores = [score_text(extract(one.html), one.main, language=language) for one in made]
    return sum(scores, start=Score(0, 0, 0)).f1


def repairs(rounds: int) -> list[Row]:
    """Repair of text of which nearly every line is sound, as in a crawl; the results are equal."""
    try:
        ftfy = importlib.import_module("ftfy")
    except ImportError as error:
        return [Row("repair of mojibake", note=f"does not load here: {error}", missing="ftfy")]
    text = corpora.load("wikipedia", quiet=True).text[:400_000].replace("é", "Ã©", 3)
    same = repair(text, chinese=False).text == ftfy.fix_text(text, **SETTINGS)
    ours, theirs, ratio = paired(lambda: repair(text, chinese=False), lambda: ftfy.fix_text(text, **SETTINGS), rounds)
    size = len(text.encode()) / 1e6
    note = "same text" if same else "THE TEXTS DIFFER"
    return [Row("repair of mojibake, ftfy on every line", "MB/s", size / ours, size / theirs, ratio, 4.0, note)]
