"""Near duplicates: texts edited until their Jaccard similarity is what was asked, and the exact similarity told."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

STYLES = ("words", "cut", "added", "mixed")
_PIECE = {"en": re.compile(r"\S+\s*"), "zh": re.compile(r"\S\s*")}
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Copies:
    """Originals first, in their order, then copies; `pairs` are all (i, j, Jaccard) inside the families, i < j."""

    texts: list[str]
    pairs: list[tuple[int, int, float]]


def word_shingles(text: str, *, size: int = 5, language: str = "en") -> frozenset[str]:
    """The set of runs of `size` words (for Chinese: characters without white space); a shorter text is one shingle.

    >>> sorted(word_shingles("a rose is a rose is a rose", size=4))
    ['a rose is a', 'is a rose is', 'rose is a rose']

    Source: Broder (1997), "On the resemblance and containment of documents", section 2.
    """
    if language == "zh":
        units = _SPACE.sub("", text)
        return frozenset(units[i : i + size] for i in range(max(1, len(units) - size + 1)))
    words = text.split()
    return frozenset(" ".join(words[i : i + size]) for i in range(max(1, len(words) - size + 1)))


def true_jaccard(first: str, second: str, *, size: int = 5, language: str = "en") -> float:
    """The share of the shingles of both texts together that both have: 1 for equal texts, 0 for unrelated ones."""
    return _jaccard(
        word_shingles(first, size=size, language=language), word_shingles(second, size=size, language=language)
    )


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def near_copies(
    texts: Sequence[str],
    *,
    similarities: Sequence[float | int] = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
    copies: int = 1,
    seed: int,
    language: str = "en",
) -> Copies:
    """`copies` edited copies of every text, their target similarities taken in turn, with the exact Jaccard.

    Words are replaced, an end cut off, a passage added, or all of it; a similarity is at or just below its target.

    Raises: ValueError for no texts, a text under 20 words (characters), or a similarity that is not between 0 and 1.
    """
    if not texts or copies < 1 or not similarities or any(not 0 < s < 1 for s in similarities):
        raise ValueError(
            f"got {len(texts)} texts, copies={copies!r}, similarities={tuple(similarities)!r}; "
            "give at least one text, one copy of each, and some similarities between 0 and 1"
        )
    rng = random.Random(f"copies {seed} {language}")
    made, family = list(texts), {i: [i] for i in range(len(texts))}
    for number, (_, index) in enumerate((c, i) for c in range(copies) for i in range(len(texts))):
        # Shifted every round, so that the copies of one text are not all at the same similarity.
        target = similarities[(number + number // len(texts)) % len(similarities)]
        donor = _patchwork(texts, len(texts[index]), rng, language)
        family[index].append(len(made))
        made.append(near_copy(texts[index], target, rng, donor=donor, language=language))
    pairs = []
    for members in family.values():
        sets = {i: word_shingles(made[i], language=language) for i in members}
        pairs += [(i, j, _jaccard(sets[i], sets[j])) for i, j in combinations(members, 2)]
    return Copies(made, pairs)


def near_copy(text: str, target: float, rng: random.Random, *, donor: str, language: str = "en") -> str:
    """The text edited until its Jaccard similarity to the original is just at or under `target`."""
    pieces = _PIECE["zh" if language == "zh" else "en"].findall(text)
    if len(pieces) < 20:
        raise ValueError(f"a text of {len(pieces)} words is too short to be edited to a similarity; give 20 or more")
    foreign = _PIECE["zh" if language == "zh" else "en"].findall(donor)
    style = rng.choice(STYLES)
    # Of n shingles k are lost; a replaced word loses 5 and brings 5: J = (n - k) / (n + k). The rest is corrected.
    lost = (1 - target) / (1 + target) * len(pieces)
    if style in ("cut", "mixed"):
        share = (1 - target) if style == "cut" else lost / len(pieces) / 2
        pieces = _cut(pieces, round(len(pieces) * share * 0.9), rng)
    if style in ("added", "mixed"):
        share = (1 / target - 1) if style == "added" else lost / len(pieces) / 2
        pieces = _added(pieces, foreign, round(len(pieces) * share * 0.9), rng)
    whole = word_shingles(text, language=language)
    for _ in range(200):
        similarity = _jaccard(whole, word_shingles("".join(pieces), language=language))
        if similarity <= target:
            break
        wanted = (similarity - target) / (1 + target) * len(pieces)
        for _ in range(max(1, int(wanted / 6))):
            _replace(pieces, foreign, rng)
    return "".join(pieces).strip()


def _patchwork(texts: Sequence[str], length: int, rng: random.Random, language: str) -> str:
    """Runs of four words of many texts: no shingle of five comes from another text, so families stay apart."""
    made: list[str] = []
    size, between = 0, "" if language == "zh" else " "
    while size < length * 1.3:
        text = texts[rng.randrange(len(texts))]
        start = rng.randrange(max(1, len(text) - 80))
        part = text[start : start + 80]  # its first word may be half a word
        run = [c for c in part if not c.isspace()][:4] if language == "zh" else part.split()[1:5]
        made.append(between.join(run))
        size += len(made[-1]) + 1
    return between.join(made)


def _cut(pieces: list[str], count: int, rng: random.Random) -> list[str]:
    return pieces[count:] if rng.random() < 0.3 else pieces[: len(pieces) - count]


def _added(pieces: list[str], foreign: list[str], count: int, rng: random.Random) -> list[str]:
    """A passage of another text, at the end or in the beginning, as a paragraph of its own."""
    start = rng.randrange(max(1, len(foreign) - count))
    passage = [re.sub(r"\n+", " ", piece) for piece in foreign[start : start + count]]
    if not passage:
        return pieces
    if rng.random() < 0.3:
        return [*passage[:-1], passage[-1].rstrip() + "\n\n", *pieces]
    return [*pieces[:-1], pieces[-1].rstrip() + "\n\n", *passage]


def _replace(pieces: list[str], foreign: list[str], rng: random.Random) -> None:
    """One word becomes one of another text; the white space after it stays, so paragraphs stay."""
    at = rng.randrange(len(pieces))
    space = pieces[at][len(pieces[at].rstrip()) :]
    pieces[at] = rng.choice(foreign).rstrip() + space
