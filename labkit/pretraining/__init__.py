"""Pretraining: tokens, two ways to learn from plain text, ways to write, bits per byte, scaling laws, Chinchilla."""

from labkit.pretraining import chinchilla
from labkit.pretraining.comparing import pretrain_on
from labkit.pretraining.decoding import (
    Beams,
    beam_search,
    nucleus,
    sequence_log_probability,
    truncate,
    with_temperature,
)
from labkit.pretraining.masking import MaskedModel, fill, mask_tokens
from labkit.pretraining.measuring import bits_per_byte, ngram_bits_per_byte, ngram_model, sliding_windows
from labkit.pretraining.recipes import (
    Data,
    Recipe,
    Stage,
    Trained,
    batches,
    build,
    load_or_train,
    prepare,
    pretrain,
    recipe,
    tiny_gpt,
)
from labkit.pretraining.scaling import PowerLaw, power_law, power_law_with_floor, valley
from labkit.pretraining.tokens import BPETokens, ByteTokens, Tokens, load_tokens, tokens_from_json

__all__ = [
    "BPETokens",
    "Beams",
    "ByteTokens",
    "Data",
    "MaskedModel",
    "PowerLaw",
    "Recipe",
    "Stage",
    "Tokens",
    "Trained",
    "batches",
    "beam_search",
    "bits_per_byte",
    "build",
    "chinchilla",
    "fill",
    "load_or_train",
    "load_tokens",
    "mask_tokens",
    "ngram_bits_per_byte",
    "ngram_model",
    "nucleus",
    "power_law",
    "power_law_with_floor",
    "prepare",
    "pretrain",
    "pretrain_on",
    "recipe",
    "sequence_log_probability",
    "sliding_windows",
    "tiny_gpt",
    "tokens_from_json",
    "truncate",
    "valley",
    "with_temperature",
]
