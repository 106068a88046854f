"""A pretrained reader taught to mark spans: one label for each word, B where a span begins, I inside, O outside."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from labkit.transformer.models import Encoder
from labkit.transformer.pretrained import Pretrained
from labkit.zero.link_spans import Passage, Span

IGNORED = -100  # what cross entropy leaves out
Ids = Int[Tensor, "batch tokens"]
Hidden = Float[Tensor, "batch tokens width"]


@dataclass(frozen=True)
class Batch:
    """Passages as tensors: ids, which are real, labels at each word's first token (else -100), 1 for a capital."""

    ids: Ids
    mask: Bool[Tensor, "batch tokens"]
    labels: Ids
    capitals: Ids


def labels_of(kinds: Sequence[str]) -> list[str]:
    """The names of the labels: O, then two for each kind.

    >>> labels_of(["LINK"])
    ['O', 'B-LINK', 'I-LINK']
    """
    return ["O", *(f"{place}-{kind}" for kind in kinds for place in "BI")]


def tags_of(spans: Sequence[Span], words: int) -> list[str]:
    """One tag for each word.

    >>> tags_of([Span(1, 3, "PER")], 4)
    ['O', 'B-PER', 'I-PER', 'O']

    Raises:
        ValueError: for a span outside of the words, or two that overlap.
    """
    tags = ["O"] * words
    for start, end, kind in spans:
        if not 0 <= start < end <= words or any(tag != "O" for tag in tags[start:end]):
            raise ValueError(f"span {start}:{end} does not fit into {words} words, or overlaps another one")
        tags[start:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start - 1)
    return tags


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans of a sequence of tags; an I without its B begins one, as in the scorer of CoNLL-2000.

    >>> spans_of(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [Span(start=0, end=2, kind='PER'), Span(start=3, end=4, kind='LOC'), Span(start=4, end=5, kind='LOC')]

    Source: Tjong Kim Sang & Buchholz (2000), conlleval.
    """
    found: list[Span] = []
    for i, tag in enumerate(tags):
        place, _, kind = tag.partition("-")
        joins = place == "I" and bool(found) and found[-1].end == i and found[-1].kind == kind
        if place != "O":
            begin = found.pop().start if joins else i
            found.append(Span(begin, i + 1, kind))
    return found


def first_tokens(word_of: Sequence[int | None], tags: Sequence[int]) -> list[int]:
    """The label of each token: that of its word at the word's first token, -100 at all others.

    >>> first_tokens([None, 0, 0, 1, None], [7, 8])
    [-100, 7, -100, 8, -100]
    """
    before = [None, *word_of[:-1]]
    return [IGNORED if word is None or word == last else tags[word] for word, last in zip(word_of, before, strict=True)]


def encode_passages(pretrained: Pretrained, passages: Sequence[Passage], names: Sequence[str]) -> Batch:
    """Passages as tensors, filled up to the longest."""
    number = {name: i for i, name in enumerate(names)}
    encoded = pretrained.tokenizer.encode_batch([list(p.words) for p in passages], is_pretokenized=True)
    labels = [
        torch.tensor(first_tokens(each.word_ids, [number[tag] for tag in tags_of(p.links, len(p.words))]))
        for each, p in zip(encoded, passages, strict=True)
    ]
    capitals = [
        torch.tensor([int(w is not None and p.words[w][0].isupper()) for w in each.word_ids])
        for each, p in zip(encoded, passages, strict=True)
    ]
    ids = [torch.tensor(each.ids) for each in encoded]
    lengths = torch.tensor([len(row) for row in ids])
    pad = nn.utils.rnn.pad_sequence
    return Batch(
        pad(ids, batch_first=True),
        torch.arange(int(lengths.max())) < lengths[:, None],
        pad(labels, batch_first=True, padding_value=IGNORED),
        pad(capitals, batch_first=True),
    )


class Tagger(nn.Module):
    """The upper blocks of an encoder and one layer of labels; what lies below is frozen and runs once, outside.

    Args:
        trained: how many of the encoder's blocks are trained.
        labels: how many labels there are; number 0 is O.
        outside: what a word outside of all spans weighs in the loss. Most are, and with 1 a short training finds out
            that and nothing else.
    """

    def __init__(self, encoder: Encoder, labels: int, trained: int = 2, outside: float | int = 0.5, seed: int = 0):
        super().__init__()
        if not 0 < trained <= len(encoder.blocks):
            raise ValueError(f"trained must be 1 to {len(encoder.blocks)}, the blocks of the encoder, got {trained!r}")
        self.blocks = copy.deepcopy(encoder.blocks[len(encoder.blocks) - trained :])
        self.capital = nn.Embedding(2, encoder.config.width)  # the tokenizer writes everything small
        self.label = nn.Linear(encoder.config.width, labels)
        with torch.no_grad():
            chance = torch.Generator().manual_seed(seed)
            self.label.weight.normal_(std=0.02, generator=chance)
            self.capital.weight.normal_(std=0.3, generator=chance)
            self.label.bias.zero_()
        self.register_buffer("weights", torch.tensor([float(outside)] + [1.0] * (labels - 1)))

    def forward(
        self, hidden: Hidden, mask: Bool[Tensor, "batch tokens"], capitals: Ids
    ) -> Float[Tensor, "batch tokens labels"]:
        """The logits of the labels of each token."""
        keys, hidden = mask[:, None, None, :], hidden + self.capital(capitals)
        for block in self.blocks:
            hidden = block(hidden, keys)
        return self.label(hidden)

    def loss(self, hidden: Hidden, mask: Bool[Tensor, "batch tokens"], capitals: Ids, labels: Ids) -> Float[Tensor, ""]:
        """The mean cross entropy over the words, those outside of spans weighing less."""
        logits = self(hidden, mask, capitals).flatten(0, 1)
        return functional.cross_entropy(logits, labels.flatten(), self.weights, ignore_index=IGNORED)


@torch.no_grad()
def frozen_part(encoder: Encoder, batch: Batch, trained: int = 2) -> Hidden:
    """What the blocks below the trained ones make of a batch: the same in every step, so it is computed once."""
    rest = copy.copy(encoder)
    rest._modules = dict(encoder._modules, blocks=encoder.blocks[: len(encoder.blocks) - trained])
    return rest(batch.ids, batch.mask)


@torch.no_grad()
def tag_words(
    tagger: Tagger,
    hidden: Hidden,
    mask: Bool[Tensor, "batch tokens"],
    capitals: Ids,
    labels: Ids,
    names: Sequence[str],
) -> list[list[Span]]:
    """The spans that a tagger finds in each passage; of `labels` only the places count, where words begin."""
    best = tagger(hidden, mask, capitals).argmax(-1).tolist()
    words = (labels != IGNORED).tolist()
    return [
        spans_of([names[label] for label, begins in zip(row, where, strict=True) if begins])
        for row, where in zip(best, words, strict=True)
    ]
