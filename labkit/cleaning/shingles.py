"""Texts as sets of shingles: a few neighbouring words or characters, hashed straight from arrays of code points.

Two texts are alike when they share many shingles. The readable functions (`units`, `shingles`, `shingle_hash`) say what
is computed; `hash_shingles` computes the same numbers for many texts at once, with sums over whole arrays.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt8, UInt32, UInt64

BITS = 2**64
BASE = 0x9E3779B97F4A7C15  # any large odd number: odd, so that it has an inverse modulo 2**64
MIXER = 0xD6E8FEB86659FD93  # odd as well; spreads what the low bits know to the high ones
SPACE, LETTER, ALONE = 0, 1, 2  # the kinds of characters: between units, part of a word, a word by itself
BLOCK = 2**17  # characters hashed at a time: what is written stays in the cache
KNOWN = 0x20000  # code points from here on are Chinese characters (the rare rest is treated like them)
# Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
UNSPACED = (
    (0xE00, 0xEFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3040, 0x30FF),
    (0x3400, 0x9FFF),
    (0xF900, 0xFAFF),
    (KNOWN, KNOWN),
)


@dataclass(frozen=True)
class Shingling:
    """How a text becomes shingles: `size` neighbouring units, each a "word" or a "character".

    Case and punctuation are ignored unless kept; how much space stands between words never matters. A character of a
    script without spaces (Chinese, kana, Thai …) is a word by itself, so that one setting serves mixed languages.

    Raises:
        ValueError: for a size below 1 or an unknown unit.
    """

    size: int | Any = 5
    unit: str = "word"
    keep_case: bool = False
    keep_punctuation: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.size, Integral) or self.size < 1:
            raise ValueError(f"a shingle has a whole number of units from 1 on, got size={self.size!r}; 5 is usual")
        if self.unit not in ("word", "character"):
            raise ValueError(f'the unit of a shingle is "word" or "character", got {self.unit!r}')


FIVE_WORDS = Shingling()


def units(text: str, how: Shingling = FIVE_WORDS) -> list[str]:
    """The words (or characters) of a text that its shingles are made of.

    >>> units("The  End, of 三国!")
    ['the', 'end', 'of', '三', '国']
    """
    found, open_word = [], False
    for character in text if how.keep_case else text.casefold():
        kind = kind_of(character, how.keep_punctuation)
        alone = kind == ALONE or how.unit == "character"
        if kind != SPACE and open_word and not alone:
            found[-1] += character
        elif kind != SPACE:
            found.append(character)
        open_word = kind != SPACE and not alone
    return found


def kind_of(character: str, keep_punctuation: bool = False) -> int:
    """Whether a character is a SPACE between units, a LETTER of a word, or ALONE a word."""
    return int(kinds(keep_punctuation)[min(ord(character), KNOWN)])


@cache
def kinds(keep_punctuation: bool = False) -> UInt8[np.ndarray, " codes"]:
    """The kind of each code point; the last entry stands for all that come after it."""
    characters = [chr(code) for code in range(KNOWN + 1)]
    if keep_punctuation:
        table = np.array([SPACE if c.isspace() else LETTER for c in characters], np.uint8)
    else:  # letters, marks and numbers make words
        table = np.array([LETTER if unicodedata.category(c)[0] in "LMN" else SPACE for c in characters], np.uint8)
    for low, high in UNSPACED:
        part = table[low : high + 1]
        part[part == LETTER] = ALONE
    table[KNOWN] = ALONE
    return table


def shingles(text: str, how: Shingling = FIVE_WORDS) -> set[tuple[str, ...]]:
    """The set of all runs of `how.size` neighbouring units; a shorter text has one shingle of what there is.

    >>> sorted(shingles("to be or not", Shingling(size=3)))
    [('be', 'or', 'not'), ('to', 'be', 'or')]
    """
    found = units(text, how)
    if not found:
        return set()
    return {tuple(found[i : i + how.size]) for i in range(max(1, len(found) - how.size + 1))}


def mix(number: int) -> int:
    """A 64-bit number in which every high bit depends on all bits of the given one."""
    return (number ^ number >> 32) * MIXER % BITS


def shingle_hash(shingle: Sequence[str]) -> int:
    """The 64-bit hash of one shingle: a polynomial in BASE of its words' hashes, each one of its characters.

    Texts can be built whose words collide (any polynomial modulo 2**64 has such), of 1,024 characters and more.
    """
    words = [mix(sum(ord(c) * pow(BASE, k, BITS) for k, c in enumerate(word)) % BITS) for word in shingle]
    return mix(sum(word * pow(BASE, k, BITS) for k, word in enumerate(words)) % BITS)


def shingle_hashes(
    text: str, size: int = 5, unit: str = "word", *, keep_case: bool = False, keep_punctuation: bool = False
) -> UInt64[np.ndarray, " shingles"]:
    """The hashes of a text's shingles in ascending order, each once."""
    return np.unique(hash_shingles([text], Shingling(size, unit, keep_case, keep_punctuation)).hashes)


def jaccard(first: Any, second: Any) -> float:
    """The share of common elements among all elements of two sets (or arrays): |A ∩ B| / |A ∪ B|.

    Two empty sets have 0.0: nothing says that two texts without a word are copies.

    >>> jaccard({1, 2, 3}, {2, 3, 4})
    0.5
    """
    first, second = (set(np.asarray(s).tolist()) if isinstance(s, np.ndarray) else set(s) for s in (first, second))
    together = len(first | second)
    return len(first & second) / together if together else 0.0


@dataclass(frozen=True, eq=False)
class Shingled:
    """The shingle hashes of many texts, one text behind the other, in the order of the text and with repeats.

    Those of text i are `hashes[start[i] : start[i + 1]]`.
    """

    hashes: UInt64[np.ndarray, " shingles"]
    start: Int64[np.ndarray, " ends"]

    def __len__(self) -> int:
        return len(self.start) - 1

    def of(self, text: int) -> UInt64[np.ndarray, " shingles"]:
        """The hashes of one text."""
        return self.hashes[self.start[text] : self.start[text + 1]]


def hash_shingles(texts: Sequence[str] | Any, how: Shingling = FIVE_WORDS) -> Shingled:
    """The shingle hashes of many texts, equal to `shingle_hash` of each shingle.

    Works through the texts block by block; what it needs meanwhile is about 20 bytes a character of the longest
    text, 70 if it is Chinese.

    Raises:
        ValueError: for a single string, or something in the list that is no string.
    """
    check_texts(texts)
    parts = [_hash_block(block, how) for block in blocks(texts)]
    counts = np.concatenate([np.zeros(1, np.int64), *(count for _, count in parts)])
    hashes = np.concatenate([np.zeros(0, np.uint64), *(found for found, _ in parts)])
    return Shingled(hashes, np.cumsum(counts))


def check_texts(texts: Any) -> None:
    """Refuse what is not a list of strings.

    Raises:
        ValueError: saying what stands where.
    """
    if isinstance(texts, str | bytes | Mapping) or not (hasattr(texts, "__len__") and hasattr(texts, "__getitem__")):
        raise ValueError(f"a list of texts is expected, got {type(texts).__name__}: put a single text in a list")
    if set(map(type, texts)) <= {str}:
        return
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"text {i} is {type(text).__name__}, not str: decode bytes and drop what is missing first")


def blocks(texts: Sequence[str] | Any) -> Iterator[Sequence[str] | Any]:
    """Groups of neighbouring texts, about BLOCK characters each."""
    begin, size = 0, 0
    for i, text in enumerate(texts):
        if size + len(text) > BLOCK and i > begin:
            yield texts[begin:i]
            begin, size = i, 0
        size += len(text) + 1
    if begin < len(texts):
        yield texts[begin:]


def _hash_block(
    texts: Sequence[str] | Any, how: Shingling
) -> tuple[UInt64[np.ndarray, " shingles"], Int64[np.ndarray, " texts"]]:
    """The hashes of a block's shingles, and how many each text has."""
    folded = list(texts) if how.keep_case else [text.casefold() for text in texts]
    codes = np.frombuffer("\n".join([*folded, ""]).encode("utf-32-le", "surrogatepass"), np.uint32)
    begin, end = _bounds(np.take(kinds(how.keep_punctuation), codes, mode="clip"), how.unit)
    ends = np.cumsum(np.fromiter((len(text) + 1 for text in folded), np.int64, len(folded)))
    first = np.concatenate([np.zeros(1, np.int64), np.searchsorted(begin, ends)])
    return _windows(_hash_units(codes, begin, end), first, how.size)


def _bounds(
    kind: UInt8[np.ndarray, " codes"], unit: str
) -> tuple[Integer[np.ndarray, " units"], Integer[np.ndarray, " units"]]:
    """Where each unit begins, and where it ends (the place after it); the block's last character is a space."""
    inside: Bool[np.ndarray, " codes"] = kind != SPACE
    if unit == "character":
        begin = np.flatnonzero(inside)
        return begin, begin + 1
    joined = kind == LETTER
    joined[1:] &= joined[:-1]  # a letter after a letter goes on with the word
    joined[0] = False
    begins = inside & ~joined
    ends = inside[:-1] & ~joined[1:]
    return np.flatnonzero(begins), np.flatnonzero(ends) + 1


def _hash_units(
    codes: UInt32[np.ndarray, " codes"], begin: Integer[np.ndarray, " units"], end: Integer[np.ndarray, " units"]
) -> UInt64[np.ndarray, " units"]:
    """The hash of each unit, about BLOCK characters at a time (a longer text is a block of its own)."""
    parts, first = [np.zeros(0, np.uint64)], 0
    while first < len(begin):
        place = begin[first]
        last = max(first + 1, int(np.searchsorted(end, place + BLOCK, side="right")))
        parts.append(_hash_part(codes[place : end[last - 1]], begin[first:last] - place, end[first:last] - place))
        first = last
    return np.concatenate(parts)


def _hash_part(
    codes: UInt32[np.ndarray, " codes"], begin: Integer[np.ndarray, " units"], end: Integer[np.ndarray, " units"]
) -> UInt64[np.ndarray, " units"]:
    """A difference of two running sums of code × BASE^place, divided by BASE^begin."""
    powers, inverse = _powers(len(codes))
    running = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * powers[: len(codes)], out=running[1:])
    return _mix((running[end] - running[begin]) * inverse[begin])


def _powers(length: int) -> tuple[UInt64[np.ndarray, " powers"], UInt64[np.ndarray, " powers"]]:
    """BASE^k and BASE^-k modulo 2**64 for k = 0, 1, …; kept for blocks of the usual length."""
    return _usual_powers() if length <= 2 * BLOCK else (_power_table(BASE, length), _inverse_table(length))


@cache
def _usual_powers() -> tuple[UInt64[np.ndarray, " powers"], UInt64[np.ndarray, " powers"]]:
    return _power_table(BASE, 2 * BLOCK), _inverse_table(2 * BLOCK)


def _inverse_table(length: int) -> UInt64[np.ndarray, " powers"]:
    return _power_table(pow(BASE, -1, BITS), length)


def _power_table(base: int, length: int) -> UInt64[np.ndarray, " powers"]:
    table = np.full(length, base, np.uint64)
    table[0] = 1
    return np.cumprod(table, dtype=np.uint64)


def _mix(numbers: UInt64[np.ndarray, " any"]) -> UInt64[np.ndarray, " any"]:
    """`mix` of each number, in place."""
    numbers ^= numbers >> np.uint64(32)
    numbers *= np.uint64(MIXER)
    return numbers


def _windows(
    words: UInt64[np.ndarray, " units"], first: Int64[np.ndarray, " ends"], size: int
) -> tuple[UInt64[np.ndarray, " shingles"], Int64[np.ndarray, " texts"]]:
    """The hash of every window of `size` units inside one text, and how many each text has."""
    length = np.diff(first)
    size = min(size, int(length.max(initial=1)))  # no text fills a larger window
    count = np.where(length, np.maximum(length - size + 1, 1), 0)
    padded = np.concatenate([words, np.zeros(size - 1, np.uint64)])
    sums = np.zeros_like(words)
    for k in reversed(range(size)):  # Horner's rule: words[i] + BASE · (words[i+1] + BASE · (…))
        sums *= np.uint64(BASE)
        sums += padded[k : k + len(words)]
    for short in np.flatnonzero((length > 0) & (length < size)):
        powers = _power_table(BASE, int(length[short]))
        sums[first[short]] = (words[first[short] : first[short + 1]] * powers).sum(dtype=np.uint64)
    begin = np.repeat(first[:-1] - (np.cumsum(count) - count), count)
    return _mix(sums[begin + np.arange(len(begin))]), count
