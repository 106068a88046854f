"""Web pages around known text: what a reader wants, and everything else that stands on the page."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from labkit.corpora.crawl.templates import TEMPLATES, Furnisher

TAGS = ("h1", "h2", "h3", "p", "li", "pre", "blockquote")


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its HTML, its main text (paragraphs with a blank line between), and every other text on it."""

    html: str
    main: str
    paragraphs: tuple[str, ...]
    boilerplate: tuple[str, ...]


def page(
    paragraphs: Sequence[str | tuple[str, str]],
    *,
    seed: int | str,
    language: str = "en",
    charset: str | None = "utf-8",
    template: int | None = None,
) -> Page:
    """The paragraphs (strings, or pairs of tag and text) inside one of nine page templates, chosen by the seed.

    The main text does not depend on the template. `charset` is what the page says of itself; None says nothing.

    Raises: ValueError for no paragraphs or a single text, a tag that is not in TAGS, or a template that does not exist.
    """
    if isinstance(paragraphs, str):
        raise ValueError("give a list of paragraphs, got a single text: put it in brackets")
    blocks = [("p", block) if isinstance(block, str) else (block[0], block[1]) for block in paragraphs]
    unknown = {tag for tag, _ in blocks} - set(TAGS)
    if not blocks or unknown:
        raise ValueError(f"got {len(blocks)} blocks with the tags {sorted(unknown)}; give some, of the tags {TAGS}")
    if template is not None and not 0 <= template < len(TEMPLATES):
        raise ValueError(f"template={template!r} does not exist; give a number under {len(TEMPLATES)}, or None")
    rng = random.Random(f"page {seed} {language}")
    chosen = TEMPLATES[rng.randrange(len(TEMPLATES)) if template is None else template]
    furnisher = Furnisher(language, rng)
    html = chosen(blocks, furnisher, furnisher.head(blocks[0][1][:60], declaration(charset, rng)))
    texts = tuple(text for _, text in blocks)
    return Page(html, "\n\n".join(texts), texts, tuple(furnisher.said))


def declaration(charset: str | None, rng: random.Random) -> str:
    """The meta tag that names the encoding, in its short or its long form."""
    if charset is None:
        return ""
    if rng.random() < 0.6:
        return f'<meta charset="{escape(charset)}">'
    return f'<meta http-equiv="Content-Type" content="text/html; charset={escape(charset)}">'
