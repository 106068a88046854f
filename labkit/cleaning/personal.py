"""Personal data in a text: where it stands and of what kind, in English and in Chinese."""

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from labkit.cleaning.patterns import DIGITS, Look, compiled, looks

KINDS = ("url", "email", "ipv6", "id_cn", "card", "ipv4", "ssn", "phone")  # an earlier kind takes the characters
PASSES = 3  # taking one value away can free its neighbour, as in 8.8.8.8-415-555-0132
TAKEN = "\x00"  # stands where a value was found
ZEROS = (
    0x0660,
    0x06F0,
    0x0966,
    0x09E6,
    0x0E50,
    0xFF10,
)  # digits: Arabic, Persian, Devanagari, Bengali, Thai, wide


class Span(NamedTuple):
    """Where a value stands in its text, `text[start:end]`, and its kind."""

    start: int
    end: int
    kind: str


def find(text: str | Any, kinds: Iterable[str] | Any = KINDS) -> list[Span]:
    """Give every piece of personal data of these kinds, in order; no two share a character.

    A URL takes the e-mail address inside it, an ID number the digits that could also be a card. Numbers count only if
    their check digit, date or range is right; see `labkit.cleaning.checksums`.

    Raises:
        ValueError: for a kind that is not known, or a text that is not a string.

    >>> find("Write to bob@example.org, or call 415-555-0132.")
    [Span(start=9, end=24, kind='email'), Span(start=34, end=46, kind='phone')]
    """
    chosen = _looks_for(kinds)
    if not isinstance(text, str):
        raise ValueError(f"personal data is searched for in a string, got {type(text).__name__}: decode it first")
    spans, begin = [], 0
    for line in text.splitlines(keepends=True):
        line = line if line.isascii() else folded(line)
        if worth_reading(line):
            spans += [Span(begin + start, begin + end, kind) for start, end, kind in _in_line(line, chosen)]
        begin += len(line)
    return spans


def worth_reading(line: str) -> bool:
    """Whether a line (`folded`) could hold personal data at all: the one test that most lines of a crawl ever see.

    >>> worth_reading("It was the best of times, in 1775."), worth_reading("Call 415-555-0132.")
    (False, True)
    """
    signs = "@" in line or "://" in line or "www." in line or "::" in line or line.count(":") > 2
    return signs or compiled(DIGITS).search(line) is not None


def folded(line: str) -> str:
    """Write full-width and other digits, letters, hyphens and blanks as in ASCII, character for character.

    >>> folded("电话：１３８－００１３ ab＠x．cn")
    '电话：138-0013 ab@x.cn'
    """
    return line.translate(_ascii_forms()) if _foldable().search(line) else line


@cache
def _ascii_forms() -> dict[int, str]:
    table = {0xFF00 + c - 0x20: chr(c) for c in range(0x21, 0x7F) if chr(c).isalnum() or chr(c) in "@.-+_"}
    table |= {zero + digit: str(digit) for zero in ZEROS for digit in range(10)}
    return table | dict.fromkeys([0x2010, 0x2011, 0x2012, 0x2013], "-") | dict.fromkeys([0xA0, 0x2007, 0x202F], " ")


@cache
def _foldable() -> re.Pattern:
    return re.compile("[" + "".join(map(chr, _ascii_forms())) + "]")


def _looks_for(kinds: Any) -> list[Look]:
    if kinds is KINDS:
        return _chosen(KINDS)
    kinds = (kinds,) if isinstance(kinds, str) or not isinstance(kinds, Iterable) else tuple(kinds)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ValueError(f"kinds are some of {', '.join(KINDS)}; got {unknown or 'none'}")
    return _chosen(kinds)


@cache
def _chosen(kinds: tuple[str, ...]) -> list[Look]:
    return [replace(look, rules=rules) for look in looks() if (rules := tuple(r for r in look.rules if r[0] in kinds))]


def _in_line(line: str, chosen: list[Look]) -> list[Span]:
    """Let each look in turn take its characters away, so that no later one can see them."""
    found = []
    for _ in range(PASSES):
        before = len(found)
        for look in chosen:
            if look.sign in line:
                new = _seen(line, look)
                line = _without(line, new) if new else line
                found += new
        if len(found) == before or not _neighbours(line, found):
            break
    return sorted(found) if len(found) > 1 else found


def _seen(line: str, look: Look) -> list[Span]:
    found, reached = [], 0
    for start in look.places(line):
        if start < reached:
            continue
        for kind, pattern, ends in look.rules:
            match = pattern.match(line, start)
            end = match and ends(line, start, match.end())
            if end:
                found.append(Span(start, end, kind))
                reached = end
                break
    return found


def _neighbours(line: str, found: list[Span]) -> bool:
    """Whether something stands so near to a value that it may itself be one, now that the value is gone."""
    near = [line[max(0, start - 3) : start] + line[end : end + 3] for start, end, _ in found]
    return compiled(r"[-\d:/@]|\.[^\x00-\x7f]{2}").search("".join(near)) is not None


def _without(line: str, spans: list[Span]) -> str:
    pieces, begin = [], 0
    for start, end, _ in spans:
        pieces += (line[begin:start], TAKEN * (end - start))
        begin = end
    return "".join([*pieces, line[begin:]])
