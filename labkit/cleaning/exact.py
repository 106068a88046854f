"""Exact duplicates: whole texts, paragraphs or lines that occur word for word more than once."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from labkit.cleaning.shingles import check_texts

KEEP, BY = ("first", "none"), ("document", "paragraph", "line")


@dataclass(frozen=True)
class Exact:
    """What is left when exact duplicates are gone, and why the rest went.

    `kept` and `removed` are numbers of texts, `of` the text that a removed one repeats. By paragraph or line `texts`
    are the texts without the parts that went, `parts` says of which part (text, part) each removed part is a copy, and
    `removed` are the texts of which nothing is left.
    """

    kept: list[int]
    removed: list[int]
    texts: list[str]
    of: dict[int, int] = field(default_factory=dict)
    parts: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)


def duplicates(
    texts: Sequence[str], keep: str = "first", by: str = "document", *, normalise: bool = False, empty: bool = False
) -> Exact:
    """Find exact copies of documents, paragraphs or lines, over all texts together.

    Args:
        keep: "first" keeps the first of each group of copies, "none" keeps none of them.
        normalise: True compares without regard to case and to how much space stands between words.
        empty: True makes texts of nothing but space copies of each other; blank lines are never removed.

    Raises:
        ValueError: for another `keep` or `by`, or anything but a list of strings.

    >>> duplicates(["a", "b", "a"]).of
    {2: 0}
    >>> duplicates(["Menu\\nNews of today", "Menu\\nOther news"], keep="none", by="line").texts
    ['News of today', 'Other news']
    """
    check_texts(texts)
    if keep not in KEEP or by not in BY:
        raise ValueError(f"keep is one of {', '.join(KEEP)}, by one of {', '.join(BY)}; got {keep!r} and {by!r}")
    parts = [_split(text, by) for text in texts]
    blank, windows = empty and by == "document", "" if by == "document" else "\r"  # the last line has no line end
    of = copies([[key(part.removesuffix(windows), normalise, blank) for part in text] for text in parts], keep)
    left = [[p for j, p in enumerate(text) if (i, j) not in of] for i, text in enumerate(parts)]
    touched = {i for i, _ in of}
    removed = [i for i in sorted(touched) if not "".join(left[i]).strip()]
    gone, joint = set(removed), "\n\n" if by == "paragraph" else "\n"
    kept = [i for i in range(len(texts)) if i not in gone]
    if by == "document":
        return Exact(kept, removed, [texts[i] for i in kept], {i: head for (i, _), (head, _) in of.items()})
    rest = [joint.join(left[i]).removesuffix(windows) if i in touched else texts[i] for i in range(len(texts))]
    return Exact(kept, removed, rest, {}, of)


def copies(keys: Sequence[Sequence[bytes | None]], keep: str) -> dict[tuple[int, int], tuple[int, int]]:
    """For each key that goes, by its place (text, part): the place of the key that it repeats; None never goes.

    With keep="none" the first of a group goes too, as a copy of the second.
    """
    first: dict[bytes, tuple[int, int]] = {}
    of = {}
    for i, text in enumerate(keys):
        for j, one in enumerate(text):
            if one is None:
                continue
            head = first.setdefault(one, (i, j))
            if head != (i, j):
                of[i, j] = head
                if keep == "none":
                    of.setdefault(head, (i, j))
    return dict(sorted(of.items()))


@cache
def _gap() -> re.Pattern[str]:
    return re.compile(r"\r?\n[^\S\n]*+\n\s*+")


def _split(text: str, by: str) -> list[str]:
    if by == "document":
        return [text]
    return _gap().split(text) if by == "paragraph" else text.split("\n")


def key(part: str, normalise: bool = False, empty: bool = False) -> bytes | None:
    """16 bytes that stand for a part, equal for equal ones only; None for one of nothing but space."""
    if not empty and (not part or part.isspace()):
        return None
    part = " ".join(part.casefold().split()) if normalise else part
    return hashlib.blake2b(part.encode("utf-8", "surrogatepass"), digest_size=16).digest()
