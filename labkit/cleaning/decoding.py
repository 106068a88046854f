"""Bytes become text: what was declared, what a page says of itself, and which reading makes sense.

A label in a header is a claim, and a claim can be wrong. Bytes that are valid UTF-8 are UTF-8; among the older
encodings the reading wins whose characters look like a language.
"""

import codecs
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache, lru_cache

from labkit.cleaning.limits import PAGE, refuse_large

BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
CANDIDATES = (
    *("utf-8", "gb18030", "big5hkscs", "shift_jis", "euc_jp", "euc_kr"),
    *("cp1252", "cp1251", "cp1250", "koi8-r", "cp1255", "cp1253", "cp1254", "cp1256"),
)
TRUST = 0.2  # points that a declared encoding is ahead of one that nobody mentioned
LABEL = 40  # characters of the longest label that is looked up
SAMPLE = 16_000  # bytes that are read in every candidate encoding
# What browsers read instead, because so many pages say one and mean the other.
_BROWSER = {
    **dict.fromkeys(("ascii", "iso8859-1", "us-ascii"), "cp1252"),
    **dict.fromkeys(("gb2312", "gbk", "hz"), "gb18030"),
    **{"iso8859-9": "cp1254", "big5": "big5hkscs", "cp932": "shift_jis", "cp949": "euc_kr", "utf-16": "utf-16-le"},
    **{"utf-8-sig": "utf-8", "tis-620": "cp874", "iso8859-11": "cp874"},
}
# Codecs of Python that no browser has; what "mbcs" and "oem" mean depends on the machine.
_NOT_OF_PAGES = frozenset(
    ("idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7", "charmap", "mbcs", "oem")
)
# Browsers read the five bytes that cp1252 leaves open as control characters of the same number.
_CP1252 = "".join(bytes([n]).decode("cp1252", "ignore") or chr(n) for n in range(256))
_META = re.compile(rb"<meta[^>]{0,200}?charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([\w:.-]{1,40})", re.I)
_XML = re.compile(rb"^\s{0,9}<\?xml[^>]{0,100}?encoding\s{0,9}=\s{0,9}[\"']([\w:.-]{1,40})", re.I)
_MAGIC = {
    **{b"%PDF-": "a PDF", b"\x89PNG": "a PNG image", b"\xff\xd8\xff": "a JPEG image", b"GIF8": "a GIF image"},
    **{b"PK\x03\x04": "a zip archive", b"\x1f\x8b\x08": "gzip data", b"\x7fELF": "a program", b"BZh": "bzip2 data"},
}
_CONTROLS = bytes(set(range(32)) - {9, 10, 12, 13, 27})


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text, the Python codec that read it, why that one, and how many U+FFFD stand for bytes that made no sense."""

    text: str
    encoding: str
    source: str
    replaced: int


def decode(raw: bytes, declared: str | None = None, *, limit: int = PAGE) -> Decoded:
    """The text of these bytes. Bad bytes never stop it: they become U+FFFD and are counted.

    In this order: a byte order mark; valid UTF-8, which other encodings are hardly ever by accident; then the reading
    whose characters look most like a language, with `TRUST` points ahead for what the header or the page declares.

    >>> decode("naïve".encode("latin-1"), declared="utf-8")
    Decoded(text='naïve', encoding='cp1252', source='guessed', replaced=0)

    Args:
        declared: the charset of the HTTP header, if there was one.

    Raises:
        ValueError: for more than `limit` bytes.

    Source: WHATWG, Encoding Standard, sections 4.2 (labels) and 6 (the mark comes first).
    """
    refuse_large("this document", len(raw), limit, "bytes")
    for mark, encoding in BOMS:
        if raw.startswith(mark):
            return _read(raw[len(mark) :], encoding, "bom")
    claims = {"declared": codec(declared or ""), "meta": _said_inside(raw)}
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return _most_plausible(raw, claims)
    if "\0" in text[:200] and (claims["declared"] or "").startswith("utf-16"):
        return _read(raw, claims["declared"] or "", "declared")
    says_so = [source for source, encoding in claims.items() if encoding == "utf-8"]
    return Decoded(text, "utf-8", says_so[0] if says_so else "utf-8", 0)


def _read(raw: bytes, encoding: str, source: str) -> Decoded:
    if encoding == "cp1252":
        text = codecs.charmap_decode(raw, "strict", _CP1252)[0]
    else:
        text = raw.decode(encoding, errors="replace")
    already = raw.count("\ufffd".encode()) if encoding == "utf-8" else 0
    return Decoded(text, encoding, source, text.count("\ufffd") - already)


def _said_inside(raw: bytes) -> str | None:
    """The encoding that the page declares in its first 2,048 bytes; UTF-16 there cannot be true, it means UTF-8."""
    found = _META.search(raw[:2048]) or _XML.search(raw[:2048])
    encoding = codec(found[1].decode("ascii", errors="replace")) if found else None
    return "utf-8" if encoding and encoding.startswith("utf-16") else encoding


def _most_plausible(raw: bytes, claims: dict[str, str | None]) -> Decoded:
    claimed = [encoding for encoding in claims.values() if encoding]
    scores = dict(guess(raw, (*claimed, *CANDIDATES)))
    best = max(scores, key=lambda encoding: scores[encoding] + TRUST * (encoding in claimed))
    source = next((source for source, encoding in claims.items() if encoding == best), "guessed")
    return _read(raw, best, source)


def guess(raw: bytes, encodings: tuple[str, ...] = CANDIDATES) -> list[tuple[str, float]]:
    """The encodings and how plausible the bytes are when read so, the best first; of equals the one named first.

    >>> guess("我们在学习".encode("gb18030"))[0][0]
    'gb18030'
    """
    first = next((i for i, byte in enumerate(raw[:200_000]) if byte > 127), 0)
    sample = raw[first : first + SAMPLE]
    scores = {encoding: plausibility(_read(sample, encoding, "").text) for encoding in dict.fromkeys(encodings)}
    return sorted(scores.items(), key=lambda item: -item[1])


@lru_cache(4096)
def codec(label: str) -> str | None:
    """The Python codec with which a browser reads a page that bears this label, or None for an unknown one.

    >>> codec("ISO-8859-1"), codec("gb2312"), codec("utf8"), codec("nonsense")
    ('cp1252', 'gb18030', 'utf-8', None)

    Source: WHATWG, Encoding Standard, section 4.2.
    """
    try:
        found = codecs.lookup(label.strip().lower()[:LABEL])
    except (LookupError, ValueError):
        return None
    if not found._is_text_encoding or found.name in _NOT_OF_PAGES:
        return None
    return _BROWSER.get(found.name, found.name)


def plausibility(text: str) -> float:
    """The mean points of the characters beyond ASCII, from −2 to 1; 1.0 if there are none.

    A character that is common in some language has 1 point, a rare one less, a control character or U+FFFD −2. Each
    neighbourhood that no language has, such as é, ç and à in a row or a Cyrillic letter beside a Latin one, costs 1.

    >>> plausibility("café"), plausibility("cafÃ©")
    (1.0, 0.25)
    """
    counts = Counter(text)
    beyond = {char: n for char, n in counts.items() if char > "\x7f"}
    total = sum(beyond.values())
    if not total:
        return 1.0
    points = sum(n * _points(char) for char, n in beyond.items())
    return max(-2.0, (points - sum(map(len, _ODD.findall(text)))) / total)


# Runs of accented Latin letters, symbols inside words, and two alphabets within one word.
_ODD = re.compile(
    r"[\xa1-\xbf]?[\xc0-\u024f][\xc0-\u024f\xa1-\xbf]{2,}"
    r"|[A-Za-z\xc0-\u024f](?=[\xa1-\xa9\xac-\xb6\xb8-\xba\xbc-\xbf\u0370-\u06ff])"
    r"|[\u0370-\u06ff](?=[A-Za-z\xc0-\u024f])"
    r"|[\u0430-\u044f](?=[\u0410-\u042f])|[\u03ac-\u03ce](?=[\u0391-\u03a9])"
    r"|[\uff61-\uff9f]"
)
# A third or more of any text in these scripts consists of these, and little of a text that is read wrongly.
_FREQUENT = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去"
    "法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关"
    "點業外將兩高間由問很最重並物手應戰向頭文體政美相見被利什二等產或新己制身果加斯月話合回特代內信表化老給世位次度門任常先海通教兒"
    "оеаинтсрвлкмдпуяыьзіїאבגדהוזחטיךכלםמןנסעףפץצקרשתםاليمنورتبعدسفقαοιετσνηυρπκμλςωάέήίόύώ"
    "이다는을의에하고가지로한기사리도시아어나인자서있들그해대수은정를"
    "這個們來為國說時會對過後裡種經學現當沒動還進樣開從實軍無與長機關何曰吾汝玄德操兵卻乃"
)
_COMMON_MARKS = frozenset("“”‘’–—…•·«»°©®™€£§¿¡×　、。，；：？！（）《》「」『』【】〈〉・ー\u00a0\u200b½²³±№")


@cache
def _points(char: str) -> float:
    """The points of one character beyond ASCII."""
    if char in _FREQUENT or char in _COMMON_MARKS or "\u3041" <= char <= "\u30ff":
        return 1.0
    if char in "þðý" or "\u0400" <= char <= "\u06ff" or "\uac00" <= char <= "\ud7a3":
        return 0.5
    if "\u4e00" <= char <= "\u9fff":
        return 0.6 if _in_first_level(char) else -0.6
    if char in "\ufffd" or char < "\xa0" or "\ue000" <= char <= "\uf8ff":
        return -2.0
    if char.isalpha():
        return 1.0 if char.islower() or char > "\u058f" else 0.5
    return -0.5 if char < "\U0001f000" else 1.0


def _in_first_level(char: str) -> bool:
    """Whether GB 2312 or Big5 has the character among its common ones."""
    simplified, traditional = char.encode("gb2312", "ignore"), char.encode("big5", "ignore")
    return b"\xb0" <= simplified[:1] <= b"\xd7" or b"\xa4" <= traditional[:1] <= b"\xc6"


def binary(raw: bytes) -> str:
    """Why these bytes are no text, or an empty string if they may be one.

    >>> binary(b"%PDF-1.7 ..."), binary("Grüße".encode("utf-16"))
    ('a PDF', '')
    """
    for magic, name in _MAGIC.items():
        if raw.startswith(magic):
            return name
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ""
    head = raw[:65_536]
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return f"{controls / len(head):.0%} control bytes" if controls > 0.1 * len(head) else ""
