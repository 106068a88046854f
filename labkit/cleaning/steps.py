"""The steps of a pipeline, one function each: from a document to a document, or to the reason why it goes."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from labkit.cleaning.banding import Bands
from labkit.cleaning.c4_rules import C4Rules, c4
from labkit.cleaning.decoding import binary, decode
from labkit.cleaning.documents import LONGEST, Document
from labkit.cleaning.gopher_rules import GOPHER, GOPHER_ZH, GopherRules, Verdict, gopher
from labkit.cleaning.html import RULES, Rules, main_text
from labkit.cleaning.language import identify
from labkit.cleaning.masking import mask
from labkit.cleaning.mojibake import repair
from labkit.cleaning.normal_forms import clean_characters
from labkit.cleaning.personal import KINDS
from labkit.cleaning.pipeline import Drop, Pipeline, step
from labkit.cleaning.shingles import FIVE_WORDS, Shingling

# C4's rules on braces, filler and lines about JavaScript; its others cut headings and list items, which end without
# a full stop.
PAGE_RULES = C4Rules(
    sentences=None, words_in_line=None, word_length=None, terminal=(), policy=(), citations=False, javascript=True
)
RELATIVES = {"wuu": "zh", "yue": "zh"}  # written Wu and Cantonese are hardly told from other Chinese by their letters

__all__ = [
    "PAGE_RULES",
    "c4_quality",
    "decode_bytes",
    "extract_main_text",
    "gopher_quality",
    "identify_language",
    "mask_personal_data",
    "normalise_characters",
    "repair_mojibake",
    "standard",
]


def decode_bytes(document: Document, most_unreadable: float = 0.05) -> Document:
    """The bytes as text; documents that come as text stay as they are.

    Raises:
        ValueError: if the bytes are no text, or more than this share of the characters cannot be read: to quarantine.
    """
    if not document.raw:
        return document
    if why := binary(document.raw):
        raise ValueError(f"no text: {why}")
    found = decode(document.raw, document.declared)
    if found.replaced > most_unreadable * len(found.text):
        raise ValueError(f"{found.replaced} of {len(found.text)} characters cannot be read as {found.encoding}")
    return replace(document, text=found.text, raw=b"", notes=(*document.notes, ("encoding", found.encoding)))


def extract_main_text(document: Document, rules: Rules = RULES) -> Document | Drop:
    """The main text of a page of HTML; what is no HTML stays as it is."""
    if not _tag().search(document.text):
        return document
    text = main_text(document.text, rules)
    return replace(document, text=text) if text.strip() else Drop("no main text")


@cache
def _tag() -> re.Pattern[str]:
    return re.compile(r"<(?:!doctype|html|head|body|div|p|table|article|main|section|h1)\b", re.IGNORECASE)


def repair_mojibake(document: Document) -> Document:
    """Characters that were decoded wrongly, and encoded so, mended."""
    return replace(document, text=repair(document.text).text)


def normalise_characters(document: Document, form: str = "NFC") -> Document:
    """One Unicode normal form and one kind of line end; without control, zero-width and bidirectional characters."""
    return replace(document, text=clean_characters(document.text, form).text)


def identify_language(document: Document, languages: Sequence[str], threshold: float = 0.5) -> Document | Drop:
    """The language, noted; a document in none of the languages wanted goes."""
    found = identify(document.text, threshold=threshold)
    language = found.language if found.language in languages else RELATIVES.get(found.language, found.language)
    return replace(document, language=language) if language in languages else Drop(f"language {language}")


def gopher_quality(
    document: Document, rules: GopherRules = GOPHER, chinese: GopherRules = GOPHER_ZH
) -> Document | Drop:
    """Gopher's rules on quality and repetition; the first that is broken is the reason."""
    zh = document.language == "zh"
    verdict = gopher(document.text, chinese if zh else rules, "zh" if zh else "en")
    return document if verdict.kept else _broken(verdict)


def c4_quality(document: Document, rules: C4Rules = PAGE_RULES, chinese: C4Rules = PAGE_RULES) -> Document | Drop:
    """The text without the lines that C4 cuts; or the rule that takes the whole page out."""
    zh = document.language == "zh"
    page = c4(document.text, chinese if zh else rules, "zh" if zh else "en")
    return replace(document, text=page.text) if page.verdict.kept else _broken(page.verdict)


def _broken(verdict: Verdict) -> Drop:
    return Drop(str(verdict).removeprefix("removed by "))


def mask_personal_data(
    document: Document, token: str = "<{kind}>", kinds: Sequence[str] = KINDS, private_addresses: str = "keep"
) -> Document:
    """E-mail addresses, numbers of cards and the like replaced by a token; their count is noted."""
    found = mask(document.text, token, kinds=kinds, private_addresses=private_addresses)
    notes = (*document.notes, ("masked", str(found.count))) if found.count else document.notes
    return replace(document, text=found.text, notes=notes)


def standard(
    languages: Sequence[str] = ("en", "zh"),
    *,
    most_unreadable: float = 0.05,
    html_rules: Rules = RULES,
    form: str = "NFC",
    language_threshold: float = 0.5,
    gopher_rules: GopherRules = GOPHER,
    gopher_rules_zh: GopherRules = GOPHER_ZH,
    c4_rules: C4Rules = PAGE_RULES,
    c4_rules_zh: C4Rules = PAGE_RULES,
    token: str = "<{kind}>",
    kinds: Sequence[str] = KINDS,
    private_addresses: str = "keep",
    exact: bool = True,
    near: float | int | None = 0.8,
    bands: Bands | None = None,
    how: Shingling = FIVE_WORDS,
    seed: int = 0,
    longest: int = LONGEST,
) -> Pipeline:
    """The pipeline of the course: bytes to text, repair, page to main text, language, quality, masks, no copies.

    Every threshold is an argument. Of C4's rules only PAGE_RULES are used by default.
    """
    steps = (
        step(decode_bytes, most_unreadable=most_unreadable),
        step(repair_mojibake),  # before the page is parsed: white space that a parser drops may be half a character
        step(extract_main_text, rules=html_rules),
        step(normalise_characters, form=form),
        step(identify_language, languages=tuple(languages), threshold=language_threshold),
        step(gopher_quality, rules=gopher_rules, chinese=gopher_rules_zh),
        step(c4_quality, rules=c4_rules, chinese=c4_rules_zh),
        step(mask_personal_data, token=token, kinds=tuple(kinds), private_addresses=private_addresses),
    )
    return Pipeline(steps, exact=exact, near=near, bands=bands, how=how, seed=seed, longest=longest)
