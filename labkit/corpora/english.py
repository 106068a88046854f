"""English text: the Wikipedia excerpt in gensim's test data, and Shakespeare's plays."""

import bz2
import importlib.util
import json
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit.corpora.cache import CorpusUnavailable, read_or_make
from labkit.corpora.downloads import TINYSHAKESPEARE, read_download

Titled = list[tuple[str, str]]  # (title, document) in order

EXCERPT = "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_QUOTES = re.compile(r"'{2,}")  # wiki markup for italics and bold
_EMPTY_BRACKETS = re.compile(r"\s*\(\s*[,;]?\s*\)")  # what a removed template leaves behind
_SPACE_BEFORE = re.compile(r"\s+([,.;:!?)])")
_ENDS_LIKE_A_SENTENCE = re.compile(r"[.!?][\"'”’)]*$")
_STARTS_LIKE_ONE = re.compile(r"[\"'“‘(]*[^\W_a-z]")


def read_wikipedia() -> Titled:
    """Return the paragraphs of the excerpt, each with the title of its article, from the cache after the first time.

    Raises: CorpusUnavailable when gensim, or the excerpt in it, is missing or damaged.
    """
    return unpack(read_or_make("wikipedia-1.jsonl", lambda: pack(_wikipedia_paragraphs())))


def read_wikipedia_markup() -> Titled:
    """Return the articles of the excerpt as they were written, in wiki markup, with their titles.

    Raises: CorpusUnavailable when gensim, or the excerpt in it, is missing or damaged.
    """

    def make() -> bytes:
        with _gensim_explained():
            return pack(_raw_articles())

    return unpack(read_or_make("wikipedia-markup-1.jsonl", make))


def read_tinyshakespeare() -> Titled:
    """Return the speeches of the plays, each with the name of the speaker; joined by blank lines they are the file.

    Raises: CorpusUnavailable when the file cannot be downloaded.
    """
    speeches = read_download(TINYSHAKESPEARE).decode("utf-8").strip("\n").split("\n\n")
    return [(speech.split("\n")[0].rstrip(":"), speech) for speech in speeches]


def pack(titled: Iterable[tuple[str, str]]) -> bytes:
    """Return titled documents as JSON lines."""
    return "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in titled).encode()


def unpack(content: bytes) -> Titled:
    """Return the titled documents of JSON lines."""
    return [(title, text) for title, text in map(json.loads, content.decode("utf-8").split("\n")[:-1])]


def paragraphs_of(article: str) -> Iterator[str]:
    """Yield the prose paragraphs of an article: no list lines or headings, 20 words or more, whole sentences.

    `article` is what gensim's `filter_wiki` returns: it still holds quotation markup, lists and headings.
    """
    for line in article.split("\n"):
        line = _EMPTY_BRACKETS.sub("", _QUOTES.sub("", line))
        line = _SPACE_BEFORE.sub(r"\1", " ".join(line.split()))
        is_prose = _STARTS_LIKE_ONE.match(line) and _ENDS_LIKE_A_SENTENCE.search(line) and "|" not in line
        if is_prose and len(line.split()) >= 20:
            yield line


def _excerpt_path() -> Path:
    spec = importlib.util.find_spec("gensim")
    if spec is None or spec.origin is None:
        raise CorpusUnavailable("it lies in the package gensim, which is not installed.")
    path = Path(spec.origin).parent / EXCERPT
    if not path.exists():
        raise CorpusUnavailable("this version of gensim comes without the excerpt in its test data.")
    return path


def _wikipedia_paragraphs() -> Titled:
    with _gensim_explained():
        from gensim.corpora.wikicorpus import filter_wiki

        articles = [(title, filter_wiki(raw)) for title, raw in _raw_articles()]
    return [(title, paragraph) for title, article in articles for paragraph in paragraphs_of(article)]


def _raw_articles() -> Iterator[tuple[str, str]]:
    from gensim.corpora.wikicorpus import extract_pages
    from tqdm import tqdm

    with bz2.open(_excerpt_path()) as dump:
        pages = tqdm(extract_pages(dump), desc="wikipedia", unit=" pages", disable=None, leave=False)
        yield from ((title, raw) for title, raw, _ in pages if not _is_redirect(raw))


@contextmanager
def _gensim_explained() -> Iterator[None]:
    """Within the block, gensim's imports are quiet, and what is wrong with it is said in a sentence."""
    _excerpt_path()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they warn about things that are no concern of a learner
        try:
            yield
        except ImportError as error:
            raise CorpusUnavailable(f"gensim is installed but does not load ({error}).") from error
        except (OSError, EOFError, ElementTree.ParseError) as error:
            raise CorpusUnavailable(f"the excerpt in gensim is damaged ({error}); reinstall gensim.") from error


def _is_redirect(raw: str) -> bool:
    return raw.lstrip()[:9].lower() == "#redirect"
