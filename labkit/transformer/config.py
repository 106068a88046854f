"""The shape of a transformer, as one value: from it every model of this package is built and every count is made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CHOICES = {
    "norm": ("layer", "rms"),
    "activation": ("gelu", "gelu_tanh", "relu", "swiglu"),
    "positions": ("learned", "sinusoidal", "rotary", "none"),
    "rotary_layout": ("half", "interleaved"),
}
KERNELS = ("fused", "plain", "tiled")


class _Filled(int):
    """A size that was filled in: `dataclasses.replace` fills it in anew when the sizes it follows from change."""


@dataclass(frozen=True)
class Config:
    """The sizes and the choices of a transformer. Sizes left out are filled in, so that every size is a number.

    Args:
        vocabulary: number of token ids.
        context: the longest sequence, in tokens.
        layers: number of blocks (of an encoder–decoder: of each side).
        heads: attention heads per block.
        width: size of the residual stream, d_model in the papers.
        hidden: width of the feed-forward layer; 4·width, and for SwiGLU, which has three matrices instead of two,
            two thirds of that, rounded up to a multiple of 64.
        kv_heads: heads of the keys and values; fewer than `heads` is grouped-query attention.
        head_dim: size of a head; width / heads.
        norm: "layer" (GPT, BERT) or "rms" (Llama), with `norm_eps` under the root.
        norm_first: normalise what enters a sublayer (GPT-2, Llama) or what leaves it (Vaswani et al., BERT).
        activation: "gelu" (exact), "gelu_tanh" (GPT-2), "relu" (Vaswani et al.) or "swiglu" (Llama).
        positions: "learned", "sinusoidal" (then embeddings are multiplied by √width), "rotary" or "none".
        theta, rotary_layout: base of the rotary angles, and which dimensions form a pair.
        bias: do the linear layers and the layer norms have one?
        tied: is the head the embedding? An `Encoder` has no head.
        segments: number of token types (BERT has 2); pooler: BERT's layer on the first token. Both for an `Encoder`.
        kernel: how attention is computed: "fused", "plain", "tiled" or a function (see `MultiHeadAttention`).

    Raises:
        ValueError: on a size or a choice that no model can have.

    Source: Shazeer (2020), "GLU variants improve transformer", section 2 (two thirds of the hidden width).

    >>> Config(vocabulary=100, context=32, layers=2, heads=4, width=64).hidden
    256
    """

    vocabulary: int
    context: int
    layers: int
    heads: int
    width: int
    hidden: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    norm: str = "layer"
    norm_eps: float = 1e-5
    norm_first: bool = True
    activation: str = "gelu"
    positions: str = "learned"
    theta: float | int = 10_000.0
    rotary_layout: str = "half"
    bias: bool = True
    tied: bool = True
    dropout: float | int = 0.0
    segments: int = 0
    pooler: bool = False
    kernel: str | Callable[..., Any] = "fused"

    def __post_init__(self):
        for name in ("vocabulary", "context", "layers", "heads", "width"):
            _refuse(self, name, getattr(self, name) > 0, "positive")
        for name, choices in CHOICES.items():
            _refuse(self, name, getattr(self, name) in choices, f"one of {', '.join(choices)}")
        _refuse(self, "kernel", callable(self.kernel) or self.kernel in KERNELS, f"{', '.join(KERNELS)} or a function")
        _refuse(self, "dropout", 0 <= self.dropout < 1, "at least 0 and below 1")
        _refuse(self, "norm_eps", self.norm_eps > 0, "positive")
        _refuse(self, "theta", self.theta > 0, "positive")
        _refuse(self, "segments", self.segments >= 0, "at least 0")
        self._fill("kv_heads", self.heads)
        self._fill("head_dim", self.width // self.heads if self.width % self.heads == 0 else None)
        self._fill("hidden", -(-8 * self.width // 3 // 64) * 64 if self.activation == "swiglu" else 4 * self.width)
        self._check_heads()

    def _fill(self, name: str, value: int | None) -> None:
        """Set a size that was left out, or filled in before, and refuse what is no size."""
        if getattr(self, name) is None or isinstance(getattr(self, name), _Filled):
            if value is None:
                raise ValueError(
                    f"a width of {self.width} cannot be cut into {self.heads} heads evenly: "
                    "choose heads that divide it, or give head_dim"
                )
            object.__setattr__(self, name, _Filled(value))
        _refuse(self, name, getattr(self, name) > 0, "positive")

    def _check_heads(self) -> None:
        if self.heads % self.kv_heads:
            raise ValueError(
                f"{self.heads} query heads cannot share {self.kv_heads} key heads evenly: kv_heads must divide heads"
            )
        if self.positions == "rotary" and self.head_dim % 2:
            raise ValueError(f"rotary positions turn pairs of dimensions, but head_dim is odd: {self.head_dim}")
        if self.positions == "sinusoidal" and self.width % 2:
            raise ValueError(f"sinusoidal positions are pairs of sine and cosine, but width is odd: {self.width}")


def _refuse(config: Config, name: str, good: bool, wanted: str) -> None:
    if not good:
        raise ValueError(f"Config: {name} must be {wanted}, got {getattr(config, name)!r}")
