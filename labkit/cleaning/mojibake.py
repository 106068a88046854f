"""Text that was read in the wrong encoding, and back: why it can be undone, and ftfy for the lines that need it."""

import codecs
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from labkit.cleaning.decoding import plausibility
from labkit.cleaning.limits import PAGE, refuse_large
from labkit.corpora.extras import need

# What ftfy is asked to do: wrong encodings and HTML entities. The rest of its repairs belong to normal_forms, or lose
# something (curly quotes, full-width letters).
SETTINGS: dict[str, Any] = {
    "explain": False,
    "normalization": None,
    **dict.fromkeys(("uncurl_quotes", "fix_latin_ligatures", "fix_character_width", "fix_line_breaks"), False),
    **dict.fromkeys(("fix_surrogates", "remove_terminal_escapes", "remove_control_chars"), False),
}
# Written in the first, read in the second: the accidents worth undoing, the commonest first.
ACCIDENTS = (
    *(("utf-8", "cp1252"), ("utf-8", "latin-1"), ("utf-8", "gb18030"), ("utf-8", "cp1251"), ("utf-8", "cp437")),
    *(("gb18030", "cp1252"), ("gb18030", "latin-1"), ("big5", "cp1252"), ("cp1251", "cp1252")),
)
_CHINESE_ACCIDENTS = tuple(pair for pair in ACCIDENTS if "gb18030" in pair)
CLEARER = 0.2  # points of plausibility that a repair must bring
# Punctuation and the commonest characters of Chinese in UTF-8, as GBK shows them; and GBK, as cp1252 shows it.
_CHINESE_CLUE = re.compile("[锛銆鐨涓鍦鏄鈥浜鎴]|[\xa1-\xff]{4}")
_LOST = re.compile("\ufffd{2,3}")  # the bytes of one lost character, each replaced
_ENTITY = re.compile("&#?[0-9A-Za-z]{1,24};")
_CP1252 = codecs.charmap_build("".join(bytes([n]).decode("cp1252", "ignore") or chr(n) for n in range(256)))


@dataclass(frozen=True, slots=True)
class Misread:
    """An explanation: the text was written in one encoding and read in another; and the text as it was meant."""

    written: str
    read: str
    text: str


@dataclass(frozen=True, slots=True)
class Repaired:
    """A text after repair, its number of lines, how many were looked at closely, and how many changed."""

    text: str
    lines: int
    lines_checked: int
    lines_changed: int


def misread_as(text: str, accidents: tuple[tuple[str, str], ...] = ACCIDENTS) -> Misread | None:
    """The wrong decoding that explains a text best, or None if it looks right as it is.

    Undoing is writing the text in the encoding in which it was read, and reading those bytes in the one in which they
    were written. A text that was never damaged hardly ever survives this: its bytes are invalid in the other encoding.

    >>> misread_as("cafÃ©")
    Misread(written='utf-8', read='cp1252', text='café')
    >>> misread_as("café") is None
    True
    """
    best, score = None, plausibility(text) + CLEARER
    for written, read in accidents:
        try:
            meant = _as_meant(text, written, read)
        except UnicodeError:
            continue
        if plausibility(meant) > score or (plausibility(meant) == 1.0 >= score and best is None):
            best, score = Misread(written, read, meant), plausibility(meant)
    return best


def _as_meant(text: str, written: str, read: str) -> str:
    """Undo one accident; where the first reader put U+FFFD a byte or two are lost, and with them a character.

    Raises: UnicodeError when the text cannot have come about in this way.
    """
    if "\ufffd" not in text or written != "utf-8" or read != "gb18030":
        return to_bytes(text, read).decode(written)
    raw = b"\xff".join(to_bytes(part, read) for part in text.split("\ufffd"))
    return _LOST.sub("\ufffd", raw.decode(written, errors="replace"))


def to_bytes(text: str, encoding: str) -> bytes:
    """The bytes that, read in this encoding, gave the text; as browsers do, cp1252 has a place for every byte.

    Raises:
        UnicodeEncodeError: if no bytes give that text.
    """
    if encoding == "cp1252":
        return codecs.charmap_encode(text, "strict", _CP1252)[0]
    return text.encode(encoding)


def repair(text: str, *, chinese: bool = True, limit: int = PAGE) -> Repaired:
    """The text with its mojibake undone, line by line; lines that cannot need it are not touched.

    ftfy decides and repairs; a pattern that is cheaper by far finds the lines that it could change. With
    `chinese=False` the result is that of `ftfy.fix_text(text, **SETTINGS)`. With `chinese=True` a line may also be
    UTF-8 that was read as GBK, or GBK that was read as cp1252, which ftfy does not know; what was lost becomes U+FFFD.

    Raises:
        ValueError: for a text of more than `limit` characters.
        ModuleNotFoundError: without ftfy.
    """
    refuse_large("this text", len(text), limit, "characters")
    markup = text.find("<")  # from the line with the first tag on, ftfy leaves entities alone: it may be HTML
    markup = len(text) if markup < 0 else text.rfind("\n", 0, markup) + 1
    parts, done, checked, changed = [], 0, 0, 0
    for start, end in _suspects(text, markup, chinese):
        line = text[start:end]
        better = _repair_line(line, "auto" if start < markup else False, chinese)
        checked, changed = checked + 1, changed + (better != line)
        parts += [text[done:start], better]
        done = end
    return Repaired("".join([*parts, text[done:]]), len(text.splitlines()), checked, changed)


def _suspects(text: str, markup: int, chinese: bool) -> list[tuple[int, int]]:
    """The places of the lines that could need repair, each with its line end."""
    patterns = [] if text.isascii() else [gate(), *[_CHINESE_CLUE] * chinese]
    starts = {0} if _ENTITY.search(text, 0, markup) and "\n" not in text else set()
    for pattern, until in (*((pattern, len(text)) for pattern in patterns), (_ENTITY, markup)):
        place = 0
        while (found := pattern.search(text, place, until)) is not None:
            starts.add(text.rfind("\n", 0, found.start()) + 1)
            place = text.find("\n", found.end() - 1) + 1 or until
    return [(start, text.find("\n", start) + 1 or len(text)) for start in sorted(starts)]


def _repair_line(line: str, unescape: str | bool, chinese: bool) -> str:
    better = need("ftfy", why="to repair mojibake").fix_text(line, unescape_html=unescape, **SETTINGS)
    if chinese and _CHINESE_CLUE.search(line):
        explained = misread_as(line, _CHINESE_ACCIDENTS)
        if explained and plausibility(explained.text) > plausibility(better):
            return explained.text
    return better


def suspicious(line: str) -> bool:
    """Whether ftfy could find mojibake in a line; False is certain, True is not.

    >>> suspicious("“Quoted” – naïve café, 你好。"), suspicious("cafÃ©")
    (False, True)
    """
    return not line.isascii() and gate().search(line) is not None


@cache
def gate() -> re.Pattern[str]:
    """A pattern that matches wherever the one does with which ftfy recognises mojibake, in a fraction of its time.

    That one has 30 alternatives; nearly all need two neighbours beyond ASCII, the second no ordinary letter of Greek
    or Cyrillic. A few characters are suspicious alone. ftfy's own table of characters is read, so both stay in step.
    """
    kinds = dict(need("ftfy.badness", why="to repair mojibake").MOJIBAKE_CATEGORIES)
    del kinds["common"], kinds["c1"]
    letters = kinds.pop("lower_common") + kinds.pop("upper_common")
    rare = "".join(kinds.values())
    alone = "\x80-\x9fÂÃÎÐØÙŒœ√"
    return re.compile(  # one class first: the engine runs over everything else without thinking
        f"[{rare}{letters}{alone}Ђ](?:(?<=[{rare}{letters}])[{rare}]|(?<=[{alone}])|(?<=[вВ])Ђ|(?<=[ВГРСΒΓΞΟ])[^\\w\\s])"
    )
