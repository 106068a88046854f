"""Real labels made by people: which words of a Wikipedia article its editors made into links.

What the labels are worth: an editor chose every one of them, so what is marked is right. What is not marked may be
linked elsewhere (only the first mention in an article is meant to be), so no reader of one passage can reach F1 = 1.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from labkit.corpora.cache import CorpusUnavailable, read_or_make
from labkit.corpora.english import paragraphs_of, read_wikipedia_markup
from labkit.corpora.extras import need

OPEN, CLOSE = "\ue000", "\ue001"  # private characters, which stand where a link begins and ends
LONGEST = 6  # words of a phrase in the dictionary
_LINK = re.compile(r"\[\[([^\[\]|:]+)(?:\|([^\[\]|]+))?\]\]([a-z]*)")  # [[target]]s or [[target|text]]s
_WORD = re.compile(rf"{OPEN}|{CLOSE}|\w+|[^\w\s]")


class Span(NamedTuple):
    """A run of words, from `start` up to but without `end`, and what kind of thing it is."""

    start: int
    end: int
    kind: str = "LINK"


@dataclass(frozen=True)
class Passage:
    """The words of a passage, punctuation apart, the spans that are links, and the article that they are from."""

    words: tuple[str, ...]
    links: tuple[Span, ...]
    title: str = ""

    def __str__(self) -> str:
        marks = dict.fromkeys(range(len(self.words) + 1), "")
        for span in self.links:
            marks[span.start] += "«"
            marks[span.end - 1] += "»"
        sides = [(m.count("«") * "«", m.count("»") * "»") for m in marks.values()]
        return " ".join(f"{left}{word}{right}" for word, (left, right) in zip(self.words, sides, strict=False))


def linked_passages(most: int = 64) -> list[Passage]:
    """The first `most` words of each paragraph of the Wikipedia excerpt that has a link in them.

    Raises: CorpusUnavailable when gensim, which brings the excerpt and reads its markup, is missing.
    """
    lines = read_or_make("wikipedia-links-1.jsonl", _marked_paragraphs).decode("utf-8").split("\n")[:-1]
    found = [read_marked(text, title, most) for title, text in map(json.loads, lines)]
    return [passage for passage in found if passage.links]


def split_articles(passages: Sequence[Passage], every: int = 5) -> tuple[list[Passage], list[Passage]]:
    """Passages to learn from, and those of each `every`-th article to be judged on: no article is in both."""
    titles = list(dict.fromkeys(passage.title for passage in passages))
    held_out = set(titles[every - 1 :: every])
    return [p for p in passages if p.title not in held_out], [p for p in passages if p.title in held_out]


def mark_links(markup: str) -> str:
    """Wiki markup with each link as its words between two private characters; files and categories are left alone.

    >>> mark_links("a [[nerve cell]]s, [[Brain|the brain]]").replace(OPEN, "«").replace(CLOSE, "»")
    'a «nerve cells», «the brain»'
    """
    return _LINK.sub(lambda link: OPEN + (link[2] or link[1]) + link[3] + CLOSE, markup)


def read_marked(text: str, title: str = "", most: int | None = None) -> Passage:
    """The passage of a text with private characters around its links; a link that goes on after the end is left out.

    >>> print(read_marked(mark_links("A [[nerve cell]]s.")))
    A «nerve cells» .
    """
    words: list[str] = []
    links: list[Span] = []
    begin = 0
    for token in _WORD.findall(text):
        if token == OPEN:
            begin = len(words)
        elif token == CLOSE:
            if begin < len(words):
                links.append(Span(begin, len(words)))
        else:
            words.append(token)
    most = len(words) if most is None else most
    return Passage(tuple(words[:most]), tuple(span for span in links if span.end <= most), title)


class Dictionary:
    """What a list of phrases can do: each phrase with the share of its occurrences that were links.

    Source: Mihalcea & Csomai (2007), "Wikify!", section 3.2 (keyphraseness).
    """

    def __init__(self, passages: Iterable[Passage], threshold: float = 0.5):
        passages = list(passages)
        linked = Counter(phrase for passage in passages for phrase in _phrases(passage, passage.links))
        seen = Counter(p for passage in passages for p in _phrases(passage, _runs(passage)) if p in linked)
        self.keyphraseness = {phrase: linked[phrase] / count for phrase, count in seen.items()}
        self.threshold = threshold

    def find(self, passage: Passage) -> list[Span]:
        """Spans from left to right, the longest that are links at least as often as the threshold says."""
        found: list[Span] = []
        for start in range(len(passage.words)):
            if found and start < found[-1].end:
                continue
            for end in range(min(start + LONGEST, len(passage.words)), start, -1):
                phrase = next(_phrases(passage, [Span(start, end)]))
                if self.keyphraseness.get(phrase, 0.0) >= self.threshold:
                    found.append(Span(start, end))
                    break
        return found


def capitalised(passage: Passage) -> list[Span]:
    """Runs of words with a capital, without those that begin a sentence: what looks like a name."""
    found: list[Span] = []
    for i, word in enumerate(passage.words):
        if word[0].isupper() and i > 0 and passage.words[i - 1] not in ".?!":
            joins = bool(found) and found[-1].end == i
            begin = found.pop().start if joins else i
            found.append(Span(begin, i + 1))
    return found


def _runs(passage: Passage) -> Iterator[Span]:
    count = len(passage.words)
    return (Span(i, j) for i in range(count) for j in range(i + 1, min(i + LONGEST, count) + 1))


def _phrases(passage: Passage, spans: Iterable[Span]) -> Iterator[str]:
    return (" ".join(passage.words[span.start : span.end]).lower() for span in spans)


def _marked_paragraphs() -> bytes:
    articles = read_wikipedia_markup()
    try:
        wikicorpus = need("gensim.corpora.wikicorpus", "text", "to read wiki markup")
    except ModuleNotFoundError as error:
        raise CorpusUnavailable(str(error)) from error
    lines = []
    for title, markup in articles:
        for text in paragraphs_of(wikicorpus.filter_wiki(mark_links(markup))):
            if re.fullmatch(rf"([^{OPEN}{CLOSE}]|{OPEN}[^{OPEN}{CLOSE}]*{CLOSE})*", text):  # what was cut is left out
                lines.append(json.dumps([title, text], ensure_ascii=False) + "\n")
    return "".join(lines).encode()
