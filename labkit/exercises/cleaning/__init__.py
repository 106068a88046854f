"""Exercises of notebook 13: bytes, words, rules, personal data, copies and chunks by your own hand."""

from labkit.exercises.cleaning.duplicates import SHINGLE_SIMILARITY, SURVIVORS
from labkit.exercises.cleaning.personal import DOUBLED_SUM, MASK_SPANS, WEIGHTED_MOD_11
from labkit.exercises.cleaning.pipelines import CHUNKS_TO_DO, LINE_CHUNKS
from labkit.exercises.cleaning.quality import DUPLICATE_SHARE, FIRST_BROKEN
from labkit.exercises.cleaning.signatures import BAND_CANDIDATES, SIGNATURE_OF
from labkit.exercises.cleaning.text import READ_PAGE_BYTES, SHARE_OF_LINKS
from labkit.exercises.cleaning.words import LANGUAGE_POSTERIOR, QUALITY_GRADIENT

EXERCISES = (
    READ_PAGE_BYTES,
    SHARE_OF_LINKS,
    LANGUAGE_POSTERIOR,
    QUALITY_GRADIENT,
    FIRST_BROKEN,
    DUPLICATE_SHARE,
    DOUBLED_SUM,
    WEIGHTED_MOD_11,
    MASK_SPANS,
    SHINGLE_SIMILARITY,
    SIGNATURE_OF,
    BAND_CANDIDATES,
    SURVIVORS,
    LINE_CHUNKS,
    CHUNKS_TO_DO,
)
