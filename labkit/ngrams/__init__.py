"""n-gram language models: counting, smoothing, evaluation, generation, and hidden Markov models."""

from labkit.ngrams.arpa import read_arpa, write_arpa
from labkit.ngrams.counting import Level, count_ngrams
from labkit.ngrams.good_turing import katz_ratios, simple_good_turing, turing
from labkit.ngrams.hmm import HiddenMarkovModel, fit_tagger, forward, viterbi
from labkit.ngrams.interpolation import FittedWeights, fit_weights
from labkit.ngrams.model import NGramModel, Padding
from labkit.ngrams.smoothing import (
    AbsoluteDiscounting,
    AddK,
    GoodTuring,
    Katz,
    KneserNey,
    LinearInterpolation,
    MaximumLikelihood,
    ModifiedKneserNey,
    StupidBackoff,
    WittenBell,
)
from labkit.ngrams.tagging import span_scores, spans
from labkit.ngrams.vocabulary import BOS, EOS, UNK, Vocabulary, pad

__all__ = [
    "BOS",
    "EOS",
    "UNK",
    "AbsoluteDiscounting",
    "AddK",
    "FittedWeights",
    "GoodTuring",
    "HiddenMarkovModel",
    "Katz",
    "KneserNey",
    "Level",
    "LinearInterpolation",
    "MaximumLikelihood",
    "ModifiedKneserNey",
    "NGramModel",
    "Padding",
    "StupidBackoff",
    "Vocabulary",
    "WittenBell",
    "count_ngrams",
    "fit_tagger",
    "fit_weights",
    "forward",
    "katz_ratios",
    "pad",
    "read_arpa",
    "simple_good_turing",
    "span_scores",
    "spans",
    "turing",
    "viterbi",
    "write_arpa",
]
