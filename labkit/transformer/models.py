"""Three models of the same blocks: a decoder (GPT, Llama), an encoder (BERT), an encoder–decoder (Vaswani et al.)."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from labkit.attention import KeyValueCache
from labkit.transformer.block import Block
from labkit.transformer.config import Config
from labkit.transformer.embedding import (
    apply_and_tie,
    check_ids,
    embed,
    keep_tied,
    key_mask,
    position_table,
    refuse_outside,
)
from labkit.transformer.initialisation import initialise_from_seed
from labkit.transformer.loss import next_token_loss
from labkit.transformer.norms import new_norm

Ids = Int[Tensor, "batch tokens"]
Stream = Float[Tensor, "batch tokens width"]
Maps = list[Float[Tensor, "batch heads queries keys"]]
Mask = Bool[Tensor, "..."] | None
Caches = Sequence[KeyValueCache] | None


class Decoder(nn.Module):
    """A language model: from each token, and those before it, the logits of the next.

    Args:
        config: its shape. Without `norm_first` there is no final norm: every block ends with one.
        seed: of the weights it starts from (see `initialise`); None to skip this when weights are loaded anyway.

    Source: Radford et al. (2019), GPT-2, section 2.3; Touvron et al. (2023), Llama, section 2.2.
    """

    _apply = apply_and_tie

    def __init__(self, config: Config, *, seed: int | None = 0):
        super().__init__()
        if config.segments or config.pooler:
            raise ValueError("a Decoder has no segments and no pooler: leave them out of its Config")
        self.config = config
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = position_table(config)
        self.dropout = _dropout(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = _final_norm(config)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        keep_tied(self)
        initialise_from_seed(self, config, seed)

    def forward(
        self, ids: Ids | Any, *, cache: Caches = None, mask: Mask = None
    ) -> Float[Tensor, "batch tokens vocabulary"]:
        """The logits of the token after each of `ids`.

        Args:
            ids: tokens; those that follow what is in the `cache`, if there is one.
            mask: which tokens there are, (batch, tokens), False for padding; with a cache, of all its tokens.

        Raises:
            ValueError: for ids of a wrong dtype or shape, outside the vocabulary or beyond the context.
        """
        return self.head(self.hidden(ids, cache=cache, mask=mask))

    def hidden(self, ids: Ids | Any, *, cache: Caches = None, mask: Mask = None) -> Stream:
        """What the head reads: the residual stream after the last block and the final norm."""
        for x in self._layers(ids, cache, mask):
            last = x
        return self.norm(last)

    def stream(self, ids: Ids | Any, *, mask: Mask = None) -> list[Stream]:
        """The residual stream before the first block and after each, layers + 1 in all, without the final norm."""
        return list(self._layers(ids, None, mask))

    def unembed(self, x: Stream) -> Float[Tensor, "batch tokens vocabulary"]:
        """The logits of a residual stream: the final norm, then the head."""
        return self.head(self.norm(x))

    def loss(self, ids: Ids | Any, targets: Ids | Any) -> Float[Tensor, ""]:
        """The mean cross entropy of the next tokens, −100 where none is asked, without holding all logits at once."""
        return next_token_loss(self.hidden(ids), self.head.weight, targets)

    def attention_maps(self, ids: Ids | Any, mask: Mask = None) -> Maps:
        """Who attends to whom, for each layer."""
        mask, stream = key_mask(mask), self.stream(ids, mask=mask)
        return [block.attention_map(x, mask, causal=True) for block, x in zip(self.blocks, stream, strict=False)]

    def new_cache(self, batch: int, capacity: int | None = None) -> list[KeyValueCache]:
        """Room for the keys and values of `capacity` tokens (the context if left out), one cache per layer."""
        config, weight = self.config, self.tokens.weight
        size = (batch, config.kv_heads, capacity or config.context, config.head_dim)
        return [KeyValueCache(*size, dtype=weight.dtype, device=weight.device) for _ in self.blocks]

    def _layers(self, ids: Any, cache: Caches, mask: Mask) -> Iterator[Stream]:
        start = cache[0].length if cache else 0
        check_ids(ids, self.config, start=start)
        mask = key_mask(mask)
        x = self.dropout(embed(self, ids, start=start))
        yield x
        for block, past in zip(self.blocks, cache or [None] * len(self.blocks), strict=True):
            x = block(x, mask, causal=True, cache=past)
            yield x


class Encoder(nn.Module):
    """A reader: for each token a vector that knows the tokens on both sides.

    Like BERT it normalises its embeddings when its blocks are post-norm, adds an embedding of the segment when the
    config has `segments`, and has a layer on the first token with `pooler`.
    Source: Devlin et al. (2019), BERT, section 3 and figure 2.
    """

    def __init__(self, config: Config, *, seed: int | None = 0):
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = position_table(config)
        self.segments = nn.Embedding(config.segments, config.width) if config.segments else None
        self.embedding_norm = nn.Identity() if config.norm_first else new_norm(config)
        self.dropout = _dropout(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = _final_norm(config)
        self.pooler = nn.Linear(config.width, config.width) if config.pooler else None
        initialise_from_seed(self, config, seed)

    def forward(
        self,
        ids: Ids | Any,
        mask: Bool[Tensor, "batch tokens"] | None = None,
        *,
        segments: Ids | Any = None,
        true_means: str = "attend",
    ) -> Stream:
        """One vector for each token.

        Args:
            mask: which tokens there are, False for padding (`true_means="ignore"`: True for padding).
            segments: which part each token belongs to; all to the first if left out.

        Raises:
            ValueError: for ids of a wrong dtype or shape, outside the vocabulary or beyond the context.
        """
        return self.norm(self.stream(ids, mask, segments=segments, true_means=true_means)[-1])

    def stream(
        self,
        ids: Ids | Any,
        mask: Bool[Tensor, "batch tokens"] | None = None,
        *,
        segments: Ids | Any = None,
        true_means: str = "attend",
    ) -> list[Stream]:
        """The residual stream before the first block and after each block, layers + 1 in all."""
        check_ids(ids, self.config)
        x, mask = self._with_segments(embed(self, ids), segments), key_mask(mask, true_means)
        stream = [self.dropout(self.embedding_norm(x))]
        for block in self.blocks:
            stream.append(block(stream[-1], mask))
        return stream

    def attention_maps(
        self, ids: Ids | Any, mask: Bool[Tensor, "batch tokens"] | None = None, *, segments: Ids | Any = None
    ) -> Maps:
        """Who attends to whom, for each layer."""
        stream = self.stream(ids, mask, segments=segments)
        return [block.attention_map(x, key_mask(mask)) for block, x in zip(self.blocks, stream, strict=False)]

    def pool(self, hidden: Stream) -> Float[Tensor, "batch width"]:
        """The vector of the first token through the pooler and tanh.

        Raises:
            ValueError: if the config has no pooler.
        """
        if self.pooler is None:
            raise ValueError("this Encoder has no pooler: build it from a Config with pooler=True")
        return torch.tanh(self.pooler(hidden[:, 0]))

    def _with_segments(self, x: Stream, segments: Ids | Any) -> Stream:
        if self.segments is None:
            if segments is not None:
                raise ValueError("this Encoder has no segments: build it from a Config with segments=2")
            return x
        if segments is None:
            return x + self.segments.weight[0]
        if segments.shape != x.shape[:2]:
            raise ValueError(f"each id needs one segment: ids {tuple(x.shape[:2])}, segments {tuple(segments.shape)}")
        refuse_outside(segments, self.config.segments, "segments")
        return x + self.segments(segments)


class EncoderDecoder(nn.Module):
    """A translator: an encoder reads the source, a decoder writes the target and looks at what was read.

    Both sides, and the head if `tied`, share one embedding.
    Source: Vaswani et al. (2017), "Attention is all you need", sections 3.1 and 3.4.
    """

    _apply = apply_and_tie

    def __init__(self, config: Config, *, seed: int | None = 0):
        super().__init__()
        if config.segments or config.pooler:
            raise ValueError("an EncoderDecoder has no segments and no pooler: leave them out of its Config")
        self.config = config
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = position_table(config)
        self.dropout = _dropout(config)
        self.encoder_blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.encoder_norm = _final_norm(config)
        self.blocks = nn.ModuleList(Block(config, cross=True) for _ in range(config.layers))
        self.norm = _final_norm(config)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        keep_tied(self)
        initialise_from_seed(self, config, seed)

    def forward(
        self, source: Ids | Any, target: Ids | Any, source_mask: Mask = None
    ) -> Float[Tensor, "batch target vocabulary"]:
        """The logits of the token after each of `target`, given the whole `source`.

        Args:
            source_mask: which tokens of the source there are, False for padding.
        """
        return self.decode(target, self.encode(source, source_mask), source_mask)

    def encode(self, source: Ids | Any, source_mask: Mask = None) -> Stream:
        """The vectors of the source, which the decoder looks at."""
        check_ids(source, self.config, what="source")
        x, mask = self.dropout(embed(self, source)), key_mask(source_mask)
        for block in self.encoder_blocks:
            x = block(x, mask)
        return self.encoder_norm(x)

    def decode(
        self, target: Ids | Any, memory: Float[Tensor, "batch source width"], source_mask: Mask = None
    ) -> Float[Tensor, "batch target vocabulary"]:
        """The logits of the token after each of `target`, given what `encode` made of the source."""
        return self.head(self._written(target, memory, source_mask))

    def loss(
        self, source: Ids | Any, target: Ids | Any, targets: Ids | Any, source_mask: Mask = None
    ) -> Float[Tensor, ""]:
        """The mean cross entropy of `targets`, the tokens that follow those of `target`, −100 where none is asked."""
        hidden = self._written(target, self.encode(source, source_mask), source_mask)
        return next_token_loss(hidden, self.head.weight, targets)

    def attention_maps(self, source: Ids | Any, target: Ids | Any, source_mask: Mask = None) -> Maps:
        """Where each token of the target looks in the source, for each layer: (batch, heads, target, source)."""
        maps: list[Tensor] = []

        def note(cross: nn.Module, given: tuple, named: dict[str, Any]) -> None:
            maps.append(cross.weights(*given, **named))

        hooks = [block.cross.register_forward_pre_hook(note, with_kwargs=True) for block in self.blocks]
        try:
            self(source, target, source_mask)
        finally:
            for hook in hooks:
                hook.remove()
        return maps

    def _written(self, target: Any, memory: Float[Tensor, "batch source width"], source_mask: Mask) -> Stream:
        check_ids(target, self.config, what="target")
        x, mask = self.dropout(embed(self, target)), key_mask(source_mask)
        for block in self.blocks:
            x = block(x, causal=True, memory=memory, memory_mask=mask)
        return self.norm(x)


def _dropout(config: Config) -> nn.Module:
    return nn.Dropout(config.dropout) if config.dropout else nn.Identity()


def _final_norm(config: Config) -> nn.Module:
    return new_norm(config) if config.norm_first else nn.Identity()
