"""The crawl itself: documents of every kind in known shares, wrapped, encoded and shuffled, and written to a file."""

import base64
import json
import os
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from labkit.corpora.crawl import encodings
from labkit.corpora.crawl.copies import near_copy, true_jaccard
from labkit.corpora.crawl.junk import bad_text, defects_of
from labkit.corpora.crawl.languages import LANGUAGES, paragraph_in
from labkit.corpora.crawl.letters import SENTENCES
from labkit.corpora.crawl.pages import page
from labkit.corpora.crawl.personal import Spans, filled
from labkit.corpora.crawl.prose import Prose, article, known_language

Blocks = list[tuple[str, str]]
SHARES = {
    "good": 0.45,
    "low_quality": 0.15,
    "wrong_language": 0.10,
    "duplicate": 0.10,
    "near_duplicate": 0.15,
    "mojibake": 0.05,
}
SIMILARITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_ENCODINGS = {
    "en": ("utf-8",) * 12 + ("cp1252",) * 5 + ("utf-8-sig", "utf-8-sig", "utf-16"),
    "zh": ("utf-8",) * 11 + ("gb18030",) * 6 + ("utf-8-sig", "utf-8-sig", "utf-16"),
}
_OTHER = {
    "ru": "cp1251",
    "uk": "cp1251",
    "el": "cp1253",
    "ja": "shift_jis",
    "pl": "cp1250",
    "cs": "cp1250",
    "ar": "cp1256",
}
_LABELS = {"cp1252": "iso-8859-1", "gb18030": "gb2312", "utf-8-sig": "utf-8"}  # the names that pages use
_WRONG = {"en": {"utf-8": "iso-8859-1", "cp1252": "utf-8"}, "zh": {"utf-8": "gb2312", "gb18030": "utf-8"}}


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of a document: the text wanted, what it is, and all that was done to it."""

    kind: str
    main: str
    paragraphs: tuple[str, ...]
    boilerplate: tuple[str, ...]
    language: str
    encoding: str
    mojibake: bool = False
    quality: str = "good"
    copy_of: str | None = None
    jaccard: float = 0.0
    personal: tuple[str, ...] = ()
    spans: Spans = ()


@dataclass(frozen=True, slots=True)
class Crawled:
    """A document as a crawler stores it: bytes, and the encoding that the server declared, which may be wrong."""

    id: str
    url: str
    raw: bytes = field(repr=False)
    declared: str | None
    truth: Truth = field(repr=False)


@dataclass(slots=True)
class _Draft:
    """A document before it becomes a page."""

    kind: str
    language: str
    blocks: Blocks
    quality: str = "good"
    original: "_Draft | None" = None
    personal: tuple[tuple[str, str], ...] = ()
    mojibake: bool = False
    place: int = 0

    @property
    def main(self) -> str:
        return "\n\n".join(text for _, text in self.blocks)


def raw_crawl(documents: int = 400, *, seed: int = 0, languages: Sequence[str] = ("en", "zh")) -> list[Crawled]:
    """A crawl of so many pages: SHARES says of what; the first language is twice as frequent as each other one.

    A copy stands somewhere after its original. One good document in five holds personal data. Pages are written in
    several encodings, declared rightly, wrongly, in a meta tag only, or not at all. The prose is of the training part
    of wikipedia and sanguo, each paragraph used once as long as there are some (about 3,000 documents).

    Raises: ValueError for fewer than 20 documents or a language without prose; ModuleNotFoundError without Faker.
    """
    if documents < 20 or not languages:
        raise ValueError(f"{documents} documents in {tuple(languages)}: give at least 20 documents and one language")
    rng = random.Random(f"crawl {seed}")
    prose = {language: Prose(language, rng) for language in map(known_language, languages)}
    mixed = {language: Prose(language, rng, mixed=True) for language in languages}
    counts = {kind: round(share * documents) for kind, share in SHARES.items()}
    counts["good"] += documents - sum(counts.values())
    drafts = [_good(_pick(languages, i), prose, rng) for i in range(counts["good"])]
    originals = rng.sample(drafts, len(drafts))
    copied = counts["duplicate"] + counts["near_duplicate"]
    sources = [originals[i % len(originals)] for i in range(copied)]
    drafts += [_mojibake(_pick(languages, i), prose, rng) for i in range(counts["mojibake"])]
    drafts += [_low(_pick(languages, i), i, mixed, rng) for i in range(counts["low_quality"])]
    drafts += [_wrong(i, rng) for i in range(counts["wrong_language"])]
    drafts += [_copy(source) for source in sources[: counts["duplicate"]]]
    near = enumerate(sources[counts["duplicate"] :])
    drafts += [_near(source, SIMILARITIES[i % len(SIMILARITIES)], mixed, rng) for i, source in near]
    return [_crawled(draft, rng) for draft in _in_order(drafts, rng)]


def _pick(languages: Sequence[str], number: int) -> str:
    return languages[max(0, number % (len(languages) + 1) - 1)]


def _in_order(drafts: list[_Draft], rng: random.Random) -> list[_Draft]:
    """Shuffled, then every original changes places with the first of its copies if that stands before it."""
    rng.shuffle(drafts)
    for number, draft in enumerate(drafts):
        draft.place = number
    for draft in list(drafts):
        original = draft.original
        if original is not None and draft.place < original.place:
            draft.place, original.place = original.place, draft.place
    return sorted(drafts, key=lambda draft: draft.place)


def _good(language: str, prose: dict[str, Prose], rng: random.Random) -> _Draft:
    units = rng.randint(100, 420) if language == "en" else rng.randint(200, 700)
    draft = _Draft(
        "good", language, article(prose[language].document(units), seed=rng.getrandbits(32), language=language)
    )
    if rng.random() < 0.2:
        _plant(draft, rng)
    return draft


def _plant(draft: _Draft, rng: random.Random) -> None:
    """One or two sentences with personal data at the end of a paragraph."""
    made = []
    for pattern in rng.sample(SENTENCES[draft.language, 1], rng.randint(1, 2)):
        text, spans = filled(pattern, draft.language, 1, rng)
        at = rng.choice([i for i, (tag, _) in enumerate(draft.blocks) if tag == "p"])
        tag, before = draft.blocks[at]
        draft.blocks[at] = (tag, f"{before}{' ' if draft.language == 'en' else ''}{text}")
        made += [(text[start:end], kind) for start, end, kind in spans]
    draft.personal = tuple(made)


def _mojibake(language: str, prose: dict[str, Prose], rng: random.Random) -> _Draft:
    draft = _good(language, prose, rng)
    draft.blocks = [(tag, encodings.breakable(text) if tag == "p" else text) for tag, text in draft.blocks]
    draft.mojibake = True
    return draft


def _low(language: str, number: int, prose: dict[str, Prose], rng: random.Random) -> _Draft:
    known = defects_of(language)
    defect = known[(number // 3 if language == "zh" else number - number // 3) % len(known)]
    text = bad_text(defect, prose[language], rng)
    return _Draft("low_quality", language, [("p", line) for line in text.split("\n") if line.strip()], quality=defect)


def _wrong(number: int, rng: random.Random) -> _Draft:
    language = LANGUAGES[number % len(LANGUAGES)]
    return _Draft("wrong_language", language, [("p", paragraph_in(language, rng)) for _ in range(rng.randint(3, 6))])


def _copy(source: _Draft) -> _Draft:
    return _Draft("duplicate", source.language, list(source.blocks), original=source, personal=source.personal)


def _near(source: _Draft, target: float, prose: dict[str, Prose], rng: random.Random) -> _Draft:
    donor = "\n\n".join(prose[source.language].document(200))
    text = near_copy(source.main, target, rng, donor=donor, language=source.language)
    parts = [part for part in text.split("\n\n") if part.strip()]
    same = len(parts) == len(source.blocks)
    tags = [tag for tag, _ in source.blocks] if same else ["p"] * len(parts)
    blocks = [(tag, part.strip()) for tag, part in zip(tags, parts, strict=True)]
    kept = tuple(datum for datum in source.personal if datum[0] in text)
    return _Draft("near_duplicate", source.language, blocks, original=source, personal=kept)


def _crawled(draft: _Draft, rng: random.Random) -> Crawled:
    encoding, header, meta = _declarations(draft, rng)
    blocks = draft.blocks
    if draft.mojibake:  # somebody's database held it broken already
        blocks = [(tag, encodings.mojibake(text)) for tag, text in blocks]
    made = page(blocks, seed=rng.getrandbits(32), language=draft.language, charset=meta)
    raw = made.html.encode(encoding, errors="xmlcharrefreplace")
    main, original = draft.main, draft.original
    truth = Truth(
        kind=draft.kind,
        main=main,
        paragraphs=tuple(text for _, text in draft.blocks),
        boilerplate=made.boilerplate,
        language=draft.language,
        encoding=encoding,
        mojibake=draft.mojibake,
        quality=draft.quality,
        copy_of=original and _name(original),
        jaccard=true_jaccard(main, original.main, language=draft.language) if original else 0.0,
        personal=tuple(datum for datum, _ in draft.personal),
        spans=_places(main, draft.personal),
    )
    site = rng.choice(("northgate", "ledger", "harbour", "shelf", "kestrel", "dahe"))
    return Crawled(_name(draft), f"https://{site}.example/{rng.randrange(10**6):06d}.html", raw, header, truth)


def _name(draft: _Draft) -> str:
    return f"doc-{draft.place:05d}"


def _places(main: str, personal: tuple[tuple[str, str], ...]) -> Spans:
    return tuple(sorted((at, at + len(datum), kind) for datum, kind in personal if (at := main.find(datum)) >= 0))


def _declarations(draft: _Draft, rng: random.Random) -> tuple[str, str | None, str | None]:
    """(encoding, header, meta): right in both or one of them, missing in both, or the header wrong."""
    if draft.language not in _ENCODINGS:
        encoding = _OTHER.get(draft.language, "utf-8") if rng.random() < 0.4 else "utf-8"
        return encoding, _LABELS.get(encoding, encoding), encoding if rng.random() < 0.5 else None
    encoding = "utf-8" if draft.mojibake else rng.choice(_ENCODINGS[draft.language])
    label, chance = _LABELS.get(encoding, encoding), rng.random()
    if chance < 0.3:
        return encoding, label, label
    if chance < 0.6:
        return encoding, None, label
    if chance < 0.75:
        return encoding, label, None
    if chance < 0.88:
        return encoding, None, None
    return encoding, _WRONG[draft.language].get(encoding, label), None


def write_crawl(path: str | os.PathLike[str], documents: Sequence[Crawled]) -> int:
    """Write a crawl as JSON lines, the raw bytes in base64, and return the number of bytes written."""
    lines = (json.dumps(asdict(d) | {"raw": base64.b64encode(d.raw).decode()}, ensure_ascii=False) for d in documents)
    return Path(path).write_bytes("".join(line + "\n" for line in lines).encode())


def read_crawl(path: str | os.PathLike[str]) -> list[Crawled]:
    """The crawl that `write_crawl` wrote.

    Raises: ValueError with the number of the line that is no such document.
    """
    documents = []
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                entry = json.loads(line)
                truth = entry["truth"]
                for name in ("paragraphs", "boilerplate", "personal"):
                    truth[name] = tuple(truth[name])
                truth["spans"] = tuple((start, end, kind) for start, end, kind in truth["spans"])
                entry |= {"raw": base64.b64decode(entry["raw"]), "truth": Truth(**truth)}
                documents.append(Crawled(**entry))
            except (ValueError, KeyError, TypeError) as reason:
                raise ValueError(f"{path}, line {number} is no document of write_crawl ({reason!r})") from reason
    return documents
