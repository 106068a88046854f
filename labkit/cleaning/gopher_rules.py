"""Gopher's decision about a document: the first rule that it breaks, with the value found and the limit.

gopher("Too short.")                                      # removed by word_count: 2, at least 50 wanted
gopher(text, replace(GOPHER, word_count=(20, None)))      # dataclasses.replace: another threshold
gopher(chinese, GOPHER_ZH, "zh")                          # characters as words, and rules that make sense there
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any, NamedTuple

from labkit.cleaning.quality import BULLETS, MEASURES, Page

Limits = tuple[float | int | None, float | int | None] | None | Any  # Any: what is no pair is refused in words


@dataclass(frozen=True)
class GopherRules:
    """For each statistic the least and the most that a kept document may have, in the order in which they are asked.

    None for a limit leaves one side open; None for both leaves the rule out.

    Raises:
        ValueError: for a rule whose limits are no pair of least and most.

    Source: Rae et al. (2021), "Scaling language models: methods, analysis & insights from training Gopher", section
    A.1.1 (the first eight rules) and table A1 (the others).
    """

    word_count: Limits = (50, 100_000)
    mean_word_length: Limits = (3, 10)
    hash_ratio: Limits = (None, 0.1)
    ellipsis_ratio: Limits = (None, 0.1)
    bullet_lines: Limits = (None, 0.9)
    ellipsis_lines: Limits = (None, 0.3)
    alphabetic_words: Limits = (0.8, None)
    stop_words: Limits = (2, None)
    duplicate_paragraphs: Limits = (None, 0.30)
    duplicate_paragraph_characters: Limits = (None, 0.20)
    duplicate_lines: Limits = (None, 0.30)
    duplicate_line_characters: Limits = (None, 0.20)
    top_2_gram: Limits = (None, 0.20)
    top_3_gram: Limits = (None, 0.18)
    top_4_gram: Limits = (None, 0.16)
    duplicate_5_grams: Limits = (None, 0.15)
    duplicate_6_grams: Limits = (None, 0.14)
    duplicate_7_grams: Limits = (None, 0.13)
    duplicate_8_grams: Limits = (None, 0.12)
    duplicate_9_grams: Limits = (None, 0.11)
    duplicate_10_grams: Limits = (None, 0.10)

    def __post_init__(self) -> None:
        for rule in fields(self):
            limits = getattr(self, rule.name)
            if limits is not None and not _is_pair(limits):
                raise ValueError(
                    f"{rule.name}={limits!r} is no pair of limits: give (least, most), None for a side that is open, "
                    "or None to leave the rule out"
                )


def _is_pair(limits: Any) -> bool:
    if not isinstance(limits, tuple | list) or len(limits) != 2:
        return False
    given = [limit for limit in limits if limit is not None]
    return all(isinstance(limit, Real) for limit in given) and sorted(given) == given


GOPHER = GopherRules()
QUALITY = tuple(field.name for field in fields(GopherRules))[:8]
REPETITION = tuple(field.name for field in fields(GopherRules))[8:]
# Our choice, on 三国演义: words have 1.7 characters there (1 by characters), so their length says nothing; and every
# comma is a token of its own, so that 0.66 to 0.86 of tokens hold a letter; 0.8 would remove a quarter of the novel.
GOPHER_ZH = replace(GOPHER, mean_word_length=None, alphabetic_words=(0.6, None))


@dataclass(frozen=True)
class Verdict:
    """Whether a document is kept; if not, the first rule it breaks, the value found, and the limit it should keep."""

    kept: bool
    rule: str = ""
    value: float | int | None = None
    limit: float | int | None = None
    wanted: str = ""

    def __str__(self) -> str:
        if self.kept:
            return "kept"
        return f"removed by {self.rule}: {self.value:.3g}, {self.wanted} {self.limit:g} wanted"


def gopher(
    text: str | Any,
    rules: GopherRules = GOPHER,
    language: str = "en",
    *,
    words: Sequence[str] | None = None,
    only: Sequence[str] = (),
    bullets: tuple[str, ...] = BULLETS,
) -> Verdict:
    """Gopher's verdict on a text: kept, or the first rule that it breaks.

    Args:
        rules: the limits; `dataclasses.replace(GOPHER, word_count=(20, None))` changes one.
        language: "zh" counts characters as words; take the rules GOPHER_ZH with it.
        words: the words of the text, from a tokenizer of your choice.
        only: names of rules; the others are not asked. QUALITY and REPETITION hold those of section A.1.1 and table A1.
        bullets: what a line of a list begins with; `quality.MORE_BULLETS` has those of most word processors.

    Raises:
        ValueError: if the text is no string, or `only` names no rule.

    >>> str(gopher("Too short."))
    'removed by word_count: 2, at least 50 wanted'

    Source: Rae et al. (2021), section A.1.1 and table A1.
    """
    page = Page(text, words, language, bullets)
    verdicts = (_verdict(*one) for one in _measured(page, rules, _asked(only)))  # the next only if the last was kept
    return next(filter(None, verdicts), Verdict(True))


def _measured(
    page: Page, rules: GopherRules, asked: Sequence[str] = QUALITY + REPETITION
) -> Iterator[tuple[str, Any, Any, Any]]:
    """Name, value, least and most of each rule that has a limit; a rule is measured when its turn comes."""
    for rule in asked:
        least, most = getattr(rules, rule) or (None, None)
        if least is not None or most is not None:
            yield rule, MEASURES[rule](page), least, most


def _verdict(rule: str, value: float | int, least: float | int | None, most: float | int | None) -> Verdict | None:
    """The verdict of a rule that is broken; None of one that is kept."""
    if least is not None and value < least:
        return Verdict(False, rule, value, least, "at least")
    return Verdict(False, rule, value, most, "at most") if most is not None and value > most else None


def _asked(only: Sequence[str]) -> Sequence[str]:
    known = QUALITY + REPETITION
    for name in only:
        if name not in known:
            raise ValueError(f"there is no rule {name!r} among Gopher's; the rules are {', '.join(known)}")
    return only or known


class Checked(NamedTuple):
    """One rule asked of a document: the value found, the limit in words, and whether it is kept."""

    rule: str
    value: float | int
    limit: str
    passed: bool


def checklist(
    text: str | Any, rules: GopherRules = GOPHER, language: str = "en", *, words: Sequence[str] | None = None
) -> list[Checked]:
    """Every rule that has a limit, asked of a text, in the rules' order: for a table that shows them all.

    Raises:
        ValueError: if the text is no string.
    """
    page, found = Page(text, words, language), []
    for rule, value, least, most in _measured(page, rules):
        sides = (("at least", least), ("at most", most))
        limit = ", ".join(f"{side} {bound:,g}" for side, bound in sides if bound is not None)
        found.append(Checked(rule, value, limit, _verdict(rule, value, least, most) is None))
    return found


def broken(
    text: str | Any, rules: GopherRules = GOPHER, language: str = "en", *, words: Sequence[str] | None = None
) -> list[Verdict]:
    """Every rule that a text breaks, each with its verdict, in the rules' order; an empty list if it is kept.

    Raises:
        ValueError: if the text is no string.
    """
    page = Page(text, words, language)
    return [verdict for one in _measured(page, rules) if (verdict := _verdict(*one))]
