"""Clean paragraphs to build documents from: the Wikipedia excerpt for English, 三国演义 for Chinese."""

import random
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

SOURCES = {"en": "wikipedia", "zh": "sanguo"}
# Left out: markup, and whatever could be personal data that nobody planted.
_UNWANTED = re.compile(r"''|\[\[|\{\{|[|<>{}@\\]|https?:|www\.|\d{3}[-. ]\d{3,}|\d+\.\d+\.\d+|::|\d{7}|>>>")
# No end: the dot of an initial, and what no capital letter or digit follows.
_END = re.compile(r"(?<=[.!?\"”)])(?<![^\w.][A-Z]\.)(?<!\.[A-Z]\.)\s+(?=[\"“(]?[A-Z0-9])")
_CHINESE_SENTENCE = re.compile(r"[^。！？]++[。！？]*+[”’」』]*+")  # the last one may have no end
_NO_END = re.compile(r"[^。！？]++")
_SHORTEST = {"en": 120, "zh": 40}  # characters
_LONGEST = {"en": 1200, "zh": 260}


def known_language(language: Any) -> str:
    """Return the language when there is prose for it.

    Raises: ValueError for another one.
    """
    if language not in SOURCES:
        raise ValueError(f"language={language!r}: there is prose for {' and '.join(SOURCES)}; give one of them")
    return language


@lru_cache(maxsize=2)
def clean_articles(language: str) -> tuple[tuple[str, ...], ...]:
    """The usable paragraphs of a language by article or chapter, without repeats, in the order of their source.

    They are of the training part of the corpus only: its last tenth stays clean to judge models by.
    """
    from labkit import corpora

    corpus, _ = corpora.load(SOURCES[known_language(language)], quiet=True).split()
    titles, documents = corpus.titles, corpus.documents
    if corpus.used.startswith("grammar"):  # the fallback of sanguo: a document is one short sentence
        documents = ["".join(documents[i : i + 8]) for i in range(0, len(documents), 8)]
        titles = [str(i // 20) for i in range(len(documents))]
    seen: set[str] = set()
    articles: dict[str, list[str]] = {}
    for title, document in zip(titles, documents, strict=True):
        for line in document.split("\n"):
            for piece in _split(" ".join(line.split()), language):
                if piece not in seen and _is_clean(piece, language):
                    seen.add(piece)
                    articles.setdefault(title, []).append(piece)
    return tuple(map(tuple, articles.values()))


@lru_cache(maxsize=2)
def clean_paragraphs(language: str) -> tuple[str, ...]:
    """All usable paragraphs of a language in one line."""
    return tuple(paragraph for article in clean_articles(language) for paragraph in article)


def _is_clean(piece: str, language: str) -> bool:
    end = '.!?"”)' if language == "en" else "。！？”’」』"
    return len(piece) >= _SHORTEST[language] and piece[-1] in end and not _UNWANTED.search(piece)


def _split(line: str, language: str) -> Iterator[str]:
    """Long paragraphs of a novel become several, each ending with a sentence."""
    if len(line) <= _LONGEST[language]:
        yield line
        return
    piece = ""
    for sentence in sentences(line, language):
        if piece and len(piece) + len(sentence) > _LONGEST[language] * 0.7:
            yield piece.strip()
            piece = ""
        piece += sentence + (" " if language == "en" else "")
    yield piece.strip()


def sentences(paragraph: str, language: str) -> list[str]:
    """Sentences, simply cut: good enough to mix paragraphs and to make headings."""
    if language == "en":
        return _END.split(paragraph)
    found = _CHINESE_SENTENCE.findall(paragraph)
    return [sentence for sentence in found if not _NO_END.fullmatch(sentence)] or [paragraph]


class Prose:
    """Paragraphs drawn without putting back, those of a document in a row; when all are used, they are mixed.

    A mixed paragraph is made of sentences of several. With `mixed=True` all are, and the real ones are left.
    """

    def __init__(self, language: str, rng: random.Random, *, mixed: bool = False) -> None:
        self.language = known_language(language)
        self._rng = rng
        articles = () if mixed else clean_articles(language)
        self._runs = [article[i : i + 8] for article in articles for i in range(0, len(article), 8)]
        rng.shuffle(self._runs)
        self._short: list[str] = []  # what is left of runs, too little for a document of its own

    def paragraph(self) -> str:
        """A paragraph on any subject."""
        if not self._short and self._runs:
            self._short.extend(self._runs.pop())
        return self._short.pop() if self._short else self._mixed()

    def document(self, units: int) -> list[str]:
        """Paragraphs of together at least so many words (characters for Chinese), in a row in their source."""
        run = list(self._runs.pop()) if self._runs else []
        taken: list[str] = []
        length = 0
        while length < units:
            taken.append(run.pop(0) if run else self.paragraph())
            length += len(taken[-1].split()) if self.language == "en" else len(taken[-1])
        if len(run) > 3:
            self._runs.insert(self._rng.randrange(len(self._runs) + 1), tuple(run))
        else:
            self._short.extend(run)
        return taken

    def _mixed(self) -> str:
        pool = clean_paragraphs(self.language)
        chosen = [self._rng.choice(sentences(self._rng.choice(pool), self.language)) for _ in range(5)]
        return (" " if self.language == "en" else "").join(sentence.strip() for sentence in chosen)


_CONNECTING = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "by",
        "for",
        "from",
        "in",
        "is",
        "of",
        "on",
        "or",
        "that",
        "the",
        "their",
        "this",
        "to",
        "was",
        "were",
        "with",
        "its",
    ]
)
_SECTIONS = {
    "en": (
        "Background", "History", "Overview", "How it began", "What others say", "Later years", "In practice",
        "A closer look", "Reception", "Legacy", "Context", "The short version", "Open questions", "Influence",
    ),
    "zh": ("背景", "起因", "经过", "后来的影响", "人物", "评价", "历史", "要点", "相关争议", "综述", "延伸", "总结"),
}  # fmt: skip
_LISTS = {
    "en": (
        "Read the sources before you quote them.", "Dates before 1582 follow the Julian calendar.",
        "Names are given in the form that the sources use.", "Maps are drawn to scale unless noted.",
        "Figures for recent years are provisional.", "Translations are by the editors.",
        "Page numbers refer to the second edition.", "Measurements are metric throughout.",
        "Quotations keep the spelling of the original.", "Disputed claims are marked in the text.",
    ),
    "zh": (
        "引文以通行本为准。", "年代均按公历推算。", "人名从原书写法。", "地名后附今名。", "有争议之处另作说明。",
        "数字为约数。", "注释附于文末。", "版本差异从略。",
    ),
}  # fmt: skip


def headline(paragraph: str, language: str) -> str:
    """A title from the first words of a paragraph, not ending in a connecting word."""
    first = sentences(paragraph, language)[0].strip()
    if language == "zh":
        return re.split(r"[，。：；！？“”、]", first.lstrip("“‘"))[0][:20] or first[:12]
    words = first.rstrip(".!?").split()[:8]
    while len(words) > 2 and words[-1].lower().strip(",;:") in _CONNECTING:
        words.pop()
    return " ".join(words).rstrip(",;:")


def article(paragraphs: list[str], *, seed: int | str, language: str = "en") -> list[tuple[str, str]]:
    """Blocks (tag, text) of an article: a title, the paragraphs, headings between some, and at times a list.

    All of it is content that a reader wants. The same paragraphs and seed give the same blocks.
    """
    rng = random.Random(f"article {seed} {known_language(language)}")
    blocks = [("h1", headline(paragraphs[0], language))] if paragraphs else []
    names = list(_SECTIONS[language])
    rng.shuffle(names)
    for number, paragraph in enumerate(paragraphs):
        if number and names and rng.random() < 0.35:
            blocks.append(("h2", names.pop()))
        blocks.append(("p", paragraph))
    if rng.random() < 0.35:
        blocks += [("li", item) for item in rng.sample(_LISTS[language], rng.randint(2, 4))]
    return blocks
