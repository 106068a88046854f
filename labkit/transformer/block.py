"""The block: attention and a feed-forward layer, each added to the residual stream."""

from collections.abc import Callable
from functools import partial

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from labkit.attention import KeyValueCache, MultiHeadAttention
from labkit.transformer.config import Config
from labkit.transformer.feedforward import FeedForward
from labkit.transformer.norms import new_norm

Stream = Float[Tensor, "batch tokens width"]


class Block(nn.Module):
    """Two sublayers, three with `cross`, each of which reads the residual stream and adds to it.

    Pre-norm, x + f(norm(x)), leaves the stream itself alone from the first block to the last; post-norm,
    norm(x + f(x)), normalises it after every addition.
    Source: Vaswani et al. (2017), section 3.1 (post-norm); Xiong et al. (2020), "On layer normalization in the
    transformer architecture", section 3 (pre-norm).
    """

    def __init__(self, config: Config, cross: bool = False):
        super().__init__()
        self.norm_first = config.norm_first
        self.norm1 = new_norm(config)
        self.attention = _attention(config, theta=config.theta if config.positions == "rotary" else None)
        self.norm_cross = new_norm(config) if cross else None
        self.cross = _attention(config, theta=None) if cross else None
        self.norm2 = new_norm(config)
        self.feedforward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()

    def forward(
        self,
        x: Stream,
        mask: Bool[Tensor, "..."] | None = None,
        *,
        causal: bool = False,
        positions: Int[Tensor, "..."] | None = None,
        cache: KeyValueCache | None = None,
        memory: Float[Tensor, "batch source width"] | None = None,
        memory_mask: Bool[Tensor, "..."] | None = None,
    ) -> Stream:
        """The stream after this block.

        Args:
            x: the stream before it.
            mask: who may attend to whom, True meaning "may", broadcastable to (batch, heads, tokens, keys).
            memory: what a block with `cross` attends to, the encoder's result, under `memory_mask`.

        Raises:
            ValueError: if a block with `cross` gets no memory, or one without gets some.
        """
        if (memory is None) != (self.cross is None):
            raise ValueError("a block with cross=True needs memory, what an encoder made, and one without takes none")
        look = partial(self.attention, mask=mask, causal=causal, positions=positions, cache=cache)
        x = self.add(x, self.norm1, look)
        if self.cross is not None:
            x = self.add(x, self.norm_cross, partial(self.cross, memory=memory, mask=memory_mask))
        return self.add(x, self.norm2, self.feedforward)

    def add(self, x: Stream, norm: nn.Module, sublayer: Callable[[Tensor], Tensor]) -> Stream:
        """The stream with a sublayer added to it, normalised before the sublayer or after the addition."""
        if self.norm_first:
            return x + self.dropout(sublayer(norm(x)))
        return norm(x + self.dropout(sublayer(x)))

    def attention_map(
        self, x: Stream, mask: Bool[Tensor, "..."] | None = None, *, causal: bool = False
    ) -> Float[Tensor, "batch heads queries keys"]:
        """Who attends to whom in this block, given the stream before it."""
        return self.attention.weights(self.norm1(x) if self.norm_first else x, mask=mask, causal=causal)


def _attention(config: Config, theta: float | int | None) -> MultiHeadAttention:
    return MultiHeadAttention(
        config.width,
        config.heads,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        bias=config.bias,
        rotary_theta=theta,
        rotary_layout=config.rotary_layout,
        kernel=config.kernel,
        dropout=config.dropout,
    )
