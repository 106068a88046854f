"""A raw web crawl with known truth: every page made here, so that each step of cleaning can be scored.

crawl = raw_crawl(400, seed=0)
crawl[0].raw, crawl[0].declared         # the bytes and the encoding that the server names
crawl[0].truth.main                     # the text that a perfect pipeline would get out of them
"""

from labkit.corpora.crawl.assembly import Crawled, Truth, raw_crawl, read_crawl, write_crawl
from labkit.corpora.crawl.copies import Copies, near_copies, true_jaccard, word_shingles
from labkit.corpora.crawl.encodings import KINDS_OF_DAMAGE, Damaged, damaged, mojibake
from labkit.corpora.crawl.junk import DEFECTS, junk
from labkit.corpora.crawl.languages import LANGUAGES, foreign
from labkit.corpora.crawl.pages import Page, page
from labkit.corpora.crawl.personal import KINDS, Labelled, personal_documents
from labkit.corpora.crawl.prose import article

__all__ = [
    "DEFECTS",
    "KINDS",
    "KINDS_OF_DAMAGE",
    "LANGUAGES",
    "Copies",
    "Crawled",
    "Damaged",
    "Labelled",
    "Page",
    "Truth",
    "article",
    "damaged",
    "foreign",
    "junk",
    "mojibake",
    "near_copies",
    "page",
    "personal_documents",
    "raw_crawl",
    "read_crawl",
    "true_jaccard",
    "word_shingles",
    "write_crawl",
]
