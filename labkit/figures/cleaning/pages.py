"""The pieces of figures that are text: a reader's words made harmless and visible, labels, scrolled boxes, tables."""

import html
import unicodedata
from collections.abc import Iterable, Sequence

from labkit.figures.attention.labels import Number, number
from labkit.figures.style import INK, QUIET, Marked

LONGEST = 6_000  # characters of one text that are shown; a browser is slow with more
PLAIN = f"background:#ffffff;color:{INK}"  # a theme's own colours for tables and code must not come through
_SIGN = "background:#eef0f2;color:#424a53;border:1px solid #94a4a2;border-radius:3px;font-size:10px;padding:0 2px"
_TAG = "font-size:11px;font-weight:600;border-radius:3px;padding:0 4px;white-space:nowrap;user-select:none"
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Cn"}
_BREAKS = {"\n", "\t"}


def visible(text: str) -> str:
    """Give text as HTML that shows every character: markup as it was written, invisible characters by their number.

    >>> visible("<b>")
    '&lt;b&gt;'
    """
    return "".join(_sign(character) if _invisible(character) else html.escape(character) for character in text)


def _invisible(character: str) -> bool:
    return character not in _BREAKS and unicodedata.category(character) in _HIDDEN


def _sign(character: str) -> str:
    return f'<span style="{_SIGN}">U+{ord(character):04X}</span>'


def spoken(text: object, longest: int = 40) -> str:
    """Give text for a sentence: in one line, shortened, invisible characters left out, □ for what cannot be encoded.

    >>> spoken("a\\n\\tb\\x00c"), spoken("incomprehensible", 8)
    ('a bc', 'incompr…')
    """
    # More than is shown, since blanks and invisible characters will go; not all, since a text may have a million.
    signs = ("□" if "\ud800" <= c <= "\udfff" else c for c in str(text)[: 20 * longest])
    words = " ".join("".join(c for c in signs if c.isspace() or not _invisible(c)).split())
    return words if len(words) <= longest else words[: longest - 1] + "…"


def cut(text: str, longest: int = LONGEST) -> tuple[str, str]:
    """Give the part of a text that is shown, and what to say about the rest.

    >>> cut("abcdef", 4)
    ('abcd', '… 2 more characters')
    """
    rest = len(text) - longest
    return (text, "") if rest <= 0 else (text[:longest], f"… {rest:,} more character{'s' * (rest > 1)}")


def tag(words: str, colour: str) -> str:
    """Give a small label, white on a dark `colour`."""
    return f'<span style="{_TAG};background:{colour};color:#ffffff">{html.escape(words)}</span>'


def quiet(words: str) -> str:
    """Give a remark in small grey letters."""
    return f'<span style="font-size:12px;color:#57606a">{html.escape(words)}</span>' if words else ""


def scrolled(inside: str, name: str, height: Number = 24, least: Number = 0) -> str:
    """Give a box of bounded height (in lines) that the keyboard can scroll; `least` keeps the page below still."""
    return (
        f'<div role="group" tabindex="0" aria-label="{html.escape(name)}" style="overflow:auto;'
        f"max-height:{1.5 * height:g}em;min-height:{1.5 * least:g}em;border:1px solid {QUIET};border-radius:4px;"
        f'padding:6px 10px;{PLAIN}">{inside}</div>'
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Give a table with the words of `head` above rows of HTML; the colours of a theme do not reach it."""
    cell = f"text-align:left;vertical-align:top;padding:2px 10px 2px 0;border:0;{PLAIN}"
    names = "".join(f'<th scope="col" style="{cell};font-weight:600">{html.escape(name)}</th>' for name in head)
    lines = "".join(
        f'<tr style="{PLAIN}">{"".join(f"""<td style="{cell}">{each}</td>""" for each in row)}</tr>' for row in rows
    )
    return (
        '<table style="border-collapse:collapse;border:0;margin:6px 0 0;font-size:12px;max-width:100%;'
        f'table-layout:auto"><thead><tr style="{PLAIN}">{names}</tr></thead><tbody>{lines}</tbody></table>'
    )


def card(title: str, parts: Iterable[str], alt: str) -> Marked:
    """Give the parts below their title as one figure; the sentence begins with the title too."""
    heading = f'<div style="font-weight:600;margin-bottom:4px">{visible(title)}</div>' if title else ""
    return Marked(heading + "".join(parts), spoken(f"{title}. {alt}" if title else alt, longest=2_000))


def value_of(value: object) -> str:
    """Give a measured value in words: numbers with four digits, whole ones as they are.

    >>> value_of(0.25), value_of(12), value_of("none"), value_of(None)
    ('0.25', '12', 'none', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else number(value) if isinstance(value, Number) else str(value)
