"""C4's rules: lines that are no sentences are cut out, and pages of code, filler or too few sentences are removed.

page = c4("Menu | Home\\nThis is the first sentence of a page.\\n…")
page.text, page.cut            # what is left, and how many lines each rule cut
print(page.verdict)
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from labkit.cleaning.gopher_rules import Verdict
from labkit.cleaning.quality import CHINESE_TERMINAL, TERMINAL, refuse_bytes, sentences, split_words

POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


@dataclass(frozen=True)
class C4Rules:
    """C4's limits; None, False or an empty list leaves a rule out.

    `whole_page=True` looks for brackets and filler on the whole page, as the paper says; False looks only at lines
    that passed the line rules, as the code that made C4 does, so that `if (x) {` is cut as a line and the page stays.

    Source: Raffel et al. (2020), "Exploring the limits of transfer learning" (T5), section 2.2: 3 sentences, 5 words.
    The first preprint (2019) said 5 sentences and 3 words, which is what datatrove uses (C4_DATATROVE). The longest
    word and the citations are in the code only (TensorFlow Datasets, c4_utils).
    """

    sentences: int | None = 3
    words_in_line: int | None = 5
    word_length: int | None = 1000
    terminal: tuple[str, ...] = TERMINAL
    policy: tuple[str, ...] = POLICY
    banned: Collection[str] = ()  # C4 had a list of obscene words; we ship none: it also threw away much that is not
    javascript: bool = True
    lorem_ipsum: bool = True
    curly_braces: bool = True
    citations: bool = True
    whole_page: bool = True


C4 = C4Rules()
C4_DATATROVE = replace(C4, sentences=5, words_in_line=3, terminal=(*TERMINAL, "'"), whole_page=False)
C4_ZH = replace(C4, terminal=CHINESE_TERMINAL)


@dataclass(frozen=True)
class C4Page:
    """What is left of a page, the verdict on it, and how many lines each rule cut."""

    text: str
    verdict: Verdict
    cut: Mapping[str, int] = field(default_factory=dict)


def c4(
    text: str | Any, rules: C4Rules = C4, language: str = "en", *, count_sentences: Callable[[str], int] = sentences
) -> C4Page:
    """What C4's rules leave of a page: the lines that read like sentences, or nothing when the page is removed.

    Args:
        language: "zh" counts characters as words; take the rules C4_ZH with it.
        count_sentences: gives the number of sentences of a line.

    Raises:
        ValueError: if the text is no string.

    >>> str(c4("int main() { return 0; }").verdict)
    'removed by curly_braces: 1, at most 0 wanted'

    Source: Raffel et al. (2020), section 2.2.
    """
    refuse_bytes(text)
    bad = _page_rule(text, rules) if rules.whole_page else None
    kept, cut, count = [], Counter(), 0
    for line in () if bad else text.splitlines():
        line, reason = _line(line.strip(), rules, language)
        if not reason:
            bad = None if rules.whole_page else _page_rule(line, rules)
            reason = _late_reason(line.lower(), rules)
        if bad:
            break
        if reason:
            cut[reason] += 1
            continue
        kept.append(line)
        count += count_sentences(line) if rules.sentences is not None else 0
    if not bad and rules.sentences is not None and count < rules.sentences:
        bad = Verdict(False, "sentences", count, rules.sentences, "at least")
    return C4Page("" if bad else "\n".join(kept).strip(), bad or Verdict(True), dict(cut))


def _line(line: str, rules: C4Rules, language: str) -> tuple[str, str]:
    """The line without citations, and the first reason to cut it ("" if there is none)."""
    words = split_words(line, language)
    if rules.word_length is not None and len(line) > rules.word_length < max(map(len, words)):
        return line, "word_length"
    if rules.citations and "[" in line:
        line = re.sub(r"\[\d*+\]|\[edit\]|\[citation needed\]", "", line)
    if rules.terminal and (not line.endswith(rules.terminal) or line.endswith("...")):
        return line, "terminal_punctuation"
    if rules.words_in_line is not None and len(words) < rules.words_in_line:
        return line, "words_in_line"
    return line, ""


def _late_reason(lower: str, rules: C4Rules) -> str:
    if rules.javascript and "javascript" in lower:
        return "javascript"
    return "policy" if any(phrase in lower for phrase in rules.policy) else ""


def _page_rule(text: str, rules: C4Rules) -> Verdict | None:
    lower = text.lower()
    if rules.lorem_ipsum and "lorem ipsum" in lower:
        return Verdict(False, "lorem_ipsum", lower.count("lorem ipsum"), 0, "at most")
    if rules.curly_braces and "{" in text:
        return Verdict(False, "curly_braces", text.count("{"), 0, "at most")
    banned = (rules.banned,) if isinstance(rules.banned, str) else rules.banned
    found = {word for word in map(str.lower, banned) if word in lower and _stands_alone(word, lower)}
    return Verdict(False, "banned", len(found), 0, "at most") if found else None


def _stands_alone(word: str, lower: str) -> bool:
    """Whether a word or phrase occurs as such, not inside another word; Chinese and kana part no words."""
    letter = r"[^\W\u3040-\u30ff\u3400-\u9fff]"
    return re.search(rf"(?<!{letter}){re.escape(word)}(?!{letter})", lower) is not None
