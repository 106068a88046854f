"""HTML bombs, refused before the parser sees them: its time grows with the square of the depth."""

import re
from typing import Any

from labkit.cleaning.limits import refuse_large

MOST_WORK = 300_000_000  # steps up a stack of open elements that a parser may take: about a second
MOST_ATTRIBUTES = 2_000  # of one tag; each is compared with those before it
_FEW = 2_000  # tags: fewer can do no harm, however they are nested
_LONG = 20_000  # characters: a page of this length, or a gap between tags, can do no harm either
# Never nested by themselves: the next one closes the one before, or there is nothing to close.
_NOT_NESTED = """p li td th tr dt dd option optgroup thead tbody tfoot colgroup rb rt rp body html head
area base br col embed hr img input link meta source track wbr param keygen frame image"""
_FLAT = frozenset(_NOT_NESTED.split())
_RAW = frozenset(("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"))  # no tags inside
_FORMATTING = frozenset(  # still open at the end of a block, they are opened again in the next
    ("a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u")
)
# A comment, a tag (slash, name, attributes), or what a parser drops, each to its end or to that of the page. A quote
# counts only where the value of an attribute begins, as in the standard: <p it's> is a whole tag.
_SPACE = r"[ \t\n\f\r]"
_VALUE = r"""(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^ \t\n\f\r>"'][^ \t\n\f\r>]*+)"""
_ATTRIBUTES = rf"(?:[ \t\n\f\r/]++|[^ \t\n\f\r/>][^ \t\n\f\r/>=]*+(?:{_SPACE}*+={_SPACE}*+{_VALUE}?+)?+)*+"
TAG = re.compile(
    rf"<!--(?:-?>|.*?(?:--!?>|\Z))|<(/?)([a-zA-Z][^ \t\n\f\r/>]*+)({_ATTRIBUTES})(?:>|\Z)|<[!?/][^>]*+", re.S
)
_VALUES = re.compile(r"""=\s{0,9}(?:"[^"]*+"|'[^']*+')""")
_IN_SCRIPT = re.compile(r"<!--(?:-*+>)?+|--++>|</?script(?=[ \t\n\f\r/>])", re.I)
_GAP = re.compile(r"[\s/]+")


def refuse_bomb(html: Any, *, limit: int, deepest: int) -> None:
    """Do nothing for a page that a parser reads in a time proportional to its size.

    Raises:
        ValueError: if the page is larger than `limit` bytes or characters, if more than `deepest` elements could be
            open at once, if a tag has thousands of attributes, or if depth times tags is more than `MOST_WORK`.
    """
    if not isinstance(html, str | bytes):
        raise ValueError(f"a page is str or bytes, got {type(html).__name__}: decode the document first")
    refuse_large("this page", len(html), limit, "characters" if isinstance(html, str) else "bytes")
    if len(html) <= _LONG:
        return
    text = html if isinstance(html, str) else html.decode("latin-1")  # tags are ASCII in every encoding of the web
    pieces = text.split("<")
    if len(pieces) <= _FEW and len(max(pieces, key=len)) <= _LONG:
        return
    depth, work = nesting(text)
    if depth > deepest:
        raise ValueError(f"{depth:,} elements of this page may be open at once, more than {deepest:,}: quarantine it")
    if work > MOST_WORK:
        raise ValueError(f"this page would take {work:,} steps to parse, more than {MOST_WORK:,}: quarantine it")


def nesting(html: str) -> tuple[int, int]:
    """How many elements could be open at once, at most, and the work that this makes.

    An upper bound that takes one pass: opening tags less closing tags of the same name, summed over the names. Work
    is the sum of this over the tags, with 50 more for each formatting element, which every block may open again.

    >>> nesting("<div><p>one<p>two<b>three</b></div>")
    (2, 56)

    Raises:
        ValueError: for a tag with more than `MOST_ATTRIBUTES` attributes.
    """
    opened: dict[str, int] = {}
    depth = deepest = work = formatting = place = 0
    while (token := TAG.search(html, place)) is not None:
        place = token.end()
        slash, name, attributes = token.groups()
        if name is None:
            continue
        name = name.lower()
        if len(attributes) > MOST_ATTRIBUTES:
            _refuse_attributes(name, attributes)
        if name in _RAW and not slash and not (opened.get("svg") or opened.get("math")):
            place = _after(html, name, place)
        elif name not in _FLAT:
            step = -1 if slash else 1
            if step > 0 or opened.get(name):
                opened[name] = opened.get(name, 0) + step
                depth += step
                formatting += step * (name in _FORMATTING)
                if depth > deepest:  # quicker than `max`, and a page may have a million tags
                    deepest = depth
        work += depth + 50 * formatting
    return deepest, work


def _after(html: str, name: str, place: int) -> int:
    """The place after the content of an element whose content is no markup: its end tag, or the end of the page."""
    if name == "script":
        return _after_script(html, place)
    end = re.compile(f"</{name}(?=[ \\t\\n\\f\\r/>])", re.I).search(html, place)
    return end.start() if end else len(html)


def _after_script(html: str, place: int) -> int:
    """The same for a script, where "<!-- <script>" hides the next end tag, until "-->" or that end tag.

    Source: WHATWG, HTML, sections 13.2.5.20 to 13.2.5.31 (script data escaped, double escaped).
    """
    escaped = 0  # 1 inside a comment, 2 inside a script inside that
    for token in _IN_SCRIPT.finditer(html, place):
        found = token[0].lower()
        if found.startswith("</"):
            if escaped < 2:
                return token.start()
            escaped = 1
        elif found == "<!--":
            escaped = max(escaped, 1)
        elif found == "<script":
            escaped = min(2 * escaped, 2)
        else:  # the end of a comment, perhaps one that has just begun
            escaped = 0
    return len(html)


def _refuse_attributes(name: str, attributes: str) -> None:
    count = len(_GAP.findall(_VALUES.sub(" ", attributes)))
    if count > MOST_ATTRIBUTES:
        raise ValueError(f"a tag <{name}> has {count:,} attributes, more than {MOST_ATTRIBUTES:,}: quarantine the page")
