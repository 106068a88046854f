"""The transformer: norms, feed-forward layers, blocks and three models, real weights, what they cost and know."""

from labkit.transformer.block import Block
from labkit.transformer.config import Config
from labkit.transformer.counting import (
    activation_bytes,
    cache_bytes,
    count,
    flops,
    parameters,
    rule_of_six,
    training_bytes,
    training_flops,
)
from labkit.transformer.feedforward import FeedForward, gelu, gelu_tanh, swish
from labkit.transformer.generation import generate, translate
from labkit.transformer.initialisation import initialise
from labkit.transformer.interpret import (
    Attribution,
    attribute_tokens,
    embeddings_replaced,
    head_entropy,
    integrated_gradients,
    logit_lens,
    top_tokens,
)
from labkit.transformer.loss import next_token_loss
from labkit.transformer.models import Decoder, Encoder, EncoderDecoder
from labkit.transformer.norms import LayerNorm, RMSNorm, layer_norm, layer_norm_backward, rms_norm, rms_norm_backward
from labkit.transformer.practice import fit, windows
from labkit.transformer.pretrained import (
    Pretrained,
    decode,
    embed,
    encode,
    load_minilm,
    load_smollm2,
    mean_direction,
    minilm_folder,
    padded,
    pieces,
    smollm2_file,
)
from labkit.transformer.published import (
    GPT2_AS_PRINTED,
    SHAPES,
    TRAINING_COMPUTE,
    TRAINING_TOKENS,
    PaperLayer,
    Shape,
    built_parameters,
    layer_activation_bytes,
)
from labkit.transformer.reference import PROMPTS, quiet_transformers, transformers_minilm, transformers_smollm2
from labkit.transformer.state import from_gpt2, load_state

__all__ = [
    "GPT2_AS_PRINTED",
    "PROMPTS",
    "SHAPES",
    "TRAINING_COMPUTE",
    "TRAINING_TOKENS",
    "Attribution",
    "Block",
    "Config",
    "Decoder",
    "Encoder",
    "EncoderDecoder",
    "FeedForward",
    "LayerNorm",
    "PaperLayer",
    "Pretrained",
    "RMSNorm",
    "Shape",
    "activation_bytes",
    "attribute_tokens",
    "built_parameters",
    "cache_bytes",
    "count",
    "decode",
    "embed",
    "embeddings_replaced",
    "encode",
    "fit",
    "flops",
    "from_gpt2",
    "gelu",
    "gelu_tanh",
    "generate",
    "head_entropy",
    "initialise",
    "integrated_gradients",
    "layer_activation_bytes",
    "layer_norm",
    "layer_norm_backward",
    "load_minilm",
    "load_smollm2",
    "load_state",
    "logit_lens",
    "mean_direction",
    "minilm_folder",
    "next_token_loss",
    "padded",
    "parameters",
    "pieces",
    "quiet_transformers",
    "rms_norm",
    "rms_norm_backward",
    "rule_of_six",
    "smollm2_file",
    "swish",
    "top_tokens",
    "training_bytes",
    "training_flops",
    "transformers_minilm",
    "transformers_smollm2",
    "translate",
    "windows",
]
