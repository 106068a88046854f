"""A datasheet for a cleaned data set, filled in by the run that made it, with a gap wherever only a person can answer.

write_datasheet("DATASHEET.md", result, name="Small crawl", pipeline=pipeline, sources=[("wiki", "CC BY-SA 3.0", "…")])
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit.cleaning.balance import printed, report, size
from labkit.cleaning.shards import writing

# The sections of Gebru et al., in their order.
SECTIONS = ("Motivation", "Composition", "Collection process", "Preprocessing, cleaning and labelling", "Uses",
            "Distribution", "Maintenance")  # fmt: skip
OPEN = "*Not answered: only the people who made the set can.*"
_MASK = re.compile(r"<(email|phone|ipv4|ipv6|card|ssn|id_cn|url)>")
_PARTICULAR = re.compile(r"(?<![\w.,])(?:[A-Za-z]++-)?\d[\d.,]*+(?!\w)")
_LIMITS = (
    "Masks stand where patterns matched: names, addresses and anything written in words were not looked for.",
    "Near copies were compared by shingles: a translation or a retelling of a text counts as another text.",
    "The rules of quality were written for English web text; what they refuse is not the same as what is bad.",
)


def datasheet(
    result: Any,
    *,
    name: str,
    sources: Sequence[tuple[str, str, str]] = (),
    pipeline: Any = None,
    labels: Sequence[str] = ("language", "length"),
    answers: Mapping[str, str] | None = None,
    limits: Sequence[str] = (),
) -> str:
    """A datasheet in Markdown of what a pipeline kept (labkit.cleaning.pipeline.Result): counts, reasons, hashes.

    Args:
        sources: (name, licence, address) of what went in.
        pipeline: its steps and settings are listed.
        answers: a section of SECTIONS -> what a person says there; a section without facts and answer says so.
        limits: known limits of this set, after those that hold for every set cleaned this way.

    Raises: ValueError for an answer to a section that does not exist, or a result that kept nothing.
    Source: Gebru et al. (2021), "Datasheets for datasets", Communications of the ACM 64(12), section 3.
    """
    answers = dict(answers or {})
    if unknown := set(answers) - set(SECTIONS):
        raise ValueError(f"a datasheet has no section {sorted(unknown)}; it has {', '.join(SECTIONS)}")
    facts = {
        "Composition": _composition(result, labels),
        "Collection process": _collection(result, sources),
        "Preprocessing, cleaning and labelling": _cleaning(result, pipeline),
        "Uses": ["Known limits:", "", *(f"- {limit}" for limit in (*_LIMITS, *limits))],
        "Distribution": _licences(sources),
        "Maintenance": _hashes(result),
    }
    lines = [f"# Datasheet: {name}", ""]
    for section in SECTIONS:
        said = [answers[section]] if section in answers else []
        body = said + ([""] if said and section in facts else []) + facts.get(section, [])
        lines += [f"## {section}", "", *(body or [OPEN]), ""]
    return "\n".join(lines)


def write_datasheet(path: str | os.PathLike[str], result: Any, **settings: Any) -> Path:
    """Write `datasheet(result, **settings)` to a file, as a whole or not at all, and return its path."""
    path = Path(path)
    content = datasheet(result, **settings).encode("utf-8")
    with writing(path) as handle:
        handle.write(content)
    return path


def set_hash(documents: Iterable[Any]) -> str:
    """The sha256 of a set: of every id and the sha256 of its text, in the order of the ids; their own order is free."""
    lines = sorted(f"{document.id} {_sha256(document.text)}\n" for document in documents)
    return _sha256("".join(lines))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _composition(result: Any, labels: Sequence[str]) -> list[str]:
    found = report(result.kept, labels)
    lines = [
        f"{found.documents:,} documents with {found.words:,} words (Chinese: characters); each is one text with an id.",
        "",
        f"- without text: {found.empty}; the same id twice: {found.repeated_ids}",
        f"- language contradicts script: {len(found.inconsistent)}",
    ]
    lines += [f"- without {field}: {count}" for field, count in found.missing.items() if count]
    for label in labels:
        lines += ["", *markdown((label, "documents", "share", "words"), printed(found.rows(label)))]
    masks = Counter(kind for document in result.kept for kind in _MASK.findall(document.text))
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(masks.items())) or "none"
    return [*lines, "", f"Personal data replaced by masks: {told}."]


def _collection(result: Any, sources: Sequence[tuple[str, str, str]]) -> list[str]:
    read = next(iter(result.counts.values()), 0)
    lines = [f"{read:,} documents were read."]
    return lines + (["", *markdown(("source", "licence", "address"), sources)] if sources else ["", OPEN])


def _cleaning(result: Any, pipeline: Any) -> list[str]:
    removed = Counter(one.step for one in result.removed)
    rows = [(stage, f"{removed[stage]:,}", f"{left:,}") for stage, left in result.counts.items()]
    lines = markdown(("stage", "removed", "left"), rows)
    reasons = Counter((one.step, general(one.reason)) for one in result.removed)
    lines += ["", "Reasons, the most frequent first:", ""]
    lines += [f"- {step}: {reason} ({count:,})" for (step, reason), count in reasons.most_common(12)]
    quarantined = Counter((one.step, general(one.reason)) for one in result.quarantined)
    lines += ["", f"In quarantine, kept apart and not judged: {quarantined.total():,}", ""]
    lines += [f"- {step}: {reason} ({count:,})" for (step, reason), count in quarantined.most_common(12)]
    if pipeline is not None:
        lines += ["", f"Settings (code of the pipeline {pipeline.fingerprint}):", ""]
        for step in pipeline.steps:
            told = ", ".join(f"{key} = {_short(value)}" for key, value in step.settings.items())
            lines.append(f"- {step.name}: {told or 'no settings'}")
        lines.append(f"- exact copies removed: {pipeline.exact}; near copies from a similarity of {pipeline.near}")
    return lines


def _short(value: Any, longest: int = 1000) -> str:
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def general(reason: str) -> str:
    """A reason without what is particular to one document: identifiers and numbers become one mark each.

    >>> general("near copy of doc-00017 (0.913)"), general("top_2_gram 0.31 < 0.2")
    ('near copy of … (…)', 'top_2_gram … < …')
    """
    return _PARTICULAR.sub("…", reason)


def _licences(sources: Sequence[tuple[str, str, str]]) -> list[str]:
    if not sources:
        return []
    licences = sorted({licence for _, licence, _ in sources})
    return [f"The texts keep the licences of their sources: {'; '.join(licences)}. Attribution as each of them asks."]


def _hashes(result: Any) -> list[str]:
    longest = max(result.kept, key=lambda document: size(document.text))
    return [
        f"sha256 of the set: `{set_hash(result.kept)}`",
        "",
        "It is that of the lines `id sha256-of-text`, sorted: whoever has the documents can check that they are all "
        f"here and unchanged. The longest document is {longest.id} with {size(longest.text):,} words.",
    ]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown; a bar inside a cell is escaped, a line end becomes a blank."""
    cells = [tuple(head), ("---",) * len(head), *rows]
    return ["| " + " | ".join(" ".join(str(cell).replace("|", "\\|").split()) for cell in row) + " |" for row in cells]
