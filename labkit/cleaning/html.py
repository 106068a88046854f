"""From a page to its text: blocks are kept or struck out by what can be measured, not by the name of the site.

Of a block: how long it is, how much of it is links, whether it has sentences. Of its place: what the elements around
it say of themselves, and whether it lies in the box that holds most of the good text.
"""

import re
from dataclasses import dataclass
from typing import Any

from labkit.cleaning.blocks import Outline, RawBlock, outline
from labkit.cleaning.limits import PAGE

HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
PIECES = frozenset(("li", "td", "th", "dt", "dd", "pre", "blockquote", "figcaption", "caption"))  # short by nature
_SENTENCE = re.compile("[.!?…]['\")”’\\]]?(?:\\s|$)|[。！？；：，]")


@dataclass(frozen=True, slots=True)
class Rules:
    """When a block is text. Lengths in bytes of UTF-8: a Chinese character counts as three letters.

    `least_length` for a block that needs no neighbours; `most_links`: largest share of its characters inside links;
    `names`: heed class names and roles; `region`: share of the good text that the main part of the page must hold;
    `deepest`: elements open at once before a page is refused.
    """

    least_length: int = 80
    most_links: float = 0.33
    names: bool = True
    region: float = 0.9
    deepest: int = 2_000


RULES = Rules()


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page: its text, its tag, the share of its characters inside links, and why it was kept or not."""

    text: str
    tag: str
    link_density: float
    kept: bool
    reason: str


def main_text(html: Any, rules: Rules = RULES, *, limit: int = PAGE) -> str:
    """The text that the page was made for, a blank line between blocks; empty if there is none.

    >>> main_text("<nav><a href=/>Home</a></nav><h1>Tea</h1><p>" + "It grows in the hills. " * 5)[:27]
    'Tea\\n\\nIt grows in the hills.'

    Raises:
        ValueError: for what is no page, a page above `limit`, or one nested too deeply.
        ModuleNotFoundError: without selectolax.
    """
    found = outline(html, names=rules.names, limit=limit, deepest=rules.deepest)
    return "\n\n".join(b.text for b, reason in zip(found.blocks, decide(found, rules), strict=True) if reason in KEPT)


def blocks(html: Any, rules: Rules = RULES, *, limit: int = PAGE) -> list[Block]:
    """Every block of the page in order, those that are struck out too, each with its reason.

    Raises: as main_text.
    """
    found = outline(html, names=rules.names, limit=limit, deepest=rules.deepest)
    decided = zip(found.blocks, decide(found, rules), strict=True)
    return [Block(b.text, b.tag, round(link_density(b), 3), reason in KEPT, reason) for b, reason in decided]


TEXT, SHORT, PIECE, HEADING = "text", "short, among text", "list or table among text", "heading of text"
KEPT = frozenset((TEXT, SHORT, PIECE, HEADING))


def decide(page: Outline, rules: Rules = RULES) -> list[str]:
    """One reason for each block: first by itself, then by its place, then by its neighbours.

    Source: the measures are those of Kohlschütter, Fankhauser and Nejdl (2010), "Boilerplate detection using shallow
    text features", table 2, and of jusText (Pomikálek 2011), whose second pass looks at the neighbours.
    """
    reasons = [alone(block, rules) for block in page.blocks]
    if TEXT not in reasons and _size(page, reasons, SHORT) >= rules.least_length:  # a poem, a conversation
        reasons = [TEXT if reason == SHORT else reason for reason in reasons]
    start, end = main_part(page, reasons, rules.region)
    for i, block in enumerate(page.blocks):
        if reasons[i] in KEPT and not start <= block.box < end and block.tag != "h1":
            reasons[i] = "outside the main part"
    return among_neighbours(page.blocks, reasons)


def alone(block: RawBlock, rules: Rules) -> str:
    """What a block looks like by itself; a heading, a piece and a short sentence are not decided yet."""
    if block.furniture and not (block.furniture == "header" and block.tag == "h1"):
        return block.furniture
    if block.links and link_density(block) > rules.most_links:
        return "links"
    if block.tag in HEADINGS:
        return HEADING
    sentences = _SENTENCE.search(block.text) is not None
    if block.size >= rules.least_length and (sentences or block.size >= 3 * rules.least_length):
        return TEXT
    if block.tag in PIECES:
        return PIECE
    return SHORT if sentences or block.size >= rules.least_length / 2 else "short"


def _size(page: Outline, reasons: list[str], wanted: str) -> int:
    return sum(b.size for b, reason in zip(page.blocks, reasons, strict=True) if reason == wanted)


def link_density(block: RawBlock) -> float:
    """The share of the characters of a block that are inside links, white space left out."""
    return min(1.0, block.links / max(1, len(block.text) - block.text.count(" ")))


def main_part(page: Outline, reasons: list[str], share: float) -> tuple[int, int]:
    """The smallest box that holds this share of all good text: its number, and that of the first box after it."""
    held = [0] * len(page.parents)
    for block, reason in zip(page.blocks, reasons, strict=True):
        if reason == TEXT:
            held[block.box] += block.size
    for box in range(len(held) - 1, 0, -1):  # a box comes after its parent
        if held[box]:
            held[page.parents[box]] += held[box]
    enough = share * held[0]
    best = max(box for box, size in enumerate(held) if size >= enough) if enough else 0
    return best, page.ends[best]


def among_neighbours(found: list[RawBlock], reasons: list[str]) -> list[str]:
    """Keep a short block between two of text, a piece after text, and a heading before something that is kept."""
    texts = [i for i, reason in enumerate(reasons) if reason == TEXT]
    if not texts:
        return ["no text on this page" if reason in KEPT else reason for reason in reasons]
    title = max((i for i in range(texts[0]) if found[i].tag == "h1" and reasons[i] == HEADING), default=texts[0])
    decided, follows = list(reasons), False
    for i in range(len(found) - 1, -1, -1):
        reason = reasons[i]
        if reason == HEADING:
            if not follows:
                decided[i] = "heading of nothing"
            continue
        if reason in (SHORT, PIECE) and not (title <= i < texts[-1] or (reason == PIECE and i > texts[-1])):
            decided[i] = "short, before or after the text"
        if reason in KEPT:
            follows = decided[i] in KEPT
    return decided
