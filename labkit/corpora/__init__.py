"""Text, labelled data and pretrained models by name, each with its licence, source and sha256.

    wiki = labkit.corpora.load("wikipedia")     # prints one line: size, licence, source
    train, held_out = wiki.split()
    sentences = train.sentences()
    weights = labkit.corpora.model_file("minilm")   # a path; "smollm2" is the other one

A corpus that cannot be had (no network, a package missing) is replaced by its named fallback, and a line says so.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, overload

from labkit.corpora.cache import CorpusUnavailable, cache_folder
from labkit.corpora.catalogue import Check, Entry, catalogue, describe, model_catalogue, names, refusal, verify
from labkit.corpora.chinese import read_sanguo, sanguo_entities, tag_entities
from labkit.corpora.docstrings import read_docstrings
from labkit.corpora.english import Titled, read_tinyshakespeare, read_wikipedia, read_wikipedia_markup
from labkit.corpora.extras import if_possible
from labkit.corpora.grammar import Grammar
from labkit.corpora.grammars import CHINESE, ENGLISH
from labkit.corpora.licences import read_installed_licences, read_licences
from labkit.corpora.models import ModelFiles, model_file, read_model
from labkit.corpora.readmes import read_readmes
from labkit.corpora.text import Corpus, Loaded, sentences_of, tokenize

if TYPE_CHECKING:
    from labkit.corpora.digits import Digits, load_digits

__all__ = [
    "CHINESE",
    "ENGLISH",
    "Check",
    "Corpus",
    "CorpusUnavailable",
    "Digits",
    "Entry",
    "Grammar",
    "Loaded",
    "ModelFiles",
    "cache_folder",
    "catalogue",
    "describe",
    "fetch",
    "if_possible",
    "load",
    "load_digits",
    "model_catalogue",
    "model_file",
    "names",
    "sanguo_entities",
    "sentences_of",
    "tag_entities",
    "tokenize",
    "verify",
]


@overload
def load(name: Literal["digits"], *, quiet: bool = ..., fallback: bool = ...) -> "Digits":
    """Return pictures with labels."""


@overload
def load(name: str = ..., *, quiet: bool = ..., fallback: bool = ...) -> Corpus:
    """Return text."""


def load(name: str = "wikipedia", *, quiet: bool = False, fallback: bool = True) -> Loaded:
    """Return a corpus by name (`names()` lists them), printing its size, licence and source unless `quiet`.

    The result is a Corpus, for "digits" a Digits. When the text cannot be had, the fallback of its entry is loaded and
    a line says so even if `quiet`; the corpus keeps the name asked for in `name` and tells what it is in `used`.

    Raises: ValueError for an unknown name or that of a model. CorpusUnavailable with `fallback=False`, or when there
    is no fallback.
    """
    entry = describe(name)
    if entry in model_catalogue():
        raise ValueError(f"{name} is a model, not a text: model_file({name!r}) returns the path of its weights")
    try:
        found = _make(entry)
    except CorpusUnavailable as reason:
        if not (fallback and entry.fallback):
            raise CorpusUnavailable(refusal(replace(entry, fallback=None), reason)) from reason
        print(refusal(entry, reason))
        return replace(load(entry.fallback, quiet=quiet), name=name)
    if not quiet:
        print(found.line)
    return found


def fetch(name: str) -> Loaded:
    """Return a corpus or model after making sure that the cache holds it, without fallback and without printing.

    Raises: ValueError for an unknown name; CorpusUnavailable when it cannot be had.
    """
    if describe(name) in model_catalogue():
        return read_model(name)
    return load(name, quiet=True, fallback=False)


def _make(entry: Entry) -> Loaded:
    if entry.name == "digits":
        from labkit.corpora.digits import read_digits

        return read_digits()
    titled = _TEXTS[entry.name]()
    return Corpus(
        name=entry.name,
        used=entry.name,
        licence=entry.licence,
        source=entry.source,
        layer=entry.layer,
        documents=tuple(text for _, text in titled),
        titles=tuple(title for title, _ in titled),
        language=entry.language,
        separator="\n" if entry.name.startswith("grammar") else "\n\n",
        varies=entry.name in ("docstrings", "readmes", "installed_licences"),
    )


def _grammar() -> Titled:
    return [(f"sentence {i}", " ".join(words)) for i, words in enumerate(ENGLISH.sample(20_000, seed=0), start=1)]


def _grammar_zh() -> Titled:
    return [(f"第{i}句", "".join(words)) for i, words in enumerate(CHINESE.sample(20_000, seed=0), start=1)]


_TEXTS = {
    "wikipedia": read_wikipedia,
    "wikipedia_markup": read_wikipedia_markup,
    "readmes": read_readmes,
    "docstrings": read_docstrings,
    "sanguo": read_sanguo,
    "licences": read_licences,
    "installed_licences": read_installed_licences,
    "tinyshakespeare": read_tinyshakespeare,
    "grammar": _grammar,
    "grammar_zh": _grammar_zh,
}


def __getattr__(name: str) -> Any:
    if name in ("Digits", "load_digits"):  # they need numpy, which nothing else here does
        from labkit.corpora import digits

        return getattr(digits, name)
    raise AttributeError(f"module 'labkit.corpora' has no attribute {name!r}")
