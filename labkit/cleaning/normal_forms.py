"""One character, many forms: what to compose, what to remove, and what a compatibility form loses."""

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any

FORMS = ("NFC", "NFD", "NFKC", "NFKD")
# Characters that nobody sees, by group, with what takes their place. The order matters: "\r\n" is one line end.
GROUPS = {
    "line ends": (r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n"),
    "control": (r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufff9-\ufffb]", ""),
    "byte order mark": ("\ufeff", ""),
    "soft hyphen": ("\xad", ""),
    "bidi": ("[\u200e\u200f\u202a-\u202e\u2066-\u206f\u061c]", ""),
    # Joiners shape Persian, Indic scripts and emoji: they go only after characters that they cannot join.
    "zero width": ("[\u200b\u2060-\u2064\u180e]|(?:(?<=[\x00-\u02ff\u3000-\uabff])|^)[\u200c\u200d]", ""),
    "surrogate": ("[\ud800-\udfff]", "\ufffd"),
    "space": ("[\xa0\u1680\u2000-\u200a\u202f\u205f]", " "),
}
_SUSPECT = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\xa0\\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
_MARK = r"[^\w\s\x00-\u02ff]"  # all that combine, and much that does not: no letter, no digit
_MANY_MARKS = re.compile(f"(?<!{_MARK}){_MARK}{{200}}")
# Hangul syllables are composed by arithmetic, not by a table: 19 leading letters, 21 vowels, 28 endings (or none).
_HANGUL, _LEAD, _VOWEL, _TAIL = 0xAC00, 0x1100, 0x1161, 0x11A7


@dataclass(frozen=True, slots=True)
class CleanText:
    """A text and how many characters of each group were removed or exchanged."""

    text: str
    removed: dict[str, int] = field(default_factory=dict)


def clean_characters(text: str, form: Any = "NFC") -> CleanText:
    r"""The text in one normal form, with line ends "\n", and without characters that nobody sees.

    Half a million of such characters in a crawl are half a million tokens that mean nothing. What goes is counted.
    Joiners stay inside emoji, Persian and Indic words, where they decide how the word looks.

    >>> clean_characters("co\xadop\u200b\r\n")
    CleanText(text='coop\n', removed={'line ends': 1, 'soft hyphen': 1, 'zero width': 1})

    Args:
        form: NFC, NFD, NFKC, NFKD, or None to leave composition as it is.

    Raises:
        ValueError: for another form.

    Source: Unicode Standard Annex 15; which characters do not belong into text, Unicode Technical Report 20, table 1.
    """
    if form is not None and form not in FORMS:
        raise ValueError(f"form={form!r} is no Unicode normal form; choose one of {', '.join(FORMS)}, or None")
    removed = {}
    if _SUSPECT.search(text):
        for group, (pattern, instead) in GROUPS.items():
            text, count = re.subn(pattern, instead, text)
            if count:
                removed[group] = count
    if form is not None and _MANY_MARKS.search(text):
        text = decompose(text)  # puts them in order first: unicodedata would need time with the square of their number
    return CleanText(text if form is None else unicodedata.normalize(form, text), removed)


def decompose(text: str) -> str:
    """The canonical decomposition, NFD: every character taken apart, and its marks put in order.

    >>> [f"{ord(c):04X}" for c in decompose("ǭ")]
    ['006F', '0328', '0304']

    Source: Unicode Standard, section 3.11 (D68 decomposition, D109 canonical order), section 3.12 (Hangul).
    """
    return "".join(_in_order([part for char in text for part in _parts(char)]))


def _parts(char: str) -> list[str]:
    index = ord(char) - _HANGUL
    if 0 <= index < 19 * 21 * 28:
        lead, vowel, tail = index // (21 * 28), index // 28 % 21, index % 28
        return [chr(_LEAD + lead), chr(_VOWEL + vowel)] + [chr(_TAIL + tail)] * (tail > 0)
    mapping = unicodedata.decomposition(char)
    if not mapping or mapping.startswith("<"):  # "<compat> …" is a likeness, not the same character
        return [char]
    return [part for code in mapping.split() for part in _parts(chr(int(code, 16)))]


def _in_order(chars: list[str]) -> list[str]:
    """Runs of marks sorted by combining class; a sort that is stable keeps marks of one class as they are."""
    ordered: list[str] = []
    marks: list[str] = []
    for char in chars:
        if unicodedata.combining(char):
            marks.append(char)
        else:
            ordered += [*sorted(marks, key=unicodedata.combining), char]
            marks = []
    return ordered + sorted(marks, key=unicodedata.combining)


def lost(text: str, form: str = "NFKC") -> dict[str, str]:
    """The characters of a text that this form exchanges for others, with what they become; NFC would keep them apart.

    >>> lost("x² ½ ﬁ Ａ é")
    {'²': '2', '½': '1⁄2', 'ﬁ': 'fi', 'Ａ': 'A'}
    """
    canonical = "NFD" if form.endswith("D") else "NFC"
    normal = {char: unicodedata.normalize(form, char) for char in dict.fromkeys(text)}
    return {char: other for char, other in normal.items() if other != unicodedata.normalize(canonical, char)}
