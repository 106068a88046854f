"""Data that NLTK's tools need, without `nltk.download`: from wheels fetched by hash and read as zip files.

Stop words and the English parameters of Punkt lie in the wheel of llama-index-core, as NLTK distributes them; the
weights of a part-of-speech tagger, trained on the English Web Treebank of Universal Dependencies, in that of
denckring-en-pos. Each is fetched when it is first asked for and kept in the cache; no code of either is ever run.
"""

import gzip
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from labkit.corpora.cache import CorpusUnavailable, folder_or_make
from labkit.corpora.downloads import unpack_members

_NLTK = "llama_index/core/_static/nltk_cache/"
_PUNKT = _NLTK + "tokenizers/punkt_tab/english/"


@dataclass(frozen=True)
class Bundle:
    """Some files of one wheel: its name, the place in the cache, and the sha256 of every member that is kept."""

    wheel: str
    folder: str
    members: dict[str, str]
    licence: str

    def read(self) -> Path:
        """Return the folder of the cache with the checked files, fetching the wheel when one is missing.

        Raises: CorpusUnavailable when the wheel cannot be fetched or is not what it should be.
        """
        digests = {Path(member).name: digest for member, digest in self.members.items()}
        return folder_or_make(self.folder, digests, partial(unpack_members, self.wheel, self.members))


NLTK_FILES = Bundle(
    wheel="llama_index_core-0.14.25-py3-none-any.whl",
    folder="nltk-data-1",
    members={
        _NLTK + "corpora/stopwords/english": "f6d005956f407dbc6ea32e5ff0c7e8e6f71488d3239b9023efdc7fc139d6375b",
        _NLTK + "corpora/stopwords/chinese": "1d4460e24f29b27460a845ead1652bac94d10c4fc2d26926e615e6a715f177ce",
        _PUNKT + "abbrev_types.txt": "92a3e070f43d9b4c5534758ca40ad7343b04e7e29bfe0c2eb658a39445a4f779",
        _PUNKT + "collocations.tab": "8e2da1225e4dd2cc9dba261ee231ccb134859e21b46006e7f472c5ee269af0cf",
        _PUNKT + "ortho_context.tab": "4bbcca25ed3d3f06c02402abf8419b9f033b8adc06e7b482eca4e45f81a5dc4c",
        _PUNKT + "sent_starters.txt": "f3f8535483e1dba487241b764945168123bca3209a9645e59acd1225dc76edac",
    },
    licence="NLTK data: Snowball's stop words (BSD), Punkt trained on Wall Street Journal text; wheel MIT",
)
TAGGER = Bundle(
    wheel="denckring_en_pos-0.6.0-py3-none-any.whl",
    folder="english-tagger-0.6.0",
    members={
        "denckring_en_pos/data/tagger.json.gz": "4d8c07a3a9bcbef257c18999bb4ddcf501ecede229a8f9d9e62850623a6e97f7"
    },
    licence="CC BY-SA 4.0 (trained on UD English-EWT 2.18; package denckring-en-pos)",
)
STOP_WORDS = {"en": "english", "zh": "chinese"}


def stop_word_list(language: str = "en") -> tuple[str, ...]:
    """Return NLTK's stop words of a language, "en" (198 words) or "zh" (841), in the order of the file.

    Raises: ValueError for another language; CorpusUnavailable when the list cannot be fetched.
    """
    if language not in STOP_WORDS:
        raise ValueError(f"there are no stop words for {language!r} here; use one of: {', '.join(STOP_WORDS)}")
    return tuple((NLTK_FILES.read() / STOP_WORDS[language]).read_text(encoding="utf-8").split())


def punkt_tables() -> dict[str, Any]:
    """Return Punkt's four English tables under the names of NLTK's PunktParameters.

    Raises: CorpusUnavailable when they cannot be fetched.
    """
    folder = NLTK_FILES.read()
    lines = {
        Path(member).name: (folder / Path(member).name).read_text(encoding="utf-8").splitlines()
        for member in NLTK_FILES.members
        if member.startswith(_PUNKT)
    }
    return {
        "abbrev_types": set(lines["abbrev_types.txt"]),
        "sent_starters": set(lines["sent_starters.txt"]),
        "collocations": {tuple(line.split("\t")) for line in lines["collocations.tab"]},
        "ortho_context": {word: int(flags) for word, flags in (row.split("\t") for row in lines["ortho_context.tab"])},
    }


def tagger_weights() -> dict[str, Any]:
    """Return the averaged perceptron: "weights" (feature -> tag -> weight), "tagdict" (word -> tag) and "classes".

    Raises: CorpusUnavailable when it cannot be fetched.
    """
    found = json.loads(gzip.decompress((TAGGER.read() / "tagger.json.gz").read_bytes()))
    if not {"weights", "tagdict", "classes"} <= found.keys():
        raise CorpusUnavailable("tagger.json.gz does not hold weights, tagdict and classes.")
    return found
