"""Models that papers describe, as configs, with the parameter counts that were printed, and where.

A printed count is rounded; `tolerance` says how far the exact count may lie from it. Where it is wider than the last
printed digit, or where a table contradicts itself, `note` says why.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.attention import merge_heads, split_heads
from labkit.transformer.config import Config
from labkit.transformer.counting import count
from labkit.transformer.models import Decoder, Encoder, EncoderDecoder

MODELS = {"decoder": Decoder, "encoder": Encoder, "encoder_decoder": EncoderDecoder}


@dataclass(frozen=True)
class Shape:
    """A model of a paper.

    Attributes:
        published: parameters as printed.
        tolerance: how far from it the exact number may lie, in parameters.
        source: paper and table. note: what else must be known.
    """

    name: str
    config: Config
    kind: str
    published: float
    tolerance: float
    source: str
    note: str = ""


def built_parameters(shape: Shape) -> int:
    """The parameters of our module of this shape, built on the meta device: all of its tensors, none of their memory.

    >>> built_parameters(SHAPES["GPT-2 small"])
    124439808
    """
    with torch.device("meta"):
        return count(MODELS[shape.kind](shape.config, seed=None))


def _transformer(name: str, width: int, heads: int, published: float, tolerance: float, note: str) -> Shape:
    config = Config(
        vocabulary=37_000,
        context=1024,
        layers=6,
        heads=heads,
        width=width,
        norm_first=False,
        activation="relu",
        positions="sinusoidal",
    )
    source = "Vaswani et al. (2017), Attention is all you need, table 3; section 5.1 (about 37,000 shared tokens)"
    return Shape(name, config, "encoder_decoder", published, tolerance, source, note)


def _gpt2(name: str, layers: int, width: int, published: float) -> Shape:
    config = Config(50_257, 1024, layers, heads=width // 64, width=width, activation="gelu_tanh")
    source = "OpenAI (2019), README of the released GPT-2 checkpoints; shapes: Radford et al. (2019), table 2"
    return Shape(name, config, "decoder", published, 0.5e6, source, "The paper's own counts: see GPT2_AS_PRINTED.")


def _bert(name: str, layers: int, width: int, published: float) -> Shape:
    config = Config(
        vocabulary=30_522,
        context=512,
        layers=layers,
        heads=width // 64,
        width=width,
        norm_first=False,
        norm_eps=1e-12,
        segments=2,
        pooler=True,
    )
    source = "Devlin et al. (2019), BERT, section 3"
    return Shape(
        name,
        config,
        "encoder",
        published,
        5e6,
        source,
        "Printed to ten million; the released vocabulary.",
    )


def _gpt3(name: str, layers: int, width: int, heads: int, published: float, tolerance: float, note: str = "") -> Shape:
    config = Config(50_257, 2048, layers, heads, width, activation="gelu_tanh")
    return Shape(name, config, "decoder", published, tolerance, "Brown et al. (2020), GPT-3, table 2.1", note)


def _llama2(
    name: str, layers: int, width: int, heads: int, hidden: int, published: float, tolerance: float, note: str = ""
) -> Shape:
    config = Config(
        vocabulary=32_000,
        context=4096,
        layers=layers,
        heads=heads,
        width=width,
        hidden=hidden,
        kv_heads=8 if layers == 80 else None,
        norm="rms",
        activation="swiglu",
        positions="rotary",
        rotary_layout="interleaved",
        bias=False,
        tied=False,
    )
    source = "Touvron et al. (2023), Llama 2, table 1; shapes: released params.json"
    return Shape(name, config, "decoder", published, tolerance, source, note)


_SHAPES = (
    _transformer("Transformer base", 512, 8, 65e6, 2e6, "37,000 tokens give 63 M; 65 M would need 40,700."),
    _transformer("Transformer big", 1024, 16, 213e6, 2e6, "37,000 tokens give 214 M; 213 M would need 35,800."),
    _gpt2("GPT-2 small", 12, 768, 124e6),
    _gpt2("GPT-2 medium", 24, 1024, 355e6),
    _gpt2("GPT-2 large", 36, 1280, 774e6),
    _gpt2("GPT-2 XL", 48, 1600, 1558e6),
    _bert("BERT base", 12, 768, 110e6),
    _bert("BERT large", 24, 1024, 340e6),
    _gpt3("GPT-3 Small", 12, 768, 12, 125e6, 0.5e6),
    _gpt3("GPT-3 Medium", 24, 1024, 16, 350e6, 6e6, "Table D.1 of the same paper has 356 M."),
    _gpt3("GPT-3 Large", 24, 1536, 16, 760e6, 5e6),
    _gpt3("GPT-3 XL", 24, 2048, 16, 1.3e9, 0.05e9, "Printed: 24 heads of 128, 1.5 B; with 16 it is 1.3 B."),
    _gpt3("GPT-3 2.7B", 32, 2560, 32, 2.7e9, 0.05e9),
    _gpt3("GPT-3 6.7B", 32, 4096, 32, 6.7e9, 0.05e9),
    _gpt3("GPT-3 13B", 40, 5120, 40, 13.0e9, 0.2e9, "Printed: width 5140 with 40 heads of 128; 5120 gives table D.1."),
    _gpt3("GPT-3 175B", 96, 12288, 96, 175.0e9, 0.5e9, "Table D.1 of the same paper has 174.6 B."),
    _llama2("Llama 2 7B", 32, 4096, 32, 11_008, 7e9, 0.5e9),
    _llama2("Llama 2 13B", 40, 5120, 40, 13_824, 13e9, 0.5e9),
    _llama2("Llama 2 70B", 80, 8192, 64, 28_672, 70e9, 1.5e9, "Exactly 69.0 B: the name rounds up."),
)
SHAPES = {shape.name: shape for shape in _SHAPES}

# The vocabulary of the first GPT, 40,000 merges and 478 characters. Counted with it in place of 50,257, the four models
# of Radford et al. (2019) have the sizes that table 2 prints, to the last digit; OpenAI has since called them an error.
_GPT1_VOCABULARY = 40_478
_PRINTED = {"GPT-2 small": 117e6, "GPT-2 medium": 345e6, "GPT-2 large": 762e6, "GPT-2 XL": 1542e6}
GPT2_AS_PRINTED = {
    name: replace(
        SHAPES[name],
        config=replace(SHAPES[name].config, vocabulary=_GPT1_VOCABULARY),
        published=printed,
        source="Radford et al. (2019), Language models are unsupervised multitask learners, table 2",
        note="Counted with the 40,478 tokens of the first GPT.",
    )
    for name, printed in _PRINTED.items()
}

# Brown et al. (2020), table D.1: parameters and floating-point operations of training on 300 billion tokens.
TRAINING_TOKENS = 300e9
TRAINING_COMPUTE = {
    "GPT-3 Small": (125e6, 2.25e20),
    "GPT-3 Medium": (356e6, 6.41e20),
    "GPT-3 Large": (760e6, 1.37e21),
    "GPT-3 XL": (1_320e6, 2.38e21),
    "GPT-3 2.7B": (2_650e6, 4.77e21),
    "GPT-3 6.7B": (6_660e6, 1.20e22),
    "GPT-3 13B": (12_850e6, 2.31e22),
    "GPT-3 175B": (174_600e6, 3.14e23),
}


def layer_activation_bytes(batch: int, tokens: int, width: int, heads: int) -> float:
    """s b h (34 + 5 a s / h): what one layer of GPT keeps for its backward pass in 16-bit numbers, with dropout.

    Source: Korthikanti et al. (2022), "Reducing activation recomputation in large transformer models", equation 1.

    >>> layer_activation_bytes(batch=1, tokens=2048, width=12288, heads=96) / 2**30  # one layer of GPT-3, in GiB
    2.671875
    """
    return tokens * batch * width * (34 + 5 * heads * tokens / width)


class PaperLayer(nn.Module):
    """The layer that `layer_activation_bytes` was derived for, operation by operation, to be measured.

    Pre-norm, GELU, attention that keeps its matrix, three dropouts whose masks take one byte per number. The paper
    leaves out the statistics of the norms, and so does the causal mask, which its kernel makes as it goes.
    Source: Korthikanti et al. (2022), figures 2 and 3, section 4.1.
    """

    def __init__(self, width: int, heads: int, rate: float = 0.1):
        super().__init__()
        self.heads, self.rate = heads, rate
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """The stream after this layer."""
        query, key, value = (split_heads(part, self.heads) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        weights = self._dropout(torch.softmax(query @ key.mT / query.shape[-1] ** 0.5, dim=-1))
        x = x + self._dropout(self.output(merge_heads(weights @ value)))
        return x + self._dropout(self.down(F.gelu(self.up(self.norm2(x)))))

    def _dropout(self, x: Tensor) -> Tensor:
        return torch.native_dropout(x, self.rate, True)[0]  # F.dropout keeps a 16-bit mask on the CPU
