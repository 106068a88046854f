"""Text written in one encoding and read in another, with the original kept."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Damaged:
    """A text, the original it was before, and how it was damaged ("" when it was left alone)."""

    text: str
    original: str
    kind: str


# How (written, read) went wrong, in order; "entities" is no wrong codec but escaping once too often.
KINDS_OF_DAMAGE = {
    "utf-8 as cp1252": (("utf-8", "cp1252"),),
    "utf-8 as latin-1": (("utf-8", "latin-1"),),
    "utf-8 as cp1252 twice": (("utf-8", "cp1252"), ("utf-8", "cp1252")),
    "utf-8 as cp1251": (("utf-8", "cp1251"),),
    "utf-8 as gbk": (("utf-8", "gbk"),),
    "gb18030 as cp1252": (("gb18030", "cp1252"),),
    "html entities": (),
}
_WESTERN = ("utf-8 as cp1252", "utf-8 as latin-1", "utf-8 as cp1252 twice", "html entities", "utf-8 as cp1251")
_CHINESE = ("utf-8 as cp1252", "utf-8 as latin-1", "utf-8 as cp1252 twice", "gb18030 as cp1252", "utf-8 as gbk")


def mojibake(text: str, *, written: str = "utf-8", read: str = "cp1252") -> str:
    """The text as somebody sees it who reads the bytes of one encoding as another.

    Read as cp1252, the five bytes it leaves undefined become control characters, as in browsers; with other codecs,
    bytes that cannot be read become U+FFFD, and the text is lost there.

    >>> mojibake("naïve – café")
    'naÃ¯ve â€“ cafÃ©'

    Raises: LookupError for a codec that Python does not know; UnicodeEncodeError when `written` lacks a character.
    """
    raw = text.encode(written)
    if read.lower().replace("_", "-") in ("cp1252", "windows-1252"):
        return "".join(map(_CP1252.__getitem__, raw))
    return raw.decode(read, errors="replace")


def _browser(byte: int) -> str:
    return chr(byte) if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([byte]).decode("cp1252")


_CP1252 = tuple(map(_browser, range(256)))


def damaged(texts: Sequence[str], *, share: float | int = 0.3, seed: int) -> list[Damaged]:
    """Each text with its original, a random `share` of them damaged in one of KINDS_OF_DAMAGE.

    A text that holds nothing that can break gets typographic quotes and a dash first, and so does its original.
    Every damaged text differs from its original; what was read as gbk or cp1251 may be lost for good.

    Raises: ValueError for a share outside 0…1 or an empty text.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share!r} is no share of the texts; give a number from 0 to 1")
    if any(not text.strip() for text in texts):
        raise ValueError("an empty text cannot be damaged; give texts with words")
    rng = random.Random(f"damaged {seed}")
    return [_damage(text, rng) if rng.random() < share else Damaged(text, text, "") for text in texts]


def _damage(text: str, rng: random.Random) -> Damaged:
    chinese = sum("\u4e00" <= c <= "\u9fff" for c in text) > len(text) / 4
    original = text if chinese else breakable(text)
    kind = rng.choice(_CHINESE if chinese else _WESTERN)
    if kind == "html entities":
        return Damaged(as_entities(original), original, kind)
    broken = original
    for written, read in KINDS_OF_DAMAGE[kind]:
        broken = mojibake(broken, written=written, read=read)
    return Damaged(broken, original, kind)


def breakable(text: str) -> str:
    """The text with typographic quotes and dashes; a last resort is an ellipsis in the place of the full stop."""
    if not text.isascii():
        return text
    curly = text.replace("'", "’").replace(" - ", " – ")
    for quote in ("“", "”") * (curly.count('"') // 2):
        curly = curly.replace('"', quote, 1)
    return curly if not curly.isascii() else curly.rstrip(".") + "…"


def as_entities(text: str) -> str:
    """The text escaped for HTML twice too often in part: every character beyond ASCII, and & < >, as an entity."""
    return "".join(_NAMED.get(c) or (c if c.isascii() else f"&#{ord(c)};") for c in escape(text, quote=False))


_NAMED = {
    "“": "&ldquo;",
    "”": "&rdquo;",
    "’": "&rsquo;",
    "–": "&ndash;",
    "—": "&mdash;",
    "é": "&eacute;",
    "…": "&hellip;",
}
