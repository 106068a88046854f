"""A language model of which every rank holds a part: narrower blocks of `labkit.transformer` between the operators."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.attention import MultiHeadAttention, attention_weights, repeat_heads
from labkit.model_parallel.sequence import (
    TOKENS,
    SequenceColumnLinear,
    SequenceRowLinear,
    SlicedDropout,
    gather_tokens,
    slice_tokens,
    sum_gradients,
)
from labkit.model_parallel.shards import is_cut, merge_states, shard_config, shard_state
from labkit.model_parallel.tensor import (
    ColumnLinear,
    Group,
    RowLinear,
    copy_to_ranks,
    gather_last,
    refuse_disagreement,
    refuse_other_chances,
    share,
)
from labkit.model_parallel.vocabulary import VocabularyEmbedding, vocabulary_cross_entropy
from labkit.transformer import Block, Config, Decoder, FeedForward, load_state
from labkit.transformer.embedding import check_ids, embed, key_mask

HEADS = 1  # the axis of heads in a matrix of attention


class ParallelFeedForward(FeedForward):
    """This rank's part of a feed-forward layer: its hidden units, each with all it is given and all it gives."""

    def __init__(self, config: Config, group: Group = None, sequence: bool = False):
        super().__init__(shard_config(config, dist.get_world_size(group)))
        columns, rows = _linears(sequence)
        for name in ("up", "gate") if config.activation == "swiglu" else ("up",):
            setattr(self, name, columns(config.width, config.hidden, config.bias, group))
        self.down = rows(config.hidden, config.width, config.bias, group)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """What the whole layer adds to the residual stream."""
        if self.activation != "swiglu":
            return super().forward(x)
        # One product for both matrices, so that their gradients for x are added up by one all-reduce and not by two.
        bias = None if self.up.bias is None else torch.cat([self.gate.bias, self.up.bias])
        both = self.up.product(x, torch.cat([self.gate.weight, self.up.weight]), bias)
        gate, up = both.chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class ParallelAttention(MultiHeadAttention):
    """This rank's heads of a multi-head attention: heads do not talk to each other, only their results are added up."""

    def __init__(self, config: Config, group: Group = None, sequence: bool = False):
        part = shard_config(config, dist.get_world_size(group))
        super().__init__(
            config.width,
            part.heads,
            kv_heads=part.kv_heads,
            head_dim=part.head_dim,
            bias=config.bias,
            rotary_theta=config.theta if config.positions == "rotary" else None,
            rotary_layout=config.rotary_layout,
            kernel=config.kernel,
            dropout=config.dropout,
        )
        columns, rows = _linears(sequence)
        self.qkv = columns(config.width, (config.heads + 2 * config.kv_heads) * config.head_dim, config.bias, group)
        self.output = rows(config.heads * config.head_dim, config.width, config.bias, group)
        self.sliced = SlicedDropout(config.dropout, HEADS, group)

    def _attend(self, query, key, value, mask, causal) -> Tensor:
        """As always; only dropout differs, of which each rank takes the part that falls on its heads."""
        if not self.dropout or not self.training:
            return super()._attend(query, key, value, mask, causal)
        times = self.heads // self.kv_heads
        weights = attention_weights(query, repeat_heads(key, times), mask, causal=causal)
        return self.sliced(weights) @ repeat_heads(value, times)


def parallel_block(config: Config, group: Group = None, sequence: bool = False) -> Block:
    """This rank's part of a block. Norms are whole on every rank; with `sequence` they see a slice of the tokens."""
    block = Block(shard_config(config, dist.get_world_size(group)))
    block.attention = ParallelAttention(config, group, sequence)
    block.feedforward = ParallelFeedForward(config, group, sequence)
    block.dropout = _dropout(config, group, sequence)
    return block


class ParallelDecoder(Decoder):
    """This rank's part of a `Decoder`. Together the ranks compute what the whole does, and learn what it learns.

    Every rank is given the same ids; each has its heads, hidden units and words. With `sequence` the residual stream
    between them is cut by tokens. Names of weights are those of a `Decoder`, whose weights `load_serial` cuts up.

    Args:
        config: the whole model's. group: the ranks that share it.
        agree: look at every call whether all ranks came with the same ids (an exchange of five numbers, for which an
            accelerator has to wait: turn it off once it runs).

    Raises:
        ValueError: if the ranks do not divide heads, hidden width or vocabulary; with `sequence` also the tokens.
    Source: Shoeybi et al. (2019), "Megatron-LM", section 3; Korthikanti et al. (2022), section 4.2.
    """

    def __init__(
        self,
        config: Config,
        group: Group = None,
        *,
        sequence: bool = False,
        agree: bool = True,
        seed: int | None = 0,
    ):
        part = shard_config(config, dist.get_world_size(group))
        super().__init__(part, seed=None)
        self.config, self.group, self.sequence, self.agree = config, group, sequence, agree
        self.blocks = nn.ModuleList(parallel_block(config, group, sequence) for _ in range(config.layers))
        self.tokens = VocabularyEmbedding(config.vocabulary, config.width, group)
        self.head = nn.Linear(config.width, part.vocabulary, bias=False)
        self.dropout = _dropout(config, group, sequence)
        if config.tied:
            self.head.weight = self.tokens.weight
        if seed is not None:  # what one process would start from; a model too large for that comes as shards
            self.load_serial(Decoder(config, seed=seed).state_dict())

    def forward(self, ids: Int[Tensor, "batch tokens"] | Any, **named: Any) -> Float[Tensor, "batch tokens vocabulary"]:
        """All logits, on every rank; for training take `loss`, which never gathers them."""
        return gather_last(self.own_logits(self.hidden(ids, **named)), self.group)

    def loss(
        self, ids: Int[Tensor, "batch tokens"] | Any, targets: Int[Tensor, "batch tokens"] | Any
    ) -> Float[Tensor, ""]:
        """The mean cross entropy of the next tokens, the same on every rank; −100 where none is asked.

        Raises:
            ValueError: as `Decoder.loss`, and if the ranks came with other ids or targets.
        """
        if self.agree:
            refuse_disagreement(targets, self.group)
        return vocabulary_cross_entropy(self.own_logits(self.hidden(ids)), targets, self.group)

    def own_logits(self, hidden: Float[Tensor, "batch slice width"]) -> Float[Tensor, "batch tokens own"]:
        """The logits of this rank's words, for all tokens."""
        enter = gather_tokens if self.sequence else copy_to_ranks
        return F.linear(enter(hidden, self.group), self.head.weight)

    def load_serial(self, state: Mapping[str, Tensor]) -> None:
        """Take this rank's part of a serial `Decoder`'s weights.

        Raises:
            ValueError: if they are not those of a `Decoder` of this config.
        """
        rank, ranks = dist.get_rank(self.group), dist.get_world_size(self.group)
        load_state(self, shard_state(state, self.config, rank, ranks))

    def serial_state(self) -> dict[str, Tensor]:
        """The weights of the serial `Decoder`, on every rank: for a checkpoint that any number of ranks can load.

        Raises:
            ValueError: if copies of a weight that all ranks hold have drifted apart.
        """
        gathered: list[Any] = [None] * dist.get_world_size(self.group)
        dist.all_gather_object(gathered, {name: w.cpu() for name, w in self.state_dict().items()}, group=self.group)
        return merge_states(gathered, self.config)

    def finish_gradients(self) -> None:
        """Add up what only a slice of the tokens told the weights that all ranks hold: after backward, before the step.

        Without `sequence` all ranks have seen all tokens, and there is nothing to do.
        """
        if self.sequence:
            sum_gradients(self.sliced_parameters(), self.group)

    @torch.no_grad()
    def gradient_norm(self) -> Float[Tensor, ""]:
        """The norm of the whole model's gradient, the same on every rank: what clipping must divide by.

        What is cut is added up over the ranks, what all hold counts once. Were each rank to clip by the norm of what it
        has, they would scale differently, and the weights that all hold would drift apart.
        """
        exact = torch.promote_types(self.head.weight.dtype, torch.float32)  # squares of half precision overflow
        cut = self.head.weight.new_zeros((), dtype=exact)
        shared = torch.zeros_like(cut)
        for name, parameter in self.named_parameters():
            if parameter.grad is None:
                continue
            square = torch.linalg.vector_norm(parameter.grad, dtype=exact).square()
            cut, shared = (cut + square, shared) if is_cut(name) else (cut, shared + square)
        dist.all_reduce(cut, group=self.group)
        return (cut + shared).sqrt()

    def sliced_parameters(self) -> Iterator[nn.Parameter]:
        """The weights that are whole on every rank and are used on a slice of the tokens: norms, and biases of rows."""
        for name, parameter in self.named_parameters():
            sliced = not is_cut(name) and name != "positions.weight"
            if sliced and parameter.requires_grad:  # positions are added before the slicing
                yield parameter

    def _layers(self, ids: Any, cache: Any, mask: Any) -> Iterator[Tensor]:
        if cache is not None:
            raise ValueError("a ParallelDecoder has no cache: merge its weights into a Decoder to generate")
        check_ids(ids, self.config)
        if self.agree:
            refuse_disagreement(ids, self.group)
        if self.sequence:
            share(ids.shape[1], dist.get_world_size(self.group), "tokens")
        elif self.agree and self.training and self.config.dropout:
            refuse_other_chances(ids.device, self.group)
        mask, x = key_mask(mask), embed(self, ids)
        x = self.dropout(slice_tokens(x, self.group) if self.sequence else x)
        yield x
        for block in self.blocks:
            x = block(x, mask, causal=True)
            yield x


def _linears(sequence: bool) -> tuple[type[ColumnLinear], type[RowLinear]]:
    return (SequenceColumnLinear, SequenceRowLinear) if sequence else (ColumnLinear, RowLinear)


def _dropout(config: Config, group: Group, sequence: bool) -> nn.Module:
    """Dropout of the stream: where it is whole, every rank draws the same mask from the same seed."""
    if not config.dropout:
        return nn.Identity()
    return SlicedDropout(config.dropout, TOKENS if sequence else None, group)
