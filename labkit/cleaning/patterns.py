"""The shapes of personal data: for each kind a gate that costs next to nothing, a linear pattern, a check that knows.

A pattern begins only where a run of its characters begins, and takes the run whole (possessive, `++`) or up to a length
(`{1,64}+`): no input can make it read a character more often than a fixed number of times.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from string import Template

from labkit.cleaning import checksums

# What is written $NAME in the patterns. They are compiled with re.ASCII, so that \d is 0 to 9 and \w no Chinese
# character: otherwise there is no \b between 话 and 1, and 电话13800138000 holds no number.
PIECES = {
    "letter": r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0370-\u03ff\u0400-\u04ff",  # Latin, Greek, Cyrillic
    "han": r"\u3400-\u4dbf\u4e00-\u9fff",
    "alone": r"(?<!\w)(?<!\d[.,/-])(?<![A-Za-z]-)",  # no part of a longer number, or of a code such as AB-415
    "complete": r"(?!\w|[.,/-]\d)",
}
PIECES["local"] = Template(r"[${letter}0-9_%+-]").substitute(PIECES)
PIECES["label"] = Template(r"[${letter}0-9][${letter}0-9-]{0,62}+").substitute(PIECES)
PIECES["han_domain"] = Template(
    r"[${han}A-Za-z0-9-]{1,20}+\.(?:中国|中國|公司|网络|网址|广告|集团|在线|手机|政务|公益)"
).substitute(PIECES)

# Clues: a first look at where a value could be.
DIGITS = r"[+(0-9](?<!\d.)(?=[-\d\ .()/+]{6})"
WEB = r"[hHfFw](?:[tT]{1,2}[pP]|ww\.)"
COLONS = r":(?::|[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{0,4}:)"
MAILBOX = r"[${letter}0-9_%+.-]{1,255}+|[${han}]{1,13}+"

URL = r"""(?:(?i:https?|ftp)://(?=[${letter}${han}0-9\[]) | (?<![\w.@/-])www\.(?=$label\.))
    (?:$han_domain)?+[^\s<>"'`{}|\\^\x00${han}\u2000-\u200f\u2018-\u201f\u2026\u3000-\u303f\uff00-\uffef]++"""
EMAIL = r"""(?<!$local)(?<!$local\.)
    (?: $local{1,64}+(?:\.$local{1,64}+){0,8}+@
        (?:$label\.(?:$label\.){0,8}(?:xn--[a-z0-9-]{2,59}+|[${letter}]{2,24}+) | $han_domain)
    |   (?<![${han}])[${han}]{1,12}+@$han_domain )
    (?![@\w-]|:[\w.~-]{0,64}+/|\.\d)"""
ID_CN = r"(?<!\w)[1-9]\d{5}([ -]?)[12]\d{7}\1\d{3}[\dXx](?!\w)"
CARD = r"""(?<!\w)(?<![A-Za-z]-)
    (?: \d{12,19}+ | \d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{1,3}+)?+ | \d{4}([ -])\d{6}\2\d{4,5}+ )$complete"""
IPV6 = r"""(?:(?<![\w:.])|(?<=[g-zG-Z]:)|(?<=[vV]6:))(?=[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:)
    [0-9A-Fa-f:.]{2,46}+(?![\w:])"""
IPV4 = r"(?:(?<![\w.])|(?<=\b[iI][pP]))(?<![A-Za-z]-)\d{1,3}+(?:\.\d{1,3}+){3}(?!\.?\w|-[A-Za-z])"
SSN = r"$alone\d{3}([ -])\d{2}\1\d{4}$complete"
NINE_DIGITS = r"$alone\d{9}$complete"
PHONE = r"""(?:(?<![\w+])(?=\+) | $alone(?<!\+)(?=[\d(]))
    (?: (?:(?:\(\+?86\)|\+?86|0086)[ -]?)?+ 1[3-9]\d ([ -]?) \d{4} \1 \d{4}                         # China: mobile,
    |   (?:(?:\+86|0086)[ -]?[1-9]\d{1,2}+[ -] | (?<!\d[ ])0[1-9]\d{1,2}+[ -] | \(0[1-9]\d{1,2}\)[ -]?)
        [2-9]\d{2,3}[ -]?\d{4}                                                                      # fixed line,
    |   [48]00-(?:\d{4}-\d{3} | \d{3}-\d{4})                                                        # service
    |   (?:(?:\+?1|001)[ .-]?)?+ (?:\([2-9]\d\d\)[ -]? | [2-9]\d\d[ .-]) [2-9]\d\d[ .-]\d{4}        # North America
    |   (?<!\d[ ])0[1-9]                                                                            # France, Britain
        (?: (?:[ .]\d\d){4} | \d[ ]\d{4}[ ]\d{4} | \d\d[ ]\d{3}[ ]\d{4} | \d{3}[ ]\d{3}[ ]\d{3} | \d{3}[ ]\d{6} )
    |   \+(?=(?:[ .()-]{0,2}\d){8,15}+(?!\d)) [1-9]\d{0,2} (?:[ .-]?(?:\(\d{1,4}\)|\d{1,14}+)){1,6}+    # E.164
    ) (?:[ ]?(?:x|ext\.?|转|分机)[ ]?\d{1,6}+)?+ $complete"""
NUMBER = r"$alone(?=(?:[ ./()-]{0,2}\d){7})\(?\d{1,15}+\)?(?:[ ./-]?\d{1,14}+){0,5}+$complete"

# Words (in lower case) that must stand before a number whose shape alone says too little, or must not.
LINK = r"(?:[ ]?(?:numbers?|no|me|us|at|on|is|was|to|号码?|号|为|是)){0,2}[\s.:：#=(（]{0,3}\Z"
CALLED = r"(?:phone|mobile|cell|tel|fax|call|dial|whatsapp|sms|电话|手机|联系方式|致电|拨打|传真|热线|座机)" + LINK
SOCIAL = r"(?:\bssn|social[ ]security|社会安全)" + LINK
VERSION = r"(?:\bv|\bver|versions?|release|build|firmware|revision|sections?|chapter|§|版本|版|第)" + LINK
FILES = frozenset(["png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "html", "htm", "php", "py", "json", "txt"])


Ends = Callable[[str, int, int], int]


@dataclass(frozen=True)
class Look:
    """One look at a line that has the `sign`: at each of the `places` the first rule that fits takes the value.

    A rule is a kind, a pattern, and a function of the line and a match's start and end: it says where the value really
    ends, and 0 if it is none.
    """

    sign: str
    places: Callable[[str], Iterable[int]]
    rules: tuple[tuple[str, re.Pattern, Ends], ...]


@cache
def looks() -> tuple[Look, ...]:
    """Give all rules in the order in which they take characters: what is most specific comes first."""
    numbers = (
        ("id_cn", compiled(ID_CN), _if(lambda found: checksums.chinese_id(_joined(found)))),
        ("card", compiled(CARD), _if(lambda found: checksums.card(_joined(found)))),
        ("ipv4", compiled(IPV4), _ipv4),
        ("ssn", compiled(SSN), _if(checksums.ssn)),
        ("ssn", compiled(NINE_DIGITS), _after(SOCIAL, checksums.ssn)),
        ("phone", compiled(PHONE), _if(bool)),
        ("phone", compiled(NUMBER), _after(CALLED, _could_be_called)),
    )
    return (
        Look(".", _starts(WEB), (("url", compiled(URL), _url),)),
        Look("@", _mailboxes, (("email", compiled(EMAIL), _email),)),
        Look(":", _groups, (("ipv6", compiled(IPV6), _ipv6),)),
        Look("", _starts(DIGITS), numbers),
    )


@cache
def compiled(pattern: str) -> re.Pattern:
    """Compile a pattern once, when it is first needed; blanks in it have no meaning."""
    return re.compile(Template(pattern).substitute(PIECES), re.VERBOSE | re.ASCII)


def _starts(clue: str) -> Callable[[str], list[int]]:
    find = compiled(clue).finditer
    return lambda line: [match.start() for match in find(line)]


def _mailboxes(line: str) -> Iterator[int]:
    """From each @ back to where the local part begins: cheaper than to try every word of the line."""
    back, at = compiled(MAILBOX), line.find("@")
    while at >= 0:
        match = back.match(line[max(0, at - 256) : at][::-1])
        if match:
            yield at - len(match[0].partition("..")[0].rstrip("."))
        at = line.find("@", at + 1)


def _groups(line: str) -> Iterator[int]:
    """From the first colon back over a group of digits, and after it: it may be punctuation, as in IPv6:2001:db8::1."""
    for match in compiled(COLONS).finditer(line):
        colon = match.start()
        group = line[max(0, colon - 4) : colon]
        yield colon - len(group) + len(group.rstrip("0123456789abcdefABCDEF"))
        yield colon + 1


def _joined(found: str) -> str:
    return found.replace(" ", "").replace("-", "")


def _could_be_called(found: str) -> bool:
    date = compiled(r"\d{4}[-./]\d\d?[-./]\d\d?").fullmatch(found)
    return date is None and 7 <= sum(map(str.isdigit, found)) <= 15


def _if(holds: Callable[[str], bool]) -> Callable[[str, int, int], int]:
    return lambda line, start, end: end if holds(line[start:end]) else 0


def _after(words: str, holds: Callable[[str], bool]) -> Callable[[str, int, int], int]:
    return lambda line, start, end: end if _precede(words, line, start) and holds(line[start:end]) else 0


def _precede(words: str, line: str, start: int) -> bool:
    return compiled(words).search(line[max(0, start - 32) : start].lower()) is not None


def _url(line: str, start: int, end: int) -> int:
    """Leave out the punctuation of the sentence, and a bracket that was opened before the URL."""
    surplus = {")": line.count(")", start, end) - line.count("(", start, end)}
    surplus["]"] = line.count("]", start, end) - line.count("[", start, end)
    while line[end - 1] in ".,;:!?*" or surplus.get(line[end - 1], 0) > 0:
        if line[end - 1] in surplus:
            surplus[line[end - 1]] -= 1
        end -= 1
    return end


def _email(line: str, start: int, end: int) -> int:
    """Refuse `icon@2x.png`: what ends like a file is one."""
    return 0 if line[start:end].rpartition(".")[2].lower() in FILES else end


def _ipv6(line: str, start: int, end: int) -> int:
    """Leave out the sentence's stop or colon; refuse what has no digit (a::b is C++)."""
    found = line[start:end].rstrip(".")
    for address in (found, found.removesuffix(":")):
        if any(c.isdigit() for c in address) and _is(ipaddress.IPv6Address, address):
            return start + len(address)
    return 0


def _ipv4(line: str, start: int, end: int) -> int:
    """Refuse the number of a version or section."""
    return end if _is(ipaddress.IPv4Address, line[start:end]) and not _precede(VERSION, line, start) else 0


def _is(kind: type, found: str) -> bool:
    """Whether the standard library reads this as an address of this kind."""
    try:
        kind(found)
    except ValueError:
        return False
    return True
