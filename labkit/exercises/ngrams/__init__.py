"""Exercises of notebook 02: counting, smoothing, judging and hidden states by your own hand."""

from labkit.exercises.ngrams.counting import BIGRAMS, PERPLEXITY, RELATIVE_FREQUENCY
from labkit.exercises.ngrams.smoothing import ADD_K, COMPANY, MIXTURE, STUPID_BACKOFF, THREE_DISCOUNTS
from labkit.exercises.ngrams.states import FORWARD_STEP, VITERBI_STEP

EXERCISES = (
    BIGRAMS,
    RELATIVE_FREQUENCY,
    ADD_K,
    THREE_DISCOUNTS,
    COMPANY,
    MIXTURE,
    STUPID_BACKOFF,
    PERPLEXITY,
    FORWARD_STEP,
    VITERBI_STEP,
)
