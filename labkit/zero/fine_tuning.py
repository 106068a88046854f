"""MiniLM taught on several ranks to mark spans: the same training by DDP and by DeepSpeed, each judged by F1."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from labkit.cleaning.scoring import Score, score_spans
from labkit.transformer.models import Encoder
from labkit.transformer.pretrained import Pretrained, load_minilm
from labkit.zero import deepspeed_runs, side_by_side
from labkit.zero.link_spans import Passage, Span
from labkit.zero.token_classification import Tagger, encode_passages, frozen_part, labels_of, tag_words


@dataclass(frozen=True)
class Lesson:
    """How a tagger is taught: `batch` passages a step over all ranks, the upper `trained` blocks, once through all."""

    batch: int = 8
    trained: int = 2
    lr: float = 5e-4
    outside: float | int = 0.5
    kinds: tuple[str, ...] = ("LINK",)
    stage: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Taught:
    """The training of a tagger on this rank, and what it finds in all passages that it was judged on."""

    run: side_by_side.Run
    found: list[list[Span]] = field(repr=False)
    score: Score


def teach(
    learn: Sequence[Passage],
    judge: Sequence[Passage],
    lesson: Lesson | None = None,
    pretrained: Pretrained | None = None,
    deepspeed: bool = True,
) -> dict[str, Taught]:
    """Teach the same tagger by DDP and, unless told not to, by DeepSpeed; to be called on every rank.

    Every rank computes what the frozen blocks make of its own passages, once for both.
    Args:
        pretrained: the reader, MiniLM if left out.
    """
    lesson, pretrained = lesson or Lesson(), pretrained or load_minilm("fused")
    ranks = torch.distributed.get_world_size()
    names = labels_of(lesson.kinds)
    batches = [_own_rows(pretrained, learn[i : i + lesson.batch], names, lesson) for i in _starts(learn, lesson.batch)]
    exam = _own_rows(pretrained, judge, names, lesson)
    model = Tagger(_reader(pretrained), len(names), lesson.trained, lesson.outside, lesson.seed)
    runs = {"DDP": side_by_side.with_ddp(model, batches, lr=lesson.lr)}
    if deepspeed:
        settings = deepspeed_runs.config(lesson.stage, lesson.batch, ranks, lr=lesson.lr)
        runs["DeepSpeed"] = side_by_side.with_deepspeed(model, batches, settings)
    return {name: _judged(model, run, exam, judge, names) for name, run in runs.items()}


def stored_lessons() -> dict[str, Taught]:
    """The fine-tuning of this notebook where its outputs were stored, by name, without what was found."""
    stored = deepspeed_runs.stored()["fine_tuning"]
    return {
        name: Taught(side_by_side.Run(name=name, **about["run"]), [], Score(*about["counts"]))
        for name, about in stored.items()
    }


def _starts(learn: Sequence[Passage], batch: int) -> range:
    if len(learn) < batch:
        raise ValueError(f"{len(learn)} passages are not one batch of {batch}: give more, or a smaller batch")
    return range(0, len(learn) - batch + 1, batch)


def _own_rows(pretrained: Pretrained, passages: Sequence[Passage], names: Sequence[str], lesson: Lesson) -> list[Any]:
    """What a tagger learns from: hidden states, mask, capitals and labels of this rank's passages."""
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    mine = encode_passages(pretrained, passages[rank::ranks], names)
    hidden = frozen_part(_reader(pretrained), mine, lesson.trained)
    return [hidden, mine.mask, mine.capitals, mine.labels]


def _reader(pretrained: Pretrained) -> Encoder:
    if not isinstance(pretrained.model, Encoder):
        raise ValueError(f"spans are marked by an Encoder, which reads both ways, got {pretrained.source}")
    return pretrained.model


def _judged(model: Tagger, run: Any, exam: list[Any], judge: Sequence[Passage], names: Sequence[str]) -> Taught:
    """Every rank tags its own passages; all of them together are scored."""
    model.load_state_dict(run.weights)
    ranks = torch.distributed.get_world_size()
    everybodys: list[Any] = [None] * ranks
    torch.distributed.all_gather_object(everybodys, tag_words(model, *exam, names))
    found = [everybodys[i % ranks][i // ranks] for i in range(len(judge))]
    light = side_by_side.Run(run.name, run.losses, run.held, run.seconds)  # weights would be sent to the notebook
    return Taught(light, found, score_spans(found, [passage.links for passage in judge]))
