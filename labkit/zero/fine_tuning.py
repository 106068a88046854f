"""MiniLM taught on several ranks to mark spans: the same training by DDP and by DeepSpeed, each judged by F1."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from labkit.cleaning.scoring import Score, score_spans
from labkit.corpora import CorpusUnavailable
from labkit.transformer.models import Encoder
from labkit.transformer.pretrained import Pretrained, load_minilm, minilm_folder, package
from labkit.zero import deepspeed_runs, side_by_side
from labkit.zero.link_spans import Dictionary, Passage, Span, capitalised, linked_passages, split_articles
from labkit.zero.token_classification import Tagger, encode_passages, frozen_part, labels_of, tag_words

STORED = "What follows was measured where the outputs of this notebook were stored."
PHRASES, CAPITALS = "phrases that were links", "words with a capital"


@dataclass(frozen=True)
class Task:
    """Passages to learn from and others to be judged on; or none, and the `reason` why they cannot be had."""

    learn: list[Passage] = field(default_factory=list, repr=False)
    judge: list[Passage] = field(default_factory=list, repr=False)
    reason: str = ""


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


def find_task(learn: int = 448, judge: int = 128, seed: int = 0, most: int = 40) -> Task:
    """So many passages of Wikipedia by chance, of up to `most` words each; no article is on both sides."""
    try:
        sides = split_articles(linked_passages(most))
    except CorpusUnavailable as missing:
        return Task(reason=f"The articles with their links cannot be had: {missing} {STORED}")
    chance = np.random.default_rng(seed)
    places = [chance.permutation(len(side))[:count] for side, count in zip(sides, (learn, judge), strict=True)]
    return Task(*([side[i] for i in chosen] for side, chosen in zip(sides, places, strict=True)))


def rivals(task: Task, threshold: float = 0.2) -> dict[str, Score]:
    """What a list of phrases and a rule find, neither of which learns by gradients; the stored scores without texts."""
    if task.reason:
        return {name: Score(*counts) for name, counts in deepspeed_runs.stored()["rivals"].items()}
    ways = {PHRASES: Dictionary(task.learn, threshold).find, CAPITALS: capitalised}
    gold = [passage.links for passage in task.judge]
    return {name: score_spans([find(passage) for passage in task.judge], gold) for name, find in ways.items()}


def why_not(task: Task) -> str:
    """Empty if MiniLM can be taught here, else a sentence that says what is missing."""
    if task.reason:
        return task.reason
    try:
        minilm_folder()
        for needed in ("tokenizers", "safetensors.torch"):
            package(needed)
    except CorpusUnavailable as missing:
        return f"{missing} {STORED}"
    return ""


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
