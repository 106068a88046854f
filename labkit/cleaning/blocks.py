"""A page cut into blocks of text: what stands between two block-level tags, with what was measured around it."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from labkit.cleaning.nesting import refuse_bomb
from labkit.corpora.extras import need

# Cut out before anything is read: what is no markup inside, and what would tear a word apart.
UNREAD = ["script", "style", "noscript", "template", "iframe", "noembed", "noframes", "xmp", "plaintext", "rp", "rt"]
# Elements within a line of text, elements without an end tag, and those that say themselves that they are not the text.
_INLINE = """a b i em strong span font code sub sup small big u s strike tt abbr acronym cite q dfn kbd samp var mark
time ins del bdi bdo label nobr data ruby rb wbr img input picture source basefont"""
_VOID = "area base br col embed hr img input link meta source track wbr basefont bgsound frame keygen param"
FURNITURE_TAGS = {
    **{"nav": "navigation", "aside": "beside the text", "footer": "footer", "button": "button", "menu": "menu"},
    **{"select": "form", "option": "form", "textarea": "form", "legend": "form", "label": "form", "dialog": "dialog"},
    **{"svg": "picture", "math": "formula", "canvas": "picture", "map": "picture", "datalist": "form"},
    **dict.fromkeys(("object", "embed", "video", "audio", "title"), "not on the page"),
}
_ROLES = "navigation contentinfo complementary search dialog alertdialog menu menubar toolbar tablist tooltip"
# Words in class and id that web sites use alike; Readability.js has most of them as "unlikely candidates".
_NAMES = """ad ads adslot advert advertisement advertising agegate banner breadcrumb breadcrumbs byline catlinks comment
commentlist comments consent cookie cookies copyright disqus editsection feedback footer gdpr menu modal nav navbar
navigation newsletter pager pagination popup promo promoted promotion recommended related remark replies reply respond
responses rss share sharedaddy sharing shoutbox sidebar signup similar skyscraper social sponsor sponsored subscribe
subscription supplemental tags toc toolbar topbar widget widgets"""
SPECIAL = frozenset(("pre", "main", "article", "header"))
INLINE, VOID = frozenset(_INLINE.split()), frozenset(_VOID.split())
PLAIN = INLINE - VOID
FURNITURE_ROLES, FURNITURE_NAMES = frozenset(_ROLES.split()), frozenset(_NAMES.split())
# What the parser writes: every attribute as name="value". A comment has no groups.
_TIDY = re.compile(r"""<!--.*?-->|<(/?)([^\s/>!]++)([^>"]*+(?:"[^"]*+"[^>"]*+)*+)>""", re.S)
_ATTRIBUTE = re.compile(r"""(?:^|\s)(class|id|role|style|hidden|aria-hidden|aria-modal)="([^"]*+)\"""")
_ADDRESS = ' href="'  # no two links are alike; what stands behind it says nothing
_WORD = re.compile("[a-z]+")
_INVISIBLE = re.compile(r"display\s{0,3}:\s{0,3}none|visibility\s{0,3}:\s{0,3}hidden")
_BREAK = "\x0b"  # where a <br> stood


@dataclass(slots=True)
class RawBlock:
    """A run of text and its bytes, the tag around it, its characters in links, its box, and its furniture if any."""

    text: str
    size: int
    tag: str
    links: int
    box: int
    furniture: str


@dataclass(slots=True)
class Outline:
    """The boxes of a page in the order in which they open: the parent of each, and the first box that is not inside."""

    parents: list[int]
    ends: list[int]
    blocks: list[RawBlock]


def outline(html: Any, *, names: bool = True, limit: int, deepest: int) -> Outline:
    """The blocks of a page.

    The parser repairs the markup; then one pass over its tidy output, with a stack of our own, finds the blocks. No
    function calls itself, so no page is too deep for Python.

    Raises:
        ValueError: for a page that is too large or nested too deeply.
        ModuleNotFoundError: without selectolax.
    """
    refuse_bomb(html, limit=limit, deepest=deepest)
    tree = need("selectolax.lexbor", why="to parse HTML").LexborHTMLParser(html)
    tree.strip_tags(UNREAD)
    body = tree.body
    return _Reader(names).read(body.html or "" if body else "")


class _Reader:
    """Reads tidy HTML token by token."""

    def __init__(self, names: bool) -> None:
        self.names = names
        self.parents, self.ends, self.blocks = [-1], [0], []
        self.open: list[tuple[str, int, str]] = [("", 0, "")]  # tag, box, furniture
        self.parts: list[str] = []
        self.links, self.in_link, self.in_main, self.in_pre = 0, 0, 0, 0

    def read(self, html: str) -> Outline:
        pieces = _TIDY.split(html)
        self.parts.append(self.read_as(pieces[0]))
        tokens = zip(pieces[1::4], pieces[2::4], pieces[3::4], pieces[4::4], strict=True)
        stack, parts = self.open, self.parts
        for slash, name, attributes, text in tokens:
            if slash:
                if len(stack) > 1:
                    closed = stack.pop()
                    if closed[1] != stack[-1][1]:
                        self.leave(closed)
                    elif closed[0] == "a":
                        self.in_link -= 1
            elif name in PLAIN and (not attributes or (name == "a" and attributes.startswith(_ADDRESS))):
                stack.append((name, stack[-1][1], stack[-1][2]))  # nothing to remember but that it will be closed
                self.in_link += name == "a"
            elif name == "br":
                self.line_break()
            elif name:
                self.enter(name, attributes)
            if text and (parts or not text.isspace()):
                if self.in_link or self.in_pre or "&" in text:
                    text = self.read_as(text)
                parts.append(text)
        if self.parts:
            self.flush(stack[-1])
        self.ends = [end or len(self.parents) for end in self.ends]
        return Outline(self.parents, self.ends, self.blocks)

    def read_as(self, text: str) -> str:
        """The text without entities and with the line ends of code; characters inside a link are counted."""
        if "&" in text:
            text = text.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        if self.in_link:
            self.links += len(text) - text.count(" ")
        return text.replace("\n", _BREAK) if self.in_pre else text

    def enter(self, name: str, attributes: str) -> None:
        _, box, furniture = self.open[-1]
        if name == "a":
            self.in_link += 1
            attributes = attributes.partition(_ADDRESS)[0]
        known = furniture or FURNITURE_TAGS.get(name, "") or (attributes and _furniture(name, attributes, self.names))
        if name not in INLINE or known != furniture:
            if self.parts:
                self.flush(self.open[-1])
            self.parents.append(box)
            box = len(self.ends)
            self.ends.append(0)
            if name in SPECIAL:
                known = known or ("header" if name == "header" and not self.in_main else "")
                self.count(name, 1)
        if name not in VOID:
            self.open.append((name, box, known))

    def leave(self, closed: tuple[str, int, str]) -> None:
        name, box, _ = closed
        if box != self.open[-1][1]:
            if self.parts:
                self.flush(closed)
            self.ends[box] = len(self.parents)
            if name in SPECIAL:
                self.count(name, -1)
        if name == "a":
            self.in_link -= 1

    def count(self, name: str, step: int) -> None:
        """Remember that one more or one less element is open that changes how its text is read."""
        self.in_pre += step * (name == "pre")
        self.in_main += step * (name in ("main", "article"))

    def line_break(self) -> None:
        """One break is a new line, two with nothing between are a new block."""
        blank = [part for part in self.parts[-2:] if not part.strip(" \n\t\r" + _BREAK)]
        if _BREAK in blank:
            self.flush(self.open[-1])
        else:
            self.parts.append(_BREAK)

    def flush(self, inside: tuple[str, int, str]) -> None:
        """End the block that stands inside this element."""
        text = "".join(self.parts)
        if self.in_pre:
            text = text.replace(_BREAK, "\n").strip("\n").rstrip()
        elif _BREAK in text:
            text = "\n".join(filter(None, (" ".join(line.split()) for line in text.split(_BREAK))))
        else:
            text = " ".join(text.split())
        if text:
            tag, box, furniture = inside
            size = len(text) if text.isascii() else len(text.encode())
            if tag in INLINE:
                tag = next(name for name, _, _ in reversed(self.open) if name not in INLINE)
            self.blocks.append(RawBlock(text, size, tag, self.links, box, furniture))
        self.parts.clear()
        self.links = 0


@lru_cache(8192)
def _furniture(name: str, attributes: str, names: bool) -> str:
    """What the attributes of an element say that it is, if not text."""
    for key, value in _ATTRIBUTE.findall(attributes.lower()):
        if key == "role" and value in FURNITURE_ROLES and names:
            return f"role {value}"
        if key == "hidden" or (key == "aria-hidden" and value == "true") or _INVISIBLE.search(value):
            return "invisible"
        if key == "aria-modal":
            return "dialog"
        if names and key in ("class", "id") and name not in ("body", "main", "article"):
            found = FURNITURE_NAMES.intersection(_WORD.findall(value))
            if found:
                return f"named {min(found)}"
    return ""
