"""Personal data taken out of a text: by a token of its kind, or by a pseudonym that stays the same."""

import hashlib
import re
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from labkit.cleaning.checksums import scope
from labkit.cleaning.personal import KINDS, Span, find, folded

ADDRESSES = ("ipv4", "ipv6")
Token = Callable[[str, str], str | None]


@dataclass(frozen=True, slots=True)
class Masked:
    """A text without its personal data, how many values were replaced, and where they stood in the text given."""

    text: str
    count: int
    spans: tuple[Span, ...]


def mask(
    text: str | Any,
    token: str | Mapping[str, str] | Token | Any = "<{kind}>",
    *,
    kinds: Iterable[str] | Any = KINDS,
    private_addresses: str | Any = "keep",
) -> Masked:
    """Replace personal data by tokens; what is a token already stays as it is, so a second time changes nothing.

    That needs a token with edges, such as "<{kind}>": after "" or "X" the characters on both sides of a value meet, and
    may look like another one.

    Args:
        token: a text, in which `{kind}` is filled in; a mapping of kinds to texts, whose other kinds are left alone; or
            a function of the kind and the value, which gives None for what is to stay.
        kinds: which kinds to look for.
        private_addresses: "keep" leaves IP addresses that identify nobody (private, loopback, documentation …), as
            FineWeb does; "mask" replaces them too.

    Raises:
        ValueError: for a kind, token or policy that is not known, or a text that is not a string.

    Source: Penedo et al. (2024), "The FineWeb datasets", section 3.7 (e-mail and public IP addresses).

    >>> mask("bob@example.org asked 8.8.8.8 and 192.168.0.1").text
    '<email> asked <ipv4> and 192.168.0.1'
    """
    if private_addresses not in ("keep", "mask"):
        raise ValueError(f'private_addresses is "keep" or "mask", got {private_addresses!r}')
    replace, spans = _replacement(token), find(text, kinds)
    tokens = _tokens_in(text, token) if spans else []
    pieces, replaced, begin = [], [], 0
    for span in spans:
        found = text[span.start : span.end]
        kept = _inside(tokens, span) or (private_addresses == "keep" and _means_nobody(span.kind, found))
        new = None if kept else replace(span.kind, found)
        if new is not None and new != found:
            pieces += (text[begin : span.start], new)
            begin = span.end
            replaced.append(span)
    return Masked("".join([*pieces, text[begin:]]), len(replaced), tuple(replaced))


def pseudonyms(key: str | bytes | Any) -> Token:
    """Give a `token` for `mask`: the same value gets the same pseudonym everywhere.

    Without the key nobody can compute it. A plain hash would not do: whoever hashes all phone numbers, which takes
    minutes, finds the one that it came from.

    Raises:
        ValueError: for an empty key, or one of more than 64 bytes.

    >>> mask("bob@example.org, eve@example.org, bob@example.org", pseudonyms("secret")).text
    '<email:odcobacnpa>, <email:ccaihckkjn>, <email:odcobacnpa>'
    """
    secret = key.encode() if isinstance(key, str) else key
    if not isinstance(secret, bytes) or not 0 < len(secret) <= 64:
        raise ValueError("the key of pseudonyms is a secret of 1 to 64 bytes, as a string or bytes")

    def pseudonym(kind: str, found: str) -> str:
        digest = hashlib.blake2b(
            f"{kind}:{found}".encode(errors="surrogatepass"), key=secret, digest_size=5
        ).hexdigest()
        return f"<{kind}:{digest.translate(_LETTERS)}>"

    return pseudonym


_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")  # letters only: never taken for a number


def _replacement(token: Any) -> Token:
    if callable(token):
        return token
    if isinstance(token, Mapping):
        unknown = [kind for kind in token if kind not in KINDS]
        if unknown:
            raise ValueError(f"tokens are given for some of {', '.join(KINDS)}; got {unknown}")
        return lambda kind, found: token.get(kind)
    if not isinstance(token, str):
        raise ValueError(f"a token is a text, a mapping of kinds to texts or a function, got {token!r}")
    return lambda kind, found: token.replace("{kind}", kind)


def _tokens_in(text: str, token: Any) -> list[tuple[int, int]]:
    """Where the text holds tokens already: ours, or any that look like <email> or [phone]."""
    own = [] if callable(token) else [t for t in map(_replacement(token), KINDS, KINDS) if t]
    return [match.span() for match in _tokens(tuple(dict.fromkeys(own))).finditer(text)]


def _inside(tokens: list[tuple[int, int]], span: Span) -> bool:
    i = bisect_right(tokens, (span.start, sys.maxsize)) - 1
    return i >= 0 and span.end <= tokens[i][1]


@lru_cache(maxsize=64)
def _tokens(own: tuple[str, ...]) -> re.Pattern:
    usual = rf"[<\[](?:{'|'.join(KINDS)})(?::[a-p]{{1,64}}+)?[>\]]"
    return re.compile("|".join([*map(re.escape, sorted(own, key=len, reverse=True)), usual]))


def _means_nobody(kind: str, found: str) -> bool:
    return kind in ADDRESSES and scope(folded(found)) != "public"  # digits may be full-width
