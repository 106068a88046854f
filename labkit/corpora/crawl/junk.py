"""Bad documents, each made bad in one way, and a few good ones that look like it."""

import random
import re
from collections.abc import Callable

from labkit.corpora.crawl.prose import Prose, known_language, sentences

_WORD = re.compile(r"\w+")
_LATIN = _WORD.findall(
    """lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore
    magna aliqua enim ad minim veniam quis nostrud exercitation ullamco laboris nisi aliquip ex ea commodo consequat
    duis aute irure in reprehenderit voluptate velit esse cillum fugiat nulla pariatur excepteur sint occaecat
    cupidatat non proident sunt culpa qui officia deserunt mollit anim id est laborum"""
)
_STOP = frozenset(
    _WORD.findall(
        """the be to of and that have with a an in is was are were for on as by at from it its this which or not had has
        but his her their they he she been also who into more than"""
    )
)
_SPAM = {
    "en": ("cheap", "flights", "hotel", "deals", "discount", "london", "best", "price", "buy", "online",
           "free", "shipping"),
    "zh": ("便宜", "机票", "酒店", "优惠", "折扣", "北京", "最低价", "购买", "在线", "包邮", "正品", "代购"),
}  # fmt: skip
_SCRIPT_LINES = {
    "en": ("Please enable JavaScript to view this page.", "Your browser does not support Javascript.",
           "This site requires JavaScript and cookies to be switched on.", "Turn on javascript and reload the page."),
    "zh": ("请启用JavaScript后刷新页面。", "您的浏览器不支持JavaScript。", "本站需要JavaScript和Cookie才能正常显示。"),
}  # fmt: skip
_CODE = (
    "function {n}(a, b) {{ return a.{n} + b[{k}]; }}",
    "for (let i = 0; i < {k}; i++) {{ list.push({{ id: i }}); }}",
    "if (this.{n} > {k}) {{ render({{ page: '{n}', size: {k} }}); }}",
    ".{n} {{ margin: {k}px; color: #333; }}",
)


def junk(n: int, *, seed: int, language: str = "en") -> list[tuple[str, str]]:
    """`n` texts (text, defect), the defects of the language in turn, in random order.

    About one in ten is a borderline text with the defect "good": near a rule's limit, and nothing wrong with it. Lines
    are separated by one line break, paragraphs by two. Chinese has no "word_length", "stop_words" and "lorem".

    Raises: ValueError for a negative n or a language without prose.
    """
    if n < 0:
        raise ValueError(f"n={n!r} is no number of texts; give 0 or more")
    rng = random.Random(f"junk {seed} {known_language(language)}")
    prose = Prose(language, rng, mixed=True)
    defects = (
        DEFECTS if language == "en" else tuple(d for d in DEFECTS if d not in ("word_length", "stop_words", "lorem"))
    )
    order = ["good" if i % 10 == 9 else defects[(i - i // 10) % len(defects)] for i in range(n)]
    rng.shuffle(order)
    return [(bad_text(defect, prose, rng), defect) for defect in order]


def defects_of(language: str) -> tuple[str, ...]:
    """The defects that texts of a language can have."""
    return tuple(d for d in DEFECTS if language == "en" or d not in ("word_length", "stop_words", "lorem"))


def bad_text(defect: str, prose: Prose, rng: random.Random) -> str:
    """One text with the defect named, or for "good" a borderline one."""
    return _MAKERS[defect](prose, rng)


def _lines(prose: Prose, count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        found += [s.strip() for s in sentences(prose.paragraph(), prose.language) if len(s) > 12]
    return found[:count]


def _space(prose: Prose) -> str:
    return " " if prose.language == "en" else ""


def _words(prose: Prose, count: int) -> list[str]:
    """Words of prose; for Chinese pieces of two characters."""
    text = " ".join(prose.document(count if prose.language == "en" else count * 2))
    if prose.language == "en":
        return text.split()[:count]
    bare = "".join(c for c in text if "\u4e00" <= c <= "\u9fff")
    return [bare[i : i + 2] for i in range(0, count * 2, 2)]


def _too_short(prose: Prose, rng: random.Random) -> str:
    return _space(prose).join(_lines(prose, rng.randint(1, 2)))[: 200 if prose.language == "en" else 40]


def _word_length(prose: Prose, rng: random.Random) -> str:
    words = _words(prose, rng.randint(150, 300))
    if rng.random() < 0.5:  # blanks lost
        return " ".join("".join(words[i : i + 3]) for i in range(0, len(words), 3))
    return " ".join(letter for word in words for letter in word)  # spaced out


def _symbols(prose: Prose, rng: random.Random) -> str:
    words, mark = _words(prose, rng.randint(120, 260)), rng.choice(("#", "...", "…"))
    marked = [(f"#{w}" if mark == "#" else w + mark) if rng.random() < 0.3 else w for w in words]
    return _space(prose).join(marked)


def _bullets(prose: Prose, rng: random.Random) -> str:
    mark = rng.choice(("• ", "- ", "* "))
    return "\n".join(mark + line for line in _lines(prose, rng.randint(12, 24)))


def _ellipsis(prose: Prose, rng: random.Random) -> str:
    dots = rng.choice(("...", "…")) if prose.language == "en" else "……"
    lines = _lines(prose, rng.randint(12, 20))
    keep = 40 if prose.language == "zh" else 90
    return "\n".join(line[:keep].rstrip(".。 ") + dots if rng.random() < 0.7 else line for line in lines)


def _alphabetic(prose: Prose, rng: random.Random) -> str:
    rows = []
    for word in _words(prose, rng.randint(25, 45)):
        cells = (f"{rng.uniform(0, 900):.2f}" for _ in range(rng.randint(4, 7)))
        rows.append(f"{word.strip('.,;')} {' '.join(cells)}")
    return "\n".join(rows)


def _stop_words(prose: Prose, rng: random.Random) -> str:
    return " ".join(w for w in _words(prose, rng.randint(250, 400)) if w.lower().strip('.,;:"()') not in _STOP)


def _repeated_lines(prose: Prose, rng: random.Random) -> str:
    lines = _lines(prose, rng.randint(8, 12))
    repeated = [*lines, *(rng.choice(lines[:3]) for _ in range(len(lines)))]
    rng.shuffle(repeated)
    return "\n".join(repeated)


def _repeated_paragraphs(prose: Prose, rng: random.Random) -> str:
    paragraphs = [prose.paragraph() for _ in range(rng.randint(2, 3))]
    return "\n\n".join([*paragraphs, paragraphs[0], *paragraphs[: rng.randint(1, 2)]])


def _repeated_ngrams(prose: Prose, rng: random.Random) -> str:
    words = _words(prose, rng.randint(120, 200))
    phrase = words[10 : 10 + rng.randint(3, 6)]
    made = [w for i, word in enumerate(words) for w in ([*phrase, word] if i % 6 == 0 else [word])]
    return _space(prose).join(made) + ("." if prose.language == "en" else "。")


def _keyword_spam(prose: Prose, rng: random.Random) -> str:
    return " ".join(rng.choice(_SPAM[prose.language]) for _ in range(rng.randint(150, 300)))


def _lorem(prose: Prose, rng: random.Random) -> str:
    made = []
    for _ in range(rng.randint(10, 18)):
        words = rng.choices(_LATIN, k=rng.randint(7, 15))
        made.append(" ".join(words).capitalize() + ".")
    return "Lorem ipsum dolor sit amet, consectetur adipiscing elit. " + " ".join(made)


def _javascript(prose: Prose, rng: random.Random) -> str:
    lines = [rng.choice(_SCRIPT_LINES[prose.language]) for _ in range(rng.randint(6, 10))] + _lines(prose, 2)
    rng.shuffle(lines)
    return "\n".join(dict.fromkeys(f"{line} ({i})." if "avaScript" in line else line for i, line in enumerate(lines)))


def _curly(prose: Prose, rng: random.Random) -> str:
    names = ("update", "index", "loader", "panel", "total", "cursor", "select", "node", "merge")
    code = [rng.choice(_CODE).format(n=rng.choice(names), k=rng.randrange(2, 99)) for _ in range(rng.randint(8, 16))]
    lines = _lines(prose, rng.randint(5, 8)) + list(dict.fromkeys(code))
    rng.shuffle(lines)
    return "\n".join(lines)


def _unpunctuated(prose: Prose, rng: random.Random) -> str:
    """Titles and menu items: many lines, none ending like a sentence."""
    words, lines = _words(prose, 200), []
    while len(words) > 8:
        take = rng.randint(3, 7)
        lines.append(_space(prose).join(words[:take]).strip(".,;:!?\"'”)，。"))
        del words[:take]
    return "\n".join(lines)


def _borderline(prose: Prose, rng: random.Random) -> str:
    """Good texts near a limit: a short one, one with a list, with a repeated refrain, about a script, with two dots."""
    lines = _lines(prose, rng.randint(10, 14))
    case = rng.randrange(4)
    if case == 0:
        return _space(prose).join(lines)  # one paragraph, nothing else
    if case == 1:
        return "\n".join([*lines, *("- " + line for line in _lines(prose, 5))])
    if case == 2:
        return "\n".join([*lines[:-2], lines[-1][:60].rstrip(".。 ") + "…", *lines[-2:]])
    about = "JavaScript is the language that browsers run, and it is not Java." if prose.language == "en" else ""
    return "\n".join([*lines, about or "JavaScript是浏览器里运行的语言，和Java不同。"])


_MAKERS: dict[str, Callable[[Prose, random.Random], str]] = {
    "too_short": _too_short, "word_length": _word_length, "symbols": _symbols, "bullets": _bullets,
    "ellipsis": _ellipsis,
    "alphabetic": _alphabetic, "stop_words": _stop_words, "repeated_lines": _repeated_lines,
    "repeated_paragraphs": _repeated_paragraphs, "repeated_ngrams": _repeated_ngrams, "keyword_spam": _keyword_spam,
    "lorem": _lorem, "javascript": _javascript, "curly": _curly, "unpunctuated": _unpunctuated, "good": _borderline,
}  # fmt: skip
DEFECTS = tuple(defect for defect in _MAKERS if defect != "good")
