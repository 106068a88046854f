"""From a raw crawl to a training set: every step a function of its own, and all of them in a pipeline.

    from labkit.cleaning import from_crawl, run, standard
    result = run(standard(), from_crawl(crawl))     # in process; run_streamed: many processes; run_on_ray: a cluster
    print(result.report())

The modules, in the order of the work:

- bytes to text: `decoding`, `mojibake`, `normal_forms`, `html` (`blocks`, `nesting`);
- words: `tokens`, `language`;
- worth reading: `quality`, `repetition`, `gopher_rules`, `c4_rules`, `classifier`, `perplexity`;
- personal data: `personal`, `patterns`, `checksums`, `masking`;
- copies: `shingles`, `minhash`, `banding`, `clusters`, `near`, `exact`, `substrings`, `contamination`;
- all in a row: `documents`, `steps`, `pipeline`, `quarantine`, `streaming`, `on_ray`;
- the result: `scoring`, `balance`, `datasheet`, `forecast`.
"""

from labkit.cleaning.c4_rules import c4
from labkit.cleaning.classifier import QualityClassifier
from labkit.cleaning.contamination import contaminated
from labkit.cleaning.decoding import decode
from labkit.cleaning.documents import Document, from_crawl
from labkit.cleaning.gopher_rules import gopher
from labkit.cleaning.html import main_text
from labkit.cleaning.language import identify
from labkit.cleaning.masking import mask
from labkit.cleaning.minhash import MinHash
from labkit.cleaning.mojibake import repair
from labkit.cleaning.near import near_duplicates
from labkit.cleaning.normal_forms import clean_characters
from labkit.cleaning.on_ray import run_on_ray
from labkit.cleaning.perplexity import PerplexityFilter
from labkit.cleaning.pipeline import Pipeline, Result, run
from labkit.cleaning.steps import standard
from labkit.cleaning.streaming import run_streamed

__all__ = [
    "Document",
    "MinHash",
    "PerplexityFilter",
    "Pipeline",
    "QualityClassifier",
    "Result",
    "c4",
    "clean_characters",
    "contaminated",
    "decode",
    "from_crawl",
    "gopher",
    "identify",
    "main_text",
    "mask",
    "near_duplicates",
    "repair",
    "run",
    "run_on_ray",
    "run_streamed",
    "standard",
]
