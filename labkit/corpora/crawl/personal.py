"""Documents with personal data whose places are known to the character, and with much that only looks like it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from string import Formatter

from labkit.corpora.crawl import identities as ids
from labkit.corpora.crawl.letters import NEAR_MISSES, SENTENCES
from labkit.corpora.crawl.prose import clean_paragraphs, sentences

Spans = tuple[tuple[int, int, str], ...]
KINDS = ("email", "phone", "ipv4", "ipv6", "card", "ssn", "id_cn", "url")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and its spans (start, end, kind), in order and without overlap; `text[start:end]` is the datum."""

    text: str
    spans: Spans


def personal_documents(n: int, *, seed: int, language: str = "en", templates: int = 1) -> list[Labelled]:
    """`n` documents of 4 to 10 sentences: personal data, near misses, and plain prose, in random order.

    `templates=2` is worded differently and writes the same kinds of data in other formats: what a detector was tuned
    on should be set 1, what it is judged by set 2. One document in six holds nothing personal.

    Raises: ValueError for a negative n, or a language or set that does not exist.
    """
    if n < 0 or (language, templates) not in SENTENCES:
        raise ValueError(
            f"n={n!r}, language={language!r}, templates={templates!r}; give n of at least 0, "
            'language "en" or "zh", templates 1 or 2'
        )
    rng = random.Random(f"personal {seed} {language} {templates}")
    return [_document(language, templates, rng) for _ in range(n)]


def _document(language: str, templates: int, rng: random.Random) -> Labelled:
    personal = 0 if rng.random() < 1 / 6 else rng.randint(1, 4)
    patterns = rng.sample(SENTENCES[language, templates], personal) + rng.sample(
        NEAR_MISSES[language], rng.randint(1, 3)
    )
    parts = [filled(pattern, language, templates, rng) for pattern in patterns]
    parts += [(_plain(language, rng), ()) for _ in range(rng.randint(2, 3))]
    rng.shuffle(parts)
    text, spans = "", []
    for piece, inside in parts:
        # The second set is made of lines, as logs and mails are.
        between = "\n" if templates == 2 or rng.random() < 0.2 else (" " if language == "en" else "")
        text += between if text else ""
        spans += [(start + len(text), end + len(text), kind) for start, end, kind in inside]
        text += piece
    return Labelled(text, tuple(spans))


def _plain(language: str, rng: random.Random) -> str:
    return rng.choice(sentences(rng.choice(clean_paragraphs(language)), language)).strip()


def filled(pattern: str, language: str, templates: int, rng: random.Random) -> tuple[str, Spans]:
    """A pattern with its places filled, and the spans of the personal ones ({=name} is no span)."""
    text, spans = "", []
    for literal, field, _, _ in Formatter().parse(pattern):
        text += literal
        if field is None:
            continue
        kind = field.lstrip("=")
        made = (_LIKE[kind] if field[0] == "=" else maker(kind, language, templates))(rng)
        if field[0] != "=":
            spans.append((len(text), len(text) + len(made), kind))
        text += made
    return text, tuple(spans)


def maker(kind: str, language: str = "en", templates: int = 1) -> Callable[[random.Random], str]:
    """The function that makes data of a kind in the formats of a language and a set."""
    return _MAKERS[kind, "zh" if (kind, language) == ("phone", "zh") else "en"][templates - 1]


_MAKERS = {
    ("email", "en"): (ids.email_1, ids.email_2),
    ("phone", "en"): (ids.phone_1, ids.phone_2),
    ("phone", "zh"): (ids.phone_zh_1, ids.phone_zh_2),
    ("ipv4", "en"): (ids.ipv4, ids.ipv4),
    ("ipv6", "en"): (ids.ipv6_1, ids.ipv6_2),
    ("card", "en"): (ids.card_1, ids.card_2),
    ("ssn", "en"): (ids.ssn, ids.ssn),
    ("id_cn", "en"): (ids.id_cn, ids.id_cn),
    ("url", "en"): (ids.url_1, ids.url_2),
}


def _number(low: int, high: int) -> ids.Maker:
    return lambda rng: str(rng.randint(low, high))


def _date(rng: random.Random) -> str:
    y, m, d = rng.randint(1990, 2024), rng.randint(1, 12), rng.randint(1, 28)
    return rng.choice((f"{y}-{m:02d}-{d:02d}", f"{d:02d}.{m:02d}.{y}", f"{m}/{d}/{y}", f"{d} May {y}"))


def _order(rng: random.Random) -> str:
    n = rng.randint(10_000, 99_999)
    return rng.choice(
        (f"{rng.randint(2015, 2024)}{rng.randint(1, 12):02d}-{n}", f"A-{n}-{n % 97:02d}", f"#{n}", f"NR{n}{n % 89}")
    )


def _version(rng: random.Random) -> str:
    return f"{rng.randint(0, 12)}.{rng.randint(0, 40)}.{rng.randint(0, 9)}"


def _bad_ip(rng: random.Random) -> str:
    return rng.choice(
        (f"{rng.randint(300, 999)}.1.2.{rng.randint(1, 9)}", f"10.20.{rng.randint(256, 999)}.4", "1.2.3.4.5")
    )


def _mac(rng: random.Random) -> str:
    return ":".join(f"{rng.randrange(256):02x}" for _ in range(6))


def _isbn(rng: random.Random) -> str:
    return f"978-{rng.randint(0, 9)}-{rng.randint(100, 999)}-{rng.randint(10000, 99999)}-{rng.randint(0, 9)}"


def _tracking(rng: random.Random) -> str:
    return f"1Z{rng.randint(100, 999)}AA{rng.randint(10**9, 10**10 - 1)}"


def _handle(rng: random.Random) -> str:
    return rng.choice(("river_post", "anna1984", "northgate", "dailyledger", "old_tom"))


# What is no span: filler, and what only looks like personal data.
_LIKE = {
    "name": lambda rng: rng.choice(("Ms Okafor", "Dr. Lindqvist", "Tara Jensen", "Mr Baker", "the secretary")),
    "name_zh": lambda rng: rng.choice(("王小明", "李女士", "陈先生", "赵工", "刘老师")),
    "date": _date,
    "date_zh": lambda rng: f"{rng.randint(1960, 2020)}年{rng.randint(1, 12)}月{rng.randint(1, 28)}日",
    "time": lambda rng: f"{rng.randint(0, 23)}:{rng.randint(0, 59):02d}",
    "small": _number(2, 40),
    "three": _number(100, 999),
    "price": lambda rng: f"{rng.uniform(3, 900):.2f}",
    "float": lambda rng: f"{rng.uniform(1, 90):.{rng.randint(1, 4)}f}",
    "order": _order,
    "tracking": _tracking,
    "version": _version,
    "isbn": _isbn,
    "handle": _handle,
    "bad_ip": _bad_ip,
    "mac": _mac,
    "bad_card": ids.bad_card,
    "bad_ssn": ids.bad_ssn,
    "bad_id_cn": ids.bad_id_cn,
}
